"""Blind operators: each changes one thing in a class or a function, and knows no rule.

An operator is a generator: it changes its part in place, yields the name of the place, and takes the change back.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tests.mutants.sources import Part, Unit

__all__ = ["OPERATORS", "Mutant", "mutants"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Operator: TypeAlias = Callable[[Part], Iterator[str]]


@dataclass(frozen=True)
class Mutant:
    """A saga with one change."""

    #: ``saga/operator/place``.
    name: str
    unit: Unit
    #: A module of its own: the parts of the unit, one of them changed.
    text: str


def mutants(unit: Unit, is_chosen: Callable[[int, str], bool] = lambda number, name: True) -> Iterator[Mutant]:
    """Every mutant of one saga that is another text, always in the same order. Some are no programs.

    ``is_chosen``: whether one is wanted, by its number and its name; the others cost next to nothing.
    """
    parts = copy.deepcopy(unit.parts)
    texts = [ast.unparse(part) for part in parts]
    seen, names, count = {tuple(texts)}, set[str](), itertools.count()
    for i, part in enumerate(parts):
        for operator, change in OPERATORS.items():
            for place in change(part):
                name = f"{unit.name}/{operator}/{place if part is parts[-1] else f'{part.name}.{place}'}"
                numbered = next(each for each in _numbered(name) if each not in names)
                names.add(numbered)
                if is_chosen(next(count), numbered):
                    changed = (*texts[:i], ast.unparse(part), *texts[i + 1 :])
                    if changed not in seen:
                        seen.add(changed)
                        yield Mutant(numbered, unit, "\n\n".join(["from __future__ import annotations", *changed, ""]))


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}~{number}"
        number += 1


# --- what operators look at ------------------------------------------------------------------------------------------


def _functions(part: Part) -> list[Function]:
    if isinstance(part, ast.ClassDef):
        return [node for node in part.body if isinstance(node, Function)]
    return [part]


def _fields(part: Part) -> list[ast.AnnAssign]:
    return [node for node in part.body if isinstance(node, ast.AnnAssign)] if isinstance(part, ast.ClassDef) else []


def _sayings(part: Part) -> list[tuple[str, Any]]:
    """What is said of the part outside of bodies: its decorators, class keywords and assignments; a builder's body."""
    if isinstance(part, ast.ClassDef):
        found: list[tuple[str, Any]] = [("class", keyword) for keyword in part.keywords]
        found += [(node.name, mark) for node in _functions(part) for mark in node.decorator_list]
        assigned = [node for node in part.body if isinstance(node, ast.Assign)]
        return found + [(ast.unparse(node.targets[0]), node.value) for node in assigned]
    if part.decorator_list:
        return [(part.name, mark) for mark in part.decorator_list]
    return [(part.name, node) for node in part.body]


def _constants(part: Part, *kinds: type) -> list[tuple[str, ast.Constant]]:
    return [
        (place, node)
        for place, said in _sayings(part)
        for node in ast.walk(said)
        if isinstance(node, ast.Constant) and type(node.value) in kinds
    ]


def _calls(part: Part) -> list[tuple[str, ast.Call]]:
    return [(place, node) for place, said in _sayings(part) for node in ast.walk(said) if isinstance(node, ast.Call)]


def _parameters(function: Function) -> list[ast.arg]:
    return function.args.args


def _annotated(part: Part) -> list[tuple[str, Any, str]]:
    """Each annotation: its place, the node that holds it, the attribute of the node."""
    found: list[tuple[str, Any, str]] = [(ast.unparse(node.target), node, "annotation") for node in _fields(part)]
    for function in _functions(part):
        found += [(f"{function.name}.{arg.arg}", arg, "annotation") for arg in _parameters(function)]
        found.append((f"{function.name}.return", function, "returns"))
    return [(place, node, name) for place, node, name in found if getattr(node, name) is not None]


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _replaced(holder: list[Any], index: int, value: Any, place: str) -> Iterator[str]:
    before = holder[index]
    holder[index] = value
    yield place
    holder[index] = before


def _set(node: Any, name: str, value: Any, place: str) -> Iterator[str]:
    before = getattr(node, name)
    setattr(node, name, value)
    yield place
    setattr(node, name, before)


