"""`Verbs`: what somebody asks of a saga that exists, whether it runs here, waits for its turn, or only lies in the store.

A verb finds the saga, or loads it, and holds it in hand until it is through; all of that in a task of our own, so that a
caller who goes away leaves nothing half done. It is exactly one record, decided under the saga's lock.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio.lowlevel

from allframe.errors import OperationRefused, SagaNotFound
from allframe.saga.execution import RUNNING, TERMINAL, Move
from allframe.saga.handle import Entry
from allframe.saga.monitor import Stored
from allframe.saga.recovery import CannotLoad

if TYPE_CHECKING:
    from allframe.saga.registry import Registry

__all__ = ["Verbs"]


class Verbs:
    """The verbs on the sagas of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def cancel(self, saga_id: str, reason: str) -> None:
        """See `SagaOrchestrator.cancel`."""
        await self._registry.run(saga_id, self._cancel, saga_id, reason)

    async def _cancel(self, saga_id: str, reason: str) -> None:
        entry, _ = await self._hold(saga_id, "cancelled")
        assert entry.running is not None
        await self.ask(entry, entry.running.cancel, reason, held=True)

    async def retry_failed(self, saga_id: str, reason: str) -> None:
        """See `SagaOrchestrator.retry_failed`."""
        await self._registry.run(saga_id, self._retry_failed, saga_id, reason)

    async def _retry_failed(self, saga_id: str, reason: str) -> None:
        entry, mended = await self._hold(saga_id, "retried")
        assert entry.running is not None
        if mended:
            entry.holds -= 1  # loading it was the retry
            return
        await self.ask(entry, entry.running.retry_failed, reason, held=True)

    async def ask(
        self,
        entry: Entry,
        verb: Callable[[str, str], Awaitable[list[Move]]],
        reason: str,
        *,
        held: bool = False,
    ) -> None:
        """Ask something of a saga in hand. ``held``: the caller holds it, and lets it go with this."""
        running = entry.running
        assert running is not None
        entry.holds += not held
        try:
            moves = await verb(reason, _actor())
            self._go_on(entry, moves)
        finally:
            entry.holds -= 1
            if running.execution.status not in RUNNING:
                self._registry.ended(running)

    def _go_on(self, entry: Entry, moves: list[Move]) -> None:
        """Perform what a verb led to. It does not wait for its turn: somebody does."""
        if moves:
            assert entry.running is not None
            if not entry.holds_slot:
                self._registry.turns.take(entry)
            self._registry.spawn(entry.id, entry.running.follow, moves)

    async def _hold(self, saga_id: str, done: str) -> tuple[Entry, bool]:
        """The saga in hand, loaded, and held; and whether it was blocked for something that it has now.

        Raises:
            SagaNotFound: if there is none.
            OperationRefused: if it is over, or cannot be loaded.
        """
        while True:
            self._registry.check_open(saga_id)
            entry = self._registry.entries.get(saga_id)
            if entry is None:
                stored = await self._registry.monitor.read(saga_id)
                if saga_id in self._registry.entries:
                    continue
                self._check_can_be(stored, saga_id, done)
                assert stored is not None
                entry = self._registry.entries[saga_id] = Entry(saga_id)
                return entry, await self._load_for(entry, done, mended=self._registry.is_mendable(stored))
            if entry.waiting and entry.running is None:
                entry.waiting = False  # it was to wait for its turn, and now somebody waits for it
                return entry, await self._load_for(entry, done, mended=False)
            await entry.found.wait()
            if self._registry.entries.get(saga_id) is entry and entry.running is not None:
                entry.holds += 1
                return entry, False
            await anyio.lowlevel.checkpoint()

    async def _load_for(self, entry: Entry, done: str, *, mended: bool) -> bool:
        """Take the saga over for a verb, hold it, and return ``mended``."""
        try:
            moves = await self._registry.take_over(entry)
        except CannotLoad as why:
            self._registry.give_up(entry, why)
            raise OperationRefused(
                f"Saga {entry.id!r} cannot be {done}, for it cannot be loaded: {why}", saga_id=entry.id
            ) from why
        except BaseException as error:
            self._registry.give_up(entry, error)
            raise
        entry.holds += 1
        self._go_on(entry, moves)
        return mended

    def _check_can_be(self, stored: Stored | None, saga_id: str, done: str) -> None:
        if stored is None:
            raise SagaNotFound(f"The store holds no saga {saga_id!r}, so none can be {done}.", saga_id=saga_id)
        if stored.execution.status in TERMINAL:
            raise OperationRefused(
                f"Saga {saga_id!r} is {stored.execution.status}: it is over, and cannot be {done}.", saga_id=saga_id
            )


def _actor() -> str:
    """Who asks: the account that this process runs under."""
    try:
        return f"{getpass.getuser()} (pid {os.getpid()})"
    except (OSError, KeyError):
        return f"uid {os.getuid()} (pid {os.getpid()})"
