"""One saga while it runs: perform a move, record what came of it, perform what follows.

A saga is a line of moves, performed by one task; where it branches, more tasks follow the branches, and whoever ends
last at a join goes on. What they share is the `Execution`, and it changes only under the saga's lock, together with the
commit that records the change. Nothing is performed before its intent is safe.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from allframe.clock import to_microseconds
from allframe.errors import OperationRefused, PayloadError
from allframe.events.backend import Commit, Head, Row, Write, new_id
from allframe.events.event import Event
from allframe.payload import canonical
from allframe.saga.context import StepContext, idempotency_key
from allframe.saga.engine import Engine, persist
from allframe.saga.execution import RUNNING, TERMINAL, Compensate, Execution, Move, Phase, Run, SagaStatus
from allframe.saga.graph import Parameter, SagaGraph, Source
from allframe.saga.judge import Ended, judge_compensation, judge_step
from allframe.saga.monitor import head_of
from allframe.saga.orders import Order, check, record_of
from allframe.saga.outputs import Stored, event_writes, load_output, store_output, told_output
from allframe.saga.perform import Attempt, attempt, new_attempt
from allframe.saga.records import (
    SCHEMA_VERSION,
    Record,
    SagaStarted,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepSucceeded,
    StepUnknown,
    definition_stream,
    encode,
    saga_stream,
)
from allframe.saga.retry import Retry

__all__ = ["RunningSaga", "digest_of"]


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
    _alarms: set[anyio.Event] = field(default_factory=set)
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
            records: list[Record] = [started]
            moves: list[Move] = []
            if queued:
                self.execution.apply(started, now)
            else:
                records, moves = self.execution.decide(started, now)
            await self._write(records, now, first=True)
        return moves

    async def go_on(self, record: Record | None) -> list[Move]:
        """Write ``record``, if there is one, and what follows from it; returns what to do next."""
        async with self._lock:
            now = self._now()
            records, moves = self.execution.decide(record, now, leaving=self.engine.leaving)
            await self._write(records, now)
        return moves

    async def follow(self, moves: list[Move]) -> None:
        """Perform ``moves`` and what follows from them, until somebody else goes on or nothing is left."""
        while moves:
            for other in moves[1:]:
                self.engine.spawn(self.id, self.follow, [other])
            ended = await self._perform(moves[0])
            if ended is None:
                return
            moves = await self._record(ended)

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
            self._cut()
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

    def _cut(self) -> None:
        """Cut the attempts that are not to go on, and wake whoever waits for his."""
        execution = self.execution
        if execution.status is SagaStatus.ABANDONED:
            cut = list(self._attempts)
        elif execution.cancel is not None:
            cut = [step for step in execution.running if step not in self.graph.plan.forward_only]
        else:
            cut = []
        for step in cut:
            if step in self._attempts:
                self._attempts[step].cancel()
        self.wake()

    def values(self) -> dict[str, Any]:
        """What the steps returned, by the name of their method; those that succeeded."""
        states = self.execution.steps
        done = [i for i in range(len(states)) if states[i].phase is Phase.SUCCEEDED]
        return {self.graph.steps[i].attribute: self._output(i) for i in done}

    def wake(self) -> None:
        """Look again whoever waits to try again: the saga was cancelled, or the orchestrator leaves."""
        for alarm in self._alarms:
            alarm.set()

    @property
    def busy_with(self) -> str:
        """The steps being performed or undone, as text; empty for none."""
        return ", ".join(self.graph.steps[step].name for step in self._attempts)

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
        if not forward:
            return None if is_off() else await self._compensate(move.step)
        if is_off():
            return Ended(StepNotBegun(step=self._name(move.step), attempt=self.execution.steps[move.step].attempts))
        return await self._run(move.step)

    async def _wait(self, move: Run | Compensate) -> None:
        """Sleep until the move is due, or until something changes."""
        assert move.at is not None
        step = self.graph.steps[move.step]
        part = step if isinstance(move, Run) else step.compensation
        # What was stored is wall time, and a clock that was set back must not make a second last a day.
        longest = ((part and part.retry) or Retry()).longest
        alarm = anyio.Event()
        self._alarms.add(alarm)
        try:
            with anyio.move_on_after(min((move.at - self._now()) / 1e6, longest)):
                await alarm.wait()
        finally:
            self._alarms.discard(alarm)

    async def _run(self, index: int) -> Ended:
        step = self.graph.steps[index]
        state = self.execution.steps[index]
        this = new_attempt(step.timeout)
        context = self._context(index, state.attempts, "do", this)
        await self._call(index, step.function, step.parameters, context, this)
        return judge_step(step, context, this, self._now())

    async def _compensate(self, index: int) -> Ended:
        undo = self.graph.steps[index].compensation
        assert undo is not None
        state = self.execution.steps[index]
        this = new_attempt(undo.timeout)
        context = self._context(index, state.undo_attempts, "undo", this)
        context.outcome = self._output(index)
        await self._call(index, undo.function, undo.parameters, context, this)
        return judge_compensation(undo, context, this, self._now())

    async def _call(
        self,
        index: int,
        function: Callable[..., Any],
        parameters: tuple[Parameter, ...],
        context: StepContext,
        this: Attempt,
    ) -> None:
        arguments = self._arguments(parameters, context)
        self._attempts[index] = this
        try:
            await attempt(lambda: function(self.saga, **arguments), this, lambda: self.engine.dropping)
        finally:
            del self._attempts[index]

    def _context(self, index: int, number: int, direction: str, this: Attempt) -> StepContext:
        name = self._name(index)
        forward_key = idempotency_key(self.id, name, "do")
        return StepContext(
            saga_id=self.id,
            step=name,
            attempt=number,
            idempotency_key=forward_key if direction == "do" else idempotency_key(self.id, name, direction),
            forward_key=forward_key,
            deadline=None if this.timeout is None else this.scope.deadline,
            fencing_token=self.engine.epoch,
        )

    def _arguments(self, parameters: tuple[Parameter, ...], context: StepContext) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for parameter in parameters:
            match parameter.source:
                case Source.OUTPUT:
                    arguments[parameter.name] = self._output(parameter.step)
                case Source.CONTEXT:
                    arguments[parameter.name] = context
                case Source.INJECT:
                    if not parameter.optional or parameter.wanted in self.engine.provider:
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
            execution, record, now = self.execution, ended.record, self._now()
            if execution.status in TERMINAL:
                return []  # somebody abandoned it: nothing more is written of it
            if ended.retry is not None:
                assert isinstance(record, StepFailed | StepUnknown | StepNotCompensated)
                delay = ended.retry.delay(execution.tries(record))
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
        return moves

    async def _write(
        self, records: list[Record], now: int, before: tuple[Write, ...] = (), *, first: bool = False
    ) -> None:
        """Commit ``records``, made at ``now``, and ``before`` right before them; returns when they are safe."""
        if not records:
            return
        await persist(self.engine, self._commit_of(records, now, before), self.id, first=first)
        self.engine.definitions.add(self.graph.fingerprint)
        if self.execution.status not in RUNNING:
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
        shown = (execution.status, execution.since, execution.blocked, execution.epoch)
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
