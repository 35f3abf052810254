"""TARGET: ``package.module:Saga`` or ``path/to/file.py:Saga``, made into a class, or into what it is compiled to.

A module is imported once under one name, whichever way it is named, for a saga class that exists twice could not be
told apart in the store: a file that an import would find is imported by its dotted name.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import keyword
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeGuard, TypeVar, cast

from allframe import Saga, SagaDefinition, SagaGraph, SagaStep, VersionRegistry
from allframe.cli.exits import Exit, Stop
from allframe.errors import DefinitionError

__all__ = [
    "ImportFailed",
    "Target",
    "built_sagas_of",
    "held_by",
    "is_saga",
    "is_step",
    "load_graph",
    "load_module",
    "load_package",
    "load_target",
    "sagas_of",
    "split",
    "steps_of",
    "versions_of",
]

T = TypeVar("T")


class ImportFailed(Stop):
    """A module that is there cannot be imported. ``where``: ``path:line`` of what failed, so far as it is known."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message, Exit.DEFINITION)
        self.where = where


@dataclass(frozen=True, slots=True)
class Target:
    module: ModuleType
    saga: type[Saga]


def load_target(text: str) -> Target:
    """The saga that ``text`` names; without a name, the only saga of the module.

    Raises:
        Stop: the module or the saga is not there (usage), or importing it fails (definition).
        DefinitionError: it is not well defined.
    """
    place, name = split(text)
    module = load_module(place)
    built = built_sagas_of(module).get(name)
    if built is not None:
        raise Stop(
            f"{place}:{name} is a SagaDefinition: the one saga {built.id!r}, whose input is in its steps, so there is none "
            f"to give it. Run it in Python, by run({name}) or orchestrator.execute({name}). To run a saga for every line of "
            "an input, declare a class of sagas."
        )
    return Target(module, _pick(text, module, sagas_of(module)))


def load_graph(text: str) -> SagaGraph:
    """What the saga is compiled to that ``text`` names: a class, or a `SagaDefinition` that a module holds.

    Raises:
        Stop, DefinitionError: as `load_target`.
    """
    module = load_module(split(text)[0])
    sagas: dict[str, type[Saga] | SagaDefinition] = {**sagas_of(module), **built_sagas_of(module)}
    return _pick(text, module, sagas).graph


def _pick(text: str, module: ModuleType, sagas: dict[str, T]) -> T:
    """The one among ``sagas`` that ``text`` names; without a name, the only one.

    Raises:
        Stop: if there is none.
    """
    place, name = split(text)
    if not name and len(sagas) == 1:
        return next(iter(sagas.values()))
    if not name:
        raise Stop(f"{text} names no saga. Write {place}:NAME; {_there_are(place, sagas)}.")
    if name in sagas:
        return sagas[name]
    if _is_saga(vars(module).get(name)):
        return cast("T", vars(module)[name])  # a base for others: whoever uses it is told so
    if name in vars(module):
        raise Stop(f"{place}:{name} is no saga: {_what(vars(module)[name])}. {_there_are(place, sagas)}.")
    nearest = get_close_matches(name, sagas, n=1)
    hint = f"Did you mean {place}:{nearest[0]}? " if nearest else ""
    raise Stop(f"{place} has no saga {name!r}. {hint}{_there_are(place, sagas)}.")


def split(text: str) -> tuple[str, str]:
    """``"a/b.py:Saga"`` as ``("a/b.py", "Saga")``; the name is empty where there is none."""
    place, colon, name = text.rpartition(":")
    if not colon or "/" in name or "\\" in name:
        return text, ""
    return place, name


def load_module(place: str) -> ModuleType:
    """The module that ``place`` names: dotted, or a path to a file.

    Raises:
        Stop: it is not there (usage), or importing it fails (definition).
        DefinitionError: a saga in it is not well defined.
    """
    if not place:
        raise Stop("TARGET names no module. Expected package.module:Saga or path/to/file.py:Saga.")
    if place.endswith(".py") or "/" in place:
        return _import_file(Path(place))
    return _import_dotted(place)


def load_package(folder: Path) -> ModuleType:
    """The package that an absolute folder is, by its dotted name.

    Raises:
        Stop, DefinitionError: as `load_module`.
    """
    root, name = _dotted_name(folder)
    _put_on_path(root)
    return _import_dotted(name)


def sagas_of(module: ModuleType) -> dict[str, type[Saga]]:
    """The sagas that a module offers, by name, whether it defines or imports them, without those that are only a base."""
    return {name: value for name, value in _held(module) if is_saga(value)}


def built_sagas_of(module: ModuleType) -> dict[str, SagaDefinition]:
    """The sagas that were built and that a module holds, by name."""
    return {name: value for name, value in _held(module) if isinstance(value, SagaDefinition)}


def steps_of(module: ModuleType) -> dict[str, type[SagaStep]]:
    """The classes of steps that a module offers, by name, without those that are only a base for others."""
    return {name: value for name, value in _held(module) if is_step(value)}


