"""`Timers`: calls that are made when their time has come, by one task for all of them.

A saga's deadline, and the look at attempts that should have ended: most of them are taken back long before they are due,
and a task or a scope for each would cost more than the step.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import anyio

__all__ = ["Ticket", "Timers"]

#: What a call is taken back by.
Ticket: TypeAlias = list[Callable[[], None]]


class Timers:
    """Calls to be made at times of the event loop's clock. ``spawn`` runs the one task, once there is something to do."""

    def __init__(self, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        self._spawn = spawn
        self._due: list[tuple[float, int, Ticket]] = []
        self._count = 0
        self._changed = anyio.Event()
        self._next = math.inf
        self._runs = False

    def call_at(self, when: float, function: Callable[[], None]) -> Ticket:
        """Call ``function`` at ``when``, unless what is returned is given to `take_back`."""
        self._count += 1
        ticket: Ticket = [function]
        heapq.heappush(self._due, (when, self._count, ticket))
        if not self._runs:
            self._runs = True
            self._spawn(self._run)
        elif when < self._next:
            self._changed.set()
        return ticket

    def take_back(self, ticket: Ticket) -> None:
        """Make no call; harmless when it was made. Its place is given up when it is due."""
        ticket.clear()

    async def _run(self) -> None:
        while True:
            self._changed = anyio.Event()
            self._next = self._due[0][0] if self._due else math.inf
            with anyio.CancelScope(deadline=self._next):
                await self._changed.wait()
            now = anyio.current_time()
            while self._due and self._due[0][0] <= now:
                for function in heapq.heappop(self._due)[2]:
                    function()
