"""`LockFile`: who owns a file, told by the kernel.

Beside the file lies ``<file>.lock`` with an advisory lock on it (flock(2)) that ends with the process, however it ends.
What is written in it is for people: who holds it. It is never deleted, for a process that is just about to lock the old
one would then own a file that nobody else sees.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import weakref
from datetime import UTC, datetime

from allframe.errors import StoreInUse, StoreUnavailable
from allframe.source import place_of_caller

__all__ = ["LockFile", "caller"]

#: Seconds that somebody who holds a lock for a moment is waited for.
BRIEF = 2.0
#: The files that this process owns, and where in the program each was opened.
_held: dict[str, str] = {}
#: Those of them that were closed, and whose owner still has a step running.
_lingering: set[str] = set()
_locks: weakref.WeakSet[LockFile] = weakref.WeakSet()


class LockFile:
    """The ownership of one file by one process. ``path`` is the file's own, with all links resolved.

    ``brief``: it is held for a moment only, and others wait for its end instead of being refused.
    """

    def __init__(self, path: str, *, brief: bool = False) -> None:
        self.path = path
        self._brief = brief
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self, where: str) -> None:
        """Become the owner; ``where`` tells this process's other openers where that was.

        Raises:
            StoreInUse: if somebody is that already, with who.
            StoreUnavailable: if there is no writing in the folder.
        """
        self.check_own_process()
        try:
            descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be owned: its lock file {self.path}.lock cannot be written "
                f"({error.strerror}). Give this user write permission there, or open the store with "
                "?mode=ro to look at it."
            ) from error
        try:
            self._lock(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held[self.path] = where

    def check_own_process(self) -> None:
        """
        Raises:
            StoreInUse: if this very process owns the file.
        """
        where = _held.get(self.path)
        if where is not None and self.path in _lingering:
            raise StoreInUse(
                f"{self.path} is still owned by this process: a sync step of the orchestrator over the store opened at {where} "
                "has not ended, and a thread cannot be stopped. It can be opened when that step, or the process, has ended.",
                owner=f"{where} in this process",
            )
        if where is not None:
            raise StoreInUse(
                f"{self.path} is open already in this process, opened at {where}. A process opens a file once: hand "
                "that EventStore around instead of opening a second one.",
                owner=f"{where} in this process",
            )

    def linger(self) -> None:
        """Tell this process's other openers that it is kept for a step that has not ended."""
        if self._descriptor is not None:
            _lingering.add(self.path)

    def release(self) -> None:
        """Give the ownership up. Harmless when repeated."""
        if self._descriptor is not None:
            _held.pop(self.path, None)
            _lingering.discard(self.path)
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, descriptor: int) -> None:
        try:
            self._take(descriptor)
        except BlockingIOError as error:
            owner = _owner(descriptor)
            raise StoreInUse(
                f"{self.path} is in use by {owner}, and a store has one owner at a time. Stop that process first, or "
                "open the store with ?mode=ro to look at it.",
                owner=owner,
            ) from error
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be owned: its file system has no locks ({error.strerror}). Put the store on a "
                "local disk."
            ) from error
        holder = {"pid": os.getpid(), "host": os.uname().nodename, "since": _now(), "brief": self._brief}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)

    def _take(self, descriptor: int) -> None:
        """Lock it, after whoever holds it for a moment only."""
        deadline = time.monotonic() + BRIEF
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline or not _is_brief(descriptor):
                    raise
            time.sleep(0.01)

    def _forget(self) -> None:
        # Only close: unlocking would unlock the parent's lock, which is the same one.
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_brief(descriptor: int) -> bool:
    try:
        return bool(json.loads(os.pread(descriptor, 4096, 0)).get("brief"))
    except (OSError, ValueError, AttributeError):  # it is just being written
        return True


def _owner(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def caller() -> str:
    """The place in the program, ``file:line``, that called into allframe."""
    # asyncio: below what `allframe.run` opens, there is its loop before there is whoever called it.
    return place_of_caller("allframe", "asyncio", "contextlib")


def _in_forked_child() -> None:
    # A descriptor that a child inherits would keep the lock after its parent died.
    _held.clear()
    _lingering.clear()
    for lock in list(_locks):
        lock._forget()  # noqa: SLF001 - one idea, two scopes


os.register_at_fork(after_in_child=_in_forked_child)