def held_by(module: ModuleType) -> Iterator[tuple[str, object]]:
    """What a module has by name, and what its dicts, lists, tuples and sets have: ``("Order", ...)``, ``("SAGAS[0]", ...)``."""
    for name, value in list(vars(module).items()):
        if name[:2] == "__":
            continue
        if issubclass(type(value), _OURS):
            yield name, value
        # Of a class of the user's, asking for the items would run code.
        if type(value) is dict:
            yield from (
                (f"{name}[{key!r}]", item) for key, item in list(value.items()) if issubclass(type(item), _OURS)
            )
        elif type(value) in (list, tuple, set, frozenset):
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value) if issubclass(type(item), _OURS))


def is_saga(value: object) -> TypeGuard[type[Saga]]:
    """Whether it is a class of sagas, and not only a base for others."""
    return _is_saga(value) and not value.__allframe_abstract__


def is_step(value: object) -> TypeGuard[type[SagaStep]]:
    """Whether it is a class of steps, and not only a base for others."""
    return isinstance(value, type) and issubclass(value, SagaStep) and not value.__allframe_abstract__


def versions_of(modules: Iterable[ModuleType]) -> VersionRegistry | None:
    """The registry that modules hold in an attribute; of several, one of all their upcasters.

    Raises:
        DefinitionError: (AF121) if these do not go together, or lead to no class.
    """
    found = [value for module in modules for _, value in _held(module) if isinstance(value, VersionRegistry)]
    registries = list({id(registry): registry for registry in found}.values())
    for registry in registries:
        registry.check()
    if len(registries) < 2:
        return registries[0] if registries else None
    merged = VersionRegistry(models=[model for registry in registries for model in registry.models])
    for registry in registries:
        for path in registry.get_migrations():
            merged.register_migration(path)
    return merged


def _held(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a module holds that may be ours. A stand-in (a proxy, a lazy object) is not asked what it is: it may fail."""
    return ((name, value) for name, value in list(vars(module).items()) if issubclass(type(value), _OURS))


_OURS: Final = (type, SagaDefinition, VersionRegistry)


def _is_saga(value: object) -> TypeGuard[type[Saga]]:
    return isinstance(value, type) and issubclass(value, Saga) and value is not Saga


def _what(value: object) -> str:
    return f"it is a {'class' if inspect.isclass(value) else type(value).__name__}"


def _there_are(place: str, sagas: dict[str, T]) -> str:
    return f"The sagas of {place} are: {', '.join(sagas)}" if sagas else f"{place} has no sagas"


def _import_dotted(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise Stop(f"{name!r} is no module name. Expected package.module:Saga or path/to/file.py:Saga.")
    _put_on_path(Path.cwd())
    try:
        module: object = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (name == missing or name.startswith(f"{missing}.")):
            raise Stop(
                f"There is no module {missing!r}. {_suggest_file(name)}It is looked for in {Path.cwd()} and where "
                "Python finds modules."
            ) from error
        raise _failed(name, error) from error
    except (DefinitionError, KeyboardInterrupt):
        raise
    except BaseException as error:  # it exits, or is a test module that skips itself
        raise _failed(name, error) from error
    # It may have put another object in its place, which holds nothing of ours.
    return module if isinstance(module, ModuleType) else ModuleType(name)


def _import_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise Stop(f"{path} is a folder. Name a file in it, such as {path}/sagas.py:Saga.")
    if not path.is_file():
        near = get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else [], n=1
        )
        raise Stop(f"There is no file {path}.{f' Did you mean {path.parent / near[0]}?' if near else ''}")
    path = path.resolve()
    modules: dict[str, Any] = dict(sys.modules)
    for name, module in modules.items():
        # Not asked for it: lazy modules load what they stand for, or fail.
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str) and name != "__main__" and Path(file).resolve() == path:
            return cast("ModuleType", module)
    root, name = _dotted_name(path)
    _put_on_path(root)
    return _import_dotted(name) if _leads_to(name, path) else _import_alone(path)


def _dotted_name(path: Path) -> tuple[Path, str]:
    """The folder to import from and the dotted name: up through every folder that is a package."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _leads_to(name: str, path: Path) -> bool:
    """Whether importing ``name`` would import this very file, without importing anything but its packages."""
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        return False
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - a package above it that cannot be imported: the file is imported alone
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path


def _import_alone(path: Path) -> ModuleType:
    """Import a file that no dotted name leads to, under a name that only its path decides."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"_allframe_file_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Stop(f"{path} cannot be imported: it is no Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, DefinitionError | KeyboardInterrupt):
            raise
        raise _failed(str(path), error) from error
    return module


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


def _suggest_file(name: str) -> str:
    path = Path(*name.split(".")).with_suffix(".py")
    return f"Did you mean {path}? " if path.is_file() else ""


def _failed(place: str, error: BaseException) -> ImportFailed:
    where = _where(error)
    text = f"{place} cannot be imported: {type(error).__name__}: {_words(error)}{f' ({where})' if where else ''}"
    return ImportFailed(text, where or _file_of(place))


def _file_of(module: str) -> str:
    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec(module)
        return (spec and spec.origin) or module
    return module


def _where(error: BaseException) -> str:
    """The line that failed in a module of the user's; empty if there is none."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}" if error.filename else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_OF_THE_USER)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


#: The folders of Python, of what is installed, and of allframe.
_NOT_OF_THE_USER: Final = (
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parents[1]) + os.sep,
)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001 - an error of the user's says what it likes
        return f"what it says cannot be said ({type(failed).__name__})"
