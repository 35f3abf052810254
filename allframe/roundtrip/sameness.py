"""Whether what was read is what was written."""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

__all__ = ["comparable", "is_same"]


def is_same(loaded: Any, value: Any) -> bool:
    """Whether they are equal, or of the same types and content throughout."""
    return bool(loaded == value) or comparable(loaded) == comparable(value)


def comparable(value: Any) -> Any:
    """What is equal for values of the same types and content.

    Times are their instants: one in the hour that a clock shows twice, or never, equals no time of another zone, not
    even its own instant (PEP 495).
    """
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return datetime, value.astimezone(UTC)
    if isinstance(value, dict):
        return type(value), {comparable(key): comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return type(value), tuple(map(comparable, value))
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(comparable, value))
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return type(value), *map(comparable, (fields, value.__pydantic_extra__, value.__pydantic_private__))
    if dataclasses.is_dataclass(value):
        return type(value), *(comparable(getattr(value, field.name)) for field in dataclasses.fields(value))
    return type(value), value
