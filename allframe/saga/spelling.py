"""Annotations as people write them."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from allframe.saga.annotations import MISSING

__all__ = ["show", "show_both"]


def show(annotation: Any, *, full: bool = False) -> str:
    """An annotation by the names of its classes, without marks; ``full``: with the modules that they are of."""
    if annotation is MISSING:
        return "something without an annotation"
    if annotation in (None, type(None)):
        return "None"
    if annotation is ...:
        return "..."
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return show(arguments[0], full=full)
    if origin in (Union, types.UnionType):
        return " | ".join(show(member, full=full) for member in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(map(_value, arguments))}]"
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(show(part, full=full) for part in annotation)}]"
    if origin is not None:
        inside = ", ".join(show(part, full=full) for part in arguments)
        return f"{_name(origin, full=full)}[{inside or '()'}]"
    return _name(annotation, full=full)


def show_both(made: Any, taken: Any) -> tuple[str, str]:
    """Two annotations that differ, so that one can see how."""
    short = show(made), show(taken)
    return short if short[0] != short[1] else (show(made, full=True), show(taken, full=True))


def _value(value: Any) -> str:
    return f"{type(value).__name__}.{value.name}" if hasattr(value, "name") else repr(value)


def _name(annotation: Any, *, full: bool) -> str:
    name = getattr(annotation, "__name__", None)
    if name is None:
        return str(annotation).replace("typing.", "")
    module = getattr(annotation, "__module__", "builtins")
    return f"{module}.{getattr(annotation, '__qualname__', name)}" if full and module != "builtins" else str(name)
