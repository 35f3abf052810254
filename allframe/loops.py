"""From a thread back to the event loop that waits for it, asyncio's or trio's."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

import anyio

__all__ = ["Bells", "Signal", "running_loop", "soon"]


def running_loop() -> Any:
    """The trio token or the asyncio loop of this task, for `soon`."""
    trio = sys.modules.get("trio")
    # Trio first: as a guest, it runs inside an asyncio loop.
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def soon(loop: Any, function: Callable[..., None], *args: Any) -> None:
    """Have ``loop`` call ``function(*args)``; from any thread. Nothing happens where the loop has ended."""
    call = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    try:
        call(function, *args)
    except RuntimeError:
        # And with it everybody who waited: asyncio's "Event loop is closed", trio's RunFinishedError.
        pass


class Signal:
    """Something that one task waits for, on the loop that it was made on, and that is given once, on that loop."""

    __slots__ = ("_event", "_future")

    def __init__(self, loop: Any) -> None:
        # A future of asyncio's is cheaper than an event of anyio's, and anyio's cancel scopes cancel it all the same.
        self._future: asyncio.Future[None] | None = loop.create_future() if hasattr(loop, "create_future") else None
        self._event = anyio.Event() if self._future is None else None

    async def wait(self) -> None:
        """Return when it is given."""
        if self._future is not None:
            await self._future
        else:
            assert self._event is not None
            await self._event.wait()

    def give(self) -> None:
        """Let the one who waits go on. Harmless where nobody does any more."""
        if self._event is not None:
            self._event.set()
        elif self._future is not None and not self._future.done():  # who waited may have been cancelled
            self._future.set_result(None)


class Bells:
    """`soon`, for one thread that wakes the same loops again and again.

    asyncio wakes a loop by a byte in a socket, which it then reads until it is empty; an eventfd is one number. A read of
    ten rows took 89 µs so, and 146 by `soon`; a commit, which waits for the disk, 564 and 586 (medians, alternating in one
    run). Where there is no eventfd, and for other loops, it is `soon`.
    """

    def __init__(self) -> None:
        self._bells: dict[Any, _Bell] = {}

    def hang(self, loop: Any) -> None:
        """Make a bell for ``loop``, the running one; harmless if it has one."""
        if loop in self._bells or not _has_readers(loop):
            return
        for ended in [each for each in list(self._bells) if each.is_closed()]:
            bell = self._bells.pop(ended, None)
            if bell is not None:
                bell.take_down()
        self._bells[loop] = _Bell(loop)

    def soon(self, loop: Any, function: Callable[..., None], *args: Any) -> None:
        """Have ``loop`` call ``function(*args)``; from any thread. Nothing happens where the loop has ended."""
        bell = self._bells.get(loop)
        if bell is None or not bell.ring(function, args):
            soon(loop, function, *args)

    def take_down(self) -> None:
        """Answer all that were rung, and give them back; to be called on a loop when nobody rings any more."""
        here = running_loop()
        while self._bells:
            loop, bell = self._bells.popitem()
            if loop is here or loop.is_closed():
                bell.take_down()
            else:
                soon(loop, bell.take_down)


class _Bell:
    """Rung by a thread, answered by one asyncio loop."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._lock = threading.Lock()
        self._number = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # A loop that ends without anybody closing the store takes its bell along.
        self._close = weakref.finalize(self, os.close, self._number)
        # In no context of anybody's: the one who comes first would be remembered for ever.
        Context().run(loop.add_reader, self._number, self._answer)

    def ring(self, function: Callable[..., None], args: tuple[Any, ...]) -> bool:
        with self._lock:  # for a number that was closed may be another file's by now
            if not self._close.alive:
                return False
            self._calls.append((function, args))
            os.eventfd_write(self._number, 1)
        return True

    def take_down(self) -> None:
        is_over = self._loop.is_closed()
        if not is_over:
            self._loop.remove_reader(self._number)
        with self._lock:
            self._close()
        if not is_over:
            self._call()

    def _answer(self) -> None:
        try:
            os.eventfd_read(self._number)
        except BlockingIOError:
            pass  # one that came meanwhile was answered with the one before
        self._call()

    def _call(self) -> None:
        while self._calls:
            function, args = self._calls.popleft()
            function(*args)


def _has_readers(loop: Any) -> bool:
    return hasattr(os, "eventfd") and isinstance(loop, asyncio.SelectorEventLoop)
