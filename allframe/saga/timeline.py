"""The records of a saga, told one after the other: what happened, how long it took, and what began."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from allframe.clock import from_microseconds
from allframe.errors import ErrorInfo
from allframe.saga.records import (
    CancelRequested,
    DeadlinePassed,
    Intent,
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

__all__ = ["Entry", "Teller", "tell"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, for people. ``as_json`` of it has these names."""

    at: datetime
    #: What happened, in a word or two: ``"succeeded"``.
    event: str
    #: The step that it happened to, if any.
    step: str | None = None
    attempt: int | None = None
    #: How long the attempt took; None where no attempt ended.
    seconds: float | None = None
    detail: str = ""
    error: ErrorInfo | None = None
    #: The steps that began with it, and the step whose compensation did.
    starts: tuple[str, ...] = ()
    compensates: str | None = None
    #: When the next attempt is due, if it has to wait.
    next_at: datetime | None = None


def tell(records: Iterable[tuple[datetime, Record]]) -> list[Entry]:
    """The entries of a saga's records, oldest first. ``records``: each with the time at which it was recorded."""
    teller = Teller()
    return [teller.tell(at, record) for at, record in records]


class Teller:
    """The entries of one saga's records as they come, oldest first. It remembers when the open attempts began."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, bool], datetime] = {}
        self._skipped: list[str] = []

    def tell(self, at: datetime, record: Record) -> Entry:
        """The entry of the next record, which was recorded at ``at``."""
        entry = _entry(at, record, self._begun)
        if isinstance(record, StepSkipped):
            self._skipped.append(record.step)
        if self._skipped and isinstance(record, SagaCompensated):
            # What a person saw to, or says they did, was not undone by us.
            detail = f"nothing else is left of it; skipped: {', '.join(self._skipped)}"
            entry = dataclasses.replace(entry, detail=detail)
        for step in entry.starts:
            self._begun[step, False] = entry.next_at or at
        if entry.compensates is not None:
            self._begun[entry.compensates, True] = entry.next_at or at
        return entry


def _entry(at: datetime, record: Record, begun: dict[tuple[str, bool], datetime]) -> Entry:
    step: str | None = getattr(record, "step", None)
    attempt: int | None = getattr(record, "attempt", None)
    began = _began(record, step, begun)
    due: int | None = getattr(record, "next_at", None)
    event, detail = _words(record)
    return Entry(
        at=at,
        event=event,
        step=step,
        attempt=attempt,
        # Clocks may be set back: what took no time took no less.
        seconds=None if began is None else max(0.0, (at - began).total_seconds()),
        detail=detail,
        error=getattr(record, "error", None),
        starts=record.starts if isinstance(record, Intent) else (),
        compensates=record.compensates if isinstance(record, Intent) else None,
        next_at=None if due is None else from_microseconds(due),
    )


def _began(record: Record, step: str | None, begun: dict[tuple[str, bool], datetime]) -> datetime | None:
    """When the attempt began that ``record`` tells of."""
    match record:
        case StepStillRunning():
            return begun.get((record.step, record.compensation))
        case StepCompensated() | StepNotCompensated():
            return begun.pop((record.step, True), None)
    return None if step is None else begun.pop((step, False), None)


def _words(record: Record) -> tuple[str, str]:
    """What happened, and what is to be said of it."""
    match record:
        case SagaStarted():
            return (
                "started",
                f"{record.saga}, built of steps" if record.built else f"{record.saga} version {record.version}",
            )
        case SagaAdmitted():
            return "admitted", "its turn came"
        case SagaRecovered():
            return "recovered", "after a crash" if record.recoveries else "by another process"
        case StepSucceeded():
            return "succeeded", "after its deadline" if record.late else ""
        case StepOutputLost():
            return "output lost", _error(record.error)
        case StepFailed():
            return "refused" if record.refused else "failed", _error(record.error)
        case StepUnknown():
            return "unknown", _unknown(record)
        case StepNotBegun():
            return "not begun", "no effect"
        case StepStillRunning():
            what = "its compensation" if record.compensation else "it"
            return "still running", f"{what} was to end, and does not; everything waits for it"
        case CancelRequested() | RetryRequested():
            return (
                "cancel" if isinstance(record, CancelRequested) else "retry"
            ), f"{record.reason} (by {record.actor})"
        case DeadlinePassed():
            return "timed out", f"the saga's timeout of {record.timeout:g} s passed"
        case RollbackBegun():
            return "rollback", ""
        case StepCompensated():
            return "undone", ""
        case StepNotCompensated():
            return "not undone", _error(record.error)
        case SagaCompleted():
            return "completed", ""
        case SagaCompensated():
            return "compensated", "nothing is left of it"
        case SagaFailed():
            return "failed", f"still in effect: {', '.join(record.uncompensated)}"
        case SagaBlocked():
            return "blocked", record.reason
        case StepSkipped():
            return "skipped", f"not allframe's doing: {record.reason} (by {record.actor})"
        case StepResolved():
            found = "done" if record.outcome == "done" else "not done"
            return f"resolved: {found}", f"{record.reason} (by {record.actor})"
        case SagaAbandoned():
            return "abandoned", f"{record.reason} (by {record.actor}){_left(record)}"


def _left(record: SagaAbandoned) -> str:
    left = [f"in effect: {', '.join(record.in_effect)}"] if record.in_effect else []
    left += [f"perhaps in effect: {', '.join(record.uncertain)}"] if record.uncertain else []
    return "".join(f"; {text}" for text in left)


def _unknown(record: StepUnknown) -> str:
    if record.timeout is not None:
        return f"no answer within {record.timeout:g} s"
    return _error(record.error) if record.error else str(record.reason)


def _error(error: ErrorInfo) -> str:
    return str(error)
