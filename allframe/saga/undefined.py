"""Why a name in an annotation means nothing, and what to do about it."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from allframe.errors import Problem
from allframe.naming import did_you_mean, nearest

__all__ = ["Undefined", "words_of"]


@dataclass(frozen=True, slots=True)
class Undefined:
    """An annotation that cannot be resolved.

    ``error``: how that showed. ``names``, ``module``: the names that could be seen, local ones and those of the module.
    ``place``: some ``path:line`` in the file that it stands in.
    """

    error: Exception
    names: Mapping[str, Any]
    module: Mapping[str, Any]
    place: str

    def problem(self, what: str, where: str, member: str | None = None) -> Problem:
        """It as a problem of ``what``, such as ``An annotation of 'debit'``."""
        near = self._near()
        said = str(getattr(self.error, "message", self.error)).rstrip(".")
        text = f"{what} cannot be resolved: {said}.{self._advice(near)}"
        return Problem("AF105", text, where, member, near)

    @property
    def _name(self) -> str | None:
        return self.error.name if isinstance(self.error, NameError) else None

    def _advice(self, near: tuple[str, ...]) -> str:
        found = self._name and _for_type_checkers(self.place.rpartition(":")[0], self._name)
        if found:
            how, line = found
            remedy = "import it at run time as well, at the end of the module if it would be a circle elsewhere"
            return (
                f" It is {how} under TYPE_CHECKING at {self.place.rpartition(':')[0]}:{line}, so only type checkers have it: "
                f"{remedy if how == 'imported' else 'define it at run time as well'}."
            )
        return f"{did_you_mean(near)} Define it in the module, or above the class."

    def _near(self) -> tuple[str, ...]:
        """Classes that are there and spelled nearly so, the nearest first."""
        if self._name is None:
            return ()
        known = {**self.module, **self.names}
        classes = [name for name, value in known.items() if isinstance(value, type) and name[:1] != "_"]
        return nearest(self._name, classes, likeness=0.75)


def words_of(annotation: Any) -> list[str]:
    """The names in the text of an annotation, each once; none where it is no text."""
    if not isinstance(annotation, str):
        return []
    try:
        tree = ast.parse(annotation.strip(), mode="eval")
    except SyntaxError:
        return []
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _for_type_checkers(path: str, name: str) -> tuple[str, int] | None:
    """Whether ``name`` is ``imported`` or ``defined`` in this file where only type checkers look, and in which line."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        for statement in _unseen(node):
            for inner in ast.walk(statement):
                if name in _bound_by(inner):
                    how = "imported" if isinstance(inner, ast.Import | ast.ImportFrom) else "defined"
                    return how, getattr(inner, "lineno", 0)
    return None


def _unseen(node: ast.AST) -> list[ast.stmt]:
    """The statements in it that do not run, for they are under ``if TYPE_CHECKING``."""
    match node:
        case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=test)) if _is_for_type_checkers(test):
            return node.orelse
        case ast.If(test=test) if _is_for_type_checkers(test):
            return node.body
    return []


def _is_for_type_checkers(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.BoolOp(op=ast.And(), values=values):
            return any(map(_is_for_type_checkers, values))
    return False


def _bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a statement gives a meaning to."""
    match node:
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in aliases)
        case ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _ if isinstance(alias := getattr(node, "name", None), ast.Name):  # type X = ..., of Python 3.12
            yield alias.id
