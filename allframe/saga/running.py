"""One saga while it runs: perform a move, record what came of it, perform what follows.

A saga is a line of moves, performed by one task; where it branches, more tasks follow the branches, and whoever ends
last at a join goes on. What they share is the `Execution`, and it changes only under the saga's lock, together with the
commit that records the change. Nothing is performed before its intent is safe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from allframe.clock import to_microseconds
from allframe.errors import OperationRefused, PayloadError
from allframe.events.backend import Commit, Head, Row, Write, new_id
from allframe.events.event import Event
from allframe.payload import canonical
from allframe.saga.context import StepContext, idempotency_key
from allframe.saga.discretion import without_secrets
from allframe.saga.engine import Engine, persist
from allframe.saga.execution import RUNNING, TERMINAL, Compensate, Execution, Move, Phase, Run, SagaStatus
from allframe.saga.graph import Compensation, Parameter, SagaGraph, Source, Step
from allframe.saga.judge import Ended, judge_compensation, judge_step
from allframe.saga.monitor import head_of
from allframe.saga.orders import Order, check, record_of
from allframe.saga.outputs import Stored, event_writes, load_output, store_output, told_output
from allframe.saga.perform import Attempt, attempt, new_attempt, on_thread
from allframe.saga.records import (
    SCHEMA_VERSION,
    DeadlinePassed,
    Record,
    SagaStarted,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
    definition_stream,
    encode,
    saga_stream,
)
from allframe.saga.scoped import Scopes
from allframe.saga.timers import Ticket

__all__ = ["RunningSaga", "digest_of", "started_by"]

logger = logging.getLogger("allframe")

#: So many seconds after it should have ended, an attempt that has not draws attention.
_LENIENCE: Final = 1.0


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
    # Without contention, taking the lock need not let other tasks run: the commit under it does.
    _lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    _attempts: dict[int, Attempt] = field(default_factory=dict)
    _scopes: Scopes = field(default_factory=Scopes)
    _tickets: dict[int, Ticket] = field(default_factory=dict)
    _waits: set[anyio.CancelScope] = field(default_factory=set)
    _deadline: Ticket | None = None
    _shown: tuple[Any, ...] = ()

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
                ended = await self._perform(move)
                if ended is None:
                    return
                moves = await self._record(ended)
            finally:
                await self._close(move)

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
                records.append(recovered)
                execution.apply(recovered, now)
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

    def _output_of(self, order: Order) -> Stored | None:
        """The output that an order tells of, in its stored form."""
        if order.verb != "resolve" or order.outcome != "done":
            return None
        step = self.graph.steps[self.graph.plan.index[order.step or ""]]
        if order.has_output:
            return told_output(step, order.output, order.output_json)
        if self.execution.status is SagaStatus.FAILED:
            return None
        try:
            return store_output(step, None)
        except PayloadError as error:
            raise OperationRefused(
                f"Step {step.name!r} of saga {self.id!r} cannot be resolved as done without an output, for it returns "
                f"{step.output.name}. Give output=.",
                saga_id=self.id,
                step_name=step.name,
                step_index=self.graph.plan.index[step.name],
            ) from error

    def _emitted_of(self, output: Stored, order: Order, now: int) -> tuple[Write, ...]:
        """The events in an output that somebody told of, as writes."""
        events = [(event, None) for event in output.events]
        writes = event_writes(events, saga_id=self.id, step=order.step or "", recorded_at=now)
        if self.events is not None:
            self.events += output.events
        return writes

    def values(self) -> dict[str, Any]:
        """What the steps returned, by the name of their method; those that succeeded."""
        states = self.execution.steps
        done = [i for i in range(len(states)) if states[i].phase is Phase.SUCCEEDED]
        return {self.graph.steps[i].attribute: self._output(i) for i in done}

    def wake(self) -> None:
        """Let whoever waits, to try again or for a thread, look again: the saga turned back, or the orchestrator leaves."""
        for wait in self._waits:
            wait.cancel()

    def _cut(self) -> None:
        """Cut the attempts that are not to go on, and let whoever waits look again."""
        execution = self.execution
        if execution.status is SagaStatus.ABANDONED:
            cut = list(self._attempts)
        elif (execution.cancel or execution.expired) is not None and not execution.committed:
            cut = [step for step in execution.running if step not in self.graph.plan.forward_only]
        else:
            return
        for step in cut:
            if step in self._attempts:
                self._attempts[step].cancel()
                self._watch(step, anyio.current_time())
        self.wake()

    @property
    def busy_with(self) -> str:
        """The steps being performed or undone, as text; empty for none."""
        return ", ".join(self.graph.steps[step].name for step in self._attempts)

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

    # --- performing --------------------------------------------------------------------------------------------------

    async def _perform(self, move: Move) -> Ended | None:
        """Do it; None if the orchestrator leaves and nothing was begun that must be recorded."""
        assert isinstance(move, Run | Compensate)
        forward = isinstance(move, Run)

        def is_off() -> bool:
            over = self.execution.status in TERMINAL  # somebody abandoned it
            return over or self.engine.leaving or (forward and self.execution.turning_back)

        if move.at is not None and not is_off():
            await self._wait(move)
        part = self._part(move)
        slot: object = None if part.is_async or is_off() else await self._slot()
        try:
            if not forward:
                return None if is_off() else await self._compensate(move.step)
            if is_off():
                return Ended(StepNotBegun(step=self._name(move.step), attempt=self.execution.steps[move.step].attempts))
            return await self._run(move.step)
        finally:
            if slot is not None:
                self.engine.threads.limiter.release_on_behalf_of(slot)

    def _part(self, move: Run | Compensate) -> Step | Compensation:
        step = self.graph.steps[move.step]
        if isinstance(move, Run):
            return step
        assert step.compensation is not None
        return step.compensation

    async def _wait(self, move: Run | Compensate) -> None:
        """Sleep until the move is due, or until something changes."""
        assert move.at is not None
        state = self.execution.steps[move.step]
        # What was stored is wall time, and a clock that was set back must not make a second last a day.
        longest = state.wait if isinstance(move, Run) else state.undo_wait
        if self.engine.rehearsal is not None:
            self.engine.rehearsal.wait(move.at)
        with self._waiting() as wait:
            wait.deadline = anyio.current_time() + min(move.at - self._now(), longest) / 1e6
            await anyio.sleep_forever()

    async def _slot(self) -> object | None:
        """A thread's place, when one is free; None if something changed before that."""
        slot, found = object(), False
        with self._waiting():
            await self.engine.threads.limiter.acquire_on_behalf_of(slot)
            found = True
        return slot if found else None

    @contextmanager
    def _waiting(self) -> Iterator[anyio.CancelScope]:
        """A wait that `wake` ends."""
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield scope
            finally:
                self._waits.discard(scope)

    async def _run(self, index: int) -> Ended:
        step = self.graph.steps[index]
        state = self.execution.steps[index]
        this = new_attempt(step.timeout)
        context = self._context(index, state.attempts, step, this)
        await self._call(index, step, context, this)
        return judge_step(step, context, this, self._now())

    async def _compensate(self, index: int) -> Ended:
        undo = self.graph.steps[index].compensation
        assert undo is not None
        state = self.execution.steps[index]
        this = new_attempt(undo.timeout)
        context = self._context(index, state.undo_attempts, undo, this)
        context.outcome = self._output(index)
        await self._call(index, undo, context, this)
        return judge_compensation(undo, context, this, self._now())

    async def _call(self, index: int, part: Step | Compensation, context: StepContext, this: Attempt) -> None:
        arguments = self._arguments(part.parameters, context)
        positional = (self.graph.self_of(self.saga, index),) if part.is_method else ()
        scope = self._scopes.open(index, self.engine.provider, part.parameters, context, this)

        async def body() -> Any:
            function = partial(part.function, *positional, **arguments, **await scope.made())
            if part.is_async:
                return await function()
            return await on_thread(self.engine.threads, scope.kept_by(function), this)

        call: Callable[[], Awaitable[Any]] = body
        if self.engine.rehearsal is not None:
            call = self.engine.rehearsal.call(context, this, body)
        self._attempts[index] = this
        if this.timeout is not None:
            self._watch(index, this.scope.deadline)
        try:
            await attempt(call, this, lambda: self.engine.dropping)
        finally:
            del self._attempts[index]
            if index in self._tickets:
                self.engine.timers.take_back(self._tickets.pop(index))

    def _watch(self, index: int, deadline: float) -> None:
        """Have it told if the attempt has not ended soon after ``deadline``."""
        # Rounded, so that one waking is for many: nearly all of them have long ended by then.
        when = math.ceil((deadline + _LENIENCE) * 10) / 10
        if index in self._tickets:
            self.engine.timers.take_back(self._tickets.pop(index))
        tell = partial(self.engine.spawn, self.id, self._tell_overdue, index, self._attempts[index])
        self._tickets[index] = self.engine.timers.call_at(when, tell)

    async def _tell_overdue(self, index: int, this: Attempt) -> None:
        """Record that an attempt was to end, and does not."""
        async with self._lock:
            is_over = self._attempts.get(index) is not this or self.execution.status in TERMINAL
            if is_over or self.engine.leaving:
                return
            undoing = self.execution.undoing == index
            state = self.execution.steps[index]
            number = state.undo_attempts if undoing else state.attempts
            record = StepStillRunning(step=self._name(index), attempt=number, compensation=undoing)
            logger.warning("saga %s: step %s was to end, and is still running", self.id, record.step)
            now = self._now()
            records, _ = self.execution.decide(record, now)
            await self._write(records, now)

    async def _close(self, move: Move) -> None:
        """Close what was made for the attempt, now that it is recorded, or dropped."""
        assert isinstance(move, Run | Compensate)
        if await self._scopes.close(move.step, self.id, self._name(move.step)):
            self._tell_if_ended()

    def _context(self, index: int, number: int, part: Step | Compensation, this: Attempt) -> StepContext:
        name = self._name(index)
        forward_key = idempotency_key(self.id, name, "do")
        return StepContext(
            saga_id=self.id,
            step=name,
            attempt=number,
            idempotency_key=forward_key if isinstance(part, Step) else idempotency_key(self.id, name, "undo"),
            forward_key=forward_key,
            deadline=None if this.timeout is None else this.scope.deadline,
            fencing_token=self.engine.epoch,
            _is_cancelled=(lambda: this.scope.cancel_called) if part.is_async else (lambda: this.asked_to_end),
        )

    def _arguments(self, parameters: tuple[Parameter, ...], context: StepContext) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for parameter in parameters:
            match parameter.source:
                case Source.FIELD:
                    arguments[parameter.name] = getattr(self.saga, parameter.name)
                case Source.OUTPUT:
                    arguments[parameter.name] = self._output(parameter.step)
                case Source.CONTEXT:
                    arguments[parameter.name] = context
                case Source.INJECT:
                    if self.engine.provider.holds(parameter.wanted):
                        arguments[parameter.name] = self.engine.provider.get(parameter.wanted)
        return arguments

    def _output(self, index: int) -> Any:
        """What the step returned, or why nobody has it."""
        state = self.execution.steps[index]
        if state.output is None:
            return state.as_unknown()
        if index not in self.outputs:
            self.outputs[index] = load_output(self.graph.steps[index], state.output, state.form)
        return self.outputs[index]

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
            if stuck or (undecided and execution.turning_back):
                self.error = ended.error
            if self.events is not None:
                self.events += ended.events
            await self._write(records, now, ended.writes)
            if undecided and execution.turning_back:
                self.wake()  # siblings that wait to try again need not
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
        if self.execution.status not in RUNNING and not self._scopes:
            self.engine.ended(self)

    def _commit_of(self, records: list[Record], now: int, before: tuple[Write, ...]) -> Commit:
        rows = tuple(Row(new_id(), record.type, SCHEMA_VERSION, encode(record), now) for record in records)
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

    def _name(self, index: int) -> str:
        return self.graph.plan.nodes[index].name

    def _now(self) -> int:
        return to_microseconds(self.engine.clock.now())


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
