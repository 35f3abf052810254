"""`Mortal`: a store whose owner can die in it, and be followed by another, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from allframe.errors import StoreUnavailable
from allframe.events.backend import Commit
from allframe.events.store import EventStore

if TYPE_CHECKING:
    from allframe.events.backend import EventStoreBackend

__all__ = ["Mortal", "open_backend"]


@asynccontextmanager
async def open_backend(store: EventStore | str | None) -> AsyncIterator[EventStoreBackend]:
    """The backend of ``store``, open; one that was open before stays so."""
    if isinstance(store, EventStore):
        try:
            opened = store.opened()
        except StoreUnavailable:
            pass
        else:
            yield opened
            return
    async with store if isinstance(store, EventStore) else EventStore(store) as mine:
        yield mine.backend


class Mortal:
    """One opening of an open backend, by an owner who may die.

    Once ``death`` is set, nothing more of that owner reaches the backend: neither a commit, nor the mark that it left in
    good order.
    """

    def __init__(self, backend: EventStoreBackend, death: anyio.Event) -> None:
        self._backend, self._death = backend, death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def open(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """Close it, and open it again for the next, if its owner died."""
        if self._death.is_set():
            with anyio.CancelScope(shield=True):
                await self._backend.close()
                await self._backend.open()

    async def commit(self, commit: Commit) -> tuple[int, ...]:
        if self._death.is_set():
            await anyio.sleep_forever()
        return await self._backend.commit(commit)

    async def release(self) -> None:
        if not self._death.is_set():
            await self._backend.release()
