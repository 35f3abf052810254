"""`Following`: the events of a store from a position on, and then those that come, without a gap and without a double.

It reads pages by position and waits for the news of the backend (`allframe.events.changes`) when there is no more; on a
store that another process writes, it looks again after a while. Nothing runs in the background and nothing is queued: a
follower that is slow, cancelled or forgotten costs nobody anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeAlias, TypeVar

import anyio

from allframe.errors import StoreUnavailable
from allframe.events.backend import EventStoreBackend, StoredRow

__all__ = ["Following"]

T = TypeVar("T")

#: Rows that are read at a time.
PAGE = 100

#: What a row is to the one who follows; None: nothing.
Convert: TypeAlias = Callable[[StoredRow], Awaitable[T | None]]


class Following(Generic[T]):
    """An asynchronous iterator over what ``convert`` makes of each row. It may be left at any moment, without closing it.

    ``opened`` gives the backend, or raises if the store is closed. ``stream``: only its rows; ``system``, ``category``: the
    rows of those streams, as `EventStoreBackend.read_all` has them. ``after``: the rows with a position above it; None:
    those that come from now on. ``interval``: the seconds between two looks at a store that
    another process writes; there, "from now on" counts from the first look.

    A cancelled wait loses nothing: the next one gives what it would have given. Several tasks may share one: each event
    goes to one of them.
    """

    def __init__(
        self,
        opened: Callable[[], EventStoreBackend],
        convert: Convert[T],
        *,
        stream: str | None = None,
        system: bool = True,
        category: str | None = None,
        after: int | None = None,
        interval: float = 0.5,
    ) -> None:
        self._opened, self._convert, self._stream, self._interval = opened, convert, stream, interval
        self._system, self._category = system, category
        changes = opened().changes
        #: The position up to which was read.
        self._position = changes.position if after is None and changes is not None else after
        self._revision = 0
        self._ready: deque[T] = deque()
        self._end: int | None = None
        self._is_over = self._is_detached = False
        self._lock = anyio.Lock()
        self._waiting: anyio.CancelScope | None = None

    def __aiter__(self) -> Following[T]:
        return self

    async def __anext__(self) -> T:
        if self._ready and not self._lock.locked():
            return self._ready.popleft()
        async with self._lock:
            while not self._ready:
                if self._is_over:
                    raise StopAsyncIteration
                await self._look()
            return self._ready.popleft()

    async def aclose(self) -> None:
        """End it: nothing more is given. Harmless when repeated, and never needed."""
        self._is_over = True
        self._ready.clear()
        self._wake()

    def end_at(self, position: int) -> None:
        """Let it end when everything up to ``position`` was given."""
        self._end = position
        self._wake()

    async def detach(self, limit: int) -> None:
        """Read at most ``limit`` of what is left up to its end, for the store is about to close.

        If that is not all, going on raises `StoreUnavailable` after it, and says from where to go on.
        """
        async with self._lock:
            while not self._is_over and len(self._ready) < limit:
                await self._read()
            self._is_detached = True

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    async def _look(self) -> None:
        """Read a page, or wait until there may be one."""
        if self._is_detached:
            raise StoreUnavailable(
                f"The store was closed before everything in it was followed. Open it, and go on with after={self._position}."
            )
        changes = self._opened().changes
        if changes is None:
            if not await self._read():
                await self._wait(lambda: anyio.sleep(self._interval))
            return
        with changes.listening(self._stream) as listener:
            if not await self._read():
                await self._wait(listener.wait)

    async def _wait(self, wait: Callable[[], Awaitable[None]]) -> None:
        if self._is_over or self._end is not None:
            return
        with anyio.CancelScope() as self._waiting:
            await wait()
        self._waiting = None

    async def _read(self) -> bool:
        """Take the next page in; whether there was one. What is cancelled in the middle is read again."""
        backend, end = self._opened(), self._end
        if self._position is None:
            self._position = await backend.last_position()
        known = await self._known(backend)
        rows = await self._page(backend, self._position)
        fresh = [row for row in rows if row.position > self._position and (end is None or row.position <= end)]
        found = [item for row in fresh if (item := await self._convert(row)) is not None]
        if self._is_over:  # closed meanwhile
            return False
        self._ready += found
        if rows:
            self._revision = rows[-1].revision
        if fresh:
            self._position = fresh[-1].position
        if len(rows) < PAGE:
            # Up to there are none that it has not: what it passes over is not read again at each look.
            self._position = max(self._position, known)
        # What comes after the end was written by somebody else.
        self._is_over = end is not None and (not rows or rows[-1].position >= end)
        return bool(rows)

    async def _known(self, backend: EventStoreBackend) -> int:
        """A position up to which everything can be read from now on; 0 where that would be of no use."""
        if self._stream is not None or (self._system and self._category is None):
            return 0
        return await backend.last_position() if backend.changes is None else backend.changes.position

    async def _page(self, backend: EventStoreBackend, position: int) -> list[StoredRow]:
        if self._stream is None:
            return await backend.read_all(after=position, limit=PAGE, system=self._system, category=self._category)
        return await backend.read_stream(self._stream, after=self._revision, limit=PAGE)
