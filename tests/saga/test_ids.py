"""One saga per id, for ever: what `start` and `execute` do with an id that is taken."""

from __future__ import annotations

import contextvars
import uuid
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from allframe import (
    AlreadyExecuting,
    CompensationFailed,
    EventStore,
    Inject,
    OrchestratorClosed,
    Refused,
    Retry,
    Saga,
    SagaBlocked,
    SagaIdConflict,
    SagaIdInvalid,
    SagaOrchestrator,
    SagaOutcome,
    SagaStatus,
    StepContext,
    StepFailed,
    StepRefused,
    StoreInUse,
    StoreUnavailable,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.world import Home, World, facts, trip

pytestmark = pytest.mark.anyio
home = world.home


class Payment(Saga, name="Payment"):
    """One with inputs to compare."""

    amount: Decimal
    note: str = ""

    @step(timeout=None)
    async def pay(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("pay")
    async def refund(self, pay: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)


class Donation(Saga, name="Donation"):
    """Another saga, with the same fields."""

    amount: Decimal
    note: str = ""

    @step(timeout=None)
    async def pay(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


class Forward(Saga, name="Forward"):
    """It gets BLOCKED."""

    @step(timeout=None)
    async def pay(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))


# --- what an id may be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id_", ["a", "x" * 200, "transfer-100", "ü/é %:@", "a b", "日本", "-", "."], ids=lambda x: x[:12]
)
async def test_an_id_is_1_to_200_printable_characters(home: Home, id_: str) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Payment(amount=Decimal(1)), id=id_)
        metadata = await orchestrator.get_saga(id_)
        history = await orchestrator.get_history()

    assert outcome.id == id_
    assert metadata is not None
    assert metadata.id == id_
    assert [found.id for found in history] == [id_]


@pytest.mark.parametrize(
    "id_", ["", "x" * 201, "$saga", "a\nb", "a\x00b", "\ud800", "\x7f", "\u2028", 7, b"a"], ids=ascii
)
@pytest.mark.parametrize("call", ["execute", "start"])
async def test_what_cannot_be_an_id_is_said_and_nothing_is_written(home: Home, id_: Any, call: str) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaIdInvalid) as raised:
            await getattr(orchestrator, call)(Payment(amount=Decimal(1)), id=id_)

    assert str(raised.value).startswith(
        "A saga's id is 1 to 200 printable characters, and the first is not '$'. Found "
    )
    assert (await home.store.stats()).total_events == 0
    assert home.world.journal == []


async def test_without_one_it_is_a_uuid_of_version_7(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcomes = [await orchestrator.execute(Payment(amount=Decimal(1))) for _ in range(2)]

    assert [uuid.UUID(outcome.id).version for outcome in outcomes] == [7, 7]
    assert outcomes[0].id != outcomes[1].id


# --- running, asked for in this opening ------------------------------------------------------------------------------


async def test_fifty_executes_of_one_id_run_it_once(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))
    outcomes: list[SagaOutcome] = []
    refused: list[AlreadyExecuting] = []

    async with home.orchestrator() as orchestrator:

        async def call() -> None:
            try:
                outcomes.append(await orchestrator.execute(Payment(amount=Decimal(1)), id="p"))
            except AlreadyExecuting as error:
                refused.append(error)
                if len(refused) == 49:
                    gate.set()

        async with anyio.create_task_group() as callers:
            for _ in range(50):
                callers.start_soon(call)
        by_handle = [await error.handle.outcome() for error in refused]

    assert len(outcomes) == 1
    assert len(refused) == 49
    assert by_handle == outcomes * 49
    assert home.world.journal == ["do pay"]
    assert {str(error) for error in refused} == {
        "Saga 'p' is being executed already. To wait for it, use the handle that this error carries, or start() instead of "
        "execute()."
    }
    assert {error.saga_id for error in refused} == {"p"}


