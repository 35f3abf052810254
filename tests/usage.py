"""What a piece of code uses of allframe: names, members of its classes, and arguments, told from the source alone.

A member counts for the class that it is a member of: ``outcome.status`` says nothing of `SagaMetadata.status`. So the types
of expressions are followed, so far as constructors, annotations, loops and what allframe's own methods return tell them; a
member of something whose type is not known counts for nothing. Types of names are those of the function they are bound in,
or of those around it, whichever way the program goes.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import allframe
import allframe.errors
import allframe.events
import allframe.testing
from allframe import Aggregate, AllframeError, Command, Event, Projection, Query, Saga, SagaStep, SqlProjection
from allframe.saga.graph import SagaGraph
from allframe.saga.monitor import Monitor

__all__ = ["Uses", "assigned", "uses_of"]

#: What a name means unless the code binds it otherwise.
KNOWN: Mapping[str, Any] = {
    **{name: getattr(allframe, name) for name in allframe.__all__},
    **{name: getattr(allframe.events, name) for name in allframe.events.__all__},
    **{name: getattr(allframe.testing, name) for name in allframe.testing.__all__},
    "Monitor": Monitor,
}
#: What takes keywords in a class statement.
KEYWORDED = (Saga, SagaStep, Event, Aggregate, Command, Query, Projection, SqlProjection)
#: What the fixtures of the pytest plugin give.
FIXTURES: Mapping[str, Any] = {
    "virtual_clock": allframe.testing.VirtualClock,
    "run_saga": allframe.testing.run_saga,
    "run_saga_sync": allframe.testing.run_saga_sync,
    "saga_orchestrator": allframe.SagaOrchestrator,
}


@dataclass
class Uses:
    #: Names of `KNOWN`.
    names: set[str] = field(default_factory=set)
    #: The name of a class and of its member.
    members: set[tuple[str, str]] = field(default_factory=set)
    #: What is called, and the name of an argument: ``("step", "timeout")``, ``("SagaOrchestrator.start", "id")``; for the
    #: keywords of a class statement ``("class Saga", "version")``.
    arguments: set[tuple[str, str]] = field(default_factory=set)

    def __or__(self, other: Uses) -> Uses:
        return Uses(self.names | other.names, self.members | other.members, self.arguments | other.arguments)


def uses_of(code: str) -> Uses:
    """What ``code``, the text of a whole program, uses."""
    reader = _Reader(Uses(), _Scope())
    body = ast.parse(code).body
    reader.bind(body)
    for statement in body:
        reader.visit(statement)
    return reader.uses


class _Scope:
    """The types that the names of one function, or of the module, may have."""

    def __init__(self, outer: _Scope | None = None) -> None:
        self.outer = outer
        self.types: dict[str, set[Any]] = {}

    def add(self, name: str, found: set[Any]) -> None:
        self.types.setdefault(name, set()).update(found)

    def find(self, name: str) -> set[Any]:
        if name in self.types:
            return self.types[name]
        return self.outer.find(name) if self.outer is not None else set()


class _Reader(ast.NodeVisitor):
    def __init__(self, uses: Uses, scope: _Scope) -> None:
        self.uses, self.scope = uses, scope

    # --- what names are bound to -------------------------------------------------------------------------------------

    def bind(self, body: list[ast.stmt]) -> None:
        """Take in what the statements bind; twice, for a name may be used above the place where it is bound."""
        for _ in range(2):
            for node in _own_nodes(body):
                self._bind(node)

    def _bind(self, node: ast.AST) -> None:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                self.scope.add(name, self.types(value))
            case ast.Assign(targets=[ast.Tuple(elts=elements)], value=value):
                for each in elements:
                    if isinstance(each, ast.Name):
                        self.scope.add(each.id, self._items(value))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                self.scope.add(name, self._annotated(annotation))
            case ast.For(target=ast.Name(id=name), iter=value) | ast.AsyncFor(target=ast.Name(id=name), iter=value):
                self.scope.add(name, self._items(value))
            case ast.comprehension(target=ast.Name(id=name), iter=value):
                self.scope.add(name, self._items(value))
            case ast.withitem(context_expr=value, optional_vars=ast.Name(id=name)):
                self.scope.add(name, self.types(value))
            case ast.ExceptHandler(type=ast.expr() as value, name=str(name)):
                classes = value.elts if isinstance(value, ast.Tuple) else [value]
                self.scope.add(name, {cls for each in classes for cls in self._instances(each)})
            case ast.ClassDef(name=name, bases=bases):
                kinds = {base for each in bases for base in self._classes(_bare(each))}
                self.scope.add(name, {("class", base) for base in kinds})
            case (
                ast.FunctionDef(name=name, returns=ast.expr() as value)
                | ast.AsyncFunctionDef(name=name, returns=ast.expr() as value)
            ):
                self.scope.add(name, {("call", each) for each in self._annotated(value)})

    def _arguments(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            if argument.annotation is not None:
                self.scope.add(argument.arg, self._annotated(argument.annotation))
            elif argument.arg in FIXTURES:
                given = FIXTURES[argument.arg]
                self.scope.add(
                    argument.arg, {("class", given)} if argument.arg == "saga_orchestrator" else _of_value(given)
                )
                if argument.arg == "virtual_clock":
                    self.scope.types[argument.arg] = {given}

    # --- what expressions are ----------------------------------------------------------------------------------------

    def types(self, node: ast.expr) -> set[Any]:
        """The classes that a value of ``node`` may be of; ``("class", C)`` for the class itself, ``("call", C)`` for
        what gives one when it is called.
        """
        match node:
            case ast.Name(id=name):
                bound = self.scope.find(name)
                return bound or (_of_value(KNOWN[name]) if name in KNOWN else set())
            case ast.Await(value=value) | ast.Starred(value=value) | ast.NamedExpr(value=value):
                return self.types(value)
            case ast.Attribute(value=value, attr=attr):
                return {found for cls in self.types(value) for found in _member(cls, attr)}
            case ast.Call(func=function):
                return {each[1] for each in self.types(function) if isinstance(each, tuple)}
            case ast.Subscript(value=value):
                return self._items(value)
            case ast.IfExp(body=one, orelse=other):
                return self.types(one) | self.types(other)
            case ast.BoolOp(values=values):
                return {found for value in values for found in self.types(value)}
        return set()

    def _items(self, node: ast.expr) -> set[Any]:
        if isinstance(node, ast.List | ast.Tuple):
            return {found for each in node.elts for found in self.types(each)}
        if isinstance(node, ast.ListComp):
            return self.types(node.elt)
        return {item for found in self.types(node) for item in _items_of(found)}

    def _classes(self, node: ast.expr) -> set[Any]:
        return {found[1] for found in self.types(node) if isinstance(found, tuple) and found[0] == "class"}

    _instances = _classes

    def _annotated(self, node: ast.expr) -> set[Any]:
        """What an annotation names: of a union every member, of a container what is in it."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.Subscript):
            ours = {each for each in self._classes(node.value) if each.__module__.startswith("allframe")}
            return ours or {types.GenericAlias(list, (each,)) for each in self._annotated(node.slice)}
        if isinstance(node, ast.BinOp):
            return self._annotated(node.left) | self._annotated(node.right)
        return self._classes(node)

    # --- what is used ------------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id in KNOWN:
            self.uses.names.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        for cls in self.types(node.value):
            self.uses.members |= {(owner, node.attr) for owner in _owners(cls, node.attr)}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        for called in self._called(node.func):
            self.uses.arguments |= {(called, keyword.arg) for keyword in node.keywords if keyword.arg}
            names = _positional(called)
            self.uses.arguments |= {(called, name) for name, _ in zip(names, node.args, strict=False)}
        self.generic_visit(node)

    def _called(self, function: ast.expr) -> Iterator[str]:
        if isinstance(function, ast.Name) and not any(isinstance(t, str) for t in self.scope.find(function.id)):
            bound = self.scope.find(function.id)
            if function.id in KNOWN and not bound:
                yield function.id
            for found in bound:
                if isinstance(found, tuple) and found[0] == "class":
                    yield found[1].__name__
            if function.id in FIXTURES and function.id in KNOWN:
                yield function.id
        elif isinstance(function, ast.Attribute):
            for cls in self.types(function.value):
                for owner in _owners(cls, function.attr):
                    yield f"{owner}.{function.attr}"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            for cls in self._classes(_bare(base)):
                kind = next((kind for kind in KEYWORDED if isinstance(cls, type) and issubclass(cls, kind)), None)
                if kind is not None:
                    self.uses.arguments |= {(f"class {kind.__name__}", each.arg) for each in node.keywords if each.arg}
                self._fill_in(cls, node.body)
        self._visit_inside(node, node.body)

    def _fill_in(self, cls: Any, body: list[ast.stmt]) -> None:
        """What a class says in place of its base is a use of that: ``apply``, ``schema``."""
        for statement in body:
            match statement:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    parameters = [each.arg for each in statement.args.args[1:]]
                case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                    parameters = []
                case _:
                    continue
            for owner in _owners(cls, name):
                self.uses.members.add((owner, name))
                self.uses.arguments |= {(f"{owner}.{name}", each) for each in parameters}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_inside(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_inside(node, node.body)

    def _visit_inside(self, node: Any, body: list[ast.stmt]) -> None:
        inner = _Reader(self.uses, _Scope(self.scope))
        if not isinstance(node, ast.ClassDef):
            inner._arguments(node)
        inner.bind(body)
        inner.generic_visit(node)


def _bare(base: ast.expr) -> ast.expr:
    """``Query`` of ``Query[Decimal]``."""
    return base.value if isinstance(base, ast.Subscript) else base


def _own_nodes(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that is not inside of a function or class of its own."""
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


# --- what allframe says of its own classes ---------------------------------------------------------------------------


def _of_value(value: Any) -> set[Any]:
    """What a public name is, as `_Reader.types` has it."""
    if isinstance(value, type):
        return {("class", value)}
    if inspect.isfunction(value):
        return {("call", each) for each in _plain(_hints(value).get("return"))}
    return set()


def _owners(cls: Any, member: str) -> set[str]:
    """The class, and those above it that have the member: what is shown of one is shown of all of them."""
    if isinstance(cls, tuple):
        cls = cls[1]
        if isinstance(cls, type) and issubclass(cls, Saga | SagaStep) and member == "graph":
            return {Saga.__name__}
    if not isinstance(cls, type):
        return set()
    above = {each.__name__ for each in cls.__mro__ if member in _members(each)}
    return above and above | {cls.__name__}


def _member(cls: Any, name: str) -> set[Any]:
    """The types of a member; of a method, what it returns."""
    if isinstance(cls, tuple):
        if name == "graph" and isinstance(cls[1], type) and issubclass(cls[1], Saga):
            return {SagaGraph}
        cls = cls[1]
    if not isinstance(cls, type):
        return set()
    value = inspect.getattr_static(cls, name, None)
    if isinstance(value, property | cached_property):
        return _plain(_hints(value.fget if isinstance(value, property) else value.func).get("return"))
    if isinstance(value, staticmethod | classmethod) or inspect.isfunction(value):
        function = getattr(value, "__func__", value)
        return {("call", each) for each in _plain(_hints(function).get("return"))}
    return _plain(_hints(cls).get(name))


@cache
def _members(cls: type) -> set[str]:
    return {*vars(cls), *inspect.get_annotations(cls), *assigned(cls)}


def assigned(cls: type) -> list[str]:
    """The public attributes that the ``__init__`` of a class makes."""
    try:
        source = inspect.getsource(vars(cls)["__init__"])
    except (KeyError, OSError, TypeError):
        return []
    return re.findall(r"^ +self\.([a-z]\w*)(?:: [^=\n]+)? = ", source, flags=re.MULTILINE)


@cache
def _hints(owner: Any) -> Mapping[str, Any]:
    # Errors say that they are of `allframe`, whose names are not those that their annotations mean.
    names = vars(allframe.errors) if isinstance(owner, type) and issubclass(owner, AllframeError) else None
    try:
        return typing.get_type_hints(owner, names)
    except Exception:
        return {}


def _plain(hint: Any) -> set[Any]:
    """A hint as classes: of a union its members; a container stays as it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return {found for each in typing.get_args(hint) for found in _plain(each)}
    return set() if hint in (None, type(None)) else {hint}


def _items_of(hint: Any) -> set[Any]:
    """What a container of this type has in it; of a mapping, its values."""
    given = [each for each in typing.get_args(hint) if each is not Ellipsis]
    return _plain(given[-1]) if given else set()


@cache
def _positional(called: str) -> list[str]:
    """The names of the positional parameters of what `_Reader._called` names."""
    owner, _, method = called.partition(".")
    value = KNOWN.get(owner)
    if method:
        value = inspect.getattr_static(value, method, None)
        value = getattr(value, "__func__", value)
    try:
        parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return []
    names = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    return names[1:] if method and names[:1] in (["self"], ["cls"]) else names
