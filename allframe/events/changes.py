"""`Changes`: how a backend tells that something was committed, and how one waits for that.

Nothing is handed over but the news: whoever hears it reads from the store by position, so a slow reader costs nobody
anything, and needs no queue. Telling works from any thread, hearing on any event loop; without a listener, telling is
one assignment.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

__all__ = ["Changes", "Listener"]


class Changes:
    """The news of one backend."""

    def __init__(self) -> None:
        #: The position of the newest row that is known to be readable.
        self.position = 0
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()

    def announce(self, position: int, streams: Collection[str]) -> None:
        """Tell that rows up to ``position`` can be read; the new ones, if there are any, stand in ``streams``."""
        self.position = max(self.position, position)
        if streams and self._listeners:
            self._tell([listener for listener in self._snapshot() if listener.stream in (None, *streams)])

    def wake_all(self) -> None:
        """Have everybody look, for the backend closes."""
        self._tell(self._snapshot())

    @contextmanager
    def listening(self, stream: str | None = None) -> Iterator[Listener]:
        """Someone who hears of rows in ``stream``, or of any, that are announced from here on.

        Read within the block and then wait: what is committed between the two is heard.
        """
        listener = Listener(stream)
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _snapshot(self) -> list[Listener]:
        with self._lock:
            return list(self._listeners)

    @staticmethod
    def _tell(listeners: list[Listener]) -> None:
        for listener in listeners:
            listener.tell()


class Listener:
    """One who waits, on the event loop that it was made on."""

    def __init__(self, stream: str | None) -> None:
        self.stream = stream
        #: Whether something was announced since it was made.
        self.is_told = False
        self._heard = anyio.Event()
        self._soon = _soon()

    def tell(self) -> None:
        """Wake the one who waits; from any thread."""
        if self.is_told:
            return
        self.is_told = True
        try:
            self._soon(self._heard.set)
        except RuntimeError:
            pass  # the loop has ended, and with it whoever waited

    async def wait(self) -> None:
        """Return when something was announced since this listener was made."""
        await self._heard.wait()


def _soon() -> Any:
    """What runs a function on this task's event loop, called from any thread."""
    trio = sys.modules.get("trio")
    # Trio first: as a guest, it runs inside an asyncio loop.
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe
