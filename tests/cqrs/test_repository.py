"""`Repository`: loading, saving and changing aggregates."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from allframe import (
    Aggregate,
    ConcurrencyError,
    Event,
    EventStore,
    PayloadError,
    Repository,
    StoreFormatError,
    StoreUnavailable,
    correlated,
)
from allframe.events.backend import Commit, Row, Write, new_id
from tests.cqrs.account import Account, Deposited, Opened, Overdrawn, Withdrawn

pytestmark = pytest.mark.anyio


class Sent(Event, name="cqrs.sent"):
    __stream__ = "account-{to}"
    to: str


class Priced(Event, name="cqrs.priced"):
    price: float


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


@pytest.fixture
def accounts(store: EventStore) -> Repository[Account]:
    return Repository(store, Account)


def deposits(*amounts: int) -> list[Event]:
    return [Deposited(amount=amount) for amount in amounts]


# --- load ------------------------------------------------------------------------------------------------------------


async def test_one_without_events_is_new(accounts: Repository[Account]) -> None:
    assert await accounts.load("A") == Account(id="A", version=0)


async def test_it_is_what_its_events_make_it(store: EventStore, accounts: Repository[Account]) -> None:
    await store.append("account-A", [Opened(owner="ada"), *deposits(5, 7), Withdrawn(amount=2)])
    await store.append("account-B", deposits(100))

    assert await accounts.load("A") == Account(id="A", version=4, owner="ada", balance=10, amounts=[5, 7, -2])


async def test_an_event_that_cannot_be_applied_is_named(store: EventStore, accounts: Repository[Account]) -> None:
    await store.append("account-A", [Opened(owner="ada"), Priced(price=1.0), *deposits(1)])

    with pytest.raises(StoreFormatError) as refusal:
        await accounts.load("A")

    assert str(refusal.value) == (
        "Account 'A' cannot be loaded: event 2 of stream 'account-A', 'cqrs.priced' of version 1, cannot be applied: "
        "LookupError: nothing is known of Priced. It happened, and stays in the stream: mend apply, so that it takes it."
    )
    assert isinstance(refusal.value.__cause__, LookupError)


async def test_an_event_that_no_class_can_read_is_named(store: EventStore, accounts: Repository[Account]) -> None:
    await store.append("account-A", deposits(1))
    row = Row(new_id(), "cqrs.forgotten", 3, b"{}", 0)
    await store.backend.commit(Commit((Write("account-A", (row,)),)))

    with pytest.raises(StoreFormatError) as refusal:
        await accounts.load("A")

    assert str(refusal.value).startswith(
        "Account 'A' cannot be loaded: event 2 of stream 'account-A' cannot be read. The store holds an event "
        "'cqrs.forgotten' of version 3"
    )
    assert isinstance(refusal.value.__cause__, StoreFormatError)


async def test_an_apply_that_returns_something_is_found_out(store: EventStore) -> None:
    class Functional(Aggregate, name="cqrs.functional"):
        def apply(self, event: Event) -> Any:
            return self.model_copy()

    await store.append("functional-A", deposits(1))

    with pytest.raises(StoreFormatError, match=r"TypeError: apply returned Functional\(id='A', version=0\). Expected"):
        await Repository(store, Functional).load("A")


async def test_what_can_be_no_id_is_refused(store: EventStore, accounts: Repository[Account]) -> None:
    with pytest.raises(PayloadError, match=r"'\$A' can be no id of Account"):
        await accounts.load("$A")
    with pytest.raises(PayloadError, match=r"'' can be no id of Account"):
        await accounts.save(Account(id=""), deposits(1))

    assert (await store.stats()).total_events == 0


# --- save ------------------------------------------------------------------------------------------------------------


async def test_saving_returns_what_a_load_gives(accounts: Repository[Account]) -> None:
    saved = await accounts.save(await accounts.load("A"), [Opened(owner="ada"), *deposits(5)])

    assert saved == Account(id="A", version=2, owner="ada", balance=5, amounts=[5])
    assert await accounts.load("A") == saved


async def test_the_saved_one_stays_as_it_was(accounts: Repository[Account]) -> None:
    before = await accounts.save(Account(id="A"), deposits(5))

    after = await accounts.save(before, deposits(7))
    after.amounts.append(1000)

    assert before == Account(id="A", version=1, balance=5, amounts=[5])


async def test_of_two_that_save_the_same_version_one_is_refused(
    store: EventStore, accounts: Repository[Account]
) -> None:
    account = await accounts.save(Account(id="A"), deposits(5))
    await accounts.save(account, deposits(1))

    with pytest.raises(ConcurrencyError) as conflict:
        await accounts.save(account, deposits(2))

    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == ("account-A", 1, 2)
    assert account == Account(id="A", version=1, balance=5, amounts=[5])
    assert await store.get_events("account-A") == deposits(5, 1)


async def test_saving_nothing_writes_nothing(store: EventStore, accounts: Repository[Account]) -> None:
    account = await accounts.save(Account(id="A"), deposits(5))

    assert await accounts.save(account, []) == account
    assert (await store.stats()).total_events == 1


async def test_events_are_appended_with_the_correlation_that_holds(
    store: EventStore, accounts: Repository[Account]
) -> None:
    with correlated("request-1"):
        await accounts.save(Account(id="A"), deposits(5))

    assert [each.metadata async for each in store.read("account-A")] == [{"correlation_id": "request-1"}]


async def test_apply_sees_what_a_later_load_sees(store: EventStore) -> None:
    """An event is applied as it is read back, not as the object that was given."""
    seen: list[Event] = []

    class Watching(Aggregate, name="cqrs.watching"):
        def apply(self, event: Event) -> None:
            seen.append(event)

    event = Priced(price=0.1 + 0.2)
    watching = Repository(store, Watching)

    await watching.save(Watching(id="A"), [event])
    await watching.load("A")

    assert seen == [event, event]
    assert all(each is not event for each in seen)


async def test_an_event_that_apply_refuses_is_not_written(store: EventStore, accounts: Repository[Account]) -> None:
    """Nobody could load the stream any more."""
    account = await accounts.save(Account(id="A"), deposits(5))

    with pytest.raises(LookupError, match="nothing is known of Priced") as refusal:
        await accounts.save(account, [*deposits(1), Priced(price=1.0)])

    assert refusal.value.__notes__ == ["Account 'A' could not apply Priced(price=1.0). Nothing was written."]
    assert await accounts.load("A") == account == Account(id="A", version=1, balance=5, amounts=[5])


async def test_an_event_that_goes_elsewhere_is_refused(store: EventStore, accounts: Repository[Account]) -> None:
    for attempt in (
        accounts.save(Account(id="A"), [Sent(to="B")]),
        accounts.change("A", lambda _: [Sent(to="B")]),
    ):
        with pytest.raises(PayloadError) as refusal:
            await attempt
        assert str(refusal.value) == (
            "Account 'A' has the stream 'account-A', and its event Sent(to='B') goes to 'account-B', as the template of "
            "Sent fills in. Append that one by another repository, or give the two templates one form."
        )

    assert (await store.stats()).total_events == 0


async def test_an_event_whose_template_names_its_stream_is_taken(store: EventStore) -> None:
    class Letterbox(Aggregate, name="cqrs.letterbox", stream="account-{id}"):
        letters: int = 0

        def apply(self, event: Event) -> None:
            self.letters += 1

    assert (await Repository(store, Letterbox).save(Letterbox(id="B"), [Sent(to="B")])).letters == 1


@pytest.mark.parametrize("given", [None, Deposited(amount=1), "deposited", iter([Deposited(amount=1)])])
async def test_what_is_no_list_of_events_is_refused(
    store: EventStore, accounts: Repository[Account], given: Any
) -> None:
    for attempt in (accounts.save(Account(id="A"), given), accounts.change("A", lambda _: given)):
        with pytest.raises(PayloadError, match="is no list of events. Give a list, an empty one for nothing"):
            await attempt
    with pytest.raises(PayloadError, match=r"\['paid'\] is no list|'paid' is not an Event"):
        await accounts.save(Account(id="A"), ["paid"])  # type: ignore[list-item]

    assert (await store.stats()).total_events == 0


async def test_an_aggregate_of_another_class_is_refused(store: EventStore, accounts: Repository[Account]) -> None:
    class Other(Aggregate, name="cqrs.other"):
        def apply(self, event: Event) -> None: ...

    with pytest.raises(PayloadError) as refusal:
        await accounts.save(Other(id="A"), deposits(1))  # type: ignore[arg-type]

    assert str(refusal.value) == (
        "This is a repository of Account, and was given Other(id='A', version=0). Save it with a repository of its own "
        "class."
    )


# --- change ----------------------------------------------------------------------------------------------------------


async def test_a_change_is_decided_on_what_happened(accounts: Repository[Account]) -> None:
    await accounts.change("A", lambda _: deposits(5))

    account = await accounts.change("A", lambda account: account.withdraw(3))

    assert account == await accounts.load("A") == Account(id="A", version=2, balance=2, amounts=[5, -3])


async def test_a_decision_may_wait(accounts: Repository[Account]) -> None:
    async def decide(account: Account) -> list[Event]:
        await anyio.sleep(1)
        return deposits(account.version + 1)

    assert (await accounts.change("A", decide)).balance == 1
    assert (await accounts.change("A", decide)).balance == 3


async def test_a_refusal_comes_out_and_nothing_happens(store: EventStore, accounts: Repository[Account]) -> None:
    with pytest.raises(Overdrawn, match="3 of 0"):
        await accounts.change("A", lambda account: account.withdraw(3))

    assert (await store.stats()).total_events == 0


async def test_deciding_for_nothing_writes_nothing(store: EventStore, accounts: Repository[Account]) -> None:
    await accounts.change("A", lambda _: deposits(5))

    assert (await accounts.change("A", lambda _: [])).balance == 5
    assert (await store.stats()).total_events == 1


async def test_a_conflict_is_decided_again_on_what_happened_by_then(
    store: EventStore, accounts: Repository[Account]
) -> None:
    decided_on: list[int] = []

    async def decide(account: Account) -> list[Event]:
        decided_on.append(account.balance)
        if len(decided_on) == 1:
            await store.append("account-A", deposits(100))
        return account.withdraw(account.balance)

    assert (await accounts.change("A", decide)).balance == 0

    assert decided_on == [0, 100]
    assert await store.get_events("account-A") == [*deposits(100), Withdrawn(amount=100)]


async def test_a_decision_that_is_refused_the_second_time_is_refused(
    store: EventStore, accounts: Repository[Account]
) -> None:
    await accounts.change("A", lambda _: deposits(5))
    calls: list[int] = []

    async def decide(account: Account) -> list[Event]:
        calls.append(account.version)
        if len(calls) == 1:
            await store.append("account-A", [Withdrawn(amount=4)])
        return account.withdraw(3)

    with pytest.raises(Overdrawn, match="3 of 1"):
        await accounts.change("A", decide)
    assert calls == [1, 2]


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_the_last_conflict_is_raised_when_the_attempts_are_used_up(
    store: EventStore, accounts: Repository[Account], attempts: int
) -> None:
    calls: list[int] = []

    async def decide(account: Account) -> list[Event]:
        calls.append(account.version)
        await store.append("account-A", deposits(1))
        return deposits(1000)

    with pytest.raises(ConcurrencyError) as conflict:
        await accounts.change("A", decide, attempts=attempts)

    assert calls == list(range(attempts))
    assert (conflict.value.expected, conflict.value.actual) == (attempts - 1, attempts)
    assert await store.get_events("account-A") == deposits(*[1] * attempts)


async def test_a_conflict_inside_the_decision_is_its_own(store: EventStore, accounts: Repository[Account]) -> None:
    calls: list[str] = []

    async def decide(account: Account) -> list[Event]:
        calls.append(account.id)
        await store.append("elsewhere", deposits(1), expected_version=5)
        return []

    with pytest.raises(ConcurrencyError, match="elsewhere"):
        await accounts.change("A", decide)
    assert calls == ["A"]


async def test_what_a_decision_does_to_the_aggregate_is_not_what_happens(accounts: Repository[Account]) -> None:
    def decide(account: Account) -> list[Event]:
        events = deposits(5, 7)
        for event in events:
            account.apply(event)  # to look at what would come of it
        return events

    assert (await accounts.change("A", decide)).amounts == [5, 7]
    assert (await accounts.load("A")).amounts == [5, 7]


async def test_what_makes_no_sense_is_refused(store: EventStore, accounts: Repository[Account]) -> None:
    with pytest.raises(ValueError, match="Expected attempts from 1, found 0"):
        await accounts.change("A", lambda _: [], attempts=0)
    with pytest.raises(ValueError, match="Expected snapshot_every from 1, or None for no snapshots, found 0"):
        Repository(store, Account, snapshot_every=0)


async def test_a_store_that_is_closed_says_so(store_url: str) -> None:
    async with EventStore(store_url) as store:
        accounts = Repository(store, Account)
    with pytest.raises(StoreUnavailable, match="was closed"):
        await accounts.load("A")


# --- write -----------------------------------------------------------------------------------------------------------


async def test_two_decisions_are_written_together_or_not_at_all(
    store: EventStore, accounts: Repository[Account]
) -> None:
    source = await accounts.change("A", lambda _: deposits(5))
    target = await accounts.load("B")

    await store.append_many([accounts.write(source, source.withdraw(3)), accounts.write(target, deposits(3))])
    with pytest.raises(ConcurrencyError):
        await store.append_many([accounts.write(target, deposits(9)), accounts.write(source, source.withdraw(3))])

    assert accounts.write(source, deposits(1)) == ("account-A", deposits(1), 1)
    assert ((await accounts.load("A")).balance, (await accounts.load("B")).balance) == (2, 3)
    assert source.version == 1


async def test_what_cannot_be_saved_is_not_to_be_written(accounts: Repository[Account]) -> None:
    with pytest.raises(PayloadError, match="There are no events to write of Account 'A'. Give at least one"):
        accounts.write(Account(id="A"), [])
    with pytest.raises(PayloadError, match="goes to 'account-B'"):
        accounts.write(Account(id="A"), [Sent(to="B")])
    with pytest.raises(LookupError, match="nothing is known of Priced"):
        accounts.write(Account(id="A"), [Priced(price=1.0)])


def test_a_repository_says_at_once_that_it_takes_a_store() -> None:
    url: Any = "sqlite:///bank.db"
    with pytest.raises(TypeError, match=r"Repository takes an EventStore, found 'sqlite:///bank\.db'\."):
        Repository(url, Account)


async def test_a_bare_event_is_refused(accounts: Repository[Account]) -> None:
    with pytest.raises(PayloadError, match="A bare Event cannot be stored"):
        await accounts.change("A", lambda account: [Event()])


async def test_what_apply_says_of_an_event_with_a_secret_is_not_shown(store: EventStore) -> None:
    class PinSet(Event, name="repository.pin_set"):
        pin: SecretStr

    class Card(Aggregate, name="repository.card"):
        def apply(self, event: Event) -> None:
            assert isinstance(event, PinSet)
            raise ValueError(f"{event.pin.get_secret_value()} is too short")

    await store.append("card-1", [PinSet(pin=SecretStr("hunter2"))])

    with pytest.raises(StoreFormatError, match="cannot be applied: ValueError\\. It happened") as refusal:
        await Repository(store, Card).load("1")

    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))
