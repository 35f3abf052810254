"""`run_saga`: a saga with the endings that a test gives it, told as the engine of production records it."""

from __future__ import annotations

import logging
import time
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    DependencyMissing,
    EffectUnknown,
    EventStore,
    Refused,
    Retry,
    SagaIdConflict,
    SagaStatus,
    StepContext,
    StepFailed,
    StepOutputLost,
    StepRefused,
    StepTimedOut,
    StepUnknown,
    Unknown,
)
from allframe.saga.monitor import Monitor
from allframe.saga.perform import new_attempt
from allframe.saga.records import SagaRecovered
from allframe.testing import (
    Crash,
    Ending,
    Fail,
    Late,
    LostOutput,
    NoAnswer,
    Ok,
    Raise,
    Refuse,
    Return,
    SagaRun,
    Timeout,
    run_saga,
    run_saga_sync,
)
from allframe.testing.script import Script
from allframe.testing.stage import Stage, StageClock
from tests.saga.world import World, assert_invariants, trip

pytestmark = pytest.mark.anyio
TWICE = Retry(attempts=2, wait=5, jitter=0)


@pytest.fixture
def world() -> World:
    return World()


async def play(world: World, outcomes: dict[str, Any] | None = None, Trip: Any = None, **options: Any) -> SagaRun:
    return await run_saga((Trip or trip())(), outcomes=outcomes, provide={World: world}, **options)


async def test_without_outcomes_the_saga_runs_as_it_is(world: World) -> None:
    run = await play(world)

    assert run.trace == ["first", "second", "third"]
    assert (run.status, run.error, run.info, run.undone, run.left) == (SagaStatus.COMPLETED, None, None, [], ())
    assert run.outputs == {"first": "first done", "second": "second done", "third": "third done"}
    assert world.effects == ["first", "second", "third"]


ENDINGS: list[tuple[Any, str, bool, type[Exception]]] = [
    # what is told, how the trace has it, whether the effect took place, what execute() would raise
    (Timeout, "timed out", True, StepTimedOut),
    (Timeout(effect=False), "timed out", False, StepTimedOut),
    (NoAnswer, "unknown", True, StepUnknown),
    (NoAnswer(effect=False), "unknown", False, StepUnknown),
    (Raise(ConnectionResetError, effect=True), "unknown", True, StepUnknown),
    (ConnectionResetError("gone"), "unknown", False, StepUnknown),
    (EffectUnknown, "unknown", False, StepUnknown),
    (Late, "late", True, StepTimedOut),
    (LostOutput, "output lost", True, StepOutputLost),
    (Return(7), "output lost", False, StepOutputLost),
    (Fail("no"), "failed", False, StepFailed),
    (ValueError("no"), "failed", False, StepFailed),
    (Refuse("no"), "refused", False, StepRefused),
    (Refused, "refused", False, StepRefused),
]


@pytest.mark.parametrize(("told", "ending", "effect", "error"), ENDINGS, ids=lambda value: str(value)[:30])
async def test_an_attempt_ends_as_it_is_told(
    world: World, told: Any, ending: str, effect: bool, error: type[Exception]
) -> None:
    run = await play(world, {"second": told})

    undone = [] if ending in ("failed", "refused") else ["undo second"]
    assert run.trace == ["first", f"second: {ending}", *undone, "undo first"]
    assert ("do second" in world.journal) is effect
    assert type(run.error) is error
    assert run.status is SagaStatus.COMPENSATED
    assert world.effects == []


async def test_what_was_told_is_in_the_error(world: World) -> None:
    run = await play(world, {"second": Fail("the printer is on fire")})

    assert run.info is not None
    assert run.info.message == "the printer is on fire"
    assert isinstance(run.error, StepFailed)
    assert isinstance(run.error.__cause__, RuntimeError)


async def test_a_value_stands_for_the_body(world: World) -> None:
    run = await play(world, {"first": "elsewhere", "second": Return("here", effect=True)})

    assert (run.outputs["first"], run.outputs["second"]) == ("elsewhere", "here")
    assert world.journal == ["do second", "do third"]


async def test_a_list_is_for_consecutive_attempts(world: World) -> None:
    run = await play(world, {"second": [Fail, Ok, Fail]}, trip(retry=TWICE))

    assert run.trace == ["first", "second: failed", "second", "third"]
    assert [entry.attempt for entry in run.trace] == [1, 1, 2, 1]
    assert run.seconds == 5


async def test_one_ending_is_for_every_attempt(world: World) -> None:
    run = await play(world, {"second": Timeout}, trip(retry=TWICE))

    assert run.trace == ["first", "second: timed out", "second: timed out", "undo second", "undo first"]
    assert run.seconds == 10 + 5 + 10


async def test_compensations_are_named_by_their_methods_or_their_steps(world: World) -> None:
    outcomes = {"third": Fail, "undo_second": [Fail, Timeout], "undo first": ConnectionError}
    run = await play(world, outcomes, trip(undo_retry=Retry(attempts=3, wait=5, jitter=0)))

    assert run.trace[3:6] == ["undo second: failed", "undo second: timed out", "undo second"]
    assert run.trace[6:] == ["undo first: failed"] * 5
    assert (run.undone, run.left) == (["second"], ("first",))
    assert isinstance(run.error, CompensationFailed)
    assert world.effects == ["first"]


