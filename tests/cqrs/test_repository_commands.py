"""`Repository` in the handlers of commands, and on a store that is in doubt."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from allframe import Command, CommandBus, CommandRejected, Event, EventStore, Repository, StoreUnavailable
from allframe.events.backend import Commit, Versions
from tests.cqrs.account import Account, Deposited, Overdrawn, Withdrawn

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


# --- commands --------------------------------------------------------------------------------------------------------


class Withdraw(Command, name="aggregates.withdraw"):
    account: str
    amount: int


class Transfer(Command, name="aggregates.transfer"):
    source: str
    target: str
    amount: int


async def test_a_handler_hands_on_what_an_aggregate_decided(store: EventStore) -> None:
    accounts = Repository(store, Account)
    bus = CommandBus(store)

    @bus.handler
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int]]:
        account = await accounts.load(command.account)
        try:
            return [accounts.write(account, account.withdraw(command.amount))]
        except Overdrawn as refusal:
            raise CommandRejected(str(refusal), reason="overdrawn") from refusal

    @bus.handler
    async def transfer(command: Transfer) -> list[tuple[str, list[Event], int]]:
        source, target = await accounts.load(command.source), await accounts.load(command.target)
        return [
            accounts.write(source, source.withdraw(command.amount)),
            accounts.write(target, [Deposited(amount=command.amount)]),
        ]

    await accounts.change("A", lambda _: [Deposited(amount=10)])
    assert await bus.dispatch(Withdraw(account="A", amount=3)) == [Withdrawn(amount=3)]
    await bus.dispatch(Transfer(source="A", target="B", amount=5))
    with pytest.raises(CommandRejected, match="3 of 2"):
        await bus.dispatch(Withdraw(account="A", amount=3))

    assert ((await accounts.load("A")).balance, (await accounts.load("B")).balance) == (2, 5)


async def test_a_handler_decides_again_when_somebody_was_faster(store: EventStore) -> None:
    accounts = Repository(store, Account)
    bus = CommandBus(store)
    decided_on: list[int] = []

    @bus.handler(attempts=2)
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int]]:
        account = await accounts.load(command.account)
        decided_on.append(account.balance)
        if len(decided_on) == 1:
            await accounts.change("A", lambda _: [Deposited(amount=1)])
        return [accounts.write(account, account.withdraw(command.amount))]

    await accounts.change("A", lambda _: [Deposited(amount=10)])
    await bus.dispatch(Withdraw(account="A", amount=3))

    assert decided_on == [10, 11]
    assert (await accounts.load("A")).balance == 8


# --- doubt -----------------------------------------------------------------------------------------------------------


async def test_a_commit_in_doubt_is_settled_and_not_written_twice(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = store.backend.commit
    calls: list[Commit] = []

    async def doubtful(given: Commit) -> Versions:
        calls.append(given)
        versions = await commit(given)
        if len(calls) == 1:
            raise StoreUnavailable("The line went dead.", in_doubt=True)
        return versions

    monkeypatch.setattr(store.backend, "commit", doubtful)
    accounts = Repository(store, Account)

    account = await accounts.change("A", lambda _: [Deposited(amount=5)])

    assert len(calls) == 2
    assert account == await accounts.load("A") == Account(id="A", version=1, balance=5, amounts=[5])
