"""What happens at the same time: verbs, starts, recovery and leaving never lose a saga, nor run it twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    Event,
    EventStore,
    OperationRefused,
    OrchestratorClosed,
    Saga,
    SagaIdConflict,
    SagaOrchestrator,
    StoreInUse,
    step,
)
from allframe.testing import VirtualClock
from tests.saga.crash import crash_image
from tests.saga.journey import Journey, World
from tests.virtual import ASYNCIO_ONLY

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


class Slow:
    """Makes the commits of a store that hold a record of this type take a second."""

    def __init__(self, store: EventStore, type_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        commit: Any = store.backend.commit
        self.begun = anyio.Event()

        async def slow(this: Any) -> Any:
            result = await commit(this)
            if any(row.type == type_name for write in this.writes for row in write.rows):
                self.begun.set()
                await anyio.sleep(1)
            return result

        monkeypatch.setattr(store.backend, "commit", slow)


def stuck_world() -> World:
    """One where the car is not to be had, and the flight cannot be given back for three attempts."""
    world = World()
    world.fail_in("do car", ValueError("no car"))
    world.fail_in("undo flight", ValueError("not now"), times=3)
    return world


async def test_a_retry_while_the_failure_is_being_written_goes_on_with_the_same_saga(
    store: EventStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = stuck_world()
    slow = Slow(store, "$saga.failed", monkeypatch)
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, max_running=1) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        await slow.begun.wait()
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(self_or_refused, orchestrator)
        assert (await handle.outcome()).status == "compensated"
        world.hooks.clear()
        assert (await orchestrator.execute(Journey(), id="trip-2")).status == "completed", "no slot was lost"

    undone = [line for line in world.log if line.startswith("undo")]
    assert undone == ["undo flight 1", "undo flight 2", "undo flight 3", "undo flight 4", "undo hotel 1"]


async def self_or_refused(orchestrator: SagaOrchestrator) -> None:
    try:
        await orchestrator.retry_failed("trip-1", reason="again")
    except OperationRefused:
        return


async def test_a_verb_whose_caller_is_cancelled_leaves_the_saga_free(store: EventStore, clock: VirtualClock) -> None:
    async with SagaOrchestrator(store, provide={World: stuck_world()}, clock=clock) as orchestrator:
        with pytest.raises(CompensationFailed):
            await orchestrator.execute(Journey(), id="trip-1")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await orchestrator.retry_failed("trip-1", reason="the browser went away")
        with anyio.fail_after(1000):
            handle = await orchestrator.start(Journey(), id="trip-1")
            while (await handle.outcome()).status != "compensated":
                await self_or_refused(orchestrator)


async def test_a_handle_tells_what_came_of_a_retry(store: EventStore, clock: VirtualClock) -> None:
    async with SagaOrchestrator(store, provide={World: stuck_world()}, clock=clock) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        assert (await handle.outcome()).status == "failed"
        await orchestrator.retry_failed("trip-1", reason="mended")

        assert (await handle.outcome()).status == "compensated"


async def test_verbs_during_leaving_end(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    world = World()
    reached = world.stop_in("do flight")
    ended = 0
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            for number in range(10):
                await orchestrator.start(Journey(), id=f"trip-{number}")
            await reached.wait()
            image = crash_image(store, tmp_path)

    async def cancel(orchestrator: SagaOrchestrator, number: int) -> None:
        nonlocal ended
        try:
            await orchestrator.cancel(f"trip-{number}", reason="late")
        except (OrchestratorClosed, OperationRefused):
            pass
        ended += 1

    async with image, anyio.create_task_group() as group:
        async with SagaOrchestrator(image, provide={World: World()}, clock=clock, max_running=1) as orchestrator:
            for number in range(10):
                group.start_soon(cancel, orchestrator, number)
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(60):
            while ended < 10:
                await anyio.sleep(0.1)


async def test_a_start_with_another_input_during_recovery_strands_nothing(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    reached = world.stop_in("do flight")
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            for number in range(10):
                await orchestrator.start(Journey(), id=f"trip-{number}")
            await reached.wait()
            image = crash_image(store, tmp_path)
    async with image, SagaOrchestrator(image, provide={World: World()}, clock=clock) as orchestrator:
        for number in range(10):
            with pytest.raises(SagaIdConflict):
                await orchestrator.start(Journey(traveller="Bob"), id=f"trip-{number}")
        with anyio.fail_after(1000):
            while await orchestrator.running_count():
                await anyio.sleep(1)
        assert len(await orchestrator.get_history(status="completed")) == 10


async def test_recovered_sagas_have_their_turn_among_new_ones(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    reached = world.stop_in("do flight")
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await reached.wait()
            image = crash_image(store, tmp_path)
    busy = World()
    busy.hooks["do hotel"] = lambda ctx: anyio.sleep(1)
    others = 0
    async with image, SagaOrchestrator(image, provide={World: busy}, clock=clock, max_running=1) as orchestrator:
        async with anyio.create_task_group() as group:

            async def keep_busy() -> None:
                nonlocal others
                while True:
                    await orchestrator.execute(Journey())
                    others += 1

            for _ in range(3):
                group.start_soon(keep_busy)
            while (metadata := await orchestrator.get_saga("trip-1")) is None or metadata.status != "completed":
                await anyio.sleep(0.5)
            group.cancel_scope.cancel()

    assert others < 10


async def test_cancelling_a_saga_that_is_not_recovered_yet_needs_no_slot(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    world = World()
    reached = world.stop_in("do flight")
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=0) as orchestrator:
            for number in (1, 2):
                await orchestrator.start(Journey(), id=f"trip-{number}")
            while world.log.count("do flight 1") < 2:
                await anyio.sleep(0.1)
            await reached.wait()
            image = crash_image(store, tmp_path)
    again = World()
    again.stop_in("do flight")
    async with image:
        async with SagaOrchestrator(image, provide={World: again}, clock=clock, max_running=1, grace=0) as orchestrator:
            for number in (1, 2):
                with anyio.fail_after(50):
                    await orchestrator.cancel(f"trip-{number}", reason="not needed")
            for number in (1, 2):
                handle = await orchestrator.start(Journey(), id=f"trip-{number}")
                assert (await handle.outcome()).status == "compensated"


async def test_whoever_waits_is_not_told_what_another_start_of_the_same_id_finds_out(
    store: EventStore, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SagaOrchestrator(store, provide={World: stuck_world()}, clock=clock) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        assert (await handle.outcome()).status == "failed"
        commit: Any = store.backend.commit

        async def slow(this: Any) -> Any:
            await anyio.sleep(1)
            return await commit(this)

        monkeypatch.setattr(store.backend, "commit", slow)
        async with anyio.create_task_group() as group:
            group.start_soon(orchestrator.start, Journey())
            group.start_soon(lambda: orchestrator.start(Journey(), id="trip-1"))
            await anyio.sleep(0.5)
            assert (await handle.outcome()).status == "failed"


class Told(Event, name="test.races.told"):
    number: int


class Single(Saga, name="test.races.single"):
    @step
    async def only(self) -> Told:
        return Told(number=1)


async def test_the_events_of_the_last_step_are_in_the_outcome(store: EventStore, clock: VirtualClock) -> None:
    async with SagaOrchestrator(store, clock=clock) as orchestrator:
        live = await orchestrator.execute(Single(), id="s-1")
        again = await orchestrator.execute(Single(), id="s-1")

    assert live.events == again.events == [Told(number=1)]


class SelfCancelling(Saga, name="test.races.self_cancelling"):
    @step
    async def only(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(10)


@ASYNCIO_ONLY
async def test_a_native_cancel_of_a_sagas_task_makes_the_orchestrator_leave_and_tells_who_waits(
    store: EventStore, clock: VirtualClock
) -> None:
    async with SagaOrchestrator(store, clock=clock) as orchestrator:
        with pytest.raises(OrchestratorClosed):
            await orchestrator.execute(SelfCancelling(), id="s-1")
        with pytest.raises(OrchestratorClosed):
            await orchestrator.start(Single())


@ASYNCIO_ONLY
@pytest.mark.parametrize("awaits", range(12))
async def test_a_native_cancel_while_entering_gives_the_claim_back(
    store: EventStore, clock: VirtualClock, awaits: int
) -> None:
    async def enter() -> None:
        async with SagaOrchestrator(store, clock=clock):
            await asyncio.sleep(3600)

    task = asyncio.ensure_future(enter())
    for _ in range(awaits):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with SagaOrchestrator(store, clock=clock) as orchestrator:
        assert (await orchestrator.execute(Single())).status == "completed"


def test_a_native_cancel_while_a_file_is_opened_lets_the_file_go(tmp_path: Path) -> None:
    async def open_and_cancel(awaits: int) -> None:
        url = f"sqlite:///{tmp_path}/{awaits}.db"

        async def enter() -> None:
            async with SagaOrchestrator(url):
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(enter())
        for _ in range(awaits):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(1000):  # the thread may still be at it
            try:
                async with SagaOrchestrator(url) as orchestrator:
                    assert (await orchestrator.execute(Single())).status == "completed"
                    return
            except StoreInUse:
                await asyncio.sleep(0.01)
        raise AssertionError("somebody who is gone still has the file")

    for awaits in range(12):
        asyncio.run(open_and_cancel(awaits))
