"""What a person says of a saga that is stuck, as its execution takes it in: retry, skip, resolve, abandon.

Whether it may be said is decided before it is recorded (`allframe.saga.orders`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from allframe.saga.records import BlockedKind, SagaAbandoned, StepResolved, StepSkipped
from allframe.saga.states import Cause, CauseKind, Phase, SagaStatus, Undo

if TYPE_CHECKING:
    from allframe.saga.execution import Execution

__all__ = ["abandon", "resolve", "retry", "skip"]


def retry(execution: Execution) -> None:
    """Fresh attempts for what is stuck."""
    execution.uncompensated = ()
    if execution.status is SagaStatus.FAILED:
        for step in execution.rollback.exhausted:
            execution.rollback.forgive(step)
        execution.status = SagaStatus.COMPENSATING
        execution.rollback.begin()
        return
    for step in [step for step, kind in execution.stuck.items() if kind == BlockedKind.STEP]:
        del execution.stuck[step]
        _try_again(execution, step)
    execution.unblock()


def skip(execution: Execution, step: int, record: StepSkipped) -> None:
    """Count it as undone, or as done."""
    state = execution.steps[step]
    state.verdict = dataclasses.replace(record, starts=(), compensates=None)  # said later, in the same record
    if execution.status is SagaStatus.FAILED:
        state.undo = Undo.SKIPPED
        _go_on_undoing(execution)
        execution.rollback.pass_on(step)
    else:
        state.phase = Phase.SKIPPED
        execution.stuck.pop(step, None)
        execution.release_followers(step)
        execution.unblock()


def resolve(execution: Execution, step: int, record: StepResolved) -> None:
    """It is known now whether it took effect, or what it returned."""
    state = execution.steps[step]
    state.verdict = dataclasses.replace(record, starts=(), compensates=None)  # said later, in the same record
    is_done = record.outcome == "done"
    if not is_done:
        state.phase, state.unknown = Phase.NO_EFFECT, None
    elif record.output is not None:
        state.phase, state.unknown = Phase.SUCCEEDED, None
        state.output, state.form = record.output, record.form
    if execution.status is SagaStatus.FAILED:
        execution.rollback.forgive(step)
        _go_on_undoing(execution)
        if is_done:
            execution.rollback.reach(step)
        else:
            execution.rollback.pass_on(step)
        return
    execution.stuck.pop(step, None)
    if is_done:
        execution.release_followers(step)
    elif step == execution.plan.pivot:
        execution.decide_against(Cause(step, CauseKind.NOT_DONE, state.error))
    else:
        _try_again(execution, step)
    execution.unblock()


def abandon(execution: Execution, record: SagaAbandoned) -> None:
    """Nothing more happens to it."""
    execution.abandoned, execution.status, execution.blocked = record, SagaStatus.ABANDONED, None
    left = {*record.in_effect, *record.uncertain}
    execution.uncompensated = tuple(node.name for node in execution.plan.nodes if node.name in left)
    execution.running.clear()
    execution.undoing = None


def _try_again(execution: Execution, step: int) -> None:
    state = execution.steps[step]
    state.spent, state.phase = 0, Phase.RETRYING
    execution.ready[step] = None


def _go_on_undoing(execution: Execution) -> None:
    """Take the rollback up where it stopped. Other compensations that are exhausted stay so."""
    execution.status, execution.uncompensated = SagaStatus.COMPENSATING, ()
