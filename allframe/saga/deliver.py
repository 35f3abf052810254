"""`deliver`: an order brought to a saga from whatever process, whether somebody runs the store or not.

The owner is asked through its socket. If nobody owns the file, this process takes the lock for a moment and writes the
record itself (`allframe.saga.clerk`). Owners come and go meanwhile, so it is tried again for some seconds. An order that
an owner took without answering is not given twice: from then on it is bound to the revision that was seen before.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import anyio

from allframe.clock import Clock, SystemClock, to_microseconds
from allframe.errors import (
    OperationRefused,
    OrchestratorClosed,
    SagaNotFound,
    StoreInUse,
    StoreUnavailable,
)
from allframe.events.backend import Commit, EventStoreBackend
from allframe.events.coded import Codecs
from allframe.events.sqlite import SqliteBackend
from allframe.events.store import EventStore
from allframe.events.url import MemoryUrl, SqliteUrl, parse_url
from allframe.saga.asking import Unanswered, ask_owner
from allframe.saga.clerk import prepare, refused_for
from allframe.saga.forecast import Receipt, receipt_of
from allframe.saga.monitor import Monitor, StoredSaga
from allframe.saga.ordered import output_of
from allframe.saga.orders import PARTICIPLES, Moved, Order
from allframe.saga.outputs import StoredOutput
from allframe.saga.states import SagaStatus

__all__ = ["FindSaga", "deliver"]

#: From a stored name and version to a saga class, or None.
FindSaga = Callable[[str, int], Any]
#: Seconds in which an owner that comes or goes is waited for.
PATIENCE = 5.0


async def deliver(
    url: str,
    saga_id: str,
    order: Order,
    *,
    find: FindSaga = lambda name, version: None,
    clock: Clock | None = None,
    codec: Codecs | None = None,
) -> Receipt:
    """Have ``order`` written down for a saga in the store at ``url``; returns when it is safe.

    ``find``: looks up the class that says what a step returns, for ``resolve`` where nobody runs the store. ``codec``: what
    the store's payloads are encoded by.

    Raises:
        SagaNotFound, OperationRefused, PayloadError, ValueError: it was not written, for the reason that they give.
        StoreInUse: somebody owns the store who cannot be asked.
        StoreError: the store cannot be read or written.
    """
    file = _file(url)
    seen = await _look(file, saga_id, codec)
    if seen is None:
        raise SagaNotFound(
            f"The store holds no saga {saga_id!r}, so none can be {PARTICIPLES[order.verb]}.", saga_id=saga_id
        )
    delivery = _Delivery(file, saga_id, order, seen.execution.revision, find, clock or SystemClock(), codec)
    return await delivery.run()


class _Delivery:
    def __init__(
        self,
        file: SqliteUrl,
        saga_id: str,
        order: Order,
        revision: int,
        find: FindSaga,
        clock: Clock,
        codec: Codecs | None,
    ) -> None:
        self._codec = codec
        self._file, self._saga_id, self._order = file, saga_id, order
        self._revision, self._find, self._clock = revision, find, clock
        self._path = os.path.realpath(file.path)
        self._in_doubt = False

    async def run(self) -> Receipt:
        deadline = anyio.current_time() + PATIENCE
        while True:
            try:
                receipt = await self._ask() or await self._write_alone()
                if receipt is not None:
                    return receipt
            except OperationRefused:
                # Refused, for the very record that nobody had answered for.
                if self._in_doubt and (receipt := await self._settled()) is not None:
                    return receipt
                raise
            except StoreInUse as error:
                if anyio.current_time() >= deadline:
                    raise StoreInUse(
                        f"{self._path} is in use by {error.owner}, which does not listen at {self._path}.sock: it is no "
                        "orchestrator, or cannot be reached. Ask it in that process, or stop it first.",
                        owner=error.owner,
                    ) from error
            await anyio.sleep(0.05)

    async def _ask(self) -> Receipt | None:
        try:
            return await ask_owner(self._path, self._saga_id, self._order)
        except (OrchestratorClosed, Unanswered):
            self._in_doubt = True
            bound = self._order.expected_revision or self._revision
            self._order = dataclasses.replace(self._order, expected_revision=bound)
            return await self._settled()

    async def _settled(self) -> Receipt | None:
        """What came of an order that was not answered, if it was written."""
        stored = await _look(self._file, self._saga_id, self._codec)
        if stored is None:
            return None
        for record, _ in stored.records[self._revision :]:
            same = getattr(record, "actor", None) == self._order.actor
            if same and getattr(record, "reason", None) == self._order.reason:
                name = os.path.basename(self._path)
                before = SagaStatus.FAILED if stored.execution.rollback.begun else SagaStatus.BLOCKED
                return receipt_of(self._order, self._saga_id, stored.execution, True, before, unowned=name)
        return None

    async def _write_alone(self) -> Receipt | None:
        """Write it without an owner; nobody can become one meanwhile."""
        async with EventStore(_briefly(self._file), codec=self._codec) as store:
            monitor = Monitor(store)
            stored = await monitor.read(self._saga_id)
            assert stored is not None, "nothing is ever removed from a store"
            now, name = to_microseconds(self._clock.now()), os.path.basename(self._path)
            try:
                output = self._output(stored)
                commit, receipt = prepare(self._saga_id, stored, self._order, now, output, unowned=name)
            except Moved as moved:
                raise await refused_for(moved, monitor, self._saga_id, self._order) from None
            if commit is not None:
                await _commit(store.backend, commit)
            return receipt

    def _output(self, stored: StoredSaga) -> StoredOutput | None:
        """What the step returned, by its class; None if there is no class, or no output."""
        order = self._order
        cls = self._find(stored.started.saga, stored.started.version) if order.outcome == "done" else None
        if cls is None:
            return None
        step = next((step for step in cls.graph.steps if step.name == order.step), None)
        if step is None:
            return None
        return output_of(order, step, self._saga_id, stored.execution)


async def _commit(backend: EventStoreBackend, commit: Commit) -> None:
    """Write it. A commit in doubt is written again: the very same rows, so that it is not made twice."""
    for delay in (0.05, 0.2, 1.0, None):
        try:
            await backend.commit(commit)
            return
        except StoreUnavailable as error:
            if delay is None or not error.in_doubt:
                raise
            await anyio.sleep(delay)


def _file(url: str) -> SqliteUrl:
    found = parse_url(url)
    if isinstance(found, MemoryUrl):
        raise StoreUnavailable(
            "A memory store ends with its process, and no other process can reach it. Give the URL of a file."
        )
    return found


def _backend(file: SqliteUrl, *, readonly: bool, brief: bool) -> SqliteBackend:
    return SqliteBackend(
        file.path,
        durability=file.durability,
        busy_timeout=file.busy_timeout,
        max_page_count=file.max_page_count,
        readonly=readonly,
        brief=brief,
    )


def _briefly(file: SqliteUrl) -> SqliteBackend:
    return _backend(file, readonly=file.readonly, brief=True)


async def _look(file: SqliteUrl, saga_id: str, codec: Codecs | None) -> StoredSaga | None:
    async with EventStore(_backend(file, readonly=True, brief=False), codec=codec) as store:
        return await Monitor(store).read(saga_id)
