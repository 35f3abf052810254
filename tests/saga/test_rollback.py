"""The way back: newest first, one at a time, with retries and timeouts of its own, out of reach of whoever waits."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    EffectUnknown,
    Event,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaError,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StepFailed,
    Unknown,
    compensates,
    step,
)
from allframe.clock import from_microseconds
from tests.saga import world
from tests.saga.world import Home, World, facts, trip
from tests.virtual import ASYNCIO_ONLY

pytestmark = pytest.mark.anyio
home = world.home


async def test_undoes_the_newest_step_first(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises_after(TimeoutError("hm")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaError, match="Rolled back: third, second, first. Nothing is left of it."):
            await orchestrator.execute(Trip(), id="back")

    assert home.world.journal[3:] == ["undo third", "undo second", "undo first"]
    assert home.world.effects == []


async def test_undoes_one_step_at_a_time(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))
    ended: list[float] = []

    async def slow(ctx: StepContext) -> None:
        await anyio.sleep(5)
        ended.append(anyio.current_time())
        home.world.take_back(ctx)

    home.world.tell("undo second", slow)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Trip())

    assert home.world.times[home.world.journal.index("undo first")] >= ended[0]


async def test_a_step_that_never_began_is_never_undone(home: Home) -> None:
    Trip = trip()
    home.world.tell("first", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(
            StepFailed, match=r"failed: ValueError: no\. Nothing had to be rolled back\. Nothing is left of it\."
        ):
            await orchestrator.execute(Trip(), id="early")

    assert home.world.journal == ["do first"]
    assert await home.told("early") == ["started", "first failed", "rollback begun", "compensated"]


# --- what a compensation is given ------------------------------------------------------------------------------------


class Booked(Event):
    room: int


class Stay(Saga):
    """Its compensations take everything that a compensation may take."""

    room: int = 7

    @step
    async def look(self, world: Inject[World], ctx: StepContext) -> dict[str, int]:
        await world.do(ctx)
        return {"price": 90}

    @compensates("look")
    async def unlook(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=10)
    async def book(self, world: Inject[World], ctx: StepContext) -> Booked:
        await world.do(ctx)
        return Booked(room=self.room)

    @compensates("book")
    async def unbook(
        self, look: dict[str, int], book: Booked | Unknown, world: Inject[World], ctx: StepContext
    ) -> None:
        await world.undo(ctx, (self.room, look, book, ctx.outcome))

    @step
    async def pay(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


async def test_a_compensation_is_given_the_output_and_those_of_earlier_steps(home: Home) -> None:
    home.world.tell("pay", home.world.raises(Refused("no money")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Stay())

    assert home.world.given["book"] == (7, {"price": 90}, Booked(room=7), Booked(room=7))
    assert home.world.effects == []


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [(TimeoutError("read"), "TimeoutError", "read"), (EffectUnknown("hm"), "allframe.EffectUnknown", "hm")],
)
async def test_a_compensation_is_given_unknown_with_its_reason(
    home: Home, error: Exception, kind: str, message: str
) -> None:
    home.world.tell("book", home.world.raises_after(error))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaError):
            await orchestrator.execute(Stay())

    _, look, book, outcome = home.world.given["book"]
    assert look == {"price": 90}
    assert book == outcome
    assert isinstance(book, Unknown)
    assert (book.reason, book.attempts) == ("silence", 1)
    assert book.error is not None
    assert (book.error.type, book.error.message) == (kind, message)


async def test_a_deadline_leaves_unknown_without_an_error(home: Home) -> None:
    home.world.tell("book", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaError):
            await orchestrator.execute(Stay())

    assert home.world.given["book"][2] == Unknown("deadline", None, 1)  # type: ignore[arg-type]


async def test_a_lost_output_is_given_as_unknown_with_what_was_wrong(home: Home) -> None:
    Trip = trip()
    home.world.tell("second", home.world.returns(7))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaError):
            await orchestrator.execute(Trip())

    given = home.world.given["second"]
    assert (given.reason, given.attempts, given.error.type) == ("output_lost", 1, "allframe.PayloadError")


async def test_a_compensation_has_a_key_of_its_own(home: Home) -> None:
    home.world.tell("pay", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Stay(), id="stay 1")

    contexts = dict(zip(home.world.journal, home.world.contexts, strict=True))
    done, undone = contexts["do book"], contexts["undo book"]
    assert (done.idempotency_key, done.forward_key) == ("stay%201/book/do", "stay%201/book/do")
    assert (undone.idempotency_key, undone.forward_key) == ("stay%201/book/undo", "stay%201/book/do")
    assert (undone.saga_id, undone.step, undone.attempt) == ("stay 1", "book", 1)


# --- retries and failures --------------------------------------------------------------------------------------------


async def test_a_compensation_is_tried_five_times_by_default(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", *[home.world.raises(ConnectionError("down"))] * 4)

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip(), id="patient")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do first", "do second", "do third", *["undo second"] * 5, "undo first"]
    assert home.world.effects == []
    assert [ctx.attempt for ctx in home.world.contexts[3:8]] == [1, 2, 3, 4, 5]
    assert len({ctx.idempotency_key for ctx in home.world.contexts[3:8]}) == 1


async def test_the_waits_of_a_compensation_are_exact_and_recorded(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=3, wait=10, factor=5, max_wait=100, jitter=0))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", *[home.world.raises(ConnectionError("down"))] * 2)

    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(Trip(), id="waits")).outcome()

    times = [time for note, time in zip(home.world.journal, home.world.times, strict=True) if note == "undo second"]
    assert [times[1] - times[0], times[2] - times[1]] == pytest.approx([10, 50], abs=1e-4)
    failed: list[Any] = [e for e in await home.timeline("waits") if e.record.type == "$saga.step_not_compensated"]
    planned = [(from_microseconds(e.record.next_at) - e.at).total_seconds() for e in failed]
    assert planned == [10, 50]


async def failed_rollback(home: Home, Trip: Any, orchestrator: SagaOrchestrator) -> CompensationFailed:
    """A trip whose second step cannot be undone."""
    home.world.tell("third", home.world.raises(Refused("fully booked")))
    home.world.always("undo second", home.world.raises(ConnectionError("the agency is down")))
    with pytest.raises(CompensationFailed) as raised:
        await orchestrator.execute(Trip(), id="stuck")
    return raised.value


async def test_an_exhausted_compensation_leaves_the_saga_failed_for_a_person(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=2, jitter=0))

    async with home.orchestrator() as orchestrator:
        error = await failed_rollback(home, Trip, orchestrator)
        outcome = await (await orchestrator.start(Trip(), id="stuck")).outcome()

    # what comes before the step that still stands is not undone under it
    assert home.world.effects == ["first", "second"]
    assert home.world.journal == ["do first", "do second", "do third", "undo second", "undo second"]
    assert await home.told("stuck") == [
        "started",
        "first succeeded",
        "second succeeded",
        "third was refused",
        "rollback begun",
        "second not compensated, again",
        "second not compensated",
        "failed",
    ]

    metadata = await home.monitor.get_saga("stuck")
    assert metadata is not None
    assert (metadata.status, metadata.attention, metadata.running) == (SagaStatus.FAILED, True, ())
    assert metadata.uncompensated == ("first", "second")
    assert metadata.failed_step == "third"
    assert outcome.status is SagaStatus.FAILED
    assert outcome.outputs == {"first": "first done", "second": "second done"}

    assert error.uncompensated == ("first", "second")
    assert (error.saga_id, error.step_name, error.step_index) == ("stuck", "second", 1)
    assert str(error.error) == "ConnectionError: the agency is down"
    assert str(error.original) == "allframe.Refused: fully booked"
    assert isinstance(error.__cause__, ConnectionError)
    assert str(error) == (
        "Trip 'stuck' could not be rolled back. It was to be undone because step 'third' was refused: allframe.Refused: "
        "fully booked. Nothing was rolled back. Still in effect: first, second (the compensation of 'second' failed: "
        "ConnectionError: the agency is down). When the cause is mended, retry_failed() goes on with the rollback."
    )


async def test_a_failed_rollback_says_the_same_from_its_records(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=2, jitter=0))
    async with home.orchestrator() as orchestrator:
        error = await failed_rollback(home, Trip, orchestrator)
        with pytest.raises(CompensationFailed) as at_once:
            await orchestrator.execute(Trip(), id="stuck")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed) as reopened:
            await orchestrator.execute(Trip(), id="stuck")

    assert facts(at_once.value) == facts(reopened.value) == facts(error)
    assert home.world.journal.count("undo second") == 2, "asking ran nothing"


async def test_what_was_undone_before_the_rollback_failed_is_told_apart(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises_after(EffectUnknown("hm")))
    home.world.always("undo first", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed) as raised:
            await orchestrator.execute(Trip())

    assert home.world.effects == ["first"]
    assert raised.value.uncompensated == ("first",)
    assert "Rolled back: third, second. Still in effect: first (the compensation of 'first' failed: " in str(
        raised.value
    )


@pytest.mark.parametrize(
    "error",
    [SystemExit(1), GeneratorExit(), MemoryError(), Refused("no"), ExceptionGroup("g", [ValueError()])],
    ids=repr,
)
async def test_no_exception_of_a_compensation_is_taken_for_success(home: Home, error: BaseException) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(error))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed) as raised:
            await orchestrator.execute(Trip(), id="loud")
        assert raised.value.error is not None
        assert type(error).__name__ in raised.value.error.type
        assert raised.value.uncompensated == ("first", "second")

        await orchestrator.retry_failed("loud", reason="mended")
        outcome = await (await orchestrator.start(Trip(), id="loud")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []


@ASYNCIO_ONLY
async def test_a_cancelled_error_of_a_compensation_s_own_is_a_failure_of_it(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(asyncio.CancelledError()))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(
            CompensationFailed, match=r"the compensation of 'second' failed: asyncio\.exceptions\.CancelledError"
        ):
            await orchestrator.execute(Trip())

    assert home.world.effects == ["first", "second"]


async def test_a_compensation_may_return_anything(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))

    async def undo(ctx: StepContext) -> Any:
        home.world.take_back(ctx)
        return object()

    home.world.tell("undo second", undo)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip())).outcome()

    assert outcome.status is SagaStatus.COMPENSATED


# --- a compensation that needs the output ----------------------------------------------------------------------------


class Exacting(Saga):
    """The second step can only be undone with its output."""

    @step
    async def first(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("first")
    async def undo_first(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=10)
    async def second(self, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output

    @compensates("second", if_unknown="fail")
    async def undo_second(self, second: str, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, second)

    @step
    async def third(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


async def test_is_called_with_the_output_where_there_is_one(home: Home) -> None:
    home.world.tell("third", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Exacting())

    assert home.world.given["second"] == "second done"
    assert home.world.effects == []


@pytest.mark.parametrize("how", ["deadline", "silence", "output_lost"])
async def test_is_not_called_without_and_waits_for_a_person(home: Home, how: str) -> None:
    behaviours = {
        "deadline": home.world.hangs(),
        "silence": home.world.raises_after(TimeoutError("read")),
        "output_lost": home.world.returns(7),
    }
    home.world.tell("second", behaviours[how])

    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed) as raised:
            await orchestrator.execute(Exacting(), id="exact")

    assert home.world.journal == ["do first", "do second"]
    assert home.world.effects == ["first", "second"]
    assert (await home.told("exact"))[-3:] == ["rollback begun", "second not compensated", "failed"]
    assert raised.value.uncompensated == ("first", "second")
    assert (
        "The compensation of 'second' needs the step's output, and nobody has it: "
        f"{how}. It is declared if_unknown='fail'" in str(raised.value)
    )
    metadata = await home.monitor.get_saga("exact")
    assert metadata is not None
    assert (metadata.status, metadata.attention) == (SagaStatus.FAILED, True)


async def test_a_retry_cannot_help_where_the_output_is_missing(home: Home) -> None:
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Exacting(), id="exact")
        await handle.outcome()
        await anyio.sleep(100)
        await orchestrator.retry_failed("exact", reason="perhaps")
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.FAILED
    assert home.world.journal == ["do first", "do second"]
    # that the head is the fold still, the fixture checks


# --- nobody's cancellation reaches a rollback --------------------------------------------------------------------------


@ASYNCIO_ONLY
async def test_a_caller_cancelled_natively_five_times_does_not_stop_a_rollback(home: Home) -> None:
    Trip = trip(undo_timeout=None)
    gate = anyio.Event()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.undoes_after(gate))
    cancellations = 0

    async with home.orchestrator() as orchestrator:

        async def call() -> None:
            nonlocal cancellations
            try:
                await orchestrator.execute(Trip(), id="pursued")
            except asyncio.CancelledError:
                cancellations += 1
            handle = await orchestrator.start(Trip(), id="pursued")
            while True:
                try:
                    await handle.outcome()
                    return
                except asyncio.CancelledError:
                    cancellations += 1

        task = asyncio.get_running_loop().create_task(call())
        await home.world.until("undo second")
        for _ in range(5):
            task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
        assert (await home.told("pursued"))[-1] == "rollback begun"
        gate.set()
        await task

    assert cancellations == 5
    assert home.world.journal == ["do first", "do second", "do third", "undo second", "undo first"]
    assert home.world.effects == []
    assert (await home.told("pursued"))[-1] == "compensated"


@ASYNCIO_ONLY
async def test_the_owner_of_the_orchestrator_cancelled_natively_five_times(home: Home) -> None:
    """The rollback is not cut: what runs ends within ``grace``, and the next opening does the rest."""
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))
    ended = []

    async def slow(ctx: StepContext) -> None:
        await anyio.sleep(5)
        home.world.take_back(ctx)
        ended.append(ctx.step)

    home.world.tell("undo second", slow)

    async def own() -> None:
        async with home.orchestrator() as orchestrator:
            await orchestrator.execute(Trip(), id="pursued")

    task = asyncio.get_running_loop().create_task(own())
    await home.world.until("undo second")
    for _ in range(5):
        task.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["second"]
    assert home.world.effects == ["first"]
    assert (await home.told("pursued"))[-1] == "second compensated"

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Trip(), id="pursued")
    assert home.world.effects == []
    assert home.world.journal.count("undo second") == 1


async def test_a_caller_cancelled_by_its_scope_does_not_stop_a_rollback(home: Home) -> None:
    Trip = trip(undo_timeout=None)
    gate = anyio.Event()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.undoes_after(gate))

    async with home.orchestrator() as orchestrator:
        async with anyio.create_task_group() as callers:
            callers.start_soon(orchestrator.execute, Trip())
            await home.world.until("undo second")
            callers.cancel_scope.cancel()
        gate.set()
        await home.world.until("undo first")

    assert home.world.effects == []


async def test_leaving_by_a_cancelled_scope_lets_the_compensation_end(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))

    async def slow(ctx: StepContext) -> None:
        await anyio.sleep(5)
        home.world.take_back(ctx)

    home.world.tell("undo second", slow)
    with anyio.CancelScope() as scope:
        async with home.orchestrator() as orchestrator, anyio.create_task_group() as callers:
            callers.start_soon(orchestrator.execute, Trip())
            await home.world.until("undo second")
            scope.cancel()
    assert home.world.effects == ["first"]

    async with home.orchestrator():
        await home.world.until("undo first")
    assert home.world.effects == []


async def test_recovery_keeps_the_retries_of_a_compensation(home: Home) -> None:
    """An orchestrator that left in a rollback is followed by one that tries as often as is declared."""
    Trip = trip(undo_retry=Retry(attempts=4, jitter=0))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", *[home.world.raises(ConnectionError("down"))] * 3)
    async with home.orchestrator() as orchestrator:
        await orchestrator.start(Trip(), id="moved")
        await home.world.until("undo second")
    assert home.world.journal.count("undo second") == 1

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip(), id="moved")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal.count("undo second") == 4
    assert home.world.effects == []


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_compensation_that_returns_what_nobody_awaits_has_undone_nothing(home: Home, is_async: bool) -> None:
    async def give_back() -> None:
        home.world.journal.append("given back")

    async def forgets(self: Any) -> Any:
        return give_back()

    def forgets_on_a_thread(self: Any) -> Any:
        return give_back()

    class Forgetting(Saga):
        @step
        async def debit(self) -> None: ...

        refund = compensates("debit", retry=Retry(attempts=1))(forgets if is_async else forgets_on_a_thread)

        @step(readonly=True)
        async def look(self) -> None:
            raise Refused("no")

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Forgetting(), id="forgot")).outcome()

    assert outcome.status is SagaStatus.FAILED
    with pytest.raises(CompensationFailed, match="What 'refund' returned is a coroutine, which nobody awaits."):
        outcome.raise_for_status()
    assert home.world.journal == []
