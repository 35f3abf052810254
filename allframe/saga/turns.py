"""`Turns`: so many sagas run at once, and the others have their turn in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from allframe.saga.handle import Entry

__all__ = ["Turns"]


class Turns:
    """Slots for ``most`` sagas. ``run`` is called with each saga whose turn has come."""

    def __init__(self, most: int, run: Callable[[Entry], None]) -> None:
        self._most, self._run = most, run
        self._active = 0
        self._queue: deque[Entry] = deque()
        self._changed = anyio.Event()
        self._closed = False

    @property
    def is_free(self) -> bool:
        """Whether a slot is free."""
        return self._active < self._most

    def take(self, entry: Entry) -> None:
        """Count ``entry`` as running, whether a slot is free or not."""
        if not entry.holds_slot:
            entry.holds_slot = True
            self._active += 1

    def release(self, entry: Entry) -> None:
        """Let the next one run, if ``entry`` was counted."""
        if entry.holds_slot:
            entry.holds_slot = False
            self._active -= 1
            self._pump()

    def enqueue(self, entry: Entry) -> None:
        """Run ``entry`` when its turn comes, perhaps at once."""
        entry.waiting = True
        self._queue.append(entry)
        self._pump()

    def close(self) -> None:
        """Nobody's turn comes any more."""
        self._closed = True
        self._changed.set()

    async def reached(self, entry: Entry) -> None:
        """Wait until ``entry`` does not wait for its turn any more."""
        while entry.waiting and not self._closed:
            await self._changed.wait()

    def _pump(self) -> None:
        while self._queue and self.is_free and not self._closed:
            entry = self._queue.popleft()
            if not entry.waiting or entry.done.is_set():
                continue
            entry.waiting = False
            self.take(entry)
            self._run(entry)
        self._changed.set()
        self._changed = anyio.Event()
