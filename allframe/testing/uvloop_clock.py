"""uvloop's half of `VirtualClock`: a uvloop whose timers are kept here, and fire when nothing else can happen."""

from __future__ import annotations

import asyncio
import heapq
from contextvars import Context
from typing import TYPE_CHECKING, Any

from allframe.testing.extra import needs
from allframe.testing.threads import KnowsThreads

with needs("uvloop"):
    import uvloop

if TYPE_CHECKING:
    from allframe.testing.clock import VirtualClock

__all__ = ["JumpingUvloop"]


class JumpingUvloop(KnowsThreads, uvloop.Loop):  # type: ignore[misc]
    """Timers of libuv only to look, after ``patience`` seconds, whether anything was called meanwhile."""

    def __init__(self, clock: VirtualClock, patience: float) -> None:
        super().__init__()
        self.virtual = clock
        self._patience = patience
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        #: How many callbacks were asked for, and how many when it was last looked.
        self._calls = self._seen = 0
        self._looking = False

    def time(self) -> float:
        return self.virtual.time()

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        self._calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        self._calls += 1
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._calls += 1
        heapq.heappush(self._timers, (when, self._calls, handle))
        self._look_later()
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Asked by the handle: it is thrown away when it is due."""

    def _look_later(self) -> None:
        if not self._looking:
            self._looking, self._seen = True, self._calls
            super().call_later(self._patience, self._look)

    def _look(self) -> None:
        self._looking = False
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            return
        if self._timers[0][0] > self.time() and self._calls == self._seen and self.is_idle():
            self.virtual.reach(self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.time():
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled():
                self.call_soon(handle._run)  # noqa: SLF001 - as the loop of asyncio does
        self._look_later()
