"""Whether what is said in options means anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from allframe import Retry
from tests.mutants.reading import UNREADABLE

__all__ = ["is_name", "nonsense"]


def nonsense(options: Mapping[str, Any], *, undo: bool = False) -> Iterator[str]:
    """The names of the options whose values mean nothing; ``undo``: of a compensation, which is always tried again."""
    for name, value in options.items():
        if value is not UNREADABLE and not _means_something(
            name.removeprefix("compensation_"), value, undo or name.startswith("compensation_")
        ):
            yield name


def _means_something(kind: str, value: Any, undo: bool) -> bool:
    if kind == "timeout":
        return value is None or _is_time(value)
    if kind == "retry":
        return _is_retry(value) or (value is None and not undo)
    if kind in ("readonly", "pivot", "repeatable", "idempotent", "abstract"):
        return isinstance(value, bool)
    if kind == "if_unknown":
        return value in ("call", "fail")
    if kind in ("unknown_on", "known_on"):
        kinds = value if isinstance(value, tuple) else (value,)
        return all(isinstance(each, type) and issubclass(each, Exception) for each in kinds)
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    """Seconds, more than none and fewer than a program can live."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    return _is_number(number) and 0 < number <= 1e9


def _is_retry(value: Any) -> bool:
    if not isinstance(value, Retry):
        return False
    numbers = (value.wait, value.factor, value.max_wait, value.jitter)
    return (
        isinstance(value.attempts, int)
        and value.attempts >= 1
        and all(_is_number(number) and not math.isnan(number) for number in numbers)
        and 0 <= value.wait < math.inf
        and 1 <= value.factor < math.inf
        and 0 <= value.max_wait < math.inf
        and 0 <= value.jitter <= 1
    )


def is_name(name: Any) -> bool:
    """Whether something can be stored under it."""
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and "/" not in name and name[0] != "$"
