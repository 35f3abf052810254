"""The point of no return: before it the saga can go back, after it only forward."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from allframe import (
    CancelRefused,
    EffectUnknown,
    Inject,
    OperationRefused,
    Refused,
    Retry,
    Saga,
    SagaBlocked,
    SagaCancelled,
    SagaError,
    SagaStatus,
    StepContext,
    StepFailed,
    StepRefused,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.world import Behaviour, Home, World, facts

pytestmark = pytest.mark.anyio
home = world.home


class Shipment(Saga):
    """``post`` is the pivot because it is marked; ``notify`` takes its output, ``thank`` nothing."""

    @step
    async def pack(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("pack")
    async def unpack(self, pack: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, pack)

    @step(pivot=True, timeout=10)
    async def post(self, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output

    @step(timeout=10, retry=Retry(attempts=3, jitter=0))
    async def notify(self, post: str, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output

    @step(timeout=None, retry=Retry(attempts=2, jitter=0))
    async def thank(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


class Purchase(Saga):
    """``pay`` is the pivot because it is the last and cannot be undone."""

    @step
    async def reserve(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("reserve")
    async def release(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=10)
    async def pay(self, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output


class Patient(Saga):
    """A pivot that is tried three times, and has all the time it wants."""

    @step
    async def reserve(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("reserve")
    async def release(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=None, retry=Retry(attempts=3, wait=10, factor=1, jitter=0))
    async def pay(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


class Patiently(Saga):
    """A marked pivot that has all the time it wants, and something after it."""

    @step(pivot=True, timeout=None)
    async def post(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @step(timeout=None, retry=Retry(attempts=2, jitter=0))
    async def thank(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


#: Each with the name of its first step and its pivot.
BOTH = pytest.mark.parametrize(
    ("cls", "first", "pivot"), [(Shipment, "pack", "post"), (Purchase, "reserve", "pay")], ids=["marked", "implicit"]
)


# --- how the pivot ends ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("error", "kind", "recorded"),
    [(ValueError("no"), StepFailed, "failed"), (Refused("card declined"), StepRefused, "was refused")],
    ids=["failed", "refused"],
)
async def test_a_pivot_that_failed_is_rolled_back_behind(
    home: Home, cls: type[Saga], first: str, pivot: str, error: Exception, kind: type[SagaError], recorded: str
) -> None:
    home.world.tell(pivot, home.world.raises(error))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(kind, match=f"Rolled back: {first}. Nothing is left of it"):
            await orchestrator.execute(cls(), id="p")

    assert home.world.effects == []
    assert (await home.told("p"))[2:] == [
        f"{pivot} {recorded}",
        "rollback begun",
        f"{first} compensated",
        "compensated",
    ]


@BOTH
@pytest.mark.parametrize("late", ["swallows", "never yields"])
async def test_a_late_success_of_the_pivot_counts(
    home: Home, cls: type[Saga], first: str, pivot: str, late: str
) -> None:
    home.world.tell(pivot, home.world.swallows() if late == "swallows" else home.world.never_yields(20))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(cls(), id="p")

    assert outcome.status is SagaStatus.COMPLETED
    assert outcome.outputs[pivot] == f"{pivot} done"
    assert home.world.effects[:2] == [first, pivot]
    assert (await home.told("p"))[2] == f"{pivot} succeeded late"


async def test_a_lost_output_that_nobody_takes_goes_on(home: Home) -> None:
    home.world.tell("pay", home.world.returns(7))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Purchase(), id="p")
    assert outcome.status is SagaStatus.COMPLETED
    assert outcome.outputs == {"reserve": "reserve done"}
    assert outcome.output is None
    assert home.world.effects == ["reserve", "pay"]
    assert (await home.told("p"))[2:] == ["pay lost its output", "completed"]

    await home.reopen()
    async with home.orchestrator() as orchestrator:
        assert await orchestrator.execute(Purchase(), id="p") == outcome


async def test_a_lost_output_after_the_pivot_that_nobody_takes_goes_on(home: Home) -> None:
    home.world.tell("notify", home.world.returns(object))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Shipment(), id="p")

    assert outcome.outputs == {"pack": "pack done", "post": "post done", "thank": "thank done"}
    assert home.world.effects == ["pack", "post", "notify", "thank"]


async def test_a_lost_output_that_a_later_step_takes_blocks(home: Home) -> None:
    home.world.tell("post", home.world.returns(7))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as raised:
            await orchestrator.execute(Shipment(), id="p")
        # the step succeeded, so no retry may run it again
        with pytest.raises(
            OperationRefused, match=r"Saga 'p' cannot be retried: .* The step succeeded, and never runs"
        ):
            await orchestrator.retry_failed("p", reason="try")
        with pytest.raises(CancelRefused):
            await orchestrator.cancel("p", reason="give up")

    assert home.world.effects == ["pack", "post"]
    assert (await home.told("p"))[2:] == ["post lost its output", "blocked (output)"]
    assert (raised.value.step_name, raised.value.step_index) == ("post", 1)
    assert raised.value.reason.startswith(
        "The output of step 'post' is lost, and a later step takes it (allframe.PayloadError: The output of step 'post'"
    )
    assert str(raised.value).startswith(f"Shipment 'p' cannot go on: {raised.value.reason}")
    assert "retry_failed" not in str(raised.value), "that verb is refused here"


# --- an unknown end --------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("how", ["deadline", "silence"])
async def test_a_pivot_that_ended_unknown_blocks(home: Home, cls: type[Saga], first: str, pivot: str, how: str) -> None:
    home.world.tell(pivot, home.world.hangs() if how == "deadline" else home.world.raises_after(EffectUnknown("hm")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as raised:
            await orchestrator.execute(cls(), id="p")
        with pytest.raises(
            CancelRefused, match=f"Saga 'p' cannot be cancelled: its pivot '{pivot}' may have succeeded"
        ):
            await orchestrator.cancel("p", reason="give up")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as again:
            await orchestrator.execute(cls(), id="p")

    # nobody knows whether it may go back, so it does not
    assert home.world.effects == [first, pivot]
    assert home.world.journal == [f"do {first}", f"do {pivot}"]
    assert (await home.told("p"))[2:] == [f"{pivot} unknown ({how})", "blocked (step)"]
    error = raised.value
    assert facts(again.value) == facts(error)
    assert (error.saga_id, error.step_name, error.step_index) == ("p", pivot, 1)
    assert error.reason.startswith(f"Step '{pivot}' can only go forward, and ended unknown ({how}) after 1 attempt")
    metadata = await home.monitor.get_saga("p")
    assert metadata is not None
    assert (metadata.status, metadata.attention, metadata.reason) == (SagaStatus.BLOCKED, True, error.reason)
    assert metadata.failed_step == pivot


class Parcel(Saga):
    """Its pivot returns nothing."""

    @step(pivot=True, timeout=10)
    async def post(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @step(timeout=10, retry=Retry(attempts=2, jitter=0))
    async def thank(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


async def test_a_pivot_of_which_a_person_knows_that_it_was_done_succeeded_without_a_doubt(home: Home) -> None:
    home.world.tell("post", home.world.raises_after(EffectUnknown("hm")))
    home.world.tell("thank", home.world.raises(Refused("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Parcel(), id="p")
        await orchestrator.resolve("p", "post", "done", reason="seen in their books")
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Parcel(), id="p")
        with pytest.raises(CancelRefused, match="its pivot 'post' succeeded, and from there it only goes forward"):
            await orchestrator.cancel("p", reason="give up")


async def test_an_unknown_pivot_is_retried_like_any_step(home: Home) -> None:
    home.world.tell("pay", home.world.raises(TimeoutError("read")), home.world.raises(ConnectionResetError()))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Patient(), id="p")

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do reserve", *["do pay"] * 3]
    assert home.world.effects == ["reserve", "pay"]


@pytest.mark.parametrize("last", [TimeoutError("3"), ValueError("3"), Refused("3")], ids=repr)
async def test_an_unknown_pivot_blocks_when_its_attempts_are_used_up(home: Home, last: Exception) -> None:
    """Whatever the last attempt says: it says nothing about the first."""
    home.world.tell("pay", home.world.raises_after(TimeoutError("1")), home.world.raises(TimeoutError("2")))
    home.world.tell("pay", home.world.raises(last))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as raised:
            await orchestrator.execute(Patient(), id="p")

    assert home.world.effects == ["reserve", "pay"]
    assert home.world.journal == ["do reserve", *["do pay"] * 3]
    assert "ended unknown (silence) after 3 attempts" in raised.value.reason


async def test_retry_failed_runs_an_unknown_pivot_again(home: Home) -> None:
    home.world.tell("pay", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Purchase(), id="p")
        await orchestrator.retry_failed("p", reason="the bank is up again")
        outcome = await (await orchestrator.start(Purchase(), id="p")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert outcome.error is None
    assert home.world.journal == ["do reserve", "do pay", "do pay"]
    keys = {ctx.idempotency_key for ctx in home.world.contexts if ctx.step == "pay"}
    assert keys == {"p/pay/do"}
    assert [ctx.attempt for ctx in home.world.contexts if ctx.step == "pay"] == [1, 2]


# --- after the pivot -------------------------------------------------------------------------------------------------


async def test_a_failure_after_the_pivot_is_retried(home: Home) -> None:
    home.world.tell("notify", home.world.raises(ValueError("no")), home.world.hangs())

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Shipment())

    assert [name for name in home.world.journal if name == "do notify"] == ["do notify"] * 3
    assert not [name for name in home.world.journal if name.startswith("undo")]


async def test_a_late_success_after_the_pivot_counts(home: Home) -> None:
    home.world.tell("notify", home.world.swallows())

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Shipment())

    assert outcome.outputs["notify"] == "notify done"
    assert home.world.effects == ["pack", "post", "notify", "thank"]


@pytest.mark.parametrize(
    ("behave", "attempts", "said"),
    [
        (lambda w: w.raises(ValueError("down")), 3, "failed after 3 attempts (ValueError: down)"),
        (lambda w: w.raises(Refused("blocked")), 1, "failed after 1 attempt (allframe.Refused: blocked)"),
        (lambda w: w.hangs(), 3, "ended unknown (deadline) after 3 attempts"),
        (lambda w: w.raises(SystemExit(1)), 1, "ended unknown (silence) after 1 attempt (SystemExit: 1)"),
    ],
    ids=["failed", "refused", "deadline", "SystemExit"],
)
async def test_a_step_after_the_pivot_that_fails_for_good_blocks_until_it_is_retried(
    home: Home, behave: Any, attempts: int, said: str
) -> None:
    home.world.always("notify", behave(home.world))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as raised:
            await orchestrator.execute(Shipment(), id="p")
        assert home.world.journal.count("do notify") == attempts
        assert not [name for name in home.world.journal if name.startswith("undo")]
        assert raised.value.reason == f"Step 'notify' can only go forward, and {said}."
        assert str(raised.value) == (
            f"Shipment 'p' cannot go on: {raised.value.reason} When the cause is mended, retry_failed() tries it again."
        )
        assert (await home.told("p"))[-1] == "blocked (step)"

        home.world.relent("notify")
        await orchestrator.retry_failed("p", reason="mended")
        outcome = await (await orchestrator.start(Shipment(), id="p")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    outcome.raise_for_status()
    assert outcome.error is None
    assert list(dict.fromkeys(home.world.effects)) == ["pack", "post", "notify", "thank"]
    metadata = await home.monitor.get_saga("p")
    assert metadata is not None
    assert (metadata.status, metadata.attention, metadata.failed_step) == (SagaStatus.COMPLETED, False, None)
    assert (metadata.reason, metadata.error) == (None, None)


async def test_a_blocked_saga_waits_for_a_person_also_over_an_opening(home: Home) -> None:
    home.world.tell("notify", home.world.raises(Refused("no")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Shipment(), id="p")
    told = await home.told("p")

    await home.reopen()
    async with home.orchestrator() as orchestrator:
        await anyio.sleep(100)
        assert await home.told("p") == told
        await orchestrator.retry_failed("p", reason="mended")
        outcome = await (await orchestrator.start(Shipment(), id="p")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.effects == ["pack", "post", "notify", "thank"]


async def test_a_blocked_step_is_retried_as_often_as_at_first(home: Home) -> None:
    home.world.tell("notify", *[home.world.raises(ValueError("no"))] * 5)

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Shipment(), id="p")
        await orchestrator.retry_failed("p", reason="mended")
        outcome = await (await orchestrator.start(Shipment(), id="p")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal.count("do notify") == 6


# --- cancel ----------------------------------------------------------------------------------------------------------


def gated(gate: anyio.Event, then: Behaviour) -> Behaviour:
    async def behave(ctx: StepContext) -> Any:
        await gate.wait()
        return await then(ctx)

    return behave


async def test_cancel_lets_a_running_pivot_end_and_it_goes_on_if_it_succeeded(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Patient(), id="p")
        await home.world.until("do pay")
        await handle.cancel(reason="too dear")
        gate.set()
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.COMPLETED
    outcome.raise_for_status()
    assert home.world.effects == ["reserve", "pay"]
    assert await home.told("p") == ["started", "reserve succeeded", "cancel requested", "pay succeeded", "completed"]


@pytest.mark.parametrize("error", [ValueError("no"), Refused("no")], ids=repr)
async def test_cancel_lets_a_running_pivot_end_and_it_goes_back_if_it_failed(home: Home, error: Exception) -> None:
    gate = anyio.Event()
    home.world.tell("pay", gated(gate, home.world.raises(error)))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Patient(), id="p")
        await home.world.until("do pay")
        await handle.cancel(reason="too dear")
        gate.set()
        outcome = await handle.outcome()

    # cancelled, so it is not tried again
    assert home.world.journal == ["do reserve", "do pay", "undo reserve"]
    assert home.world.effects == []
    assert outcome.status is SagaStatus.COMPENSATED
    with pytest.raises(SagaCancelled, match="was cancelled: too dear. Rolled back: reserve."):
        outcome.raise_for_status()
    assert [info.message for info in outcome.suppressed] == ["no"]


async def test_cancel_lets_a_running_pivot_end_and_an_unknown_end_is_retried(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("pay", gated(gate, home.world.raises_after(TimeoutError("read"))))
    home.world.tell("pay", home.world.raises(ValueError("busy")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Patient(), id="p")
        await home.world.until("do pay")
        await handle.cancel(reason="too dear")
        gate.set()
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do reserve", "do pay", "do pay", "do pay"]


async def test_cancel_of_a_pivot_that_waits_after_an_ordinary_error_goes_back(home: Home) -> None:
    home.world.tell("pay", home.world.raises(ValueError("busy")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Patient(), id="p")
        await home.world.until("do pay")
        await anyio.sleep(5)
        await handle.cancel(reason="too dear")
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do reserve", "do pay", "undo reserve"]


@pytest.mark.parametrize("running", [True, False], ids=["running", "waiting for a retry"])
async def test_cancel_is_refused_after_the_pivot(home: Home, running: bool) -> None:
    gate = anyio.Event()
    if running:
        home.world.tell("thank", home.world.waits(gate))
    else:
        home.world.tell("thank", home.world.raises(ValueError("busy")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Shipment(), id="p")
        await home.world.until("do thank")
        with pytest.raises(CancelRefused) as raised:
            await handle.cancel(reason="too dear")
        gate.set()
        outcome = await handle.outcome()

    assert str(raised.value) == (
        "Saga 'p' cannot be cancelled: its pivot 'post' succeeded, and from there it only goes forward."
    )
    assert (raised.value.saga_id, raised.value.step_name, raised.value.step_index) == ("p", "post", 1)
    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.effects == ["pack", "post", "notify", "thank"]
    assert "cancel requested" not in await home.told("p")


async def test_a_second_cancel_is_refused_once_the_pivot_succeeded(home: Home) -> None:
    """Who asked while the pivot ran was heard in vain; who asks later must not be told that it will be undone."""
    posted, thanked = anyio.Event(), anyio.Event()
    home.world.tell("post", home.world.waits(posted))
    home.world.tell("thank", home.world.waits(thanked))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Patiently(), id="p")
        await home.world.until("do post")
        await handle.cancel(reason="too dear")
        await handle.cancel(reason="far too dear")
        posted.set()
        await home.world.until("do thank")
        with pytest.raises(CancelRefused, match="its pivot 'post' succeeded, and from there it only goes forward"):
            await handle.cancel(reason="much too dear")
        thanked.set()
        assert (await handle.outcome()).status is SagaStatus.COMPLETED

    assert (await home.told("p")).count("cancel requested") == 1