async def test_fifty_starts_of_one_id_give_the_same_saga(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))
    handles = []

    async with home.orchestrator() as orchestrator:

        async def call() -> None:
            handles.append(await orchestrator.start(Payment(amount=Decimal(1)), id="p"))

        async with anyio.create_task_group() as callers:
            for _ in range(50):
                callers.start_soon(call)
        gate.set()
        outcomes = [await handle.outcome() for handle in handles]

    assert [handle.id for handle in handles] == ["p"] * 50
    assert outcomes == [outcomes[0]] * 50
    assert outcomes[0].status is SagaStatus.COMPLETED
    assert home.world.journal == ["do pay"]
    assert await home.told("p") == ["started", "pay succeeded", "completed"]


async def test_execute_of_one_that_was_started_is_refused(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        started = await orchestrator.start(Payment(amount=Decimal(1)), id="p")
        with pytest.raises(AlreadyExecuting) as raised:
            await orchestrator.execute(Payment(amount=Decimal(1)), id="p")
        gate.set()
        assert await raised.value.handle.outcome() == await started.outcome()


async def test_fifty_executes_of_fifty_ids_all_run(home: Home) -> None:
    outcomes: list[SagaOutcome] = []

    async with home.orchestrator() as orchestrator:

        async def call(n: int) -> None:
            outcomes.append(await orchestrator.execute(Payment(amount=Decimal(n)), id=f"p{n}"))

        async with anyio.create_task_group() as callers:
            for n in range(50):
                callers.start_soon(call, n)

    assert {outcome.id for outcome in outcomes} == {f"p{n}" for n in range(50)}
    assert len(home.world.effects) == 50


# --- resumed and not yet asked for -------------------------------------------------------------------------------------


async def left_running(home: Home) -> None:
    """A payment that the opening before had begun."""
    home.world.tell("pay", home.world.waits(anyio.Event()))
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(Payment(amount=Decimal("1.0")), id="p")
        await home.world.until("do pay")
    assert await home.told("p") == ["started"]
    home.world.journal.clear()


async def test_execute_joins_one_that_recovery_resumed(home: Home) -> None:
    await left_running(home)
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        await home.world.until("do pay")

        async def open_gate() -> None:
            await anyio.sleep(5)
            gate.set()

        async with anyio.create_task_group() as group:
            group.start_soon(open_gate)
            await orchestrator.execute(Payment(amount=Decimal("1.0")), id="p")

    assert home.world.journal == ["do pay"]


@pytest.mark.parametrize("recovering", [False, True], ids=["before recovery", "after recovery"])
async def test_one_of_fifty_executes_joins_a_resumed_saga(home: Home, recovering: bool) -> None:
    await left_running(home)
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))
    outcomes: list[SagaOutcome] = []
    refused: list[AlreadyExecuting] = []

    async with home.orchestrator() as orchestrator:
        if recovering:
            await home.world.until("do pay")

        async def call() -> None:
            try:
                outcomes.append(await orchestrator.execute(Payment(amount=Decimal("1.0")), id="p"))
            except AlreadyExecuting as error:
                refused.append(error)
                if len(refused) == 49:
                    gate.set()

        async with anyio.create_task_group() as callers:
            for _ in range(50):
                callers.start_soon(call)

    assert (len(outcomes), len(refused)) == (1, 49)
    assert home.world.journal == ["do pay"]


async def test_start_of_a_resumed_saga_gives_its_handle_and_then_it_is_asked_for(home: Home) -> None:
    await left_running(home)
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Payment(amount=Decimal("1.0")), id="p")
        with pytest.raises(AlreadyExecuting):
            await orchestrator.execute(Payment(amount=Decimal("1.0")), id="p")
        gate.set()
        assert (await handle.outcome()).status is SagaStatus.COMPLETED


@pytest.mark.parametrize("checkpoints", range(6))
async def test_a_conflicting_call_does_not_keep_a_saga_from_being_recovered(home: Home, checkpoints: int) -> None:
    """It arrives while recovery passes by."""
    await left_running(home)

    async with home.orchestrator() as orchestrator:
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        with pytest.raises(SagaIdConflict):
            await orchestrator.execute(Payment(amount=Decimal(999)), id="p")
        await anyio.sleep(100)
        metadata = await orchestrator.get_saga("p")

    assert metadata is not None
    assert metadata.status is SagaStatus.COMPLETED
    assert home.world.effects == ["pay"]


