"""Whatever happened, however often snapshots are taken, and whoever takes them: a load is the fold of the stream."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from functools import reduce
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allframe import Aggregate, ConcurrencyError, Event, EventStore, Repository
from tests.cqrs.account import Account, Deposited, Opened, Overdrawn, Withdrawn
from tests.virtual import LOOPS

EVENTS = (
    st.builds(Opened, owner=st.text(max_size=3))
    | st.builds(Deposited, amount=st.integers(0, 9))
    | st.builds(Withdrawn, amount=st.integers(0, 9))
)


class Counter(Aggregate, name="cqrs.account", version=2, stream="account-{id}"):
    """What an account is to a later version of the program: beside the other, in the same streams."""

    seen: tuple[str, ...] = ()
    total: int = 0

    def apply(self, event: Event) -> None:
        self.seen += (type(event).__name__,)
        self.total += getattr(event, "amount", 0)


def account(of: str, history: list[Event]) -> Account:
    """The reference: it knows neither `apply` nor any store."""
    amounts = [
        event.amount if isinstance(event, Deposited) else -event.amount
        for event in history
        if isinstance(event, Deposited | Withdrawn)
    ]
    owners = [event.owner for event in history if isinstance(event, Opened)]
    return Account(id=of, version=len(history), owner=(owners or [""])[-1], balance=sum(amounts), amounts=amounts)


def counter(of: str, history: list[Event]) -> Counter:
    total = reduce(lambda total, event: total + getattr(event, "amount", 0), history, 0)
    return Counter(id=of, version=len(history), seen=tuple(type(event).__name__ for event in history), total=total)


REFERENCES: dict[type[Aggregate], Any] = {Account: account, Counter: counter}

IDS = st.sampled_from("AB")
#: Who does it: which version of the program, taking snapshots how often.
WHO = st.tuples(st.sampled_from([Account, Counter]), st.sampled_from([None, 1, 2, 3, 7]))
DOINGS = st.lists(
    st.tuples(st.just("save"), WHO, IDS, st.lists(EVENTS, max_size=4))
    | st.tuples(st.just("change"), WHO, IDS, st.lists(EVENTS, max_size=4))
    | st.tuples(st.just("late"), WHO, IDS, st.lists(EVENTS, min_size=1, max_size=2))
    | st.tuples(st.just("append"), WHO, IDS, st.lists(EVENTS, min_size=1, max_size=4))
    | st.tuples(st.just("load"), WHO, IDS, st.just([])),
    max_size=12,
)


async def play(url: str, doings: list[Any]) -> None:
    histories: defaultdict[str, list[Event]] = defaultdict(list)
    stale: dict[tuple[type[Aggregate], str], Aggregate] = {}
    async with EventStore(url) as store:
        for what, (cls, every), of, events in doings:
            repository: Repository[Any] = Repository(store, cls, snapshot_every=every)
            loaded = await repository.load(of)
            assert loaded == REFERENCES[cls](of, histories[of])
            saved = None
            if what == "save":
                saved = await repository.save(loaded, events)
            elif what == "change":
                saved = await repository.change(of, lambda _, events=events: events)
            elif what == "append":
                await store.append(f"account-{of}", events)
            elif what == "late" and stale.get((cls, of), loaded).version < loaded.version:
                with pytest.raises(ConcurrencyError):
                    await repository.save(stale[cls, of], events)
                events = []
            elif what == "late":
                events = []
            assert loaded == REFERENCES[cls](of, histories[of]), "it was changed in place"
            histories[of] += events
            stale[cls, of] = loaded
            assert saved in (None, REFERENCES[cls](of, histories[of]))
        for of, history in histories.items():
            assert await store.get_events(f"account-{of}") == history
            for cls, reference in REFERENCES.items():
                for every in (None, 1, 5):
                    assert await Repository(store, cls, snapshot_every=every).load(of) == reference(of, history)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("kind", "examples"), [("memory", 120), ("sqlite", 25)])
def test_a_load_is_the_fold_of_the_stream(loop: str, kind: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, print_blob=True)
    @given(DOINGS)
    def holds(doings: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            url = "memory://" if kind == "memory" else f"sqlite:///{folder}/store.db"
            in_loop(loop, play, url, doings)

    holds()


def in_loop(loop: str, function: Any, *args: Any) -> None:
    backend, options = ("asyncio", {"use_uvloop": True}) if loop == "uvloop" else (loop, {})
    anyio.run(function, *args, backend=backend, backend_options=options)


@pytest.mark.anyio
@pytest.mark.parametrize("every", [None, 1, 5])
async def test_sixteen_that_change_one_at_once_lose_nothing(store_url: str, every: int | None) -> None:
    async with EventStore(store_url) as store:
        accounts = Repository(store, Account, snapshot_every=every)

        async def deposit(amount: int) -> None:
            for _ in range(5):
                await accounts.change("A", lambda _: [Deposited(amount=amount)], attempts=1000)

        async with anyio.create_task_group() as tasks:
            for number in range(16):
                tasks.start_soon(deposit, 2**number)

        found = await accounts.load("A")
        revisions = [recorded.revision async for recorded in store.read("account-A")]

    assert found.balance == 5 * (2**16 - 1)
    assert found.version == len(found.amounts) == 80
    assert revisions == list(range(1, 81))


@pytest.mark.anyio
async def test_what_each_of_many_decides_on_is_what_was_there_when_it_happened(store_url: str) -> None:
    """An account with 10 in it gives 10 to whoever comes first, and to nobody else."""
    async with EventStore(store_url) as store:
        accounts = Repository(store, Account, snapshot_every=2)
        await accounts.change("A", lambda _: [Deposited(amount=10)])
        refusals: list[int] = []

        async def take() -> None:
            try:
                await accounts.change("A", lambda account: account.withdraw(2), attempts=1000)
            except Overdrawn:
                refusals.append(2)

        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(take)

        balance = (await accounts.load("A")).balance

    assert (balance, len(refusals)) == (0, 11)
