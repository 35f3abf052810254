"""Typical user code, which mypy --strict and pyright accept. Nothing here is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_type

from dishka import AsyncContainer, FromDishka
from pydantic import BaseModel, Field

from allframe import (
    AllframeError,
    AlreadyExecuting,
    AutoUpcaster,
    CompensationFailed,
    DefinitionError,
    EffectUnknown,
    ErrorInfo,
    Event,
    EventStore,
    Inject,
    MigrationPath,
    RecordedEvent,
    Refused,
    Retry,
    Saga,
    SagaBlocked,
    SagaCancelled,
    SagaDefinition,
    SagaError,
    SagaGraph,
    SagaHandle,
    SagaMetadata,
    SagaOrchestrator,
    SagaOutcome,
    SagaStatus,
    SagaStep,
    StepContext,
    StepFailed,
    StepTimedOut,
    Unknown,
    Upcaster,
    VersionRegistry,
    compensates,
    run,
    step,
    upcasts,
)
from allframe.testing import SagaRun, Timeout, TraceEntry, VirtualClock, run_saga, run_saga_sync


class Bank:
    async def withdraw(self, account: str, amount: Decimal, *, key: str) -> None: ...

    async def revert(self, account: str, *, key: str) -> None: ...


@dataclass(frozen=True)
class Receipt:
    number: str


class Debited(Event, name="bank.debited", version=2):
    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class TransferMoney(Saga, name="transfer", version=1):
    """A saga with one of everything."""

    source: str
    target: str
    amount: Decimal = Field(gt=0)
    note: str = ""

    @step
    async def bare(self) -> None:
        """Without parentheses."""

    @compensates("bare")
    async def undo_bare(self) -> None: ...

    @step(readonly=True)
    async def quote(self) -> Receipt:
        return Receipt(number="1")

    @step(name="debit", timeout=10, retry=Retry(attempts=3, wait=0.5, on=(ConnectionError, TimeoutError)))
    async def take(self, quote: Receipt, bank: Inject[Bank], ctx: StepContext) -> Debited:
        assert_type(self.source, str)
        assert_type(self.amount, Decimal)
        assert_type(bank, Bank)
        assert_type(ctx.saga_id, str)
        assert_type(ctx.attempt, int)
        assert_type(ctx.idempotency_key, str)
        assert_type(ctx.deadline, float | None)
        assert_type(ctx.fencing_token, int)
        await bank.withdraw(self.source, self.amount, key=ctx.idempotency_key)
        ctx.emit(Debited(account=self.source, amount=self.amount), stream="copies")
        if quote.number == "2":
            raise Refused("no")
        if quote.number == "3":
            raise EffectUnknown("who knows")
        return Debited(account=self.source, amount=self.amount)

    @compensates("take", timeout=timedelta(minutes=1), retry=Retry(attempts=10, max_wait=60), if_unknown="call")
    async def refund(self, take: Debited | Unknown, bank: Inject[Bank], ctx: StepContext) -> None:
        match take:
            case Debited(account=account):
                assert_type(account, str)
            case Unknown(reason=reason, attempts=attempts, error=error):
                assert_type(str(reason), str)
                assert_type(attempts, int)
                assert_type(error, ErrorInfo | None)
        await bank.revert(self.source, key=ctx.forward_key)

    @step(pivot=True, idempotent=True, timeout=None)
    async def settle(self, take: Debited, quote: Receipt) -> dict[str, Decimal]:
        return {take.account: take.amount}


def constructor() -> None:
    transfer = TransferMoney(source="A", target="B", amount=Decimal(100))
    assert_type(transfer.note, str)
    assert_type(transfer.amount, Decimal)
    TransferMoney(source="A", target="B", amount=Decimal(100), note="rent")
    copy = transfer.model_copy(update={"note": "none"})
    assert_type(copy, TransferMoney)
    assert_type(TransferMoney.graph.saga, str)


async def a_marked_method_is_still_a_method(transfer: TransferMoney, bank: Bank, ctx: StepContext) -> None:
    assert_type(await transfer.bare(), None)
    assert_type(await transfer.quote(), Receipt)
    debited = await transfer.take(Receipt(number="1"), bank, ctx)
    assert_type(debited, Debited)
    assert_type(await transfer.take(quote=Receipt(number="1"), bank=bank, ctx=ctx), Debited)
    assert_type(await transfer.refund(debited, bank, ctx), None)
    assert_type(await transfer.settle(debited, Receipt(number="1")), dict[str, Decimal])


async def orchestrating(transfer: TransferMoney, bank: Bank) -> None:
    async with SagaOrchestrator(
        "sqlite:///bank.db", sagas=[TransferMoney], provide={Bank: bank}, max_running=10, grace=5
    ) as orchestrator:
        assert_type(orchestrator, SagaOrchestrator)
        outcome = await orchestrator.execute(transfer, id="transfer-100")
        assert_type(outcome, SagaOutcome)
        assert_type(outcome.id, str)
        assert_type(outcome.status, SagaStatus)
        assert_type(outcome.outputs, Mapping[str, Any])
        assert_type(outcome.events, list[Event])
        assert_type(outcome.error, ErrorInfo | None)
        assert_type(outcome.suppressed, tuple[ErrorInfo, ...])
        assert_type(outcome.raise_for_status(), None)

        handle = await orchestrator.start(transfer)
        assert_type(handle, SagaHandle)
        assert_type(handle.id, str)
        assert_type(await handle.outcome(), SagaOutcome)
        assert_type(await handle.metadata(), SagaMetadata)
        await handle.cancel(reason="never mind")

        saga = await orchestrator.get_saga("transfer-100")
        assert_type(saga, SagaMetadata | None)
        if saga is not None:
            assert_type(saga.status, SagaStatus)
            assert_type(saga.running, tuple[str, ...])
            assert_type(saga.steps_executed, int)
            assert_type(saga.failed_step, str | None)
            assert_type(saga.uncompensated, tuple[str, ...])
            assert_type(saga.attention, bool)
        assert_type(await orchestrator.get_running_sagas(), list[SagaMetadata])
        assert_type(await orchestrator.get_history(status=SagaStatus.FAILED, limit=10), list[SagaMetadata])
        assert_type(await orchestrator.running_count(), int)
        assert_type(await orchestrator.history_count(), int)
        assert_type(await orchestrator.idle(), None)
        assert_type(orchestrator.dropped, tuple[str, ...])
        await orchestrator.cancel("transfer-100", reason="never mind")
        await orchestrator.retry_failed("transfer-100", reason="mended")
        await orchestrator.skip("transfer-100", "debit", reason="by hand", actor="ada", expected_revision=7)
        await orchestrator.resolve("transfer-100", "debit", "done", output=1, reason="seen", expected_revision=None)
        await orchestrator.abandon("transfer-100", reason="hopeless")


def a_script(transfer: TransferMoney, bank: Bank) -> None:
    outcome = run(transfer, store="sqlite:///bank.db", provide={Bank: bank}, id="transfer-100")
    assert_type(outcome, SagaOutcome)
    assert_type(run(transfer).status, SagaStatus)


async def errors(orchestrator: SagaOrchestrator, transfer: TransferMoney) -> SagaOutcome | None:
    try:
        return await orchestrator.execute(transfer)
    except StepTimedOut as error:
        assert_type(error.duration, float)
    except StepFailed as error:
        assert_type(error.saga_id, str | None)
        assert_type(error.step_name, str | None)
        assert_type(error.step_index, int | None)
        assert_type(error.error, ErrorInfo | None)
    except CompensationFailed as error:
        assert_type(error.uncompensated, tuple[str, ...])
        assert_type(error.original, ErrorInfo | None)
    except (SagaCancelled, SagaBlocked) as error:
        assert_type(error.reason, str)
    except AlreadyExecuting:
        pass
    except SagaError as error:
        assert_type(error.code, str)
    except DefinitionError as error:
        print([problem.rule for problem in error.problems])
    except AllframeError:
        pass
    return None


async def a_store_of_ones_own(bank: Bank) -> None:
    async with (
        EventStore("sqlite:///bank.db") as store,
        SagaOrchestrator(store, provide={Bank: bank}) as orchestrator,
    ):
        assert_type(await store.append("account-A", [Debited(account="A", amount=Decimal(1))]), int)
        assert_type(await store.get_events("account-A"), list[Event])
        async for recorded in store.read("account-A"):
            assert_type(recorded, RecordedEvent)
            assert_type(recorded.position, int)
            assert_type(recorded.type, str)
            assert_type(recorded.event, Event)
        assert_type(await orchestrator.running_count(), int)


class Audited(Saga):
    @step
    async def look(self, bank: FromDishka[Bank]) -> None:
        await bank.revert("A", key="k")


async def with_a_container(container: AsyncContainer, bank: Bank) -> None:
    async with SagaOrchestrator(provide={Bank: bank}, container=container) as orchestrator:
        await orchestrator.execute(Audited())


class DebitStep(
    SagaStep,
    name="debit",
    version=2,
    timeout=timedelta(seconds=5),
    retry=Retry(attempts=3),
    readonly=False,
    pivot=False,
    idempotent=True,
    compensation_timeout=None,
    compensation_retry=Retry(attempts=9),
    if_unknown="call",
):
    account: str
    amount: Decimal = Field(gt=0)

    async def execute(self, bank: Inject[Bank], ctx: StepContext) -> list[Event]:
        assert_type(self.amount, Decimal)
        await bank.withdraw(self.account, self.amount, key=ctx.idempotency_key)
        return [Debited(account=self.account, amount=self.amount)]

    async def compensate(self, output: list[Event] | Unknown, bank: Inject[Bank], ctx: StepContext) -> None:
        await bank.revert(self.account, key=ctx.forward_key)


class Noted(SagaStep, abstract=True):
    note: str = ""


class QuickDebit(DebitStep, timeout=1):
    reason: str


async def building(orchestrator: SagaOrchestrator, bank: Bank, ctx: StepContext) -> None:
    debit = DebitStep(account="A", amount=Decimal(1))
    assert_type(debit.account, str)
    assert_type(await debit.execute(bank, ctx), list[Event])
    QuickDebit(account="A", amount=Decimal(1), reason="rent")
    built = SagaDefinition("transfer-100").add_step(debit).add_step(debit, name="again", after="debit")
    assert_type(built, SagaDefinition)
    assert_type(built.add_step(debit, after=("debit", "again")), SagaDefinition)
    assert_type(built.id, str)
    assert_type(built.steps, Mapping[str, SagaStep])
    assert_type(built.status(), SagaStatus)
    assert_type(built.metadata(), SagaMetadata)
    assert_type(built.check(), None)
    assert_type(built.graph, SagaGraph)
    assert_type(await orchestrator.execute(built), SagaOutcome)
    assert_type(await orchestrator.start(SagaDefinition("x", name="transfer"), id="x"), SagaHandle)
    SagaOrchestrator(sagas=[TransferMoney, DebitStep])


async def a_test_of_it(bank: Bank) -> None:
    run = await run_saga(
        TransferMoney(source="A", target="B", amount=Decimal(1)), provide={Bank: bank}, outcomes={"credit": Timeout}
    )
    assert_type(run, SagaRun)
    assert_type(run.trace, list[TraceEntry])
    assert_type(run.trace[0].error, ErrorInfo | None)
    assert_type(run.undone, list[str])
    assert_type(run.status, SagaStatus)
    assert_type(run.error, SagaError | None)
    assert_type(run.events, list[Event])


def a_test_that_is_not_async(bank: Bank) -> None:
    clock = VirtualClock()
    orchestrator = SagaOrchestrator(provide={Bank: bank}, clock=clock)
    assert_type(orchestrator, SagaOrchestrator)
    assert_type(clock.run(orchestrator.running_count), int)
    assert_type(run_saga_sync(TransferMoney(source="A", target="B", amount=Decimal(1))).outputs, Mapping[str, Any])


class DebitedV1(Event, name="bank.debited", version=1):
    account: str


@upcasts("bank.debited", from_version=1)
def add_amount(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "amount": "0"}


class Rename(Upcaster):
    """Made of a class, with what differs."""

    type = "bank.taken"
    from_version = 1
    to_type = "bank.debited"
    to_version = 2

    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


def versions(account: type[BaseModel]) -> VersionRegistry:
    registry = VersionRegistry([add_amount, Rename(), AutoUpcaster(DebitedV1, Debited)], models=[account])
    registry.register_upcaster(add_amount)
    registry.register_migration(MigrationPath("bank.debited", 1, 2, upcasters=(add_amount,)))
    assert_type(add_amount({}), dict[str, Any])
    assert_type(add_amount.to_version, int)
    assert_type(registry.get_migrations(), list[MigrationPath])
    assert_type(registry.has_upcaster("bank.debited", 1), bool)
    assert_type(registry.upcast("bank.debited", 1, b"{}"), tuple[str, int, bytes])
    return registry


async def read_as_today(store: EventStore) -> None:
    assert_type(store.versions, VersionRegistry | None)
    async for recorded in EventStore("memory://", versions=VersionRegistry()).read("a"):
        assert_type(recorded.is_readable, bool)
        assert_type(recorded.payload(), dict[str, Any])
