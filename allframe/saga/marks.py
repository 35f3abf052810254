"""What `@step` and `@compensates` leave on a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from allframe.saga.retry import Retry

__all__ = ["MARK", "CompensationMark", "Misplaced", "StepMark", "mark_of", "place_of_function"]

#: The attribute that holds the mark.
MARK: Final = "__allframe_mark__"


@dataclass(frozen=True, slots=True)
class StepMark:
    """What was said of a step. It holds nothing that belongs to a place in one class."""

    name: str | None
    timeout: float | timedelta | None
    retry: Retry | None
    readonly: bool
    pivot: bool
    idempotent: bool


@dataclass(frozen=True, slots=True)
class CompensationMark:
    """What was said of a compensation."""

    step: str
    timeout: float | timedelta | None
    retry: Retry
    if_unknown: Literal["call", "fail"]


class Misplaced:
    """Something that was marked and is no function. The rule AF113 says so; until then it can be called."""

    def __init__(self, thing: Any, mark: StepMark | CompensationMark) -> None:
        self.thing = thing
        setattr(self, MARK, mark)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.thing(*args, **kwargs)


def mark_of(value: Any) -> StepMark | CompensationMark | None:
    """The mark on ``value``, also where a ``staticmethod`` or the like is wrapped around it."""
    mark = getattr(value, MARK, None)
    if mark is None and isinstance(value, staticmethod | classmethod):
        mark = getattr(value.__func__, MARK, None)
    return mark


def place_of_function(value: Any) -> str:
    """``path:line`` of a function, as far as that can be known."""
    function: Callable[..., Any] = getattr(value, "thing", value)
    function = getattr(function, "__func__", getattr(function, "func", function))
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(value)
