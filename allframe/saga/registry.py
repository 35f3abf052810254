"""`Registry`: the sagas that an orchestrator has in hand, and whose turn it is.

New sagas, recovered ones and those that somebody asks something of come together here. An entry lives from the moment
somebody wants the saga until nothing more happens to it here; what is over is in the store, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from allframe.clock import Clock, to_microseconds
from allframe.errors import OperationRefused, OrchestratorClosed, StoreError, StoreUnavailable
from allframe.events.backend import Commit, EventStoreBackend, HeadQuery, Row, Write, new_id
from allframe.events.lockfile import caller
from allframe.inject import Provider
from allframe.saga.engine import persist
from allframe.saga.execution import RUNNING, TERMINAL, Execution, Move, SagaStatus
from allframe.saga.graph import SagaGraph
from allframe.saga.handle import Entry
from allframe.saga.idleness import Idleness
from allframe.saga.keeper import Keeper
from allframe.saga.monitor import CATEGORY, Monitor, Stored
from allframe.saga.outcome import SagaOutcome, error_of, info_of
from allframe.saga.records import (
    SCHEMA_VERSION,
    BlockedKind,
    SagaBlocked,
    SagaRecovered,
    SagaStarted,
    encode,
    saga_stream,
)
from allframe.saga.recovery import CannotLoad, FindClass, load
from allframe.saga.running import RunningSaga, digest_of
from allframe.saga.turns import Turns
from allframe.saga.verbs import Verbs

__all__ = ["Registry"]

T = TypeVar("T")
logger = logging.getLogger("allframe")
#: What is blocked for one of these goes on by itself when it is there.
_MENDABLE = (BlockedKind.CODE, BlockedKind.DEPENDENCY)


class Registry:
    """Everything that an orchestrator has while it is entered."""

    def __init__(
        self,
        backend: EventStoreBackend,
        monitor: Monitor,
        provider: Provider,
        clock: Clock,
        find: FindClass,
        *,
        max_running: int,
        grace: float,
        ephemeral: bool,
    ) -> None:
        self.backend, self.provider, self.clock = backend, provider, clock
        self.entries: dict[str, Entry] = {}
        self.definitions: set[str] = set()
        self.epoch = 0
        #: Nothing new begins; what runs may end.
        self.leaving = False
        self.store_trouble: StoreError | None = None
        self.monitor, self._find = monitor, find
        self.verbs, self.turns = Verbs(self), Turns(max_running, self._run)
        self.dropped: list[str] = []
        self.idleness = Idleness(self.entries, self.check_open)
        self._ephemeral, self._clean, self._claimed = ephemeral, True, False
        self._keeper = Keeper(grace, self._wind_up, self._dropped, self._broken, self._fail_all)

    # --- entering and leaving ----------------------------------------------------------------------------------------

    async def enter(self) -> None:
        await self._keeper.enter()
        try:
            # In a task of our own: what was claimed while our caller was cancelled must be given back.
            await self.run(None, self._claim, caller())
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
            if self._claimed:
                with anyio.CancelScope(shield=True):
                    await self.backend.release()

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
        if self._ephemeral:
            await self._roll_back_all()
        self.leaving = True
        self.turns.close()
        for entry in self.entries.values():
            if entry.running is not None:
                entry.running.wake()

    def _dropped(self) -> None:
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
                    await self.verbs.ask(
                        entry, entry.running.cancel, "the orchestrator left, and its store was only in memory"
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
            entry.outcome = self.outcome_of(saga)
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

    def outcome_of(self, saga: RunningSaga) -> SagaOutcome:
        """How a saga ended, from its execution."""
        execution = saga.execution
        outputs = saga.values()
        return SagaOutcome(
            id=saga.id,
            status=execution.status,
            outputs=outputs,
            output=outputs.get(saga.graph.steps[-1].attribute),
            events=list(saga.events or []),
            error=info_of(execution),
            suppressed=tuple(execution.suppressed),
            _failure=error_of(saga.id, saga.graph.saga, execution, saga.error),
        )

    # --- new sagas ---------------------------------------------------------------------------------------------------

    def begin(self, saga: Any, graph: SagaGraph, data: bytes, saga_id: str | None) -> Entry:
        """Hand in a new saga.

        Raises:
            OrchestratorClosed: if we are leaving.
        """
        self.check_open(saga_id)
        saga_id = saga_id or str(uuid.UUID(bytes=new_id()))
        running = RunningSaga(saga_id, saga, graph, self, Execution(graph.plan), digest_of(data))
        started = SagaStarted(
            saga=graph.saga, version=graph.version, definition=graph.fingerprint, input=data, epoch=self.epoch
        )
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

    def will_recover(self, stored: Stored) -> bool:
        """Whether the saga is still to be taken over by this opening."""
        execution = stored.execution
        return execution.status in RUNNING or (self.is_mendable(stored) and execution.epoch < self.epoch)

    def is_mendable(self, stored: Stored) -> bool:
        """Whether it is blocked for something that may be there now."""
        blocked = stored.execution.blocked
        return blocked is not None and blocked.kind in _MENDABLE

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
            blocked=_MENDABLE,
            epoch_before=self.epoch,
        )
        after: str | None = None
        while heads := await self._patiently(partial(self.backend.list_heads, query, after=after)):
            for head in heads:
                saga_id = head.stream.partition("/")[2]
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
        running = entry.running = await self._patiently(load, self, self.monitor, entry.id, self._find)
        execution = running.execution
        is_old = execution.epoch < self.epoch and execution.status not in TERMINAL
        is_mended = execution.blocked is not None and execution.blocked.kind in _MENDABLE
        moves: list[Move] = []
        if execution.status in RUNNING or is_old or is_mended:
            moves = await self._record_takeover(entry, running)
        entry.found.set()
        return moves

    async def _record_takeover(self, entry: Entry, running: RunningSaga) -> list[Move]:
        entry.holds += 1
        try:
            return await running.go_on(self._recovered(running))
        finally:
            entry.holds -= 1

    def _recovered(self, saga: RunningSaga) -> SagaRecovered:
        execution = saga.execution
        open_attempt = bool(execution.running) or execution.undoing is not None
        recoveries = execution.recoveries + (open_attempt and not self._clean)
        return SagaRecovered(epoch=self.epoch, recoveries=recoveries, definition=saga.redefined)

    async def _block(self, entry: Entry, why: CannotLoad) -> None:
        """Record that a saga cannot be loaded, unless that stands there already."""
        stream = saga_stream(entry.id)
        head = await self.backend.get_head(stream)
        rows = await self.backend.read_stream(stream)
        now = to_microseconds(self.clock.now())
        data = encode(SagaBlocked(kind=why.kind, reason=why.reason, epoch=self.epoch))
        logger.error("saga %s is blocked: %s", entry.id, why.reason)
        if head is not None and not (head.status == SagaStatus.BLOCKED and head.epoch == self.epoch):
            row = Row(new_id(), SagaBlocked.type, SCHEMA_VERSION, data, now)
            blocked = dataclasses.replace(
                head,
                status=SagaStatus.BLOCKED.value,
                since=head.since if head.status == SagaStatus.BLOCKED else now,
                blocked=why.kind,
                epoch=self.epoch,
                attention=True,
            )
            await persist(self, Commit((Write(stream, (row,), len(rows)),), blocked), entry.id)
        self.give_up(entry, why)

    def give_up(self, entry: Entry, why: BaseException) -> None:
        """Nothing more comes of it here."""
        if self.entries.get(entry.id) is entry:
            del self.entries[entry.id]
        entry.fail(why)
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
