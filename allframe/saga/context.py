"""What a step sees, and what it can say: `StepContext`, `Unknown`, `Refused`, `EffectUnknown`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from allframe.errors import ErrorInfo, PayloadError
from allframe.events.event import Event, is_stream_name

__all__ = ["EffectUnknown", "Refused", "StepContext", "Unknown", "UnknownReason", "idempotency_key"]


class Refused(Exception):
    """Raise it in a step when the other side said no: ``raise Refused("card declined")``.

    The step left no effect, is not tried again, and the saga rolls the other steps back. It is shown apart from bugs.
    """

    __module__ = "allframe"  # it is told and stored by its public name


class EffectUnknown(Exception):
    """Raise it in a step that cannot say whether it took effect. The step is rolled back with the others."""

    __module__ = "allframe"  # it is told and stored by its public name


class UnknownReason(StrEnum):
    """Why nobody can say whether a step took effect."""

    #: Its deadline passed.
    DEADLINE = "deadline"
    #: It was cut because the saga was cancelled.
    CANCELLED = "cancelled"
    #: It raised something that says nothing about the effect: a timeout, a reset, `EffectUnknown`, ``SystemExit``, …
    SILENCE = "silence"
    #: The process died in it.
    CRASH = "crash"
    #: It succeeded, and what it returned could not be stored.
    OUTPUT_LOST = "output_lost"


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a compensation is given in place of an output that nobody has: the step may or may not have taken effect."""

    reason: UnknownReason
    #: The exception behind it, where there was one.
    error: ErrorInfo | None
    #: How many attempts were begun.
    attempts: int


def _never() -> bool:
    return False


@dataclass(slots=True)
class StepContext:
    """Where a step stands: ask for it with a parameter annotated ``StepContext``."""

    saga_id: str
    #: The stored name of the step; in a compensation, of the step that it undoes.
    step: str
    #: From 1, counting on over crashes.
    attempt: int
    #: The same for every attempt, after every crash: give it to the other side, so that it does the work once. A
    #: compensation has a key of its own.
    idempotency_key: str
    #: In a compensation: the key of the step that it undoes. In a step: its own.
    forward_key: str
    #: When the attempt will be cut, on the clock of ``anyio.current_time()``; None for never.
    deadline: float | None
    #: Grows with each opening of the store: a far side that remembers the highest it saw can refuse a late comer.
    fencing_token: int
    #: In a compensation: the output of the step that it undoes, or an `Unknown`.
    outcome: Any = field(default=None, repr=False)
    _is_cancelled: Callable[[], bool] = field(default=_never, repr=False)
    _emitted: list[tuple[Event, str | None]] = field(default_factory=list, repr=False)

    def emit(self, event: Event, *, stream: str | None = None) -> None:
        """Append ``event`` to the store together with the record of this attempt, if it succeeds.

        It goes to ``stream``, or to the event's own ``__stream__``, or to the stream named by the saga's id.

        Raises:
            PayloadError: if it is no event, or ``stream`` is no name or one that is allframe's own.
        """
        if not isinstance(event, Event):
            raise PayloadError(f"emit() takes an Event, found {type(event).__qualname__}.")
        if stream is not None and not is_stream_name(stream):
            raise PayloadError(
                f"Stream {stream!r} cannot be written: a name is Unicode text without a NUL character, and those that "
                "begin with '$' are allframe's own."
            )
        self._emitted.append((event, stream))

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should end: its deadline passed, the saga was cancelled, or the orchestrator has left.

        A sync step runs on a thread, which nobody can interrupt. One that takes long looks here from time to time, and
        raises or returns. An async step is interrupted, and need not look.
        """
        return self._is_cancelled()

    @property
    def emitted(self) -> Sequence[tuple[Event, str | None]]:
        """What was emitted so far, with the stream that was named for it."""
        return tuple(self._emitted)


def idempotency_key(saga_id: str, step: str, direction: str) -> str:
    """``transfer-100/debit/do``: stable, readable, and safe in an HTTP header.

    Anything but letters, digits and ``-_.~/:@`` is percent-encoded. ``direction``: ``"do"`` or ``"undo"``.
    """
    return f"{_quoted(saga_id)}/{_quoted(step)}/{direction}"


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return quote(text, safe="/:@")
