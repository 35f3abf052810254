"""Where a saga stands, and its next moves: a fold over its records. No clock, no I/O.

::

                     starts                 every step succeeded
    NOT_STARTED ───────────────► EXECUTING ─────────────────────► COMPLETED
         │                        │  ▲  │
         │ cancel      a failure  │  │  │ a step past the pivot is stuck
         │             or cancel  │  │  ▼
         └──────────────┐         │  BLOCKED ──┐ retry, skip, resolve, or what it waited for is there
                        ▼         ▼            │
                     COMPENSATING ◄────────────┘
                       │        │  ▲
       nothing is left │        │  │ retry, skip, resolve
                       ▼        ▼  │
                 COMPENSATED   FAILED           abandon: from whatever is not over ──► ABANDONED

`Execution.apply` takes one record. `Execution.next_moves` says what to do next, and is the one place where that is
decided; `Execution.decide` turns it into the records that announce it. Running and recovering are the same loop.

Each record costs O(1) amortised: what becomes ready is counted down, never searched for.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from allframe.errors import ErrorInfo
from allframe.saga.context import UnknownReason
from allframe.saga.graph import Plan
from allframe.saga.records import (
    BlockedKind,
    CancelRequested,
    DeadlinePassed,
    Record,
    RetryRequested,
    RollbackBegun,
    SagaAbandoned,
    SagaAdmitted,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaRecovered,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepOutputLost,
    StepResolved,
    StepSkipped,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import (
    RUNNING,
    TERMINAL,
    Block,
    Cause,
    CauseKind,
    Compensate,
    End,
    Move,
    Phase,
    Run,
    SagaStatus,
    StepState,
    Strand,
    TurnBack,
    Undo,
)

__all__ = ["Execution"]


class Execution:
    """One saga, as its records tell it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.steps = [StepState() for _ in plan.nodes]
        self.status = SagaStatus.NOT_STARTED
        self.started: SagaStarted | None = None
        #: The fingerprint of the graph that it runs by.
        self.definition = ""
        self.epoch = 0
        self.recoveries = 0
        self.cause: Cause | None = None
        self.suppressed: list[ErrorInfo] = []
        self.cancel: CancelRequested | None = None
        #: That its own timeout has passed.
        self.expired: DeadlinePassed | None = None
        self.blocked: SagaBlocked | None = None
        self.abandoned: SagaAbandoned | None = None
        self.uncompensated: tuple[str, ...] = ()
        #: Times of the first and the last record, and of the last change of status.
        self.started_at = self.updated_at = self.since = 0
        #: How many records were applied: the version of the stream.
        self.revision = 0
        #: Open attempts.
        self.running: dict[int, None] = {}
        self.undoing: int | None = None
        #: Those of them that were to end, and have not.
        self.overdue: dict[int, None] = {}
        self.succeeded = 0
        self._ended = 0
        self._waiting_for = [len(node.after) for node in plan.nodes]
        #: Steps that may begin, with the time from which they may.
        self._ready: dict[int, int | None] = {}
        #: Steps that can only go forward and cannot.
        self._stuck: dict[int, str] = {}
        self._rolling = False
        #: For each step, how many of its followers must still be undone before it.
        self._above: list[int] = []
        self._undo_ready: list[tuple[int, int]] = []
        self._undo_again: int | None = None

    # --- what follows --------------------------------------------------------------------------------------------

    def next_moves(self) -> Sequence[Move]:
        """What to do now. Nothing, where something that runs must end first, or where it is over.

        This is the whole decision: forward while nothing failed, wait for what runs, back in reverse order.
        """
        if self.status in TERMINAL or self.status in (SagaStatus.FAILED, SagaStatus.BLOCKED):
            return ()
        if self.turning_back:
            if self.running or self.undoing is not None:
                return ()
            if not self._rolling:
                return (TurnBack(),)
            if self._undo_again is not None:
                return (Compensate(self._undo_again, self.steps[self._undo_again].undo_next_at),)
            if self._undo_ready:
                step = self._undo_ready[0][1]
                return (Strand(step),) if self._needs_a_person(step) else (Compensate(step),)
            return (End(SagaStatus.FAILED if self._left_over() else SagaStatus.COMPENSATED),)
        if self._ready:
            return [Run(step, at) for step, at in self._ready.items()]
        if self.running:
            return ()
        if self._stuck:
            step, kind = next(iter(self._stuck.items()))
            return (Block(step, kind),)
        return (End(SagaStatus.COMPLETED),)

    @property
    def turning_back(self) -> bool:
        """Whether it was decided that the saga is undone."""
        return self.cause is not None or ((self.cancel or self.expired) is not None and not self.committed)

    @property
    def attention(self) -> bool:
        """Whether a person should look."""
        if self.status in (SagaStatus.FAILED, SagaStatus.BLOCKED):
            return True
        late = self.expired is not None and self.committed
        return self.status in RUNNING and (late or bool(self.overdue))

    @property
    def rolling(self) -> bool:
        """Whether the rollback has begun."""
        return self._rolling

    @property
    def committed(self) -> bool:
        """Whether the saga can only go forward: its pivot succeeded, or may have."""
        if self.plan.pivot is None:
            return False
        pivot = self.steps[self.plan.pivot]
        return pivot.phase in (Phase.SUCCEEDED, Phase.LOST) or pivot.unknown is not None

    def tries(self, record: StepFailed | StepUnknown | StepNotCompensated) -> int:
        """Which attempt ``record`` ends, counted as a retry counts: from 1, without crashes, afresh after a retry verb."""
        state = self.steps[self.plan.index[record.step]]
        return (state.undo_spent if isinstance(record, StepNotCompensated) else state.spent) + 1

    def may_retry(self, record: StepFailed | StepUnknown | StepNotCompensated) -> bool:
        """Whether another attempt may follow the one that ends with ``record``, so far as the count goes."""
        step = self.plan.index[record.step]
        node = self.plan.nodes[step]
        if isinstance(record, StepNotCompensated):
            return self.tries(record) < node.compensation_attempts
        if isinstance(record, StepUnknown) and not node.repeatable:
            return False
        uncertain_pivot = step == self.plan.pivot and isinstance(record, StepUnknown)
        return self.tries(record) < node.attempts and (uncertain_pivot or not self.turning_back)

    def expires_with(self, record: Record, at: int) -> bool:
        """Whether ``record`` takes the saga over after its timeout had passed, which nobody has recorded yet."""
        deadline = None if self.started is None else self.started.deadline
        passed = deadline is not None and deadline <= at and self.expired is None
        return passed and isinstance(record, SagaRecovered) and self.status in RUNNING and not self.turning_back

    def decide(self, ended: Record | None, at: int, *, leaving: bool = False) -> tuple[list[Record], list[Move]]:
        """Apply ``ended`` and all that follows from it at once.

        ``leaving``: announce nothing that would begin; the next owner will.

        Returns:
            The records to write in one commit, oldest first, and the moves that they announce, to be performed once
            the records are safe.
        """
        records: list[Record] = []
        if ended is not None:
            records.append(ended)
            self.apply(ended, at)
        while moves := self.next_moves():
            if leaving and not isinstance(moves[0], End):
                break
            if isinstance(moves[0], Run | Compensate):
                self._announce(records, moves, at)
                return records, list(moves)
            record = self._record_of(moves[0])
            records.append(record)
            self.apply(record, at)
        return records, []

    def _announce(self, records: list[Record], moves: Sequence[Move], at: int) -> None:
        """Write what begins into the last record."""
        names = self.plan.nodes
        starts = tuple(names[move.step].name for move in moves if isinstance(move, Run))
        undo = next((names[move.step].name for move in moves if isinstance(move, Compensate)), None)
        if not records or isinstance(records[-1], CancelRequested):
            records.append(SagaAdmitted())
            self.apply(records[-1], at)
        last: Any = records[-1]
        records[-1] = dataclasses.replace(last, starts=starts, compensates=undo)
        self._begin(starts, undo, at)

    def _record_of(self, move: Move) -> Record:
        match move:
            case TurnBack():
                return RollbackBegun()
            case Strand(step):
                error = ErrorInfo(
                    "allframe.OutputMissing",
                    f"The compensation of {self.plan.nodes[step].name!r} needs the step's output, and nobody has it: "
                    f"{self.steps[step].as_unknown().reason.value}. It is declared if_unknown='fail'.",
                )
                return StepNotCompensated(step=self.plan.nodes[step].name, attempt=0, error=error)
            case Block(step, kind):
                return SagaBlocked(
                    kind=kind, reason=self._why_stuck(step, kind), step=self.plan.nodes[step].name, epoch=self.epoch
                )
            case End(SagaStatus.COMPLETED):
                return SagaCompleted()
            case End(SagaStatus.COMPENSATED):
                return SagaCompensated()
            case End():
                return SagaFailed(uncompensated=tuple(self.plan.nodes[step].name for step in self._left_over()))
        raise AssertionError(move)

    def _why_stuck(self, step: int, kind: str) -> str:
        name, error = self.plan.nodes[step].name, self.steps[step].error
        detail = f" ({error})" if error else ""
        if kind == BlockedKind.OUTPUT:
            return f"The output of step {name!r} is lost, and a later step takes it{detail}."
        unknown, count = self.steps[step].unknown, self.steps[step].attempts
        attempts = "1 attempt" if count == 1 else f"{count} attempts"
        what = f"ended unknown ({unknown.value})" if unknown else "failed"
        return f"Step {name!r} can only go forward, and {what} after {attempts}{detail}."

    # --- the fold ------------------------------------------------------------------------------------------------

    @classmethod
    def replay(cls, plan: Plan, records: Iterable[tuple[Record, int]]) -> Execution:
        """The execution that these records, oldest first with their times, tell of."""
        execution = cls(plan)
        for record, at in records:
            execution.apply(record, at)
        return execution

    def apply(self, record: Record, at: int) -> None:
        """Take in one record, written at ``at``.

        Raises:
            KeyError: if it names a step that the plan does not have.
        """
        self.revision += 1
        self.updated_at = at
        before = self.status
        match record:
            case SagaStarted():
                self.started, self.started_at, self.epoch = record, at, record.epoch
                self.definition = record.definition
                self._ready = {step: None for step, count in enumerate(self._waiting_for) if not count}
            case SagaRecovered():
                self._recovered(record)
            case StepSucceeded():
                self._step_succeeded(self.plan.index[record.step], record)
            case StepOutputLost():
                self._step_lost(self.plan.index[record.step], record)
            case StepFailed():
                self._step_failed(self.plan.index[record.step], record)
            case StepUnknown():
                self._step_unknown(self.plan.index[record.step], record)
            case StepNotBegun():
                self._step_not_begun(self.plan.index[record.step])
            case StepStillRunning():
                self.overdue[self.plan.index[record.step]] = None
            case CancelRequested():
                self._cancel_requested(record)
            case DeadlinePassed():
                self.expired = record
            case RollbackBegun():
                self.status = SagaStatus.COMPENSATING
                self._roll_back()
            case StepCompensated():
                self._step_compensated(self.plan.index[record.step])
            case StepNotCompensated():
                self._step_not_compensated(self.plan.index[record.step], record)
            case RetryRequested():
                self._retry()
            case StepSkipped():
                self._step_skipped(self.plan.index[record.step], record)
            case StepResolved():
                self._step_resolved(self.plan.index[record.step], record)
            case SagaAbandoned():
                self._abandoned(record)
            case SagaCompleted():
                self.status = SagaStatus.COMPLETED
            case SagaCompensated():
                self.status = SagaStatus.COMPENSATED
            case SagaFailed():
                self.status, self.uncompensated = SagaStatus.FAILED, record.uncompensated
            case SagaBlocked():
                self.status, self.blocked, self.epoch = SagaStatus.BLOCKED, record, record.epoch
            case SagaAdmitted():
                pass
        starts, undo = getattr(record, "starts", ()), getattr(record, "compensates", None)
        if starts or undo:
            self._begin(starts, undo, at)
        if self.status is not before or isinstance(record, SagaStarted):
            self.since = at

    def _begin(self, starts: Iterable[str], undo: str | None, at: int) -> None:
        if starts and self.status is not SagaStatus.EXECUTING:
            self.status, self.since = SagaStatus.EXECUTING, at
        for name in starts:
            step = self.plan.index[name]
            state = self.steps[step]
            state.phase, state.next_at = Phase.RUNNING, self._ready.pop(step, None)
            state.attempts += 1
            self.running[step] = None
        if undo is not None:
            step = self.plan.index[undo]
            state = self.steps[step]
            state.undo = Undo.RUNNING
            state.undo_attempts += 1
            self.undoing, self._undo_again = step, None
            if self._undo_ready and self._undo_ready[0][1] == step:
                heapq.heappop(self._undo_ready)

    def _end(self, step: int, phase: Phase) -> StepState:
        state = self.steps[step]
        self.running.pop(step, None)
        self.overdue.pop(step, None)
        self._ended += 1
        state.phase, state.ended = phase, self._ended
        return state

    def _step_succeeded(self, step: int, record: StepSucceeded) -> None:
        state = self._end(step, Phase.SUCCEEDED)
        state.output, state.form = record.output, record.form
        self.recoveries = 0
        if record.late and step not in self.plan.forward_only:
            self._decide_against(Cause(step, CauseKind.TIMED_OUT, None, record.timeout))
        else:
            self._release_followers(step)

    def _step_lost(self, step: int, record: StepOutputLost) -> None:
        state = self._end(step, Phase.LOST)
        state.error = record.error
        self.recoveries = 0
        if step not in self.plan.forward_only:
            self._decide_against(Cause(step, CauseKind.OUTPUT_LOST, record.error))
        elif step in self.plan.taken:
            self._stuck[step] = BlockedKind.OUTPUT
        else:
            self._release_followers(step)

    def _release_followers(self, step: int) -> None:
        self.succeeded += 1
        for follower in self.plan.followers[step]:
            self._waiting_for[follower] -= 1
            if not self._waiting_for[follower]:
                self._ready[follower] = None

    def _step_failed(self, step: int, record: StepFailed) -> None:
        state = self.steps[step]
        if self.plan.nodes[step].idempotent and record.begun:
            state.unknown = None  # the far side answered for all attempts
        phase = Phase.UNKNOWN if state.unknown else Phase.NO_EFFECT
        kind = CauseKind.REFUSED if record.refused else CauseKind.FAILED
        self._attempt_ended(
            step, phase, record, Cause(step, kind if not state.unknown else CauseKind.UNKNOWN, record.error)
        )

    def _step_unknown(self, step: int, record: StepUnknown) -> None:
        self.steps[step].unknown = self.steps[step].unknown or record.reason
        timed_out = record.reason is UnknownReason.DEADLINE
        kind = CauseKind.TIMED_OUT if timed_out else CauseKind.UNKNOWN
        self._attempt_ended(step, Phase.UNKNOWN, record, Cause(step, kind, record.error, record.timeout))

    def _attempt_ended(self, step: int, phase: Phase, record: StepFailed | StepUnknown, cause: Cause) -> None:
        self.recoveries = 0
        again = record.next_at is not None
        state = self._end(step, Phase.RETRYING if again else phase)
        state.spent += 1
        state.error = record.error or state.error
        if record.next_at is not None:
            self._ready[step], state.wait = record.next_at, record.next_at - self.updated_at
        else:
            self._given_up(step, cause)

    def _given_up(self, step: int, cause: Cause) -> None:
        """A step has ended without success for good."""
        forward_only = step in self.plan.forward_only
        harmless_pivot = step == self.plan.pivot and self.steps[step].phase is Phase.NO_EFFECT
        if forward_only and not harmless_pivot:
            self._stuck[step] = BlockedKind.STEP
        else:
            self._decide_against(cause)

    def _decide_against(self, cause: Cause) -> None:
        if self.cause is None and self.cancel is None and self.expired is None:
            self.cause = cause
        elif cause.error is not None:
            self.suppressed.append(cause.error)

    def _step_not_begun(self, step: int) -> None:
        state = self.steps[step]
        state.attempts -= 1
        if self.turning_back:
            self._end(step, Phase.UNKNOWN if state.unknown else Phase.NO_EFFECT)
        else:
            self._end(step, Phase.RETRYING)
            self._ready[step] = state.next_at

    def _cancel_requested(self, record: CancelRequested) -> None:
        self.cancel = record
        if self.blocked is not None:
            self._unblock()

    def _recovered(self, record: SagaRecovered) -> None:
        self.epoch, self.recoveries = record.epoch, record.recoveries
        self.definition = record.definition or self.definition
        for step in list(self.running):
            self._crashed(step)
        self.overdue.clear()
        if self.undoing is not None:
            self._undo_again, self.undoing = self.undoing, None
            self.steps[self._undo_again].undo = Undo.RETRYING
        if self.blocked is not None and self.blocked.kind in (BlockedKind.CODE, BlockedKind.DEPENDENCY):
            self._unblock()

    def _crashed(self, step: int) -> None:
        """An open attempt whose process died. Only a clock could tell that it had not begun yet, and clocks go wrong."""
        state = self.steps[step]
        state.unknown = state.unknown or UnknownReason.CRASH
        if self.turning_back:
            self._end(step, Phase.UNKNOWN)
        elif not self.plan.nodes[step].repeatable:
            self._end(step, Phase.UNKNOWN)
            self._given_up(step, Cause(step, CauseKind.UNKNOWN, state.error))
        else:
            self._end(step, Phase.RETRYING)
            self._ready[step] = state.next_at

    def _unblock(self) -> None:
        self.blocked = None
        self.status = SagaStatus.COMPENSATING if self._rolling else SagaStatus.EXECUTING

    # --- back ----------------------------------------------------------------------------------------------------

    def _roll_back(self) -> None:
        """Find what must be undone, and what of it can be undone first."""
        self._rolling = True
        self._ready.clear()
        self._above = [0] * len(self.steps)
        self._undo_ready.clear()
        settled = deque[int]()
        for step, followers in enumerate(self.plan.followers):
            self._above[step] = sum(self._has_begun(follower) for follower in followers)
        for step in range(len(self.steps)):
            if self._has_begun(step) and not self._above[step]:
                self._reach(step, settled)
        self._settle(settled)

    def _has_begun(self, step: int) -> bool:
        return self.steps[step].phase is not Phase.WAITING

    def _reach(self, step: int, settled: deque[int]) -> None:
        """Nothing above ``step`` is left: undo it next, or pass on if there is nothing to undo."""
        if self._is_due(step):
            heapq.heappush(self._undo_ready, (-self.steps[step].ended, step))
        else:
            settled.append(step)

    def _settle(self, settled: deque[int]) -> None:
        while settled:
            for before in self.plan.nodes[settled.popleft()].after:
                self._above[before] -= 1
                if not self._above[before]:
                    self._reach(before, settled)

    def _is_due(self, step: int) -> bool:
        """Whether it took, or may have taken, an effect that is still there."""
        state = self.steps[step]
        # A step that was to be tried again, when the saga turned back, may have taken effect in an earlier attempt.
        unknown = state.phase is Phase.UNKNOWN or (state.phase is Phase.RETRYING and state.unknown is not None)
        effect = unknown or state.phase in (Phase.SUCCEEDED, Phase.LOST)
        return effect and self.plan.nodes[step].compensated and state.undo not in (Undo.DONE, Undo.SKIPPED)

    def _needs_a_person(self, step: int) -> bool:
        return self.plan.nodes[step].needs_output and self.steps[step].output is None

    def _left_over(self) -> list[int]:
        return [step for step in range(len(self.steps)) if self._is_due(step)]

    def _step_compensated(self, step: int) -> None:
        self.recoveries = 0
        self.undoing = None
        self.overdue.pop(step, None)
        self.steps[step].undo = Undo.DONE
        self._settle(deque([step]))

    def _step_not_compensated(self, step: int, record: StepNotCompensated) -> None:
        self.recoveries = 0
        state = self.steps[step]
        state.undo_error = record.error
        self.undoing = None
        self.overdue.pop(step, None)
        if record.attempt == 0:
            heapq.heappop(self._undo_ready)
        state.undo_spent += 1
        state.undo_next_at = record.next_at
        if record.next_at is None:
            state.undo = Undo.EXHAUSTED
        else:
            state.undo, self._undo_again = Undo.RETRYING, step
            state.undo_wait = record.next_at - self.updated_at

    def _retry(self) -> None:
        """Fresh attempts for what is stuck."""
        self.uncompensated = ()
        if self.status is SagaStatus.FAILED:
            for state in self.steps:
                if state.undo is Undo.EXHAUSTED:
                    state.undo, state.undo_spent, state.undo_next_at = Undo.NONE, 0, None
            self.status = SagaStatus.COMPENSATING
            self._roll_back()
            return
        for step, kind in self._stuck.items():
            if kind == BlockedKind.STEP:
                self.steps[step].spent, self.steps[step].phase = 0, Phase.RETRYING
                self._ready[step] = None
        self._stuck = {step: kind for step, kind in self._stuck.items() if kind != BlockedKind.STEP}
        self._unblock()

    # --- what a person says --------------------------------------------------------------------------------------

    @property
    def stuck(self) -> dict[int, str]:
        """The steps that can only go forward and cannot, with a `BlockedKind` each."""
        return self._stuck

    @property
    def exhausted(self) -> list[int]:
        """The steps whose compensation was tried as often as it may be."""
        return [step for step, state in enumerate(self.steps) if state.undo is Undo.EXHAUSTED]

    def standing(self) -> tuple[list[int], list[int]]:
        """The steps that are in effect, and those that may be, whether they can be undone or not."""
        done, perhaps = [], []
        for step, state in enumerate(self.steps):
            if self.plan.nodes[step].readonly or state.undo in (Undo.DONE, Undo.SKIPPED):
                continue
            # An attempt to undo it that failed may have undone it all the same.
            if state.undo_attempts or state.phase in (Phase.RUNNING, Phase.UNKNOWN):
                perhaps.append(step)
            elif state.phase in (Phase.SUCCEEDED, Phase.LOST):
                done.append(step)
            elif state.unknown is not None and state.phase is not Phase.NO_EFFECT:
                perhaps.append(step)
        return done, perhaps

    def _step_skipped(self, step: int, record: StepSkipped) -> None:
        state = self.steps[step]
        state.verdict = dataclasses.replace(record, starts=(), compensates=None)  # said later, in the same record
        if self.status is SagaStatus.FAILED:
            state.undo = Undo.SKIPPED
            self._go_on_undoing(passed=step)
        else:
            state.phase = Phase.SKIPPED
            self._stuck.pop(step, None)
            self._release_followers(step)
            self._unblock()

    def _step_resolved(self, step: int, record: StepResolved) -> None:
        state = self.steps[step]
        state.verdict = dataclasses.replace(record, starts=(), compensates=None)  # said later, in the same record
        is_done = record.outcome == "done"
        if not is_done:
            state.phase, state.unknown = Phase.NO_EFFECT, None
        elif record.output is not None:
            state.phase, state.unknown = Phase.SUCCEEDED, None
            state.output, state.form = record.output, record.form
        if self.status is SagaStatus.FAILED:
            state.undo, state.undo_spent, state.undo_next_at = Undo.NONE, 0, None
            self._go_on_undoing(passed=None if is_done else step, again=step if is_done else None)
            return
        self._stuck.pop(step, None)
        if is_done:
            self._release_followers(step)
        elif step == self.plan.pivot:
            self._decide_against(Cause(step, CauseKind.NOT_DONE, state.error))
        else:
            state.spent, state.phase = 0, Phase.RETRYING
            self._ready[step] = None
        self._unblock()

    def _go_on_undoing(self, *, passed: int | None, again: int | None = None) -> None:
        """Take the rollback up where it stopped. Other compensations that are exhausted stay so."""
        self.status, self.uncompensated = SagaStatus.COMPENSATING, ()
        if again is not None:
            self._reach(again, deque[int]())
        if passed is not None:
            self._settle(deque([passed]))

    def _abandoned(self, record: SagaAbandoned) -> None:
        self.abandoned, self.status, self.blocked = record, SagaStatus.ABANDONED, None
        left = {*record.in_effect, *record.uncertain}
        self.uncompensated = tuple(node.name for node in self.plan.nodes if node.name in left)
        self.running.clear()
        self.undoing = None
