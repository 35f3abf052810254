"""Projections in tables: what lies in their files, and what becomes of them when the world around them changes."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from allframe import (
    Event,
    EventStore,
    ProjectionFailed,
    ProjectionRefused,
    ProjectionRegistry,
    ProjectionState,
    RecordedEvent,
    SqlProjection,
    Transaction,
)
from allframe.cqrs.folding import TablesFold
from allframe.events.feed import Feed
from tests.cqrs.accounts import ADD, SCHEMA, BalancesTable, Deposited, balances, deposit

pytestmark = pytest.mark.anyio

NAME = "balances_table"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def _tables(path: Path, name: str = NAME) -> Path:
    return Path(f"{path}.projections") / f"{name}.db"


async def _catch_up(url: str, *projections: type[SqlProjection]) -> dict[str, int]:
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        for projection in projections:
            await registry.register(NAME, projection)
        await registry.caught_up()
        return await balances(registry, NAME)


class Counting(BalancesTable, name="counting"):
    """It counts how often it was called, in memory."""

    calls = 0

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        Counting.calls += 1
        super().apply(event, recorded, tx)


@pytest.fixture(autouse=True)
def _from_zero() -> None:
    Counting.calls = 0


async def test_goes_on_where_its_tables_stand(url: str) -> None:
    for total in (1, 2, 3):
        async with EventStore(url) as store:
            await deposit(store, "A", 1)

        assert await _catch_up(url, Counting) == {"A": total}
        assert Counting.calls == total


async def test_lies_in_a_file_that_any_tool_reads_and_only_its_user(url: str, path: Path) -> None:
    async with EventStore(url) as store:
        await deposit(store, "A", 1, 2)
    await _catch_up(url, BalancesTable)

    with closing(sqlite3.connect(_tables(path))) as sql:
        assert sql.execute("SELECT * FROM balances").fetchall() == [("A", 3)]
        assert sql.execute("SELECT count FROM changes").fetchall() == [(1,)]
        assert sql.execute("SELECT name, position, error FROM allframe_projection").fetchall() == [(NAME, 2, None)]
    assert _tables(path).stat().st_mode & 0o777 == 0o600
    assert _tables(path).parent.stat().st_mode & 0o777 == 0o700


async def test_is_followed_beside_the_owner_of_the_store_too(url: str) -> None:
    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as other:
        async with ProjectionRegistry(other) as registry:
            await registry.register(BalancesTable)
            await deposit(store, "A", 1)
            await registry.caught_up()

            assert await balances(registry, NAME) == {"A": 1}


async def test_two_that_run_the_same_one_apply_each_event_once(url: str) -> None:
    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as other:
        async with ProjectionRegistry(store, page=3) as first, ProjectionRegistry(other, page=7) as second:
            await first.register(BalancesTable)
            await second.register(BalancesTable)
            for _ in range(40):
                await deposit(store, "A", 1, 1, 1)
            await first.caught_up()
            await second.caught_up()

            assert await balances(first, NAME) == await balances(second, NAME) == {"A": 120}


async def test_a_page_that_another_process_took_in_half_is_taken_in_from_there(url: str) -> None:
    async with EventStore(url) as store:
        await deposit(store, "A", 1, 1, 1, 1)
        first, second = (TablesFold(BalancesTable(), store.backend.tables(NAME)) for _ in range(2))
        half, whole = [await Feed(store.opened, size=size).read(0) for size in (2, 4)]
        assert half is not None
        assert whole is not None
        for fold in (first, second):
            await fold.open(Feed(store.opened))

        await first.take_in(half)
        await second.take_in(whole)

        assert await first.tables.query("SELECT amount FROM balances") == [(4,)]
        assert second.position == 4
        await first.take_in(half)  # it was so already
        assert first.position == 4
        await first.close()
        await second.close()


async def test_another_version_rebuilds_it(url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Second(BalancesTable, name=NAME, version=2):
        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            assert isinstance(event, Deposited)
            tx.execute(ADD, (event.account, 100 * event.amount))

    async with EventStore(url) as store:
        await deposit(store, "A", 1, 2)
    assert await _catch_up(url, BalancesTable) == {"A": 3}

    assert await _catch_up(url, Second) == {"A": 300}

    assert caplog.messages == [
        f"the projection {NAME} is rebuilt: its schema or its version is another than the one that its tables were made with"
    ]


async def test_another_schema_rebuilds_it(url: str, path: Path) -> None:
    class Wider(SqlProjection, name=NAME):
        schema = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL, note TEXT DEFAULT 'new')"

        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            assert isinstance(event, Deposited)
            tx.execute("INSERT INTO balances (account, amount) VALUES (?, ?)", (event.account, event.amount))

    async with EventStore(url) as store:
        await deposit(store, "A", 1)
    await _catch_up(url, BalancesTable)

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Wider)
        await registry.caught_up()

        assert await registry.query(NAME, "SELECT * FROM balances") == [("A", 1, "new")]
        assert await registry.query(NAME, "SELECT name FROM sqlite_schema WHERE name = 'changes'") == []


async def test_a_store_restored_from_a_copy_rebuilds_it(
    url: str, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventStore(url) as store:
        await deposit(store, "A", 1)
    shutil.copy(path, tmp_path / "copy.db")
    async with EventStore(url) as store:
        await deposit(store, "A", 10)
    assert await _catch_up(url, BalancesTable) == {"A": 11}
    shutil.copy(tmp_path / "copy.db", path)

    assert await _catch_up(url, BalancesTable) == {"A": 1}  # it is beyond the end
    async with EventStore(url) as store:
        await deposit(store, "A", 10)
    await _catch_up(url, BalancesTable)
    shutil.copy(tmp_path / "copy.db", path)
    async with EventStore(url) as store:
        await deposit(store, "A", 500)

    assert await _catch_up(url, BalancesTable) == {"A": 501}  # another event is where it stands

    assert len(caplog.messages) == 2
    assert all("they belong to another store, or this one was restored from a copy" in text for text in caplog.messages)


async def test_tables_that_another_program_rebuilt_are_left_alone(url: str) -> None:
    class Second(BalancesTable, name=NAME, version=2):
        pass

    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as other:
        async with ProjectionRegistry(store) as old:
            await old.register(BalancesTable)
            await deposit(store, "A", 1)
            await old.caught_up()
            async with ProjectionRegistry(other) as new:
                await new.register(Second)
                await new.caught_up()
                await deposit(store, "A", 2)

                with pytest.raises(
                    ProjectionFailed, match="were rebuilt by another program, with another schema or version"
                ):
                    await old.caught_up()

                await new.caught_up()
                assert await balances(new, NAME) == {"A": 3}


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "ATTACH 'other.db' AS other",
        "PRAGMA journal_mode = DELETE",
        "UPDATE allframe_projection SET position = 0",
        "DROP TABLE allframe_projection",
        "ALTER TABLE allframe_projection ADD COLUMN mine",
        "CREATE TRIGGER back AFTER UPDATE ON allframe_projection BEGIN SELECT 1; END",
    ],
)
async def test_a_projection_cannot_part_its_tables_from_its_position(url: str, statement: str) -> None:
    class Sly(BalancesTable, name="sly"):
        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            assert isinstance(event, Deposited)
            tx.execute(ADD, (event.account, event.amount))
            if event.amount == 5:
                tx.execute(statement)

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Sly)
        await deposit(store, "A", 1)
        await registry.caught_up()
        await deposit(store, "A", 2, 5)

        with pytest.raises(ProjectionFailed, match="A projection may not begin or end transactions"):
            await registry.caught_up()

        assert await balances(registry, "sly") == {"A": 3}
        assert (await registry.get_metadata("sly")).position == 2


async def test_a_statement_that_fails_can_be_caught_by_the_projection(url: str) -> None:
    class Patient(SqlProjection, name="patient"):
        schema = "CREATE TABLE seen (account TEXT PRIMARY KEY)"

        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            assert isinstance(event, Deposited)
            try:
                tx.execute("INSERT INTO seen VALUES (?)", (event.account,))
            except sqlite3.IntegrityError:
                tx.executemany("INSERT INTO seen VALUES (?)", [(f"{event.account}{event.amount}",)])

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Patient)
        await deposit(store, "A", 1, 2)
        await registry.caught_up()
        await registry.rebuild("patient")

        assert await registry.query("patient", "SELECT * FROM seen ORDER BY 1") == [("A",), ("A2",)]


async def test_a_poison_event_is_noted_beside_the_tables(url: str, path: Path) -> None:
    class Fussy(BalancesTable, name="fussy"):
        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            raise ValueError("no")

    async with EventStore(url) as store:
        async with ProjectionRegistry(store) as registry:
            await registry.register(Fussy)
            await deposit(store, "A", 1)
            with pytest.raises(ProjectionFailed):
                await registry.caught_up()

        (stored,) = await store.backend.list_tables()
        assert stored.error is not None
        assert "no (at position 1, 'accounts.deposited' of the stream 'account-A')" in stored.error

        async with ProjectionRegistry(store) as registry:  # mended, and started again
            await registry.register("fussy", BalancesTable)
            await registry.caught_up()
            assert await balances(registry, "fussy") == {"A": 1}
        (stored,) = await store.backend.list_tables()
        assert stored.error is None


async def test_a_schema_that_cannot_be_run_is_told(url: str, path: Path) -> None:
    class Typo(BalancesTable, name="typo"):
        schema = "CREATE TABLE fine (x); CREAT TABLE balances (x)"

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await registry.register(Typo)

        with pytest.raises(ProjectionFailed, match='sqlite3.OperationalError: near "CREAT": syntax error'):
            await registry.caught_up()

    with closing(sqlite3.connect(_tables(path, "typo"))) as sql:
        assert sql.execute("SELECT name FROM sqlite_schema").fetchall() == []


async def test_a_file_of_another_program_is_left_as_it_is(url: str, path: Path) -> None:
    _tables(path).parent.mkdir()
    with closing(sqlite3.connect(_tables(path))) as sql:
        sql.execute("CREATE TABLE notes (text TEXT)")

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await registry.register(BalancesTable)
        with pytest.raises(
            ProjectionFailed, match="does not hold the tables of a projection, but those of another program"
        ):
            await registry.caught_up()
        assert await store.backend.list_tables() == []

    with closing(sqlite3.connect(_tables(path))) as sql:
        assert sql.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]


async def test_a_folder_that_cannot_be_written_is_waited_for(url: str, path: Path) -> None:
    folder = _tables(path).parent
    folder.write_text("in the way")

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await registry.register(BalancesTable)
        with pytest.raises(TimeoutError):
            await registry.caught_up(timeout=1)
        found = await registry.get_metadata(NAME)
        assert found.state is ProjectionState.CATCHING_UP
        assert found.error is not None
        assert found.error.message.startswith(f"{_tables(path)} cannot be made: ")

        os.unlink(folder)
        await registry.caught_up()

        assert await balances(registry, NAME) == {"A": 1}


async def test_a_query_only_reads(url: str) -> None:
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(BalancesTable)
        await deposit(store, "A", 1)
        await registry.caught_up()

        with pytest.raises(
            ProjectionRefused, match="A query only reads the tables of a projection, and this one would"
        ):
            await registry.query(NAME, "DELETE FROM balances")
        await registry.query(NAME, "BEGIN")  # nonsense, but it must not leave the reader behind in the past
        await deposit(store, "A", 1)
        await registry.caught_up()
        assert await registry.query(NAME, "SELECT amount FROM balances") == [(2,)]
        assert await registry.query(NAME, "SELECT amount FROM balances WHERE account = :a", {"a": "A"}) == [(2,)]


async def test_what_is_left_cancelled_is_finished_or_taken_back_whole(url: str) -> None:
    begun = anyio.Event()

    class Halting(BalancesTable, name=NAME):
        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            super().apply(event, recorded, tx)
            anyio.from_thread.run_sync(begun.set)

    async with EventStore(url) as store:
        async with ProjectionRegistry(store) as registry:
            await registry.register(Halting)
            await deposit(store, "A", *[1] * 50)
            await begun.wait()

    assert await _catch_up(url, BalancesTable) == {"A": 50}


def test_the_schema_of_the_tests_has_a_trigger() -> None:
    assert SCHEMA.count(";") > 4
