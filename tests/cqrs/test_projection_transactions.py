"""What a projection does in its transaction, and what SQLite makes of that: nothing of a page is lost without a word."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import ClassVar

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
    StoreUnavailable,
    Transaction,
)
from allframe.events import sqlite_transaction
from tests.cqrs.accounts import ADD, SCHEMA, BalancesTable, Deposited, balances, deposit

pytestmark = pytest.mark.anyio

NAME = "balances_table"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def _tables(path: Path) -> Path:
    return Path(f"{path}.projections") / f"{NAME}.db"


# --- statements


class RollingBack(BalancesTable, name=NAME):
    """It catches what a statement raises that took the whole transaction back."""

    statement: ClassVar[str]
    schema = (
        SCHEMA
        + """;
        CREATE TABLE strict (account TEXT UNIQUE ON CONFLICT ROLLBACK);
        CREATE TABLE watched (account TEXT);
        CREATE TRIGGER refuse BEFORE INSERT ON watched WHEN NEW.account = 'B' BEGIN
            SELECT RAISE(ROLLBACK, 'no B');
        END; -- the end;
        ;
    """
    )

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        super().apply(event, recorded, tx)
        assert isinstance(event, Deposited)
        with suppress(sqlite3.Error):
            tx.execute(self.statement, (event.account,))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR ROLLBACK INTO balances SELECT ?, 1 WHERE (SELECT count(*) FROM balances) = 2",
        "INSERT INTO strict SELECT CASE WHEN ? IN ('A', 'B') THEN 'AB' END",
        "INSERT INTO watched VALUES (?)",
    ],
    ids=["or_rollback", "on_conflict_rollback", "raise_rollback"],
)
async def test_a_statement_that_takes_all_back_stops_it_and_loses_nothing(
    url: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RollingBack, "statement", statement, raising=False)
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await deposit(store, "B", 2)
        await deposit(store, "C", 4)
        await registry.register(RollingBack)

        with pytest.raises(ProjectionFailed, match="rolled the whole transaction back") as caught:
            await registry.caught_up()

        assert caught.value.position == 2
        assert "Take OR ROLLBACK, ON CONFLICT ROLLBACK or RAISE(ROLLBACK, ...) out of its SQL" in str(caught.value)
        assert await balances(registry, NAME) == {"A": 1}


async def test_trouble_of_the_machine_is_no_fault_of_an_event_also_if_it_is_caught(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full takes the place of a table that is missing: both are errors of a statement to SQLite."""

    class Careless(BalancesTable, name=NAME):
        schema = SCHEMA + "; CREATE TABLE full (x)"

        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            assert isinstance(event, Deposited)
            with suppress(Exception):
                tx.execute("INSERT INTO nowhere VALUES (1)" if disk_is_full else "SELECT 1")
                tx.execute(ADD, (event.account, event.amount))

    disk_is_full = True
    monkeypatch.setattr(
        sqlite_transaction,
        "_code",
        lambda error: sqlite3.SQLITE_FULL if "nowhere" in str(error) else error.sqlite_errorcode & 0xFF,
    )
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1, 2)
        await registry.register(Careless)
        with pytest.raises(TimeoutError):
            await registry.caught_up(timeout=0.2)
        found = await registry.get_metadata(NAME)
        assert (found.state, found.position) == (ProjectionState.CATCHING_UP, 0)
        assert found.updated_at is None or found.lag == 2
        assert found.error is not None

        disk_is_full = False
        await registry.caught_up()

        assert await balances(registry, NAME) == {"A": 3}


async def test_a_transaction_is_over_when_apply_has_returned(url: str) -> None:
    kept: list[Transaction] = []

    class Keeping(BalancesTable, name=NAME):
        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            super().apply(event, recorded, tx)
            kept.append(tx)

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await registry.register(Keeping)
        await registry.caught_up()

        with pytest.raises(ProjectionRefused, match="This transaction is over"):
            kept[0].execute("DELETE FROM balances")
        with pytest.raises(ProjectionRefused, match="This transaction is over"):
            kept[0].executemany("DELETE FROM balances", [()])
        assert await balances(registry, NAME) == {"A": 1}


# --- files


async def test_tables_that_are_deleted_under_it_are_made_anew(url: str, path: Path) -> None:
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(BalancesTable)
        await deposit(store, "A", 1)
        await registry.caught_up()
        assert await balances(registry, NAME) == {"A": 1}
        shutil.rmtree(_tables(path).parent)

        await deposit(store, "A", 2)
        await registry.caught_up(2)

        assert await balances(registry, NAME) == {"A": 3}
        with closing(sqlite3.connect(_tables(path))) as sql:
            assert sql.execute("SELECT amount FROM balances").fetchall() == [(3,)]


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to have a header" * 90, b"short"])
async def test_tables_that_are_no_tables_stop_only_themselves(url: str, path: Path, content: bytes) -> None:
    class Other(BalancesTable, name="other"):
        pass

    _tables(path).parent.mkdir()
    _tables(path).write_bytes(content)

    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 1)
        await registry.register(BalancesTable)
        await registry.register(Other)
        await registry.caught_up(name="other")
        with pytest.raises(ProjectionFailed, match="delete it and what lies beside it .*, and it is made anew"):
            await registry.caught_up()
        assert _tables(path).read_bytes() == content
        listed = {each.name: each for each in await store.backend.list_tables()}
        assert listed["other"].error is None
        assert "cannot be used as the tables of a projection" in (listed[NAME].error or "")

        _tables(path).unlink()
        await registry.resume(NAME)
        await registry.caught_up()
        assert await balances(registry, NAME) == {"A": 1}


async def test_trying_again_leaves_no_file_open(url: str, path: Path) -> None:
    async with EventStore(url) as store:
        await deposit(store, "A", 1)
        tables = store.backend.tables(NAME)
        _tables(path).mkdir(parents=True)  # what SQLite cannot open
        before = len(os.listdir("/proc/self/fd"))

        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await tables.open(SCHEMA, "digest")

        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before
        await tables.close()


async def test_who_waits_for_tables_that_another_process_keeps_can_be_stopped(url: str) -> None:
    async with EventStore(url) as store:
        first, second = store.backend.tables(NAME), store.backend.tables(NAME)
        for each in (first, second):
            await each.open(SCHEMA, "digest")
        release = await first.hold()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.hold)
            for _ in range(5):
                await checkpoint()
            tasks.cancel_scope.cancel()

        release()
        (await second.hold())()
        await first.close()
        await second.close()


async def test_who_cannot_write_in_time_is_told_why(url: str) -> None:
    async with EventStore(f"{url}?busy_timeout=0.05") as store:
        first, second = store.backend.tables(NAME), store.backend.tables(NAME)
        for each in (first, second):
            await each.open(SCHEMA, "digest")
        release = await first.hold()

        with pytest.raises(StoreUnavailable, match=r"is being written by another process, for more than 0\.05 s"):
            await second.transaction(lambda tx, stored: None)

        release()
        assert (await second.transaction(lambda tx, stored: None)).mark.position == 0
        await first.close()
        await second.close()


async def test_who_waits_hears_that_the_store_was_closed(url: str) -> None:
    async with EventStore(url) as store:
        async with ProjectionRegistry(store) as registry:
            await registry.register(BalancesTable)
            with pytest.raises(StoreUnavailable, match="was closed"):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(store.close)
                    with anyio.fail_after(5):
                        try:
                            await registry.caught_up(7)
                        except StoreUnavailable as error:
                            tasks.cancel_scope.cancel()
                            closed = error
                raise closed
