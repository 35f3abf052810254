"""Where code stands, as ``path:line``: for whoever has to look there."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

__all__ = [
    "names_of_caller",
    "note_place",
    "place_here",
    "place_in",
    "place_of",
    "place_of_caller",
    "place_of_function",
]


def place_in(frame: FrameType) -> str:
    """``path:line`` of what ``frame`` runs."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def place_of_caller(*rooms: str) -> str:
    """``path:line`` of the nearest caller who is in none of these packages. ``rooms``: their names."""
    return place_in(_caller(rooms))


def names_of_caller(*rooms: str) -> Mapping[str, Any]:
    """The local names of that caller: what annotations of functions that were made there may mean. Empty at the top."""
    frame = _caller(rooms)
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _caller(rooms: tuple[str, ...]) -> FrameType:
    inside = (f"{__name__}.", *(f"{room}." for room in rooms))
    frame = sys._getframe(1)  # noqa: SLF001 - the way to it that costs next to nothing
    while frame.f_back is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(inside):
        frame = frame.f_back
    return frame


def place_of_function(function: Callable[..., Any]) -> str:
    """Where a function is written, as ``path:line`` so far as that can be known, and its qualified name."""
    bare = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(bare, "__code__", None)
    name = getattr(bare, "__qualname__", type(bare).__qualname__)
    return f"{code.co_filename}:{code.co_firstlineno} ({name})" if code else f"{type(bare).__module__} ({name})"


def place_here(module: str) -> str | None:
    """``path:line`` of the code of ``module`` that runs now, if any does.

    While a class of that module is made, this is its ``class`` statement.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the way to it that costs next to nothing
    while frame is not None and frame.f_globals.get("__name__") != module:
        frame = frame.f_back
    return place_in(frame) if frame else None


def note_place(cls: type) -> None:
    """Note in ``cls`` where its ``class`` statement stands, for `place_of`; to be called while that runs."""
    if place := place_here(cls.__module__):
        type.__setattr__(cls, "__allframe_place__", place)


def place_of(cls: type) -> str:
    """Where ``cls`` is defined, as ``path:line`` so far as that can be known, and its qualified name.

    A class may have noted its own: `note_place`.
    """
    place = cls.__dict__.get("__allframe_place__")
    if place is None:
        module = sys.modules.get(cls.__module__)
        place = getattr(module, "__file__", None) or cls.__module__
        line = cls.__dict__.get("__firstlineno__")  # CPython 3.13 notes it
        place = f"{place}:{line}" if line else place
    return f"{place} ({cls.__qualname__})"
