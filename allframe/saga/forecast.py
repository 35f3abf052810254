"""`Receipt`: what became of an order, and in words what happens next.

What happens next is found by playing it through: the same decisions on a copy, where every attempt does what is hoped.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass

from allframe.saga.context import UnknownReason
from allframe.saga.execution import Execution
from allframe.saga.graph import Plan
from allframe.saga.orders import Order
from allframe.saga.records import SagaRecovered, StepCompensated, StepSucceeded, StepUnknown
from allframe.saga.states import RUNNING, Phase, SagaStatus

__all__ = ["Forecast", "Receipt", "forecast", "receipt_of"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a saga does if all goes well."""

    runs: tuple[str, ...]
    undoes: tuple[str, ...]
    #: Where it ends, or stops.
    status: SagaStatus
    #: What stays in effect all the same: it cannot be undone without somebody.
    stays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an order."""

    id: str
    verb: str
    #: Whether a record was written: not, if that had been asked before.
    recorded: bool
    #: The saga's revision and status when it was.
    revision: int
    status: str
    #: What is run and what is undone next, if all goes well.
    runs: tuple[str, ...]
    undoes: tuple[str, ...]
    #: The process that goes on with it; None if there is none.
    pid: int | None
    #: For people.
    text: str


def forecast(execution: Execution, *, reopened: bool = False) -> Forecast:
    """What follows. ``reopened``: another opening of the store goes on with it."""
    future = copy.deepcopy(execution, {id(execution.plan): execution.plan})
    runs: list[str] = []
    undoes: list[str] = []
    name = [node.name for node in execution.plan.nodes]
    if reopened:
        future.decide(SagaRecovered(epoch=future.epoch, recoveries=0), 0)
    else:
        future.decide(None, 0)
    while future.running or future.undoing is not None:
        if future.undoing is not None:
            undoes.append(name[future.undoing])
            future.decide(StepCompensated(step=undoes[-1], attempt=1), 0)
            continue
        step = next(iter(future.running))
        if future.turning_back and step not in future.plan.forward_only:
            future.decide(StepUnknown(step=name[step], attempt=1, reason=UnknownReason.CANCELLED), 0)
        else:
            runs.append(name[step])
            future.decide(StepSucceeded(step=name[step], attempt=1, output=b"null"), 0)
    return Forecast(tuple(runs), tuple(undoes), future.status, future.uncompensated)


def receipt_of(
    order: Order,
    saga_id: str,
    execution: Execution,
    recorded: bool,
    before: SagaStatus,
    plan: Plan | None = None,
    *,
    unowned: str | None = None,
) -> Receipt:
    """What became of ``order``, which led to ``execution``.

    Args:
        recorded: Whether a record was written.
        before: The saga's status when it was asked.
        plan: The plan that knows how often is tried, if there is one.
        unowned: The store's name, if no process goes on with it.
    """
    pid = None if unowned else os.getpid()
    follows = execution.status in RUNNING
    seen = forecast(execution, reopened=unowned is not None) if follows else Forecast((), (), execution.status)
    done = _done(order, execution, recorded, before, plan)
    then = _then(order, execution, seen, unowned)
    return Receipt(
        id=saga_id,
        verb=order.verb,
        recorded=recorded,
        revision=execution.revision,
        status=execution.status.value,
        runs=seen.runs,
        undoes=seen.undoes,
        pid=pid if follows else None,
        text=f"{saga_id}: {done} {then}",
    )


def _done(order: Order, execution: Execution, recorded: bool, before: SagaStatus, plan: Plan | None) -> str:
    match order.verb:
        case "cancel":
            return "cancelled." if recorded else "it is being cancelled already; nothing was written."
        case "retry":
            return f"retry: {_tried_again(execution, before, plan)}"
        case "skip":
            counted = "undone" if before is SagaStatus.FAILED else "done"
            return f"{order.step!r} is skipped, and counts as {counted}."
        case "resolve":
            effect = "took effect" if order.outcome == "done" else "left no effect"
            return f"{order.step!r} is resolved: it {effect}."
        case "abandon":
            return "abandoned."


def _tried_again(execution: Execution, before: SagaStatus, plan: Plan | None) -> str:
    seen = forecast(execution)
    if before is SagaStatus.FAILED:
        step = next(iter(seen.undoes), None)
        what = "the rollback" if step is None else f"the compensation of {step!r}"
        times = 0 if plan is None or step is None else plan.nodes[plan.index[step]].compensation_attempts
    else:
        step = next(iter(seen.runs), None)
        what = "it" if step is None else f"step {step!r}"
        times = 0 if plan is None or step is None else plan.nodes[plan.index[step]].attempts
    often = {0: "", 1: ", once"}.get(times, f", up to {times} times")
    return f"{what} is tried again{often}."


def _then(order: Order, execution: Execution, seen: Forecast, unowned: str | None) -> str:
    if execution.status is SagaStatus.ABANDONED:
        return _left(execution)
    if execution.status not in RUNNING:
        return _stands(execution)
    lets_end = _pivot_in_doubt(order, execution)
    if lets_end is not None:
        whoever = "The next process that opens it" if unowned else f"pid {os.getpid()}"
        return f"{whoever} lets {lets_end!r} end first: if it succeeds the saga goes on, and if not it is rolled back."
    stays = f" It ends failed, with this still in effect: {', '.join(seen.stays)}." if seen.stays else ""
    if unowned is not None:
        return f"No process has {unowned} open: {_noun(seen, execution)} begins when the next one opens it.{stays}"
    return f"pid {os.getpid()} {_verbs(seen)}.{stays}"


def _left(execution: Execution) -> str:
    assert execution.abandoned is not None
    found = []
    if execution.abandoned.in_effect:
        found.append(f"Still in effect: {', '.join(execution.abandoned.in_effect)}.")
    if execution.abandoned.uncertain:
        found.append(f"May be in effect: {', '.join(execution.abandoned.uncertain)}.")
    return " ".join(["Nothing more happens to it.", *(found or ["Nothing of it is in effect."])])


def _stands(execution: Execution) -> str:
    match execution.status:
        case SagaStatus.FAILED:
            return f"It is failed still; in effect: {', '.join(execution.uncompensated)}."
        case SagaStatus.BLOCKED if execution.blocked is not None:
            return f"It is blocked still: {execution.blocked.reason}"
        case SagaStatus.COMPENSATED:
            return "Nothing is left to be undone: it is compensated."
        case status:
            return f"Nothing is left to be done: it is {status}."


def _pivot_in_doubt(order: Order, execution: Execution) -> str | None:
    """The pivot that a cancel lets end."""
    pivot = execution.plan.pivot
    if order.verb != "cancel" or pivot is None or execution.steps[pivot].phase is not Phase.RUNNING:
        return None
    return execution.plan.nodes[pivot].name


def _verbs(seen: Forecast) -> str:
    parts = [f"runs {_list(seen.runs)}"] if seen.runs else []
    parts += [f"undoes {_list(seen.undoes)}"] if seen.undoes else []
    return " and ".join(parts) or f"has nothing left to do: it ends {seen.status}"


def _noun(seen: Forecast, execution: Execution) -> str:
    if seen.undoes or execution.turning_back:
        nothing = "nothing can be undone" if seen.stays else "nothing has to be undone"
        return f"the rollback ({_list(seen.undoes) or nothing})"
    return f"the rest ({_list(seen.runs)})" if seen.runs else "the rest"


def _list(names: Sequence[str]) -> str:
    """``"credit, then debit"``; a long one is cut."""
    shown = [*names[:8], f"{len(names) - 8} more"] if len(names) > 9 else list(names)
    return ", then ".join(shown)
