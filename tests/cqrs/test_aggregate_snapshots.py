"""Snapshots of aggregates are a shortcut: they are taken in time, and nobody sees whether there are any."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, PrivateAttr

from allframe import Aggregate, ConcurrencyError, Event, EventStore, Repository, StoreUnavailable
from allframe.naming import Names
from tests.cqrs.account import Account, Deposited

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


def deposits(*amounts: int) -> list[Event]:
    return [Deposited(amount=amount) for amount in amounts]


async def version_kept(store: EventStore, cls: type[Aggregate] = Account) -> int | None:
    snapshot = await store.get_latest_snapshot("account-A", cls)
    return None if snapshot is None else snapshot.version


class Reads:
    """The revisions that are read of streams, by how far each read went back."""

    def __init__(self, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.after: list[int] = []
        read = store.backend.read_stream

        def reading(stream: str, *, after: int = 0, limit: int | None = None) -> Any:
            self.after.append(after)
            return read(stream, after=after, limit=limit)

        monkeypatch.setattr(store.backend, "read_stream", reading)


# --- when they are taken ---------------------------------------------------------------------------------------------


async def test_without_the_option_there_are_none(store: EventStore) -> None:
    await Repository(store, Account).save(Account(id="A"), deposits(*range(10)))

    assert (await store.stats()).total_snapshots == 0


async def test_one_is_taken_each_time_that_many_events_came(store: EventStore) -> None:
    accounts = Repository(store, Account, snapshot_every=3)
    kept = []

    for _ in range(7):
        await accounts.change("A", lambda _: deposits(1))
        kept.append(await version_kept(store))

    assert kept == [None, None, 3, 3, 3, 6, 6]


async def test_many_events_at_once_leave_one(store: EventStore) -> None:
    await Repository(store, Account, snapshot_every=3).save(Account(id="A"), deposits(*range(8)))

    assert await version_kept(store) == 8


async def test_a_load_reads_only_what_came_after_it(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Repository(store, Account, snapshot_every=3)
    await accounts.save(Account(id="A"), deposits(1, 2, 3))
    await accounts.change("A", lambda _: deposits(4))
    reads = Reads(store, monkeypatch)

    assert await accounts.load("A") == Account(id="A", version=4, balance=10, amounts=[1, 2, 3, 4])
    assert reads.after == [3]


async def test_a_load_leaves_one_of_what_others_appended(store: EventStore) -> None:
    accounts = Repository(store, Account, snapshot_every=3)
    await store.append("account-A", deposits(1, 2))
    await accounts.load("A")
    assert await version_kept(store) is None

    await store.append("account-A", deposits(3))
    await accounts.load("A")

    assert await version_kept(store) == 3


async def test_none_is_taken_of_what_was_not_written(store: EventStore) -> None:
    accounts = Repository(store, Account, snapshot_every=1)
    await accounts.save(Account(id="A"), deposits(1))

    with pytest.raises(ConcurrencyError):
        await accounts.save(Account(id="A"), deposits(7, 7))

    assert await version_kept(store) == 1


async def test_an_older_one_does_not_replace_a_newer_one(store: EventStore) -> None:
    accounts = Repository(store, Account, snapshot_every=2)
    old = await accounts.save(Account(id="A"), deposits(1, 2))
    await accounts.save(old, deposits(3, 4))

    await store.save_snapshot("account-A", old, version=old.version)

    assert await version_kept(store) == 4


# --- when they are of no use -----------------------------------------------------------------------------------------


def rewritten(version: int) -> type[Aggregate]:
    """An account as a later program has it: it counts, and has other fields."""

    class Rewritten(Aggregate, name="cqrs.account", version=version, stream="account-{id}"):
        deposits: int = 0

        def apply(self, event: Event) -> None:
            self.deposits += 1

    return Rewritten


@pytest.fixture
def another_program(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forget the names of the aggregates that there are, as another program does not have them."""
    return lambda: monkeypatch.setattr("allframe.cqrs.aggregate._NAMES", Names("aggregate", "AF122"))


