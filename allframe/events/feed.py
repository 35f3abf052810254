"""`Feed`: the events of a store in pages, each with the position up to which it reaches.

Unlike one who follows events (`allframe.events.follow`), one who keeps a position must learn also of the rows that are not
for him: allframe's own records move the position on as well, or it would never reach the end of the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from allframe.events.backend import EventStoreBackend, StoredRow
from allframe.events.tables import Mark

__all__ = ["Feed", "Page"]

#: Rows that are read at a time.
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """What comes after a position."""

    #: The position after which it begins.
    after: int
    #: Events, oldest first, without allframe's own records.
    rows: list[StoredRow]
    #: Up to where it has everything.
    mark: Mark
    #: Whether it reached the end of the store when it was read.
    is_last: bool


class Feed:
    """The events of one store. ``opened`` gives the backend, or raises if the store is closed.

    ``size``: rows that are read at a time. ``interval``: the seconds between two looks at a store that another process
    writes.
    """

    def __init__(self, opened: Callable[[], EventStoreBackend], *, size: int = PAGE, interval: float = 0.5) -> None:
        self._opened, self._size, self._interval = opened, size, interval

    def check_open(self) -> None:
        """
        Raises:
            StoreUnavailable: the store is not open.
        """
        self._opened()

    async def last_position(self) -> int:
        """The position of the newest row; 0 for none."""
        backend = self._opened()
        return await backend.last_position() if backend.changes is None else backend.changes.position

    async def read(self, after: int) -> Page | None:
        """The next page after a position; None if there is nothing."""
        backend = self._opened()
        end = await self.last_position()
        if end <= after:
            return None
        rows = await backend.read_all(after=after, limit=self._size)
        last = rows[-1] if rows else None
        if len(rows) < self._size and (last is None or last.position < end):
            # Everything up to the end was there to be read, so what is left is allframe's own.
            last = await self._row_at(end)
        if last is None:  # the end is not where it was: the store was replaced below us
            return None
        return Page(after, rows, Mark(last.position, last.id), last.position >= end)

    async def following(self, after: int) -> Page:
        """The next page after a position, once there is one."""
        while True:
            page = await self._read_or_wait(after)
            if page is not None:
                return page

    async def is_at(self, mark: Mark) -> bool:
        """Whether the row at the mark's position is the one that it names: whether it is a mark of this store."""
        if mark.position == 0:
            return True
        row = await self._row_at(mark.position)
        return row is not None and row.id == mark.event_id

    async def _read_or_wait(self, after: int) -> Page | None:
        changes = self._opened().changes
        if changes is None:
            page = await self.read(after)
            if page is None:
                await anyio.sleep(self._interval)
            return page
        with changes.listening() as listener:
            page = await self.read(after)
            if page is None:
                await listener.wait()
            return page

    async def _row_at(self, position: int) -> StoredRow | None:
        rows = await self._opened().read_all(after=position - 1, limit=1, system=True)
        return rows[0] if rows and rows[0].position == position else None
