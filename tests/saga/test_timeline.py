"""A saga's records, told: every kind has its words, and attempts have their times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from allframe import ErrorInfo
from allframe.clock import to_microseconds
from allframe.saga.context import UnknownReason
from allframe.saga.records import (
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
from allframe.saga.timeline import tell

START = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = ErrorInfo("shop.Oops", "it broke")

#: A record of every kind, and what is said of it.
TOLD: list[tuple[Record, str, str]] = [
    (SagaStarted(saga="order", version=2, definition="", input=b"{}", epoch=1), "started", "order version 2"),
    (
        SagaStarted(saga="order", version=1, definition="", input=b"{}", epoch=1, built=True),
        "started",
        "order, built of steps",
    ),
    (SagaAdmitted(), "admitted", "its turn came"),
    (SagaRecovered(epoch=2, recoveries=1), "recovered", "after a crash"),
    (SagaRecovered(epoch=2, recoveries=0), "recovered", "by another process"),
    (StepSucceeded(step="a", attempt=1, output=b"1"), "succeeded", ""),
    (StepSucceeded(step="a", attempt=1, output=b"1", late=True), "succeeded", "after its deadline"),
    (StepOutputLost(step="a", attempt=1, error=ERROR), "output lost", "shop.Oops: it broke"),
    (StepFailed(step="a", attempt=1, error=ERROR), "failed", "shop.Oops: it broke"),
    (StepFailed(step="a", attempt=1, error=ERROR, refused=True), "refused", "shop.Oops: it broke"),
    (
        StepUnknown(step="a", attempt=1, reason=UnknownReason.DEADLINE, timeout=0.5),
        "unknown",
        "no answer within 0.5 s",
    ),
    (StepUnknown(step="a", attempt=1, reason=UnknownReason.SILENCE, error=ERROR), "unknown", "shop.Oops: it broke"),
    (StepUnknown(step="a", attempt=1, reason=UnknownReason.CRASH), "unknown", "crash"),
    (StepNotBegun(step="a", attempt=1), "not begun", "no effect"),
    (
        StepStillRunning(step="a", attempt=1),
        "still running",
        "it was to end, and does not; everything waits for it",
    ),
    (
        StepStillRunning(step="a", attempt=1, compensation=True),
        "still running",
        "its compensation was to end, and does not; everything waits for it",
    ),
    (DeadlinePassed(timeout=60), "timed out", "the saga's timeout of 60 s passed"),
    (CancelRequested(reason="fraud", actor="me"), "cancel", "fraud (by me)"),
    (RetryRequested(reason="mended", actor="me"), "retry", "mended (by me)"),
    (RollbackBegun(), "rollback", ""),
    (StepCompensated(step="a", attempt=1), "undone", ""),
    (StepNotCompensated(step="a", attempt=1, error=ERROR), "not undone", "shop.Oops: it broke"),
    (SagaCompleted(), "completed", ""),
    (SagaCompensated(), "compensated", "nothing is left of it"),
    (SagaFailed(uncompensated=("a", "b")), "failed", "still in effect: a, b"),
    (SagaBlocked(kind="code", reason="no such class", epoch=1), "blocked", "no such class"),
    (StepSkipped(step="a", reason="by hand", actor="me"), "skipped", "not allframe's doing: by hand (by me)"),
    (StepResolved(step="a", outcome="done", reason="seen", actor="me"), "resolved: done", "seen (by me)"),
    (StepResolved(step="a", outcome="not_done", reason="gone", actor="me"), "resolved: not done", "gone (by me)"),
    (SagaAbandoned(reason="hopeless", actor="me"), "abandoned", "hopeless (by me)"),
    (
        SagaAbandoned(reason="hopeless", actor="me", in_effect=("a",), uncertain=("b", "c")),
        "abandoned",
        "hopeless (by me); in effect: a; perhaps in effect: b, c",
    ),
]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_every_kind_of_record_has_its_words() -> None:
    for record, event, detail in TOLD:
        (entry,) = tell([(START, record)])
        assert (entry.event, entry.detail) == (event, detail)
    assert {type(record) for record, _, _ in TOLD} == set(get_args(Record))


def test_what_was_skipped_is_not_said_to_be_undone() -> None:
    skipped = StepSkipped(step="a", reason="by hand", actor="me")

    entries = tell([(START, skipped), (START, SagaCompensated())])

    assert entries[-1].detail == "nothing else is left of it; skipped: a"


def test_an_attempt_takes_from_its_announcement_or_when_it_was_due() -> None:
    started = SagaStarted(saga="o", version=1, definition="", input=b"{}", epoch=1, starts=("a",))
    failed = StepFailed(step="a", attempt=1, error=ERROR, next_at=to_microseconds(at(10)), starts=("a",))
    lost = StepUnknown(step="a", attempt=2, reason=UnknownReason.DEADLINE, timeout=1, compensates="a")
    undone = StepCompensated(step="a", attempt=1)

    entries = tell([(at(0), started), (at(2), failed), (at(11), lost), (at(11.5), undone)])

    assert [entry.seconds for entry in entries] == [None, 2, 1, 0.5]
    assert [entry.starts for entry in entries] == [("a",), ("a",), (), ()]
    assert entries[1].next_at == at(10)
    assert entries[2].compensates == "a"


def test_a_clock_that_was_set_back_took_no_time() -> None:
    started = SagaStarted(saga="o", version=1, definition="", input=b"{}", epoch=1, starts=("a",))

    entries = tell([(at(5), started), (at(0), StepSucceeded(step="a", attempt=1, output=b"1"))])

    assert entries[1].seconds == 0
