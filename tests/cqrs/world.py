"""Accounts that commands change, and what is in the store afterwards."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from allframe import Command, Event, EventStore, Query, RecordedEvent


class Deposited(Event, name="commands.deposited"):
    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class Withdrawn(Event, name="commands.withdrawn"):
    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class Homeless(Event, name="commands.homeless"):
    """It has no stream of its own."""

    what: str = "x"


class Withdraw(Command, name="commands.withdraw"):
    account: str
    amount: Decimal = Field(gt=0)
    note: str = ""


class Deposit(Command, name="commands.deposit"):
    account: str
    amount: Decimal = Field(gt=0)


class BalanceOf(Query[Decimal], name="commands.balance-of"):
    account: str


A5 = Withdraw(account="A", amount=Decimal(5))


def withdrawn(command: Withdraw) -> Withdrawn:
    """The event that a withdrawal comes to."""
    return Withdrawn(account=command.account, amount=command.amount)


async def logged(store: EventStore, *, system: bool = False) -> list[RecordedEvent]:
    """Everything in the store."""
    return [recorded async for recorded in store.read_all(system=system)]


async def streams(store: EventStore) -> list[tuple[str, str]]:
    """The stream and the type of everything in it, allframe's own as well."""
    return [(recorded.stream, recorded.type) for recorded in await logged(store, system=True)]
