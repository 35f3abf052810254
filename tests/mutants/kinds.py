"""Types, judged by what their values can be: whether one can be another, and whether it can be stored as JSON."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel

from allframe import Event, Inject, StepContext, Unknown

__all__ = ["MISSING", "can_be", "is_context", "is_injected", "is_storable", "members", "takes_unknown"]

#: Where nothing is written.
MISSING: Final = object()
_INJECTED: Final = get_args(Inject[int])[1]


def members(kind: Any) -> list[Any]:
    """The members of a union, without ``Annotated``."""
    if get_origin(kind) is Annotated:
        return members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return [inner for member in get_args(kind) for inner in members(member)]
    return [type(None) if kind is None else kind]


def is_injected(kind: Any) -> bool:
    """Whether it is ``Inject[T]`` of a T that is a type."""
    return (
        get_origin(kind) is Annotated and _INJECTED in get_args(kind)[1:] and not isinstance(get_args(kind)[0], TypeVar)
    )


def is_context(kind: Any) -> bool:
    return StepContext in members(kind)


def takes_unknown(kind: Any) -> bool:
    return any(_is_open(member) or member is Unknown for member in members(kind))


def _is_open(kind: Any) -> bool:
    """Whether anything can be one."""
    return kind in (Any, object, MISSING) or isinstance(kind, TypeVar)


def can_be(made: Any, taken: Any) -> bool | None:
    """Whether what is ``made`` is what ``taken`` asks for: yes, never, or (None) now and then, or nobody can say.

    What has no annotation is plain JSON.
    """
    if made is MISSING:
        return True if any(can_be(plain, taken) for plain in members(_JSON)) else None
    best = [max((_fits(one, other) for other in _consumers(taken)), default=_NEVER) for one in members(made)]
    return True if min(best) == _ALWAYS else False if max(best) == _NEVER else None


_NEVER, _PERHAPS, _ALWAYS = range(3)
_JSON: Final = None | bool | int | float | str | list | dict


def _consumers(taken: Any) -> list[Any]:
    return [member for member in members(taken) if member is not Unknown]


def _fits(made: Any, taken: Any) -> int:
    if _is_open(made) or _is_open(taken) or made == taken:
        return _ALWAYS
    if get_origin(made) is Literal or get_origin(taken) is Literal:
        return _PERHAPS if _literally(made, taken) else _NEVER
    one, other = get_origin(made) or made, get_origin(taken) or taken
    if not (isinstance(one, type) and isinstance(other, type)):
        return _PERHAPS
    never = _NEVER
    if (one, other) in ((int, float), (bool, float)):
        return _ALWAYS
    if issubclass(one, Event) and not issubclass(one, other) and (issubclass(other, Event) or not is_storable(other)):
        return _PERHAPS  # an upcaster may make another event of it, which may be whatever is no other data
    if issubclass(one, other):
        return _ALWAYS if _arguments_fit(get_args(made), get_args(taken)) else never
    return _PERHAPS if issubclass(other, one) else never


def _literally(made: Any, taken: Any) -> bool:
    if get_origin(made) is Literal and get_origin(taken) is Literal:
        return bool(set(get_args(made)) & set(get_args(taken)))
    values, other = (get_args(made), taken) if get_origin(made) is Literal else (get_args(taken), made)
    return any(_fits(type(value), other) != _NEVER for value in values)


def _arguments_fit(made: tuple[Any, ...], taken: tuple[Any, ...]) -> bool:
    """An empty container is of every kind; nobody declares one for that."""
    if not made or not taken or len(made) != len(taken) or Ellipsis in (*made, *taken):
        return True
    return all(can_be(one, other) is not False for one, other in zip(made, taken, strict=True))


_PLAIN: Final = (bool, int, float, str, bytes, Decimal, UUID, date, datetime, time, timedelta, type(None))


def is_storable(kind: Any) -> bool | None:
    """Whether values of it can be stored as JSON and read back; None if nobody can say."""
    if _is_open(kind):
        return None
    found = [_is_storable(member) for member in members(kind)]
    if len(found) > 1:  # which member was stored must show in the JSON: that is another question
        return False if all(each is False for each in found) else True if all(found) else None
    return found[0]


def _is_storable(kind: Any) -> bool | None:
    if _is_open(kind) or kind is Unknown:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return True
    if origin is collections.abc.Callable:
        return False
    if origin is not None:
        inner = [is_storable(argument) for argument in arguments if argument is not Ellipsis]
        return False if False in inner else None if None in inner else True
    if not isinstance(kind, type):
        return None
    if kind in _PLAIN or kind in (list, dict, tuple, set, frozenset) or issubclass(kind, BaseModel | Enum):
        return True
    return dataclasses.is_dataclass(kind) and all(
        is_storable(hint) is not False for hint in get_type_hints(kind, include_extras=True).values()
    )
