"""Mistakes with commands and queries that mypy --strict and pyright must find. Nothing here is run.

An ignore that is not needed is itself an error, for both: so each line below is one that they complain about.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from decimal import Decimal

from allframe import Command, CommandBus, Event, EventStore, Query, QueryBus


class Withdrawn(Event):
    account: str


class Withdraw(Command):
    account: str
    amount: Decimal


class Deposit(Command):
    account: str


class BalanceOf(Query[Decimal]):
    account: str


def a_command_is_checked() -> None:
    Withdraw(account="A")  # type: ignore[call-arg]


def what_a_handler_returns_is_checked(bus: CommandBus) -> None:
    @bus.handler  # type: ignore[type-var]
    async def withdraw(command: Withdraw) -> str:
        return command.account

    @bus.handler  # type: ignore[type-var]
    def plain(command: Withdraw) -> int:
        return 1


def a_registered_handler_takes_its_command(bus: CommandBus) -> None:
    def deposit(command: Deposit) -> None: ...

    bus.register(Withdraw, deposit)  # type: ignore[arg-type]
    bus.register(Withdraw, "deposit")  # type: ignore[arg-type]
    bus.register(BalanceOf, deposit)  # type: ignore[arg-type, type-var]


async def what_is_dispatched_is_a_command(bus: CommandBus, store: EventStore) -> None:
    await bus.dispatch(BalanceOf(account="A"))  # type: ignore[arg-type]
    await bus.dispatch_idempotent(Withdraw(account="A", amount=Decimal(1)))  # type: ignore[call-arg]
    CommandBus("sqlite:///shop.db")  # type: ignore[arg-type]
    CommandBus(store, keep_keys="1d")  # type: ignore[arg-type]


async def an_answer_is_what_the_query_says(bus: QueryBus) -> None:
    text: str = await bus.dispatch(BalanceOf(account="A"))  # type: ignore[arg-type]
    await bus.dispatch(Withdraw(account="A", amount=Decimal(1)))  # type: ignore[arg-type]
    print(text)
