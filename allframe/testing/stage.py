"""`Stage`: the engine of production performs a saga on it, and each attempt ends as the script says.

It stands between the engine and the user's functions, and nowhere else: the orchestrator, the records, the retries and
the rollback are those of production.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import anyio

from allframe.clock import Clock, SystemClock, from_microseconds
from allframe.saga.context import EffectUnknown, Refused, StepContext
from allframe.saga.perform import Attempt
from allframe.testing.clock import VirtualClock
from allframe.testing.outcomes import (
    Crash,
    Fail,
    Late,
    LostOutput,
    NoAnswer,
    Ok,
    Raise,
    Refuse,
    Return,
    Staged,
    Timeout,
)
from allframe.testing.script import Script

__all__ = ["Stage", "StageClock"]

Body: TypeAlias = Callable[[], Awaitable[Any]]


class StageClock:
    """Wall time that need not be waited for: the running loop's, where that is virtual; else the machine's, set forward
    over every wait that was skipped.
    """

    def __init__(self) -> None:
        self._virtual = VirtualClock.running()
        self._clock: Clock = self._virtual or SystemClock()
        self._skipped = timedelta()

    def now(self) -> datetime:
        return self._clock.now() + self._skipped

    def skip_to(self, time: datetime) -> None:
        """Set it forward to ``time``, unless the loop jumps there by itself."""
        if self._virtual is None:
            self._skipped += max(time - self.now(), timedelta())

    def expire(self, this: Attempt) -> None:
        """Have the deadline of ``this`` be over, as if nobody had run since."""
        remaining = max(this.scope.deadline - anyio.current_time(), 0.0)
        if self._virtual is not None:
            self._virtual.advance(remaining)
        else:
            self._skipped += timedelta(seconds=remaining)
            this.scope.deadline = anyio.current_time()

    async def time_out(self, this: Attempt) -> None:
        """Wait for the deadline of ``this``, which cuts the wait; real time does not pass."""
        if self._virtual is None:
            self.expire(this)
        await anyio.sleep_forever()


class Stage:
    """Plays the script of one saga. Other sagas of the same store run as they are."""

    def __init__(self, saga_id: str, script: Script, clock: StageClock) -> None:
        #: Set when the process has died.
        self.crashed = anyio.Event()
        self._saga_id, self._script, self._clock = saga_id, script, clock

    def call(self, context: StepContext, this: Attempt, body: Body) -> Body:
        """What is awaited in place of ``body``."""
        if context.saga_id != self._saga_id:
            return body
        is_undo = context.idempotency_key != context.forward_key
        ending = self._script.ending((context.step, is_undo), context.attempt)
        return body if isinstance(ending, Ok) else lambda: self._play(ending, this, body)

    def wait(self, until: int) -> None:
        """A retry is due then."""
        self._clock.skip_to(from_microseconds(until))

    async def _play(self, ending: Staged, this: Attempt, body: Body) -> Any:
        if isinstance(ending, Late):
            output = await body()
            self._clock.expire(this)
            return output
        if getattr(ending, "effect", isinstance(ending, LostOutput)):
            await self._take_effect(ending, body)
        match ending:
            case Timeout():
                await self._clock.time_out(this)
            case Crash():
                self.crashed.set()
                await anyio.sleep_forever()
            case Return():
                return ending.value
            case LostOutput():
                return _Unstorable()
        raise _error_of(ending)

    async def _take_effect(self, ending: Staged, body: Body) -> None:
        try:
            await body()
        except Exception:
            # Whatever it would have answered is lost with the answer, but for a case that promises an answer.
            if isinstance(ending, LostOutput | Return):
                raise


class _Unstorable:
    def __repr__(self) -> str:
        return "<an output that cannot be stored>"


def _error_of(ending: Staged) -> BaseException:
    match ending:
        case NoAnswer():
            return EffectUnknown("staged: the answer did not come")
        case Fail():
            return RuntimeError(ending.text)
        case Refuse():
            return Refused(ending.text)
        case Raise():
            return ending.error if isinstance(ending.error, BaseException) else ending.error()
    raise TypeError(f"Expected one of the endings of allframe.testing.outcomes, found {ending!r}.")
