"""What a saga did, in order, as its records tell it: the values of which `SagaRun.trace` consists.

What a person said of a step, by `skip` or `resolve`, stands among the attempts: it decides as they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from allframe.errors import ErrorInfo
from allframe.saga.context import UnknownReason
from allframe.saga.execution import Execution
from allframe.saga.graph import SagaGraph
from allframe.saga.records import (
    Record,
    SagaAbandoned,
    SagaRecovered,
    StepCompensated,
    StepFailed,
    StepNotCompensated,
    StepOutputLost,
    StepResolved,
    StepSkipped,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import SagaStatus

__all__ = ["Ending", "TraceEntry", "trace_of"]


class Ending(StrEnum):
    """How an attempt ended, or what a person said of its step."""

    DONE = "done"
    #: It returned after its deadline.
    LATE = "late"
    #: It took effect, and what it returned could not be stored.
    OUTPUT_LOST = "output lost"
    #: It raised an ordinary error.
    FAILED = "failed"
    #: It raised ``Refused``.
    REFUSED = "refused"
    #: Its deadline passed.
    TIMED_OUT = "timed out"
    #: It raised something that says nothing about the effect.
    UNKNOWN = "unknown"
    #: It was cut, for the saga was cancelled.
    CANCELLED = "cancelled"
    #: The process died in it, or left it.
    CRASHED = "crashed"
    #: A compensation that could not be called, for the output that it needs does not exist.
    IMPOSSIBLE = "impossible"
    #: It was cut, for the saga was abandoned.
    ABANDONED = "abandoned"
    #: A person counted the step as done, or as undone.
    SKIPPED = "skipped"
    #: A person found out that the step took effect, or what it returned.
    FOUND_DONE = "found done"
    #: A person found out that the step left no effect.
    FOUND_NOT_DONE = "found not done"


class TraceEntry(str):
    """One attempt of a step or compensation: ``"debit"``, ``"credit: timed out"``, ``"undo credit"``.

    Or what a person said of one: ``"credit: found not done"``, ``"undo debit: skipped"``.

    It is that text, and compares equal to it; the attributes say the same and more.
    """

    __slots__ = ("attempt", "ending", "error", "step", "undo")

    #: The name of the step's method.
    step: str
    #: Whether it was the compensation.
    undo: bool
    #: From 1, counting on over crashes; 0 for a compensation that could not be called, and for what a person said.
    attempt: int
    ending: Ending
    #: What it raised, if it did.
    error: ErrorInfo | None

    def __new__(
        cls, step: str, ending: Ending, *, undo: bool = False, attempt: int = 1, error: ErrorInfo | None = None
    ) -> TraceEntry:
        name = f"undo {step}" if undo else step
        self = super().__new__(cls, name if ending is Ending.DONE else f"{name}: {ending}")
        self.step, self.undo, self.attempt, self.ending, self.error = step, undo, attempt, ending, error
        return self


_REASONS = {
    UnknownReason.DEADLINE: Ending.TIMED_OUT,
    UnknownReason.CANCELLED: Ending.CANCELLED,
    UnknownReason.SILENCE: Ending.UNKNOWN,
    UnknownReason.CRASH: Ending.CRASHED,
    UnknownReason.OUTPUT_LOST: Ending.OUTPUT_LOST,
}


def trace_of(graph: SagaGraph, records: Iterable[tuple[Record, int]]) -> list[TraceEntry]:
    """Every attempt that ended, oldest first. ``records``: oldest first, with their times."""
    execution, found = Execution(graph.plan), []
    for record, at in records:
        if isinstance(record, SagaRecovered):
            found += _open(graph, execution, Ending.CRASHED)
        elif isinstance(record, SagaAbandoned):
            found += _open(graph, execution, Ending.ABANDONED)
        elif isinstance(record, StepSkipped | StepResolved):
            found.append(_said(graph, execution, record))
        else:
            entry = _entry(graph, record)
            found += [] if entry is None else [entry]
        execution.apply(record, at)
    return found


def _open(graph: SagaGraph, execution: Execution, ending: Ending) -> list[TraceEntry]:
    """The attempts that were open, when somebody else took the saga over or it was given up."""
    steps, states = graph.steps, execution.steps
    found = [TraceEntry(steps[i].attribute, ending, attempt=states[i].attempts) for i in execution.running]
    if (undoing := execution.undoing) is not None:
        attempt = states[undoing].undo_attempts
        found.append(TraceEntry(steps[undoing].attribute, ending, undo=True, attempt=attempt))
    return found


def _said(graph: SagaGraph, execution: Execution, record: StepSkipped | StepResolved) -> TraceEntry:
    """What a person said of a step; to skip one that is to be undone is to skip its compensation."""
    step = graph.steps[graph.plan.index[record.step]].attribute
    if isinstance(record, StepSkipped):
        return TraceEntry(step, Ending.SKIPPED, undo=execution.status is SagaStatus.FAILED, attempt=0)
    return TraceEntry(step, Ending.FOUND_DONE if record.outcome == "done" else Ending.FOUND_NOT_DONE, attempt=0)


def _entry(graph: SagaGraph, record: Record) -> TraceEntry | None:
    match record:
        case StepSucceeded():
            ending = Ending.LATE if record.late else Ending.DONE
        case StepOutputLost():
            ending = Ending.OUTPUT_LOST
        case StepFailed():
            ending = Ending.REFUSED if record.refused else Ending.FAILED
        case StepUnknown():
            ending = _REASONS[record.reason]
        case StepCompensated():
            ending = Ending.DONE
        case StepNotCompensated():
            ending = _not_undone(record)
        case _:
            return None
    undo = isinstance(record, StepCompensated | StepNotCompensated)
    step = graph.steps[graph.plan.index[record.step]].attribute
    return TraceEntry(step, ending, undo=undo, attempt=record.attempt, error=getattr(record, "error", None))


def _not_undone(record: StepNotCompensated) -> Ending:
    if not record.attempt:
        return Ending.IMPOSSIBLE
    return Ending.FAILED if record.timeout is None else Ending.TIMED_OUT
