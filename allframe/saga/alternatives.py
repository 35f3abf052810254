"""What an annotation names, behind aliases and marks: the members of its unions, the values of its Literals."""

from __future__ import annotations

import types
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    ForwardRef,
    Literal,
    LiteralString,
    Never,
    NoReturn,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import JsonValue
from typing_extensions import ReadOnly

from allframe.saga.annotations import MISSING
from allframe.saga.kinds import may_convert, substitute

__all__ = ["NOTHING", "UNSAID", "alternatives_of", "is_new_type", "lineage"]

#: No value is one of these.
NOTHING: Final = (Never, NoReturn)
#: Every value is one of these.
UNSAID: Final = (Any, object)
_JSON: Final = (str, int, float, bool, type(None), list, dict)
#: They say something of the place, and nothing of the type.
_WRAPPERS: Final = (Required, NotRequired, ReadOnly, Final)


def alternatives_of(annotation: Any) -> tuple[list[Any], bool]:
    """What an annotation names, flat; and whether it is an open list, of which any may be meant."""
    annotation, open_ended = _resolved(annotation)
    if annotation is JsonValue:
        return list(_JSON), True
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        found = [alternatives_of(member) for member in get_args(annotation)]
        return [each for members, _ in found for each in members], open_ended or any(is_open for _, is_open in found)
    if origin is Literal:
        return [Literal[value] for value in get_args(annotation)], open_ended
    return [annotation], open_ended


def _resolved(annotation: Any) -> tuple[Any, bool]:
    """What stands behind aliases and marks, `Any` for what cannot be said; and whether an alias refers to itself."""
    is_open = False
    while True:
        origin = get_origin(annotation)
        if annotation is JsonValue or annotation is MISSING:
            return JsonValue, True
        if origin is Annotated:
            annotation, *marks = get_args(annotation)
            if any(map(may_convert, marks)):
                return Any, is_open
        elif hasattr(annotation, "__value__"):
            is_open = is_open or _mentions(annotation.__value__, annotation if origin is None else origin)
            annotation = _value_of(annotation, origin)
        elif origin in _WRAPPERS:
            (annotation,) = get_args(annotation)
        else:
            return _said(annotation, origin), is_open


def _said(annotation: Any, origin: Any) -> Any:
    if annotation is None:
        return type(None)
    if annotation is LiteralString:
        return str
    said = isinstance(annotation, type | TypeVar) or annotation in NOTHING or is_new_type(annotation)
    known = isinstance(origin, type) or origin in (Union, Literal)
    if isinstance(annotation, str | ForwardRef) or origin is ClassVar or not (said or known):
        return Any
    return annotation


def _value_of(alias: Any, origin: Any) -> Any:
    if origin is None:
        return alias.__value__
    return substitute(origin.__value__, dict(zip(origin.__type_params__, get_args(alias), strict=False)))


def _mentions(annotation: Any, alias: Any) -> bool:
    if annotation is alias or get_origin(annotation) is alias:
        return True
    if isinstance(annotation, str | ForwardRef):
        return _written(annotation).split("[")[0] == str(alias.__name__)
    return any(_mentions(part, alias) for part in get_args(annotation))


def _written(name: str | ForwardRef) -> str:
    return name if isinstance(name, str) else name.__forward_arg__


def is_new_type(annotation: Any) -> bool:
    return hasattr(annotation, "__supertype__")


def lineage(annotation: Any) -> list[Any]:
    """A NewType, those that it is made of, and what they all are."""
    found = [annotation]
    while is_new_type(found[-1]):
        found.append(found[-1].__supertype__)
    return found
