"""Lines before a stream: of those in one event loop who got in each other's way there, one decides at a time.

Deciding again at once would have all of them in each other's way again, and only one of them further. A line only spares
work: the version that a write expects is what keeps updates from being lost, also between processes. So whoever waits for
too long, or would wait for itself, goes on without.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import Final
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from allframe.cqrs.key_locks import KeyLocks, WouldWaitForItself
from allframe.events.store import EventStore

__all__ = ["Line"]

#: Seconds before somebody goes on without. Only a decision that waits for others in its line takes as long.
PATIENCE: Final = 10.0

_lines: RunVar[WeakKeyDictionary[EventStore, KeyLocks]] = RunVar("allframe_lines")


class Line:
    """A place in the line before one stream of ``store``, from the first `join` to the end of the ``async with``."""

    def __init__(self, store: EventStore) -> None:
        self._locks = _locks_of(store)
        self._place = AsyncExitStack()
        self._has_joined = False

    def is_before(self, stream: str) -> bool:
        """Whether somebody stands in line before the stream."""
        return stream in self._locks

    async def join(self, stream: str) -> None:
        """Return when it is one's turn: first come, first served. Once, and nothing more: one stands in one line."""
        if self._has_joined:
            return
        self._has_joined = True
        with anyio.move_on_after(PATIENCE), suppress(WouldWaitForItself):
            await self._place.enter_async_context(self._locks.lock(stream))

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._place.aclose()


def _locks_of(store: EventStore) -> KeyLocks:
    """Those of this event loop: a lock belongs to one."""
    try:
        lines = _lines.get()
    except LookupError:
        lines = WeakKeyDictionary()
        _lines.set(lines)
    return lines.setdefault(store, KeyLocks())
