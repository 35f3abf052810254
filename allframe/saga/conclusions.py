"""The moves that nobody performs, for they are done once they are written: turn back, strand, block, end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allframe.errors import ErrorInfo
from allframe.saga.records import (
    BlockedKind,
    Record,
    RollbackBegun,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    StepNotCompensated,
)
from allframe.saga.states import Block, End, Move, SagaStatus, Strand, TurnBack

if TYPE_CHECKING:
    from allframe.saga.execution import Execution

__all__ = ["conclusion"]


def conclusion(move: Move, execution: Execution) -> Record:
    """The record that such a move becomes."""
    match move:
        case TurnBack():
            return RollbackBegun()
        case Strand(step):
            error = ErrorInfo(
                "allframe.OutputMissing",
                f"The compensation of {execution.plan.nodes[step].name!r} needs the step's output, and nobody has it: "
                f"{execution.steps[step].as_unknown().reason.value}. It is declared if_unknown='fail'.",
            )
            return StepNotCompensated(step=execution.plan.nodes[step].name, attempt=0, error=error)
        case Block(step, kind):
            return SagaBlocked(
                kind=kind,
                reason=_why_stuck(step, kind, execution),
                step=execution.plan.nodes[step].name,
                epoch=execution.epoch,
            )
        case End(SagaStatus.COMPLETED):
            return SagaCompleted()
        case End(SagaStatus.COMPENSATED):
            return SagaCompensated()
        case End():
            return SagaFailed(
                uncompensated=tuple(execution.plan.nodes[step].name for step in execution.rollback.left_over())
            )
    raise AssertionError(move)


def _why_stuck(step: int, kind: str, execution: Execution) -> str:
    name, error = execution.plan.nodes[step].name, execution.steps[step].error
    detail = f" ({error})" if error else ""
    if kind == BlockedKind.OUTPUT:
        return f"The output of step {name!r} is lost, and a later step takes it{detail}."
    unknown, count = execution.steps[step].unknown, execution.steps[step].attempts
    attempts = "1 attempt" if count == 1 else f"{count} attempts"
    what = f"ended unknown ({unknown.value})" if unknown else "failed"
    return f"Step {name!r} can only go forward, and {what} after {attempts}{detail}."