@pytest.mark.parametrize("checkpoints", range(6))
async def test_a_caller_that_goes_away_does_not_keep_a_saga_from_being_recovered(home: Home, checkpoints: int) -> None:
    await left_running(home)

    async with home.orchestrator() as orchestrator:
        async with anyio.create_task_group() as callers:
            callers.start_soon(lambda: orchestrator.execute(Payment(amount=Decimal("1.0")), id="p"))
            for _ in range(checkpoints):
                await anyio.lowlevel.checkpoint()
            callers.cancel_scope.cancel()
        await anyio.sleep(100)
        metadata = await orchestrator.get_saga("p")

    assert metadata is not None
    assert metadata.status is SagaStatus.COMPLETED


# --- over ------------------------------------------------------------------------------------------------------------


async def test_a_completed_one_gives_its_outcome(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Payment(amount=Decimal(1)), id="p")
        assert await orchestrator.execute(Payment(amount=Decimal(1)), id="p") == outcome
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        assert await orchestrator.execute(Payment(amount=Decimal(1)), id="p") == outcome
        handle = await orchestrator.start(Payment(amount=Decimal(1)), id="p")
        assert handle.id == "p"
        assert await handle.outcome() == outcome
        assert (await handle.metadata()).status is SagaStatus.COMPLETED

    assert home.world.journal == ["do pay"]


async def test_a_compensated_one_raises_its_recorded_error(home: Home) -> None:
    home.world.tell("pay", home.world.raises(Refused("card declined")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepRefused) as live:
            await orchestrator.execute(Payment(amount=Decimal(1)), id="p")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepRefused) as recorded:
            await orchestrator.execute(Payment(amount=Decimal(1)), id="p")
        outcome = await (await orchestrator.start(Payment(amount=Decimal(1)), id="p")).outcome()

    assert facts(recorded.value) == facts(live.value)
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do pay"]


async def test_a_failed_one_raises_at_once_and_runs_nothing(home: Home) -> None:
    Trip = trip(undo_retry=Retry(attempts=1))
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.raises(ValueError("no")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed):
            await orchestrator.execute(Trip(), id="t")
        told = await home.told("t")
        journal = list(home.world.journal)
        with pytest.raises(CompensationFailed):
            await orchestrator.execute(Trip(), id="t")
        handle = await orchestrator.start(Trip(), id="t")
        assert (await handle.outcome()).status is SagaStatus.FAILED
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed):
            await orchestrator.execute(Trip(), id="t")

    assert home.world.journal == journal
    assert await home.told("t") == told


async def test_a_blocked_one_raises_at_once_and_runs_nothing(home: Home) -> None:
    home.world.tell("pay", home.world.raises_after(TimeoutError("hm")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Forward(), id="f")
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Forward(), id="f")
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaBlocked):
            await orchestrator.execute(Forward(), id="f")
        assert (await (await orchestrator.start(Forward(), id="f")).outcome()).status is SagaStatus.BLOCKED

    assert home.world.journal == ["do pay"]
    assert await home.told("f") == ["started", "pay unknown (silence)", "blocked (step)"]


# --- another input ---------------------------------------------------------------------------------------------------

SAME = [
    (Payment(amount=Decimal("1.0")), Payment(amount=Decimal("1.00"))),
    (Payment(amount=Decimal("1E+2")), Payment(amount=Decimal(100))),
    (Payment(amount=Decimal(1)), Payment(amount=Decimal(1), note="")),
]
OTHER = [
    (Payment(amount=Decimal(1)), Payment(amount=Decimal(2))),
    (Payment(amount=Decimal(1)), Payment(amount=Decimal(1), note="x")),
    (Payment(amount=Decimal(1)), Donation(amount=Decimal(1))),
]


