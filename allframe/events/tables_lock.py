"""`TablesLock`: who writes the tables of a projection at this moment, of all processes.

It is a file that is locked (flock(2)), so the kernel lets go of it for a process that dies. One that only stands still
keeps it: so nobody waits for it without an end, or where he cannot be told to stop.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from allframe.errors import StoreUnavailable

__all__ = ["Hold", "TablesLock", "locked_within"]

#: Seconds between two looks at a lock that somebody has.
_INTERVAL = 0.001


class Hold:
    """Somebody's wish to keep everybody else out, from when he says it until he takes it back."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False


class TablesLock:
    """The lock file ``path`` of the tables ``what``. Its methods are called on one thread at a time, save `let_go`."""

    def __init__(self, path: str, what: str, timeout: float) -> None:
        self._path, self._what, self._timeout = path, what, timeout
        self._descriptor: int | None = None
        self._held_by: Hold | None = None
        self._mutex = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def open(self) -> None:
        """
        Raises:
            OSError: if the file cannot be made.
        """
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Give it up. Harmless when repeated."""
        with self._mutex:
            descriptor, self._descriptor, self._held_by = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)

    def forget(self) -> None:
        """In a forked child: only close, for unlocking would unlock the parent's lock, which is the same one."""
        self._mutex = threading.Lock()
        self.close()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Nobody else writes these tables within the block.

        Raises:
            StoreUnavailable: somebody has it for longer than the timeout.
        """
        if self._held_by is not None:
            yield
            return
        descriptor = self._opened()
        if not locked_within(descriptor, self._timeout):
            raise StoreUnavailable(
                f"{self._what} is being written by another process, for more than {self._timeout:g} s. See that it has not "
                "been stopped in the middle; it may also be a slow projection: then wait longer with busy_timeout=SECONDS."
            )
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def take(self, hold: Hold, timeout: float) -> bool:
        """Keep everybody else out until `let_go`; whether that succeeded within ``timeout`` seconds, or is not wanted now."""
        descriptor = self._opened()
        if not locked_within(descriptor, timeout):
            return hold.is_over
        with self._mutex:
            if hold.is_over:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            else:
                self._held_by = hold
        return True

    def let_go(self, hold: Hold) -> None:
        """End a hold, or keep it from beginning. Harmless when repeated."""
        with self._mutex:
            hold.is_over = True
            if self._held_by is hold and self._descriptor is not None:
                self._held_by = None
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def only_now(self, timeout: float) -> bool:
        """Have it as long as it is open; whether that succeeded within ``timeout`` seconds."""
        return locked_within(self._opened(), timeout)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise StoreUnavailable(f"{self._what} is not open.")
        return self._descriptor


def locked_within(descriptor: int, timeout: float) -> bool:
    """Lock a file; whether that succeeded within ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(_INTERVAL)
