"""The package's own source files, parsed: what the tests about the code itself stand on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "allframe"


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    #: Dotted, such as ``allframe.saga.graph``; a package's ``__init__`` has the package's name.
    name: str
    path: Path
    #: Its text.
    text: str
    tree: ast.Module

    @property
    def file(self) -> str:
        """Its path from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def room(self) -> str:
        """The part of the house that it is in: ``saga``, ``errors``; ``allframe`` for the package's own face."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else parts[0]


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    #: The whole dotted name of the module.
    name: str
    line: int
    #: Whether it is done when the importing module is: neither inside a function nor only for type checkers.
    at_import: bool
    #: Whether only type checkers see it.
    typing_only: bool

    @property
    def deferred(self) -> bool:
        """Whether it hides inside a function."""
        return not self.at_import and not self.typing_only


@cache
def modules() -> dict[str, Module]:
    """Every module of the package, by dotted name."""
    found = (_parse(path) for path in sorted(PACKAGE.rglob("*.py")))
    return {module.name: module for module in found}


def imports(module: Module) -> Iterator[Import]:
    """What ``module`` imports; ``from allframe.saga import graph`` is an import of ``allframe.saga.graph``."""
    yield from _imports(module, module.tree, in_function=False, typing_only=False)


def own_imports(module: Module) -> Iterator[Import]:
    """Those of the package's own modules."""
    return (found for found in imports(module) if found.name.split(".")[0] == "allframe")


def calls(module: Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted text of what is called, such as ``connection.execute``."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _parse(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(name, path, text, ast.parse(text, filename=str(path)))


def _imports(module: Module, node: ast.AST, *, in_function: bool, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _names(module, child):
            yield Import(name, getattr(child, "lineno", 0), not (in_function or typing_only), typing_only)
        inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from _imports(module, ast.Module(child.body, []), in_function=inside, typing_only=True)
            yield from _imports(module, ast.Module(child.orelse, []), in_function=inside, typing_only=typing_only)
        else:
            yield from _imports(module, child, in_function=inside, typing_only=typing_only)


def _names(module: Module, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{module.file}:{node.lineno} imports relatively: write the whole name"
        base = node.module or ""
        inner = {f"{base}.{alias.name}" for alias in node.names} & modules().keys()
        yield from inner or {base}
