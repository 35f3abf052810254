"""What an order becomes that may be given: the output that it tells of, and its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from allframe.errors import OperationRefused, PayloadError
from allframe.saga.execution import Execution
from allframe.saga.graph import Step
from allframe.saga.orders import Order
from allframe.saga.outputs import StoredOutput, store_output, told_output
from allframe.saga.records import (
    CancelRequested,
    Record,
    RetryRequested,
    SagaAbandoned,
    StepResolved,
    StepSkipped,
)
from allframe.saga.states import Phase, SagaStatus, Undo

__all__ = ["output_of", "record_of"]


def output_of(order: Order, step: Step, saga_id: str, execution: Execution) -> StoredOutput | None:
    """What ``step`` returned, as an order to resolve it as done tells; None where that need not be told.

    Raises:
        OperationRefused: it was not told, and the saga goes forward with it.
        PayloadError: it cannot be stored as the step's.
    """
    if order.has_output:
        return told_output(step, order.output, order.output_json)
    if execution.status is not SagaStatus.BLOCKED:
        return None
    try:
        return store_output(step, None)
    except PayloadError as error:
        raise OperationRefused(
            f"Step {step.name!r} of saga {saga_id!r} cannot be resolved as done without an output, for it returns "
            f"{step.output.name}. Give output=.",
            saga_id=saga_id,
            step_name=step.name,
            step_index=execution.plan.index[step.name],
        ) from error


def record_of(order: Order, execution: Execution, output: StoredOutput | None = None) -> Record:
    """The record of an order that `check` let pass. ``output``: what the step returned, in its stored form."""
    said: dict[str, Any] = {
        "reason": order.reason,
        "actor": order.actor,
        "expected_revision": order.expected_revision,
    }
    match order.verb:
        case "cancel":
            return CancelRequested(**said)
        case "retry":
            return RetryRequested(**said)
        case "skip":
            return StepSkipped(step=order.step or "", **said)
        case "resolve":
            assert order.outcome is not None
            told: dict[str, Any] = (
                {"output": output.data, "form": output.form, "emitted": len(output.events)} if output else {}
            )
            return StepResolved(step=order.step or "", outcome=order.outcome, **said, **told)
        case "abandon":
            done, perhaps = _standing(execution)
            return SagaAbandoned(in_effect=_names(done, execution), uncertain=_names(perhaps, execution), **said)


def _standing(execution: Execution) -> tuple[list[int], list[int]]:
    """The steps that are in effect, and those that may be, whether they can be undone or not."""
    done, perhaps = [], []
    for step, state in enumerate(execution.steps):
        if execution.plan.nodes[step].readonly or state.undo in (Undo.DONE, Undo.SKIPPED):
            continue
        # An attempt to undo it that failed may have undone it all the same.
        if state.undo_attempts or state.phase in (Phase.RUNNING, Phase.UNKNOWN):
            perhaps.append(step)
        elif state.phase in (Phase.SUCCEEDED, Phase.LOST):
            done.append(step)
        elif state.unknown is not None and state.phase is not Phase.NO_EFFECT:
            perhaps.append(step)
    return done, perhaps


def _names(steps: Sequence[int], execution: Execution) -> tuple[str, ...]:
    return tuple(execution.plan.nodes[step].name for step in steps)