@pytest.mark.parametrize("version", [1, 2])
async def test_one_of_another_version_or_form_is_ignored_and_replaced(
    store: EventStore, version: int, another_program: Callable[[], None]
) -> None:
    await Repository(store, Account, snapshot_every=2).save(Account(id="A"), deposits(1, 2, 3))
    another_program()
    cls = rewritten(version)

    account = await Repository(store, cls, snapshot_every=2).load("A")

    assert account == cls(id="A", version=3, deposits=3)
    snapshot = await store.get_latest_snapshot("account-A", cls)
    assert snapshot is not None
    assert (snapshot.schema_version, snapshot.state) == (version, account)


class Line(BaseModel):
    amount: int


class PricedLine(BaseModel):
    amount: int
    doubled: int = 0


async def test_a_field_that_was_added_since_is_not_taken_for_its_default(
    store: EventStore, another_program: Callable[[], None]
) -> None:
    """Also of a model inside: the events before have something to say of it."""

    class Before(Aggregate, name="cqrs.lines", stream="account-{id}"):
        lines: dict[str, list[Line]] = {}

        def apply(self, event: Event) -> None:
            assert isinstance(event, Deposited)
            self.lines.setdefault("all", []).append(Line(amount=event.amount))

    await Repository(store, Before, snapshot_every=1).save(Before(id="A"), deposits(1, 2))
    another_program()

    class Since(Aggregate, name="cqrs.lines", stream="account-{id}"):
        lines: dict[str, list[PricedLine]] = {}

        def apply(self, event: Event) -> None:
            assert isinstance(event, Deposited)
            self.lines.setdefault("all", []).append(PricedLine(amount=event.amount, doubled=2 * event.amount))

    account = await Repository(store, Since, snapshot_every=5).load("A")

    assert [line.doubled for line in account.lines["all"]] == [2, 4]


@pytest.mark.parametrize("wrong", [Account(id="B", version=2), Account(id="A", version=1)])
async def test_one_of_another_aggregate_or_moment_is_ignored(store: EventStore, wrong: Account) -> None:
    await store.append("account-A", deposits(1, 2))
    await store.save_snapshot("account-A", wrong, version=2)

    account = await Repository(store, Account, snapshot_every=5).load("A")

    assert account == Account(id="A", version=2, balance=3, amounts=[1, 2])


# --- when they cannot be taken ---------------------------------------------------------------------------------------


async def test_a_snapshot_that_fails_is_logged_and_fails_nothing(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("The disk is full.")

    monkeypatch.setattr(store, "save_snapshot", fail)
    accounts = Repository(store, Account, snapshot_every=1)

    account = await accounts.save(Account(id="A"), deposits(1))

    assert await accounts.load("A") == account
    assert (
        caplog.record_tuples
        == [("allframe", logging.WARNING, "account-A at version 1 has no snapshot: The disk is full.")] * 2
    )


async def test_what_a_snapshot_would_lose_is_never_kept(store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    """A private attribute is in no snapshot: without the events it would be gone."""

    class Secretive(Aggregate, name="cqrs.secretive", stream="account-{id}"):
        _count: int = PrivateAttr(default=0)

        def apply(self, event: Event) -> None:
            self._count += 1

    secretive = Repository(store, Secretive, snapshot_every=1)
    await secretive.save(Secretive(id="A"), deposits(1, 2))

    assert (await secretive.load("A"))._count == 2
    assert await version_kept(store, Secretive) is None
    assert (
        "account-A at version 2 has no snapshot: The snapshot 'cqrs.secretive' does not come back equal" in caplog.text
    )


async def test_a_store_to_look_at_is_only_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url) as store:
        await store.append("account-A", deposits(1, 2))

    async with EventStore(f"{url}?mode=ro") as store:
        account = await Repository(store, Account, snapshot_every=1).load("A")

    assert account.balance == 3
    assert caplog.record_tuples == []


async def test_a_snapshot_outlives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url) as store:
        account = await Repository(store, Account, snapshot_every=2).save(Account(id="A"), deposits(1, 2, 3))

    async with EventStore(url) as store:
        reads = Reads(store, monkeypatch)
        assert await Repository(store, Account, snapshot_every=2).load("A") == account
        assert reads.after == [3]
