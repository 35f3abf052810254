"""Deadlines: whose they are, what they count, and what is not theirs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from allframe import (
    Inject,
    Retry,
    Saga,
    SagaStatus,
    StepContext,
    StepTimedOut,
    StepUnknown,
    Unknown,
    compensates,
    step,
)
from allframe.saga import records
from tests.saga import world
from tests.saga.world import Behaviour, Home, World, trip

pytestmark = pytest.mark.anyio
home = world.home


async def test_a_step_is_cut_at_its_deadline_and_not_before(home: Home) -> None:
    Trip = trip(timeout=10)
    cut: list[float] = []

    async def hang(ctx: StepContext) -> None:
        try:
            await anyio.sleep(3600)
        finally:
            cut.append(anyio.current_time())

    home.world.tell("second", hang)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Trip())

    began = home.world.times[home.world.journal.index("do second")]
    assert cut == [pytest.approx(began + 10)]


async def test_a_step_that_needs_just_less_is_not_cut(home: Home) -> None:
    Trip = trip(timeout=10)

    async def slow(ctx: StepContext) -> str:
        await anyio.sleep(9.99)
        return home.world.take_effect(ctx)

    home.world.tell("second", slow)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    assert home.world.effects == ["first", "second", "third"]


async def test_a_step_without_a_timeout_may_take_a_week(home: Home) -> None:
    Trip = trip(timeout=None)

    async def slow(ctx: StepContext) -> str:
        assert ctx.deadline is None
        await anyio.sleep(7 * 86400)
        return home.world.take_effect(ctx)

    home.world.tell("second", slow)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="week")

    assert home.world.effects == ["first", "second", "third"]
    entries = await home.timeline("week")
    assert entries[2].at - entries[1].at == pytest.approx(timedelta(days=7), abs=timedelta(milliseconds=1))


async def test_a_step_is_told_its_deadline(home: Home) -> None:
    Trip = trip(timeout=10)

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    context = home.world.contexts[1]
    assert context.deadline == pytest.approx(home.world.times[1] + 10)


class Impatient(Saga):
    """Its timeouts are a default and a timedelta."""

    @step
    async def defaulted(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("defaulted")
    async def undo_defaulted(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=timedelta(minutes=2))
    async def second(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("second")
    async def undo_second(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)


@pytest.mark.parametrize(("name", "seconds"), [("defaulted", 30.0), ("second", 120.0)])
async def test_the_default_is_half_a_minute_and_a_timedelta_will_do(home: Home, name: str, seconds: float) -> None:
    home.world.tell(name, home.world.hangs())

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut, match=f"did not end within its timeout of {seconds:g} s") as raised:
            await orchestrator.execute(Impatient())

    assert raised.value.duration == seconds
    assert home.world.effects == []


async def test_its_own_timeout_inside_is_not_our_deadline(home: Home) -> None:
    Trip = trip(timeout=20)

    async def ask(ctx: StepContext) -> None:
        home.world.take_effect(ctx)
        scope = anyio.move_on_after(5)
        with scope:
            await anyio.sleep(3600)
        assert scope.cancelled_caught
        raise TimeoutError("the client waits 5 s")

    home.world.tell("second", ask)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepUnknown, match="may or may not have taken effect: TimeoutError: the client waits 5 s"):
            await orchestrator.execute(Trip())

    assert home.world.given["second"].reason == "silence"
    assert home.world.effects == []


async def test_our_deadline_is_not_its_own_timeout_error(home: Home) -> None:
    """Where the step's client turns the cancellation into a `TimeoutError`, the scope says whose it was."""
    Trip = trip(timeout=10)
    home.world.tell("second", home.world.swallows(TimeoutError("the client gave up")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut) as raised:
            await orchestrator.execute(Trip())

    assert raised.value.duration == 10
    assert raised.value.error is not None
    assert raised.value.error.message == "the client gave up"
    assert home.world.given["second"].reason == "deadline"


async def test_a_step_that_swallows_its_cancellation_is_late_all_the_same(home: Home) -> None:
    Trip = trip(timeout=10)

    async def stubborn(ctx: StepContext) -> str:
        done = home.world.take_effect(ctx)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(500)
        return done

    home.world.tell("second", stubborn)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut, match=r"returned after its deadline of 10 s\. Rolled back: second, first"):
            await orchestrator.execute(Trip(), id="late")

    assert home.world.effects == []
    assert home.world.given["second"] == "second done"
    # nothing was undone before it ended
    began = home.world.times[home.world.journal.index("do second")]
    assert home.world.times[home.world.journal.index("undo second")] >= began + 500


