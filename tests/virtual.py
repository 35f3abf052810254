"""Event loops whose clock jumps: a test that waits an hour takes no time, and what happens at once happens in order.

The clock moves only when nothing else can happen: every task waits, and no database is being asked. So a commit on a
thread is never overtaken by a timeout, however slow the machine is.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
import trio.testing

from allframe.loops import running_loop, soon
from allframe.saga.threads import Job, Threads

#: Real seconds of silence after which the clock jumps.
PATIENCE = 0.003


class _Database:
    """How many questions to a database are open; trio's clock stands still meanwhile."""

    open = 0
    clock: trio.testing.MockClock | None = None

    @classmethod
    @contextmanager
    def asked(cls) -> Iterator[None]:
        cls.open += 1
        cls._hold()
        try:
            yield
        finally:
            cls.open -= 1
            cls._hold()

    @classmethod
    def _hold(cls) -> None:
        if cls.clock is not None:
            cls.clock.autojump_threshold = math.inf if cls.open else PATIENCE


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(PATIENCE)
        if not ready and not _Database.open:
            self.loop.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop with a clock of its own."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._offset = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._offset

    def jump(self, seconds: float) -> None:
        self._offset += seconds


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """What anyio's pytest plugin needs to run a test on ``name`` with a clock that jumps."""
    if name == "asyncio":
        _Database.clock = None
        return "asyncio", {"loop_factory": VirtualLoop}
    _Database.clock = trio.testing.MockClock(autojump_threshold=PATIENCE)
    return "trio", {"clock": _Database.clock}


def hold_clock_during(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock jumps while an async method of ``cls``, a database, is being awaited."""

    def held(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wait(*args: Any, **kwargs: Any) -> Any:
            with _Database.asked():
                return await method(*args, **kwargs)

        return wait

    for name, method in vars(cls).items():
        if inspect.iscoroutinefunction(method):
            monkeypatch.setattr(cls, name, held(method))


def hold_clock_for_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock jumps while a sync step runs."""
    start = Threads.start

    def held(self: Threads, call: Callable[[], Any]) -> Job:
        loop = running_loop()
        hold = _Database.asked()
        hold.__enter__()

        def and_let_go() -> Any:
            try:
                return call()
            finally:
                soon(loop, hold.__exit__, None, None, None)

        return start(self, and_let_go)

    monkeypatch.setattr(Threads, "start", held)


class LoopClock:
    """Wall time that goes with the running loop's: 2026-01-01 when it is first asked."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._shift = timedelta()

    def now(self) -> datetime:
        time = anyio.current_time()
        if self._start is None:
            self._start = time
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=time - self._start) + self._shift

    def shift(self, **by: float) -> None:
        """Set the wall clock forward, or back, without any time passing."""
        self._shift += timedelta(**by)
