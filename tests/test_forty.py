"""The forty sagas of `tests.forty`: each completes, and each is undone wherever it fails or stops."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from allframe import EventStore, SagaDefinition, SagaOrchestrator, SagaStatus
from allframe.saga.monitor import Monitor
from allframe.saga.records import StepFailed
from allframe.testing import VirtualClock
from tests.forty import EXAMPLES, Far
from tests.saga.world import assert_invariants

pytestmark = pytest.mark.anyio


@pytest.fixture(params=sorted(EXAMPLES))
def saga(request: pytest.FixtureRequest) -> Any:
    return EXAMPLES[request.param]


def _irreversible(saga: Any) -> set[str]:
    """The keys of steps that are never undone."""
    graph = saga.graph if isinstance(saga, SagaDefinition) else type(saga).graph
    return {f"s-1/{node.name}/do" for node in graph.plan.nodes if not node.compensated and not node.readonly}


def test_there_are_forty_of_all_styles() -> None:
    assert len(EXAMPLES) == 40
    assert sum(isinstance(example, SagaDefinition) for example in EXAMPLES.values()) == 3


async def test_it_completes(saga: Any, clock: VirtualClock) -> None:
    far = Far()
    async with SagaOrchestrator(provide={Far: far}, clock=clock) as orchestrator:
        outcome = await orchestrator.execute(saga, id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert not [call for call in far.calls if call.startswith("undo")]


async def test_whatever_is_refused_leaves_nothing_behind(saga: Any, clock: VirtualClock) -> None:
    """Each thing that it does is refused in turn."""
    probe = Far()
    async with SagaOrchestrator(provide={Far: probe}, clock=clock) as orchestrator:
        await orchestrator.execute(saga, id="s-1")
    for what in dict.fromkeys(call.removeprefix("do ") for call in probe.calls):
        far = Far()
        far.refuse(what)
        async with EventStore() as store:
            async with SagaOrchestrator(store, provide={Far: far}, clock=clock) as orchestrator:
                outcome = await (await orchestrator.start(saga, id="s-1")).outcome()
            await assert_invariants(store)
        committed = outcome.status is SagaStatus.BLOCKED
        assert committed or outcome.status is SagaStatus.COMPENSATED, what
        assert committed == bool(set(far.standing) & _irreversible(saga)), what
        assert committed or far.standing == {}, what


async def test_stopped_anywhere_it_is_finished_by_the_next_opening(
    saga: Any, clock: VirtualClock, tmp_path: Any
) -> None:
    """The process is gone after every other of its records in turn."""
    stops = 1
    while True:
        far = Far()
        url = f"sqlite:///{tmp_path}/{stops}.db?durability=process"
        async with EventStore(url) as store:
            whole = await _run_until(store, saga, far, clock, records=stops)
            while store.backend._holds.any:  # type: ignore[attr-defined]
                await anyio.lowlevel.checkpoint()  # a thread that was left to itself
            async with SagaOrchestrator(store, provide={Far: far}, clock=clock) as orchestrator:
                outcome = await orchestrator.execute(saga, id="s-1")
            assert outcome.status is SagaStatus.COMPLETED
            assert not await _doubled(store)
            await assert_invariants(store)
        if whole:
            return
        stops += 2


async def _run_until(store: EventStore, saga: Any, far: Far, clock: VirtualClock, *, records: int) -> bool:
    """Run it, and leave without a word when it has more than so many records; whether it ended before that."""
    async with SagaOrchestrator(store, provide={Far: far}, clock=clock, grace=0) as orchestrator:
        handle = await orchestrator.start(saga, id="s-1")
        while True:
            timeline = await Monitor(store).timeline("s-1")
            if (await orchestrator.get_running_sagas()) == []:
                await handle.outcome()
                return True
            if len(timeline) > records:
                return False
            await anyio.sleep(0.001)


async def _doubled(store: EventStore) -> list[str]:
    """Steps that were run again although nothing was wrong with them."""
    timeline = await Monitor(store).timeline("s-1")
    return [
        entry.record.step for entry in timeline if isinstance(entry.record, StepFailed) and not entry.record.next_at
    ]