async def test_the_wait_between_attempts_is_not_part_of_the_timeout(home: Home) -> None:
    Trip = trip(timeout=10, retry=Retry(attempts=3, wait=300, jitter=0, max_wait=1000))
    home.world.tell("second", home.world.raises(ValueError("1")), home.world.raises(ValueError("2")))

    async def slow(ctx: StepContext) -> str:
        await anyio.sleep(9)
        return home.world.take_effect(ctx)

    home.world.tell("second", slow)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    assert home.world.effects == ["first", "second", "third"]
    assert home.world.contexts[3].deadline == pytest.approx(home.world.times[3] + 10)


async def test_each_attempt_has_the_whole_timeout(home: Home) -> None:
    Trip = trip(timeout=10, retry=Retry(attempts=3, wait=1, jitter=0))

    async def nine_seconds(ctx: StepContext) -> None:
        await anyio.sleep(9)
        raise ValueError("no")

    home.world.tell("second", nine_seconds, nine_seconds)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="patient")

    assert (await home.told("patient"))[2:4] == ["second failed, again", "second failed, again"]


async def test_a_deadline_is_retried_as_a_timeout_error(home: Home) -> None:
    Trip = trip(timeout=10, retry=Retry(attempts=2, on=TimeoutError, jitter=0))
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="again")

    assert (await home.told("again"))[2] == "second unknown (deadline), again"
    assert home.world.journal.count("do second") == 2


async def test_a_deadline_is_not_retried_where_timeout_errors_are_not(home: Home) -> None:
    Trip = trip(timeout=10, retry=Retry(attempts=5, give_up_on=TimeoutError))
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Trip())

    assert home.world.journal == ["do first", "do second", "undo second", "undo first"]


async def test_the_record_says_how_long_it_had(home: Home) -> None:
    Trip = trip(timeout=2.5)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip(), id="short")).outcome()

    entry = (await home.timeline("short"))[2]
    assert isinstance(entry.record, records.StepUnknown)
    assert entry.record.timeout == 2.5
    assert outcome.status is SagaStatus.COMPENSATED


# --- compensations ---------------------------------------------------------------------------------------------------


class Undone(Saga):
    """The default timeout of a compensation is a minute."""

    @step
    async def first(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("first", retry=Retry(attempts=1))
    async def undo_first(self, first: Unknown | None, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step
    async def second(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


def slowly(home: Home, seconds: float) -> Behaviour:
    async def behave(ctx: StepContext) -> None:
        await anyio.sleep(seconds)
        home.world.take_back(ctx)

    return behave


@pytest.mark.parametrize(("seconds", "left"), [(59, []), (61, ["first"])])
async def test_a_compensation_has_a_minute(home: Home, seconds: float, left: list[str]) -> None:
    home.world.tell("second", home.world.raises(ValueError("no")))
    home.world.tell("undo first", slowly(home, seconds))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Undone())).outcome()

    assert home.world.effects == left
    assert outcome.status is (SagaStatus.FAILED if left else SagaStatus.COMPENSATED)


async def test_a_compensation_that_is_cut_is_tried_again(home: Home) -> None:
    Trip = trip(undo_timeout=5, undo_retry=Retry(attempts=2, wait=1, jitter=0))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", slowly(home, 3600))

    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(Trip(), id="cut")).outcome()

    assert home.world.effects == []
    timeline = await home.timeline("cut")
    cut: Any = timeline[5].record
    assert isinstance(cut, records.StepNotCompensated)
    assert (cut.step, cut.attempt, cut.timeout) == ("second", 1, 5)
    assert str(cut.error) == "TimeoutError: The compensation did not end within its timeout of 5 s."
    began = home.world.times[home.world.journal.index("undo second")]
    assert home.world.times[home.world.journal.index("undo second") + 1] == pytest.approx(began + 6, abs=1e-3)


@pytest.mark.parametrize("how", ["swallows", "never yields"])
async def test_a_compensation_that_returns_late_has_undone_it(home: Home, how: str) -> None:
    Trip = trip(undo_timeout=5, undo_retry=Retry(attempts=3))
    home.world.tell("third", home.world.raises(ValueError("no")))

    async def late(ctx: StepContext) -> None:
        if how == "swallows":
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)
        else:
            world.pass_time(100)
        home.world.take_back(ctx)

    home.world.tell("undo second", late)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip(), id="late")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []
    assert home.world.journal.count("undo second") == 1
    told = [line for line in await home.told("late") if "still running" not in line]
    assert told[5] == "second compensated"
