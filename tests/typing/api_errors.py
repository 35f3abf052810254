"""Mistakes that mypy --strict and pyright must find. Nothing here is run.

An ignore that is not needed is itself an error, for both: so each line below is one that they complain about.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dishka import Container, FromDishka

from allframe import (
    AutoUpcaster,
    Event,
    EventStore,
    Inject,
    MigrationPath,
    Retry,
    Saga,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    StepContext,
    Unknown,
    Upcaster,
    VersionRegistry,
    compensates,
    run,
    step,
    upcasts,
)


class Bank:
    async def withdraw(self, account: str, amount: Decimal, *, key: str) -> None: ...


class Debited(Event):
    account: str
    amount: Decimal


class Transfer(Saga):
    source: str
    amount: Decimal
    note: str = ""

    @step(timeout=10)
    async def debit(self, bank: Inject[Bank], ctx: StepContext) -> Debited:
        await bank.withdraw(self.source, self.amount, key=ctx.idempotency_key)
        return Debited(account=self.source, amount=self.amount)

    @compensates("debit")
    async def refund(self, debit: Debited | Unknown) -> None: ...

    @step(pivot=True)
    async def book(self, debit: Debited) -> str:
        return debit.account


def the_constructor_is_checked() -> None:
    Transfer(source=1, amount=Decimal(1))  # type: ignore[arg-type]
    Transfer(source="A")  # type: ignore[call-arg]
    Transfer(source="A", amount=Decimal(1), target="B")  # type: ignore[call-arg]
    Transfer("A", Decimal(1))  # type: ignore[call-arg]


def an_event_is_checked() -> None:
    Debited(account="A")  # type: ignore[call-arg]


def a_saga_is_frozen(transfer: Transfer) -> None:
    transfer.amount = Decimal(2)  # type: ignore[misc]


async def a_steps_parameters_are_checked(transfer: Transfer, bank: Bank, ctx: StepContext) -> None:
    await transfer.debit("bank", ctx)  # type: ignore[arg-type]
    await transfer.debit(bank)  # type: ignore[call-arg]
    await transfer.book(Unknown)  # type: ignore[arg-type]
    length: int = await transfer.book(Debited(account="A", amount=Decimal(1)))  # type: ignore[assignment]
    print(length)


def a_steps_options_are_checked() -> None:
    step(timout=10)  # type: ignore[call-overload]
    step(timeout="10")  # type: ignore[call-overload]
    step(retry=3)  # type: ignore[call-overload]
    compensates("debit", if_unknown="ignore")  # type: ignore[arg-type]
    compensates()  # type: ignore[call-arg]
    Retry(attempts="3")  # type: ignore[arg-type]
    Retry(on=KeyboardInterrupt)  # type: ignore[arg-type]


def an_injected_object_is_what_it_says() -> None:
    class Wrong(Saga):
        @step
        async def debit(self, bank: Inject[Bank]) -> None:
            bank.deposit()  # type: ignore[attr-defined]

    class Dishkas(Saga):
        @step
        async def debit(self, bank: FromDishka[Bank]) -> None:
            bank.deposit()  # type: ignore[union-attr]


def a_container_is_asynchronous(container: Container) -> None:
    SagaOrchestrator(container=container)  # type: ignore[arg-type]


async def the_orchestrator_is_checked(orchestrator: SagaOrchestrator, transfer: Transfer) -> None:
    await orchestrator.execute("transfer")  # type: ignore[arg-type]
    await orchestrator.execute(transfer, "transfer-1")  # type: ignore[call-arg]
    await orchestrator.cancel("transfer-1")  # type: ignore[call-arg]
    outcome = await orchestrator.execute(transfer)
    print(outcome.result)  # type: ignore[attr-defined]


class DebitStep(SagaStep, timeout=5):
    account: str
    amount: Decimal

    async def execute(self) -> Debited:
        return Debited(account=self.account, amount=self.amount)


def a_step_object_is_checked(debit: DebitStep) -> None:
    DebitStep(account="A")  # type: ignore[call-arg]
    DebitStep(account="A", amount="1")  # type: ignore[arg-type]
    DebitStep("A", Decimal(1))  # type: ignore[call-arg]
    debit.amount = Decimal(2)  # type: ignore[misc]


async def a_definition_is_checked(orchestrator: SagaOrchestrator, debit: DebitStep) -> None:
    SagaDefinition()  # type: ignore[call-arg]
    SagaDefinition("x").add_step(DebitStep)  # type: ignore[arg-type]
    SagaDefinition("x").add_step(debit, "debit")  # type: ignore[call-arg]
    SagaDefinition("x").steps["debit"] = debit  # type: ignore[index]
    await orchestrator.execute(debit)  # type: ignore[arg-type]


def a_script_names_its_store_by_a_url(transfer: Transfer, store: EventStore) -> None:
    run(transfer, store=store)  # type: ignore[arg-type]
    run(transfer, "transfer-1")  # type: ignore[call-arg]


@upcasts("bank.debited", from_version=1)  # type: ignore[arg-type]
def no_payload(amount: int) -> int:
    return amount


@upcasts("bank.debited", from_version=1)  # type: ignore[arg-type]
async def waits(data: dict[str, Any]) -> dict[str, Any]:
    return data


def not_decorated(data: dict[str, Any]) -> dict[str, Any]:
    return data


class Silent(Upcaster):
    type = "bank.debited"
    from_version = 1


class Wrong(Upcaster):
    type = "bank.debited"
    from_version = "1"  # type: ignore[assignment]

    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


def upcasters_are_checked(debited: Debited) -> None:
    Silent()  # type: ignore[abstract]
    upcasts("bank.debited")  # type: ignore[call-arg]
    upcasts("bank.debited", 1)  # type: ignore[call-arg]
    AutoUpcaster(debited, Debited)  # type: ignore[arg-type]
    registry = VersionRegistry([not_decorated])  # type: ignore[list-item]
    registry.register_upcaster(not_decorated)  # type: ignore[arg-type]
    registry.register_migration("bank.debited")  # type: ignore[arg-type]
    MigrationPath("bank.debited", 1)  # type: ignore[call-arg]
    EventStore(versions=[Wrong()])  # type: ignore[arg-type]
