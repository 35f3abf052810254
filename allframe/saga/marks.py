"""What `@step` and `@compensates` leave on a function."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import CodeType
from typing import Any, Final, Literal, cast

from pydantic import ConfigDict

from allframe.saga.retry import Retry
from allframe.source import place_of_caller

__all__ = [
    "DEFAULT_TIMEOUT",
    "FROZEN",
    "MARK",
    "CompensationMark",
    "Misplaced",
    "Plain",
    "SagaOptions",
    "StepMark",
    "code_of",
    "function_of",
    "is_same",
    "mark_of",
    "marked",
    "place_of_function",
]

#: The attribute that holds the mark.
MARK: Final = "__allframe_mark__"


class _Default(float):
    """A number of seconds that nobody asked for."""


#: An attempt of an async step is cut after this many seconds, unless it says otherwise. A thread cannot be cut.
DEFAULT_TIMEOUT: Final = _Default(30.0)


@dataclass(frozen=True, slots=True)
class StepMark:
    """What was said of a step. It holds nothing that belongs to a place in one class."""

    name: str | None
    timeout: float | timedelta | None
    retry: Retry | None
    #: The steps that it runs after, as they were given; None: every step written above it.
    after: tuple[Any, ...] | None
    readonly: bool
    pivot: bool
    repeatable: bool
    idempotent: bool
    unknown_on: tuple[Any, ...]
    known_on: tuple[Any, ...]
    #: Advice that does not hold of it, with the reasons, as it was given.
    waive: Any = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class SagaOptions:
    """What was said of a saga as a whole, and is inherited."""

    timeout: float | timedelta | None = None
    unknown_on: tuple[Any, ...] = ()
    known_on: tuple[Any, ...] = ()
    #: Whether types are checked while its steps run; None: if they are by default.
    typecheck: bool | None = None
    #: Advice that does not hold of anything in it, with the reasons, as it was given; and what the classes above it waive.
    waive: Any = field(default=None, hash=False)
    waived_above: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class CompensationMark:
    """What was said of a compensation."""

    #: The name of the step; or its function, until the class is made and it is known by which name it goes there.
    step: Any
    timeout: float | timedelta | None
    retry: Retry
    if_unknown: Literal["call", "fail"]
    #: Advice that does not hold of it, with the reasons, as it was given.
    waive: Any = field(default=None, hash=False)


class Plain(staticmethod):  # type: ignore[type-arg]
    """A plain function that is a step: ``saga.first(...)`` calls it without ``self``."""


class Misplaced:
    """Something that was marked and cannot be a step. The rule AF113 says so, of the name that it has in the class.

    ``text``: what is wrong with it, where its kind does not say so. ``where``: ``path:line`` of the marking.
    """

    def __init__(self, thing: Any, mark: StepMark | CompensationMark, text: str | None = None) -> None:
        self.thing = thing
        self.text = text
        self.where = place_of_caller("allframe.saga")
        setattr(self, MARK, mark)

    def __call__(self, *_: Any, **__: Any) -> Misplaced:
        """Itself, so that it stays in the class where it was used as a decorator: ``@step("debit")``."""
        return self


#: What a saga and a step object are as models of pydantic.
FROZEN: Final = ConfigDict(
    frozen=True,
    extra="forbid",
    ignored_types=(Misplaced,),
    # Bytes need not be text.
    ser_json_bytes="base64",
    val_json_bytes="base64",
    # Until it is compiled, so that a field that cannot be stored is told like every other problem.
    defer_build=True,
)


def marked(function: Any, mark: StepMark | CompensationMark) -> Any:
    """A copy of ``function`` that carries ``mark``; the one that was handed in stays as it is."""
    if isinstance(function, Misplaced):
        return function
    if not isinstance(function, types.FunctionType):
        return Misplaced(function, mark)
    before = mark_of(function)
    if before is not None and type(before) is not type(mark):
        return Misplaced(function, mark, "is marked as a step and as a compensation. Write a method for each.")
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(copy, function)
    del copy.__dict__["__wrapped__"]
    # With the function's own __wrapped__: a decorator below leaves the signature there.
    copy.__dict__.update(function.__dict__)
    setattr(copy, MARK, mark)
    return copy


def mark_of(value: Any) -> StepMark | CompensationMark | None:
    """The mark on ``value``, also where a ``staticmethod``, a ``property`` or the like is wrapped around it."""
    found = getattr(_inner(value), MARK, None)
    return found if isinstance(found, StepMark | CompensationMark) else None


def function_of(value: Any) -> Any:
    """The function that was put into the class as a step; anything else as it is."""
    return value.__func__ if isinstance(value, Plain) else value


def is_same(value: Any, given: Any) -> bool:
    """Whether ``value`` is ``given``, or the marked copy of it."""
    ours, theirs = _inner(value.thing if isinstance(value, Misplaced) else value), _inner(given)
    return ours is theirs or (
        isinstance(ours, types.FunctionType)
        and isinstance(theirs, types.FunctionType)
        and (ours.__code__, ours.__closure__) == (theirs.__code__, theirs.__closure__)
    )


def code_of(value: Any) -> CodeType | None:
    """The code of the function below all decorators, if there is one."""
    inner = _inner(value)
    function = inspect.unwrap(inner) if callable(inner) else inner
    return getattr(function, "__code__", None)


def place_of_function(value: Any) -> str | None:
    """``path:line`` of a function, or of where something else was marked; None where that cannot be known."""
    if isinstance(value, Misplaced):
        return value.where
    code = code_of(value)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None


def _inner(value: Any) -> Any:
    """What a descriptor is wrapped around."""
    match value:
        case staticmethod() | classmethod() | types.MethodType():
            return value.__func__
        case property():
            return value.fget
        case functools.cached_property() | functools.partial() | functools.partialmethod():
            return cast("Callable[..., Any]", value.func)
    return value
