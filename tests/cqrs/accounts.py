"""Accounts, and projections of what is on them: in memory, in tables, and as a plain fold to compare with."""

from __future__ import annotations

from collections.abc import Iterable

from allframe import Event, EventStore, Projection, ProjectionRegistry, RecordedEvent, SqlProjection, Transaction

SCHEMA = """
    CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL);
    -- A trigger has semicolons of its own; so has this comment;
    CREATE TABLE changes (count INTEGER NOT NULL);
    CREATE TRIGGER counted AFTER UPDATE ON balances BEGIN
        UPDATE changes SET count = count + 1;
    END;
    INSERT INTO changes VALUES (0)
"""
ADD = "INSERT INTO balances VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount"


class Deposited(Event, name="accounts.deposited"):
    __stream__ = "account-{account}"
    account: str
    amount: int


class Noted(Event, name="accounts.noted"):
    """An event that concerns no balance."""

    text: str


class Broken(Exception):
    """What a projection raises at an event that it cannot take in."""


class Trap:
    """Which amount cannot be taken in; a test sets it."""

    amount: int | None = None

    @classmethod
    def check(cls, event: Deposited) -> None:
        if event.amount == cls.amount:
            raise Broken(f"{event.amount} is too much for me")


class Balances(Projection, name="balances"):
    def __init__(self) -> None:
        self.by_account: dict[str, int] = {}

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        if isinstance(event, Deposited):
            Trap.check(event)
            self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount

    def reset(self) -> None:
        self.by_account.clear()


class BalancesTable(SqlProjection, name="balances_table"):
    schema = SCHEMA

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        if isinstance(event, Deposited):
            tx.execute(ADD, (event.account, event.amount))
            Trap.check(event)


KINDS = {"memory": Balances, "tables": BalancesTable}


async def balances(registry: ProjectionRegistry, name: str) -> dict[str, int]:
    """What a projection of either kind shows."""
    projection = registry.get(name)
    if isinstance(projection, Balances):
        return dict(projection.by_account)
    return {str(account): int(amount) for account, amount in await registry.query(name, "SELECT * FROM balances")}


def folded(events: Iterable[Event]) -> dict[str, int]:
    """What every projection must show."""
    found: dict[str, int] = {}
    for event in events:
        if isinstance(event, Deposited):
            found[event.account] = found.get(event.account, 0) + event.amount
    return found


async def deposit(store: EventStore, account: str, *amounts: int) -> None:
    await store.append(f"account-{account}", [Deposited(account=account, amount=amount) for amount in amounts])
