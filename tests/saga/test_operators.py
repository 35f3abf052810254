"""The five verbs: what each makes of a saga, wherever it stands; the table of docs/operators.md, cell by cell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    EffectUnknown,
    Event,
    Inject,
    OperationRefused,
    PayloadError,
    Refused,
    Retry,
    Saga,
    SagaAbandoned,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StepFailed,
    StepRefused,
    Unknown,
    compensates,
    step,
)
from allframe.saga.records import CancelRequested, RetryRequested, StepResolved, StepSkipped
from allframe.saga.records import SagaAbandoned as Abandoned
from tests.saga import world
from tests.saga.world import Home, World, facts, trip

pytestmark = pytest.mark.anyio
home = world.home

ONCE = Retry(attempts=1)


class Shipment(Saga, name="operators.Shipment"):
    """``post`` is the pivot. Nobody takes what ``notify`` returns; ``thank`` takes what ``post`` does."""

    @step(timeout=None)
    async def pack(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("pack", timeout=None, retry=ONCE)
    async def unpack(self, pack: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, pack)

    @step(timeout=10)
    async def label(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("label", timeout=None, retry=ONCE)
    async def unlabel(self, label: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, label)

    @step(pivot=True, timeout=10)
    async def post(self, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output

    @step(timeout=10, retry=ONCE)
    async def notify(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @step(timeout=10, retry=ONCE)
    async def thank(self, post: str, world: Inject[World], ctx: StepContext) -> str:
        output: str = await world.do(ctx)
        return output


# --- where a saga stands ---------------------------------------------------------------------------------------------

Arrange = Callable[[Home, SagaOrchestrator], Awaitable[None]]
SAGA = Shipment()


async def begin(orchestrator: SagaOrchestrator, home: Home, until: str) -> None:
    await orchestrator.start(SAGA, id="s")
    await home.world.until(until)


async def stopped(orchestrator: SagaOrchestrator) -> None:
    await (await orchestrator.start(SAGA, id="s")).outcome()


async def not_started(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.always("pack", home.world.hangs())
    await orchestrator.start(SAGA, id="a")
    await orchestrator.start(SAGA, id="s")


async def executing(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.always("pack", home.world.hangs())
    await begin(orchestrator, home, "do pack")


async def executing_after(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.always("notify", waits_for_ever)
    await begin(orchestrator, home, "do notify")


async def compensating(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("label", home.world.raises(Refused("no")))
    home.world.always("undo pack", waits_for_ever)
    await begin(orchestrator, home, "undo pack")


async def completed(home: Home, orchestrator: SagaOrchestrator) -> None:
    await stopped(orchestrator)


async def compensated(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("label", home.world.raises(Refused("no")))
    await stopped(orchestrator)


async def failed(home: Home, orchestrator: SagaOrchestrator) -> None:
    """``label`` was undone, and ``pack`` could not be."""
    home.world.tell("post", home.world.raises(Refused("no")))
    home.world.tell("undo pack", home.world.raises(ConnectionError("down")))
    await stopped(orchestrator)


async def failed_unknown(home: Home, orchestrator: SagaOrchestrator) -> None:
    """Nobody knows of ``label``, and it could not be undone, so ``pack`` was not tried."""
    home.world.tell("label", home.world.raises_after(EffectUnknown("hm")))
    home.world.tell("undo label", home.world.raises(ConnectionError("down")))
    await stopped(orchestrator)


async def blocked_before(home: Home, orchestrator: SagaOrchestrator) -> None:
    """It lacks what it injects."""
    while (metadata := await orchestrator.get_saga("s")) and metadata.status is not SagaStatus.BLOCKED:
        await anyio.sleep(0.1)


async def blocked_pivot(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("post", home.world.raises_after(EffectUnknown("hm")))
    await stopped(orchestrator)


async def blocked_after(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("notify", home.world.raises(Refused("no")))
    await stopped(orchestrator)


async def blocked_after_unknown(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("notify", home.world.raises(EffectUnknown("hm")))
    await stopped(orchestrator)


async def blocked_output(home: Home, orchestrator: SagaOrchestrator) -> None:
    home.world.tell("post", home.world.returns(7))
    await stopped(orchestrator)


async def abandoned(home: Home, orchestrator: SagaOrchestrator) -> None:
    await executing(home, orchestrator)
    await orchestrator.abandon("s", reason="hopeless")


async def abandoned_after(home: Home, orchestrator: SagaOrchestrator) -> None:
    await executing_after(home, orchestrator)
    await orchestrator.abandon("s", reason="hopeless")


async def until_waiting(orchestrator: SagaOrchestrator, saga_id: str) -> None:
    """Return when recovery has it wait for its turn."""
    entries = orchestrator._open().entries
    while saga_id not in entries or not entries[saga_id].waiting:
        await anyio.sleep(0.1)


async def waits_for_ever(ctx: StepContext) -> None:
    await anyio.sleep_forever()


# --- the table -------------------------------------------------------------------------------------------------------

OVER = "it is over, and cannot be {participle}"
PARTICIPLES = {
    "cancel": "cancelled",
    "retry": "retried",
    "abandon": "abandoned",
    "skip": "skipped",
    "resolve": "resolved",
}


@dataclass(frozen=True)
class Row:
    """One status: what the verbs do there. A status is where it ends; anything else is a part of the refusal."""

    arrange: Arrange
    status: SagaStatus
    cells: dict[str, str]
    #: The step that ``skip`` and ``resolve`` name, and what the latter says.
    named: str = "pack"
    told: tuple[str, dict[str, Any]] = ("done", {})
    options: dict[str, Any] = field(default_factory=dict)


def row(arrange: Arrange, status: str, cancel: str, retry: str, skip: str, resolve: str, **more: Any) -> Row:
    cells = {"cancel": cancel, "retry": retry, "abandon": "abandoned", "skip": skip, "resolve": resolve}
    return Row(arrange, SagaStatus(status), cells, **more)


def over(arrange: Arrange, status: str) -> Row:
    cells = {verb: f"is {status}: {OVER.format(participle=done)}" for verb, done in PARTICIPLES.items()}
    return Row(arrange, SagaStatus(status), cells)


NOT_STUCK = "only one that is failed or blocked can be retried"
NO_SKIP = "only a step of one that is failed or blocked can be skipped"
NO_RESOLVE = "only a step of one that is failed or blocked can be resolved"
BACK = "only one that has not begun its rollback can be cancelled"
PAST = "its pivot 'post' succeeded, and from there it only goes forward"
UNLOADED = "for it cannot be loaded: Nothing provides"

TABLE: dict[str, Row] = {
    "not started": row(
        not_started, "not_started", "compensated", NOT_STUCK, NO_SKIP, NO_RESOLVE, options={"max_running": 1}
    ),
    "executing": row(executing, "executing", "compensated", NOT_STUCK, NO_SKIP, NO_RESOLVE),
    "executing, after the pivot": row(executing_after, "executing", PAST, NOT_STUCK, NO_SKIP, NO_RESOLVE),
    "compensating": row(compensating, "compensating", BACK, NOT_STUCK, NO_SKIP, NO_RESOLVE),
    "completed": over(completed, "completed"),
    "compensated": over(compensated, "compensated"),
    "failed": row(failed, "failed", BACK, "compensated", "compensated", "it is known that it took effect"),
    "failed, unknown": row(failed_unknown, "failed", BACK, "compensated", "compensated", "compensated", named="label"),
    "blocked, for a dependency": row(
        blocked_before,
        "blocked",
        UNLOADED,
        UNLOADED,
        "it is not what the saga is stuck on",
        "it is not what the saga is stuck on",
        options={"provide": {}},
    ),
    "blocked, the pivot unknown": row(
        blocked_pivot,
        "blocked",
        "its pivot 'post' may have succeeded",
        "completed",
        "it is the pivot",
        "completed",
        named="post",
        told=("done", {"output": "seen"}),
    ),
    "blocked, after the pivot": row(
        blocked_after, "blocked", PAST, "completed", "completed", "it is known that it left no effect", named="notify"
    ),
    "blocked, after the pivot, unknown": row(
        blocked_after_unknown, "blocked", PAST, "completed", "completed", "completed", named="notify"
    ),
    "blocked, an output lost": row(
        blocked_output,
        "blocked",
        PAST,
        "The step succeeded, and never runs again",
        "it is the pivot",
        "completed",
        named="post",
        told=("done", {"output": "seen"}),
    ),
    "abandoned": over(abandoned, "abandoned"),
    "abandoned, after the pivot": over(abandoned_after, "abandoned"),
}
RECORDS = {
    "cancel": CancelRequested,
    "retry": RetryRequested,
    "abandon": Abandoned,
    "skip": StepSkipped,
    "resolve": StepResolved,
}


async def ask(orchestrator: SagaOrchestrator, verb: str, row: Row, **more: Any) -> None:
    said = {"reason": "because", "actor": "ada", **more}
    outcome, output = row.told
    await {
        "cancel": lambda: orchestrator.cancel("s", **said),
        "retry": lambda: orchestrator.retry_failed("s", **said),
        "abandon": lambda: orchestrator.abandon("s", **said),
        "skip": lambda: orchestrator.skip("s", row.named, **said),
        "resolve": lambda: orchestrator.resolve("s", row.named, outcome, **output, **said),  # type: ignore[arg-type]
    }[verb]()


@pytest.mark.parametrize("reopened", [False, True], ids=["live", "reopened"])
@pytest.mark.parametrize("verb", RECORDS)
@pytest.mark.parametrize("where", TABLE)
async def test_what_a_verb_makes_of_a_status(home: Home, where: str, verb: str, reopened: bool) -> None:
    row = TABLE[where]
    expected = row.cells[verb]
    options = {"grace": 0.1, **row.options}
    if row.arrange is blocked_before:
        async with home.orchestrator(grace=0.1) as orchestrator:
            await executing(home, orchestrator)
    async with home.orchestrator(**options) as orchestrator:
        await row.arrange(home, orchestrator)
        metadata = await orchestrator.get_saga("s")
        assert metadata is not None
        assert metadata.status is row.status
        if not reopened:
            await answer(home, orchestrator, verb, row, expected)
    if reopened:
        await home.reopen()
        async with home.orchestrator(**options) as orchestrator:
            await answer(home, orchestrator, verb, row, expected)

    asked = [e.record for e in await home.timeline("s") if isinstance(e.record, RECORDS[verb]) and by_ada(e.record)]
    assert len(asked) == (expected in set(SagaStatus)), "it is one record, or none"


def by_ada(record: Any) -> bool:
    return bool(record.actor == "ada" and record.reason == "because")


async def answer(home: Home, orchestrator: SagaOrchestrator, verb: str, row: Row, expected: str) -> None:
    """Ask, and see that it ends as the table says."""
    if expected not in set(SagaStatus):
        with pytest.raises(OperationRefused) as raised:
            await ask(orchestrator, verb, row)
        text = str(raised.value)
        assert expected in text
        assert raised.value.saga_id == "s"
        assert "Possible now: " in text or "is over" in text or "only goes forward" in text
        return
    await ask(orchestrator, verb, row)
    metadata = await orchestrator.get_saga("s")
    while metadata is not None and metadata.status.value in ("not_started", "executing", "compensating"):
        await anyio.sleep(1)
        metadata = await orchestrator.get_saga("s")
    assert metadata is not None
    assert metadata.status == expected
    if expected == "abandoned":
        assert metadata.reason == "because"
        assert not metadata.attention


# --- skip ------------------------------------------------------------------------------------------------------------


async def test_a_skipped_compensation_counts_as_undone_and_is_not_said_to_be(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed_unknown(home, orchestrator)
        await orchestrator.skip("s", "label", reason="taken off by hand", actor="ada")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal[-2:] == ["undo label", "undo pack"], "what it held up was undone"
    assert (await home.told("s"))[-3:] == ["label skipped", "pack compensated", "compensated"]
    with pytest.raises(Exception, match="may or may not have taken effect") as raised:
        outcome.raise_for_status()
    assert str(raised.value).endswith(
        "Rolled back: pack. Not undone but skipped: label, by ada (taken off by hand). Nothing else is left of it."
    )
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        again = await (await orchestrator.start(SAGA, id="s")).outcome()
    assert facts(again._failure) == facts(raised.value)  # type: ignore[arg-type]


async def test_a_compensation_that_was_not_tried_is_not_skipped_before_the_one_that_holds_it_up(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed_unknown(home, orchestrator)
        with pytest.raises(OperationRefused) as raised:
            await orchestrator.skip("s", "pack", reason="by hand")

    assert str(raised.value) == (
        "Step 'pack' of saga 's', which is failed, cannot be skipped: its compensation was not tried yet: it comes after "
        "that of 'label'. Possible now: retry, skip 'label', resolve 'label', abandon."
    )


async def test_a_skipped_step_after_the_pivot_lets_its_followers_go_on(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await blocked_after(home, orchestrator)
        await orchestrator.skip("s", "notify", reason="told by phone", actor="ada")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert outcome.outputs == {"pack": "pack done", "label": "label done", "post": "post done", "thank": "thank done"}
    metadata = await home.monitor.get_saga("s")
    assert metadata is not None
    assert (metadata.steps_executed, metadata.total_steps) == (4, 5), "it did not succeed"
    assert (await home.told("s"))[-3:] == ["notify skipped", "thank succeeded", "completed"]


async def test_a_step_whose_output_is_taken_is_not_skipped(home: Home) -> None:
    home.world.tell("post", home.world.returns(7))
    async with home.orchestrator() as orchestrator:
        await stopped(orchestrator)
        with pytest.raises(OperationRefused, match="it is the pivot: .* Possible now: resolve 'post', abandon"):
            await orchestrator.skip("s", "post", reason="by hand")


@pytest.mark.parametrize("verb", ["skip", "resolve"])
async def test_a_step_that_does_not_exist_is_named_with_those_that_do(home: Home, verb: str) -> None:
    async with home.orchestrator() as orchestrator:
        await failed(home, orchestrator)
        more = ("done",) if verb == "resolve" else ()
        with pytest.raises(OperationRefused) as raised:
            await getattr(orchestrator, verb)("s", "pakc", *more, reason="by hand")

    done = {"skip": "skipped", "resolve": "resolved"}[verb]
    assert str(raised.value) == (
        f"Saga 's' has no step 'pakc', so it cannot be {done}. Its steps are: pack, label, post, notify, thank."
    )


# --- resolve ---------------------------------------------------------------------------------------------------------


async def test_resolved_as_done_in_a_rollback_its_compensation_gets_the_output(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed_unknown(home, orchestrator)
        assert isinstance(home.world.given["label"], Unknown)
        await orchestrator.resolve("s", "label", "done", output="A-17", reason="it is on the box", actor="ada")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert home.world.given["label"] == "A-17"
    assert home.world.effects == []
    assert outcome.status is SagaStatus.COMPENSATED
    with pytest.raises(Exception, match=r"Resolved as done: label, by ada \(it is on the box\)"):
        outcome.raise_for_status()


async def test_resolved_as_done_without_an_output_its_compensation_is_tried_again(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed_unknown(home, orchestrator)
        await orchestrator.resolve("s", "label", "done", reason="it is on the box")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert isinstance(home.world.given["label"], Unknown)
    assert home.world.journal.count("undo label") == 2
    assert outcome.status is SagaStatus.COMPENSATED


async def test_resolved_as_not_done_in_a_rollback_there_is_nothing_to_undo(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed_unknown(home, orchestrator)
        home.world.effects.remove("label")  # as was found out
        await orchestrator.resolve("s", "label", "not_done", reason="the box is bare")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert home.world.journal[-2:] == ["undo label", "undo pack"]
    assert home.world.effects == []
    assert outcome.status is SagaStatus.COMPENSATED


class Deposit(Saga, name="operators.Deposit"):
    """A compensation that cannot work without the output."""

    @step(timeout=10)
    async def pay(self, world: Inject[World], ctx: StepContext) -> int:
        output: int = await world.do(ctx)
        return output

    @compensates("pay", if_unknown="fail", retry=ONCE)
    async def pay_back(self, pay: int, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, pay)

    @step
    async def book(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("book")
    async def unbook(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)


@pytest.mark.parametrize("reopened", [False, True], ids=["live", "reopened"])
async def test_a_compensation_that_needs_the_output_gets_it_from_a_person(home: Home, reopened: bool) -> None:
    home.world.tell("pay", home.world.raises_after(TimeoutError("read")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed, match="nobody has it"):
            await orchestrator.execute(Deposit(), id="d")
        with pytest.raises(OperationRefused, match="its compensation takes what 'pay' returned. Give output="):
            await orchestrator.resolve("d", "pay", "done", reason="seen in their books")
        with pytest.raises(PayloadError, match="expected int, found str 'ten'"):
            await orchestrator.resolve("d", "pay", "done", output="ten", reason="seen in their books")
        if not reopened:
            await orchestrator.resolve("d", "pay", "done", output=10, reason="seen in their books")
            await (await orchestrator.start(Deposit(), id="d")).outcome()
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        if reopened:
            await orchestrator.resolve("d", "pay", "done", output=10, reason="seen in their books")
        outcome = await (await orchestrator.start(Deposit(), id="d")).outcome()

    assert home.world.given["pay"] == 10
    assert outcome.status is SagaStatus.COMPENSATED
    assert outcome.outputs == {"pay": 10}


async def test_a_lost_output_is_not_resolved_as_not_done(home: Home) -> None:
    home.world.tell("pay", home.world.returns("ten"))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed):
            await orchestrator.execute(Deposit(), id="d")
        with pytest.raises(OperationRefused) as raised:
            await orchestrator.resolve("d", "pay", "not_done", reason="not in their books")
        await orchestrator.resolve("d", "pay", "done", output=10, reason="it was ten")
        outcome = await (await orchestrator.start(Deposit(), id="d")).outcome()

    assert str(raised.value).startswith(
        "Step 'pay' of saga 'd', which is failed, cannot be resolved as not done: it returned, so it took effect: only "
        "its output is lost. What was undone by hand can be skipped."
    )
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.given["pay"] == 10


async def test_a_pivot_resolved_as_not_done_is_rolled_back_behind(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await blocked_pivot(home, orchestrator)
        home.world.effects.remove("post")  # as was found out
        await orchestrator.resolve("s", "post", "not_done", reason="it lies here", actor="ada")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []
    with pytest.raises(StepFailed) as raised:
        outcome.raise_for_status()
    assert str(raised.value) == (
        "operators.Shipment 's', step 'post' (3 of 5), left no effect, as was found out. Rolled back: label, pack. "
        "Resolved as not done: post, by ada (it lies here). Nothing is left of it."
    )


async def test_a_step_after_the_pivot_resolved_as_not_done_gets_fresh_attempts(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await blocked_after_unknown(home, orchestrator)
        await orchestrator.resolve("s", "notify", "not_done", reason="she did not get it")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal.count("do notify") == 2


async def test_a_lost_output_that_a_later_step_takes_is_told_by_a_person(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await blocked_output(home, orchestrator)
        with pytest.raises(OperationRefused, match="a later step takes what 'post' returned. Give output="):
            await orchestrator.resolve("s", "post", "done", reason="it has a number")
        await orchestrator.resolve("s", "post", "done", output="A-17", reason="it has a number")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.outputs["post"] == "A-17"
    assert home.world.journal.count("do post") == 1


async def test_a_step_that_returns_something_is_not_resolved_as_done_without_it(home: Home) -> None:
    home.world.tell("thank", home.world.raises(EffectUnknown("hm")))
    async with home.orchestrator() as orchestrator:
        await stopped(orchestrator)
        with pytest.raises(OperationRefused, match="without an output, for it returns str. Give output="):
            await orchestrator.resolve("s", "thank", "done", reason="she said so")
        await orchestrator.resolve("s", "thank", "done", output="thanked", reason="she said so")
        outcome = await (await orchestrator.start(SAGA, id="s")).outcome()

    assert outcome.output == "thanked"


class Paid(Event, name="operators.Paid"):
    amount: int


class Charge(Saga, name="operators.Charge"):
    @step(timeout=10)
    async def charge(self, world: Inject[World], ctx: StepContext) -> Paid:
        output: Paid = await world.do(ctx)
        return output


@pytest.mark.parametrize("reopened", [False, True], ids=["live", "reopened"])
async def test_an_event_that_a_person_tells_of_is_emitted_with_the_record(home: Home, reopened: bool) -> None:
    home.world.tell("charge", home.world.raises(EffectUnknown("hm")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Charge(), id="c")
        await handle.outcome()
        if not reopened:
            await orchestrator.resolve("c", "charge", "done", output=Paid(amount=3), reason="seen")
            assert (await handle.outcome()).events == [Paid(amount=3)]
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        if reopened:
            await orchestrator.resolve("c", "charge", "done", output=Paid(amount=3), reason="seen")
        outcome = await (await orchestrator.start(Charge(), id="c")).outcome()

    assert outcome.output == Paid(amount=3)
    assert outcome.events == [Paid(amount=3)]
    assert await home.store.get_events("c") == [Paid(amount=3)]


# --- abandon ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stubborn", [False, True], ids=["cut", "swallows"])
async def test_abandon_cuts_what_runs_and_writes_nothing_more_of_it(home: Home, stubborn: bool) -> None:
    home.world.tell("label", home.world.swallows() if stubborn else home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(SAGA, id="s")
        await home.world.until("do label")
        before = anyio.current_time()
        await orchestrator.abandon("s", reason="hopeless", actor="ada")
        outcome = await handle.outcome()
        assert anyio.current_time() - before < 1
        await anyio.sleep(100)

    assert home.world.journal == ["do pack", "do label"]
    assert await home.told("s") == ["started", "pack succeeded", "abandoned"]
    assert outcome.status is SagaStatus.ABANDONED
    with pytest.raises(SagaAbandoned) as raised:
        outcome.raise_for_status()
    assert str(raised.value) == (
        "operators.Shipment 's' was abandoned by ada: hopeless. Nothing had to be rolled back. Still in effect: pack. May "
        "be in effect: label."
    )
    assert (raised.value.in_effect, raised.value.uncertain, raised.value.reason) == (("pack",), ("label",), "hopeless")
    metadata = await home.monitor.get_saga("s")
    assert metadata is not None
    assert (metadata.uncompensated, metadata.running) == (("pack", "label"), ())

    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaAbandoned) as again:
            await orchestrator.execute(SAGA, id="s")
    assert facts(again.value) == facts(raised.value)


async def test_abandon_cuts_a_compensation_and_a_wait(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await compensating(home, orchestrator)
        await orchestrator.abandon("s", reason="hopeless")
        await anyio.sleep(100)
        with pytest.raises(SagaAbandoned, match="May be in effect: pack"):
            await orchestrator.execute(SAGA, id="s")

    assert (await home.told("s"))[-1] == "abandoned"


async def test_a_saga_whose_class_is_gone_can_be_abandoned(home: Home) -> None:
    async with home.orchestrator(grace=0.1) as orchestrator:
        await executing(home, orchestrator)
    async with home.orchestrator(sagas=[Charge]) as orchestrator:
        await blocked_before(home, orchestrator)
        with pytest.raises(
            OperationRefused, match="cannot be cancelled, for it cannot be loaded: .* Possible now: aban"
        ):
            await orchestrator.cancel("s", reason="hopeless")
        await orchestrator.abandon("s", reason="hopeless")
        metadata = await orchestrator.get_saga("s")

    assert metadata is not None
    assert (metadata.status, metadata.uncompensated) == (SagaStatus.ABANDONED, ("pack",))


async def test_a_saga_that_waits_to_be_recovered_is_abandoned_without_beginning_anything(home: Home) -> None:
    async with home.orchestrator(grace=0.1, max_running=2) as orchestrator:
        home.world.always("pack", home.world.hangs())
        await orchestrator.start(SAGA, id="a")
        await begin(orchestrator, home, "do pack")
        await anyio.sleep(1)
    begun = len(home.world.journal)
    await home.reopen()
    async with home.orchestrator(grace=0.1, max_running=1) as orchestrator:
        while len(home.world.journal) == begun:
            await anyio.sleep(0.1)
        with pytest.raises(OperationRefused, match="not at the expected revision 9"):
            await orchestrator.abandon("s", reason="hopeless", expected_revision=9)
        await orchestrator.abandon("s", reason="hopeless")
        await orchestrator.abandon("a", reason="hopeless")

    assert await home.told("s") == ["started", "abandoned"]
    assert len(home.world.journal) == begun + 1


async def test_a_saga_that_is_not_abandoned_after_all_has_its_turn(home: Home) -> None:
    async with home.orchestrator(grace=0.1) as orchestrator:
        home.world.always("pack", home.world.hangs())
        await orchestrator.start(SAGA, id="a")
        await begin(orchestrator, home, "do pack")
        await anyio.sleep(1)
    await home.reopen()
    gate = anyio.Event()
    home.world.always("pack", home.world.waits(gate))
    begun = len(home.world.journal)
    async with home.orchestrator(max_running=1) as orchestrator:
        while len(home.world.journal) == begun:
            await anyio.sleep(0.1)
        with pytest.raises(OperationRefused, match="not at the expected revision 9"):
            await orchestrator.abandon("s", reason="hopeless", expected_revision=9)
        gate.set()
        while await orchestrator.running_count():
            await anyio.sleep(1)
        metadata = await orchestrator.get_saga("s")

    assert metadata is not None
    assert metadata.status is SagaStatus.COMPLETED


class Parcel(Saga, name="operators.Parcel"):
    """Its only dependency is a world, which an orchestrator may lack."""

    @step(timeout=None)
    async def send(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("send")
    async def fetch(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)


class Office(World):
    """Where `Desk` works, so that it can be busy while nobody has a `World`."""


class Desk(Saga, name="operators.Desk"):
    @step(timeout=None)
    async def sit(self, office: Inject[Office], ctx: StepContext) -> str:
        return str(await office.do(ctx))


async def occupied(home: Home, office: Office) -> None:
    """A desk, "a", that hangs, and a parcel, "s", behind it, both left by an orchestrator."""
    office.always("sit", office.hangs())
    home.world.tell("send", home.world.hangs())
    async with home.orchestrator(grace=0, provide={World: home.world, Office: office}) as orchestrator:
        await orchestrator.start(Desk(), id="a")
        await orchestrator.start(Parcel(), id="s")
        await home.world.until("do send")
    await home.reopen()


async def rested(orchestrator: SagaOrchestrator, office: Office) -> str:
    """The status of "s" once the desk that was before it has ended."""
    await orchestrator.abandon("a", reason="enough")
    await orchestrator.idle()
    metadata = await orchestrator.get_saga("s")
    assert metadata is not None
    return metadata.status


async def test_a_saga_that_cannot_be_loaded_for_a_verb_is_blocked_when_its_turn_comes(home: Home) -> None:
    office = Office()
    await occupied(home, office)
    async with home.orchestrator(max_running=1, provide={Office: office}) as orchestrator:
        await office.until("do sit")
        await until_waiting(orchestrator, "s")
        with pytest.raises(
            OperationRefused, match="cannot be cancelled, for it cannot be loaded: Nothing provides World"
        ):
            await orchestrator.cancel("s", reason="hopeless")
        assert await rested(orchestrator, office) == SagaStatus.BLOCKED


async def test_a_refused_verb_does_not_keep_a_mended_saga_from_its_turn(home: Home) -> None:
    office = Office()
    await occupied(home, office)
    async with home.orchestrator(grace=0, provide={Office: office}) as orchestrator:
        while not (metadata := await orchestrator.get_saga("s")) or metadata.status is not SagaStatus.BLOCKED:
            await anyio.sleep(0.1)
    await home.reopen()
    async with home.orchestrator(max_running=1, provide={World: home.world, Office: office}) as orchestrator:
        await until_waiting(orchestrator, "s")
        with pytest.raises(OperationRefused, match="not at the expected revision 1"):
            await orchestrator.retry_failed("s", reason="it is there now", expected_revision=1)
        assert await rested(orchestrator, office) == SagaStatus.COMPLETED


# --- exactly once ----------------------------------------------------------------------------------------------------


async def many(ask: Callable[[], Awaitable[None]], count: int = 50) -> list[str]:
    """What came of ``count`` calls at once; empty for those that were accepted."""
    results: list[str] = []

    async def one() -> None:
        try:
            await ask()
        except OperationRefused as refusal:
            results.append(str(refusal))
        else:
            results.append("")

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return results


#: One that runs is not reopened: its revision moves when it is recovered.
SEEN_AT_ONCE = [
    *((where, verb, False) for where, verb in (("executing", "cancel"), ("executing", "abandon"))),
    *(
        (where, verb, reopened)
        for where, verb in (
            ("failed", "retry"),
            ("failed", "skip"),
            ("failed, unknown", "resolve"),
            ("blocked, after the pivot", "skip"),
        )
        for reopened in (False, True)
    ),
]


@pytest.mark.parametrize(("where", "verb", "reopened"), SEEN_AT_ONCE)
async def test_fifty_calls_at_once_on_one_sight_are_one_record(
    home: Home, where: str, verb: str, reopened: bool
) -> None:
    row = TABLE[where]
    async with home.orchestrator(grace=0.1) as orchestrator:
        await row.arrange(home, orchestrator)
        metadata = await orchestrator.get_saga("s")
        assert metadata is not None
        seen = metadata.revision
        if not reopened:
            results = await many(lambda: ask(orchestrator, verb, row, expected_revision=seen))
    if reopened:
        await home.reopen()
        async with home.orchestrator(grace=0.1) as orchestrator:
            results = await many(lambda: ask(orchestrator, verb, row, expected_revision=seen))

    assert results.count("") == 1
    refusals = [text for text in results if text]
    assert len(refusals) == 49
    name = RECORDS[verb].__name__
    for text in refusals:
        assert f"not at the expected revision {seen}, and was not {PARTICIPLES[verb]}. Since then: {seen + 1} " in text
        assert f"{name}{' of ' + repr(row.named) if verb in ('skip', 'resolve') else ''} by ada (because)" in text
    (record,) = [e.record for e in await home.timeline("s") if type(e.record) is RECORDS[verb]]
    assert isinstance(record, CancelRequested | RetryRequested | Abandoned | StepSkipped | StepResolved)
    assert record.expected_revision == seen


async def test_a_decision_on_stale_sight_is_told_what_has_happened(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await failed(home, orchestrator)
        await orchestrator.skip("s", "pack", reason="by hand", actor="ada")
        with pytest.raises(OperationRefused) as raised:
            await orchestrator.retry_failed("s", reason="mended", expected_revision=3)
        with pytest.raises(
            OperationRefused, match=r"at revision \d+, not at the expected revision 99, .* never been there"
        ):
            await orchestrator.retry_failed("s", reason="mended", expected_revision=99)

    assert str(raised.value) == (
        "Saga 's' is at revision 10, not at the expected revision 3, and was not retried. Since then: 4 StepFailed of "
        "'post'; 5 RollbackBegun; 6 StepCompensated of 'label'; 7 StepNotCompensated of 'pack'; 8 SagaFailed; "
        "9 StepSkipped of 'pack' by ada (by hand); 10 SagaCompensated. Look at it again, and decide anew."
    )


async def test_a_cancel_that_races_with_the_end_is_one_or_the_other(home: Home) -> None:
    Trip = trip()
    seen = set()

    async def slow(ctx: StepContext) -> str:
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        return home.world.take_effect(ctx)

    home.world.always("second", slow)
    for n in range(25):
        home.world.effects.clear()
        async with home.orchestrator() as orchestrator:
            handle = await orchestrator.start(Trip(), id=f"t{n}")

            async def cancel(turns: int = n, saga_id: str = f"t{n}") -> None:
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                try:
                    await orchestrator.cancel(saga_id, reason="it rains")
                except OperationRefused:
                    pass

            async with anyio.create_task_group() as group:
                group.start_soon(cancel)
                outcome = await handle.outcome()
        told = await home.told(f"t{n}")
        cancelled = told.count("cancel requested") == 1
        assert outcome.status is (SagaStatus.COMPENSATED if cancelled else SagaStatus.COMPLETED)
        assert home.world.effects == ([] if cancelled else ["first", "second", "third"])
        seen.add(cancelled)
    assert True in seen


@pytest.mark.parametrize("reason", ["", "  ", "x" * 8193])
async def test_a_reason_is_given(home: Home, reason: str) -> None:
    async with home.orchestrator() as orchestrator:
        await failed(home, orchestrator)
        with pytest.raises(ValueError, match="Expected reason to be text of 1 to 8,192 characters"):
            await orchestrator.retry_failed("s", reason=reason)
        with pytest.raises(ValueError, match="Expected actor to be text"):
            await orchestrator.retry_failed("s", reason="mended", actor="")
        with pytest.raises(ValueError, match="Expected the outcome 'done' or 'not_done', found 'perhaps'"):
            await orchestrator.resolve("s", "pack", "perhaps", reason="mended")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Only a step that is done has an output"):
            await orchestrator.resolve("s", "pack", "not_done", output=1, reason="mended")


async def test_a_refusal_has_the_recorded_error_of_the_saga(home: Home) -> None:
    """What began the rollback stays what it was, whoever skips what."""
    async with home.orchestrator() as orchestrator:
        await failed(home, orchestrator)
        await orchestrator.skip("s", "pack", reason="by hand", actor="ada")
        with pytest.raises(StepRefused, match=r"Not undone but skipped: pack, by ada \(by hand\)"):
            await orchestrator.execute(SAGA, id="s")
