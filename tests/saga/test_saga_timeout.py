"""A saga's own timeout: wall time from its start, over crashes, and never in the way of a rollback or past the pivot."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    OperationRefused,
    Retry,
    SagaCancelled,
    SagaOrchestrator,
    SagaStatus,
    SagaTimedOut,
    StepFailed,
)
from tests.saga import world
from tests.saga.refusal import refused
from tests.saga.shapes import shaped
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home

LINE = {"first": None, "second": None, "third": None}


async def test_it_cuts_what_runs_and_rolls_back(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped(LINE, timeout=60)(), id="s-1")
        outcome = await handle.outcome()
        with pytest.raises(SagaTimedOut) as caught:
            outcome.raise_for_status()
    assert str(caught.value) == (
        "shaped 's-1' did not end within its timeout of 60 s. Rolled back: second, first. Nothing is left of it."
    )
    assert caught.value.duration == 60
    assert home.world.effects == []
    assert home.world.times[-1] == pytest.approx(home.world.times[0] + 60, abs=1)
    assert (await home.told("s-1"))[2:5] == ["deadline passed", "second unknown (cancelled)", "rollback begun"]


class Ticking:
    """A wall clock that goes on between any two looks at it, as a real one does."""

    def __init__(self, home: Home) -> None:
        self._home, self._looks = home, 0

    def now(self) -> datetime:
        self._looks += 1
        return self._home.clock.now() + timedelta(milliseconds=self._looks)


async def test_it_is_told_as_it_was_declared(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with SagaOrchestrator(home.store, clock=Ticking(home), provide={World: home.world}) as orchestrator:
        outcome = await (await orchestrator.start(shaped(LINE, timeout=60)(), id="s-1")).outcome()
    with pytest.raises(SagaTimedOut, match=r"within its timeout of 60 s\."):
        outcome.raise_for_status()


async def test_the_error_is_the_same_when_it_is_read_from_the_store(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    saga = shaped(LINE, timeout=timedelta(minutes=1))
    errors = []
    for _ in range(2):
        async with home.orchestrator() as orchestrator:
            with pytest.raises(SagaTimedOut) as caught:
                await orchestrator.execute(saga(), id="s-1")
        errors.append(world.facts(caught.value))
        await home.reopen()
    assert errors[0] == errors[1]


async def test_a_saga_that_ends_in_time_hears_nothing_of_it(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(shaped(LINE, timeout=60)(), id="s-1")
        await anyio.sleep(3600)
        assert outcome.status is SagaStatus.COMPLETED
    assert (await home.told("s-1"))[-1] == "completed"


async def test_waiting_to_try_again_is_cut_short_by_it(home: Home) -> None:
    home.world.always("second", home.world.raises(ValueError("no")))
    retry = Retry(attempts=5, wait=1000, max_wait=1000, jitter=0)
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped(LINE, timeout=60, options={"second": {"retry": retry}})(), id="s-1")
        await handle.outcome()
    assert home.world.journal == ["do first", "do second", "undo first"]
    assert home.world.times[-1] < home.world.times[0] + 100


async def test_it_never_limits_the_rollback(home: Home) -> None:
    home.world.tell("second", home.world.hangs())

    async def slow(ctx: object) -> None:
        await anyio.sleep(600)

    home.world.tell("undo second", slow)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(shaped(LINE, timeout=60)(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal[-2:] == ["undo second", "undo first"]


async def test_a_rollback_that_began_before_it_tells_its_own_cause(home: Home) -> None:
    home.world.tell("second", home.world.raises(ValueError("no")))

    async def slow(ctx: object) -> None:
        await anyio.sleep(600)

    home.world.tell("undo first", slow)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(shaped(LINE, timeout=60)(), id="s-1")
    assert "deadline passed" not in await home.told("s-1")


async def test_what_it_leaves_behind_says_that_it_was_the_timeout(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    home.world.always("undo second", home.world.raises(ValueError("stuck")))
    saga = shaped(LINE, timeout=60, undo={"second": {"retry": Retry(attempts=1)}})
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed, match="It was to be undone because its timeout of 60 s passed"):
            await orchestrator.execute(saga(), id="s-1")


# --- over crashes ----------------------------------------------------------------------------------------------------


async def test_it_goes_on_while_nobody_runs_the_saga(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    saga = shaped(LINE, timeout=60)
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do second")
    home.clock.shift(seconds=3600)
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
    assert home.world.journal == ["do first", "do second", "undo second", "undo first"], "second did not run again"
    assert (await home.told("s-1"))[2:5] == ["recovered", "deadline passed", "rollback begun"]


async def test_what_is_left_of_it_counts_after_a_restart(home: Home) -> None:
    home.world.always("second", home.world.hangs())
    saga = shaped(LINE, timeout=60)
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do second")
        await anyio.sleep(40)
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
    begun = home.world.times[0]
    assert home.world.times[home.world.journal.index("undo second")] == pytest.approx(begun + 60, abs=2)


async def blocked_until_its_time_was_over(home: Home, saga: Any) -> None:
    """Leave "s-1" in its second step, then blocked, and let an hour pass."""
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do second")
    async with home.orchestrator(provide={}) as orchestrator:
        while await orchestrator.running_count():
            await anyio.sleep(1)
    home.clock.shift(seconds=3600)
    await home.reopen()


async def test_what_is_blocked_while_it_passes_begins_nothing_any_more(home: Home) -> None:
    saga = shaped(LINE, timeout=60)
    await blocked_until_its_time_was_over(home, saga)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
    assert home.world.journal == ["do first", "do second", "undo second", "undo first"], "second did not run again"
    assert (await home.told("s-1"))[2:6] == ["blocked (dependency)", "recovered", "deadline passed", "rollback begun"]


async def test_what_is_blocked_while_it_passes_is_not_begun_again_by_a_verb(home: Home) -> None:
    saga, busy, gate = shaped(LINE, timeout=60), shaped({"hold": None}, name="busy"), anyio.Event()
    await blocked_until_its_time_was_over(home, saga)
    home.world.tell("hold", home.world.waits(gate))
    async with home.orchestrator(sagas=[saga, busy], max_running=1) as orchestrator:
        await orchestrator.start(busy(), id="busy")
        await orchestrator.retry_failed("s-1", reason="the world is there")
        gate.set()
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
    assert "do second" not in home.world.journal[2:]
    assert (await home.told("s-1"))[3:7] == ["recovered", "deadline passed", "retry requested", "rollback begun"]


async def test_a_wall_clock_that_was_set_back_makes_it_no_longer(home: Home) -> None:
    home.world.always("second", home.world.hangs())
    saga = shaped(LINE, timeout=60)
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do second")
    home.clock.shift(days=-1)
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
    assert home.world.times[-1] <= home.world.times[0] + 130


async def test_a_saga_that_waits_for_its_turn_can_time_out(home: Home) -> None:
    home.world.tell("first", home.world.hangs())
    async with home.orchestrator(max_running=1) as orchestrator:
        busy = await orchestrator.start(shaped(LINE)(), id="busy")
        queued = shaped(LINE, name="queued", timeout=60)
        handle = await orchestrator.start(queued(), id="s-1")
        outcome = await handle.outcome()
        assert outcome.status is SagaStatus.COMPENSATED
        await orchestrator.cancel("busy", reason="enough")
        await busy.outcome()
    assert await home.told("s-1") == ["queued", "deadline passed", "rollback begun", "compensated"]


# --- the pivot -------------------------------------------------------------------------------------------------------

FORWARD = {
    "irreversible": ("pay", "mail"),
    "options": {"pay": {"pivot": True}, "mail": {"retry": Retry(attempts=50, wait=30, max_wait=30, jitter=0)}},
}
PAID = {"book": (), "pay": None, "mail": None}


async def test_after_the_pivot_it_only_draws_attention(home: Home) -> None:
    home.world.tell("mail", *[home.world.raises(ValueError("down"))] * 5)
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped(PAID, timeout=60, **FORWARD)(), id="s-1")
        await anyio.sleep(100)
        metadata = await handle.metadata()
        assert (metadata.status, metadata.attention) == (SagaStatus.EXECUTING, True)
        assert metadata.reason == "Its timeout of 60 s passed. Its pivot has succeeded, so it goes on."
        assert (await handle.outcome()).status is SagaStatus.COMPLETED
        assert not (await handle.metadata()).attention
    assert home.world.effects == ["book", "pay", "mail"]
    assert home.world.times[-1] - home.world.times[0] == pytest.approx(150, abs=2), "its waits were not cut short"


async def test_a_running_pivot_is_let_end(home: Home) -> None:
    async def slowly(ctx: world.StepContext) -> str:
        await anyio.sleep(100)
        return home.world.take_effect(ctx)

    home.world.tell("pay", slowly)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(shaped(PAID, timeout=60, **FORWARD)(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do book", "do pay", "do mail"]


async def test_a_pivot_that_fails_after_it_is_not_tried_again(home: Home) -> None:
    async def fail(ctx: world.StepContext) -> str:
        await anyio.sleep(100)
        raise ValueError("declined")

    home.world.tell("pay", fail)
    saga = shaped(
        PAID,
        timeout=60,
        irreversible=FORWARD["irreversible"],
        options={**FORWARD["options"], "pay": {"pivot": True, "retry": Retry(attempts=3)}},  # type: ignore[dict-item]
    )
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(saga(), id="s-1")).outcome()
        with pytest.raises(SagaTimedOut):
            outcome.raise_for_status()
    assert home.world.journal == ["do book", "do pay", "undo book"]
    assert [str(error) for error in outcome.suppressed] == ["ValueError: declined"]


def patient(undo: Retry) -> Any:
    """Its pivot is tried five times, and honours its key; ``undo``: how often booking is taken back."""
    retry = Retry(attempts=5, wait=30, max_wait=30, jitter=0)
    return shaped(
        {"book": (), "pay": None},
        timeout=60,
        irreversible=("pay",),
        options={"pay": {"pivot": True, "idempotent": True, "retry": retry}},
        undo={"book": {"retry": undo}},
    )


def silent_for(home: Home, seconds: float) -> world.Behaviour:
    async def behave(ctx: world.StepContext) -> str:
        home.world.take_effect(ctx)
        await anyio.sleep(seconds)
        raise ConnectionResetError("gone")

    return behave


async def test_a_pivot_that_may_have_succeeded_is_told_so_until_it_answers(home: Home) -> None:
    """It is asked again, for nobody can say; once it says that it did nothing, it is not."""
    home.world.tell("pay", silent_for(home, 100), home.world.raises(ValueError("declined")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(patient(Retry(attempts=1))(), id="s-1")
        await anyio.sleep(110)
        metadata = await handle.metadata()
        assert (metadata.status, metadata.attention) == (SagaStatus.EXECUTING, True)
        assert metadata.reason == "Its timeout of 60 s passed. Its pivot may have succeeded, so it goes on."
        outcome = await handle.outcome()
        assert (await handle.metadata()).reason == "Its timeout of 60 s passed."
        with pytest.raises(SagaTimedOut) as caught:
            outcome.raise_for_status()
    assert caught.value.__cause__ is None, "no step decided it"
    assert [str(error) for error in outcome.suppressed] == ["ValueError: declined"]
    assert home.world.journal == ["do book", "do pay", "do pay", "undo book"]
    assert (await home.told("s-1"))[2:] == [
        "deadline passed",
        "pay unknown (silence), again",
        "pay failed",
        "rollback begun",
        "book compensated",
        "compensated",
    ]


@pytest.mark.parametrize("undoes", [True, False], ids=["compensated", "failed"])
async def test_whoever_cancelled_it_before_is_why_it_goes_back(home: Home, undoes: bool) -> None:
    """The pivot, which may have succeeded, keeps it going forward over both; its answer lets it go back."""
    home.world.tell("pay", silent_for(home, 10), silent_for(home, 30), home.world.raises(ValueError("declined")))
    if not undoes:
        home.world.tell("undo book", home.world.raises(ValueError("closed")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(patient(Retry(attempts=1))(), id="s-1")
        await anyio.sleep(5)
        await handle.cancel(reason="too dear")
        outcome = await handle.outcome()
        metadata = await handle.metadata()
    told = await home.told("s-1")
    assert told[2:7] == [
        "cancel requested",
        "pay unknown (silence), again",
        "deadline passed",
        "pay unknown (silence), again",
        "pay failed",
    ]
    assert metadata.reason == "too dear"
    with pytest.raises(
        SagaCancelled if undoes else CompensationFailed, match="cancelled: too dear|cancelled .too dear"
    ):
        outcome.raise_for_status()


# --- together with others --------------------------------------------------------------------------------------------


async def test_who_cancels_what_has_timed_out_is_told(home: Home) -> None:
    home.world.tell("second", home.world.swallows())
    gate = anyio.Event()

    async def wait(ctx: object) -> str:
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return "done"

    home.world.tell("first", wait)
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped(LINE, timeout=60)(), id="s-1")
        await anyio.sleep(100)
        with pytest.raises(OperationRefused, match=r"and it is being undone already\. Possible now: abandon\."):
            await orchestrator.cancel("s-1", reason="too slow")
        gate.set()
        await handle.outcome()


async def test_a_cancelled_saga_does_not_time_out_as_well(home: Home) -> None:
    gate = anyio.Event()

    async def wait(ctx: object) -> str:
        with anyio.CancelScope(shield=True):
            await gate.wait()
        return "done"

    home.world.tell("first", wait)
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped(LINE, timeout=60)(), id="s-1")
        await home.world.until("do first")
        await orchestrator.cancel("s-1", reason="enough")
        await anyio.sleep(100)
        gate.set()
        await handle.outcome()
    assert "deadline passed" not in await home.told("s-1")


# --- declaring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "60", timedelta()])
def test_af109_a_timeout_that_makes_no_sense(timeout: object) -> None:
    assert refused(lambda: shaped(LINE, timeout=timeout), "AF109") == (
        f"The saga has timeout={timeout!r}. Expected seconds above 0, or None for no limit."
    )


@pytest.mark.parametrize("timeout", [1e308, 10**400, timedelta.max])
def test_af109_a_timeout_that_ends_at_no_date_that_can_be_written(timeout: object) -> None:
    assert refused(lambda: shaped(LINE, timeout=timeout), "AF109") == (
        f"The saga has timeout={timeout!r}. Expected at most 1e+09 seconds, some thirty years, or None for no limit."
    )


def test_it_is_inherited_and_can_be_taken_away() -> None:
    base = shaped(LINE, timeout=60)

    class Inherits(base, name="test_saga_timeout.inherits"):  # type: ignore[misc]
        pass

    class Unlimited(base, name="test_saga_timeout.unlimited", timeout=None):  # type: ignore[misc]
        pass

    assert (Inherits.graph.timeout, Unlimited.graph.timeout) == (60, None)
