"""Leaving an orchestrator: what runs may end within ``grace``, the rest is dropped, and the next opening goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from allframe import EventStore, OrchestratorClosed, SagaOrchestrator, SagaOutcome
from allframe.saga.monitor import Monitor
from allframe.testing import VirtualClock
from tests.saga.journey import Journey, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


async def types_of(store: EventStore, saga_id: str = "trip-1") -> list[str]:
    """What is recorded of a saga."""
    return [entry.record.type.removeprefix("$saga.") for entry in await Monitor(store).timeline(saga_id)]


async def finish(store: EventStore, clock: VirtualClock) -> tuple[World, SagaOutcome]:
    """Let the next opening go on with ``trip-1``."""
    world = World()
    async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
        return world, await orchestrator.execute(Journey(), id="trip-1")


async def test_a_step_that_ends_within_grace_is_recorded_and_nothing_new_begins(
    store: EventStore, clock: VirtualClock
) -> None:
    world = World()
    world.hooks["do hotel"] = lambda ctx: anyio.sleep(5)
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=10) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
    assert world.log == ["do hotel 1"]
    assert await types_of(store) == ["started", "step_succeeded"]
    with pytest.raises(OrchestratorClosed):
        await handle.outcome()

    again, outcome = await finish(store, clock)

    assert outcome.status == "completed"
    assert again.log == ["do flight 1", "do car 1"]


async def test_a_step_that_does_not_end_within_grace_is_dropped_without_a_record(
    store: EventStore, clock: VirtualClock
) -> None:
    world = World()
    world.stop_in("do hotel")
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=10) as orchestrator:
        await orchestrator.start(Journey(), id="trip-1")
        began = anyio.current_time()
    assert anyio.current_time() - began == pytest.approx(10, abs=0.5)
    assert await types_of(store) == ["started"]

    again, outcome = await finish(store, clock)

    assert outcome.status == "completed"
    assert again.log == ["do hotel 2", "do flight 1", "do car 1"]


async def test_whoever_waits_is_told_that_the_orchestrator_left(store: EventStore, clock: VirtualClock) -> None:
    world = World()
    reached = world.stop_in("do hotel")
    told: list[BaseException] = []

    async with anyio.create_task_group() as group:
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=1) as orchestrator:

            async def wait() -> None:
                try:
                    await orchestrator.execute(Journey(), id="trip-1")
                except OrchestratorClosed as error:
                    told.append(error)

            group.start_soon(wait)
            await reached.wait()

    assert [str(error) for error in told] == [
        "The orchestrator left before saga 'trip-1' was over. It goes on at the next opening of the store."
    ]


async def test_a_step_that_ignores_being_dropped_is_waited_for_and_not_recorded(
    store: EventStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()

    async def stubborn(ctx: Any) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

    world.hooks["do hotel"] = stubborn
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=1) as orchestrator:
        await orchestrator.start(Journey(), id="trip-1")
        await anyio.sleep(1)
        began = anyio.current_time()
        caplog.set_level(logging.WARNING, "allframe")
    assert anyio.current_time() - began == pytest.approx(59, abs=1)
    assert await types_of(store) == ["started"]
    assert "trip-1" in caplog.text
    assert "hotel" in caplog.text

    again, _ = await finish(store, clock)

    assert again.log[0] == "do hotel 2"


async def test_a_rollback_goes_on_at_the_next_opening(store: EventStore, clock: VirtualClock) -> None:
    world = World()
    world.fail_in("do car", ValueError("no car"))
    world.hooks["undo flight"] = lambda ctx: anyio.sleep(5)
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=10) as orchestrator:
        await orchestrator.start(Journey(), id="trip-1")
        while "undo flight 1" not in world.log:
            await anyio.sleep(0.1)
    assert "undo hotel 1" not in world.log

    again = World()
    async with SagaOrchestrator(store, provide={World: again}, clock=clock) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        assert (await handle.outcome()).status == "compensated"

    assert again.log == ["undo hotel 1"]


async def test_a_retry_that_waits_is_the_same_attempt_at_the_next_opening(
    store: EventStore, clock: VirtualClock
) -> None:
    world = World()
    world.fail_in("do flight", ConnectionError("gone"))
    async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
        await orchestrator.start(Journey(), id="trip-1")
        while "do flight 1" not in world.log:
            await anyio.sleep(0.1)
        began = anyio.current_time()
    assert anyio.current_time() - began < 1, "nobody waits for a wait"
    await anyio.sleep(3600)

    again, outcome = await finish(store, clock)

    assert outcome.status == "completed"
    assert again.log == ["do flight 2", "do car 1"]


async def test_sagas_that_wait_for_their_turn_stay_recorded(store: EventStore, clock: VirtualClock) -> None:
    world = World()
    world.hooks["do hotel"] = lambda ctx: anyio.sleep(2)
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, max_running=1) as orchestrator:
        for number in range(1, 6):
            await orchestrator.start(Journey(), id=f"trip-{number}")
    assert await types_of(store, "trip-5") == ["started"]

    async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
        for number in range(1, 6):
            assert (await orchestrator.execute(Journey(), id=f"trip-{number}")).status == "completed"


async def test_a_memory_store_of_its_own_is_rolled_back_and_whoever_waits_gets_the_outcome(clock: VirtualClock) -> None:
    world = World()
    world.stop_in("do car")
    async with SagaOrchestrator(provide={World: world}, clock=clock) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        await anyio.sleep(1)

    outcome = await handle.outcome()
    assert outcome.status == "compensated"
    assert world.log[3:] == ["undo car 1", "undo flight 1", "undo hotel 1"]


async def test_a_memory_store_of_its_own_gives_up_after_grace(clock: VirtualClock) -> None:
    world = World()
    world.stop_in("do car")
    world.stop_in("undo car")
    async with SagaOrchestrator(provide={World: world}, clock=clock, grace=5) as orchestrator:
        handle = await orchestrator.start(Journey(), id="trip-1")
        await anyio.sleep(1)
        began = anyio.current_time()

    assert anyio.current_time() - began == pytest.approx(5, abs=0.5)
    with pytest.raises(OrchestratorClosed):
        await handle.outcome()


async def test_an_error_of_the_body_comes_out_as_it_is(store: EventStore, clock: VirtualClock) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with SagaOrchestrator(store, clock=clock):
            raise LookupError("mine")


async def test_a_cancelled_body_leaves_as_well(store: EventStore, clock: VirtualClock) -> None:
    world = World()
    world.hooks["do hotel"] = lambda ctx: anyio.sleep(5)
    with anyio.move_on_after(1):
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await anyio.sleep_forever()

    assert await types_of(store) == ["started", "step_succeeded"]


async def test_keyboard_interrupt_out_of_a_step_is_raised_from_the_async_with(
    store: EventStore, clock: VirtualClock
) -> None:
    world = World()
    world.fail_in("do flight", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            await orchestrator.execute(Journey(), id="trip-1")
    assert await types_of(store) == ["started", "step_succeeded"]

    again, outcome = await finish(store, clock)

    assert outcome.status == "completed"
    assert again.log == ["do flight 2", "do car 1"]


async def test_keyboard_interrupt_cuts_a_body_that_waits_for_something_else(
    store: EventStore, clock: VirtualClock
) -> None:
    world = World()
    world.fail_in("do flight", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            await orchestrator.start(Journey(), id="trip-1")
            await anyio.sleep_forever()


async def test_nothing_can_be_begun_afterwards(store: EventStore, clock: VirtualClock) -> None:
    async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
        pass
    with pytest.raises(OrchestratorClosed, match="is leaving, or has left"):
        await orchestrator.start(Journey())
    with pytest.raises(OrchestratorClosed, match="entered before"):
        async with orchestrator:
            pass


async def everything_is_cancelled(store_url: str) -> list[str]:
    """What is recorded when the event loop, in the middle of a step, cancels every task that it finds."""
    world = World()
    async with EventStore(store_url) as store:
        reached = world.stop_in("do flight")

        async def main() -> None:
            async with SagaOrchestrator(store, provide={World: world}) as orchestrator:
                await orchestrator.start(Journey(), id="trip-1")
                await asyncio.sleep(3600)

        task = asyncio.ensure_future(main())
        await reached.wait()
        others = [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        assert task.cancelled()
        return await types_of(store)


def test_a_loop_that_cancels_every_task_drops_without_writing(store_url: str) -> None:
    assert asyncio.run(everything_is_cancelled(store_url)) == ["started", "step_succeeded"]


async def test_names_the_sagas_that_it_had_to_drop(store: EventStore, clock: VirtualClock) -> None:
    world = World()
    world.hooks["do hotel"] = lambda ctx: anyio.sleep(100 if ctx.saga_id == "slow" else 1)
    async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=10) as orchestrator:
        await orchestrator.start(Journey(), id="slow")
        await orchestrator.start(Journey(), id="quick")
        assert orchestrator.dropped == ()

    assert orchestrator.dropped == ("slow",)
