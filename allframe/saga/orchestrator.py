"""`SagaOrchestrator`: runs sagas, records them, recovers them, and is asked about them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from types import ModuleType, TracebackType
from typing import Any

import anyio
import anyio.lowlevel

from allframe.clock import Clock, SystemClock
from allframe.errors import (
    AlreadyExecuting,
    ConcurrencyError,
    DependencyMissing,
    OrchestratorClosed,
    SagaIdConflict,
    SagaIdInvalid,
    SagaNotFound,
    StoreError,
)
from allframe.events.store import EventStore
from allframe.inject import AsyncContainer, Container, Provider
from allframe.saga.builder import SagaDefinition
from allframe.saga.catalog import Catalog
from allframe.saga.context import StepContext
from allframe.saga.declare import Saga
from allframe.saga.engine import Rehearsal
from allframe.saga.graph import SagaGraph
from allframe.saga.handle import Entry, SagaHandle
from allframe.saga.monitor import Monitor, SagaMetadata
from allframe.saga.observe import Observer, Observers, Watches, watch
from allframe.saga.operators import Operators
from allframe.saga.outcome import SagaOutcome, error_of, info_of
from allframe.saga.recorded import SagaRecord
from allframe.saga.recovery import CannotLoad, events_of, restore
from allframe.saga.registry import Registry
from allframe.saga.states import TERMINAL, SagaStatus
from allframe.saga.steps import SagaStep

__all__ = ["SagaOrchestrator"]

logger = logging.getLogger("allframe")


class SagaOrchestrator(Operators):
    """Runs sagas and records every transition in an event store.

    ::

        async with SagaOrchestrator("sqlite:///bank.db", provide={Bank: bank}) as orchestrator:
            outcome = await orchestrator.execute(TransferMoney(...), id="transfer-100")

    Entering it recovers what another opening of the store left unfinished. Leaving it stops admitting, lets steps
    finish for ``grace`` seconds, and drops the rest without writing: the next opening recovers it. Only what runs on a
    memory store of its own, which has no next opening, is cancelled and rolled back within ``grace``.

    Args:
        store: An open `EventStore`, which stays open; a URL, which it opens and closes; or nothing, for memory.
        sagas: The classes, of sagas and of steps to build them of, or modules of classes, that may run here. Every one
            that is imported, if not given.
        provide: An object for each type that steps inject.
        container: A dishka container, which makes what ``provide`` does not have: in a scope for each attempt, which
            closes after the attempt's record is safe. It stays open.
        max_running: So many sagas run at once; others are recorded, and wait for their turn.
        grace: Seconds that steps are given when leaving.
        clock: Wall time; the machine's, if not given.
        on_record: Plain functions, called with each record once it is durable. One that raises is logged.
    """

    #: What `allframe.testing` puts between us and the steps.
    _rehearsal: Rehearsal | None = None

    def __init__(
        self,
        store: EventStore | str | None = None,
        *,
        sagas: Iterable[type[Saga] | type[SagaStep] | ModuleType] | None = None,
        provide: Mapping[Any, object] | None = None,
        container: AsyncContainer | None = None,
        max_running: int = 1000,
        grace: float = 10.0,
        clock: Clock | None = None,
        on_record: Iterable[Observer] = (),
    ) -> None:
        if max_running < 1 or not grace >= 0:
            raise ValueError(f"Expected max_running from 1 and grace from 0, found {max_running!r} and {grace!r}.")
        self._owns_store = not isinstance(store, EventStore)
        self._store = store if isinstance(store, EventStore) else EventStore(store)
        self._catalog = Catalog(sagas)
        # Closing a scope may take as long as steps are given; at least a second, for it is also closed without leaving.
        made = None if container is None else Container(container, context=(StepContext,), closing=max(grace, 1.0))
        self._provider = Provider(provide, made)
        self._monitor = Monitor(self._store)
        self._clock = clock or SystemClock()
        self._max_running, self._grace = max_running, grace
        self._observers, self._watches = Observers(on_record), Watches()
        self._registry: Registry | None = None
        self._closed = False

    async def __aenter__(self) -> SagaOrchestrator:
        if self._registry is not None:
            raise OrchestratorClosed("This orchestrator was entered before. Make a new one: it is cheap.")
        self._provider.check_loop()
        try:
            if self._owns_store:
                await self._store.open()
            self._registry = Registry(
                self._store.opened(),
                self._monitor,
                self._provider,
                self._clock,
                self._catalog,
                max_running=self._max_running,
                grace=self._grace,
                # A memory store of our own is gone when we leave: what runs is rolled back while it can be.
                ephemeral=self._owns_store and not self._store.backend.durable,
                observers=self._observers,
            )
            self._registry.rehearsal = self._rehearsal
            await self._registry.enter()
        except BaseException:
            await self._close_store()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._registry is not None
        try:
            await self._registry.leave(error)
        finally:
            self._closed = True
            with anyio.CancelScope(shield=True):
                await self._watches.end(self._store.backend, closing=self._owns_store)
            await self._close_store()

    async def _close_store(self) -> None:
        if self._owns_store:
            with anyio.CancelScope(shield=True):
                await self._store.close()

    # --- running -----------------------------------------------------------------------------------------------------

    async def execute(self, saga: Saga | SagaDefinition, *, id: str | None = None) -> SagaOutcome:  # noqa: A002
        """Run a saga and return its outcome. Cancelling the wait leaves the saga running.

        Args:
            saga: The saga with its input, or one that was built.
            id: Its id, once for ever: 1 to 200 printable characters, the first not ``$``. A UUID, if not given; one that
                was built has its own.

        Raises:
            SagaError: it did not complete. The text says what was rolled back, and what was not.
            AlreadyExecuting: a call of this orchestrator is running it; ``handle`` waits for that.
            SagaIdConflict: the id belongs to another input.
            DependencyMissing: nothing provides what a step injects. Nothing was written.
            PayloadError: the input cannot be stored. Nothing was written.
            OrchestratorClosed: the orchestrator leaves, or was not entered.
            StoreError: the store cannot be used.
        """
        saga_id, entry, fresh = await self._start(saga, id)
        await self._tell(saga, saga_id, entry)
        handle = SagaHandle(saga_id, self, entry)
        if entry is not None:
            if not fresh and entry.asked and not entry.done.is_set():
                raise AlreadyExecuting(
                    f"Saga {saga_id!r} is being executed already. To wait for it, use the handle that this error carries, "
                    "or start() instead of execute().",
                    handle=handle,
                    saga_id=saga_id,
                )
            entry.asked = True
        outcome = await handle.outcome()
        outcome.raise_for_status()
        return outcome

    async def start(self, saga: Saga | SagaDefinition, *, id: str | None = None) -> SagaHandle:  # noqa: A002
        """Begin a saga, or find the one with this id and input. It returns when the saga is safely recorded.

        Raises:
            SagaIdConflict: the id belongs to another input.
            DependencyMissing, PayloadError, OrchestratorClosed, StoreError: as `execute`.
        """
        saga_id, entry, _ = await self._start(saga, id)
        await self._tell(saga, saga_id, entry)
        if entry is not None:
            entry.asked = True
        return SagaHandle(saga_id, self, entry)

    # --- looking -----------------------------------------------------------------------------------------------------

    async def get_saga(self, id: str) -> SagaMetadata | None:  # noqa: A002
        """Where the saga with this id stands; None if there is none."""
        self._open(leaving_too=True)
        return await self._monitor.get_saga(id)

    async def get_running_sagas(self) -> list[SagaMetadata]:
        """Those that are ``NOT_STARTED``, ``EXECUTING`` or ``COMPENSATING``, by id."""
        self._open(leaving_too=True)
        return await self._monitor.get_running_sagas()

    async def get_history(
        self,
        *,
        saga: str | type[Saga] | None = None,
        status: SagaStatus | str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[SagaMetadata]:
        """The others, the newest end first. As `Monitor.get_history`."""
        self._open(leaving_too=True)
        return await self._monitor.get_history(saga=saga, status=status, since=since, limit=limit, before=before)

    async def running_count(self) -> int:
        """How many sagas are ``NOT_STARTED``, ``EXECUTING`` or ``COMPENSATING``."""
        self._open(leaving_too=True)
        return await self._monitor.running_count()

    async def history_count(self) -> int:
        """How many are not."""
        self._open(leaving_too=True)
        return await self._monitor.history_count()

    def watch(self, id: str | None = None, *, after: int | None = None) -> AsyncIterator[SagaRecord]:  # noqa: A002
        """The records of all sagas, or of the one with this id, which need not exist yet; nothing else.

        ``after=None``: those written from this call on; ``after=N``: all with a position above N, then those that come,
        with no gap and no double. It ends after the last one when the orchestrator has left. It reads at the pace of
        whoever follows it, holds a page at most, and may be left at any moment.
        """
        self._open(leaving_too=True)
        return self._watches.add(watch(self._store.opened, id, after))

    async def idle(self) -> None:
        """Return when no saga runs or waits for its turn, and whatever another opening left has been taken over.

        Raises:
            OrchestratorClosed: if the orchestrator leaves before that.
        """
        await self._open().idleness.reached()

    @property
    def store_trouble(self) -> StoreError | None:
        """Why the store cannot be written at the moment, or None. Meanwhile sagas hold what they have to write."""
        return None if self._registry is None else self._registry.store_trouble

    @property
    def dropped(self) -> tuple[str, ...]:
        """The sagas that did not come to rest within the grace when it left: what they did is found out by recovery."""
        return () if self._registry is None else tuple(self._registry.dropped)

    # --- below -------------------------------------------------------------------------------------------------------

    def _open(self, *, leaving_too: bool = False) -> Registry:
        if self._registry is None:
            raise OrchestratorClosed(
                "The orchestrator was not entered. Use it inside `async with SagaOrchestrator(...) as orchestrator:`."
            )
        if self._closed or (self._registry.closing and not leaving_too):
            raise OrchestratorClosed(
                "The orchestrator is leaving, or has left. What it had begun goes on at the next opening."
            )
        return self._registry

    async def _start(self, saga: Any, saga_id: str | None) -> tuple[str, Entry | None, bool]:
        """The id of the saga; its entry, if it is not over; and whether this call began it."""
        registry = self._open()
        graph = self._catalog.graph_of(saga)
        title = type(saga).__qualname__
        if isinstance(saga, SagaDefinition):
            saga_id, saga = saga.id_for(saga_id), saga.as_input()
        data, saga = graph.model.store(saga, f"The input of {title}")
        missing = self._provider.missing(graph.wanted())
        if missing:
            raise DependencyMissing(
                f"{title} cannot run: nothing provides {missing}. {self._provider.remedy()} It has {self._provider.names()}.",
                saga_id=saga_id,
            )
        if saga_id is not None:
            _check_id(saga_id)
            entry = registry.entries.get(saga_id)
            if entry is not None:
                return await self._join(entry, saga, graph)
        entry = registry.begin(saga, graph, data, saga_id)
        await entry.found.wait()
        if entry.was_not_begun and isinstance(entry.failure, ConcurrencyError):
            return await self._attach(entry.id, saga, graph)
        if entry.was_not_begun and entry.failure is not None:
            raise entry.failure
        return entry.id, entry, True

    async def _tell(self, saga: Saga | SagaDefinition, saga_id: str, entry: Entry | None) -> None:
        """Have a saga that was built tell where it stands."""
        if not isinstance(saga, SagaDefinition):
            return
        if entry is not None and entry.running is not None:
            live = entry.running.execution
            saga.tell_from(lambda: live)
        elif (stored := await self._monitor.read(saga_id)) is not None:
            before = stored.execution
            saga.tell_from(lambda: before if entry is None or entry.running is None else entry.running.execution)

    async def _join(self, entry: Entry, saga: Any, graph: SagaGraph) -> tuple[str, Entry | None, bool]:
        """An id that is in hand already."""
        await entry.found.wait()
        if entry.was_not_begun and entry.failure is not None and not isinstance(entry.failure, ConcurrencyError):
            raise entry.failure
        if entry.was_not_begun or entry.running is None:
            return await self._attach(entry.id, saga, graph)
        if entry.running.saga != saga or entry.running.graph.saga != graph.saga:
            raise _conflict(entry.id, entry.running.graph.saga)
        return entry.id, entry, False

    async def _attach(self, saga_id: str, saga: Any, graph: SagaGraph) -> tuple[str, Entry | None, bool]:
        """An id that is in the store."""
        stored = await self._monitor.read(saga_id)
        if stored is None:
            raise SagaNotFound(f"The store holds no saga {saga_id!r}.", saga_id=saga_id)
        started = stored.started
        try:
            same = (started.saga, started.built) == (graph.saga, graph.built)
            same = same and graph.model.load(started.input, "input") == saga
        except Exception:  # noqa: BLE001 - today's class cannot read it: it is another input
            same = False
        if not same:
            raise _conflict(saga_id, stored.started.saga)
        registry = self._open()
        if registry.will_recover(stored):
            return saga_id, registry.adopt(saga_id), False
        return saga_id, None, False

    async def _outcome(self, saga_id: str, entry: Entry | None) -> SagaOutcome:
        if entry is not None and entry.outcome is not None and (self._closed or entry.outcome.status in TERMINAL):
            return entry.outcome
        entries = self._open(leaving_too=True).entries
        while (current := entries.get(saga_id)) is not None and current.was_not_begun and current is not entry:
            await current.found.wait()  # a start that is about to find out that the saga exists
            await anyio.lowlevel.checkpoint()
        entry = current or entry
        if entry is not None:
            await entry.done.wait()
            if entry.failure is not None and not isinstance(entry.failure, CannotLoad):
                raise entry.failure
            if entry.outcome is not None and entry.outcome.status in TERMINAL:
                return entry.outcome
        return await self._stored_outcome(saga_id, entry)

    async def _stored_outcome(self, saga_id: str, entry: Entry | None) -> SagaOutcome:
        registry = self._registry
        assert registry is not None
        live = None if entry is None or entry.running is None else entry.running.error
        try:
            running = await restore(registry, self._monitor, saga_id, self._catalog.find)
            events = await events_of(self._monitor, self._store.backend, saga_id, self._store.versions)
        except (CannotLoad, StoreError):
            # It ended, but with a class that this program does not have: its outputs cannot be read.
            stored = await self._monitor.read(saga_id)
            if stored is None:
                raise SagaNotFound(f"The store holds no saga {saga_id!r}.", saga_id=saga_id) from None
            failure = error_of(saga_id, stored.started.saga, stored.execution, live)
            return SagaOutcome(saga_id, stored.execution.status, {}, None, [], info_of(stored.execution), (), failure)
        running.events, running.error = events, live
        return running.outcome()


def _check_id(saga_id: str) -> None:
    given: object = saga_id
    if not isinstance(given, str) or not 0 < len(given) <= 200 or not given.isprintable() or given[0] == "$":
        shown = repr(given) if len(repr(given)) <= 240 else f"{repr(given)[:240]}…"
        raise SagaIdInvalid(f"A saga's id is 1 to 200 printable characters, and the first is not '$'. Found {shown}.")


def _conflict(saga_id: str, owner: str) -> SagaIdConflict:
    return SagaIdConflict(
        f"The id {saga_id!r} belongs to a saga {owner!r} with another input. An id is given once, for ever: choose another.",
        saga_id=saga_id,
    )
