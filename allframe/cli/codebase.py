"""The modules of a code base: what a module, a file, a package or a folder comes to, each imported."""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

from allframe.cli.target import ImportFailed, load_module, load_package
from allframe.errors import DefinitionError

__all__ = ["Loaded", "load_all"]

#: A module; or why it could not be imported.
Loaded: TypeAlias = ModuleType | ImportFailed | DefinitionError

#: To import one of these is to run it.
_PROGRAMS: Final = frozenset({"__main__", "setup"})
_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def load_all(place: str) -> Iterator[Loaded]:
    """The modules that ``place`` names: a module or a file; a package, or a folder, with whatever is in it.

    Programs (``__main__.py``, ``setup.py``) are left out where they were not named, and so are hidden folders, virtual
    environments and what else nobody wrote here.

    Raises:
        Stop: it is not there.
    """
    folder = Path(place)
    if folder.is_dir() and not _is_module(place):
        yield from _in_folder(folder.resolve())
    else:
        yield from _with_parts(_loaded(place))


def _is_module(name: str) -> bool:
    """Whether Python finds a module of that name, and not only a folder."""
    if not name.isidentifier():
        return False
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - whatever hinders it, the folder is there
        return False
    return spec is not None and spec.origin is not None


def _loaded(place: str) -> Loaded:
    try:
        return load_module(place)
    except (ImportFailed, DefinitionError) as error:
        return error


def _with_parts(found: Loaded) -> Iterator[Loaded]:
    """A module and, if it is a package, what is in it."""
    yield found
    if not isinstance(found, ModuleType):
        return
    for part in pkgutil.iter_modules(getattr(found, "__path__", ()), f"{found.__name__}."):
        if part.name.rpartition(".")[2] not in _PROGRAMS:
            yield from _with_parts(_loaded(part.name))


def _in_folder(folder: Path) -> Iterator[Loaded]:
    if (folder / "__init__.py").is_file():
        try:
            package: Loaded = load_package(folder)
        except (ImportFailed, DefinitionError) as error:
            package = error
        yield from _with_parts(package)
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file() and path.stem not in _PROGRAMS:
            yield _loaded(str(path))
        elif path.is_dir() and _is_ours(path):
            yield from _in_folder(path)


def _is_ours(folder: Path) -> bool:
    return folder.name[0] != "." and folder.name not in _NOT_OURS and not (folder / "pyvenv.cfg").exists()
