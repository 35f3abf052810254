"""Events of steps: appended in the commit of the record that they go with, or not at all."""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
import pytest

from allframe import (
    Event,
    Inject,
    PayloadError,
    Refused,
    Retry,
    Saga,
    SagaStatus,
    StepContext,
    StepOutputLost,
    StepRefused,
    StepTimedOut,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home


class Moved(Event, name="events_of_steps.moved"):
    __stream__: ClassVar[str] = "account-{account}"
    account: str
    cents: int = 0


class Noted(Event, name="events_of_steps.noted"):
    text: str


class Strange(Event, name="events_of_steps.strange"):
    """One whose template can fill to a name that is allframe's own."""

    __stream__: ClassVar[str] = "{where}"
    where: str


class Crooked(Event, name="events_of_steps.crooked"):
    """One whose template cannot always be filled."""

    __stream__: ClassVar[str] = "account-{account:d}"
    account: Any


class Transfer(Saga, name="events_of_steps.Transfer"):
    @step(timeout=10, retry=Retry(attempts=3, jitter=0))
    async def debit(self, world: Inject[World], ctx: StepContext) -> Moved | list[Event] | None:
        output: Moved | list[Event] | None = await world.do(ctx)
        return output

    @compensates("debit", timeout=10)
    async def refund(self, debit: Moved | list[Event] | Unknown | None, world: Inject[World], ctx: StepContext) -> Any:
        return await world.undo(ctx, debit)

    @step(timeout=10)
    async def credit(self, world: Inject[World], ctx: StepContext) -> Any:
        return await world.do(ctx)

    @compensates("credit")
    async def take_back(self, world: Inject[World], ctx: StepContext) -> Any:
        return await world.undo(ctx)


async def stored(home: Home) -> list[tuple[str, str, Event]]:
    """Everything but allframe's own: stream, the step that the metadata names, the event."""
    return [(recorded.stream, recorded.metadata["step"], recorded.event) async for recorded in home.store.read_all()]


async def assert_same_after_reopening(home: Home, events: list[Event]) -> None:
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()
    assert outcome.events == events


async def test_a_returned_event_goes_to_the_stream_of_its_template(home: Home) -> None:
    home.world.tell("debit", home.world.returns(Moved(account="A", cents=-5)))
    home.world.tell("credit", home.world.returns(None))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert await stored(home) == [("account-A", "debit", Moved(account="A", cents=-5))]
    assert await home.store.get_events("account-A") == outcome.events == [Moved(account="A", cents=-5)]
    assert outcome.outputs["debit"] == Moved(account="A", cents=-5)
    await assert_same_after_reopening(home, outcome.events)


async def test_an_event_without_a_template_goes_to_the_stream_of_the_saga(home: Home) -> None:
    home.world.tell("debit", home.world.returns([Noted(text="1"), Moved(account="A"), Noted(text="2")]))
    home.world.tell("credit", home.world.returns(None))

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert await stored(home) == [
        ("t", "debit", Noted(text="1")),
        ("account-A", "debit", Moved(account="A")),
        ("t", "debit", Noted(text="2")),
    ]
    assert outcome.outputs["debit"] == [Noted(text="1"), Moved(account="A"), Noted(text="2")]
    await assert_same_after_reopening(home, outcome.events)


async def test_emitted_events_come_before_the_returned_one_in_their_order(home: Home) -> None:
    async def debit(ctx: StepContext) -> Event:
        ctx.emit(Moved(account="B", cents=1))
        ctx.emit(Noted(text="1"), stream="ledger")
        await anyio.sleep(1)
        ctx.emit(Moved(account="B", cents=2))
        ctx.emit(Moved(account="B", cents=3), stream="ledger")
        return Moved(account="B", cents=4)

    home.world.tell("debit", debit)
    home.world.tell("credit", home.world.returns(None))
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert await stored(home) == [
        ("account-B", "debit", Moved(account="B", cents=1)),
        ("ledger", "debit", Noted(text="1")),
        ("account-B", "debit", Moved(account="B", cents=2)),
        ("ledger", "debit", Moved(account="B", cents=3)),
        ("account-B", "debit", Moved(account="B", cents=4)),
    ]
    assert outcome.events == [event for _, _, event in await stored(home)]
    assert outcome.outputs["debit"] == Moved(account="B", cents=4)
    await assert_same_after_reopening(home, outcome.events)


async def test_events_stand_right_before_the_record_of_their_step(home: Home) -> None:
    """One commit: its rows have adjacent positions."""
    home.world.tell("debit", home.world.returns([Moved(account="A"), Moved(account="B")]))
    home.world.tell("credit", home.world.returns(Noted(text="done")))
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Transfer(), id="t")

    rows = [recorded async for recorded in home.store.read_all(system=True)]
    assert [(row.stream, row.type) for row in rows][1:] == [
        ("$saga/t", "$saga.started"),
        ("account-A", "events_of_steps.moved"),
        ("account-B", "events_of_steps.moved"),
        ("$saga/t", "$saga.step_succeeded"),
        ("t", "events_of_steps.noted"),
        ("$saga/t", "$saga.step_succeeded"),
        ("$saga/t", "$saga.completed"),
    ]
    assert rows[2].recorded_at == rows[4].recorded_at
    assert rows[2].metadata == {"saga": "t", "step": "debit", "correlation_id": "t", "causation_id": "t"}


