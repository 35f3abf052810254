"""`Registry`: the sagas that an orchestrator has in hand, and whose turn it is.

New sagas, recovered ones and those that somebody asks something of come together here. An entry lives from the moment
somebody wants the saga until nothing more happens to it here; what is over is in the store, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from allframe.clock import Clock, to_microseconds
from allframe.errors import OperationRefused, OrchestratorClosed, StoreError, StoreUnavailable
from allframe.events.backend import Commit, EventStoreBackend, Head, HeadQuery, Row, Write, new_id
from allframe.events.lockfile import caller
from allframe.inject import Provider
from allframe.saga.execution import RUNNING, Execution, Move, SagaStatus
from allframe.saga.graph import SagaGraph
from allframe.saga.handle import Entry
from allframe.saga.keeper import Keeper
from allframe.saga.monitor import CATEGORY, Monitor, Stored
from allframe.saga.outcome import SagaOutcome, error_of
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
from allframe.saga.running import RunningSaga, digest_of, persist

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
        #: Nothing more is admitted.
        self.closing = False
        #: Nothing new begins; what runs may end.
        self.leaving = False
        self.store_trouble: StoreError | None = None
        self._monitor, self._find = monitor, find
        self._max_running, self._ephemeral = max_running, ephemeral
        self._active = 0
        self._queue: deque[Entry] = deque()
        self._freed = anyio.Event()
        self._clean = True
        self._keeper = Keeper(grace, self._wind_up, self._dropped, self._broken)

    # --- entering and leaving ----------------------------------------------------------------------------------------

    async def enter(self) -> None:
        claim = await self.backend.claim(caller())
        self.epoch, self._clean = claim.epoch, claim.clean
        try:
            await self._keeper.enter()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.backend.release()
            raise
        self.spawn(None, self._recover)

    async def leave(self, error: BaseException | None) -> None:
        self.closing = True
        try:
            await self._keeper.leave(error)
        finally:
            for entry in list(self.entries.values()):
                entry.fail(
                    OrchestratorClosed(
                        f"The orchestrator left before saga {entry.id!r} was over. It goes on at the next opening of the "
                        "store.",
                        saga_id=entry.id,
                    )
                )
            with anyio.CancelScope(shield=True):
                await self.backend.release()

    @property
    def dropping(self) -> bool:
        """What runs is cut, and nothing is written of it."""
        return self._keeper.dropping

    async def _wind_up(self) -> None:
        self.closing = True
        if self._ephemeral:
            await self._roll_back_all()
        self.leaving = True
        self._freed.set()
        for entry in self.entries.values():
            if entry.running is not None:
                entry.running.wake()

    def _dropped(self) -> None:
        for entry in self.entries.values():
            saga = entry.running
            if saga is not None and saga.busy_with:
                logger.warning(
                    "saga %s: step %s did not end in time and is dropped; what it did is found out at the next opening",
                    entry.id,
                    saga.busy_with,
                )
            elif saga is not None and self.store_trouble is not None:
                logger.critical(
                    "saga %s: its last records could not be written, and what they tell runs again at the next opening: %s",
                    entry.id,
                    self.store_trouble,
                )

    async def _roll_back_all(self) -> None:
        for entry in list(self.entries.values()):
            if entry.running is not None:
                try:
                    await self.cancel(entry, "the orchestrator left, and its store was only in memory")
                except OperationRefused:
                    continue  # it goes back already, or only forward
        while self.entries:
            await next(iter(self.entries.values())).done.wait()

    # --- what a saga needs of us (`Engine`) --------------------------------------------------------------------------

    def spawn(self, saga_id: str | None, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``function(*args)`` in a task of our own."""
        self._keeper.spawn(saga_id, function, *args)

    def ended(self, saga: RunningSaga) -> None:
        """Nothing more happens to it here."""
        entry = self.entries.get(saga.id)
        if entry is None or entry.parked:
            return
        del self.entries[saga.id]
        if saga.events is not None:
            entry.outcome = self.outcome_of(saga)
        entry.found.set()
        entry.done.set()
        self._release(entry)

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
        cause = execution.cause
        return SagaOutcome(
            id=saga.id,
            status=execution.status,
            outputs=outputs,
            output=outputs.get(saga.graph.steps[-1].attribute),
            events=saga.events or [],
            error=None if cause is None else cause.error,
            suppressed=tuple(execution.suppressed),
            _failure=error_of(saga.id, saga.graph.saga, execution, saga.error),
        )

    # --- new sagas ---------------------------------------------------------------------------------------------------

    def begin(self, saga: Any, graph: SagaGraph, data: bytes, saga_id: str | None) -> Entry:
        """Hand in a new saga."""
        saga_id = saga_id or str(uuid.UUID(bytes=new_id()))
        running = RunningSaga(saga_id, saga, graph, self, Execution(graph.plan), digest_of(data))
        started = SagaStarted(
            saga=graph.saga, version=graph.version, definition=graph.fingerprint, input=data, epoch=self.epoch
        )
        entry = self.entries[saga_id] = Entry(saga_id, running, started, asked=True)
        if self._active < self._max_running:
            self._take_slot(entry)
            self.spawn(saga_id, self._begin, entry)
        else:
            self.spawn(saga_id, self._enqueue, entry)
        return entry

    async def _begin(self, entry: Entry) -> None:
        moves = await self._first_commit(entry, queued=False)
        if entry.running is not None:
            await entry.running.follow(moves)

    async def _enqueue(self, entry: Entry) -> None:
        await self._first_commit(entry, queued=True)
        if not entry.done.is_set():
            self._queue.append(entry)
            self._pump()

    async def _first_commit(self, entry: Entry, *, queued: bool) -> list[Move]:
        assert entry.running is not None
        assert entry.started is not None
        try:
            moves = await entry.running.begin(entry.started, queued=queued)
        except StoreError as error:
            # Nothing was written: to whoever asked it is an error, and there is no saga.
            self.entries.pop(entry.id, None)
            entry.fail(error)
            self._release(entry)
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
        """Have a stored saga taken over now, if it is not in hand yet."""
        entry = self.entries.get(saga_id)
        if entry is None:
            entry = self.entries[saga_id] = Entry(saga_id)
            self._queue.append(entry)
            self._pump()
        return entry

    def wake(self, saga_id: str, stored: Stored) -> Entry:
        """Load a saga that something is asked of."""
        if stored.execution.status in RUNNING or self.is_mendable(stored):
            return self.adopt(saga_id)
        entry = self.entries[saga_id] = Entry(saga_id, parked=True)
        self.spawn(saga_id, self._load_parked, entry)
        return entry

    async def _load_parked(self, entry: Entry) -> None:
        try:
            running = await self._patiently(load, self, self._monitor, entry.id, self._find)
        except CannotLoad as reason:
            self.entries.pop(entry.id, None)
            entry.fail(reason)
            return
        entry.running = running
        if running.execution.epoch < self.epoch:
            await running.go_on(self._recovered(running))
        entry.found.set()

    async def _recover(self) -> None:
        """Take over, a page at a time and as slots become free, what another opening left."""
        query = HeadQuery(
            CATEGORY,
            statuses=(*sorted(RUNNING), SagaStatus.BLOCKED),
            blocked=_MENDABLE,
            epoch_before=self.epoch,
        )
        after: str | None = None
        while heads := await self._patiently(self._page, query, after):
            for head in heads:
                saga_id = head.stream.partition("/")[2]
                while self._active >= self._max_running or self._queue:
                    if self.leaving:
                        return
                    await self._freed.wait()
                if self.closing:
                    return
                if saga_id not in self.entries:
                    self.adopt(saga_id)
            after = heads[-1].stream

    async def _page(self, query: HeadQuery, after: str | None) -> list[Head]:
        return await self.backend.list_heads(query, after=after)

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
            running = await self._patiently(load, self, self._monitor, entry.id, self._find)
        except CannotLoad as reason:
            await self._patiently(self._block, entry, reason)
            return
        blocked = running.execution.blocked
        if running.execution.status not in RUNNING and (blocked is None or blocked.kind not in _MENDABLE):
            self.entries.pop(entry.id, None)  # it ended while it waited for its turn
            entry.found.set()
            entry.done.set()
            self._release(entry)
            return
        entry.running = running
        moves = await running.go_on(self._recovered(running))
        entry.found.set()
        await running.follow(moves)

    def _recovered(self, saga: RunningSaga) -> SagaRecovered:
        execution = saga.execution
        open_attempt = bool(execution.running) or execution.undoing is not None
        crashed = open_attempt and not self._clean
        recoveries = execution.recoveries + crashed
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
                head, status=SagaStatus.BLOCKED.value, since=now, blocked=why.kind, epoch=self.epoch, attention=True
            )
            await persist(self, Commit((Write(stream, (row,), len(rows)),), blocked), entry.id)
        self.entries.pop(entry.id, None)
        entry.fail(why)
        self._release(entry)

    # --- verbs -------------------------------------------------------------------------------------------------------

    async def cancel(self, entry: Entry, reason: str) -> None:
        """See `SagaOrchestrator.cancel`."""
        assert entry.running is not None
        await self._ask(entry, entry.running.cancel, reason)

    async def retry_failed(self, entry: Entry, reason: str) -> None:
        """See `SagaOrchestrator.retry_failed`."""
        assert entry.running is not None
        await self._ask(entry, entry.running.retry_failed, reason)

    async def _ask(self, entry: Entry, verb: Callable[[str, str], Awaitable[list[Move]]], reason: str) -> None:
        await self._keeper.run(entry.id, self._asked, entry, verb, reason)

    async def _asked(self, entry: Entry, verb: Callable[[str, str], Awaitable[list[Move]]], reason: str) -> None:
        running = entry.running
        assert running is not None
        if self.entries.setdefault(entry.id, entry) is not entry:
            raise OperationRefused(f"Somebody else asked something of saga {entry.id!r} just now. Look, and ask again.")
        if entry.done.is_set():
            entry.done, entry.outcome = anyio.Event(), None
        try:
            moves = await verb(reason, _actor())
        finally:
            entry.parked = False
            if running.execution.status not in RUNNING:
                self.ended(running)
        if moves:
            if not entry.holds_slot:
                self._take_slot(entry)
            self.spawn(entry.id, running.follow, moves)

    # --- turns -------------------------------------------------------------------------------------------------------

    def _take_slot(self, entry: Entry) -> None:
        entry.holds_slot = True
        self._active += 1

    def _release(self, entry: Entry) -> None:
        if entry.holds_slot:
            entry.holds_slot = False
            self._active -= 1
            self._pump()

    def _pump(self) -> None:
        """Give free slots to those who wait longest."""
        while self._queue and self._active < self._max_running and not self.leaving:
            entry = self._queue.popleft()
            if entry.done.is_set():
                continue
            self._take_slot(entry)
            if entry.running is None:
                self.spawn(entry.id, self._resume, entry)
            else:
                self.spawn(entry.id, self._admit, entry)
        self._freed.set()
        self._freed = anyio.Event()

    async def _admit(self, entry: Entry) -> None:
        assert entry.running is not None
        if entry.running.execution.status is SagaStatus.NOT_STARTED:
            await entry.running.follow(await entry.running.go_on(None))

    def _broken(self, saga_id: str | None, error: Exception) -> None:
        """A task ended as none should: this saga stops here, and the next opening takes it over."""
        logger.critical("saga %s stops here, and goes on at the next opening: %r", saga_id, error, exc_info=error)
        entry = None if saga_id is None else self.entries.pop(saga_id, None)
        if entry is not None:
            entry.fail(error)
            self._release(entry)


def _actor() -> str:
    """Who asks: the account that this process runs under."""
    try:
        return f"{getpass.getuser()} (pid {os.getpid()})"
    except (OSError, KeyError):
        return f"uid {os.getuid()} (pid {os.getpid()})"
