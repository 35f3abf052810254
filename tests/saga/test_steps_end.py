"""What a step's end means: one row of the table after the other, looked at in the world, in the records and as an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from allframe import (
    EffectUnknown,
    Inject,
    Refused,
    Saga,
    SagaCancelled,
    SagaError,
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
from tests.naming import steady
from tests.saga import world
from tests.saga.world import Behaviour, Home, World, facts, trip
from tests.virtual import ASYNCIO_ONLY

pytestmark = pytest.mark.anyio
home = world.home


class Odd(BaseException):
    """One that nobody expects."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def too_deep(depth: int = 0) -> int:
    return too_deep(depth + 1) + 1


@dataclass(frozen=True)
class Row:
    """What ``second`` does, and what that means."""

    name: str
    behave: Callable[[World], Behaviour]
    #: How it is recorded.
    recorded: str
    #: What `execute` raises, and what it says between the place and the rollback.
    raises: type[SagaError]
    says: str
    #: What the compensation of ``second`` is given; MISSING if it is not called.
    given: Any = None
    #: The live exception is behind the error.
    has_cause: bool = True
    #: Further facts of the error.
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def undone(self) -> bool:
        return self.given is not None


def failed(name: str, error: BaseException, says: str) -> Row:
    return Row(name, lambda world: world.raises(error), "second failed", StepFailed, f"failed: {says}")


def silent(name: str, error: BaseException, says: str) -> Row:
    return Row(
        name,
        lambda world: world.raises_after(error),
        "second unknown (silence)",
        StepUnknown,
        f"may or may not have taken effect: {says}",
        given="silence",
    )


def timed_out(name: str, behave: Callable[[World], Behaviour], *, has_cause: bool = False) -> Row:
    return Row(
        name,
        behave,
        "second unknown (deadline)",
        StepTimedOut,
        "did not end within its timeout of 10 s",
        given="deadline",
        has_cause=has_cause,
        facts={"duration": 10.0},
    )


def late(name: str, behave: Callable[[World], Behaviour]) -> Row:
    return Row(
        name,
        behave,
        "second succeeded late",
        StepTimedOut,
        "returned after its deadline of 10 s",
        given="second done",
        has_cause=False,
        facts={"duration": 10.0},
    )