@pytest.mark.parametrize("before", [True, False], ids=["not the first", "the only one"])
async def test_what_the_last_record_emits_is_in_the_outcome(home: Home, before: bool) -> None:
    home.world.tell("debit", home.world.returns(Moved(account="A") if before else None))
    home.world.tell("credit", home.world.returns(Noted(text="done")))
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert outcome.events == [*([Moved(account="A")] if before else []), Noted(text="done")]
    await assert_same_after_reopening(home, outcome.events)


async def test_what_the_last_compensation_emits_is_in_the_outcome(home: Home) -> None:
    home.world.tell("debit", home.world.returns(None))
    home.world.tell("credit", home.world.raises(Refused("no")))
    home.world.tell("undo debit", home.world.returns(Noted(text="undone")))
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert outcome.events == [Noted(text="undone")]
    await assert_same_after_reopening(home, outcome.events)


async def test_nothing_is_seen_of_an_event_before_its_step_succeeded(home: Home) -> None:
    seen: list[Any] = []

    async def debit(ctx: StepContext) -> Event:
        ctx.emit(Noted(text="soon"))
        seen.append(await stored(home))
        return Moved(account="A")

    async def credit(ctx: StepContext) -> None:
        seen.append([event for _, _, event in await stored(home)])

    home.world.tell("debit", debit)
    home.world.tell("credit", credit)
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Transfer(), id="t")

    assert seen == [[], [Noted(text="soon"), Moved(account="A")]]


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("hm"), Refused("no"), SystemExit(1)], ids=repr)
async def test_events_of_an_attempt_that_failed_are_dropped(home: Home, error: BaseException) -> None:
    async def fail(ctx: StepContext) -> None:
        ctx.emit(Noted(text=f"attempt {ctx.attempt}"))
        raise error

    home.world.always("debit", fail)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert await stored(home) == []
    assert outcome.events == []


async def test_only_the_attempt_that_succeeded_emits(home: Home) -> None:
    async def emit(ctx: StepContext) -> Event:
        ctx.emit(Noted(text=f"attempt {ctx.attempt}"))
        if ctx.attempt < 3:
            raise ConnectionError("down")
        return Moved(account="A")

    home.world.always("debit", emit)
    home.world.tell("credit", home.world.returns(None))
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert outcome.events == [Noted(text="attempt 3"), Moved(account="A")]
    await assert_same_after_reopening(home, outcome.events)


async def test_events_of_an_attempt_that_was_cut_are_dropped(home: Home) -> None:
    async def hang(ctx: StepContext) -> None:
        ctx.emit(Noted(text="cut"))
        await anyio.sleep(3600)

    home.world.always("debit", hang)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Transfer(), id="t")

    assert await stored(home) == []


async def test_a_late_step_took_effect_and_its_events_say_so(home: Home) -> None:
    async def late(ctx: StepContext) -> Event:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(20)
        return Moved(account="A", cents=-5)

    home.world.tell("debit", late)

    async def refund(ctx: StepContext) -> Event:
        return Moved(account="A", cents=5)

    home.world.tell("undo debit", refund)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert outcome.events == [Moved(account="A", cents=-5), Moved(account="A", cents=5)]
    await assert_same_after_reopening(home, outcome.events)