def _without(holder: list[Any], index: int, place: str) -> Iterator[str]:
    before = holder.pop(index)
    yield place
    holder.insert(index, before)


def _inserted(holder: list[Any], index: int, value: Any, place: str) -> Iterator[str]:
    holder.insert(index, value)
    yield place
    del holder[index]


def _swapped(holder: list[Any], one: int, other: int, place: str) -> Iterator[str]:
    holder[one], holder[other] = holder[other], holder[one]
    yield place
    holder[one], holder[other] = holder[other], holder[one]


# --- decorators, and what is said in them ----------------------------------------------------------------------------


def _drop_decorator(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for i in range(len(function.decorator_list)):
            yield from _without(function.decorator_list, i, function.name)


def _swap_decorators(part: Part) -> Iterator[str]:
    functions = _functions(part)
    for one, other in itertools.pairwise(functions):
        one.decorator_list, other.decorator_list = other.decorator_list, one.decorator_list
        yield f"{one.name}+{other.name}"
        one.decorator_list, other.decorator_list = other.decorator_list, one.decorator_list


def _double_decorator(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for mark in list(function.decorator_list):
            yield from _inserted(function.decorator_list, 0, mark, function.name)


def _drop_argument(part: Part) -> Iterator[str]:
    for place, call in _calls(part):
        for i, keyword in enumerate(list(call.keywords)):
            yield from _without(call.keywords, i, f"{place}.{keyword.arg}")
        for i in range(len(call.args)):
            yield from _without(call.args, i, f"{place}.{i}")


def _drop_class_keyword(part: Part) -> Iterator[str]:
    for i, keyword in enumerate(list(part.keywords) if isinstance(part, ast.ClassDef) else []):
        yield from _without(part.keywords, i, str(keyword.arg))  # type: ignore[union-attr]


def _drop_base(part: Part) -> Iterator[str]:
    for i, base in enumerate(list(part.bases) if isinstance(part, ast.ClassDef) else []):
        yield from _without(part.bases, i, ast.unparse(base))  # type: ignore[union-attr]


def _drop_element(part: Part) -> Iterator[str]:
    for place, said in _sayings(part):
        for node in ast.walk(said):
            for i in range(len(node.elts) if isinstance(node, ast.Tuple) else 0):
                yield from _without(node.elts, i, f"{place}.{i}")  # type: ignore[attr-defined]


def _negate(part: Part) -> Iterator[str]:
    for place, node in _constants(part, bool):
        yield from _set(node, "value", not node.value, place)


def _change_number(part: Part) -> Iterator[str]:
    for place, node in _constants(part, int, float):
        for number in (0, -1, 1, float("inf")):
            yield from _set(node, "value", number, f"{place}={number}")


def _not_a_number(part: Part) -> Iterator[str]:
    for place, call in _calls(part):
        for keyword in call.keywords:
            if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, int | float):
                yield from _set(keyword, "value", _expression('float("nan")'), f"{place}.{keyword.arg}")


def _rename_string(part: Part) -> Iterator[str]:
    for place, node in _constants(part, str):
        yield from _set(node, "value", f"{node.value}x", f"{place}={node.value}x")


def _empty_string(part: Part) -> Iterator[str]:
    for place, node in _constants(part, str):
        yield from _set(node, "value", "", f"{place}={node.value}")


def _other_string(part: Part) -> Iterator[str]:
    said = list(dict.fromkeys(node.value for _, node in _constants(part, str)))
    names = list(dict.fromkeys([*said, *(function.name for function in _functions(part))]))
    for place, node in _constants(part, str):
        for other in names:
            if other != node.value:
                yield from _set(node, "value", other, f"{place}={other}")


def _add_option(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for i, mark in enumerate(list(function.decorator_list)):
            call = copy.deepcopy(mark) if isinstance(mark, ast.Call) else ast.Call(mark, [], [])
            for option, value in _OPTIONS:
                if option not in {keyword.arg for keyword in call.keywords}:
                    more = ast.Call(call.func, call.args, [*call.keywords, ast.keyword(option, _expression(value))])
                    yield from _replaced(function.decorator_list, i, more, f"{function.name}.{option}={value}")


#: What `@step` and `@compensates` can be told, and what some would tell them.
_OPTIONS: Final = (
    ("readonly", "True"),
    ("pivot", "True"),
    ("after", "()"),
    ("timeout", "0"),
    ("timeout", "None"),
    ("retry", "None"),
    ("retry", "3"),
    ("repeatable", "False"),
    ("idempotent", "True"),
    ("if_unknown", "'fail'"),
    ("if_unknown", "'ask'"),
    ("name", "'other'"),
    ("unknown_on", "OSError"),
)


# --- members of a class ----------------------------------------------------------------------------------------------


def _delete_member(part: Part) -> Iterator[str]:
    for i, node in enumerate(list(part.body) if isinstance(part, ast.ClassDef) else []):
        if not isinstance(node, ast.Expr):
            rest = [each for j, each in enumerate(part.body) if j != i] or [ast.Pass()]
            yield from _set(part, "body", rest, _name(node))


def _swap_members(part: Part) -> Iterator[str]:
    body: list[Any] = part.body if isinstance(part, ast.ClassDef) else []
    for i, (one, other) in enumerate(zip(list(body), body[1:], strict=False)):
        if not isinstance(one, ast.Expr | ast.AnnAssign):
            yield from _swapped(body, i, i + 1, f"{_name(one)}+{_name(other)}")


def _double_member(part: Part) -> Iterator[str]:
    body: list[Any] = part.body if isinstance(part, ast.ClassDef) else []
    for i, node in enumerate(list(body)):
        if not isinstance(node, ast.Expr | ast.Pass):
            yield from _inserted(body, i + 1, node, _name(node))


def _rename_member(part: Part) -> Iterator[str]:
    if not isinstance(part, ast.ClassDef):
        return
    functions = _functions(part)
    fields = [ast.unparse(node.target) for node in _fields(part)][:1]
    for function, following in zip(functions, [*functions[1:], *functions[:1]], strict=True):
        for name in (f"{function.name}x", following.name, "copy", "json", "graph", *fields):
            yield from _set(function, "name", name, f"{function.name}={name}")
    for node in part.body:
        target: Any = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if target is not None:
            for name in (f"{target.id}x", "copy", "saga_name", *(each.name for each in functions[:1])):
                yield from _set(target, "id", name, f"{target.id}={name}")


def _name(node: Any) -> str:
    return str(getattr(node, "name", None) or ast.unparse(node).split(":")[0].split(" =")[0])


# --- functions -------------------------------------------------------------------------------------------------------


def _wrap(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for wrapper in ("staticmethod", "classmethod", "property"):
            for i in {0, len(function.decorator_list)}:
                place = f"{function.name}.{wrapper}{'' if i else ' above'}"
                yield from _inserted(function.decorator_list, i, ast.Name(wrapper), place)


def _yield(part: Part) -> Iterator[str]:
    for function in _functions(part):
        last = len(function.body)
        yield from _inserted(function.body, last, ast.Expr(ast.Yield()), function.name)


def _colour(part: Part) -> Iterator[str]:
    """Async to sync and back; what awaits cannot be sync."""
    for holder in [part.body] if isinstance(part, ast.ClassDef) else []:
        for i, node in enumerate(list(holder)):
            if isinstance(node, Function):
                kind: Any = ast.FunctionDef if isinstance(node, ast.AsyncFunctionDef) else ast.AsyncFunctionDef
                yield from _replaced(holder, i, ast.copy_location(kind(**dict(ast.iter_fields(node))), node), node.name)


# --- parameters ------------------------------------------------------------------------------------------------------


def _drop_parameter(part: Part) -> Iterator[str]:
    for function in _functions(part):
        arguments = function.args
        for i, parameter in enumerate(list(arguments.args)):
            first_default = len(arguments.args) - len(arguments.defaults)
            before = list(arguments.defaults)
            if i >= first_default:
                del arguments.defaults[i - first_default]
            yield from _without(arguments.args, i, f"{function.name}.{parameter.arg}")
            arguments.defaults = before


def _rename_parameter(part: Part) -> Iterator[str]:
    names = [function.name for function in _functions(part)] + [ast.unparse(node.target) for node in _fields(part)][:1]
    for function in _functions(part):
        for parameter in _parameters(function):
            for name in (f"{parameter.arg}x", *names):
                yield from _set(parameter, "arg", name, f"{function.name}.{parameter.arg}={name}")


def _swap_parameters(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for i in range(len(function.args.args) - 1):
            yield from _swapped(function.args.args, i, i + 1, f"{function.name}.{i}")


def _add_parameter(part: Part) -> Iterator[str]:
    for function in _functions(part):
        arguments = function.args
        last = len(arguments.args) - len(arguments.defaults)
        for text in ("extra", "extra: int", "extra: Far"):
            name, _, annotation = text.partition(": ")
            arg = ast.arg(name, _expression(annotation) if annotation else None)
            yield from _inserted(arguments.args, last, arg, f"{function.name}.{text}")
        arguments.kwonlyargs, arguments.kw_defaults = [ast.arg("extra", _expression("int"))], [ast.Constant(0)]
        yield f"{function.name}.extra: int = 0"
        arguments.kwonlyargs, arguments.kw_defaults = [], []


def _add_stars(part: Part) -> Iterator[str]:
    for function in _functions(part):
        yield from _set(function.args, "vararg", ast.arg("rest"), f"{function.name}.*rest")
        yield from _set(function.args, "kwarg", ast.arg("rest"), f"{function.name}.**rest")


def _by_position(part: Part) -> Iterator[str]:
    for function in _functions(part):
        arguments = function.args
        arguments.posonlyargs, arguments.args = arguments.args, []
        if arguments.posonlyargs:
            yield function.name
        arguments.args, arguments.posonlyargs = arguments.posonlyargs, []


def _drop_default(part: Part) -> Iterator[str]:
    for function in _functions(part):
        for i in range(len(function.args.defaults)):
            before = list(function.args.defaults)
            function.args.defaults = before[i + 1 :]
            yield f"{function.name}.{i}"
            function.args.defaults = before


# --- annotations -----------------------------------------------------------------------------------------------------


def _drop_annotation(part: Part) -> Iterator[str]:
    for place, node, name in _annotated(part):
        if not isinstance(node, ast.AnnAssign):
            yield from _set(node, name, None, place)


def _change_annotation(part: Part) -> Iterator[str]:
    texts = [ast.unparse(getattr(node, name)) for _, node, name in _annotated(part)]
    pool = list(dict.fromkeys([*texts, "int", "str", "list[int]"]))
    for place, node, name in _annotated(part):
        for text in pool:
            yield from _set(node, name, _expression(text), f"{place}: {text}")


def _drop_union_member(part: Part) -> Iterator[str]:
    for place, node, name in _annotated(part):
        annotation = getattr(node, name)
        if isinstance(annotation, ast.BinOp):
            for side in (annotation.left, annotation.right):
                yield from _set(node, name, side, f"{place}: {ast.unparse(side)}")


#: By the name that mutants have of them.
OPERATORS: Final[dict[str, Operator]] = {
    "drop-decorator": _drop_decorator,
    "swap-decorators": _swap_decorators,
    "double-decorator": _double_decorator,
    "drop-argument": _drop_argument,
    "drop-class-keyword": _drop_class_keyword,
    "drop-base": _drop_base,
    "drop-element": _drop_element,
    "negate": _negate,
    "change-number": _change_number,
    "not-a-number": _not_a_number,
    "rename-string": _rename_string,
    "empty-string": _empty_string,
    "other-string": _other_string,
    "add-option": _add_option,
    "delete-member": _delete_member,
    "swap-members": _swap_members,
    "double-member": _double_member,
    "rename-member": _rename_member,
    "wrap": _wrap,
    "yield": _yield,
    "colour": _colour,
    "drop-parameter": _drop_parameter,
    "rename-parameter": _rename_parameter,
    "swap-parameters": _swap_parameters,
    "add-parameter": _add_parameter,
    "add-stars": _add_stars,
    "by-position": _by_position,
    "drop-default": _drop_default,
    "drop-annotation": _drop_annotation,
    "change-annotation": _change_annotation,
    "drop-union-member": _drop_union_member,
}
