"""A function of the engine with one case taken out of it."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["cases", "without"]


def cases(cls: type, name: str) -> dict[str, ast.Module]:
    """For each case of a method or property, told in its own words, the method without it.

    A case is a branch of an ``if``, an arm of an ``a if b else c``, an operand of an ``and`` or an ``or``, or moves that are
    returned. Where two read alike, the second is ``"… #2"``.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(_function(cls, name))))
    found: dict[str, ast.Module] = {}
    for place, node in enumerate(ast.walk(tree)):
        for label, change in _changes(node):
            mutant = copy.deepcopy(tree)
            _replace(mutant, list(ast.walk(mutant))[place], change)
            again = sum(known.split(" #")[0] == label for known in found)
            found[f"{label} #{again + 1}" if again else label] = ast.fix_missing_locations(mutant)
    return found


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Each way to take a case out of ``node``: how it reads, and what stands in the node's place."""
    match node:
        case ast.If():
            yield f"if {ast.unparse(node.test)}", lambda same: same.orelse or [ast.Pass()]
        case ast.IfExp():
            yield ast.unparse(node.body), lambda same: same.orelse
            yield ast.unparse(node.orelse), lambda same: same.body
        case ast.BoolOp():
            for i, operand in enumerate(node.values):
                yield ast.unparse(operand), _dropping(i)
        case ast.Return(ast.Tuple([_, *_]) | ast.ListComp()):
            yield ast.unparse(node), lambda same: ast.Return(ast.Tuple([], ast.Load()))
        case _:
            return


def _dropping(i: int) -> Any:
    def change(same: ast.BoolOp) -> ast.expr:
        left = [*same.values[:i], *same.values[i + 1 :]]
        return left[0] if len(left) == 1 else ast.BoolOp(same.op, left)

    return change


def _replace(tree: ast.Module, node: ast.AST, change: Any) -> None:
    class Replace(ast.NodeTransformer):
        def visit(self, visited: ast.AST) -> Any:
            return change(node) if visited is node else self.generic_visit(visited)

    Replace().visit(tree)


def _function(cls: type, name: str) -> Any:
    found = vars(cls)[name]
    return found.fget if isinstance(found, property) else found


@contextmanager
def without(cls: type, name: str, mutant: ast.Module) -> Iterator[None]:
    """``cls`` with that method in the place of its own."""
    original = vars(cls)[name]
    names = dict(vars(inspect.getmodule(cls)))
    exec(compile(mutant, f"<{name} without a case>", "exec"), names)
    setattr(cls, name, names[name])
    try:
        yield
    finally:
        setattr(cls, name, original)