async def test_a_compensation_emits_too(home: Home) -> None:
    async def refund(ctx: StepContext) -> list[Event]:
        ctx.emit(Noted(text="refunding"), stream="ledger")
        return [Moved(account="A", cents=5), Noted(text="refunded")]

    async def refuse_after_event(ctx: StepContext) -> None:
        ctx.emit(Noted(text="dropped"))
        raise ConnectionError("down")

    home.world.tell("debit", home.world.returns(Moved(account="A", cents=-5)))
    home.world.tell("credit", home.world.raises(Refused("no")))
    home.world.tell("undo debit", refuse_after_event, refund)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepRefused):
            await orchestrator.execute(Transfer(), id="t")
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert await stored(home) == [
        ("account-A", "debit", Moved(account="A", cents=-5)),
        ("ledger", "debit", Noted(text="refunding")),
        ("account-A", "debit", Moved(account="A", cents=5)),
        ("t", "debit", Noted(text="refunded")),
    ]
    assert outcome.events == [event for _, _, event in await stored(home)]
    await assert_same_after_reopening(home, outcome.events)


# --- what cannot be emitted ------------------------------------------------------------------------------------------


async def lost_by(home: Home, event: Event) -> StepOutputLost:
    home.world.tell("debit", home.world.returns(None))

    async def credit(ctx: StepContext) -> None:
        home.world.take_effect(ctx)
        ctx.emit(Noted(text="goes with it"))
        ctx.emit(event)

    home.world.tell("credit", credit)
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepOutputLost) as raised:
            await orchestrator.execute(Transfer(), id="t")

    assert await stored(home) == []
    assert home.world.effects == []
    assert (await home.told("t"))[2:] == [
        "credit lost its output",
        "rollback begun",
        "credit compensated",
        "debit compensated",
        "compensated",
    ]
    return raised.value


@pytest.mark.parametrize("name", ["$saga/t", "$", ""])
async def test_a_template_that_fills_to_a_reserved_name_makes_the_output_unstorable(home: Home, name: str) -> None:
    error = await lost_by(home, Strange(where=name))

    assert f"Strange goes to stream {name!r}, as its template '{{where}}' fills in. A stream needs a name" in str(error)


async def test_a_template_that_cannot_be_filled_makes_the_output_unstorable(home: Home) -> None:
    error = await lost_by(home, Crooked(account="not a number"))

    assert "Crooked" in str(error)


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("named", [False, True], ids=["by its template", "by emit"])
async def test_a_stream_that_no_database_can_hold_does_not_strand_the_saga(home: Home, name: str, named: bool) -> None:
    """Whether `emit` refuses it or its event makes the output unstorable, the saga comes to an end."""
    home.world.tell("debit", home.world.returns(None))

    async def credit(ctx: StepContext) -> None:
        home.world.take_effect(ctx)
        if named:
            ctx.emit(Noted(text="x"), stream=name)
        else:
            ctx.emit(Strange.model_construct(where=name))

    home.world.tell("credit", credit)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert outcome.error is not None
    assert outcome.error.type == "allframe.PayloadError"
    assert await stored(home) == []


@pytest.mark.parametrize(
    ("event", "stream", "said"),
    [
        (
            Noted(text="x"),
            "$saga/t",
            "Stream '$saga/t' cannot be written",
        ),
        (Noted(text="x"), "", "Stream '' cannot be written"),
        ("no event", None, "emit() takes an Event, found str."),
    ],
)
async def test_what_emit_refuses_it_refuses_at_once(home: Home, event: Any, stream: str | None, said: str) -> None:
    async def debit(ctx: StepContext) -> None:
        with pytest.raises(PayloadError) as raised:
            ctx.emit(event, stream=stream)
        assert said in str(raised.value)

    home.world.tell("debit", debit)
    home.world.tell("credit", home.world.returns(None))
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Transfer(), id="t")

    assert outcome.status is SagaStatus.COMPLETED
    assert await stored(home) == []


async def test_a_compensation_whose_event_cannot_be_stored_has_not_undone_it(home: Home) -> None:
    """It is tried again: nobody may lose an event that goes with a record."""
    home.world.tell("debit", home.world.returns(None))
    home.world.tell("credit", home.world.raises(Refused("no")))

    async def refund(ctx: StepContext) -> Event:
        home.world.take_back(ctx)
        return Strange(where="$mine" if ctx.attempt == 1 else "mine")

    home.world.always("undo debit", refund)
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Transfer(), id="t")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert await stored(home) == [("mine", "debit", Strange(where="mine"))]
    assert home.world.journal.count("undo debit") == 2
