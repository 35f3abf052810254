"""Looking at sagas: durable facts, the same from inside a step, from this process and from another one."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from allframe import (
    EventStore,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaMetadata,
    SagaNotFound,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    Unknown,
    compensates,
    step,
)
from allframe.saga.monitor import Monitor
from tests.saga import world
from tests.saga.world import Behaviour, Home, World, trip

pytestmark = pytest.mark.anyio
home = world.home

ROOT = Path(__file__).parents[2]
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class Errand(Saga, name="errand"):
    """It ends as it is told to."""

    ending: str = "completed"

    @step
    async def go(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("go", retry=Retry(attempts=1))
    async def come_back(self, go: Unknown | None, world: Inject[World], ctx: StepContext) -> None:
        if self.ending == "failed":
            raise ConnectionError("no way back")
        await world.undo(ctx)

    @step
    async def buy(self, world: Inject[World], ctx: StepContext) -> None:
        if self.ending in ("compensated", "failed"):
            raise Refused("sold out")
        if self.ending == "blocked":
            raise TimeoutError("no answer")
        await world.do(ctx)


class Chore(Saga, name="chore"):
    @step
    async def sweep(self) -> None: ...


def sleeps(seconds: float) -> Behaviour:
    async def behave(ctx: StepContext) -> str:
        await anyio.sleep(seconds)
        return "slept"

    return behave


# --- one saga --------------------------------------------------------------------------------------------------------


async def test_a_saga_that_nobody_started_is_none(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        assert await orchestrator.get_saga("nobody") is None
    with pytest.raises(SagaNotFound, match="The store holds no saga 'nobody'"):
        await home.timeline("nobody")


async def test_all_there_is_to_say_of_a_completed_saga(home: Home) -> None:
    Trip = trip(timeout=None)
    for name in ("first", "second", "third"):
        home.world.tell(name, sleeps(10))
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="t")
        metadata = await orchestrator.get_saga("t")

    assert metadata is not None
    assert metadata.updated_at == pytest.approx(NEW_YEAR + timedelta(seconds=30), abs=timedelta(milliseconds=1))
    assert metadata == SagaMetadata(
        id="t",
        saga="Trip",
        status=SagaStatus.COMPLETED,
        running=(),
        steps_executed=3,
        total_steps=3,
        started_at=NEW_YEAR,
        updated_at=metadata.updated_at,
        failed_step=None,
        error=None,
        uncompensated=(),
        attention=False,
        reason=None,
        revision=5,
    )


@pytest.mark.parametrize(
    ("ending", "failed_step", "uncompensated", "attention"),
    [("compensated", "buy", (), False), ("failed", "buy", ("go",), True), ("blocked", "buy", (), True)],
)
async def test_what_a_saga_that_did_not_complete_says(
    home: Home, ending: str, failed_step: str, uncompensated: tuple[str, ...], attention: bool
) -> None:
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Errand(ending=ending), id="e")
        await handle.outcome()
        live = await handle.metadata()
    await home.reopen()
    stored = await home.monitor.get_saga("e")

    assert stored == live
    assert live.status == ending
    assert (live.failed_step, live.uncompensated, live.attention) == (failed_step, uncompensated, attention)
    assert live.error is not None
    assert live.error.message == ("no answer" if ending == "blocked" else "sold out")
    assert live.steps_executed == 1
    assert (live.reason is not None) == (ending == "blocked")


async def test_progress_is_right_from_inside_each_step_and_compensation(home: Home) -> None:
    Trip = trip(timeout=None, undo_timeout=None)
    seen: list[tuple[str, SagaStatus, tuple[str, ...], int]] = []

    async with home.orchestrator() as orchestrator:

        async def look(ctx: StepContext) -> str:
            metadata = await orchestrator.get_saga(ctx.saga_id)
            assert metadata is not None
            (same,) = await orchestrator.get_running_sagas()
            assert same == metadata
            assert await orchestrator.running_count() == 1
            seen.append((home.world.journal[-1], metadata.status, metadata.running, metadata.steps_executed))
            return "looked"

        async def look_and_fail(ctx: StepContext) -> None:
            await look(ctx)
            raise Refused("no")

        home.world.tell("first", look)
        home.world.tell("second", look)
        home.world.tell("third", look_and_fail)
        home.world.tell("undo second", look)
        home.world.tell("undo first", look)
        await (await orchestrator.start(Trip())).outcome()

    assert seen == [
        ("do first", SagaStatus.EXECUTING, ("first",), 0),
        ("do second", SagaStatus.EXECUTING, ("second",), 1),
        ("do third", SagaStatus.EXECUTING, ("third",), 2),
        ("undo second", SagaStatus.COMPENSATING, ("second",), 2),
        ("undo first", SagaStatus.COMPENSATING, ("first",), 2),
    ]


SPY = """
import asyncio, json, sys
from allframe import EventStore
from allframe.saga.monitor import Monitor

