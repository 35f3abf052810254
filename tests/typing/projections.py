"""Projections as users write them, which mypy --strict and pyright accept. Nothing here is run."""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from allframe import (
    ErrorInfo,
    Event,
    EventStore,
    Projection,
    ProjectionFailed,
    ProjectionMetadata,
    ProjectionRegistry,
    ProjectionState,
    RecordedEvent,
    SqlProjection,
    Transaction,
)


class Deposited(Event):
    account: str
    amount: int


class Balances(Projection, name="balances"):
    handles = (Deposited,)

    def __init__(self) -> None:
        self.by_account: dict[str, int] = {}

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        match event:
            case Deposited():
                self.by_account[event.account] = event.amount

    def reset(self) -> None:
        self.by_account.clear()


class Accounts(SqlProjection, name="accounts", version=2):
    schema = "CREATE TABLE accounts (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)"

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert_type(
            tx.execute("SELECT amount FROM accounts WHERE account = ?", (recorded.stream,)), list[tuple[Any, ...]]
        )
        tx.executemany("INSERT INTO accounts VALUES (:account, :amount)", [{"account": "A", "amount": 1}])


async def using(store: EventStore) -> None:
    async with ProjectionRegistry(store) as projections:
        assert_type(projections, ProjectionRegistry)
        await projections.register("balances", Balances)
        await projections.register("others", Balances())
        await projections.register("made", lambda: Balances())
        await projections.register(Accounts)
        await projections.register(Accounts())
        assert_type(projections.get("balances", Balances), Balances)
        assert_type(projections.get("balances", Balances).by_account, dict[str, int])
        assert_type(projections.get("accounts"), Projection | SqlProjection)
        assert_type(await projections.query("accounts", "SELECT 1", {"a": 1}), list[tuple[Any, ...]])
        await projections.caught_up()
        await projections.caught_up(5, name="balances", timeout=1.5)
        await projections.rebuild("accounts", lambda position, total: print(position / total))
        await projections.rebuild_all(lambda name, position, total: print(name, position / total))
        await projections.resume("accounts")
        found = await projections.get_metadata("accounts")
        assert_type(found, ProjectionMetadata)
        assert_type(found.state, ProjectionState)
        assert_type(found.updated_at, datetime | None)
        assert_type(found.error, ErrorInfo | None)
        assert_type(await projections.get_all_metadata(), list[ProjectionMetadata])
        assert_type(projections.count(), int)


def why(failure: ProjectionFailed) -> tuple[str, int, ErrorInfo]:
    return failure.projection, failure.position, failure.error