HERE = __name__
LOST = "succeeded, but its output is lost: The output of step 'second' cannot be"
ROWS = [
    # an Exception that is not silence
    failed("ordinary exception", ValueError("no such hotel"), "ValueError: no such hotel"),
    failed("exception without a text", ValueError(), "ValueError"),
    failed(
        "exception that cannot be printed", Unprintable(), f"{HERE}.Unprintable: (its text cannot be had: RuntimeError)"
    ),
    failed(
        "group of ordinary exceptions",
        ExceptionGroup("both", [ValueError("a"), KeyError("b")]),
        "ExceptionGroup: both (2 sub-exceptions)",
    ),
    failed("connection refused", ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
    # Refused
    Row(
        "refused",
        lambda world: world.raises(Refused("card declined")),
        "second was refused",
        StepRefused,
        "was refused: card declined",
    ),
    # silence
    timed_out("deadline", World.hangs),
    timed_out("exception after the deadline", lambda world: world.swallows(ValueError("too late")), has_cause=True),
    timed_out("refused after the deadline", lambda world: world.swallows(Refused("too late")), has_cause=True),
    timed_out(
        "exception after computing past the deadline",
        lambda world: world.never_yields(20, ValueError("slow")),
        has_cause=True,
    ),
    silent("EffectUnknown", EffectUnknown("the line went dead"), "allframe.EffectUnknown: the line went dead"),
    silent("a TimeoutError of its own", TimeoutError("read timed out"), "TimeoutError: read timed out"),
    silent("a ConnectionError", ConnectionResetError("reset by peer"), "ConnectionResetError: reset by peer"),
    silent(
        "group that holds silence",
        ExceptionGroup("both", [ValueError("a"), TimeoutError()]),
        "ExceptionGroup: both (2 sub-exceptions)",
    ),
    silent("MemoryError", MemoryError(), "MemoryError"),
    silent("SystemExit", SystemExit(3), "SystemExit: 3"),
    silent("GeneratorExit", GeneratorExit(), "GeneratorExit"),
    silent("another BaseException", Odd("odd"), f"{HERE}.Odd: odd"),
    silent(
        "group that holds a BaseException",
        BaseExceptionGroup("odd", [Odd()]),
        "BaseExceptionGroup: odd (1 sub-exception)",
    ),
    silent(
        "nested group that holds SystemExit",
        BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [SystemExit()])]),
        "BaseExceptionGroup: outer (1 sub-exception)",
    ),
    # something wrong, unstorable or too late
    late("late by swallowing the cancellation", World.swallows),
    late("late by never yielding", lambda world: world.never_yields(20)),
    Row(
        "unstorable output",
        lambda world: world.returns(object),
        "second lost its output",
        StepOutputLost,
        f"{LOST} stored: expected str, found type <class 'object'>",
        given="output_lost",
    ),
    Row(
        "output of the wrong type",
        lambda world: world.returns(7),
        "second lost its output",
        StepOutputLost,
        f"{LOST} stored: expected str, found int 7",
        given="output_lost",
    ),
    Row(
        "no output where one is due",
        lambda world: world.returns(None),
        "second lost its output",
        StepOutputLost,
        f"{LOST} stored: expected str, found NoneType None",
        given="output_lost",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_step_that_ends_so(home: Home, row: Row) -> None:
    await assert_row(home, row)


@ASYNCIO_ONLY
async def test_a_cancelled_error_of_its_own(home: Home) -> None:
    await assert_row(home, silent("own", asyncio.CancelledError("mine"), "asyncio.exceptions.CancelledError: mine"))


async def test_a_recursion_that_does_not_end(home: Home) -> None:
    async def recurse(ctx: StepContext) -> int:
        home.world.take_effect(ctx)
        return too_deep()

    await assert_row(
        home,
        Row(
            "recursion",
            lambda _: recurse,
            "second unknown (silence)",
            StepUnknown,
            "may or may not have taken effect: RecursionError: maximum recursion depth exceeded",
            given="silence",
        ),
    )


async def assert_row(home: Home, row: Row) -> None:
    Trip = trip()
    home.world.tell("second", row.behave(home.world))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaError) as raised:
            await orchestrator.execute(Trip(), id="trip-1")
        live = await (await orchestrator.start(Trip(), id="trip-1")).outcome()

    # the world
    undone = ["second", "first"] if row.undone else ["first"]
    assert home.world.effects == []
    assert home.world.journal == ["do first", "do second", *(f"undo {name}" for name in undone)]
    assert_given(home, row)

    # the records
    compensated = [f"{name} compensated" for name in undone]
    expected = ["started", "first succeeded", row.recorded, "rollback begun", *compensated, "compensated"]
    assert await home.told("trip-1") == expected
    metadata = await home.monitor.get_saga("trip-1")
    assert metadata is not None
    assert (metadata.status, metadata.failed_step, metadata.attention) == (SagaStatus.COMPENSATED, "second", False)
    assert (metadata.running, metadata.uncompensated, metadata.total_steps) == ((), (), 3)

    # the error
    error = raised.value
    assert type(error) is row.raises
    assert str(error).startswith(f"Trip 'trip-1', step 'second' (2 of 3), {row.says}")
    assert str(error).endswith(f". Rolled back: {', '.join(undone)}. Nothing is left of it.")
    assert "Pydantic serializer warnings" not in str(error), "a heading in place of what it says"
    assert (error.saga_id, error.step_name, error.step_index) == ("trip-1", "second", 1)
    assert {name: getattr(error, name) for name in row.facts} == row.facts
    assert (error.__cause__ is not None) == row.has_cause
    assert metadata.error == error.error == live.error

    # … and all of it again, from the records alone
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(row.raises) as again:
            await orchestrator.execute(Trip(), id="trip-1")
        assert facts(again.value) == facts(error)
        assert again.value.__cause__ is None
        assert await (await orchestrator.start(Trip(), id="trip-1")).outcome() == live
    assert await home.told("trip-1") == expected


def assert_given(home: Home, row: Row) -> None:
    if not row.undone:
        assert "second" not in home.world.given
        return
    given = home.world.given["second"]
    if isinstance(given, Unknown):
        assert (given.reason, given.attempts) == (row.given, 1)
    else:
        assert given == row.given


async def test_a_step_that_returns_goes_on(home: Home) -> None:
    Trip = trip()

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Trip(), id="trip-1")

    assert home.world.effects == ["first", "second", "third"]
    assert await home.told("trip-1") == [
        "started",
        "first succeeded",
        "second succeeded",
        "third succeeded",
        "completed",
    ]
    assert (outcome.id, outcome.status, outcome.error) == ("trip-1", SagaStatus.COMPLETED, None)
    assert outcome.outputs == {"first": "first done", "second": "second done", "third": "third done"}
    assert outcome.output == "third done"

    await home.reopen()
    async with home.orchestrator() as orchestrator:
        assert await orchestrator.execute(Trip(), id="trip-1") == outcome
    assert home.world.journal == ["do first", "do second", "do third"]