async def main(url):
    async with EventStore(url) as store:
        monitor = Monitor(store)
        (found,) = await monitor.get_running_sagas()
        timeline = await monitor.timeline(found.id)
        print(json.dumps({
            "id": found.id, "saga": found.saga, "status": found.status, "running": found.running,
            "steps_executed": found.steps_executed, "total_steps": found.total_steps,
            "counts": [await monitor.running_count(), await monitor.history_count()],
            "records": [entry.record.type for entry in timeline],
        }))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_another_process_sees_the_progress_while_a_step_runs(home: Home) -> None:
    """It reads the owner's file, and needs nothing of the saga's class."""
    Trip = trip(timeout=None)
    url = f"{home.url.partition('?')[0]}?mode=ro"
    seen: list[dict[str, Any]] = []

    def spy() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SPY, url], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    async def look(ctx: StepContext) -> str:
        seen.append(await anyio.to_thread.run_sync(spy))
        return home.world.take_effect(ctx)

    home.world.tell("second", look)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="t")

    assert seen == [
        {
            "id": "t",
            "saga": "Trip",
            "status": "executing",
            "running": ["second"],
            "steps_executed": 1,
            "total_steps": 3,
            "counts": [1, 0],
            "records": ["$saga.started", "$saga.step_succeeded"],
        }
    ]


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_a_reader_beside_the_owner_sees_each_step_of_the_way(home: Home) -> None:
    Trip = trip(timeout=None)
    statuses = []

    async with EventStore(f"{home.url.partition('?')[0]}?mode=ro") as beside:

        async def look(ctx: StepContext) -> str:
            metadata = await Monitor(beside).get_saga("t")
            assert metadata is not None
            statuses.append((metadata.status, metadata.running, metadata.steps_executed))
            return "looked"

        for name in ("first", "second", "third"):
            home.world.tell(name, look)
        async with home.orchestrator() as orchestrator:
            await orchestrator.execute(Trip(), id="t")
        metadata = await Monitor(beside).get_saga("t")

    assert statuses == [(SagaStatus.EXECUTING, (name,), n) for n, name in enumerate(("first", "second", "third"))]
    assert metadata is not None
    assert metadata.status is SagaStatus.COMPLETED


async def test_the_timeline_has_every_record_with_its_place_and_time(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", sleeps(60))
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="t")
    timeline = await home.timeline("t")

    assert [entry.revision for entry in timeline] == [1, 2, 3, 4, 5]
    positions = [entry.position for entry in timeline]
    assert positions == sorted(set(positions))
    times = [(entry.at - NEW_YEAR).total_seconds() for entry in timeline]
    assert times == pytest.approx([0, 0, 60, 60, 60], abs=1e-3)


# --- many sagas ------------------------------------------------------------------------------------------------------


async def past(home: Home, orchestrator: SagaOrchestrator) -> None:
    """Eight sagas that ended a minute after one another: e0 completed, e1 compensated, e2 failed, e3 blocked, twice."""
    for n, ending in enumerate(["completed", "compensated", "failed", "blocked"] * 2):
        await (await orchestrator.start(Errand(ending=ending), id=f"e{n}")).outcome()
        home.clock.shift(minutes=1)


async def test_history_is_the_newest_end_first(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await past(home, orchestrator)
        found = await orchestrator.get_history()
        assert await orchestrator.history_count() == 8
        assert await orchestrator.running_count() == 0

    assert [metadata.id for metadata in found] == [f"e{n}" for n in range(7, -1, -1)]
    assert await home.monitor.get_history() == found


async def test_history_is_the_newest_end_first_also_where_no_time_has_passed(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        for saga_id in ("b", "a", "c"):
            await orchestrator.execute(Chore(), id=saga_id)
        found = await orchestrator.get_history()
        rest = await orchestrator.get_history(before="c")

    assert len({metadata.updated_at for metadata in found}) == 1
    assert [metadata.id for metadata in found] == ["c", "a", "b"]
    assert [metadata.id for metadata in rest] == ["a", "b"]


#: What narrows the history, and what is left of it.
FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"status": SagaStatus.COMPLETED}, ["c", "e4", "e0"]),
    ({"status": "failed"}, ["e6", "e2"]),
    ({"status": "blocked"}, ["e7", "e3"]),
    ({"status": "compensated"}, ["e5", "e1"]),
    ({"status": "abandoned"}, []),
    ({"status": "executing"}, []),
    ({"saga": Errand, "status": "completed"}, ["e4", "e0"]),
    ({"saga": "chore"}, ["c"]),
    ({"saga": Chore}, ["c"]),
    ({"saga": "nobody's"}, []),
    ({"since": NEW_YEAR + timedelta(minutes=6)}, ["c", "e7", "e6"]),
    ({"since": NEW_YEAR + timedelta(minutes=6), "status": "blocked"}, ["e7"]),
    ({"since": datetime(2026, 1, 1, 2, 6, tzinfo=timezone(timedelta(hours=2)))}, ["c", "e7", "e6"]),
    ({"limit": 3}, ["c", "e7", "e6"]),
    ({"limit": 1, "status": "completed", "saga": "errand"}, ["e4"]),
    ({"limit": 2, "before": "e6"}, ["e5", "e4"]),
    ({"before": "e0"}, []),
    ({"before": "e5", "status": "blocked"}, ["e3"]),
    ({"before": "nobody"}, []),
]


