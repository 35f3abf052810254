"""Aggregates as mypy --strict and pyright see them: what they accept, and the mistakes that they must find.

Nothing here is run. An ignore that is not needed is itself an error, for both.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Generic, TypeVar, assert_type

from pydantic import Field

from allframe import Aggregate, Event, EventStore, Repository

T = TypeVar("T")


class Opened(Event):
    owner: str


class Deposited(Event):
    amount: Decimal


class Withdrawn(Event):
    amount: Decimal


class Account(Aggregate, name="bank.account", version=2, stream="account-{id}"):
    owner: str = ""
    balance: Decimal = Decimal(0)
    notes: list[str] = Field(default_factory=list)

    def apply(self, event: Event) -> None:
        match event:
            case Opened():
                self.owner = event.owner
            case Deposited(amount=amount):
                assert_type(amount, Decimal)
                self.balance += amount
            case Withdrawn():
                self.balance -= event.amount

    def withdraw(self, amount: Decimal) -> list[Withdrawn]:
        return [Withdrawn(amount=amount)]

    def close(self) -> Sequence[Event]:
        return [*self.withdraw(self.balance), Deposited(amount=Decimal(0))]


class Order(Aggregate):
    def apply(self, event: Event) -> None: ...


class Cart(Aggregate, Generic[T]):
    items: list[T] = []

    def apply(self, event: Event) -> None: ...


class Basket(Cart[str]): ...


async def a_repository_is_of_its_aggregate(store: EventStore) -> None:
    accounts = Repository(store, Account)
    assert_type(accounts, Repository[Account])
    assert_type(await accounts.load("A"), Account)
    assert_type((await accounts.load("A")).balance, Decimal)
    assert_type(await accounts.save(await accounts.load("A"), []), Account)
    assert_type((await Repository(store, Basket, snapshot_every=100).load("1")).items, list[str])


async def decisions_return_events(store: EventStore) -> None:
    accounts = Repository(store, Account, snapshot_every=None)

    async def later(account: Account) -> list[Event]:
        return [Opened(owner=account.id)]

    def at_once(account: Account) -> Sequence[Event]:
        return account.close()

    assert_type(await accounts.change("A", lambda account: account.withdraw(Decimal(1))), Account)
    assert_type(await accounts.change("A", lambda _: [], attempts=5), Account)
    assert_type(await accounts.change("A", later), Account)
    assert_type(await accounts.change("A", at_once), Account)
    assert_type(await accounts.change("A", Account.close), Account)


async def what_it_writes_can_be_appended(store: EventStore, account: Account) -> None:
    write = Repository(store, Account).write(account, account.withdraw(Decimal(1)))
    assert_type(write, tuple[str, list[Event], int])
    await store.append_many([write])


def an_aggregate_is_a_model() -> None:
    assert_type(Account(id="A").version, int)
    Account(id="A", version=0, owner="ada")
    Account()  # type: ignore[call-arg]
    Account("A")  # type: ignore[call-arg]
    Account(id="A", balance="1")  # type: ignore[arg-type]
    print(Account(id="A").funds)  # type: ignore[attr-defined]


class Narrow(Aggregate):
    def apply(self, event: Deposited) -> None: ...  # type: ignore[override]


class Late(Aggregate):
    async def apply(self, event: Event) -> None: ...  # type: ignore[override]


async def mistakes_are_found(store: EventStore, account: Account, order: Order) -> None:
    accounts = Repository(store, Account)
    Repository(store, Deposited)  # type: ignore[type-var]
    Repository(store, account)  # type: ignore[arg-type]
    Repository(store, Account, 100)  # type: ignore[call-arg]
    await accounts.load(5)  # type: ignore[arg-type]
    await accounts.save(order, [])  # type: ignore[arg-type]
    await accounts.save(account, Deposited(amount=Decimal(1)))  # type: ignore[arg-type]
    await accounts.save(account, ["deposited"])  # type: ignore[list-item]
    await accounts.change("A", lambda account: account.balance)  # type: ignore[arg-type,return-value]
    await accounts.change("A", Order.close)  # type: ignore[attr-defined]
    await accounts.change("A", lambda _: [], 5)  # type: ignore[call-arg]
    accounts.write(order, [])  # type: ignore[arg-type]
