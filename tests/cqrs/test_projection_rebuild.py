"""A rebuild: beside the one that is served, then in its place, whole."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from allframe import (
    Event,
    EventStore,
    ProjectionFailed,
    ProjectionRefused,
    ProjectionRegistry,
    ProjectionState,
    RecordedEvent,
    StoreInUse,
    Transaction,
)
from tests.cqrs.accounts import ADD, Balances, BalancesTable, Deposited, Trap, balances, deposit

pytestmark = pytest.mark.anyio


class Rate:
    """What a deposit counts: a bug in the code of a projection, which is then mended."""

    now = 1


class RatedTable(BalancesTable, name="rated"):
    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert isinstance(event, Deposited)
        tx.execute(ADD, (event.account, event.amount * Rate.now))


class Rated(Balances, name="rated"):
    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        assert isinstance(event, Deposited)
        self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount * Rate.now


@pytest.fixture(params=[Rated, RatedTable, Rated()], ids=["class", "tables", "object"])
def rated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(Rate, "now", 1)
    return request.param


async def test_applies_every_event_once_from_the_first_on(store_url: str, rated: type[RatedTable]) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store, page=3) as registry:
        await registry.register("mine", rated)
        await deposit(store, "A", 1, 2, 3, 4)
        await registry.caught_up()
        Rate.now = 10
        seen: list[tuple[int, int]] = []

        await registry.rebuild("mine", lambda position, total: seen.append((position, total)))

        assert await balances(registry, "mine") == {"A": 100}
        assert seen == [(3, 4), (4, 4)]
        await deposit(store, "A", 5)
        await registry.caught_up()
        assert await balances(registry, "mine") == {"A": 150}


async def test_all_are_rebuilt_one_after_the_other(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rate, "now", 1)
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("one", Rated)
        await registry.register("two", RatedTable)
        await deposit(store, "A", 1)
        await registry.caught_up()
        Rate.now = 2
        seen: list[tuple[str, int, int]] = []

        await registry.rebuild_all(lambda name, position, total: seen.append((name, position, total)))

        assert [await balances(registry, name) for name in ("one", "two")] == [{"A": 2}, {"A": 2}]
        assert seen == [("one", 1, 1), ("two", 1, 1)]


async def test_the_old_one_is_served_and_kept_up_to_date_meanwhile(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store, page=2) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", 1, 1, 1, 1, 1)
        await registry.caught_up()
        shown: list[dict[str, int]] = []

        async with anyio.create_task_group() as group:
            half = anyio.Event()

            async def look() -> None:
                await half.wait()
                await deposit(store, "A", 1)
                await registry.caught_up()
                shown.append(await balances(registry, "mine"))

            group.start_soon(look)
            await registry.rebuild("mine", lambda position, total: half.set())
        await registry.caught_up()

        assert shown == [{"A": 6}]
        assert await balances(registry, "mine") == {"A": 6}


async def test_readers_see_whole_states_that_only_grow_while_writers_append(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    """Each write deposits the same on two accounts, so any other state is a torn one."""
    async with EventStore(store_url) as store, ProjectionRegistry(store, page=7) as registry:
        await registry.register("mine", kind)
        is_over = False

        async def write() -> None:
            for _ in range(25):
                await store.append_many(
                    [(name, [Deposited(account=name, amount=1)], None) for name in ("A", "B")],
                )

        async def read() -> None:
            seen: list[int] = []
            while not is_over:
                if kind is BalancesTable:
                    found = await balances(registry, "mine")
                    # A page may end between two events of one write.
                    assert abs(found.get("A", 0) - found.get("B", 0)) <= 1
                    seen.append(found.get("A", 0))
                else:
                    seen.append(registry.get("mine", Balances).by_account.get("A", 0))
                    await checkpoint()
            assert seen == sorted(seen)

        async with anyio.create_task_group() as readers:
            for _ in range(2):
                readers.start_soon(read)
            async with anyio.create_task_group() as writers:
                for _ in range(4):
                    writers.start_soon(write)
                for _ in range(4):
                    await registry.rebuild("mine")
            await registry.caught_up()
            is_over = True

        assert await balances(registry, "mine") == {"A": 100, "B": 100}


async def test_one_reader_never_sees_it_go_back(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store, page=5) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", *[1] * 40)
        await registry.caught_up()
        seen: list[int] = []

        async with anyio.create_task_group() as group:

            async def read() -> None:
                while True:
                    seen.append((await balances(registry, "mine"))["A"])
                    await checkpoint()

            group.start_soon(read)
            for _ in range(5):
                await registry.rebuild("mine")
                await deposit(store, "A", 1)
                await registry.caught_up()
            group.cancel_scope.cancel()

        assert seen == sorted(seen)
        assert seen[0] == 40
        assert await balances(registry, "mine") == {"A": 45}


async def test_an_event_that_fails_leaves_the_old_one_as_it_was(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", 1, 13)
        await registry.caught_up()
        Trap.amount = 13

        with pytest.raises(ProjectionFailed) as failure:
            await registry.rebuild("mine")

        Trap.amount = None
        await deposit(store, "A", 1)
        await registry.caught_up()
        assert failure.value.position == 2
        assert await balances(registry, "mine") == {"A": 15}
        assert (await registry.get_metadata("mine")).state is ProjectionState.LIVE


async def test_one_that_had_failed_goes_on_after_it(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        Trap.amount = 13
        await deposit(store, "A", 1, 13)
        with pytest.raises(ProjectionFailed):
            await registry.caught_up()
        Trap.amount = None

        await registry.rebuild("mine")
        await deposit(store, "A", 1)
        await registry.caught_up()

        assert await balances(registry, "mine") == {"A": 15}


async def test_says_that_it_is_being_rebuilt(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store, page=1) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", 1, 1, 1)
        await registry.caught_up()
        assert (await registry.get_metadata("mine")).rebuilding is False

        async with anyio.create_task_group() as group:
            begun = anyio.Event()
            group.start_soon(registry.rebuild, "mine", lambda position, total: begun.set())
            await begun.wait()

            assert (await registry.get_metadata("mine")).rebuilding is True
            with pytest.raises(ProjectionRefused, match="^The projection 'mine' is being rebuilt already"):
                await registry.rebuild("mine")

        assert (await registry.get_metadata("mine")).rebuilding is False


async def test_needs_no_registry_that_is_started(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register("mine", kind)
        await deposit(store, "A", 1)

        await registry.rebuild("mine")

        found = await registry.get_metadata("mine")
        assert await balances(registry, "mine") == {"A": 1}
        assert (found.position, found.state) == (1, ProjectionState.STOPPED)


async def test_cancelled_it_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/store.db", tmp_path / "store.db.projections"
    async with EventStore(url) as store, ProjectionRegistry(store, page=1) as registry:
        await registry.register("mine", BalancesTable)
        await deposit(store, "A", 1, 1, 1)
        await registry.caught_up()
        with anyio.CancelScope() as scope:

            def half(position: int, total: int) -> None:
                if position == 2:
                    assert (folder / "mine.new").exists()
                    scope.cancel()

            await registry.rebuild("mine", half)

        assert scope.cancelled_caught
        assert not (folder / "mine.new").exists()
        assert await balances(registry, "mine") == {"A": 3}
        await registry.rebuild("mine")
        assert await balances(registry, "mine") == {"A": 3}


async def test_the_remains_of_one_that_died_are_cleared_away(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/store.db", tmp_path / "store.db.projections"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "mine.new")) as sql:
        sql.execute("CREATE TABLE balances (half)")

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", BalancesTable)
        await deposit(store, "A", 1)
        await registry.rebuild("mine")

        assert await balances(registry, "mine") == {"A": 1}
    assert sorted(os.listdir(folder)) == ["mine.db", "mine.lock", "mine.new.lock"]


async def test_two_processes_do_not_rebuild_the_same_at_once(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/store.db", tmp_path / "store.db.projections"
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", BalancesTable)
        await deposit(store, "A", 1)
        await registry.caught_up()
        with open(folder / "mine.new.lock", "w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)

            with pytest.raises(StoreInUse) as refusal:
                await registry.rebuild("mine")

            assert str(refusal.value) == (
                "The projection 'mine' is being rebuilt by somebody else already. Wait for the end of that."
            )
            assert [stored.rebuilding for stored in await store.backend.list_tables()] == [True]
        assert [stored.rebuilding for stored in await store.backend.list_tables()] == [False]
        await registry.rebuild("mine")


async def test_what_an_object_held_when_it_was_registered_is_not_in_its_successor(store_url: str) -> None:
    filled = Balances()
    filled.by_account["Z"] = 9
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", filled)
        await deposit(store, "A", 1)
        await registry.caught_up()
        before = registry.get("mine", Balances)
        assert before is filled

        await registry.rebuild("mine")

        after = registry.get("mine", Balances)
        assert after is not before
        assert before.by_account == after.by_account == {"A": 1}


async def test_ends_though_others_append_faster_than_it_reads(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store:
        async with ProjectionRegistry(store, page=1) as registry:
            await registry.register("mine", kind)
            await deposit(store, "A", 1, 1, 1)
            await registry.caught_up()

            async with anyio.create_task_group() as group:

                async def append() -> None:
                    while True:
                        await deposit(store, "A", *[1] * 5)
                        await checkpoint()

                group.start_soon(append)
                await registry.rebuild("mine")
                group.cancel_scope.cancel()

        position = (await registry.get_metadata("mine")).position
        assert await balances(registry, "mine") == {"A": position}
