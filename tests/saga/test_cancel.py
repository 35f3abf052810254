"""`cancel`: a durable wish, then a rollback."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from allframe import (
    OperationRefused,
    Refused,
    Retry,
    SagaCancelled,
    SagaNotFound,
    SagaStatus,
    StepContext,
    StepFailed,
    Unknown,
)
from allframe.saga.records import CancelRequested
from tests.saga import world
from tests.saga.world import Home, facts, trip

pytestmark = pytest.mark.anyio
home = world.home


async def test_cuts_the_running_step(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        before = anyio.current_time()
        await orchestrator.cancel("t", reason="it rains")
        outcome = await handle.outcome()
        assert anyio.current_time() - before < 1

    assert home.world.effects == []
    assert outcome.status is SagaStatus.COMPENSATED
    assert outcome.outputs == {"first": "first done"}
    assert home.world.given["second"] == Unknown("cancelled", None, 1)  # type: ignore[arg-type]


async def test_is_recorded_with_its_reason_and_who_asked(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        # when it returns, the wish is safe
        assert "cancel requested" in await home.told("t")
        await handle.outcome()

    record: Any = (await home.timeline("t"))[2].record
    assert isinstance(record, CancelRequested)
    assert record.reason == "it rains"
    assert "(pid " in record.actor
    metadata = await home.monitor.get_saga("t")
    assert metadata is not None
    assert (metadata.status, metadata.reason, metadata.attention) == (SagaStatus.COMPENSATED, "it rains", False)


async def test_a_cancelled_saga_tells_so_live_and_from_its_records(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())
    errors = []

    async with home.orchestrator() as orchestrator:

        async def call() -> None:
            with pytest.raises(SagaCancelled) as raised:
                await orchestrator.execute(Trip(), id="t")
            errors.append(raised.value)

        async with anyio.create_task_group() as callers:
            callers.start_soon(call)
            await home.world.until("do second")
            await orchestrator.cancel("t", reason="it rains")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaCancelled) as again:
            await orchestrator.execute(Trip(), id="t")

    assert facts(again.value) == facts(errors[0])
    assert str(again.value) == ("Trip 't' was cancelled: it rains. Rolled back: second, first. Nothing is left of it.")
    assert (again.value.reason, again.value.saga_id, again.value.step_name) == ("it rains", "t", None)


async def test_a_reason_that_is_a_sentence_keeps_one_full_stop(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="It rains.")
        outcome = await handle.outcome()

    with pytest.raises(SagaCancelled, match=r"was cancelled: It rains\. Rolled back"):
        outcome.raise_for_status()


@pytest.mark.parametrize("unknown", [True, False], ids=["after silence", "after an answer"])
async def test_a_step_that_waits_for_a_retry_does_not_begin_again(home: Home, unknown: bool) -> None:
    Trip = trip(retry=Retry(attempts=5, wait=1000, jitter=0, max_wait=1000))
    error = TimeoutError("read") if unknown else ValueError("no")
    home.world.tell("second", home.world.raises_after(error) if unknown else home.world.raises(error))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await anyio.sleep(10)
        before = anyio.current_time()
        await handle.cancel(reason="it rains")
        await handle.outcome()
        assert anyio.current_time() - before < 1, "nobody waits for the retry"

    assert home.world.effects == []
    undone = ["undo second"] if unknown else []
    assert home.world.journal == ["do first", "do second", *undone, "undo first"]
    assert (await home.told("t"))[2:6] == [
        f"second {'unknown (silence)' if unknown else 'failed'}, again",
        "cancel requested",
        "second not begun",
        "rollback begun",
    ]
    if unknown:
        given = home.world.given["second"]
        assert (given.reason, given.attempts) == ("silence", 1), "the attempt that was announced never began"


async def test_a_saga_that_waits_for_its_turn_ends_without_beginning(home: Home) -> None:
    Trip = trip(timeout=None)
    gate = anyio.Event()
    home.world.tell("first", home.world.waits(gate))

    async with home.orchestrator(max_running=1) as orchestrator:
        running = await orchestrator.start(Trip(), id="running")
        queued = await orchestrator.start(Trip(), id="queued")
        assert (await queued.metadata()).status is SagaStatus.NOT_STARTED
        await queued.cancel(reason="it rains")
        outcome = await queued.outcome()
        assert outcome.status is SagaStatus.COMPENSATED
        with pytest.raises(SagaCancelled) as raised:
            outcome.raise_for_status()
        assert str(raised.value) == (
            "Trip 'queued' was cancelled: it rains. Nothing had to be rolled back. Nothing is left of it."
        )
        gate.set()
        assert (await running.outcome()).status is SagaStatus.COMPLETED

    assert await home.told("queued") == ["queued", "cancel requested", "rollback begun", "compensated"]
    assert home.world.journal == ["do first", "do second", "do third"]


async def test_is_refused_during_a_rollback(home: Home) -> None:
    Trip = trip(undo_timeout=None)
    gate = anyio.Event()
    home.world.tell("third", home.world.raises(Refused("no")))
    home.world.tell("undo second", home.world.undoes_after(gate))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("undo second")
        with pytest.raises(OperationRefused) as raised:
            await handle.cancel(reason="it rains")
        gate.set()
        outcome = await handle.outcome()

    assert str(raised.value) == (
        "Saga 't' is compensating, and only one that has not begun its rollback can be cancelled."
    )
    assert raised.value.saga_id == "t"
    with pytest.raises(StepFailed):
        outcome.raise_for_status()
    assert "cancel requested" not in await home.told("t")


@pytest.mark.parametrize("reopened", [False, True])
async def test_is_refused_when_it_is_over(home: Home, reopened: bool) -> None:
    Trip = trip()
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="t")
        if not reopened:
            with pytest.raises(OperationRefused, match="Saga 't' is completed: it is over, and cannot be cancelled"):
                await orchestrator.cancel("t", reason="it rains")
    async with home.orchestrator() as orchestrator:
        with pytest.raises(OperationRefused, match="Saga 't' is completed: it is over, and cannot be cancelled"):
            await orchestrator.cancel("t", reason="it rains")

    assert (await home.told("t"))[-1] == "completed"


async def test_is_refused_when_it_failed(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await handle.outcome()
        with pytest.raises(OperationRefused, match="Saga 't' is failed, and only one that has not begun its rollback"):
            await handle.cancel(reason="it rains")
        assert (await handle.outcome()).status is SagaStatus.FAILED

    assert (await home.told("t"))[-1] == "failed"


async def test_a_second_cancel_changes_nothing(home: Home) -> None:
    Trip = trip(timeout=None)
    gate = anyio.Event()

    async def stubborn(ctx: StepContext) -> str:
        done = home.world.take_effect(ctx)
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return done

    home.world.tell("second", stubborn)
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        await handle.cancel(reason="it pours")
        gate.set()
        outcome = await handle.outcome()

    assert (await home.told("t")).count("cancel requested") == 1
    with pytest.raises(SagaCancelled) as raised:
        outcome.raise_for_status()
    assert raised.value.reason == "it rains"


async def test_a_second_cancel_does_not_hurry_a_compensation_that_waits_to_be_tried_again(home: Home) -> None:
    Trip = trip(timeout=None, undo_retry=Retry(attempts=2, wait=20, jitter=0))
    home.world.tell("second", home.world.hangs())
    home.world.tell("undo second", home.world.raises(ValueError("not yet")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        await home.world.until("undo second")
        await anyio.sleep(5)
        await handle.cancel(reason="it pours")
        await handle.outcome()

    first, second = (home.world.times[i] for i, what in enumerate(home.world.journal) if what == "undo second")
    assert second - first == pytest.approx(20, abs=0.01)


async def test_many_at_once_are_one(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")

        async def ask(n: int) -> None:
            try:
                await orchestrator.cancel("t", reason=f"reason {n}")
            except OperationRefused:
                pass  # it had begun its rollback by then, or was over

        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(ask, n)
        await handle.outcome()

    assert (await home.told("t")).count("cancel requested") == 1
    assert home.world.effects == []


async def test_an_unknown_id_is_not_found(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaNotFound, match="The store holds no saga 'nobody', so none can be cancelled") as raised:
            await orchestrator.cancel("nobody", reason="it rains")

    assert raised.value.saga_id == "nobody"
    assert await home.monitor.running_count() == await home.monitor.history_count() == 0


async def test_a_step_that_swallows_its_cancellation_is_undone_after_it_ended(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.swallows())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        outcome = await handle.outcome()

    assert home.world.effects == []
    assert home.world.given["second"] == "second done"
    assert home.world.journal == ["do first", "do second", "undo second", "undo first"]
    assert (await home.told("t"))[2:5] == ["cancel requested", "second succeeded", "rollback begun"]
    with pytest.raises(SagaCancelled):
        outcome.raise_for_status()


async def test_a_step_that_answers_its_cancellation_with_an_error_is_unknown(home: Home) -> None:
    Trip = trip(timeout=None, retry=Retry(attempts=5))
    home.world.tell("second", home.world.swallows(ValueError("cut off")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        await handle.outcome()

    assert home.world.effects == []
    assert home.world.journal == ["do first", "do second", "undo second", "undo first"]
    assert home.world.given["second"].reason == "cancelled"


async def test_a_cancelled_caller_is_no_cancelled_saga(home: Home) -> None:
    Trip = trip(timeout=None)
    gate = anyio.Event()
    home.world.tell("second", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        async with anyio.create_task_group() as callers:
            callers.start_soon(orchestrator.execute, Trip())
            await home.world.until("do second")
            callers.cancel_scope.cancel()
        gate.set()
        await home.world.until("do third")

    assert home.world.effects == ["first", "second", "third"]


async def test_works_on_a_saga_that_another_opening_began(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=2, wait=1000, max_wait=1000))
    home.world.tell("second", home.world.raises(ValueError("no")))
    async with home.orchestrator() as orchestrator:
        await orchestrator.start(Trip(), id="t")
        await home.world.until("do second")

    async with home.orchestrator() as orchestrator:
        await orchestrator.cancel("t", reason="it rains")
        with pytest.raises(SagaCancelled):
            await orchestrator.execute(Trip(), id="t")

    assert home.world.effects == []
    assert home.world.journal == ["do first", "do second", "undo first"]


async def test_a_wish_survives_leaving(home: Home) -> None:
    """Cancelled, and the orchestrator left before the step ended: the next opening goes back."""
    Trip = trip(timeout=None)
    gate = anyio.Event()

    async def stubborn(ctx: StepContext) -> str:
        done = home.world.take_effect(ctx)
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return done

    async def let_go() -> None:
        await anyio.sleep(60)
        gate.set()

    home.world.tell("second", stubborn)
    async with anyio.create_task_group() as group:
        async with home.orchestrator(grace=5) as orchestrator:
            handle = await orchestrator.start(Trip(), id="t")
            await home.world.until("do second")
            await handle.cancel(reason="it rains")
            group.start_soon(let_go)
    assert await home.told("t") == ["started", "first succeeded", "cancel requested"]

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaCancelled, match="it rains"):
            await orchestrator.execute(Trip(), id="t")
    assert home.world.effects == []
    assert "do third" not in home.world.journal
