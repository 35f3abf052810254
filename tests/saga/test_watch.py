"""Watching sagas: every record once, in order, whoever reads how fast, to the end."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from allframe import EventStore, OrchestratorClosed, SagaOrchestrator, SagaRecord, StoreFormatError, StoreUnavailable
from allframe.events.follow import PAGE
from allframe.saga.monitor import Monitor
from allframe.saga.observe import _LEFT
from allframe.saga.records import StepSucceeded
from allframe.testing import VirtualClock
from tests.events import outside
from tests.saga import world
from tests.saga.world import Home, World, trip

pytestmark = pytest.mark.anyio
home = world.home

ENDED = ["started", "step_succeeded", "step_succeeded", "step_succeeded", "completed"]


async def take(records: AsyncIterator[SagaRecord], count: int) -> list[SagaRecord]:
    return [await anext(records) for _ in range(count)]


async def rest(records: AsyncIterator[SagaRecord]) -> list[SagaRecord]:
    return [record async for record in records]


async def stored(home: Home) -> list[tuple[str, int]]:
    """Each saga record in the store, in the order of the store."""
    rows = await home.store.backend.read_all(limit=10**6, system=True)
    return [(row.stream, row.revision) for row in rows if row.stream.startswith("$saga/")]


def places(records: list[SagaRecord]) -> list[tuple[str, int]]:
    return [(record.stream, record.revision) for record in records]


async def test_gives_what_is_written_from_the_call_on(home: Home) -> None:
    Trip = trip()
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="before")
        records = orchestrator.watch()
        await orchestrator.execute(Trip(), id="after")

        found = await take(records, 5)

    assert [(record.saga_id, record.kind) for record in found] == [("after", kind) for kind in ENDED]
    assert await rest(records) == []


async def test_tells_saga_step_attempt_and_what_began(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(trip()(), id="t")
        started, first, *_ = await take(orchestrator.watch(after=0), 5)

    assert (started.saga_id, started.saga, started.kind, started.step) == ("t", "Trip", "started", None)
    assert (started.starts, started.attempt, started.compensates, started.error) == (("first",), None, None, None)
    assert (first.step, first.attempt, first.starts, first.saga) == ("first", 1, ("second",), "Trip")
    assert isinstance(first.record, StepSucceeded)
    assert first.record.output == b'"first done"'
    assert "first done" not in repr(first)
    with pytest.raises(StoreFormatError, match=r"is no event but a record of saga 't': read its \.record"):
        _ = first.event


async def test_a_record_is_the_same_when_it_is_copied_or_comes_to_another_process(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        records = orchestrator.watch()
        await orchestrator.execute(trip()(), id="t-1")
        found = await take(records, 5)

    for record in found:
        for again in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
            assert again == record
            assert (again.saga, again.record, repr(again)) == ("Trip", record.record, repr(record))


@pytest.mark.parametrize("after", range(16))
async def test_gives_everything_after_a_position_and_then_what_comes(home: Home, after: int) -> None:
    Trip = trip()
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="a")
        await orchestrator.execute(Trip(), id="b")
        records = orchestrator.watch(after=after)
        last = (await home.timeline("b"))[-1].position
        found = [await anext(records)] if after < last else []
        await orchestrator.execute(Trip(), id="c")
    found += await rest(records)

    rows = await home.store.backend.read_all(after=after, system=True)
    expected = [(row.stream, row.revision) for row in rows if row.stream.startswith("$saga/")]
    assert places(found) == expected


async def test_follows_one_saga_alone_from_before_it_exists(home: Home) -> None:
    Trip = trip()
    found: list[SagaRecord] = []
    async with home.orchestrator() as orchestrator, anyio.create_task_group() as group:

        async def follow() -> None:
            async for record in orchestrator.watch("b", after=0):
                found.append(record)
                if record.kind == "completed":
                    break

        group.start_soon(follow)
        await anyio.sleep(1)
        await orchestrator.execute(Trip(), id="a")
        await orchestrator.execute(Trip(), id="b")
        await orchestrator.execute(Trip(), id="c")

    assert [(record.saga_id, record.kind) for record in found] == [("b", kind) for kind in ENDED]


async def test_follows_one_saga_from_a_position_in_its_middle(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(trip()(), id="t")
        everything = await take(orchestrator.watch("t", after=0), 5)

        found = await take(orchestrator.watch("t", after=everything[2].position), 2)

    assert places(found) == places(everything[3:])
    assert found[0].saga == "Trip"


async def test_several_watch_at_their_own_pace_and_none_misses_anything(home: Home) -> None:
    Trip = trip()
    found: dict[float, list[SagaRecord]] = {0: [], 0.5: [], 7: []}
    async with anyio.create_task_group() as group:

        async def follow(records: AsyncIterator[SagaRecord], pace: float) -> None:
            async for record in records:
                found[pace].append(record)
                await anyio.sleep(pace)

        async with home.orchestrator() as orchestrator:
            for pace in found:
                group.start_soon(follow, orchestrator.watch(after=0), pace)
            async with anyio.create_task_group() as runs:
                for number in range(40):
                    runs.start_soon(orchestrator.execute, Trip(traveller=str(number)))

    assert [places(records) == await stored(home) for records in found.values()] == [True, True, True]


async def test_a_cancelled_wait_loses_nothing(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        records = orchestrator.watch(after=0)
        with anyio.move_on_after(1) as waited:
            await anext(records)
        assert waited.cancelled_caught
        await orchestrator.execute(trip()(), id="t")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(records)

    assert [record.kind for record in await rest(records)] == ENDED


async def test_what_is_committed_between_reading_and_waiting_is_heard(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_all: Any = home.store.backend.read_all
    reads = 0
    found: list[SagaRecord] = []
    async with home.orchestrator() as orchestrator:

        async def read_and_be_overtaken(**arguments: Any) -> Any:
            nonlocal reads
            rows, reads = await read_all(**arguments), reads + 1
            if reads == 1:
                await orchestrator.execute(trip()(), id="t")
            return rows

        monkeypatch.setattr(home.store.backend, "read_all", read_and_be_overtaken)
        with anyio.move_on_after(60):
            found = await take(orchestrator.watch(), 5)

    assert [record.kind for record in found] == ENDED


async def test_a_watch_that_is_left_leaves_nothing_behind(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(trip()(), id="t")
        async for _ in orchestrator.watch(after=0):
            break
        async with anyio.create_task_group() as group:

            async def follow() -> None:
                async for _ in orchestrator.watch():
                    pass

            group.start_soon(follow)
            await anyio.sleep(1)
            assert home.store.backend.changes is not None
            assert len(home.store.backend.changes._listeners) == 1
            group.cancel_scope.cancel()
        gc.collect()

        assert list(orchestrator._watches._open) == []
        assert home.store.backend.changes._listeners == set()


async def test_closing_a_watch_ends_whoever_waits_for_it(home: Home) -> None:
    async with home.orchestrator() as orchestrator, anyio.create_task_group() as group:
        records: Any = orchestrator.watch()
        ended: list[list[SagaRecord]] = []

        async def follow() -> None:
            ended.append(await rest(records))

        group.start_soon(follow)
        await anyio.sleep(1)
        await records.aclose()
        await records.aclose()

    assert ended == [[]]


async def test_it_ends_with_the_orchestrator_after_all_that_was_written(home: Home) -> None:
    """Also what was written while leaving, and no more than that."""
    home.world.tell("second", home.world.hangs())
    found: list[SagaRecord] = []
    async with anyio.create_task_group() as group:

        async def follow(records: AsyncIterator[SagaRecord]) -> None:
            found.extend(await rest(records))

        async with home.orchestrator() as orchestrator:
            group.start_soon(follow, orchestrator.watch())
            await orchestrator.start(trip(timeout=5)(), id="t")
            await home.world.until("do second")
    assert [record.kind for record in found] == ["started", "step_succeeded", "step_unknown"]
    assert places(found) == await stored(home)
    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(trip(timeout=5)(), id="t")).outcome()


async def test_it_does_not_give_what_the_next_orchestrator_writes(home: Home) -> None:
    Trip = trip()
    async with home.orchestrator() as orchestrator:
        records = orchestrator.watch()
        await orchestrator.execute(Trip(), id="a")
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="b")

    assert {record.saga_id for record in await rest(records)} == {"a"}
    with pytest.raises(OrchestratorClosed):
        SagaOrchestrator(home.store).watch()


async def test_what_is_left_can_be_read_after_the_store_was_closed(store_url: str) -> None:
    world = World()
    async with SagaOrchestrator(store_url, provide={World: world}) as orchestrator:
        records = orchestrator.watch()
        one = orchestrator.watch("b")
        await orchestrator.execute(trip()(), id="a")
        await orchestrator.execute(trip()(), id="b")

    assert [record.kind for record in await rest(records)] == ENDED * 2
    assert [record.saga_id for record in await rest(one)] == ["b"] * 5


async def test_too_much_to_be_left_with_says_from_where_to_go_on(store_url: str) -> None:
    world = World()
    async with SagaOrchestrator(store_url, provide={World: world}) as orchestrator:
        records = orchestrator.watch()
        async with anyio.create_task_group() as runs:
            for number in range(_LEFT // 5 + PAGE):
                runs.start_soon(orchestrator.execute, trip()(traveller=str(number)))

    found: list[SagaRecord] = []
    with pytest.raises(StoreUnavailable, match="go on with after=") as error:
        async for record in records:
            found.append(record)
    assert _LEFT <= len(found) < _LEFT + PAGE
    assert f"after={found[-1].position}." in str(error.value)


async def test_a_store_that_is_closed_ends_the_wait_with_its_error(store_url: str) -> None:
    store = EventStore(store_url)
    await store.open()
    records = Monitor(store).watch()
    async with anyio.create_task_group() as group:

        async def close() -> None:
            await anyio.sleep(1)
            await store.close()

        group.start_soon(close)
        with pytest.raises(StoreUnavailable, match=r"was closed|not open"):
            await anext(records)


async def test_many_records_come_in_order_over_many_pages(home: Home, clock: VirtualClock) -> None:
    Trip = trip()
    async with home.orchestrator() as orchestrator:
        async with anyio.create_task_group() as runs:
            for number in range(PAGE):
                runs.start_soon(orchestrator.execute, Trip(traveller=str(number)))
        records = orchestrator.watch(after=0)
        first = await take(records, 3)

    assert places(first + await rest(records)) == await stored(home)


OWNER = """
from allframe import *
from allframe.saga.context import *

