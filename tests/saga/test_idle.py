"""`SagaOrchestrator.idle`: nothing runs any more, and nothing is left to be taken over."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from allframe import (
    EventStore,
    Inject,
    OrchestratorClosed,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaStatus,
    compensates,
    step,
)
from tests.saga.crash import crash_image

pytestmark = pytest.mark.anyio


class Lamp:
    pass


class Sleeper(Saga, name="test.idle.sleeper"):
    seconds: float

    @step(timeout=None)
    async def sleep(self) -> None:
        await anyio.sleep(self.seconds)

    @compensates("sleep")
    async def wake(self) -> None: ...


class Reader(Saga, name="test.idle.reader"):
    @step
    async def light(self, lamp: Inject[Lamp]) -> None: ...


class Stuck(Saga, name="test.idle.stuck"):
    @step(retry=Retry(attempts=2, wait=1000))
    async def ask(self) -> None:
        raise ConnectionError


async def test_is_there_at_once_when_nothing_was_begun(store_url: str) -> None:
    async with SagaOrchestrator(store_url) as orchestrator:
        await orchestrator.idle()

        assert anyio.current_time() < 1


async def test_waits_for_those_that_run_and_those_that_wait_for_their_turn(store_url: str) -> None:
    async with SagaOrchestrator(store_url, max_running=1) as orchestrator:
        began = anyio.current_time()
        for number in range(3):
            await orchestrator.start(Sleeper(seconds=100), id=f"sleeper-{number}")

        await orchestrator.idle()

        assert anyio.current_time() - began >= 300
        assert await orchestrator.running_count() == 0


async def test_does_not_wait_for_those_that_wait_for_a_person(store_url: str) -> None:
    async with SagaOrchestrator(store_url) as orchestrator:
        handle = await orchestrator.start(Stuck(), id="stuck")

        await orchestrator.idle()

        assert (await handle.metadata()).status is SagaStatus.BLOCKED


async def test_has_taken_over_what_another_opening_left(store_url: str, tmp_path: Path) -> None:
    async with EventStore(store_url) as store, SagaOrchestrator(store, grace=0) as orchestrator:
        for number in range(5):
            await orchestrator.start(Sleeper(seconds=50), id=f"sleeper-{number}")
        image = crash_image(store, tmp_path)

    async with image, SagaOrchestrator(image, max_running=2) as orchestrator:
        await orchestrator.idle()

        assert [saga.status for saga in await orchestrator.get_history()] == [SagaStatus.COMPLETED] * 5


async def test_has_looked_again_at_what_was_blocked_for_something_that_is_here_now(
    store_url: str, tmp_path: Path
) -> None:
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={Lamp: Lamp()}, max_running=1, grace=0) as orchestrator:
            await orchestrator.start(Sleeper(seconds=1000), id="sleeper")
            await orchestrator.start(Reader(), id="reader")
        async with SagaOrchestrator(store, max_running=10) as orchestrator:
            while (reader := await orchestrator.get_saga("reader")) and reader.status is not SagaStatus.BLOCKED:
                await anyio.sleep(1)
            await orchestrator.idle()
        async with SagaOrchestrator(store, provide={Lamp: Lamp()}) as orchestrator:
            assert await orchestrator.running_count() == 0

            await orchestrator.idle()

            reader = await orchestrator.get_saga("reader")
            assert reader is not None
            assert reader.status is SagaStatus.COMPLETED


async def test_says_that_the_orchestrator_left_before(store_url: str) -> None:
    heard: list[OrchestratorClosed] = []

    async def wait(orchestrator: SagaOrchestrator) -> None:
        with pytest.raises(OrchestratorClosed) as caught:
            await orchestrator.idle()
        heard.append(caught.value)

    async with EventStore(store_url) as store, anyio.create_task_group() as group:
        async with SagaOrchestrator(store, grace=5) as orchestrator:
            await orchestrator.start(Sleeper(seconds=1000), id="sleeper")
            group.start_soon(wait, orchestrator)
            await anyio.sleep(1)

    assert len(heard) == 1
    with pytest.raises(OrchestratorClosed):
        await orchestrator.idle()
