"""A mutant as it is written: its classes and marked functions, read from the text and from nothing that allframe made."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, TypeAlias

from tests.mutants.kinds import MISSING

__all__ = ["UNREADABLE", "Function", "Mark", "Member", "Text", "Written", "read"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
#: What an expression comes to whose names mean nothing.
UNREADABLE: Final = object()


@dataclass(frozen=True)
class Mark:
    """A decorator, or a call of one."""

    #: ``step`` or ``compensates``.
    kind: str
    options: Mapping[str, Any]
    #: The step that is undone: its name, its function, or None where it is neither.
    target: str | Function | None = None


@dataclass(frozen=True)
class Member:
    """A function that has a name in a class."""

    name: str
    node: Function
    #: Lines at which it may be said to stand.
    lines: frozenset[int]
    marks: tuple[Mark, ...]
    wrappers: tuple[str, ...]

    @property
    def mark(self) -> Mark | None:
        """The outermost."""
        return self.marks[0] if self.marks else None

    @property
    def arguments(self) -> list[ast.arg]:
        return [*self.node.args.posonlyargs, *self.node.args.args]

    @property
    def is_plain(self) -> bool:
        arguments = [*self.arguments, *filter(None, [self.node.args.vararg]), *self.node.args.kwonlyargs]
        return not arguments or arguments[0].arg != "self"

    @property
    def defaulted(self) -> set[str]:
        args = self.node.args
        positional = self.arguments[len(self.arguments) - len(args.defaults) :] if args.defaults else []
        named = [arg for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value is not None]
        return {arg.arg for arg in (*positional, *named)}


@dataclass
class Written:
    """The body of one class, as it is when Python has run it."""

    node: ast.ClassDef
    keywords: dict[str, Any] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    fields: dict[str, ast.expr] = field(default_factory=dict)
    #: What fields are without being given.
    defaults: dict[str, ast.expr] = field(default_factory=dict)
    nested: set[str] = field(default_factory=set)
    #: What was assigned to a name that had a function or was given one.
    lost: list[tuple[str, frozenset[int], Member | None, Member | None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def lines(self) -> frozenset[int]:
        return frozenset(
            range(min([self.node.lineno, *(d.lineno for d in self.node.decorator_list)]), self.node.lineno + 1)
        )


@dataclass
class Text:
    """The whole of a mutant."""

    tree: ast.Module
    world: ModuleType
    classes: dict[str, Written]
    functions: dict[str, Member]
    names: dict[str, Any]

    def value(self, expression: ast.expr | None, scope: Mapping[str, Any] | None = None) -> Any:
        """What an expression comes to; `UNREADABLE` where that cannot be said."""
        if expression is None:
            return MISSING
        try:
            return eval(compile(ast.Expression(expression), "text", "eval"), self.names, dict(scope or {}))
        except Exception:
            return UNREADABLE


def read(text: str, world: ModuleType) -> Text:
    """What stands in the text of a mutant; names that it does not make are those of ``world``."""
    found = Text(ast.parse(text), world, {}, {}, {**vars(world)})
    for node in found.tree.body:
        if isinstance(node, ast.ClassDef):
            found.classes[node.name] = _class(found, node)
        elif isinstance(node, Function):
            found.functions[node.name] = _member(found, node.name, node, {})
    return found


def _class(text: Text, node: ast.ClassDef) -> Written:
    made = Written(node)
    scope = {
        name: value for name, value in vars(getattr(text.world, node.name, object)).items() if isinstance(value, type)
    }
    made.keywords = {str(each.arg): text.value(each.value, scope) for each in node.keywords}
    taken: dict[str, Member | None] = {}
    for statement in node.body:
        for name, member, lines in _assigned(text, made, statement, scope):
            if name in taken and (taken[name] or member):
                made.lost.append((name, lines, taken[name], member))
            taken[name] = member
            if member is not None:
                made.members[name] = member
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            made.fields[statement.target.id] = statement.annotation
            if statement.value is not None:
                made.defaults[statement.target.id] = statement.value
        if isinstance(statement, ast.ClassDef):
            made.nested.add(statement.name)
    made.members = {name: made.members[name] for name in taken if name in made.members}  # where each name stood first
    return made


def _assigned(
    text: Text, made: Written, statement: ast.stmt, scope: Mapping[str, Any]
) -> Iterator[tuple[str, Member | None, frozenset[int]]]:
    line = frozenset({statement.lineno})
    if isinstance(statement, Function):
        member = _member(text, statement.name, statement, made.members, scope)
        yield statement.name, member, member.lines
    elif isinstance(statement, ast.ClassDef):
        yield statement.name, None, line
    elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        name = statement.targets[0].id
        found = _function_in(text, statement.value, made.members, scope)
        yield name, found and Member(name, found.node, found.lines | line, found.marks, found.wrappers), line
    elif isinstance(statement, ast.AnnAssign) and statement.value and isinstance(statement.target, ast.Name):
        yield statement.target.id, None, line


def _function_in(text: Text, value: ast.expr, body: Mapping[str, Member], scope: Mapping[str, Any]) -> Member | None:
    """The function that an assigned expression comes to, with its marks."""
    if isinstance(value, ast.Name):
        return body.get(value.id) or text.functions.get(value.id)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Call) and len(value.args) == 1:
        inner, mark = _function_in(text, value.args[0], body, scope), _mark(text, value.func, body, scope)
        if inner is not None and mark is not None:
            return Member(inner.name, inner.node, inner.lines, (mark, *inner.marks), inner.wrappers)
    return None


def _member(
    text: Text, name: str, node: Function, body: Mapping[str, Member], scope: Mapping[str, Any] | None = None
) -> Member:
    marks = [_mark(text, decorator, body, scope or {}) for decorator in node.decorator_list]
    wrappers = [ast.unparse(each) for each, mark in zip(node.decorator_list, marks, strict=True) if mark is None]
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return Member(
        name, node, frozenset(range(first, node.lineno + 1)), tuple(mark for mark in marks if mark), tuple(wrappers)
    )


def _mark(text: Text, decorator: ast.expr, body: Mapping[str, Member], scope: Mapping[str, Any]) -> Mark | None:
    call = decorator if isinstance(decorator, ast.Call) else None
    name = ast.unparse(call.func if call else decorator)
    if name not in ("step", "compensates"):
        return None
    options = {str(each.arg): text.value(each.value, scope) for each in call.keywords} if call else {}
    target: Any = None
    if name == "compensates" and call and call.args:
        given = call.args[0]
        if isinstance(given, ast.Constant):
            target = given.value if isinstance(given.value, str) else None
        elif isinstance(given, ast.Name):
            member = body.get(given.id) or text.functions.get(given.id)
            target = member.node if member and member.mark and member.mark.kind == "step" else None
    return Mark(name, options, target)
