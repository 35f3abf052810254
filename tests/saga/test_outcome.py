"""How a saga ended, as an outcome and as an error whose text is a letter to whoever can mend it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from allframe import (
    AllframeError,
    CompensationFailed,
    EffectUnknown,
    ErrorInfo,
    Event,
    Inject,
    OrchestratorClosed,
    Refused,
    Retry,
    Saga,
    SagaBlocked,
    SagaError,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StepFailed,
    StepOutputLost,
    StepRefused,
    StepTimedOut,
    StepUnknown,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.world import Home, World, facts, trip

pytestmark = pytest.mark.anyio
home = world.home


async def error_of(home: Home, orchestrator: SagaOrchestrator, Trip: Any) -> SagaError:
    with pytest.raises(SagaError) as raised:
        await orchestrator.execute(Trip(), id="t")
    return raised.value


#: What ``third`` does, the class of the error and its whole text.
LETTERS = [
    (
        lambda w: w.raises(ValueError("no such hotel")),
        StepFailed,
        "Trip 't', step 'third' (3 of 3), failed: ValueError: no such hotel. Rolled back: second, first. "
        "Nothing is left of it.",
    ),
    (
        lambda w: w.raises(ValueError("It ends with a stop.")),
        StepFailed,
        "Trip 't', step 'third' (3 of 3), failed: ValueError: It ends with a stop. Rolled back: second, first. "
        "Nothing is left of it.",
    ),
    (
        lambda w: w.raises(Refused("card declined")),
        StepRefused,
        "Trip 't', step 'third' (3 of 3), was refused: card declined. Rolled back: second, first. "
        "Nothing is left of it.",
    ),
    (
        lambda w: w.raises_after(EffectUnknown("the line went dead")),
        StepUnknown,
        "Trip 't', step 'third' (3 of 3), may or may not have taken effect: allframe.EffectUnknown: the line went "
        "dead. Rolled back: third, second, first. Nothing is left of it.",
    ),
]


@pytest.mark.parametrize(("behave", "kind", "text"), LETTERS, ids=lambda value: getattr(value, "__name__", ""))
async def test_the_letter_says_what_happened_and_what_was_rolled_back(
    home: Home, behave: Any, kind: type[SagaError], text: str
) -> None:
    Trip = trip()
    home.world.tell("third", behave(home.world))

    async with home.orchestrator() as orchestrator:
        error = await error_of(home, orchestrator, Trip)

    assert type(error) is kind
    assert str(error) == text
    assert isinstance(error, AllframeError)
    assert (error.saga_id, error.step_name, error.step_index) == ("t", "third", 2)


async def test_a_timeout_says_how_long(home: Home) -> None:
    Trip = trip(timeout=2.5)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        error = await error_of(home, orchestrator, Trip)

    assert isinstance(error, StepTimedOut)
    assert str(error) == (
        "Trip 't', step 'second' (2 of 3), did not end within its timeout of 2.5 s. Rolled back: second, first. "
        "Nothing is left of it."
    )
    assert error.duration == 2.5


async def test_a_lost_output_says_what_was_wrong_with_it(home: Home) -> None:
    Trip = trip()
    home.world.tell("second", home.world.returns(None))

    async with home.orchestrator() as orchestrator:
        error = await error_of(home, orchestrator, Trip)

    assert isinstance(error, StepOutputLost)
    assert str(error) == (
        "Trip 't', step 'second' (2 of 3), succeeded, but its output is lost: The output of step 'second' cannot be "
        "stored: expected str, found NoneType None (Input should be a valid string). "
        "Rolled back: second, first. Nothing is left of it."
    )
    assert error.error is not None
    assert error.error.type == "allframe.PayloadError"


async def test_an_error_is_kept_as_text_with_its_type(home: Home) -> None:
    Trip = trip()
    live = ValueError("no such hotel")
    home.world.tell("third", home.world.raises(live))

    async with home.orchestrator() as orchestrator:
        error = await error_of(home, orchestrator, Trip)
        outcome = await (await orchestrator.start(Trip(), id="t")).outcome()

    assert isinstance(error.error, ErrorInfo)
    assert (error.error.type, error.error.message) == ("ValueError", "no such hotel")
    assert str(error.error) == "ValueError: no such hotel"
    assert error.__cause__ is live
    assert outcome.error == error.error


@pytest.mark.parametrize("text", ["\ud800 half a character", "\x1b[31mred\x00", "x" * 100_000, ""], ids=ascii)
async def test_any_text_of_an_error_can_be_kept(home: Home, text: str) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError(text)))

    async with home.orchestrator() as orchestrator:
        live = await error_of(home, orchestrator, Trip)
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        again = await error_of(home, orchestrator, Trip)

    assert facts(again) == facts(live)
    assert live.error is not None
    assert len(live.error.message) < 9000
    assert home.world.effects == []


async def test_asking_twice_raises_the_same(home: Home) -> None:
    Trip = trip()
    home.world.tell("third", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="t")
        outcomes = [await handle.outcome() for _ in range(3)]
        for outcome in outcomes:
            with pytest.raises(StepFailed):
                outcome.raise_for_status()

    assert outcomes[0] == outcomes[1] == outcomes[2]


async def test_a_handle_never_raises_for_how_it_ended(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(KeyError("no")))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip(), id="t")).outcome()

    assert outcome.status is SagaStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "no"
    with pytest.raises(CompensationFailed) as raised:
        outcome.raise_for_status()
    assert raised.value.original == outcome.error


class Forward(Saga, name="outcome.Forward"):
    @step
    async def first(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("first")
    async def undo_first(self, first: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(pivot=True)
    async def second(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @step(retry=Retry(attempts=1))
    async def third(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


async def test_a_blocked_saga_has_the_error_that_it_is_stuck_on(home: Home) -> None:
    home.world.tell("third", home.world.raises(ValueError("the printer is out of paper")))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Forward(), id="t")).outcome()
        metadata = await orchestrator.get_saga("t")
    with pytest.raises(SagaBlocked) as raised:
        outcome.raise_for_status()

    assert outcome.status is SagaStatus.BLOCKED
    assert outcome.outputs == {"first": "first done", "second": "second done"}
    assert raised.value.error is not None
    assert raised.value.error.message == "the printer is out of paper"
    assert metadata is not None
    assert metadata.error == raised.value.error
    assert outcome.error == metadata.error


async def test_a_blocked_saga_has_the_live_exception_behind_it(home: Home) -> None:
    live = ValueError("the printer is out of paper")
    home.world.tell("third", home.world.raises(live))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked) as raised:
            await orchestrator.execute(Forward(), id="t")

    assert raised.value.__cause__ is live


class Told(Event):
    text: str


class Reporting(Saga):
    """Its outputs are an event, a list of them, and nothing."""

    @step(name="stored-first")
    async def first(self, world: Inject[World], ctx: StepContext) -> Told:
        await world.do(ctx)
        return Told(text="first")

    @compensates("first")
    async def undo_first(self, first: Told | Unknown, world: Inject[World], ctx: StepContext) -> Told:
        await world.undo(ctx)
        return Told(text="undone")

    @step
    async def second(self, first: Told, world: Inject[World], ctx: StepContext) -> list[Event]:
        await world.do(ctx)
        return [first, Told(text="second")]

    @compensates("second")
    async def undo_second(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step
    async def third(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


async def test_outputs_go_by_the_name_in_the_body_and_records_by_the_stored_one(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Reporting(), id="r")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        again = await orchestrator.execute(Reporting(), id="r")

    assert outcome.outputs == {
        "first": Told(text="first"),
        "second": [Told(text="first"), Told(text="second")],
        "third": None,
    }
    assert outcome.output is None
    assert outcome.events == [Told(text="first"), Told(text="first"), Told(text="second")]
    assert again == outcome
    assert (await home.told("r"))[1] == "stored-first succeeded"


async def test_an_outcome_has_what_steps_returned_before_it_failed(home: Home) -> None:
    home.world.tell("third", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Reporting(), id="r")).outcome()
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        again = await (await orchestrator.start(Reporting(), id="r")).outcome()

    assert outcome.outputs == {"first": Told(text="first"), "second": [Told(text="first"), Told(text="second")]}
    assert outcome.output is None
    assert [getattr(event, "text", None) for event in outcome.events] == ["first", "first", "second", "undone"]
    assert again == outcome


async def test_steps_are_given_copies_that_made_the_round_trip(home: Home) -> None:
    """What a later step gets is what it would get after a crash: nobody else can change it."""
    kept: list[Any] = []

    class Mutable(Saga):
        @step
        async def make(self) -> list[int]:
            numbers = [1, 2]
            kept.append(numbers)
            return numbers

        @compensates("make")
        async def unmake(self) -> None: ...

        @step
        async def use(self, make: list[int]) -> int:
            kept[0].append(3)
            return sum(make)

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Mutable())

    assert outcome.outputs == {"make": [1, 2], "use": 3}


async def test_waiters_hear_that_the_orchestrator_left(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.waits(anyio.Event()))
    errors = []

    async def wait(handle: Any) -> None:
        with pytest.raises(OrchestratorClosed) as raised:
            await handle.outcome()
        errors.append(raised.value)

    async with anyio.create_task_group() as group:
        async with home.orchestrator(grace=1) as orchestrator:
            handle = await orchestrator.start(Trip(), id="t")
            for _ in range(3):
                group.start_soon(wait, handle)
            await home.world.until("do second")

    assert [error.saga_id for error in errors] == ["t"] * 3
    assert str(errors[0]) == (
        "The orchestrator left before saga 't' was over. It goes on at the next opening of the store."
    )