async def test_a_compensation_that_could_not_be_told_of_has_taken_effect(world: World) -> None:
    run = await play(world, {"third": Fail, "undo_first": [], "undo_second": [NoAnswer, NoAnswer(effect=False)]})

    assert run.trace[3:6] == ["undo second: failed", "undo second: failed", "undo second"]
    assert world.journal.count("undo second") == 2


async def test_the_trace_is_of_values(world: World) -> None:
    run = await play(world, {"second": Refuse("card declined")})

    refused, undone = run.trace[1], run.trace[2]
    assert (refused.step, refused.undo, refused.attempt, refused.ending) == ("second", False, 1, Ending.REFUSED)
    assert refused.error is not None
    assert refused.error.message == "card declined"
    assert (undone.step, undone.undo, undone.ending, undone.error) == ("first", True, Ending.DONE, None)


# --- the process dies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [True, False])
async def test_another_opening_goes_on_after_a_crash(
    world: World, store_url: str, effect: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = await play(world, {"second": Crash(effect=effect)}, store=store_url)

    assert run.trace == ["first", "second: crashed", "second", "third"]
    assert run.trace[1].ending is Ending.CRASHED
    assert world.journal.count("do second") == 1 + effect
    assert [ctx.fencing_token for ctx in world.contexts if ctx.step in ("first", "third")] == [1, 2]
    assert caplog.messages == []


async def test_a_crash_in_a_compensation_is_followed_by_another_attempt(world: World, store_url: str) -> None:
    run = await play(world, {"third": Fail, "undo second": [Crash, Crash(effect=False)]}, store=store_url)

    assert run.trace[3:6] == ["undo second: crashed", "undo second: crashed", "undo second"]
    assert world.effects == []


async def test_after_a_crash_a_compensation_hears_of_it(world: World) -> None:
    await play(world, {"second": [Crash, Fail]})

    given = world.given["second"]
    assert isinstance(given, Unknown)
    assert given.reason == "crash"


async def test_a_store_of_ones_own_stays_open_and_holds_the_saga(world: World, store_url: str) -> None:
    async with EventStore(store_url) as store:
        run = await play(world, {"second": Crash}, store=store, id="trip-1")
        again = await play(World(), store=store, id="trip-1")

        await assert_invariants(store)
        records = [entry.record for entry in await Monitor(store).timeline("trip-1")]
        assert [record.recoveries for record in records if isinstance(record, SagaRecovered)] == [1]
        assert run.id == again.id == "trip-1"
        assert again.trace == run.trace
        with pytest.raises(SagaIdConflict):
            await run_saga(trip()(traveller="Bob"), provide={World: world}, store=store, id="trip-1")


# --- what cannot be --------------------------------------------------------------------------------------------------


async def test_a_name_that_is_not_there_is_told_with_the_nearest(world: World) -> None:
    with pytest.raises(ValueError) as caught:
        await play(world, {"secnd": Timeout})

    assert str(caught.value) == (
        "outcomes= names 'secnd', and Trip has no such step or compensation. Did you mean 'second'? Its steps are: first, "
        "second, third; its compensations: undo_first, undo_second, undo_third (each also as 'undo <step>')."
    )
    assert world.journal == []


@pytest.mark.parametrize("told", [Timeout, Late, [Ok, Timeout]])
async def test_what_has_no_timeout_cannot_time_out(world: World, told: Any) -> None:
    with pytest.raises(
        ValueError, match=r"of 'first', which has no timeout and waits for ever\. Declare one, or use NoAnswer"
    ):
        await play(world, {"first": told})


async def test_a_compensation_has_no_output_to_lose(world: World) -> None:
    with pytest.raises(ValueError, match="LostOutput.. of the compensation 'undo_second'"):
        await play(world, {"undo_second": LostOutput})


async def test_what_cannot_begin_is_raised(world: World) -> None:
    with pytest.raises(DependencyMissing):
        await run_saga(trip()())
    not_a_saga: Any = World
    with pytest.raises(TypeError, match="Expected an instance of a Saga class, or a SagaDefinition, found <class"):
        await run_saga(not_a_saga)


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_a_loop_of_real_time_what_is_staged_passes_at_once(world: World, backend: str) -> None:
    outcomes = {"second": [Timeout, Late], "undo_second": [Timeout, Fail]}
    began = time.monotonic()

    run = anyio.run(lambda: play(world, outcomes, trip(retry=TWICE)), backend=backend)

    assert time.monotonic() - began < 5
    assert run.trace[1:] == [
        "second: timed out",
        "second: late",
        "undo second: timed out",
        "undo second: failed",
        "undo second",
        "undo first",
    ]
    assert run.seconds == pytest.approx(10 + 5 + 10 + 60, abs=4)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_a_plain_function_all_time_is_virtual(world: World, backend: str) -> None:
    world.tell("second", world.hangs())

    run = run_saga_sync(trip()(), provide={World: world}, backend=backend)

    assert run.trace == ["first", "second: timed out", "undo second", "undo first"]
    assert run.seconds == 10


def test_other_sagas_of_the_store_run_as_they_are() -> None:
    Trip = trip()

    async def body() -> None: ...

    async def main() -> bool:
        stage = Stage("one", Script(Trip.graph, {"second": Timeout}), StageClock())
        context = StepContext("two", "second", 1, "two/second/do", "two/second/do", None, 1)
        return stage.call(context, new_attempt(1), body) is body

    assert anyio.run(main)
