"""`run_saga` over sagas of every kind: branches, threads, containers, built ones, timeouts, and what a person said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from allframe import (
    DependencyMissing,
    EventStore,
    Inject,
    Retry,
    Saga,
    SagaAbandoned,
    SagaDefinition,
    SagaIdInvalid,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    SagaTimedOut,
    StepContext,
    Unknown,
    compensates,
    step,
)
from allframe.saga.monitor import Monitor
from allframe.saga.records import StepStillRunning
from allframe.testing import (
    Crash,
    Ending,
    Fail,
    Late,
    LostOutput,
    NoAnswer,
    SagaRun,
    Timeout,
    run_saga,
    run_saga_sync,
)
from tests.saga.shapes import DIAMOND, shaped
from tests.saga.world import World

pytestmark = pytest.mark.anyio
TIMED: dict[str, dict[str, Any]] = {name: {"timeout": 10} for name in DIAMOND}


@pytest.fixture
def world() -> World:
    return World()


# --- branches --------------------------------------------------------------------------------------------------------


async def test_branches_run_side_by_side_and_are_undone_one_by_one(world: World) -> None:
    run = await run_saga(shaped(DIAMOND, options=TIMED)(), provide={World: world}, outcomes={"bottom": Fail})

    assert run.trace[0] == "top"
    assert set(run.trace[1:3]) == {"left", "right"}
    assert run.trace[3:] == ["bottom: failed", *(f"undo {step}" for step in reversed(run.trace[1:3])), "undo top"]
    assert world.effects == []


@pytest.mark.parametrize("other", [Timeout, Crash, NoAnswer])
async def test_two_branches_can_end_badly_at_once(world: World, other: Any) -> None:
    run = await run_saga(
        shaped(DIAMOND, options=TIMED)(), provide={World: world}, outcomes={"left": Timeout, "right": [other, Timeout]}
    )

    assert run.trace[0] == "top"
    assert {"left: timed out"} <= set(run.trace)
    assert run.trace[-1] == "undo top"
    assert set(run.undone) == {"left", "right", "top"}
    assert world.effects == []


async def test_what_is_staged_in_two_branches_passes_at_the_same_time(world: World) -> None:
    saga = shaped(DIAMOND, options={"left": {"timeout": 300}, "right": {"timeout": 100}})

    run = await run_saga(saga(), provide={World: world}, outcomes={"left": Timeout, "right": Timeout})

    assert run.trace[:3] == ["top", "right: timed out", "left: timed out"]
    assert run.seconds == 300


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_a_loop_of_real_time_branches_are_told_the_same(world: World, backend: str) -> None:
    saga = shaped(DIAMOND, options={"left": {"timeout": 300}, "right": {"timeout": 100}})
    outcomes = {"left": Timeout, "right": Timeout}
    began = time.monotonic()

    run = anyio.run(lambda: run_saga(saga(), provide={World: world}, outcomes=outcomes), backend=backend)

    assert time.monotonic() - began < 5
    assert set(run.trace[1:3]) == {"left: timed out", "right: timed out"}
    assert run.undone == [entry.step for entry in reversed(run.trace[:3])]


# --- threads ---------------------------------------------------------------------------------------------------------


class Bake(Saga, name="test_run_any.bake"):
    """Steps on threads, and one that is not."""

    @step(timeout=10)
    def knead(self, world: Inject[World], ctx: StepContext) -> str:
        world.take_effect(ctx)
        return "dough"

    @compensates("knead", timeout=20, retry=Retry(attempts=2, wait=1, jitter=0))
    def throw_away(self, knead: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        world.take_back(ctx)

    @step(timeout=10, retry=Retry(attempts=2, wait=5, jitter=0))
    def bake(self, knead: str, world: Inject[World], ctx: StepContext) -> str:
        world.take_effect(ctx)
        return f"bread of {knead}"

    @compensates("bake")
    async def eat(self, world: Inject[World], ctx: StepContext) -> None:
        world.take_back(ctx)


SYNC: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["knead", "bake"]),
    ({"bake": Timeout}, ["knead", "bake: timed out", "bake: timed out", "undo bake", "undo knead"]),
    ({"bake": [Timeout(effect=False), Late]}, ["knead", "bake: timed out", "bake: late", "undo bake", "undo knead"]),
    ({"bake": [Crash, Crash(effect=False)]}, ["knead", "bake: crashed", "bake: crashed", "bake"]),
    ({"bake": [Fail, LostOutput]}, ["knead", "bake: failed", "bake: output lost", "undo bake", "undo knead"]),
    (
        {"bake": ValueError, "throw_away": [Timeout, Crash]},
        ["knead", "bake: failed", "bake: failed", "undo knead: timed out", "undo knead: crashed", "undo knead"],
    ),
]


@pytest.mark.parametrize(("outcomes", "trace"), SYNC, ids=str)
async def test_sync_steps_end_as_they_are_told(world: World, outcomes: dict[str, Any], trace: list[str]) -> None:
    run = await run_saga(Bake(), provide={World: world}, outcomes=outcomes)

    assert run.trace == trace
    assert run.status is (SagaStatus.COMPENSATED if run.undone else SagaStatus.COMPLETED)
    assert set(world.effects) == (set() if run.undone else {"knead", "bake"})


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_sync_steps_time_out_at_once_in_a_loop_of_real_time(world: World, backend: str) -> None:
    began = time.monotonic()

    run = anyio.run(lambda: run_saga(Bake(), provide={World: world}, outcomes={"bake": Timeout}), backend=backend)

    assert time.monotonic() - began < 5
    assert run.trace == ["knead", "bake: timed out", "bake: timed out", "undo bake", "undo knead"]
    assert run.seconds == pytest.approx(10 + 5 + 10, abs=4)


async def test_one_that_does_not_end_when_it_was_to_is_no_entry_of_its_own(world: World, store_url: str) -> None:
    """The record is there, and the trace has how the attempt ended after all."""

    async def stubborn(ctx: StepContext) -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)
        return world.take_effect(ctx)

    world.tell("left", stubborn)
    async with EventStore(store_url) as store:
        run = await run_saga(
            shaped(DIAMOND, options=TIMED)(), provide={World: world}, store=store, id="s-1", outcomes={"bottom": Fail}
        )
        records = [type(entry.record) for entry in await Monitor(store).timeline("s-1")]

    assert records.count(StepStillRunning) == 1
    assert run.trace == ["top", "right", "left: late", "undo left", "undo right", "undo top"]


# --- containers ------------------------------------------------------------------------------------------------------


class Session:
    def __init__(self) -> None:
        self.open = True


class Write(Saga, name="test_run_any.write"):
    @step(timeout=10)
    async def insert(self, session: Inject[Session]) -> bool:
        return session.open

    @compensates("insert")
    async def delete(self, session: Inject[Session]) -> None:
        assert session.open

    @step(timeout=10, readonly=True)
    async def look(self, session: Inject[Session]) -> bool:
        return session.open


async def test_a_container_makes_what_steps_inject_for_each_attempt() -> None:
    import dishka

    sessions: list[Session] = []

    def session() -> Iterator[Session]:
        sessions.append(Session())
        yield sessions[-1]
        sessions[-1].open = False

    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(session)
    container = dishka.make_async_container(provider, lock_factory=anyio.Lock)

    run = await run_saga(Write(), container=container, outcomes={"look": Timeout})
    await container.close()

    assert run.trace == ["insert", "look: timed out", "undo insert"]
    assert run.outputs == {"insert": True}
    assert len(sessions) == 3
    assert not any(session.open for session in sessions)


# --- built -----------------------------------------------------------------------------------------------------------


class Reserve(SagaStep, name="test_run_any.reserve", timeout=10):
    what: str = "tea"

    async def execute(self, world: Inject[World], ctx: StepContext) -> str:
        await world.do(ctx)
        return self.what

    async def compensate(self, output: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, output)


def order(saga_id: str = "order-1", **options: Any) -> SagaDefinition:
    definition = SagaDefinition(saga_id, name="order", **options)
    return definition.add_step(Reserve(), name="stock").add_step(Reserve(what="cup"), name="money")


BUILT: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["stock", "money"]),
    ({"stock": Fail}, ["stock: failed"]),
    ({"money": Timeout(effect=False)}, ["stock", "money: timed out", "undo money", "undo stock"]),
    ({"stock": Crash}, ["stock: crashed", "stock", "money"]),
    ({"money": Fail, "stock.compensate": [Fail]}, ["stock", "money: failed", "undo stock: failed", "undo stock"]),
    ({"money": Fail, "undo stock": [Crash]}, ["stock", "money: failed", "undo stock: crashed", "undo stock"]),
]


@pytest.mark.parametrize(("outcomes", "trace"), BUILT, ids=str)
async def test_one_that_was_built_ends_as_it_is_told(
    world: World, store_url: str, outcomes: dict[str, Any], trace: list[str]
) -> None:
    run = await run_saga(order(), provide={World: world}, outcomes=outcomes, store=store_url)

    assert run.id == "order-1"
    assert run.trace == trace
    assert world.effects == [] or run.outputs == {"stock": "tea", "money": "cup"}


def test_one_that_was_built_needs_nothing_but_its_own_classes(world: World) -> None:
    class Reserve(SagaStep, name="test_run_any.reserve"):
        """Of the same stored name as another, which a test elsewhere may have."""

        async def execute(self) -> None: ...

    definition = SagaDefinition("order-2").add_step(Reserve())

    assert run_saga_sync(definition).trace == ["test_run_any.reserve"]
    assert run_saga_sync(order(), provide={World: world}, outcomes={"stock": Crash}).status is SagaStatus.COMPLETED


async def test_one_that_was_built_has_its_id_and_names(world: World) -> None:
    with pytest.raises(SagaIdInvalid, match="This definition is the saga 'order-1', and was to be started as 'other'"):
        await run_saga(order(), provide={World: world}, id="other")
    with pytest.raises(DependencyMissing):
        await run_saga(order())
    with pytest.raises(ValueError) as caught:
        await run_saga(order(), provide={World: world}, outcomes={"stok": Fail})
    assert str(caught.value) == (
        "outcomes= names 'stok', and order has no such step or compensation. Did you mean 'stock'? Its steps are: stock, "
        "money; its compensations: stock.compensate, money.compensate (each also as 'undo <step>')."
    )


# --- the saga's own timeout ------------------------------------------------------------------------------------------

LINE = {"first": None, "second": None}
LONG: dict[str, Any] = {"timeout": 100, "retry": Retry(attempts=5, wait=300, max_wait=300, jitter=0)}


def late(how: str) -> tuple[Any, dict[str, Any]]:
    """A saga with a timeout of 60 seconds, and outcomes by which it comes to pass in another way each time."""
    if how == "built":
        return order(timeout=5), {"money": Timeout}
    saga = shaped(LINE, timeout=60, options={"second": LONG})()
    return saga, {"second": {"in an attempt": Timeout, "between two": Fail, "after a crash": [Crash, Timeout]}[how]}


LATE = {
    "in an attempt": ["first", "second: cancelled", "undo second", "undo first"],
    "between two": ["first", "second: failed", "undo first"],
    "after a crash": ["first", "second: crashed", "second: cancelled", "undo second", "undo first"],
    "built": ["stock", "money: cancelled", "undo money", "undo stock"],
}


def check_late(run: SagaRun, how: str) -> None:
    assert run.trace == LATE[how]
    assert run.status is SagaStatus.COMPENSATED
    assert isinstance(run.error, SagaTimedOut)
    assert run.seconds == pytest.approx(5 if how == "built" else 60, abs=2)


@pytest.mark.parametrize("how", LATE)
async def test_the_timeout_of_the_saga_cuts_what_is_staged_to_take_longer(world: World, how: str) -> None:
    saga, outcomes = late(how)

    check_late(await run_saga(saga, provide={World: world}, outcomes=outcomes), how)

    assert world.effects == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", LATE)
def test_the_timeout_of_the_saga_passes_at_once_in_a_loop_of_real_time(world: World, how: str, backend: str) -> None:
    saga, outcomes = late(how)
    began = time.monotonic()

    run = anyio.run(lambda: run_saga(saga, provide={World: world}, outcomes=outcomes), backend=backend)

    assert time.monotonic() - began < 5
    check_late(run, how)
    assert world.effects == []


@pytest.mark.parametrize("virtual", [True, False])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_pivot_is_let_end_though_the_sagas_timeout_has_passed(world: World, backend: str, virtual: bool) -> None:
    saga = shaped(
        {"book": None, "pay": None, "mail": None},
        timeout=60,
        irreversible=("pay", "mail"),
        options={"pay": {"pivot": True, **LONG}, "mail": LONG},
    )
    outcomes = {"pay": [Timeout], "mail": [Fail]}
    began = time.monotonic()

    if virtual:
        run = run_saga_sync(saga(), provide={World: world}, outcomes=outcomes, backend=backend)
    else:
        run = anyio.run(lambda: run_saga(saga(), provide={World: world}, outcomes=outcomes), backend=backend)

    assert time.monotonic() - began < 5
    assert run.trace == ["book", "pay: timed out", "pay", "mail: failed", "mail"]
    assert run.status is SagaStatus.COMPLETED
    assert run.seconds == pytest.approx(100 + 300 + 300, abs=4)


# --- what a person said ----------------------------------------------------------------------------------------------


async def told(store: EventStore, saga: Any, world: World) -> SagaRun:
    """What the store says of the saga ``s-1`` by now."""
    return await run_saga(saga, provide={World: world}, store=store, id="s-1")


async def test_a_compensation_that_was_skipped_stands_in_the_trace(world: World, store_url: str) -> None:
    saga = shaped(LINE, undo={"first": {"retry": Retry(attempts=1)}})
    async with EventStore(store_url) as store:
        failed = await run_saga(
            saga(), provide={World: world}, store=store, id="s-1", outcomes={"second": Fail, "undo first": Fail}
        )
        assert (failed.trace, failed.left) == (["first", "second: failed", "undo first: failed"], ("first",))
        async with SagaOrchestrator(store, provide={World: world}, sagas=[saga]) as orchestrator:
            await orchestrator.skip("s-1", "first", reason="it was undone by hand")
            await orchestrator.idle()
        run = await told(store, saga(), world)

    assert run.trace == [*failed.trace, "undo first: skipped"]
    assert (run.status, run.undone, run.left) == (SagaStatus.COMPENSATED, [], ())
    skipped = run.trace[-1]
    assert (skipped.step, skipped.undo, skipped.attempt, skipped.ending) == ("first", True, 0, Ending.SKIPPED)


@pytest.mark.parametrize(
    ("outcome", "more"), [("done", ["first: found done", "undo first"]), ("not_done", ["first: found not done"])]
)
async def test_a_step_that_was_resolved_stands_in_the_trace(
    world: World, store_url: str, outcome: Any, more: list[str]
) -> None:
    saga = shaped(LINE, options={"first": {"timeout": 5}}, undo={"first": {"if_unknown": "fail"}})
    async with EventStore(store_url) as store:
        failed = await run_saga(saga(), provide={World: world}, store=store, id="s-1", outcomes={"first": Timeout})
        assert failed.trace == ["first: timed out", "undo first: impossible"]
        async with SagaOrchestrator(store, provide={World: world}, sagas=[saga]) as orchestrator:
            told_output = {"output": "7"} if outcome == "done" else {}
            await orchestrator.resolve("s-1", "first", outcome, reason="asked them", **told_output)
            await orchestrator.idle()
        run = await told(store, saga(), world)

    assert run.trace == [*failed.trace, *more]
    assert run.status is SagaStatus.COMPENSATED


async def test_a_step_after_the_pivot_that_was_skipped_stands_in_the_trace(world: World, store_url: str) -> None:
    saga = shaped(
        {"pay": None, "mail": None, "close": None},
        irreversible=("pay", "mail", "close"),
        options={"pay": {"pivot": True}, **{name: {"retry": Retry(attempts=1)} for name in ("mail", "close")}},
    )
    async with EventStore(store_url) as store:
        blocked = await run_saga(saga(), provide={World: world}, store=store, id="s-1", outcomes={"mail": Fail})
        assert (blocked.status, blocked.trace) == (SagaStatus.BLOCKED, ["pay", "mail: failed"])
        async with SagaOrchestrator(store, provide={World: world}, sagas=[saga]) as orchestrator:
            await orchestrator.skip("s-1", "mail", reason="no address")
            await orchestrator.idle()
        run = await told(store, saga(), world)

    assert run.trace == ["pay", "mail: failed", "mail: skipped", "close"]
    assert run.status is SagaStatus.COMPLETED


async def test_what_ran_when_it_was_abandoned_stands_in_the_trace(world: World, store_url: str) -> None:
    world.tell("left", world.hangs())
    saga = shaped(DIAMOND)
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={World: world}, sagas=[saga]) as orchestrator:
            handle = await orchestrator.start(saga(), id="s-1")
            while (await handle.metadata()).running != ("left",):
                await anyio.sleep(0.01)
            await orchestrator.abandon("s-1", reason="hopeless")
        run = await told(store, saga(), world)

    assert run.trace == ["top", "right", "left: abandoned"]
    assert (run.trace[-1].attempt, run.trace[-1].undo) == (1, False)
    assert isinstance(run.error, SagaAbandoned)
    assert set(run.left) == {"top", "left", "right"}
