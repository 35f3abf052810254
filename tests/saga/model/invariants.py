"""What holds of the records of every saga, and of the world, whatever happened: `allframe`'s promises, one by one.

They are told from the records alone, without the engine's fold and without the `Reference`.
"""

from __future__ import annotations

from collections.abc import Iterator

from allframe.saga.records import (
    RollbackBegun,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaRecovered,
    StepCompensated,
    StepFailed,
    StepOutputLost,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
)
from tests.saga.model.plain import Plot
from tests.saga.model.theatre import Played

__all__ = ["broken"]


def broken(plot: Plot, played: Played) -> list[str]:
    """The promises that were not kept."""
    return [*played.problems, *_of_records(plot, played), *_of_world(plot, played)]


def _of_records(plot: Plot, played: Played) -> Iterator[str]:
    records = played.records
    started, succeeded, undone, uncertain, live = set[str](), set[str](), set[str](), set[str](), set[str]()
    rolling = False
    for i, record in enumerate(records):
        name = getattr(record, "step", None) or ""
        match record:
            case StepSucceeded() | StepOutputLost():
                succeeded.add(name)
            case StepUnknown():
                uncertain.add(name)
            case StepFailed() if plot.steps[name].idempotent:
                uncertain.discard(name)
            case SagaRecovered():
                uncertain |= live
                live = set()
            case RollbackBegun():
                rolling = True
            case StepCompensated():
                if name in undone:
                    yield f"I10: {name} is undone twice"
                undone.add(name)
        if not isinstance(record, StepStillRunning):
            live.discard(name)
        standing = {k for k in (succeeded | uncertain) - undone if plot.steps[k].undo}
        for k in getattr(record, "starts", ()):
            if k in succeeded:
                yield f"I3: {k} begins again after it succeeded"
            if not plot.before[k] <= succeeded:
                yield f"I4: {k} begins before {plot.before[k] - succeeded} succeeded"
            if rolling:
                yield f"I5: {k} begins in the rollback"
            started.add(k)
            live.add(k)
        if k := getattr(record, "compensates", None):
            if live:
                yield f"I6: {k} is undone while {live} run"
            if later := {m for m in standing if k in plot.before[m]}:
                yield f"I7: {k} is undone before {later}"
            if k not in started or k not in standing:
                yield f"I8: {k} is undone, and there is nothing to undo"
            if k in undone:
                yield f"I10: {k} is undone again"
        if isinstance(record, SagaCompensated) and standing:
            yield f"I9: it is compensated, and {standing} are left"
        if isinstance(record, SagaFailed) and not standing:
            yield "I9: it failed, and nothing is left"
        if isinstance(record, SagaCompleted) and (succeeded != plot.steps.keys() or rolling):
            yield f"I12: it is completed, and {plot.steps.keys() - succeeded} did not succeed"
        if isinstance(record, SagaCompleted | SagaCompensated) and i + 1 < len(records):
            yield f"I11: {records[i + 1]} follows the end"
    if succeeded == plot.steps.keys() and not rolling and played.status not in ("completed", "blocked"):
        yield f"I12: every step succeeded, and it is {played.status}"


def _of_world(plot: Plot, played: Played) -> Iterator[str]:
    """What is true of the world when a saga says that it is over."""
    if played.status == "compensated" and (left := {k for k in played.standing if plot.steps[k].undo}):
        yield f"I9: it is compensated, and the effects of {left} stand"
    if played.status == "completed" and played.standing != plot.steps.keys():
        yield f"I12: it is completed, and the effects of {plot.steps.keys() - played.standing} are missing"
