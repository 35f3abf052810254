"""What a realistic saga is put through as a whole, with a `tests.forty.Far` as everything beyond the process.

Each takes the saga as an instance, or as a definition whose id is ``s-1``, and a virtual clock.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from allframe import EventStore, SagaDefinition, SagaOrchestrator, SagaOutcome, SagaStatus
from allframe.saga.monitor import Monitor
from allframe.saga.records import StepFailed
from allframe.testing import VirtualClock
from tests.forty import Far
from tests.saga.world import assert_invariants

__all__ = [
    "completes",
    "is_finished_wherever_it_stops",
    "leaves_nothing_that_is_lost",
    "leaves_nothing_that_is_refused",
]


async def completes(saga: Any, clock: VirtualClock) -> None:
    far = Far()
    async with SagaOrchestrator(provide={Far: far}, clock=clock) as orchestrator:
        outcome = await orchestrator.execute(saga, id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert not [call for call in far.calls if call.startswith("undo")]


async def leaves_nothing_that_is_refused(saga: Any, clock: VirtualClock, *, instead: str | None = None) -> None:
    """Each thing that it does is refused in turn; it does without what is done ``instead`` of something."""
    for what in await _what_it_does(saga, clock):
        far = Far()
        far.refuse(what)
        outcome = await _outcome(saga, far, clock)
        if instead in far.standing.values():
            assert outcome.status is SagaStatus.COMPLETED, what
            continue
        committed = outcome.status is SagaStatus.BLOCKED
        assert committed or outcome.status is SagaStatus.COMPENSATED, what
        assert committed == bool(set(far.standing) & _irreversible(saga)), what
        assert committed or far.standing == {}, what


async def leaves_nothing_that_is_lost(saga: Any, clock: VirtualClock) -> None:
    """Each thing that it does is done once without a reply; what it says that it left is what stands there."""
    whole = await _what_it_does(saga, clock)
    for what in whole:
        far = Far()
        far.lose(what)
        outcome = await _outcome(saga, far, clock)
        if outcome.status is SagaStatus.COMPENSATED:
            assert far.standing == {}, what
        elif outcome.status is SagaStatus.COMPLETED:
            assert set(whole) <= {call.removeprefix("do ") for call in far.calls}, what
        else:  # it tells that a person must look
            assert outcome.status in (SagaStatus.BLOCKED, SagaStatus.FAILED), what


async def is_finished_wherever_it_stops(saga: Any, clock: VirtualClock, folder: Path) -> None:
    """The process is gone after every other of its records in turn; the next opening goes on."""
    stops = 1
    while True:
        far = Far()
        async with EventStore(f"sqlite:///{folder}/{stops}.db?durability=process") as store:
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


async def _what_it_does(saga: Any, clock: VirtualClock) -> list[str]:
    """In order, each once."""
    probe = Far()
    await _outcome(saga, probe, clock)
    return list(dict.fromkeys(call.removeprefix("do ") for call in probe.calls))


async def _outcome(saga: Any, far: Far, clock: VirtualClock) -> SagaOutcome:
    async with EventStore() as store:
        async with SagaOrchestrator(store, provide={Far: far}, clock=clock) as orchestrator:
            outcome = await (await orchestrator.start(saga, id="s-1")).outcome()
        await assert_invariants(store)
    return outcome


def _irreversible(saga: Any) -> set[str]:
    """The keys of steps that are never undone."""
    graph = saga.graph if isinstance(saga, SagaDefinition) else type(saga).graph
    return {f"s-1/{node.name}/do" for node in graph.plan.nodes if not node.compensated and not node.readonly}


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
