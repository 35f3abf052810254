"""`retry_failed`: what a person does when the cause is mended."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    OperationRefused,
    Refused,
    Retry,
    SagaNotFound,
    SagaOrchestrator,
    SagaStatus,
    StepRefused,
)
from allframe.saga.records import RetryRequested
from tests.saga import world
from tests.saga.world import Home, trip

pytestmark = pytest.mark.anyio
home = world.home


async def stuck(home: Home, Trip: Any, orchestrator: SagaOrchestrator) -> None:
    """A trip whose second step could not be undone."""
    home.world.tell("third", home.world.raises(Refused("fully booked")))
    home.world.always("undo second", home.world.raises(ConnectionError("down")))
    with pytest.raises(CompensationFailed):
        await orchestrator.execute(Trip(), id="stuck")
    home.world.relent("undo second")


@pytest.mark.parametrize("reopened", [False, True], ids=["same opening", "next opening"])
async def test_finishes_the_rollback(home: Home, reopened: bool) -> None:
    Trip = trip(undo_retry=Retry(attempts=2, jitter=0))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        if not reopened:
            await orchestrator.retry_failed("stuck", reason="the agency is up again")
            await (await orchestrator.start(Trip(), id="stuck")).outcome()
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        if reopened:
            await orchestrator.retry_failed("stuck", reason="the agency is up again")
        outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()

    assert home.world.effects == []
    assert home.world.journal[3:] == ["undo second", "undo second", "undo second", "undo first"]
    assert outcome.status is SagaStatus.COMPENSATED
    with pytest.raises(
        StepRefused, match="was refused: fully booked. Rolled back: second, first. Nothing is left of it"
    ):
        outcome.raise_for_status()
    metadata = await home.monitor.get_saga("stuck")
    assert metadata is not None
    assert (metadata.status, metadata.attention, metadata.uncompensated) == (SagaStatus.COMPENSATED, False, ())


async def test_gives_fresh_attempts(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=3, jitter=0))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        home.world.tell("undo second", *[home.world.raises(ConnectionError("still down"))] * 2)
        await orchestrator.retry_failed("stuck", reason="perhaps")
        outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal.count("undo second") == 6
    assert home.world.effects == []


async def test_fresh_attempts_wait_as_the_first_ones_did(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=3, wait=1, factor=10, max_wait=10_000, jitter=0))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        home.world.tell("undo second", *[home.world.raises(ConnectionError("still down"))] * 2)
        await orchestrator.retry_failed("stuck", reason="perhaps")
        await (await orchestrator.start(Trip(), id="stuck")).outcome()

    times = [time for note, time in zip(home.world.journal, home.world.times, strict=True) if note == "undo second"]
    waits = [later - earlier for earlier, later in pairwise(times[3:])]
    assert waits == pytest.approx([1, 10], abs=1e-3)


async def test_may_fail_again_and_be_asked_for_again(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        for n in range(3):
            home.world.tell("undo second", home.world.raises(ConnectionError(f"still down {n}")))
            await orchestrator.retry_failed("stuck", reason=f"try {n}")
            outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()
            assert outcome.status is SagaStatus.FAILED
            with pytest.raises(CompensationFailed, match=f"still down {n}"):
                outcome.raise_for_status()
        await orchestrator.retry_failed("stuck", reason="at last")
        outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []


async def test_is_recorded_with_its_reason_and_who_asked(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        await orchestrator.retry_failed("stuck", reason="the agency is up again")
        assert "retry requested" in await home.told("stuck"), "when it returns, the wish is safe"
        await (await orchestrator.start(Trip(), id="stuck")).outcome()

    (record,) = [e.record for e in await home.timeline("stuck") if isinstance(e.record, RetryRequested)]
    assert record.reason == "the agency is up again"
    assert "(pid " in record.actor
    assert record.compensates == "second", "the intent travels in the same row"


async def test_the_first_handle_sees_the_new_end(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="stuck")
        assert (await handle.outcome()).status is SagaStatus.FAILED
        await orchestrator.retry_failed("stuck", reason="mended")
        assert (await handle.outcome()).status is SagaStatus.COMPENSATED


async def test_goes_on_where_a_cancelled_saga_got_stuck(home: Home) -> None:
    Trip = trip(timeout=None, undo_retry=Retry(attempts=1))
    home.world.tell("second", home.world.hangs())
    home.world.tell("undo second", home.world.raises(ConnectionError("down")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="stuck")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        with pytest.raises(CompensationFailed, match=r"It was to be undone because it was cancelled \(it rains\)"):
            (await handle.outcome()).raise_for_status()
        await orchestrator.retry_failed("stuck", reason="mended")
        await handle.outcome()

    assert home.world.effects == []


@pytest.mark.parametrize("status", ["completed", "compensated"])
async def test_is_refused_when_it_is_over(home: Home, status: str) -> None:
    Trip = trip()
    if status == "compensated":
        home.world.tell("third", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(Trip(), id="t")).outcome()
        with pytest.raises(
            OperationRefused, match=f"Saga 't' is {status}: it is over, and cannot be retried"
        ) as raised:
            await orchestrator.retry_failed("t", reason="why not")

    assert raised.value.saga_id == "t"
    assert (await home.told("t"))[-1] == status


async def test_is_refused_while_it_runs_or_waits_or_goes_back(home: Home) -> None:
    Trip = trip(timeout=None, undo_timeout=None)
    forward, back = anyio.Event(), anyio.Event()
    home.world.tell("second", home.world.waits(forward))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.undoes_after(back))

    async with home.orchestrator(max_running=1) as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await orchestrator.start(Trip(), id="queued")
        await home.world.until("do second")
        for id_, status in (("t", "executing"), ("queued", "not_started")):
            with pytest.raises(OperationRefused) as raised:
                await orchestrator.retry_failed(id_, reason="why not")
            assert str(raised.value) == (
                f"Saga '{id_}' is {status}, and only one that is failed or blocked can be retried. Possible now: cancel, "
                "abandon."
            )
        forward.set()
        await home.world.until("undo second")
        with pytest.raises(OperationRefused, match="is compensating, and only one that is failed or blocked"):
            await orchestrator.retry_failed("t", reason="why not")
        back.set()
        await handle.outcome()
        await (await orchestrator.start(Trip(), id="queued")).outcome()

    assert "retry requested" not in [*await home.told("t"), *await home.told("queued")]


async def test_an_unknown_id_is_not_found(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaNotFound, match="The store holds no saga 'nobody', so none can be retried"):
            await orchestrator.retry_failed("nobody", reason="why not")


async def test_asked_for_by_many_at_once_it_is_tried_once(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    async with home.orchestrator() as orchestrator:
        await stuck(home, Trip, orchestrator)
        results: list[str] = []

        async def ask() -> None:
            try:
                await orchestrator.retry_failed("stuck", reason="mended")
                results.append("accepted")
            except OperationRefused:
                results.append("refused")

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask)
        outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()

    assert results.count("accepted") == 1
    assert outcome.status is SagaStatus.COMPENSATED
    assert (await home.told("stuck")).count("retry requested") == 1
    assert home.world.journal.count("undo second") == 2
