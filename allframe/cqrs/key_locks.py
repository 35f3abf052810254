"""Locks of keys: of the commands of one process that are dispatched under one key, one runs at a time.

The others wait, and find what it recorded. Between processes there are no locks: there the store decides. A command that
would wait for its own key, or for one that waits for a key of its own, would wait for ever: it is told so instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio

__all__ = ["KeyLocks", "WouldWaitForItself"]


class WouldWaitForItself(Exception):
    """Nobody would ever have this lock."""


@dataclass(eq=False)
class _Hold:
    """Somebody has a lock. When it is over, no line has it as its holder any more."""

    #: What those who act within it wait for.
    waits_for: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Line:
    """Those who want the lock of one key."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    holder: _Hold | None = None
    #: Including the one who has it.
    length: int = 0


#: The locks that are held here, by this task or by one that it was begun in; some may be over.
_held: ContextVar[tuple[_Hold, ...]] = ContextVar("allframe_key_locks", default=())


class KeyLocks:
    """Locks by key. Keys that nobody wants take no memory."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: str) -> bool:
        """Whether somebody has the lock of ``key``, or waits for it."""
        return key in self._lines

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Within it, nobody else has the lock of ``key``. First come, first served.

        Raises:
            WouldWaitForItself: whoever has it waits for what is held here.
        """
        mine = _held.get()
        if self._leads_to(key, mine):
            raise WouldWaitForItself
        line = self._lines.setdefault(key, _Line())
        line.length += 1
        try:
            await _acquire(line, key, mine)
            hold = line.holder = _Hold()
            token = _held.set((*mine, hold))
            try:
                yield
            finally:
                line.holder = None
                _held.reset(token)
                line.lock.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[key]

    def _leads_to(self, key: str, mine: Iterable[_Hold]) -> bool:
        """Whether the one who has ``key`` is among ``mine``, or waits for one who is."""
        todo, seen = [key], set[str]()
        while todo:
            key = todo.pop()
            line = self._lines.get(key)
            if key in seen or line is None or line.holder is None:
                continue
            if line.holder in mine:
                return True
            seen.add(key)
            todo += line.holder.waits_for
        return False


async def _acquire(line: _Line, key: str, mine: tuple[_Hold, ...]) -> None:
    for hold in mine:
        hold.waits_for.append(key)
    try:
        await line.lock.acquire()
    finally:
        for hold in mine:
            hold.waits_for.remove(key)
