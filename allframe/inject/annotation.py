"""What a parameter says to be given an object: ``Inject[T]``, or dishka's ``FromDishka[T]``."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

__all__ = ["Inject", "injected_type", "split_component", "type_name"]

T = TypeVar("T")


class _Injected:
    def __repr__(self) -> str:
        return "Injected"


_INJECTED: Final = _Injected()

#: ``bank: Inject[Bank]`` asks for the object that was provided for ``Bank``. To a type checker it is ``Bank``.
Inject = Annotated[T, _INJECTED]

#: dishka's own marks, by name: nobody who does without it should have to import it.
_DISHKA_MARKS: Final = frozenset({"_FromComponent", "FromDishka"})


def injected_type(annotation: Any) -> Any | None:
    """The type that ``annotation`` asks to inject, or None if it asks for nothing.

    One that names a component of a dishka container is given as ``Annotated[T, FromComponent("name")]``.
    """
    if get_origin(annotation) is not Annotated:
        return None
    wanted, *marks = get_args(annotation)
    components = [mark for mark in marks if _is_dishkas(mark)]
    named = next((mark for mark in components if mark.component), None)
    if named is not None:
        return Annotated[wanted, named]
    return wanted if components or any(isinstance(mark, _Injected) for mark in marks) else None


def split_component(wanted: Any) -> tuple[Any, str]:
    """The bare type of what `injected_type` gave, and the component that it is asked of; ``""`` for the default one."""
    if get_origin(wanted) is Annotated:
        kind, *marks = get_args(wanted)
        for mark in marks:
            if _is_dishkas(mark):
                return kind, mark.component
    return wanted, ""


def type_name(wanted: Any) -> str:
    """A type as a person writes it."""
    kind, component = split_component(wanted)
    name = kind.__qualname__ if isinstance(kind, type) else str(kind).replace("typing.", "")
    return f"{name} of component {component!r}" if component else name


def _is_dishkas(mark: object) -> bool:
    cls = type(mark)
    return cls.__module__.partition(".")[0] == "dishka" and cls.__qualname__ in _DISHKA_MARKS
