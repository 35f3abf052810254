"""`Order`: what somebody asks of a saga, and whether it may be. Pure: no clock, no I/O.

=========  ====================================================  ====================================
verb       asks for                                              record
=========  ====================================================  ====================================
cancel     undo it                                               `CancelRequested`
retry      try again what is stuck                               `RetryRequested`
abandon    give it up as it stands                               `SagaAbandoned`
skip       count a step as undone, or as done                    `StepSkipped`
resolve    a step did, or did not, take effect                   `StepResolved`
=========  ====================================================  ====================================

`check` looks at where the saga stands. The record is made in `allframe.saga.ordered`, and what follows from it is decided
where everything is, in `Execution.next_moves`. An order that names the revision that somebody saw is refused at any other:
so a decision is applied once, and to what it was made for.
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from allframe.errors import CancelRefused, OperationRefused
from allframe.saga.execution import Execution
from allframe.saga.records import (
    BlockedKind,
    Outcome,
)
from allframe.saga.states import RUNNING, TERMINAL, Phase, SagaStatus, Undo

__all__ = [
    "MISSING",
    "PARTICIPLES",
    "Missing",
    "Moved",
    "Order",
    "Verb",
    "check",
    "needs_output",
    "who",
]

Verb: TypeAlias = Literal["cancel", "retry", "abandon", "skip", "resolve"]
#: ``"none can be cancelled"``
PARTICIPLES: Final[dict[Verb, str]] = {
    "cancel": "cancelled",
    "retry": "retried",
    "abandon": "abandoned",
    "skip": "skipped",
    "resolve": "resolved",
}
#: The most characters of a reason or an actor.
LONGEST = 8192


class Missing(Enum):
    """For an output that was not given: None is one."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


class Moved(Exception):
    """The saga is not at the revision that the order expects."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"expected revision {expected}, found {actual}")
        self.expected, self.actual = expected, actual


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asks of a saga.

    Raises:
        ValueError: for a reason or an actor that is empty, or an outcome that is none.
    """

    verb: Verb
    reason: str
    actor: str
    expected_revision: int | None = None
    #: For ``skip`` and ``resolve``: the stored name of the step.
    step: str | None = None
    outcome: Outcome | None = None
    #: What the step returned.
    output: Any = MISSING
    #: The same as JSON, from another process.
    output_json: bytes | None = None

    def __post_init__(self) -> None:
        for name in ("reason", "actor"):
            text: object = getattr(self, name)
            if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
                raise ValueError(f"Expected {name} to be text of 1 to {LONGEST:,} characters, found {_short(text)}.")
        revision: object = self.expected_revision
        if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool) or revision < 1):
            raise ValueError(f"Expected expected_revision to be a whole number from 1, found {_short(revision)}.")
        if self.verb == "resolve" and self.outcome not in ("done", "not_done"):
            raise ValueError(f"Expected the outcome 'done' or 'not_done', found {_short(self.outcome)}.")
        if self.has_output and self.outcome != "done":
            raise ValueError("Only a step that is done has an output.")

    @property
    def has_output(self) -> bool:
        """Whether it tells what the step returned."""
        return self.output is not MISSING or self.output_json is not None


def who(actor: str | None = None) -> str:
    """Who asks: ``actor``, or, if nobody says, the account that this process runs under."""
    if actor is not None:
        return actor
    try:
        return f"{getpass.getuser()} (pid {os.getpid()})"
    except (OSError, KeyError):
        return f"uid {os.getuid()} (pid {os.getpid()})"


# --- whether it may be -----------------------------------------------------------------------------------------------


def check(order: Order, saga_id: str, execution: Execution) -> bool:
    """Whether there is anything to write: a saga that is being cancelled need not be told so again.

    Raises:
        Moved: if it is not at the revision that the order expects.
        OperationRefused: if the verb does not fit where it stands; `CancelRefused` past the pivot.
    """
    if order.expected_revision is not None and order.expected_revision != execution.revision:
        raise Moved(order.expected_revision, execution.revision)
    if execution.status in TERMINAL:
        raise OperationRefused(
            f"Saga {saga_id!r} is {execution.status}: it is over, and cannot be {PARTICIPLES[order.verb]}.",
            saga_id=saga_id,
        )
    match order.verb:
        case "cancel":
            return _check_cancel(saga_id, execution)
        case "retry":
            _check_retry(saga_id, execution)
        case "skip":
            _check_skip(_step(order, saga_id, execution), saga_id, execution)
        case "resolve":
            _check_resolve(_step(order, saga_id, execution), order, saga_id, execution)
        case "abandon":
            pass
    return True


