"""Commands and queries as users write them, which mypy --strict and pyright accept. Nothing here is run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import assert_type

from pydantic import Field

from allframe import (
    Command,
    CommandBus,
    CommandContext,
    CommandInvalid,
    CommandRejected,
    Event,
    EventStore,
    FieldError,
    IdempotencyConflict,
    Inject,
    Query,
    QueryBus,
    SagaOrchestrator,
)
from allframe.cqrs.command_bus import Next


class Limits:
    async def most(self, account: str) -> Decimal:
        return Decimal(len(account))


class Withdrawn(Event, name="typing.withdrawn"):
    account: str
    amount: Decimal


class Withdraw(Command, name="typing.withdraw"):
    account: str
    amount: Decimal = Field(gt=0)


class BalanceOf(Query[Decimal], name="typing.balance-of"):
    account: str


class Accounts(Query[list[str] | None]): ...


def set_up(store: EventStore, orchestrator: SagaOrchestrator) -> CommandBus:
    bus = CommandBus(store, provide={Limits: Limits()}, starter=orchestrator.start, keep_keys=3600)

    @bus.handler
    async def withdraw(command: Withdraw, limits: Inject[Limits], context: CommandContext) -> Withdrawn:
        assert_type(await limits.most(command.account), Decimal)
        assert_type(context.idempotency_key, str | None)
        assert_type(await context.dispatch(command), list[Event])
        return Withdrawn(account=command.account, amount=command.amount)

    @bus.handler(attempts=3)
    def plain(command: Withdraw) -> list[Withdrawn]:
        return []

    @bus.handler
    async def elsewhere(command: Withdraw) -> list[tuple[str, list[Withdrawn], int]]:
        return []

    @bus.handler
    def nothing(command: Withdraw) -> None: ...

    # The decorator keeps the function's own type.
    assert_type(plain(Withdraw(account="A", amount=Decimal(1))), list[Withdrawn])
    return bus


class Cashier:
    async def handle(self, command: Withdraw, limits: Inject[Limits]) -> Sequence[Event]:
        return []


class CallableCashier:
    def __call__(self, command: Withdraw) -> Withdrawn | None: ...


class Overdrawn(CommandRejected): ...


async def commands(bus: CommandBus, payload: bytes) -> None:
    bus.register(Withdraw, Cashier())
    bus.register(Withdraw, CallableCashier(), attempts=2)
    bus.register(Withdraw, Cashier().handle)
    assert_type(bus.parse(Withdraw, payload), Withdraw)
    assert_type(bus.parse("typing.withdraw", {"account": "A"}), Command)
    assert_type(bus.handlers_count(), int)

    @bus.use
    async def middleware(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
        return await call_next(command)

    try:
        assert_type(await bus.dispatch(bus.parse(Withdraw, payload)), list[Event])
        assert_type(await bus.dispatch_idempotent(bus.parse(Withdraw, payload), "k1"), list[Event])
    except CommandInvalid as error:
        assert_type(error.errors, tuple[FieldError, ...])
    except Overdrawn as error:
        assert_type(error.reason, str | None)
    except IdempotencyConflict as error:
        assert_type(error.key, str)


class Answers:
    def handle(self, query: BalanceOf, limits: Inject[Limits]) -> Decimal:
        return Decimal(1)


async def queries(bus: QueryBus) -> AsyncIterator[Decimal]:
    @bus.handler
    async def balance_of(query: BalanceOf, limits: Inject[Limits]) -> Decimal:
        return await limits.most(query.account)

    assert_type(await balance_of(BalanceOf(account="A"), Limits()), Decimal)
    bus.register(BalanceOf, Answers())
    bus.register(BalanceOf, balance_of)

    assert_type(await bus.dispatch(BalanceOf(account="A")), Decimal)
    assert_type(await bus.dispatch(Accounts()), list[str] | None)
    assert_type(bus.parse(BalanceOf, {}), BalanceOf)
    print(int(await bus.dispatch(BalanceOf(account="A"))))
    yield await bus.dispatch(bus.parse(BalanceOf, b"{}"))
