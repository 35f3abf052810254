"""The log has one line a record, with what a person wants to know of it, and the same for programs."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from allframe import Retry, SagaRecord
from allframe.saga.encoding import encode
from allframe.saga.logs import log_records
from allframe.saga.records import Record, SagaBlocked
from tests.saga import world
from tests.saga.test_monitor import sleeps
from tests.saga.world import Home, trip

pytestmark = pytest.mark.anyio
home = world.home


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "allframe.saga"]


def recorded(record: Record) -> SagaRecord:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return SagaRecord("0" * 32, 7, "$saga/t\nu", 3, record.type, 1, encode(record), at, saga="Trip")


async def test_a_line_for_each_record_of_a_saga_that_is_rolled_back(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "allframe.saga")
    home.world.tell("first", sleeps(0.012))
    home.world.tell("second", home.world.raises(ConnectionResetError("gone")), home.world.raises(ValueError("no\nway")))
    home.world.tell("undo second", sleeps(90))
    Trip = trip(timeout=None, undo_timeout=None, retry=Retry(attempts=2, wait=3, jitter=0))
    async with home.orchestrator(on_record=[log_records()]) as orchestrator:
        await (await orchestrator.start(Trip(), id="t")).outcome()

    assert lines(caplog) == [
        ("INFO", "saga=t (Trip) started: Trip version 1"),
        ("INFO", "saga=t (Trip) step=first attempt=1 succeeded 12 ms"),
        ("WARNING", "saga=t (Trip) step=second attempt=1 unknown 0 ms: ConnectionResetError: gone"),
        ("WARNING", "saga=t (Trip) step=second attempt=2 failed 0 ms: ValueError: no\\nway"),
        ("INFO", "saga=t (Trip) rollback"),
        ("INFO", "saga=t (Trip) step=second attempt=1 undone 1 min 30 s"),
        ("INFO", "saga=t (Trip) step=first attempt=1 undone 0 ms"),
        ("INFO", "saga=t (Trip) compensated: nothing is left of it"),
    ]


async def test_a_saga_that_is_stuck_is_an_error(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.always("undo second", home.world.raises(ValueError("never")))
    async with home.orchestrator(on_record=[log_records()]) as orchestrator:
        await (await orchestrator.start(trip(undo_retry=Retry(attempts=1))(), id="t")).outcome()

    assert ("ERROR", "saga=t (Trip) failed: still in effect: first, second") in lines(caplog)
    assert ("WARNING", "saga=t (Trip) step=second attempt=1 not undone 0 ms: ValueError: never") in lines(caplog)
    assert not any(level == "INFO" for level, _ in lines(caplog)), "the default level of Python's loggers"


def test_the_same_for_programs(caplog: pytest.LogCaptureFixture) -> None:
    log_records(logging.getLogger("mine"))(recorded(SagaBlocked(kind="step", reason="stuck", epoch=1, step="pay")))

    (line,) = caplog.records
    facts = {name: value for name, value in vars(line).items() if name.startswith("saga_")}
    assert (line.name, line.levelname) == ("mine", "ERROR")
    assert facts == {
        "saga_id": "t\nu",
        "saga_name": "Trip",
        "saga_step": "pay",
        "saga_attempt": None,
        "saga_event": "blocked",
        "saga_ms": None,
        "saga_position": 7,
    }
    assert line.getMessage() == "saga=t\\nu (Trip) step=pay blocked: stuck"


async def test_nothing_is_remembered_of_sagas_that_are_over(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    observe = log_records()
    async with home.orchestrator(on_record=[observe]) as orchestrator:
        await orchestrator.execute(trip()(), id="t")

    assert [cell.cell_contents for cell in observe.__closure__ or () if isinstance(cell.cell_contents, dict)] == [{}]