def _check_cancel(saga_id: str, execution: Execution) -> bool:
    asked = execution.cancel is not None and execution.status in {*RUNNING, SagaStatus.BLOCKED}
    if asked and not execution.committed:
        return False
    if execution.expired is not None and execution.turning_back and execution.status in RUNNING:
        raise _refused(saga_id, execution, "its timeout has passed, and it is being undone already")
    if (
        execution.status not in (SagaStatus.NOT_STARTED, SagaStatus.EXECUTING, SagaStatus.BLOCKED)
        or execution.rollback.begun
    ):
        raise _refused(saga_id, execution, "only one that has not begun its rollback can be cancelled")
    pivot = execution.plan.pivot
    if execution.committed and pivot is not None:
        how = "succeeded" if execution.pivot_succeeded else "may have succeeded"
        name = execution.plan.nodes[pivot].name
        raise CancelRefused(
            f"Saga {saga_id!r} cannot be cancelled: its pivot {name!r} {how}, and from there it only goes forward.",
            saga_id=saga_id,
            step_name=name,
            step_index=pivot,
        )
    return True


def _check_retry(saga_id: str, execution: Execution) -> None:
    if execution.status not in (SagaStatus.FAILED, SagaStatus.BLOCKED):
        raise _refused(saga_id, execution, "only one that is failed or blocked can be retried")
    blocked = execution.blocked
    if blocked is not None and blocked.kind == BlockedKind.OUTPUT and BlockedKind.STEP not in execution.stuck.values():
        raise OperationRefused(
            f"Saga {saga_id!r} cannot be retried: {blocked.reason} The step succeeded, and never runs again. "
            f"{_possible(execution)}",
            saga_id=saga_id,
        )


def _check_skip(step: int, saga_id: str, execution: Execution) -> None:
    if execution.status is SagaStatus.FAILED:
        if not _is_exhausted(step, execution):
            raise _step_refused(step, saga_id, execution, "skipped", _why_not_exhausted(step, execution))
    elif execution.status is not SagaStatus.BLOCKED:
        raise _refused(saga_id, execution, "only a step of one that is failed or blocked can be skipped")
    elif not _is_skippable(step, execution):
        raise _step_refused(step, saga_id, execution, "skipped", _why_not_skippable(step, execution))


def _check_resolve(step: int, order: Order, saga_id: str, execution: Execution) -> None:
    state = execution.steps[step]
    if execution.status not in (SagaStatus.FAILED, SagaStatus.BLOCKED):
        raise _refused(saga_id, execution, "only a step of one that is failed or blocked can be resolved")
    if not _is_resolvable(step, execution):
        why = _why_not_unknown(step, execution)
        raise _step_refused(step, saga_id, execution, "resolved", why)
    if state.phase is Phase.LOST and order.outcome == "not_done":
        why = "it returned, so it took effect: only its output is lost. What was undone by hand can be skipped"
        raise _step_refused(step, saga_id, execution, "resolved as not done", why)
    if order.outcome == "done" and not order.has_output and needs_output(step, execution):
        name = execution.plan.nodes[step].name
        taker = "its compensation" if execution.status is SagaStatus.FAILED else "a later step"
        why = f"{taker} takes what {name!r} returned. Give output="
        raise _step_refused(step, saga_id, execution, "resolved as done without an output", why)


def needs_output(step: int, execution: Execution) -> bool:
    """Whether somebody takes the output of a step that is to be resolved as done."""
    if execution.status is SagaStatus.FAILED:
        return execution.plan.nodes[step].needs_output
    return step in execution.plan.taken


def _is_exhausted(step: int, execution: Execution) -> bool:
    return execution.steps[step].undo is Undo.EXHAUSTED


