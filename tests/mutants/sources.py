"""Files of sagas, cut into units: one saga, with whatever else of its file belongs to it."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

__all__ = ["SOURCES", "Part", "Unit", "units"]

#: A statement of a file that makes a class or a function.
Part: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_HERE: Final = Path(__file__).parent.parent


def _sources() -> tuple[str, ...]:
    """Modules whose sagas are mutated; ``tests/ports.py``, or the files of ``tests/ports/``, join them by being there."""
    ports = [*_HERE.glob("ports.py"), *sorted(_HERE.glob("ports/[!_]*.py"))]
    return ("tests.forty", *(".".join(path.relative_to(_HERE.parent).with_suffix("").parts) for path in ports))


SOURCES: Final = _sources()


@dataclass(frozen=True)
class Unit:
    """One saga of a file."""

    #: What mutants are called by: the name of its class, or of the function that builds it; after the name of its file
    #: where other files have one of that name.
    name: str
    #: The module that it was cut out of; what it does not make itself is taken from there.
    world: ModuleType
    #: Its class or function and what of the file it is made of (bases, plain functions, classes of steps), in order.
    parts: tuple[Part, ...]
    #: The expressions in the file that make an instance of it.
    instances: tuple[ast.Call, ...]


def units() -> Iterator[Unit]:
    """Every saga of every source, in the order of the files."""
    found = [unit for source in SOURCES for unit in _units_of(source)]
    often = Counter(unit.name for unit in found)
    for unit in found:
        file = unit.world.__name__.rpartition(".")[2]
        yield unit if often[unit.name] == 1 else replace(unit, name=f"{file}.{unit.name}")


def _units_of(source: str) -> Iterator[Unit]:
    world = importlib.import_module(source)
    assert world.__file__ is not None
    tree = ast.parse(Path(world.__file__).read_text(encoding="utf-8"))
    parts = {node.name: node for node in tree.body if isinstance(node, Part)}
    for name, part in parts.items():
        if _is_saga(part, parts) or _builds(part):
            own = _closure(name, parts)
            yield Unit(name, world, tuple(parts[each] for each in parts if each in own), tuple(_calls(tree, name)))


def _is_saga(part: Part, parts: dict[str, Part]) -> bool:
    """Whether it is a class of sagas that can be run."""
    return isinstance(part, ast.ClassDef) and _descends(part, parts, "Saga") and not _says(part, "abstract")


def _descends(part: Part, parts: dict[str, Part], root: str) -> bool:
    return isinstance(part, ast.ClassDef) and any(
        name == root or (name in parts and _descends(parts[name], parts, root)) for name in bases(part)
    )


def bases(cls: ast.ClassDef) -> list[str]:
    """The names of its bases, without their arguments."""
    bare = [base.value if isinstance(base, ast.Subscript) else base for base in cls.bases]
    return [base.id for base in bare if isinstance(base, ast.Name)]


def _says(cls: ast.ClassDef, keyword: str) -> bool:
    return any(each.arg == keyword and ast.unparse(each.value) == "True" for each in cls.keywords)


def _builds(part: Part) -> bool:
    """Whether it is a function that puts a saga together and returns it."""
    return not isinstance(part, ast.ClassDef) and ast.unparse(part.returns or ast.Constant("")) == "SagaDefinition"


def _closure(name: str, parts: dict[str, Part]) -> set[str]:
    """``name``, and the parts of the file that it is made of."""
    found: set[str] = set()
    todo = [name]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += [other for other in _mentions(parts[each]) if other in parts and _is_material(parts[other], parts)]
    return found


def _mentions(part: Part) -> set[str]:
    return {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}


def _is_material(part: Part, parts: dict[str, Part]) -> bool:
    """Whether sagas are made of it: a class of sagas or steps, or a class or a function with marks."""
    if _descends(part, parts, "Saga") or _descends(part, parts, "SagaStep"):
        return True
    functions = [node for node in ast.walk(part) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    marks = [node for each in functions for mark in each.decorator_list for node in ast.walk(mark)]
    return any(isinstance(node, ast.Name) and node.id in ("step", "compensates") for node in marks)


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    """Where the file makes an instance of it outside of functions and classes."""
    for statement in tree.body:
        if not isinstance(statement, Part):
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield node
