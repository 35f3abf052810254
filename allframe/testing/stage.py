"""`Stage`: the engine of production performs a saga on it, and each attempt ends as the script says.

It stands between the engine and the user's functions, and nowhere else: the orchestrator, the records, the retries and
the rollback are those of production.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel

from allframe.clock import Clock, SystemClock, from_microseconds
from allframe.saga.context import EffectUnknown, Refused, StepContext
from allframe.saga.perform import Attempt
from allframe.saga.running import RunningSaga
from allframe.saga.states import RUNNING
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

#: Seconds; short of any timeout that a saga could have.
_MOMENT: Final = 0.005

Body: TypeAlias = Callable[[], Awaitable[Any]]


class StageClock:
    """Wall time that need not be waited for: the running loop's, where that is virtual; else the machine's, set forward
    over every wait that was skipped.
    """

    def __init__(self) -> None:
        self._virtual = VirtualClock.running()
        self._clock: Clock = self._virtual or SystemClock()
        #: How far it was set forward.
        self.skipped = timedelta()

    @property
    def is_virtual(self) -> bool:
        """Whether the loop jumps by itself to where something is due."""
        return self._virtual is not None

    def now(self) -> datetime:
        return self._clock.now() + self.skipped

    def skip_to(self, time: datetime) -> None:
        """Set it forward to ``time``, unless the loop jumps there by itself."""
        if self._virtual is None:
            self.skipped += max(time - self.now(), timedelta())

    def expire(self, this: Attempt, due: datetime) -> None:
        """Have the deadline of ``this``, which is ``due``, be over, as if nobody had run since."""
        if self._virtual is not None:
            self._virtual.advance(max(this.scope.deadline - anyio.current_time(), 0.0))
        else:
            self.skip_to(due)
            this.scope.deadline = anyio.current_time()


class Stage:
    """Plays the script of one saga. Other sagas of the same store run as they are."""

    def __init__(self, saga_id: str, script: Script, clock: StageClock) -> None:
        #: Set when the process has died.
        self.crashed = anyio.Event()
        #: What the engine has in hand under an id.
        self.find: Callable[[str], RunningSaga | None] = lambda saga_id: None
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
        saga = self.find(self._saga_id)
        if self._skip_to(from_microseconds(until)) and saga is not None:
            saga.engine.spawn(saga.id, saga.expire)

    def _skip_to(self, time: datetime) -> bool:
        """Set time forward; but no further than to where the saga's own timeout decides what happens.

        Returns whether that passes on the way, and is to be recorded.
        """
        saga = self.find(self._saga_id)
        started = None if saga is None else saga.execution.started
        if saga is None or started is None or started.deadline is None or saga.execution.status not in RUNNING:
            self._clock.skip_to(time)
            return False
        deadline = from_microseconds(started.deadline)
        passes = deadline <= time and saga.execution.expired is None and not saga.execution.turning_back
        decides = passes and not saga.execution.committed
        self._clock.skip_to(deadline if decides else time)
        return passes and not self._clock.is_virtual

    async def _time_out(self, this: Attempt, due: datetime) -> None:
        """Wait for the deadline of ``this``, which cuts the wait, as that of the saga may; real time does not pass."""
        if not self._clock.is_virtual:
            # A moment of real time, in which everything begins that begins together with it.
            await anyio.sleep(_MOMENT)
            saga = self.find(self._saga_id)
            if self._skip_to(due) and saga is not None:
                with anyio.CancelScope(shield=True):
                    await saga.expire()
                await anyio.lowlevel.checkpoint()
            # It was cut by that, unless it is the pivot or comes after it.
            self._clock.expire(this, due)
        await anyio.sleep_forever()

    async def _play(self, ending: Staged, this: Attempt, body: Body) -> Any:
        due = self._clock.now() + timedelta(seconds=this.timeout or 0.0)
        if isinstance(ending, Late):
            output = await body()
            self._clock.expire(this, due)
            return output
        if getattr(ending, "effect", isinstance(ending, LostOutput)):
            await self._take_effect(ending, body)
        match ending:
            case Timeout():
                await self._time_out(this, due)
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
