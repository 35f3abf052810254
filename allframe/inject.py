"""`Inject`, and where injected objects come from: one look-up for whoever needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

__all__ = ["Inject", "Provider", "injected_type", "type_name"]

T = TypeVar("T")


class _Injected:
    def __repr__(self) -> str:
        return "Injected"


_INJECTED: Final = _Injected()

#: ``bank: Inject[Bank]`` asks for the object that was provided for ``Bank``. To a type checker it is ``Bank``.
Inject = Annotated[T, _INJECTED]


def injected_type(annotation: Any) -> Any | None:
    """The type that ``annotation`` asks to inject, or None if it asks for nothing."""
    if get_origin(annotation) is not Annotated:
        return None
    wanted, *marks = get_args(annotation)
    return wanted if any(isinstance(mark, _Injected) for mark in marks) else None


class Provider:
    """Objects by the type under which they are asked for: a plain look-up, no subclasses, no construction."""

    def __init__(self, provide: Mapping[Any, object] | None = None) -> None:
        self._objects = dict(provide or {})

    def __contains__(self, wanted: Any) -> bool:
        return wanted in self._objects

    def get(self, wanted: Any) -> object:
        """The object for ``wanted``.

        Raises:
            KeyError: if there is none; callers look before they start anything.
        """
        return self._objects[wanted]

    def missing(self, wanted: Mapping[Any, str]) -> str:
        """What of ``wanted`` (types, and the place that asks for each) it does not have, as text; empty if nothing."""
        return ", ".join(f"{type_name(kind)} ({place})" for kind, place in wanted.items() if kind not in self)

    def names(self) -> str:
        """What it has, for an error's text."""
        return ", ".join(sorted(type_name(wanted) for wanted in self._objects)) or "nothing"


def type_name(wanted: Any) -> str:
    """A type as a person writes it."""
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