async def test_a_step_cut_by_cancel_is_undone_with_the_others(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip(), id="trip-1")
        await home.world.until("do second")
        await handle.cancel(reason="it rains")
        outcome = await handle.outcome()
        with pytest.raises(SagaCancelled) as raised:
            outcome.raise_for_status()

    assert home.world.effects == []
    assert home.world.journal == ["do first", "do second", "undo second", "undo first"]
    assert home.world.given["second"].reason == "cancelled"
    assert await home.told("trip-1") == [
        "started",
        "first succeeded",
        "cancel requested",
        "second unknown (cancelled)",
        "rollback begun",
        "second compensated",
        "first compensated",
        "compensated",
    ]
    assert str(raised.value) == (
        "Trip 'trip-1' was cancelled: it rains. Rolled back: second, first. Nothing is left of it."
    )


async def test_its_traceback_is_kept_and_begins_in_the_step(home: Home) -> None:
    Trip = trip()
    home.world.tell("second", home.world.raises(ValueError("no such hotel")))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip())).outcome()

    assert outcome.error is not None
    assert outcome.error.traceback is not None
    lines = outcome.error.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "in second" in lines[1]
    assert lines[-1] == "ValueError: no such hotel"


async def test_a_group_that_holds_keyboard_interrupt_is_no_silence(home: Home) -> None:
    """Ctrl-C is a leave: nothing is written of the step, and the next opening goes on."""
    Trip = trip()
    home.world.tell("second", home.world.raises(BaseExceptionGroup("", [KeyboardInterrupt()])))

    with pytest.raises(KeyboardInterrupt):
        async with home.orchestrator() as orchestrator:
            await orchestrator.execute(Trip(), id="trip-1")
    assert await home.told("trip-1") == ["started", "first succeeded"]

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="trip-1")
    assert home.world.effects == ["first", "second", "third"]


class Awkward:
    """A value whose comparison raises."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("the truth of an array is ambiguous")

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        raise RuntimeError("no picture")


async def test_an_output_that_cannot_even_be_described_is_lost(home: Home) -> None:
    Trip = trip()
    home.world.tell("second", home.world.returns(Awkward()))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepOutputLost):
            await orchestrator.execute(Trip(), id="trip-1")

    assert home.world.journal == ["do first", "do second", "undo second", "undo first"]
    assert home.world.effects == []


class Loose(Saga):
    """``second`` says nothing of what it returns."""

    @step
    async def first(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("first")
    async def undo_first(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step
    async def second(self, world: Inject[World], ctx: StepContext):  # type: ignore[no-untyped-def]
        return await world.do(ctx)

    @compensates("second")
    async def undo_second(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)


@pytest.mark.parametrize("value", [None, "x", 7, True, 1.5, [1, "a", None], {"a": {"b": [1.5]}}], ids=repr)
async def test_a_step_without_annotation_gives_back_plain_values(home: Home, value: Any) -> None:
    home.world.tell("second", home.world.returns(value))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Loose(), id="loose")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        again = await orchestrator.execute(Loose(), id="loose")

    assert outcome.output == again.output == value
    assert type(outcome.output) is type(again.output) is type(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, (1, 2), {1: "a"}, float("nan"), float("inf"), b"\xff"], ids=steady)
async def test_a_step_without_annotation_loses_what_is_not_plain(home: Home, value: Any) -> None:
    home.world.tell("second", home.world.returns(value))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepOutputLost, match=r"step 'second' \(2 of 2\), succeeded, but its output is lost: "):
            await orchestrator.execute(Loose(), id="loose")

    assert home.world.effects == []


async def test_steps_run_one_after_the_other(home: Home) -> None:
    Trip = trip()
    running: list[str] = []

    def alone(name: str) -> Behaviour:
        async def behave(ctx: StepContext) -> str:
            assert running == []
            running.append(name)
            await anyio.sleep(1)
            running.remove(name)
            return home.world.take_effect(ctx)

        return behave

    for name in ("first", "second", "third"):
        home.world.tell(name, alone(name))
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    assert home.world.effects == ["first", "second", "third"]
