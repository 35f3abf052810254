"""Opening an orchestrator finishes, or rolls back, what another opening left."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe import EventStore, SagaBlocked, SagaOrchestrator, SagaStatus, StoreUnavailable, Unknown
from allframe.events.backend import Commit, Row, Write, new_id
from allframe.saga.context import UnknownReason
from allframe.saga.records import SagaRecovered
from allframe.saga.streams import saga_stream
from allframe.testing import VirtualClock
from tests.saga.crash import crash_image
from tests.saga.journey import Journey, World

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def crashed_in(
    what: str, store_url: str, clock: VirtualClock, folder: Path, *, world: World | None = None, sagas: int = 1
) -> AsyncIterator[EventStore]:
    """A store whose owner died while ``trip-1``, ``trip-2``, … did ``what``."""
    world = world or World()
    reached = world.stop_in(what)
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            for number in range(1, sagas + 1):
                await orchestrator.start(Journey(), id=f"trip-{number}")
            await reached.wait()
            while sum(line.startswith(what) for line in world.log) < sagas:
                await anyio.sleep(0.01)
            image = crash_image(store, folder)
    async with image:
        yield image


async def finish(store: EventStore, world: World, clock: VirtualClock, saga_id: str = "trip-1") -> SagaStatus:
    """Open an orchestrator, do nothing, and wait until the saga is over."""
    async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
        while (metadata := await orchestrator.get_saga(saga_id)) is None or metadata.status in (
            "not_started",
            "executing",
            "compensating",
        ):
            await anyio.sleep(1)
        return metadata.status


async def test_a_step_in_which_the_process_died_runs_again_and_the_saga_goes_on(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        world = World()

        assert await finish(store, world, clock) == "completed"

        assert world.log == ["do flight 2", "do car 1"]


async def test_a_compensation_in_which_the_process_died_runs_again(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    world.fail_in("do car", ValueError("no car"))
    async with crashed_in("undo flight", store_url, clock, tmp_path, world=world) as store:
        again = World()

        assert await finish(store, again, clock) == "compensated"

        assert again.log == ["undo flight 2", "undo hotel 1"]
        assert again.undone == {"flight": ("room 1", 7), "hotel": "room 1"}


async def test_what_was_cancelled_before_the_crash_is_rolled_back_with_the_step_that_crashed(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    stopped = world.stop_in("do flight")
    swallowed = anyio.Event()

    async def swallow(ctx: object) -> None:
        stopped.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                swallowed.set()
                await anyio.sleep(5)

    world.hooks["do flight"] = swallow
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await stopped.wait()
            await orchestrator.cancel("trip-1", reason="changed my mind")
            await swallowed.wait()
            image = crash_image(store, tmp_path)
    async with image:
        again = World()

        assert await finish(image, again, clock) == "compensated"

        assert again.log == ["undo flight 1", "undo hotel 1"]
        unknown = again.undone["flight"]
        assert isinstance(unknown, Unknown)
        assert (unknown.reason, unknown.attempts) == (UnknownReason.CRASH, 1)


async def test_a_retry_that_was_still_waiting_goes_on_waiting(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    world.fail_in("do flight", ConnectionError("gone"))
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            while "do flight 1" not in world.log:
                await anyio.sleep(0.1)
            await anyio.sleep(20)  # of the 60 that it waits
            image = crash_image(store, tmp_path)
    async with image:
        again, began = World(), clock.now()
        times = []

        async def note(ctx: object) -> None:
            times.append((clock.now() - began).total_seconds())

        again.hooks["do flight"] = note

        assert await finish(image, again, clock) == "completed"

        # Only a clock could tell that attempt 2 had not begun, and clocks go wrong.
        assert again.log == ["do flight 3", "do car 1"]
        assert times == [pytest.approx(40, abs=1)]


async def test_a_retry_whose_time_passed_while_nobody_ran_begins_at_once_and_counts_as_a_crash(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    world.fail_in("do flight", ConnectionError("gone"))
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            while "do flight 1" not in world.log:
                await anyio.sleep(0.1)
            image = crash_image(store, tmp_path)
    await anyio.sleep(3600)
    async with image:
        again, began = World(), clock.now()

        assert await finish(image, again, clock) == "completed"

        assert again.log[0] == "do flight 3"
        assert (clock.now() - began).total_seconds() < 5


async def test_a_saga_that_waited_for_its_turn_runs(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    world = World()
    reached = world.stop_in("do hotel")
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0, max_running=1) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await reached.wait()
            await orchestrator.start(Journey(), id="trip-2")
            waiting = await orchestrator.get_saga("trip-2")
            assert waiting is not None
            assert waiting.status == "not_started"
            image = crash_image(store, tmp_path)
    async with image:
        again = World()

        assert await finish(image, again, clock, "trip-2") == "completed"
        assert await finish(image, again, clock, "trip-1") == "completed"


async def test_outputs_come_back_with_their_types(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    async with crashed_in("do car", store_url, clock, tmp_path) as store:
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            outcome = await orchestrator.execute(Journey(), id="trip-1")

            assert outcome.outputs == {"hotel": "room 1", "flight": ("room 1", 7), "car": "car for room 1"}


async def test_what_is_over_is_left_alone(store_url: str, clock: VirtualClock) -> None:
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            for number in range(50):
                await orchestrator.execute(Journey(), id=f"trip-{number}")
        before = await store.backend.last_position()
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock):
            await anyio.sleep(10)

        assert await store.backend.last_position() == before


async def test_a_start_during_recovery_joins_the_saga_instead_of_running_it_twice(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path, sagas=20) as store:
        world = World()
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, max_running=3) as orchestrator:
            async with anyio.create_task_group() as group:
                for number in range(20, 0, -1):
                    group.start_soon(lambda n=number: orchestrator.execute(Journey(), id=f"trip-{n}"))

        assert sorted(world.log) == sorted(["do flight 2", "do car 1"] * 20)


async def test_recovery_keeps_no_more_sagas_in_memory_than_may_run(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path, sagas=60) as store:
        world, most = World(), 0

        async with SagaOrchestrator(store, provide={World: world}, clock=clock, max_running=4) as orchestrator:

            async def look(ctx: object) -> None:
                nonlocal most
                assert orchestrator._registry is not None
                most = max(most, len(orchestrator._registry.entries))
                await anyio.sleep(1)

            world.hooks["do flight"] = look
            while await orchestrator.running_count():
                await anyio.sleep(1)

        assert sum(line == "do flight 2" for line in world.log) == 60
        assert 1 <= most <= 6


async def test_recoveries_are_counted_only_after_a_death_with_an_attempt_open(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        for expected in (1, 1):  # the second time, the store was closed
            world = World()
            reached = world.stop_in("do flight")
            async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
                await reached.wait()
                records = [entry.record for entry in await orchestrator._monitor.timeline("trip-1")]
            recovered = [record for record in records if isinstance(record, SagaRecovered)]
            assert recovered[-1].recoveries == expected


async def test_a_saga_whose_records_are_damaged_is_blocked_and_the_others_go_on(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path, sagas=5) as store:
        rows = await store.backend.read_stream(saga_stream("trip-3"))
        junk = Row(new_id(), "$saga.from_the_future", 1, b"{}", rows[-1].recorded_at)
        await store.backend.commit(Commit((Write(saga_stream("trip-3"), (junk,), len(rows)),)))
        world = World()
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(1)
            blocked = await orchestrator.get_history(status="blocked")
            done = await orchestrator.get_history(status="completed")

        assert sorted(saga.id for saga in done) == ["trip-1", "trip-2", "trip-4", "trip-5"]
        assert [saga.id for saga in blocked] == ["trip-3"]
        assert blocked[0].attention
        assert "a saga record '$saga.from_the_future'" in str(blocked[0].reason)


async def test_a_saga_whose_class_is_not_there_is_blocked_until_an_opening_has_it(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock, sagas=[]) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(1)
            blocked = await orchestrator.get_saga("trip-1")
        assert blocked is not None
        assert blocked.status == "blocked"
        assert blocked.reason == (
            "This program has no saga class 'test.journey' of version 1. Import the module that defines it, before the "
            "orchestrator is entered."
        )
        world = World()
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            outcome = await orchestrator.execute(Journey(), id="trip-1")

        assert outcome.status == "completed"
        assert world.log == ["do flight 2", "do car 1"]


async def test_a_saga_whose_dependency_is_not_there_is_blocked_until_an_opening_has_it(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        async with SagaOrchestrator(store, clock=clock) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(1)
            blocked = await orchestrator.get_saga("trip-1")
            assert blocked is not None
            assert "Nothing provides World (step 'hotel', parameter 'world')" in str(blocked.reason)
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            assert (await orchestrator.execute(Journey(), id="trip-1")).status == "completed"


async def test_execute_of_a_blocked_saga_tells_at_once_what_it_waits_for(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        stream = saga_stream("trip-1")
        rows = await store.backend.read_stream(stream)
        started = rows[0]
        damaged = started.data.replace(b"test.journey", b"test.nowhere")
        head = await store.backend.get_head(stream)
        assert head is not None
        elsewhere = dataclasses.replace(head, stream=saga_stream("trip-2"))
        row = Row(new_id(), started.type, 1, damaged, started.recorded_at)
        await store.backend.commit(Commit((Write(elsewhere.stream, (row,), 0),), elsewhere))
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(1)
            metadata = await orchestrator.get_saga("trip-2")
            assert metadata is not None
            assert metadata.status == "blocked"
            with pytest.raises(SagaBlocked, match="cannot go on: This program has no saga class 'test.nowhere'"):
                raise _blocked_error(await orchestrator._stored_outcome("trip-2", None))


def _blocked_error(outcome: object) -> BaseException:
    try:
        outcome.raise_for_status()  # type: ignore[attr-defined]
    except SagaBlocked as error:
        return error
    raise AssertionError("it did not raise")


@pytest.mark.parametrize("nth", range(1, 9))
async def test_a_read_that_fails_during_recovery_strands_nothing(
    store_url: str, clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path, sagas=3) as store:
        reads = 0

        def flaky(method: Any) -> Any:
            async def read(*args: Any, **kwargs: Any) -> Any:
                nonlocal reads
                reads += 1
                if nth <= reads < nth + 2 and recovering:
                    raise StoreUnavailable("The connection is gone.")
                return await method(*args, **kwargs)

            return read

        for name in ("read_stream", "list_heads", "get_head"):
            monkeypatch.setattr(store.backend, name, flaky(getattr(store.backend, name)))
        recovering = True
        world = World()
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(1)
            recovering = False
            assert len(await orchestrator.get_history(status="completed")) == 3

        assert sorted(world.log) == ["do car 1"] * 3 + ["do flight 2"] * 3


async def test_retries_go_on_after_a_crash_for_steps_and_compensations(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in("do flight", store_url, clock, tmp_path) as store:
        world = World()
        world.fail_in("do flight", ConnectionError("gone"), times=1)
        world.fail_in("do car", ValueError("no car"))
        world.fail_in("undo flight", ValueError("not now"), times=2)
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            handle = await orchestrator.start(Journey(), id="trip-1")
            assert (await handle.outcome()).status == "compensated"

        assert world.log == [
            "do flight 2",
            "do flight 3",
            "do car 1",
            "undo flight 1",
            "undo flight 2",
            "undo flight 3",
            "undo hotel 1",
        ]


async def test_a_wall_clock_that_was_set_back_makes_no_wait_longer_and_no_attempt_unbegun(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    world.fail_in("do flight", ConnectionError("gone"), times=1)
    reached = anyio.Event()

    async def note(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise ConnectionError("gone")
        reached.set()
        await anyio.sleep_forever()

    world.hooks["do flight"] = note
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await reached.wait()
            image = crash_image(store, tmp_path)
    clock.shift(days=-1)
    async with image:
        again = World()
        again.fail_in("do flight", ValueError("no"))
        began = anyio.current_time()
        async with SagaOrchestrator(image, provide={World: again}, clock=clock) as orchestrator:
            handle = await orchestrator.start(Journey(), id="trip-1")
            assert (await handle.outcome()).status == "compensated"

        assert anyio.current_time() - began < 100
        assert again.log == ["do flight 3", "undo flight 1", "undo hotel 1"]
        assert isinstance(again.undone["flight"], Unknown)
