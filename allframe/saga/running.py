"""One saga while it runs: have a move performed, record what came of it, have performed what follows.

A saga is a line of moves, performed by one task; where it branches, more tasks follow the branches, and whoever ends
last at a join goes on. What they share is the `Execution`, and it changes only under the saga's lock, together with the
commit that records the change. Nothing is performed before its intent is safe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from allframe.clock import to_microseconds
from allframe.events.backend import Commit, Head, Row, Write, new_id
from allframe.events.correlation import current_correlation, with_correlation
from allframe.events.event import Event
from allframe.events.rows import metadata_json
from allframe.events.versioning import as_read
from allframe.payload import canonical
from allframe.saga.discretion import without_secrets
from allframe.saga.encoding import SCHEMA_VERSION, rows_of
from allframe.saga.engine import Engine, persist
from allframe.saga.execution import Execution
from allframe.saga.graph import SagaGraph
from allframe.saga.judge import Ended
from allframe.saga.monitor import head_of
from allframe.saga.ordered import output_of, record_of
from allframe.saga.orders import Order, check
from allframe.saga.outcome import SagaOutcome, error_of, info_of
from allframe.saga.outputs import StoredOutput, event_writes
from allframe.saga.perform import Attempt
from allframe.saga.performer import Performer
from allframe.saga.records import (
    DeadlinePassed,
    Record,
    SagaStarted,
    StepFailed,
    StepNotCompensated,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import RUNNING, TERMINAL, Move, Phase, SagaStatus
from allframe.saga.streams import definition_stream, saga_stream
from allframe.saga.timers import Ticket

__all__ = ["RunningSaga", "digest_of", "new_saga", "started_by"]

logger = logging.getLogger("allframe")


@dataclass(slots=True, eq=False)
class RunningSaga:
    """One saga that this orchestrator runs."""

    id: str
    saga: Any
    graph: SagaGraph
    engine: Engine
    execution: Execution
    digest: bytes
    #: What the steps returned, by their index.
    outputs: dict[int, Any] = field(default_factory=dict)
    #: What was emitted here, oldest first; None where some of it is only in the store.
    events: list[Event] | None = field(default_factory=list)
    #: The fingerprint of the graph that it goes on with, where it began with another.
    redefined: str | None = None
    #: The exception that decided against it, where this process saw it.
    error: BaseException | None = None
    #: What performs its moves.
    performer: Performer = field(init=False)
    # Without contention, taking the lock need not let other tasks run: the commit under it does.
    _lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    _deadline: Ticket | None = None
    _shown: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.performer = Performer(
            self.id, self.saga, self.graph, self.engine, self.execution, self.outputs, self._tell_overdue
        )

    # --- what happens to it ------------------------------------------------------------------------------------------

    async def begin(self, started: SagaStarted, *, queued: bool) -> list[Move]:
        """Write that it exists; returns what to do first. ``queued``: it waits for its turn.

        Raises:
            ConcurrencyError: if a saga with this id exists.
            StoreUnavailable: if nothing was written.
        """
        async with self._lock:
            now = self._now()
            if self.graph.timeout is not None:
                # Counted from the record's own time: what is told of the timeout later is their difference.
                started = dataclasses.replace(started, deadline=now + round(self.graph.timeout * 1e6))
            records: list[Record] = [started]
            moves: list[Move] = []
            if queued:
                self.execution.apply(started, now)
            else:
                records, moves = self.execution.decide(started, now)
            await self._write(records, now, first=True)
            self._await_deadline(now)
        return moves

    async def go_on(self, record: Record | None) -> list[Move]:
        """Write ``record``, if there is one, and what follows from it; returns what to do next."""
        async with self._lock:
            now = self._now()
            before: list[Record] = []
            if record is not None and self.execution.expires_with(record, now):
                before.append(record)
                self.execution.apply(record, now)
                record = self._deadline_passed()
            records, moves = self.execution.decide(record, now, leaving=self.engine.leaving)
            await self._write([*before, *records], now)
            self._await_deadline(now)
        return moves

    async def follow(self, moves: list[Move]) -> None:
        """Perform ``moves`` and what follows from them, until somebody else goes on or nothing is left."""
        while moves:
            for other in moves[1:]:
                self.engine.spawn(self.id, self.follow, [other])
            move = moves[0]
            try:
                ended = await self.performer.perform(move)
                if ended is None:
                    return
                moves = await self._record(ended)
            finally:
                if await self.performer.close(move):
                    self._tell_if_ended()

    async def obey(self, order: Order, recovered: Record | None = None) -> tuple[bool, list[Move]]:
        """Write what somebody asks and what follows from it, and cut what is not to go on.

        ``recovered``: the record of taking the saga over, to be written in the same commit.

        Returns:
            Whether a record was written for it, and what to do next.

        Raises:
            Moved, OperationRefused: as `check`; nothing was written.
            PayloadError: if the output that was given cannot be stored as the step's.
        """
        async with self._lock:
            execution, now = self.execution, self._now()
            records: list[Record] = []
            emitted: tuple[Write, ...] = ()
            asked = None
            if check(order, self.id, execution):
                output = self._output_of(order)
                if output is not None and output.events:
                    emitted = self._emitted_of(output, order, now)
                asked = record_of(order, execution, output)
            if recovered is not None and asked is not None:
                # Who cancels it gets what the timeout would do as well.
                late = order.verb != "cancel" and execution.expires_with(recovered, now)
                for record in (recovered, *([self._deadline_passed()] if late else [])):
                    records.append(record)
                    execution.apply(record, now)
            if emitted:
                # Events stand right before the record that they go with.
                await self._write(records, now)
                records = []
            moves: list[Move] = []
            if asked is not None or recovered is not None:
                following, moves = execution.decide(asked or recovered, now, leaving=self.engine.leaving)
                records += following
            await self._write(records, now, emitted)
            if asked is not None:
                self._cut()
            self._await_deadline(now)
        return asked is not None, moves

    def _output_of(self, order: Order) -> StoredOutput | None:
        """The output that an order tells of, in its stored form."""
        if order.verb != "resolve" or order.outcome != "done":
            return None
        step = self.graph.steps[self.graph.plan.index[order.step or ""]]
        return output_of(order, step, self.id, self.execution)

    def _emitted_of(self, output: StoredOutput, order: Order, now: int) -> tuple[Write, ...]:
        """The events in an output that somebody told of, as writes."""
        events = [(event, None) for event in output.events]
        with self.performer.correlated():
            writes = event_writes(events, saga_id=self.id, step=order.step or "", recorded_at=now)
        if self.events is not None:
            self.events += [as_read(event, self.engine.versions) for event in output.events]
        return writes

    def outcome(self) -> SagaOutcome:
        """How it ended."""
        execution, steps = self.execution, self.graph.steps
        done = [i for i, state in enumerate(execution.steps) if state.phase is Phase.SUCCEEDED]
        outputs = {steps[i].attribute: self.performer.output(i) for i in done}
        return SagaOutcome(
            id=self.id,
            status=execution.status,
            outputs=outputs,
            output=outputs.get(steps[-1].attribute),
            events=list(self.events or []),
            error=info_of(execution),
            suppressed=tuple(execution.suppressed),
            _failure=error_of(self.id, self.graph.saga, execution, self.error),
        )

    @property
    def busy_with(self) -> str:
        """The steps being performed or undone, as text; empty for none."""
        return ", ".join(self.graph.steps[step].name for step in self.performer.under_way)

    def _cut(self) -> None:
        """Cut the attempts that are not to go on, and let whoever waits look again."""
        execution = self.execution
        if execution.status is SagaStatus.ABANDONED:
            self.performer.cut(self.performer.under_way)
        elif (execution.cancel or execution.expired) is not None and not execution.committed:
            self.performer.cut(step for step in execution.running if step not in self.graph.plan.forward_only)
        else:
            return
        self.performer.wake()

    # --- the saga's own deadline -----------------------------------------------------------------------------------

    def _await_deadline(self, now: int) -> None:
        """Have the saga's timeout noticed, if it has one that is still to pass."""
        execution = self.execution
        started = execution.started
        if started is None or started.deadline is None or execution.expired is not None:
            return
        if self._deadline is None and execution.status in RUNNING:
            # Wall time: a clock that was set back must not make it longer than it ever was.
            left = min(started.deadline - now, started.deadline - execution.started_at) / 1e6
            tell = partial(self.engine.spawn, self.id, self._expire)
            self._deadline = self.engine.timers.call_at(anyio.current_time() + left, tell)

    async def expire(self) -> None:
        """Record that the saga's timeout has passed, without waiting: a rehearsal has set time forward over it."""
        if self._deadline is not None:
            self.engine.timers.take_back(self._deadline)
            await self._expire()

    async def _expire(self) -> None:
        """Record that the saga's timeout has passed, and cut what runs, unless it can only go forward."""
        async with self._lock:
            self._deadline = None
            execution = self.execution
            if execution.status not in RUNNING or execution.turning_back or self.engine.leaving:
                return
            now = self._now()
            records, moves = execution.decide(self._deadline_passed(), now)
            await self._write(records, now)
            self._cut()
        await self.follow(moves)

    def _deadline_passed(self) -> DeadlinePassed:
        started = self.execution.started
        assert started is not None
        assert started.deadline is not None
        return DeadlinePassed(timeout=(started.deadline - self.execution.started_at) / 1e6)

    async def _tell_overdue(self, index: int, this: Attempt) -> None:
        """Record that an attempt was to end, and does not."""
        async with self._lock:
            is_over = not self.performer.performs(index, this) or self.execution.status in TERMINAL
            if is_over or self.engine.leaving:
                return
            undoing = self.execution.undoing == index
            state = self.execution.steps[index]
            number = state.undo_attempts if undoing else state.attempts
            record = StepStillRunning(step=self.graph.plan.nodes[index].name, attempt=number, compensation=undoing)
            logger.warning("saga %s: step %s was to end, and is still running", self.id, record.step)
            now = self._now()
            records, _ = self.execution.decide(record, now)
            await self._write(records, now)

    # --- recording ---------------------------------------------------------------------------------------------------

    async def _record(self, ended: Ended) -> list[Move]:
        """Write how a move ended and what begins; returns what to perform next."""
        async with self._lock:
            execution, now = self.execution, self._now()
            if execution.status in TERMINAL:
                return []  # somebody abandoned it: nothing more is written of it
            stored = ((i, state.output) for i, state in enumerate(execution.steps) if state.output is not None)
            record = without_secrets(ended.record, self.graph, self.saga, stored)
            if ended.retry is not None:
                assert isinstance(record, StepFailed | StepUnknown | StepNotCompensated)
                delay = ended.retry.delay(execution.tries(record), ended.error)
                if execution.may_retry(record):
                    record = dataclasses.replace(record, next_at=now + int(delay * 1e6))
            undecided = not execution.turning_back
            if isinstance(record, StepSucceeded):
                self.outputs[self.graph.plan.index[record.step]] = ended.value
            records, moves = execution.decide(record, now, leaving=self.engine.leaving)
            stuck = execution.status in (SagaStatus.FAILED, SagaStatus.BLOCKED)
            if stuck or (undecided and execution.cause is not None):
                self.error = ended.error
            if self.events is not None:
                self.events += ended.events
            await self._write(records, now, ended.writes)
            if undecided and execution.turning_back:
                self.performer.wake()  # siblings that wait to try again need not
        return moves

    async def _write(
        self, records: list[Record], now: int, before: tuple[Write, ...] = (), *, first: bool = False
    ) -> None:
        """Commit ``records``, made at ``now``, and ``before`` right before them; returns when they are safe."""
        if not records:
            return
        await persist(self.engine, self._commit_of(records, now, before), self.id, self.graph.saga, first=first)
        self.engine.definitions.add(self.graph.fingerprint)
        if self.execution.status not in RUNNING and self._deadline is not None:
            self.engine.timers.take_back(self._deadline)
            self._deadline = None
        self._tell_if_ended()

    def _tell_if_ended(self) -> None:
        """Whoever waits for the saga is told once everything that was made for it is closed."""
        if self.execution.status not in RUNNING and self.performer.is_closed:
            self.engine.ended(self)

    def _commit_of(self, records: list[Record], now: int, before: tuple[Write, ...]) -> Commit:
        is_first = self.execution.revision == len(records)
        rows = rows_of(records, now, self.execution.correlation, is_first=is_first)
        stream = saga_stream(self.id)
        writes = (*before, Write(stream, rows, self.execution.revision - len(records)))
        fingerprint = self.graph.fingerprint
        if fingerprint not in self.engine.definitions:
            row = Row(new_id(), "$definition", SCHEMA_VERSION, self.graph.description_json, now)
            writes = (Write(definition_stream(fingerprint), (row,)), *writes)
        return Commit(writes, self._changed_head(stream))

    def _changed_head(self, stream: str) -> Head | None:
        """The head, if something in it is not as it was last written."""
        execution = self.execution
        shown = (execution.status, execution.since, execution.blocked, execution.epoch, execution.attention)
        if shown == self._shown:
            return None
        self._shown = shown
        return head_of(stream, execution, self.digest)

    def _now(self) -> int:
        return to_microseconds(self.engine.clock.now())


def new_saga(saga_id: str, saga: Any, graph: SagaGraph, engine: Engine, data: bytes) -> RunningSaga:
    """One that is about to begin, with the JSON of its input, and belongs to the correlation that holds here.

    Raises:
        PayloadError: if the correlation cannot be stored.
    """
    metadata_json(with_correlation(None))  # later, there would be nobody to tell
    execution = Execution(graph.plan)
    execution.correlation = current_correlation()
    return RunningSaga(saga_id, saga, graph, engine, execution, digest_of(data))


def digest_of(data: bytes) -> bytes:
    """What two equal inputs have in common: SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(data)).digest()


def started_by(graph: SagaGraph, data: bytes, epoch: int) -> SagaStarted:
    """The first record of a saga that runs by ``graph``, with the JSON of its input. Its deadline is known when it begins."""
    return SagaStarted(
        saga=graph.saga,
        version=graph.version,
        definition=graph.fingerprint,
        input=data,
        epoch=epoch,
        built=graph.built,
    )
