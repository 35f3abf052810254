"""`Overdue`: notices attempts that should have ended and did not.

A thread cannot be stopped, and an async step may swallow its cancellation. Neither a retry nor the compensation begins
before such an attempt has ended, so a person should know of it. Its own task cannot tell, for it waits; this one can.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

__all__ = ["LENIENCE", "Overdue"]

#: So many seconds after it should have ended an attempt is told of.
LENIENCE: Final = 1.0

#: The one who waits, taken out when it has ended.
Ticket = list[Any]


class Overdue:
    """Calls back for whatever has not ended when it is due, on the clock of the event loop."""

    def __init__(self, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        self._spawn = spawn
        self._due: list[tuple[float, int, Ticket]] = []
        self._count = 0
        self._changed = anyio.Event()
        self._next = float("inf")
        self._runs = False

    def watch(self, deadline: float, tell: Callable[[], None]) -> Ticket:
        """Call ``tell`` a little after ``deadline``, unless `forget` is called with what is returned."""
        self._count += 1
        ticket: Ticket = [tell]
        due = deadline + LENIENCE
        heapq.heappush(self._due, (due, self._count, ticket))
        if not self._runs:
            self._runs = True
            self._spawn(self.run)
        elif due < self._next:
            self._changed.set()
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """It has ended."""
        ticket.clear()

    async def run(self) -> None:
        """Call back whoever is due, for ever."""
        while True:
            self._changed = anyio.Event()
            self._next = self._due[0][0] if self._due else float("inf")
            with anyio.CancelScope(deadline=self._next):
                await self._changed.wait()
            # With a little slack, one waking serves many: they come as thick as the attempts that they are for.
            now = anyio.current_time()
            while self._due and self._due[0][0] <= now + LENIENCE / 10:
                _, _, ticket = heapq.heappop(self._due)
                for tell in ticket:
                    tell()
