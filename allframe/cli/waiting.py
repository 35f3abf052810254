"""A store that another process owns: waiting until that has left."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from allframe import EventStore
from allframe.errors import StoreInUse

__all__ = ["open_when_free"]

#: Seconds between two attempts.
PAUSE = 0.1


async def open_when_free(store: EventStore, wait: float, say: Callable[[str], None]) -> None:
    """Open ``store``; while somebody else owns it, for at most ``wait`` seconds, try again. ``say`` is told so once.

    Raises:
        StoreInUse: somebody still does.
        StoreError: it cannot be opened.
    """
    until = anyio.current_time() + wait
    said = False
    while True:
        try:
            await store.open()
            return
        except StoreInUse as error:
            left = until - anyio.current_time()
            if left <= 0:
                raise
            if not said:
                say(f"Waiting up to {wait:g} s until {error.owner} leaves the store.")
                said = True
        await anyio.sleep(min(PAUSE, left))