async def test_history_can_be_narrowed(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await past(home, orchestrator)
        await orchestrator.execute(Chore(), id="c")
        for filters, ids in FILTERS:
            assert [metadata.id for metadata in await orchestrator.get_history(**filters)] == ids, filters


async def test_an_unknown_status_is_a_value_error(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(ValueError, match="is not a valid SagaStatus"):
            await orchestrator.get_history(status="nonsense")


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_pages_have_everything_once(home: Home, size: int) -> None:
    """Also where several ended at the same time."""
    async with home.orchestrator() as orchestrator:
        async with anyio.create_task_group() as group:
            for n in range(12):
                group.start_soon(lambda: orchestrator.execute(Chore(), id=f"c{n:02}"))  # noqa: B023
                await anyio.lowlevel.checkpoint()
        everything = await orchestrator.get_history()
        found: list[SagaMetadata] = []
        while page := await orchestrator.get_history(limit=size, before=found[-1].id if found else None):
            assert len(page) <= size
            found += page

    assert len(everything) == 12
    assert found == everything


async def test_running_and_history_share_no_saga_and_miss_none(home: Home) -> None:
    Trip = trip(timeout=None, undo_timeout=None)
    forward, back = anyio.Event(), anyio.Event()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.undoes_after(back))

    async with home.orchestrator(max_running=3) as orchestrator:
        await past(home, orchestrator)
        handles = [await orchestrator.start(Trip(), id="back")]
        await home.world.until("undo second")
        home.world.tell("first", *[home.world.waits(forward)] * 2)
        handles += [await orchestrator.start(Trip(), id=id_) for id_ in ("on 1", "on 2", "queued")]
        running = await orchestrator.get_running_sagas()
        assert [(metadata.id, metadata.status) for metadata in running] == [
            ("back", SagaStatus.COMPENSATING),
            ("on 1", SagaStatus.EXECUTING),
            ("on 2", SagaStatus.EXECUTING),
            ("queued", SagaStatus.NOT_STARTED),
        ]
        assert (await orchestrator.running_count(), await orchestrator.history_count()) == (4, 8)
        assert {m.id for m in await orchestrator.get_history()} == {f"e{n}" for n in range(8)}
        forward.set()
        back.set()
        for handle in handles:
            await handle.outcome()
        assert (await orchestrator.running_count(), await orchestrator.history_count()) == (0, 12)


async def test_a_failed_saga_that_is_retried_is_running_and_then_history_again(home: Home) -> None:
    Trip = trip(undo_timeout=None, undo_retry=Retry(attempts=1))
    gate = anyio.Event()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(ValueError("no")), home.world.undoes_after(gate))

    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(Trip(), id="t")).outcome()
        assert [m.status for m in await orchestrator.get_history()] == [SagaStatus.FAILED]
        await orchestrator.retry_failed("t", reason="mended")
        (metadata,) = await orchestrator.get_running_sagas()
        assert (metadata.status, metadata.attention, metadata.uncompensated) == (SagaStatus.COMPENSATING, False, ())
        assert await orchestrator.get_history() == []
        gate.set()
        await home.world.until("undo first")
        await (await orchestrator.start(Trip(), id="t")).outcome()
        assert [m.status for m in await orchestrator.get_history()] == [SagaStatus.COMPENSATED]


async def test_more_running_sagas_than_a_page_are_all_there(home: Home) -> None:
    home.world.always("go", home.world.waits(gate := anyio.Event()))

    async with home.orchestrator(max_running=1) as orchestrator:
        async with anyio.create_task_group() as group:
            for n in range(520):
                group.start_soon(lambda: orchestrator.start(Errand(), id=f"e{n:03}"))  # noqa: B023
                await anyio.lowlevel.checkpoint()
        running = await orchestrator.get_running_sagas()
        assert [metadata.id for metadata in running] == [f"e{n:03}" for n in range(520)]
        assert await orchestrator.running_count() == 520
        assert len(await orchestrator.get_history()) == 0
        home.world.relent("go")
        gate.set()
        while await orchestrator.running_count():
            await anyio.sleep(1)
        assert await orchestrator.history_count() == 520
        assert len(await orchestrator.get_history()) == 100