class Hop(Saga, name="hop"):
    @step
    async def jump(self) -> str:
        return "there"

async def main():
    async with SagaOrchestrator(sys.argv[1]) as orchestrator:
        say("open")
        while (word := hear()):
            await orchestrator.execute(Hop(), id=word)
            say("done")

anyio.run(main)
"""


async def test_another_process_is_watched_by_looking_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    with outside.running(OWNER, url) as owner:
        assert outside.hear(owner) == "open"
        outside.say(owner, "a")
        assert outside.hear(owner) == "done"
        async with EventStore(f"{url}?mode=ro") as store:
            everything = Monitor(store).watch(after=0, interval=0.01)
            one = Monitor(store).watch("c", interval=0.01)
            before = await take(everything, 2)
            with anyio.move_on_after(0.1):
                await anext(one)
            outside.say(owner, "b")
            outside.hear(owner)
            outside.say(owner, "c")
            outside.hear(owner)
            found = await take(everything, 4)
            of_one = await take(one, 2)

    assert [(r.saga_id, r.saga, r.kind) for r in before] == [("a", "hop", "started"), ("a", "hop", "step_succeeded")]
    assert [record.saga_id for record in found] == ["a", "b", "b", "b"]
    assert [(record.saga_id, record.kind) for record in of_one] == [("c", "started"), ("c", "step_succeeded")]


async def test_the_loop_goes_on_while_a_watcher_reads(home: Home) -> None:
    """A watcher that never waits for anything else lets others run."""
    async with home.orchestrator() as orchestrator, anyio.create_task_group() as group:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.lowlevel.checkpoint()
                ticks += 1

        await orchestrator.execute(trip()(), id="t")
        group.start_soon(tick)
        for _ in range(20):
            await take(orchestrator.watch(after=0), 5)
        group.cancel_scope.cancel()

    assert ticks >= 20
