"""The moves of one saga, performed: waited for, called, watched, cut.

What is decided and what is written is elsewhere (`allframe.saga.running`): a performer is handed a move whose intent is
safe, and returns how it ended.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from allframe.clock import to_microseconds
from allframe.events.correlation import Correlation, caused_by
from allframe.saga.context import StepContext, idempotency_key
from allframe.saga.engine import Engine
from allframe.saga.execution import Execution
from allframe.saga.graph import Compensation, Parameter, SagaGraph, Source, Step
from allframe.saga.judge import Ended, judge_compensation, judge_step
from allframe.saga.outputs import load_output
from allframe.saga.perform import Attempt, attempt, new_attempt, on_thread
from allframe.saga.records import StepNotBegun
from allframe.saga.scoped import Scopes
from allframe.saga.states import TERMINAL, Compensate, Move, Run
from allframe.saga.timers import Ticket

__all__ = ["Performer"]

#: So many seconds after it should have ended, an attempt that has not draws attention.
_LENIENCE: Final = 1.0


@dataclass(slots=True, eq=False)
class Performer:
    """Performs the moves of one saga, and knows which attempts are under way."""

    id: str
    saga: Any
    graph: SagaGraph
    engine: Engine
    #: Where the saga stands: looked at, never changed here.
    execution: Execution
    #: What the steps returned, by their index.
    outputs: dict[int, Any]
    #: Told, in a task of its own, of an attempt of a step that was to end and does not.
    tell_overdue: Callable[[int, Attempt], Awaitable[None]]
    _attempts: dict[int, Attempt] = field(default_factory=dict)
    _scopes: Scopes = field(default_factory=Scopes)
    _tickets: dict[int, Ticket] = field(default_factory=dict)
    _waits: set[anyio.CancelScope] = field(default_factory=set)

    # --- what is under way -------------------------------------------------------------------------------------------

    @property
    def under_way(self) -> list[int]:
        """The steps being performed or undone."""
        return list(self._attempts)

    def performs(self, step: int, this: Attempt) -> bool:
        """Whether this attempt of the step has not ended."""
        return self._attempts.get(step) is this

    @property
    def is_closed(self) -> bool:
        """Whether everything that was made for attempts that are recorded is closed."""
        return not self._scopes

    def wake(self) -> None:
        """Let whoever waits, to try again or for a thread, look again: the saga turned back, or the orchestrator leaves."""
        for wait in self._waits:
            wait.cancel()

    def cut(self, steps: Iterable[int]) -> None:
        """Cut the attempts of these steps, where one is under way."""
        for step in steps:
            if step in self._attempts:
                self._attempts[step].cancel()
                self._watch(step, anyio.current_time())

    # --- performing --------------------------------------------------------------------------------------------------

    async def perform(self, move: Move) -> Ended | None:
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
            if is_off():
                attempts = self.execution.steps[move.step].attempts
                return Ended(StepNotBegun(step=self._name(move.step), attempt=attempts)) if forward else None
            with self.correlated():
                return await (self._run(move.step) if forward else self._compensate(move.step))
        finally:
            if slot is not None:
                self.engine.threads.limiter.release_on_behalf_of(slot)

    def correlated(self) -> AbstractContextManager[Correlation]:
        """Within it, what is appended, dispatched and started comes of this saga, and belongs to what it was started in."""
        around = self.execution.correlation
        return caused_by(self.id, (around and around.correlation_id) or self.id)

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
        return judge_step(step, context, this, self._now(), self.engine.versions)

    async def _compensate(self, index: int) -> Ended:
        undo = self.graph.steps[index].compensation
        assert undo is not None
        state = self.execution.steps[index]
        this = new_attempt(undo.timeout)
        context = self._context(index, state.undo_attempts, undo, this)
        context.outcome = self.output(index)
        await self._call(index, undo, context, this)
        return judge_compensation(undo, context, this, self._now(), self.engine.versions)

    async def _call(self, index: int, part: Step | Compensation, context: StepContext, this: Attempt) -> None:
        arguments = self._arguments(part.parameters, context)
        positional = (self.graph.self_of(self.saga, index),) if part.is_method else ()
        scope = self._scopes.open(index, self.engine.provider, part.parameters, context, this)

        async def body() -> Any:
            function = partial(self.graph.function_of(part), *positional, **arguments, **await scope.made())
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
        tell = partial(self.engine.spawn, self.id, self.tell_overdue, index, self._attempts[index])
        self._tickets[index] = self.engine.timers.call_at(when, tell)

    async def close(self, move: Move) -> bool:
        """Close what was made for the attempt, now that it is recorded, or dropped; returns whether there was anything."""
        assert isinstance(move, Run | Compensate)
        return await self._scopes.close(move.step, self.id, self._name(move.step))

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
                    arguments[parameter.name] = self.output(parameter.step)
                case Source.CONTEXT:
                    arguments[parameter.name] = context
                case Source.INJECT:
                    if self.engine.provider.holds(parameter.wanted):
                        arguments[parameter.name] = self.engine.provider.get(parameter.wanted)
        return arguments

    def output(self, index: int) -> Any:
        """What the step returned, or why nobody has it."""
        state = self.execution.steps[index]
        if state.output is None:
            return state.as_unknown()
        if index not in self.outputs:
            self.outputs[index] = load_output(self.graph.steps[index], state.output, state.form, self.engine.versions)
        return self.outputs[index]

    def _name(self, index: int) -> str:
        return self.graph.plan.nodes[index].name

    def _now(self) -> int:
        return to_microseconds(self.engine.clock.now())
