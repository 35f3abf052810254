"""Where a saga stands, and its next moves: a fold over its records. No clock, no I/O.

`Execution.apply` takes one record. `Execution.next_moves` says what to do next, and is the one place where that is
decided; `Execution.decide` turns it into the records that announce it. Running and recovering are the same loop.

Each record costs O(1) amortised: what becomes ready is counted down, never searched for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from allframe.errors import ErrorInfo
from allframe.events.correlation import Correlation
from allframe.saga import verdicts
from allframe.saga.conclusions import conclusion
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
from allframe.saga.rollback import Rollback
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
        #: What it was started in: it stands beside the first record, so whoever reads that tells.
        self.correlation: Correlation | None = None
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
        self._ended = 0
        self._waiting_for = [len(node.after) for node in plan.nodes]
        #: Steps that may begin, with the time from which they may.
        self.ready: dict[int, int | None] = {}
        #: Steps that can only go forward and cannot, with a `BlockedKind` each.
        self.stuck: dict[int, str] = {}
        self.rollback = Rollback(plan, self.steps)

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
            if not self.rollback.begun:
                return (TurnBack(),)
            if (again := self.rollback.again) is not None:
                return (Compensate(again, self.steps[again].undo_next_at),)
            if (step := self.rollback.next) is not None:
                return (Strand(step),) if self.rollback.needs_a_person(step) else (Compensate(step),)
            return (End(SagaStatus.FAILED if self.rollback.left_over() else SagaStatus.COMPENSATED),)
        if self.ready:
            return [Run(step, at) for step, at in self.ready.items()]
        if self.running:
            return ()
        if self.stuck:
            step, kind = next(iter(self.stuck.items()))
            return (Block(step, kind),)
        return (End(SagaStatus.COMPLETED),)

    @property
    def turning_back(self) -> bool:
        """Whether it was decided that the saga is undone."""
        return self._turns_back(self.committed)

    def _turns_back(self, committed: bool) -> bool:
        return self.cause is not None or ((self.cancel or self.expired) is not None and not committed)

    @property
    def attention(self) -> bool:
        """Whether a person should look."""
        if self.status in (SagaStatus.FAILED, SagaStatus.BLOCKED):
            return True
        late = self.expired is not None and self.committed
        return self.status in RUNNING and (late or bool(self.overdue))

    @property
    def committed(self) -> bool:
        """Whether the saga can only go forward: its pivot succeeded, or may have."""
        pivot = self.plan.pivot
        return pivot is not None and (self.pivot_succeeded or self.steps[pivot].unknown is not None)

    @property
    def pivot_succeeded(self) -> bool:
        """Whether nobody doubts that its pivot succeeded."""
        pivot = self.plan.pivot
        return pivot is not None and self.steps[pivot].phase in (Phase.SUCCEEDED, Phase.LOST)

    @property
    def goes_on_when_loaded(self) -> bool:
        """Whether taking the saga over makes it go on, also if nobody asks anything of it."""
        return self.status in RUNNING or (self.blocked is not None and self.blocked.kind in BlockedKind.MENDABLE)

    def tries(self, record: StepFailed | StepUnknown | StepNotCompensated) -> int:
        """Which attempt ``record`` ends, counted as a retry counts: from 1, without crashes, afresh after a retry verb."""
        state = self.steps[self.plan.index[record.step]]
        return (state.undo_spent if isinstance(record, StepNotCompensated) else state.spent) + 1

    def may_retry(self, record: StepFailed | StepUnknown | StepNotCompensated) -> bool:
        """Whether another attempt may follow the one that ends with ``record``: one is left, and the saga goes forward."""
        step = self.plan.index[record.step]
        node = self.plan.nodes[step]
        if isinstance(record, StepNotCompensated):
            return self.tries(record) < node.compensation_attempts
        if isinstance(record, StepUnknown) and not node.repeatable:
            return False
        # How the pivot ends decides whether the saga goes forward at all: its answer may end the doubt that held it there.
        committed = self._doubt(step, record) is not None if step == self.plan.pivot else self.committed
        return self.tries(record) < node.attempts and not self._turns_back(committed)

    def expires_with(self, record: Record, at: int) -> bool:
        """Whether ``record`` takes the saga over after its timeout had passed, which nobody has recorded yet."""
        deadline = None if self.started is None else self.started.deadline
        passed = deadline is not None and deadline <= at and self.expired is None
        return passed and isinstance(record, SagaRecovered) and self.goes_on_when_loaded and not self.turning_back

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
            record = conclusion(moves[0], self)
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
                self.ready = {step: None for step, count in enumerate(self._waiting_for) if not count}
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
                self.ready.clear()
                self.rollback.begin()
            case StepCompensated():
                self._step_compensated(self.plan.index[record.step])
            case StepNotCompensated():
                self._step_not_compensated(self.plan.index[record.step], record)
            case RetryRequested():
                verdicts.retry(self)
            case StepSkipped():
                verdicts.skip(self, self.plan.index[record.step], record)
            case StepResolved():
                verdicts.resolve(self, self.plan.index[record.step], record)
            case SagaAbandoned():
                verdicts.abandon(self, record)
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
            state.phase, state.next_at = Phase.RUNNING, self.ready.pop(step, None)
            state.attempts += 1
            self.running[step] = None
        if undo is not None:
            step = self.plan.index[undo]
            state = self.steps[step]
            state.undo = Undo.RUNNING
            state.undo_attempts += 1
            self.undoing = step
            self.rollback.take(step)

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
            self.decide_against(Cause(step, CauseKind.TIMED_OUT, None, record.timeout))
        else:
            self.release_followers(step)

    def _step_lost(self, step: int, record: StepOutputLost) -> None:
        state = self._end(step, Phase.LOST)
        state.error = record.error
        self.recoveries = 0
        if step not in self.plan.forward_only:
            self.decide_against(Cause(step, CauseKind.OUTPUT_LOST, record.error))
        elif step in self.plan.taken:
            self.stuck[step] = BlockedKind.OUTPUT
        else:
            self.release_followers(step)

    def release_followers(self, step: int) -> None:
        """It succeeded, or is counted as done: what comes after it need not wait for it any more."""
        for follower in self.plan.followers[step]:
            self._waiting_for[follower] -= 1
            if not self._waiting_for[follower]:
                self.ready[follower] = None

    def _step_failed(self, step: int, record: StepFailed) -> None:
        state = self.steps[step]
        state.unknown = self._doubt(step, record)
        phase = Phase.UNKNOWN if state.unknown else Phase.NO_EFFECT
        kind = CauseKind.REFUSED if record.refused else CauseKind.FAILED
        self._attempt_ended(
            step, phase, record, Cause(step, kind if not state.unknown else CauseKind.UNKNOWN, record.error)
        )

    def _step_unknown(self, step: int, record: StepUnknown) -> None:
        self.steps[step].unknown = self._doubt(step, record)
        timed_out = record.reason is UnknownReason.DEADLINE
        kind = CauseKind.TIMED_OUT if timed_out else CauseKind.UNKNOWN
        self._attempt_ended(step, Phase.UNKNOWN, record, Cause(step, kind, record.error, record.timeout))

    def _doubt(self, step: int, record: StepFailed | StepUnknown) -> UnknownReason | None:
        """Why nobody can say whether ``step`` took effect, once ``record`` is known."""
        unknown = self.steps[step].unknown
        if isinstance(record, StepUnknown):
            return unknown or record.reason
        answered = self.plan.nodes[step].idempotent and record.begun  # the far side answers for all attempts
        return None if answered else unknown

    def _attempt_ended(self, step: int, phase: Phase, record: StepFailed | StepUnknown, cause: Cause) -> None:
        self.recoveries = 0
        again = record.next_at is not None
        state = self._end(step, Phase.RETRYING if again else phase)
        state.spent += 1
        state.error = record.error or state.error
        if record.next_at is not None:
            self.ready[step], state.wait = record.next_at, record.next_at - self.updated_at
        else:
            self._given_up(step, cause)

    def _given_up(self, step: int, cause: Cause) -> None:
        """A step has ended without success for good."""
        forward_only = step in self.plan.forward_only
        harmless_pivot = step == self.plan.pivot and self.steps[step].phase is Phase.NO_EFFECT
        if forward_only and not harmless_pivot:
            self.stuck[step] = BlockedKind.STEP
        else:
            self.decide_against(cause)

    def decide_against(self, cause: Cause) -> None:
        """Have it undone, for the first reason that there is; what comes later is suppressed."""
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
            self.ready[step] = state.next_at

    def _cancel_requested(self, record: CancelRequested) -> None:
        self.cancel = record
        if self.blocked is not None:
            self.unblock()

    def _recovered(self, record: SagaRecovered) -> None:
        self.epoch, self.recoveries = record.epoch, record.recoveries
        self.definition = record.definition or self.definition
        for step in list(self.running):
            self._crashed(step)
        self.overdue.clear()
        if self.undoing is not None:
            self.steps[self.undoing].undo = Undo.RETRYING
            self.rollback.again, self.undoing = self.undoing, None
        if self.blocked is not None and self.blocked.kind in BlockedKind.MENDABLE:
            self.unblock()

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
            self.ready[step] = state.next_at

    def unblock(self) -> None:
        """What it waited for is there."""
        self.blocked = None
        self.status = SagaStatus.COMPENSATING if self.rollback.begun else SagaStatus.EXECUTING

    # --- back ----------------------------------------------------------------------------------------------------

    def _step_compensated(self, step: int) -> None:
        self.recoveries = 0
        self.undoing = None
        self.overdue.pop(step, None)
        self.steps[step].undo = Undo.DONE
        self.rollback.pass_on(step)

    def _step_not_compensated(self, step: int, record: StepNotCompensated) -> None:
        self.recoveries = 0
        state = self.steps[step]
        state.undo_error = record.error
        self.undoing = None
        self.overdue.pop(step, None)
        if record.attempt == 0:
            self.rollback.take(step)
        state.undo_spent += 1
        state.undo_next_at = record.next_at
        if record.next_at is None:
            state.undo = Undo.EXHAUSTED
        else:
            state.undo, self.rollback.again = Undo.RETRYING, step
            state.undo_wait = record.next_at - self.updated_at