def _is_skippable(step: int, execution: Execution) -> bool:
    return step in execution.stuck and step != execution.plan.pivot and step not in execution.plan.taken


def _is_resolvable(step: int, execution: Execution) -> bool:
    state = execution.steps[step]
    open_question = state.phase in (Phase.UNKNOWN, Phase.LOST) or (
        state.phase is Phase.RETRYING and state.unknown is not None
    )
    where = _is_exhausted(step, execution) if execution.status is SagaStatus.FAILED else step in execution.stuck
    return open_question and where


# --- the words for it ------------------------------------------------------------------------------------------------


def _step(order: Order, saga_id: str, execution: Execution) -> int:
    index = execution.plan.index.get(order.step or "")
    if index is None:
        names = ", ".join(execution.plan.index)
        raise OperationRefused(
            f"Saga {saga_id!r} has no step {order.step!r}, so it cannot be {PARTICIPLES[order.verb]}. Its steps are: "
            f"{names}.",
            saga_id=saga_id,
        )
    return index


def _why_not_exhausted(step: int, execution: Execution) -> str:
    state, name = execution.steps[step], execution.plan.nodes[step].name
    if state.undo is Undo.DONE:
        return "it has been undone"
    if state.undo is Undo.SKIPPED:
        return "it was skipped already"
    if name in execution.uncompensated:
        stuck = ", ".join(repr(execution.plan.nodes[other].name) for other in execution.rollback.exhausted)
        return f"its compensation was not tried yet: it comes after that of {stuck}"
    return "there is nothing of it to undo"


def _why_not_skippable(step: int, execution: Execution) -> str:
    if step not in execution.stuck:
        return "it is not what the saga is stuck on"
    if step == execution.plan.pivot:
        return "it is the pivot: whether the saga goes forward or back depends on it. Find out, and resolve it"
    return "a later step takes what it returns"


def _why_not_unknown(step: int, execution: Execution) -> str:
    failed = execution.status is SagaStatus.FAILED
    stuck = _is_exhausted(step, execution) if failed else step in execution.stuck
    if not stuck:
        return _why_not_exhausted(step, execution) if failed else "it is not what the saga is stuck on"
    if execution.steps[step].phase is Phase.SUCCEEDED:
        return "it is known that it took effect. Retry its compensation, or skip it if it was undone by hand"
    return "it is known that it left no effect"


def _refused(saga_id: str, execution: Execution, only: str) -> OperationRefused:
    return OperationRefused(
        f"Saga {saga_id!r} is {execution.status}, and {only}. {_possible(execution)}", saga_id=saga_id
    )


def _step_refused(step: int, saga_id: str, execution: Execution, done: str, why: str) -> OperationRefused:
    name = execution.plan.nodes[step].name
    return OperationRefused(
        f"Step {name!r} of saga {saga_id!r}, which is {execution.status}, cannot be {done}: {why}. "
        f"{_possible(execution)}",
        saga_id=saga_id,
        step_name=name,
        step_index=step,
    )


def _possible(execution: Execution) -> str:
    """What could be asked instead: ``"Possible now: retry, skip 'debit', abandon."``"""
    steps = range(len(execution.steps))
    name = [node.name for node in execution.plan.nodes]
    found: list[str] = []
    forward = execution.status in (SagaStatus.NOT_STARTED, SagaStatus.EXECUTING, SagaStatus.BLOCKED)
    decided = execution.cancel or (execution.expired if execution.turning_back else None)
    if forward and not execution.rollback.begun and not execution.committed and decided is None:
        found.append("cancel")
    if execution.status in (SagaStatus.FAILED, SagaStatus.BLOCKED):
        if execution.blocked is None or execution.blocked.kind != BlockedKind.OUTPUT:
            found.append("retry")
        skippable = _is_exhausted if execution.status is SagaStatus.FAILED else _is_skippable
        found += [f"skip {name[step]!r}" for step in steps if skippable(step, execution)]
        found += [f"resolve {name[step]!r}" for step in steps if _is_resolvable(step, execution)]
    return f"Possible now: {', '.join([*found, 'abandon'])}."


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