@pytest.mark.parametrize(("first", "second"), SAME, ids=lambda saga: repr(saga))
async def test_equal_values_are_the_same_input(home: Home, first: Saga, second: Saga) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(first, id="p")
        same = await orchestrator.start(second, id="p")  # while it runs
        gate.set()
        assert await same.outcome() == await handle.outcome()
        assert await orchestrator.execute(second, id="p") == await handle.outcome()  # when it is over
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        assert (await orchestrator.execute(second, id="p")).status is SagaStatus.COMPLETED

    assert home.world.journal == ["do pay"]


@pytest.mark.parametrize(("first", "second"), OTHER, ids=lambda saga: repr(saga))
async def test_another_input_is_a_conflict_always(home: Home, first: Saga, second: Saga) -> None:
    gate = anyio.Event()
    home.world.tell("pay", home.world.waits(gate))

    async def collide(orchestrator: SagaOrchestrator) -> None:
        for call in (orchestrator.execute, orchestrator.start):
            with pytest.raises(SagaIdConflict) as raised:
                await call(second, id="p")
            assert raised.value.saga_id == "p"
            assert str(raised.value) == (
                "The id 'p' belongs to a saga 'Payment' with another input. An id is given once, for ever: choose another."
            )

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(first, id="p")
        await collide(orchestrator)  # while it runs
        gate.set()
        await handle.outcome()
        await collide(orchestrator)  # when it is over
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        await collide(orchestrator)

    assert home.world.journal == ["do pay"]


async def test_of_two_inputs_at_once_one_runs(home: Home) -> None:
    results: list[str] = []

    async with home.orchestrator() as orchestrator:

        async def call(n: int) -> None:
            try:
                await orchestrator.execute(Payment(amount=Decimal(n)), id="p")
                results.append("ran")
            except SagaIdConflict:
                results.append("conflict")

        async with anyio.create_task_group() as callers:
            for n in range(10):
                callers.start_soon(call, n)

    assert sorted(results) == ["conflict"] * 9 + ["ran"]
    assert home.world.journal == ["do pay"]


# --- a caller that goes away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["execute", "start"])
async def test_a_caller_cancelled_anywhere_leaves_no_saga_or_a_whole_one(home: Home, call: str) -> None:
    async with home.orchestrator() as orchestrator:
        for count in range(12):
            async with anyio.create_task_group() as callers:
                callers.start_soon(lambda: getattr(orchestrator, call)(Payment(amount=Decimal(1)), id=f"p{count}"))  # noqa: B023
                for _ in range(count):
                    await anyio.lowlevel.checkpoint()
                callers.cancel_scope.cancel()
        await anyio.sleep(100)  # time passes when nobody has anything to do
        found = [await orchestrator.get_saga(f"p{count}") for count in range(12)]

    existing = [metadata for metadata in found if metadata is not None]
    assert existing, "the later ones were handed in"
    assert {metadata.status for metadata in existing} == {SagaStatus.COMPLETED}
    assert len(home.world.effects) == len(existing)


@pytest.mark.parametrize("call", ["execute", "start"])
async def test_what_a_cancelled_caller_handed_in_can_be_asked_for_again(home: Home, call: str) -> None:
    async with home.orchestrator() as orchestrator:
        for count in range(8):
            saga = Payment(amount=Decimal(1))
            async with anyio.create_task_group() as callers:
                callers.start_soon(lambda: getattr(orchestrator, call)(saga, id=f"p{count}"))  # noqa: B023
                for _ in range(count):
                    await anyio.lowlevel.checkpoint()
                callers.cancel_scope.cancel()
            outcome = await (await orchestrator.start(saga, id=f"p{count}")).outcome()
            assert outcome.status is SagaStatus.COMPLETED

    assert len(home.world.effects) == 8


# --- context variables -------------------------------------------------------------------------------------------------

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class Tenant(Saga):
    name: str

    @step
    async def enter(self, world: Inject[World], ctx: StepContext) -> str:
        found = tenant.get()
        tenant.set(self.name)
        await anyio.sleep(1)
        assert tenant.get() == self.name
        return found

    @compensates("enter")
    async def leave(self, enter: str | Unknown) -> None: ...


