"""Observers are told of each record once, in order, when it is safe; what they do is no trouble of the saga's."""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe import EventStore, SagaOrchestrator, SagaRecord
from allframe.saga.monitor import Monitor
from tests.saga import world
from tests.saga.crash import crash_image
from tests.saga.test_store_trouble import Trouble
from tests.saga.world import Home, World, trip

pytestmark = pytest.mark.anyio
home = world.home


async def test_every_record_is_told_once_as_it_stands_in_the_store(home: Home) -> None:
    seen: list[SagaRecord] = []
    home.world.tell("second", home.world.raises(ValueError("no")))
    async with home.orchestrator(on_record=[seen.append]) as orchestrator:
        records = orchestrator.watch(after=0)
        Trip = trip()
        handles = [await orchestrator.start(Trip(traveller=str(number))) for number in range(20)]
        for handle in handles:
            await handle.outcome()

    watched = [record async for record in records]
    assert sorted(seen, key=lambda record: record.position) == watched
    assert len(watched) >= 100
    for stream in {record.stream for record in seen}:
        revisions = [record.revision for record in seen if record.stream == stream]
        assert revisions == list(range(1, len(revisions) + 1))


async def test_a_record_is_safe_when_it_is_told_and_told_when_the_call_returns(store_url: str, tmp_path: Path) -> None:
    seen: list[SagaRecord] = []
    images: list[tuple[SagaRecord, EventStore]] = []

    def observe(record: SagaRecord) -> None:
        seen.append(record)
        images.append((record, crash_image(store, tmp_path)))

    async with (
        EventStore(store_url) as store,
        SagaOrchestrator(store, provide={World: World()}, on_record=[observe]) as orchestrator,
    ):
        await orchestrator.execute(trip()(), id="t")
        assert [record.kind for record in seen][-1] == "completed"

    for record, image in images:
        async with image as found:
            assert len(await Monitor(found).timeline("t")) >= record.revision


async def test_records_of_before_are_not_told_again(home: Home) -> None:
    seen: list[SagaRecord] = []
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(trip(timeout=None)(), id="t")
        await home.world.until("do second")
    trip(timeout=None)
    async with home.orchestrator(on_record=[seen.append]) as orchestrator:
        assert (await (await orchestrator.start(trip(timeout=None)(), id="t")).outcome()).status == "completed"

    assert [record.kind for record in seen] == ["recovered", "step_succeeded", "step_succeeded", "completed"]
    assert [record.revision for record in seen] == [3, 4, 5, 6]
    assert {record.saga for record in seen} == {"Trip"}


async def test_a_saga_that_cannot_be_loaded_is_told_too(home: Home) -> None:
    seen: list[SagaRecord] = []
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(trip(timeout=None)(), id="t")
        await home.world.until("do second")
    async with home.orchestrator(sagas=[], on_record=[seen.append]) as orchestrator:
        await anyio.sleep(1)

    assert [(record.kind, record.saga) for record in seen] == [("blocked", "Trip")]


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
async def test_a_commit_whose_reply_was_lost_is_told_once_with_its_place(
    home: Home, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    seen: list[SagaRecord] = []
    Trouble(home.store, monkeypatch).fails = lambda number: "lost reply" if number == nth else None
    async with home.orchestrator(on_record=[seen.append]) as orchestrator:
        await orchestrator.execute(trip()(), id="t")
        watched = [record async for record in _until_completed(orchestrator)]

    assert seen == watched


async def _until_completed(orchestrator: SagaOrchestrator) -> Any:
    records = orchestrator.watch(after=0)
    for _ in range(5):
        yield await anext(records)


async def test_one_that_raises_is_logged_once_a_type_and_harms_nobody(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[SagaRecord] = []

    def broken(record: SagaRecord) -> None:
        raise (KeyError if record.revision % 2 else ValueError)(record.revision)

    async with home.orchestrator(on_record=[broken, seen.append]) as orchestrator:
        outcome = await orchestrator.execute(trip()(), id="t")
        await orchestrator.execute(trip()(traveller="Bob"), id="u")

    assert outcome.status == "completed"
    assert len(seen) == 10
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "failed with record 1 of saga t" in errors[0]
    assert "KeyError(1)" in errors[0]
    assert caplog.records[0].exc_info is not None


async def test_one_that_would_end_the_program_harms_no_saga(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    def quits(record: SagaRecord) -> None:
        sys.exit(3)

    async with home.orchestrator(on_record=[quits]) as orchestrator:
        assert (await orchestrator.execute(trip()(), id="t")).status == "completed"

    (message,) = [record.getMessage() for record in caplog.records]
    assert message.endswith("SystemExit(3)")


async def test_one_that_returns_a_coroutine_is_told_that_nobody_awaits_it(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    async def later() -> None: ...

    async with home.orchestrator(on_record=[lambda record: later()]) as orchestrator:
        await orchestrator.execute(trip()(), id="t")

    (message,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "returned a coroutine, which nobody awaits" in message


class AsyncCall:
    async def __call__(self, record: SagaRecord) -> None: ...


async def observe_later(record: SagaRecord) -> None: ...


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([observe_later], "is async def, and an observer is a plain function"),
        ([AsyncCall()], "is async def"),
        ([functools.partial(observe_later)], "is async def"),
        ([None], "Expected functions in on_record, found None"),
        (print, "Expected on_record="),
        (7, "Expected on_record="),
    ],
)
async def test_what_is_no_plain_function_is_refused_when_the_orchestrator_is_made(given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        SagaOrchestrator(on_record=given)
