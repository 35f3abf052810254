"""`log_records`: an observer that logs a line a record: ``saga=order-1 (order) step=reserve attempt=1 succeeded 12 ms``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from allframe.saga.observe import Observer
from allframe.saga.recorded import SagaRecord
from allframe.saga.records import (
    DeadlinePassed,
    SagaAbandoned,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    StepFailed,
    StepNotCompensated,
    StepOutputLost,
    StepStillRunning,
    StepUnknown,
)
from allframe.saga.timeline import Entry, Teller
from allframe.saga.wording import elapsed, printable

__all__ = ["line_of", "log_records"]

#: After these no attempt of the saga is open.
_RESTS: Final = (SagaCompleted, SagaCompensated, SagaFailed, SagaBlocked, SagaAbandoned)
_STUCK: Final = (SagaFailed, SagaBlocked)
_TROUBLE: Final = (StepFailed, StepUnknown, StepOutputLost, StepNotCompensated, StepStillRunning, DeadlinePassed)


def log_records(logger: logging.Logger | str = "allframe.saga", *, level: int = logging.INFO) -> Observer:
    """An observer for ``on_record=`` that logs a line for each record.

    A saga that ends ``FAILED`` or ``BLOCKED`` is logged as an error, an attempt that failed or whose end is unknown as a
    warning, everything else at ``level``. Each line has the same as attributes for structured logs: ``saga_id``,
    ``saga_name``, ``saga_step``, ``saga_attempt``, ``saga_event``, ``saga_ms`` and ``saga_position``.
    """
    log = logging.getLogger(logger) if isinstance(logger, str) else logger
    tellers: dict[str, Teller] = {}

    def observe(record: SagaRecord) -> None:
        teller = tellers.setdefault(record.saga_id, Teller())
        entry = teller.tell(record.recorded_at, record.record)
        if isinstance(record.record, _RESTS):
            del tellers[record.saga_id]
        at = _level(record, level)
        if log.isEnabledFor(at):
            log.log(at, "%s", line_of(record, entry), extra=_extra(record, entry))

    return observe


def line_of(record: SagaRecord, entry: Entry) -> str:
    """One record on one line, whatever is in it."""
    parts = [f"saga={record.saga_id} ({record.saga})"]
    parts += [f"step={entry.step}"] if entry.step is not None else []
    parts += [f"attempt={entry.attempt}"] if entry.attempt is not None else []
    parts.append(entry.event)
    parts += [elapsed(entry.seconds)] if entry.seconds is not None else []
    line = " ".join(parts)
    # A line that ends would let what is stored pass for a line of its own.
    return printable(f"{line}: {entry.detail}" if entry.detail else line)


def _level(record: SagaRecord, level: int) -> int:
    if isinstance(record.record, _STUCK):
        return logging.ERROR
    return logging.WARNING if isinstance(record.record, _TROUBLE) else level


def _extra(record: SagaRecord, entry: Entry) -> Mapping[str, Any]:
    return {
        "saga_id": record.saga_id,
        "saga_name": record.saga,
        "saga_step": entry.step,
        "saga_attempt": entry.attempt,
        "saga_event": entry.event,
        "saga_ms": None if entry.seconds is None else round(entry.seconds * 1000),
        "saga_position": record.position,
    }