async def test_context_variables_are_neither_the_caller_s_nor_another_saga_s(home: Home) -> None:
    tenant.set("whoever opened it")
    outcomes: list[SagaOutcome] = []

    async with home.orchestrator() as orchestrator:

        async def call(n: int) -> None:
            tenant.set(f"caller {n}")
            outcomes.append(await orchestrator.execute(Tenant(name=f"saga {n}")))
            assert tenant.get() == f"caller {n}"

        async with anyio.create_task_group() as callers:
            for n in range(10):
                callers.start_soon(call, n)

    assert {outcome.output for outcome in outcomes} == {"whoever opened it"}
    assert tenant.get() == "whoever opened it"


# --- how an orchestrator is used ---------------------------------------------------------------------------------------


async def test_one_that_was_not_entered_says_so(home: Home) -> None:
    orchestrator = home.orchestrator()

    for call in (
        lambda: orchestrator.execute(Payment(amount=Decimal(1))),
        lambda: orchestrator.start(Payment(amount=Decimal(1))),
        lambda: orchestrator.cancel("p", reason="x"),
        lambda: orchestrator.retry_failed("p", reason="x"),
        lambda: orchestrator.get_saga("p"),
        orchestrator.get_running_sagas,
        orchestrator.get_history,
        orchestrator.running_count,
        orchestrator.history_count,
    ):
        with pytest.raises(OrchestratorClosed) as raised:
            await call()
        assert str(raised.value) == (
            "The orchestrator was not entered. Use it inside `async with SagaOrchestrator(...) as orchestrator:`."
        )
    assert (await home.store.stats()).total_events == 0


async def test_one_that_was_left_says_so(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Payment(amount=Decimal(1)), id="p")
        outcome = await handle.outcome()

    for call in (
        lambda: orchestrator.execute(Payment(amount=Decimal(1))),
        lambda: orchestrator.start(Payment(amount=Decimal(1)), id="p"),
        lambda: orchestrator.cancel("p", reason="x"),
        lambda: orchestrator.get_saga("p"),
        orchestrator.get_history,
    ):
        with pytest.raises(OrchestratorClosed, match="The orchestrator is leaving, or has left"):
            await call()
    assert await handle.outcome() == outcome, "what is known already can still be had"


async def test_one_can_be_entered_once(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(
            OrchestratorClosed, match="This orchestrator was entered before. Make a new one: it is cheap."
        ):
            async with orchestrator:
                pass
        await orchestrator.execute(Payment(amount=Decimal(1)))
    with pytest.raises(OrchestratorClosed, match="entered before"):
        async with orchestrator:
            pass


async def test_a_store_that_is_not_open_says_so(home: Home, store_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="was not opened yet: use it inside"):
        async with SagaOrchestrator(EventStore(store_url)):
            pass


async def test_a_store_has_one_orchestrator_at_a_time(home: Home) -> None:
    async with home.orchestrator():
        with pytest.raises(StoreInUse):
            async with home.orchestrator():
                pass
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Payment(amount=Decimal(1)))


@pytest.mark.parametrize("given", [Payment, None, "Payment", 7], ids=repr)
async def test_what_is_no_saga_is_a_type_error(home: Home, given: Any) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(TypeError, match="Expected an instance of a Saga class, or a SagaDefinition, found"):
            await orchestrator.execute(given)


@pytest.mark.parametrize("options", [{"max_running": 0}, {"grace": -1}, {"grace": float("nan")}], ids=repr)
async def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected max_running from 1 and grace from 0"):
        SagaOrchestrator(**options)


async def test_an_error_of_the_body_comes_out_as_it_is(home: Home) -> None:
    with pytest.raises(StepFailed) as raised:
        async with home.orchestrator() as orchestrator:
            home.world.tell("pay", home.world.raises(ValueError("no")))
            await orchestrator.execute(Payment(amount=Decimal(1)))

    assert type(raised.value) is StepFailed
