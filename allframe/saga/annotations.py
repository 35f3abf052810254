"""What an annotation asks for, or may be."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, ForwardRef, TypeVar, Union, get_args, get_origin

from allframe.inject import injected_type
from allframe.saga.context import StepContext, Unknown

__all__ = ["MISSING", "accepts_unknown", "injected", "is_context", "members", "strip"]

#: What a parameter or a return without an annotation has.
MISSING: Any = inspect.Parameter.empty


def is_context(annotation: Any) -> bool:
    """Also where it may be None: a method is written so that tests call without a context."""
    return StepContext in members(annotation)


def injected(annotation: Any) -> Any | None:
    """The type that ``annotation`` asks to inject; None if it asks for nothing, or does not say for what."""
    found = injected_type(annotation)
    return None if isinstance(found, TypeVar) else found


def strip(annotation: Any) -> Any:
    """An annotation without ``Annotated``, and what stands behind a name made with ``type``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def members(annotation: Any) -> list[Any]:
    """The members of a union, flat; of anything else, itself."""
    annotation = strip(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in members(member)]
    return [type(None) if annotation is None else annotation]


def accepts_unknown(annotation: Any) -> bool:
    """Whether a parameter of this annotation can be given an `Unknown`; what cannot be decided, can."""
    return any(_accepts_unknown(member) for member in members(annotation))


def _accepts_unknown(member: Any) -> bool:
    if member in (Any, MISSING) or isinstance(member, TypeVar | ForwardRef | str):
        return True
    try:
        return isinstance(member, type) and issubclass(Unknown, member)
    except TypeError:  # a Protocol that cannot be asked
        return True
