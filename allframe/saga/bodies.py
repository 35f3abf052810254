"""The body of a saga class while it is run: it sees what Python forgets, a name that is given a second value."""

from __future__ import annotations

import contextlib
import sys
import types
from types import FrameType
from typing import Any

from pydantic._internal._model_construction import ModelMetaclass

from allframe.saga.marks import Misplaced, code_of, mark_of, marked, place_of_function
from allframe.source import place_in

__all__ = ["Body", "PydanticBody", "inherits"]

#: A dict, and what pydantic makes of it: it notes decorators that are overridden.
PydanticBody: Any = type(ModelMetaclass.__prepare__("", ()))


class Body(PydanticBody):  # type: ignore[misc]
    """A class body that remembers what was assigned twice: Python keeps only the second."""

    def __init__(self, bases: tuple[type, ...]) -> None:
        super().__init__()
        self._bases = bases
        #: Names assigned twice, with both places.
        self.doubled: list[tuple[str, str, str]] = []
        self._places: dict[str, str] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        mark = mark_of(value)
        if not (mark or name in self) and (below := _marked_below(value, f"{self.get('__qualname__')}.{name}")):
            value, mark = _hiding(value, below), mark_of(below)
        if mark is not None and not isinstance(value, types.FunctionType):
            value = marked(value, mark)  # a property around a step, and the like: pydantic would not have it
        place = self._place(name, value, sys._getframe(1))  # noqa: SLF001 - the body that is being run
        if name in self and (self._loses_a_mark(self[name], value) or self._overrides(name, value)):
            self.doubled.append((name, self._places.get(name, place), place))
            if mark is None:
                return  # a value that is no field would be pydantic's error, and not ours
        self._places[name] = place
        super().__setitem__(name, value)

    def _loses_a_mark(self, before: Any, value: Any) -> bool:
        if mark_of(value) is not None and code_of(before) is not None and code_of(before) is code_of(value):
            return False  # a = step(a)
        return mark_of(before) is not None or mark_of(value) is not None

    def _overrides(self, name: str, value: Any) -> bool:
        """Whether it is another function in the place of an inherited step or compensation, whose mark it has."""
        return code_of(value) is not code_of(self[name]) and any(inherits(base, name) for base in self._bases)

    def _place(self, name: str, value: Any, frame: FrameType) -> str:
        """Where ``name`` gets its value: the function's own place if it is written here."""
        code = code_of(value)
        written_here = code is not None and code.co_qualname == f"{self.get('__qualname__')}.{name}"
        return (written_here and place_of_function(value)) or place_in(frame)


def _marked_below(value: Any, name: str, depth: int = 4) -> types.FunctionType | None:
    """The marked function called ``name`` that ``value`` is wrapped around, though it has no mark itself."""
    for inside in _functions_in(value):
        is_it = inside.__code__.co_qualname == name and mark_of(inside) is not None
        if found := inside if is_it else depth and _marked_below(inside, name, depth - 1):
            return found
    return None


def _functions_in(value: Any) -> list[types.FunctionType]:
    """What a wrapper has of what it wraps: in the names that it uses, if it is a function, or in its attributes."""
    inside: list[Any] = []
    if isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # it has no value yet
                inside.append(cell.cell_contents)
    elif not isinstance(value, type):
        with contextlib.suppress(AttributeError):  # asked of object, for a __getattr__ of the user's may do anything
            inside += object.__getattribute__(value, "__dict__").values()
    return [each for each in inside if isinstance(each, types.FunctionType)]


def _hiding(value: Any, below: Any) -> Misplaced:
    text = "is wrapped by a decorator above its mark, and the mark is lost. Put functools.wraps on the decorator's wrapper."
    mark: Any = mark_of(below)
    hiding = Misplaced(value, mark, text if isinstance(value, types.FunctionType) else None)
    hiding.where = place_of_function(below) or hiding.where
    return hiding


def inherits(base: type, name: str) -> bool:
    """Whether ``base`` has a step or a compensation of this name."""
    return any(mark_of(vars(each).get(name)) is not None for each in base.__mro__)
