"""`Timers`: calls that are made when their time has come, by one task for all of them.

A saga's deadline, and the look at attempts that should have ended: most of them are taken back long before they are due,
and a task or a scope for each would cost more than the step.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeAlias

import anyio

from allframe.errors import OrchestratorClosed

__all__ = ["Ticket", "Timers"]

#: So many calls that were taken back are kept until they are due, or as many as there are others.
MOST_TAKEN_BACK: Final = 1000

#: What a call is taken back by.
Ticket: TypeAlias = list[Callable[[], None]]


class Timers:
    """Calls to be made at times of the event loop's clock. ``spawn`` runs the one task, once there is something to do.

    A call that raises `OrchestratorClosed` has come too late, and harms no other.
    """

    def __init__(self, spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]) -> None:
        self._spawn = spawn
        self._due: list[tuple[float, int, Ticket]] = []
        self._count = self._taken_back = 0
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
        """Make no call; harmless when it was made."""
        self._taken_back += bool(ticket)
        ticket.clear()
        if self._taken_back > max(MOST_TAKEN_BACK, len(self._due) // 2):
            # A saga's deadline may be a month away, and its place would be kept until then.
            self._due = [due for due in self._due if due[2]]
            heapq.heapify(self._due)
            self._taken_back = 0

    async def _run(self) -> None:
        while True:
            self._changed = anyio.Event()
            self._next = self._due[0][0] if self._due else math.inf
            with anyio.CancelScope(deadline=self._next):
                await self._changed.wait()
            now = anyio.current_time()
            while self._due and self._due[0][0] <= now:
                ticket = heapq.heappop(self._due)[2]
                if not ticket:
                    self._taken_back -= 1
                    continue
                function = ticket.pop()
                with suppress(OrchestratorClosed):  # it leaves at this very moment: nothing is to be begun any more
                    function()
