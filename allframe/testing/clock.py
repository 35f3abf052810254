"""`VirtualClock`: an event loop whose time jumps, so that a test that waits an hour takes no time.

The clock moves only when nothing else can happen: every task waits, and none of them for a thread. So what happens at
once happens in order, and a commit on a thread is never overtaken by a timeout, however slow the machine is. Wall time
(`allframe.clock.Clock`) moves with the loop's.

::

    clock = VirtualClock()

    async def main():
        await anyio.sleep(3600)        # at once
        clock.now()                    # an hour later

    clock.run(main)                    # or backend="uvloop", backend="trio"
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import anyio

from allframe.clock import threads_at_work
from allframe.testing.threads import KnowsThreads

__all__ = ["PATIENCE", "VirtualClock"]

T = TypeVar("T")

#: Real seconds of silence after which the clock jumps: what a socket, a pipe or a thread that nobody told of is given.
PATIENCE: Final = 0.003


class VirtualClock:
    """Time that passes only as far as somebody waits for it: of event loops, and of the wall.

    It is a `Clock`: hand it to ``SagaOrchestrator(..., clock=clock)``. Several loops may run by it, one after the other;
    its time goes on.

    Args:
        start: What the wall shows before any time has passed.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._shift = timedelta()
        self._holds: list[None] = []

    # --- what time it is

    def now(self) -> datetime:
        """What the wall shows, with a time zone."""
        return self._start + timedelta(seconds=self._elapsed) + self._shift

    def time(self) -> float:
        """Seconds that have passed since it was made: what ``anyio.current_time()`` says in its loops."""
        return self._elapsed

    # --- time passes

    def advance(self, seconds: float) -> None:
        """Let time pass while nobody else runs, as a computation does that never awaits. From any thread.

        What became due meanwhile happens at the next await. Where others are to run on time, just sleep instead:
        ``await anyio.sleep(seconds)``.

        Raises:
            ValueError: for a negative number: a loop's time never goes back. `shift` sets the wall back.
        """
        if not seconds >= 0:
            raise ValueError(
                f"A clock can be advanced by 0 seconds and more, found {seconds!r}. To set the wall back, use shift()."
            )
        self._elapsed += seconds

    def shift(self, **by: float) -> None:
        """Set the wall forward, or back, without any time passing: ``clock.shift(hours=-1)``, as `timedelta` has it."""
        self._shift += timedelta(**by)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Within it, time does not jump: for waiting for a thread, or another process, that the clock cannot see.

        It sees the threads of ``anyio.to_thread``, ``asyncio.to_thread`` and ``trio.to_thread`` (those of a limiter of
        your own excepted), and those of allframe.
        """
        self._holds.append(None)
        try:
            yield
        finally:
            self._holds.pop()

    @property
    def is_held(self) -> bool:
        """Whether something is under way that takes real time."""
        return bool(self._holds) or threads_at_work() > 0

    def reach(self, time: float) -> None:
        """Jump to ``time``, on the clock of `time`; harmless if it has passed."""
        self._elapsed = max(self._elapsed, time)

    # --- loops that run by it

    def run(self, function: Callable[..., Awaitable[T]], *args: Any, backend: str = "asyncio") -> T:
        """What the async ``function(*args)`` returns, run in a loop of its own: ``"asyncio"``, ``"uvloop"`` or ``"trio"``.

        Raises:
            RuntimeError: if a loop runs in this thread already.
        """
        name, options = self.backend(backend)
        return anyio.run(function, *args, backend=name, backend_options=options)

    def backend(self, name: str = "asyncio") -> tuple[str, dict[str, Any]]:
        """What anyio needs to run by this clock: the name of the backend, and its options.

        It is what a fixture ``anyio_backend`` returns, so that all async tests run by the clock. ``"uvloop"`` is asyncio
        on a loop of uvloop's.

        Raises:
            ValueError: for anything but ``"asyncio"``, ``"uvloop"`` and ``"trio"``.
            ModuleNotFoundError: if uvloop or trio is not installed.
        """
        if name == "asyncio":
            return name, {"loop_factory": self.new_loop}
        if name == "uvloop":
            from allframe.testing.uvloop_clock import JumpingUvloop

            return "asyncio", {"loop_factory": lambda: JumpingUvloop(self, PATIENCE)}
        if name == "trio":
            from allframe.testing.trio_clock import JumpingClock

            clock = JumpingClock(self, PATIENCE)
            return name, {"clock": clock, "instruments": [clock.watch]}
        raise ValueError(f"A virtual clock runs on 'asyncio', 'uvloop' and 'trio', found {name!r}.")

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """An asyncio loop that runs by this clock: ``asyncio.Runner(loop_factory=clock.new_loop)``."""
        return _JumpingLoop(self)

    @staticmethod
    def running() -> VirtualClock | None:
        """The clock by which the running loop runs; None if there is no loop, or it runs in real time."""
        trio = sys.modules.get("trio")
        # Trio first: as a guest, it runs inside an asyncio loop.
        if trio is not None and trio.lowlevel.in_trio_run():
            return getattr(trio.lowlevel.current_clock(), "virtual", None)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        return loop.virtual if isinstance(loop, KnowsThreads) else None

    def __repr__(self) -> str:
        return f"<VirtualClock {self.now():%Y-%m-%d %H:%M:%S}>"


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for `PATIENCE` where the loop would wait for its next timer, and then jumps there."""

    loop: _JumpingLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        due = self.loop.time() + timeout
        ready = super().select(PATIENCE)
        if not ready and self.loop.is_idle():
            # A timer fires when it is less than a nanosecond ahead; after half a year, no float is.
            self.loop.virtual.reach(due if due + 1e-9 > due else math.nextafter(due, math.inf))
        return ready


class _JumpingLoop(KnowsThreads, asyncio.SelectorEventLoop):  # type: ignore[misc]
    def __init__(self, clock: VirtualClock) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self.virtual = clock
        super().__init__(selector)

    def time(self) -> float:
        return self.virtual.time()
