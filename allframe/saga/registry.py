"""`Registry`: the sagas that an orchestrator has in hand, and whose turn it is.

New sagas, recovered ones and those that somebody asks something of come together here. An entry lives from the moment
somebody wants the saga until nothing more happens to it here; what is over is in the store, and nowhere else.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from allframe.clock import Clock, to_microseconds
from allframe.errors import OperationRefused, OrchestratorClosed, StoreError, StoreUnavailable
from allframe.events.backend import EventStoreBackend, HeadQuery, new_id
from allframe.events.lockfile import caller
from allframe.inject import Provider
from allframe.saga.catalog import Catalog
from allframe.saga.clerk import block
from allframe.saga.control import Control
from allframe.saga.engine import Rehearsal, persist
from allframe.saga.graph import SagaGraph
from allframe.saga.handle import Entry
from allframe.saga.idleness import Idleness
from allframe.saga.keeper import Keeper
from allframe.saga.monitor import Monitor, StoredSaga
from allframe.saga.observe import Observers
from allframe.saga.orders import Order, who
from allframe.saga.records import BlockedKind, SagaBlocked, SagaRecovered
from allframe.saga.recovery import CannotLoad, load
from allframe.saga.running import RunningSaga, new_saga, started_by
from allframe.saga.states import RUNNING, TERMINAL, Move, SagaStatus
from allframe.saga.streams import CATEGORY, saga_id_of
from allframe.saga.threads import Threads
from allframe.saga.timers import Timers
from allframe.saga.turns import Turns
from allframe.saga.verbs import Verbs

__all__ = ["Registry"]

T = TypeVar("T")
logger = logging.getLogger("allframe")


class Registry:
    """Everything that an orchestrator has while it is entered."""

    def __init__(
        self,
        backend: EventStoreBackend,
        monitor: Monitor,
        provider: Provider,
        clock: Clock,
        catalog: Catalog,
        *,
        max_running: int,
        grace: float,
        ephemeral: bool,
        observers: Observers,
    ) -> None:
        self.backend, self.provider, self.clock = backend, provider, clock
        self.entries: dict[str, Entry] = {}
        self.definitions: set[str] = set()
        self.rehearsal: Rehearsal | None = None
        self.observers = observers
        self.epoch = 0
        #: Nothing new begins; what runs may end.
        self.leaving = False
        self.store_trouble: StoreError | None = None
        self.monitor, self.catalog, self.versions = monitor, catalog, monitor.versions
        self.verbs, self.turns = Verbs(self), Turns(max_running, self._run)
        self._ephemeral = ephemeral
        self._clean, self._claimed = True, False
        self.threads = Threads(backend.hold)
        self._control = Control(backend, self.verbs.ask)
        self.dropped: list[str] = []
        self.idleness = Idleness(self.entries, self.check_open)
        self._keeper = Keeper(grace, self._wind_up, self._dropped, self._broken, self._fail_all)

        self.timers = Timers(self._keeper.accompany)

    # --- entering and leaving ----------------------------------------------------------------------------------------

    async def enter(self) -> None:
        await self._keeper.enter()
        try:
            # In a task of our own: what was claimed while our caller was cancelled must be given back.
            await self.run(None, self._claim, caller())
            if self._control.listen():
                self.spawn(None, self._control.serve, self.spawn)
            self.spawn(None, self.idleness.after, self._recover)
        except BaseException as error:
            await self.leave(error)
            raise

    async def _claim(self, where: str) -> None:
        claim = await self.backend.claim(where)
        self.epoch, self._clean, self._claimed = claim.epoch, claim.clean, True

    async def leave(self, error: BaseException | None) -> None:
        try:
            await self._keeper.leave(error)
        finally:
            self.threads.close()
            self._control.close()
            if self._claimed:
                with anyio.CancelScope(shield=True):
                    await self._release()

    async def _release(self) -> None:
        """Note in the store that we left, so that what is still open there is not taken for a crash."""
        try:
            await self.backend.release()
        except StoreUnavailable as error:
            # Whatever makes us leave must not be lost for this: it is told where the records were held.
            logger.warning("the store is left without a note, and its next owner takes that for a crash: %s", error)

    def _fail_all(self) -> None:
        """Tell whoever waits that we are gone."""
        for saga_id, entry in list(self.entries.items()):
            text = (
                f"The orchestrator left before saga {saga_id!r} was over. It goes on at the next opening of the store."
            )
            entry.fail(OrchestratorClosed(text, saga_id=saga_id))

    @property
    def closing(self) -> bool:
        """Nothing more is admitted."""
        return self._keeper.is_leaving

    @property
    def dropping(self) -> bool:
        """What runs is cut, and nothing is written of it."""
        return self._keeper.dropping

    async def _wind_up(self) -> None:
        self._control.close()
        if self._ephemeral:
            await self._roll_back_all()
        self.leaving = True
        self.turns.close()
        for entry in self.entries.values():
            if entry.running is not None:
                entry.running.performer.wake()

    def _dropped(self) -> None:
        self.threads.drop()
        for entry in self.entries.values():
            saga = entry.running
            if saga is not None and saga.busy_with:
                self.dropped.append(entry.id)
                logger.warning(
                    "saga %s: step %s did not end in time and is dropped; what it did is found out at the next opening",
                    entry.id,
                    saga.busy_with,
                )
            elif saga is not None and self.store_trouble is not None:
                self.dropped.append(entry.id)
                logger.critical(
                    "saga %s: its last records could not be written, and what they tell runs again at the next opening: %s",
                    entry.id,
                    self.store_trouble,
                )

    async def _roll_back_all(self) -> None:
        for entry in list(self.entries.values()):
            if entry.running is not None:
                try:
                    await self.verbs.tell(
                        entry, Order("cancel", "the orchestrator left, and its store was only in memory", who())
                    )
                except OperationRefused:
                    continue  # it goes back already, or only forward
        while self.entries:
            await next(iter(self.entries.values())).done.wait()

    # --- what a saga needs of us (`Engine`) --------------------------------------------------------------------------

    def spawn(self, saga_id: str | None, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``function(*args)`` in a task of our own."""
        self._keeper.spawn(saga_id, function, *args)

    async def run(self, saga_id: str | None, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """What ``function(*args)`` gives, run to its end in a task of our own."""
        return await self._keeper.run(saga_id, function, *args)

    def ended(self, saga: RunningSaga) -> None:
        """Nothing more happens to it here."""
        entry = self.entries.get(saga.id)
        if entry is None or entry.running is not saga or entry.holds:
            return
        del self.entries[saga.id]
        if saga.events is not None:
            entry.outcome = saga.outcome()
        entry.found.set()
        entry.done.set()
        self.turns.release(entry)

    def trouble(self, error: StoreError | None, saga_id: str) -> None:
        """Note that the store cannot be written, or can again."""
        if error is not None:
            logger.warning("saga %s: the store cannot be written, and its records are held: %s", saga_id, error)
        elif self.store_trouble is not None:
            logger.warning("the store can be written again")
        self.store_trouble = error

    # --- new sagas ---------------------------------------------------------------------------------------------------

    def begin(self, saga: Any, graph: SagaGraph, data: bytes, saga_id: str | None) -> Entry:
        """Hand in a new saga, which belongs to the correlation that holds here.

        Raises:
            OrchestratorClosed: if we are leaving.
            PayloadError: if the correlation cannot be stored.
        """
        self.check_open(saga_id)
        saga_id = saga_id or str(uuid.UUID(bytes=new_id()))
        running = new_saga(saga_id, saga, graph, self, data)
        started = started_by(graph, data, self.epoch)
        entry = self.entries[saga_id] = Entry(saga_id, running, started, asked=True)
        if self.turns.is_free:
            self.turns.take(entry)
            self.spawn(saga_id, self._begin, entry)
        else:
            self.spawn(saga_id, self._enqueue, entry)
        return entry

    async def _begin(self, entry: Entry) -> None:
        moves = await self._first_commit(entry, queued=False)
        if entry.running is not None:
            await entry.running.follow(moves)

    def check_open(self, saga_id: str | None) -> None:
        """Raise `OrchestratorClosed` if we are leaving."""
        if self.closing:
            raise OrchestratorClosed("The orchestrator is leaving: nothing more can be begun.", saga_id=saga_id)

    async def _enqueue(self, entry: Entry) -> None:
        await self._first_commit(entry, queued=True)
        if not entry.done.is_set():
            self.turns.enqueue(entry)

    async def _first_commit(self, entry: Entry, *, queued: bool) -> list[Move]:
        assert entry.running is not None
        assert entry.started is not None
        try:
            moves = await entry.running.begin(entry.started, queued=queued)
        except StoreError as error:
            # Nothing was written: to whoever asked it is an error, and there is no saga.
            self.give_up(entry, error)
            return []
        entry.started = None
        entry.found.set()
        return moves

    # --- stored sagas ------------------------------------------------------------------------------------------------

    def will_recover(self, stored: StoredSaga) -> bool:
        """Whether the saga is still to be taken over by this opening."""
        execution = stored.execution
        return execution.status in RUNNING or (self.is_mendable(stored) and execution.epoch < self.epoch)

    def is_mendable(self, stored: StoredSaga) -> bool:
        """Whether it is blocked for something that may be there now."""
        blocked = stored.execution.blocked
        return blocked is not None and blocked.kind in BlockedKind.MENDABLE

    def adopt(self, saga_id: str) -> Entry:
        """Have a stored saga taken over when it is its turn, if it is not in hand yet.

        Raises:
            OrchestratorClosed: if we are leaving.
        """
        self.check_open(saga_id)
        entry = self.entries.get(saga_id)
        if entry is None:
            entry = self.entries[saga_id] = Entry(saga_id)
            self.turns.enqueue(entry)
        return entry

    async def _recover(self) -> None:
        """Take over what another opening left: one at a time waits for its turn, among those that are new."""
        query = HeadQuery(
            CATEGORY,
            statuses=(*sorted(RUNNING), SagaStatus.BLOCKED),
            blocked=BlockedKind.MENDABLE,
            epoch_before=self.epoch,
        )
        after: str | None = None
        while heads := await self._patiently(partial(self.backend.list_heads, query, after=after)):
            for head in heads:
                saga_id = saga_id_of(head.stream)
                while (other := self.entries.get(saga_id)) is not None and other.was_not_begun:
                    await other.found.wait()  # a start that is about to find out that it exists
                    await anyio.lowlevel.checkpoint()
                if self.closing:
                    return
                entry = self.adopt(saga_id)
                await self.turns.reached(entry)
            after = heads[-1].stream

    async def _patiently(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """What ``function(*args)`` gives; tried until the store can be read."""
        while True:
            try:
                return await function(*args)
            except StoreUnavailable as error:
                logger.warning("recovery waits for the store: %s", error)
                await anyio.sleep(0.5)

    async def _resume(self, entry: Entry) -> None:
        """Take a stored saga over and go on with it."""
        try:
            moves = await self.take_over(entry)
        except CannotLoad as why:
            await self._patiently(self._block, entry, why)
            return
        running = entry.running
        assert running is not None
        if running.execution.status in RUNNING:
            await running.follow(moves)
        else:
            self.ended(running)  # it ended while it waited for its turn

    async def take_over(self, entry: Entry) -> list[Move]:
        """Load a stored saga, and record that it is ours now; returns what it does next.

        Raises:
            CannotLoad: if it cannot be loaded.
        """
        recovered = await self.load(entry)
        entry.holds += 1
        try:
            moves = await entry.running.go_on(recovered) if recovered and entry.running else []
        finally:
            entry.holds -= 1
        entry.found.set()
        return moves

    async def load(self, entry: Entry) -> SagaRecovered | None:
        """Load a stored saga; returns what is to be recorded of taking it over, if anything is.

        Raises:
            CannotLoad: if it cannot be loaded.
        """
        running = entry.running = await self._patiently(load, self, self.monitor, entry.id, self.catalog.find)
        execution = running.execution
        is_old = execution.epoch < self.epoch and execution.status not in TERMINAL
        is_mended = execution.blocked is not None and execution.blocked.kind in BlockedKind.MENDABLE
        return self._recovered(running) if execution.status in RUNNING or is_old or is_mended else None

    def _recovered(self, saga: RunningSaga) -> SagaRecovered:
        execution = saga.execution
        open_attempt = bool(execution.running) or execution.undoing is not None
        recoveries = execution.recoveries + (open_attempt and not self._clean)
        return SagaRecovered(epoch=self.epoch, recoveries=recoveries, definition=saga.redefined)

    async def _block(self, entry: Entry, why: CannotLoad) -> None:
        """Record that a saga cannot be loaded, unless that stands there already."""
        logger.error("saga %s is blocked: %s", entry.id, why.reason)
        blocked = SagaBlocked(kind=why.kind, reason=why.reason, epoch=self.epoch)
        commit = await block(self.backend, entry.id, blocked, to_microseconds(self.clock.now()))
        if commit is not None:
            await persist(self, commit, entry.id, commit.head.name if commit.head else "")
        self.give_up(entry, why)

    def give_up(self, entry: Entry, why: BaseException) -> None:
        """Nothing more comes of it here."""
        entry.failure = why
        self.let_go(entry)

    def let_go(self, entry: Entry) -> None:
        """It is not in hand any more: whoever wants it looks into the store."""
        if self.entries.get(entry.id) is entry:
            del self.entries[entry.id]
        entry.found.set()
        entry.done.set()
        self.turns.release(entry)

    # --- turns -------------------------------------------------------------------------------------------------------

    def _run(self, entry: Entry) -> None:
        self.spawn(entry.id, self._resume if entry.running is None else self._admit, entry)

    async def _admit(self, entry: Entry) -> None:
        assert entry.running is not None
        if entry.running.execution.status is SagaStatus.NOT_STARTED:
            await entry.running.follow(await entry.running.go_on(None))

    def _broken(self, saga_id: str | None, error: BaseException) -> None:
        """A task ended as none should: this saga stops here, and the next opening takes it over."""
        logger.critical("saga %s stops here, and goes on at the next opening: %r", saga_id, error, exc_info=error)
        entry = None if saga_id is None else self.entries.get(saga_id)
        if entry is not None:
            self.give_up(entry, error)
