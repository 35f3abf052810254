"""Readers beside an owner: they see what is committed, all of it, and nothing else."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from allframe.errors import StoreUnavailable
from allframe.events import sqlite_read
from allframe.events.backend import Commit, HeadQuery
from allframe.events.sqlite import SqliteBackend
from allframe.testing.backend_rows import head, put_heads, write
from tests.events import outside

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    yield backend
    await backend.close()


async def test_a_reader_sees_each_commit_of_an_owner_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"
        reader = SqliteBackend(path, readonly=True)
        await reader.open()

        seen = [len(await reader.read_all())]
        for _ in range(5):
            outside.say(owner)
            assert outside.hear(owner) == "written"
            seen.append(len(await reader.read_all()))

        assert seen == [1, 2, 3, 4, 5, 6]
        outside.say(owner, "close")
        assert outside.hear(owner) == "closed"
        assert len(await reader.read_all()) == 6
        await reader.close()


async def test_a_reader_that_came_first_sees_the_owner_who_comes_later(tmp_path: Path, backend: SqliteBackend) -> None:
    await backend.commit(Commit((write("a"),)))
    await backend.close()
    reader = SqliteBackend(tmp_path / "store.db", readonly=True)
    await reader.open()
    assert len(await reader.read_all()) == 1

    for round_ in range(2, 4):
        await backend.open()
        await backend.commit(Commit((write("a"),)))
        if round_ == 2:
            await backend.close()
        assert len(await reader.read_all()) == round_

    await reader.close()


async def test_a_reader_sees_what_a_killed_owner_committed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"
        owner.kill()
        owner.wait()
    reader = SqliteBackend(path, readonly=True)
    await reader.open()

    assert len(await reader.read_all()) == 1

    await reader.close()


async def test_looking_leaves_nothing_behind(tmp_path: Path, backend: SqliteBackend) -> None:
    await backend.commit(Commit((write("a"),)))
    await backend.close()
    reader = SqliteBackend(tmp_path / "store.db", readonly=True)
    await reader.open()
    await reader.read_all()
    await reader.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db", "store.db.lock"]


async def test_what_is_not_committed_is_not_seen(backend: SqliteBackend) -> None:
    await backend.commit(Commit((write("a"),)))
    assert backend._writer is not None
    connection = backend._writer.connection
    assert connection is not None
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO events SELECT 2, stream, 2, id, type, 1, data, 0, NULL FROM events")

    assert len(await backend.read_all()) == 1

    connection.execute("ROLLBACK")


async def test_readers_in_other_processes_never_meet_a_lock(tmp_path: Path, backend: SqliteBackend) -> None:
    await backend.commit(Commit((write("a", expected=0),)))
    program = """
    async def main():
        backend = SqliteBackend(sys.argv[1], readonly=True, busy_timeout=0)
        await backend.open()
        seen = 0
        while seen < 300:
            rows = await backend.read_all(limit=10_000)
            assert [row.position for row in rows] == list(range(1, len(rows) + 1))
            assert len(rows) >= seen
            seen = len(rows)
        await backend.close()

    anyio.run(main)
    """

    async with anyio.create_task_group() as readers:
        for _ in range(3):
            readers.start_soon(to_thread.run_sync, outside.run, program, tmp_path / "store.db")
        for version in range(1, 300):
            await backend.commit(Commit((write("a", expected=version),)))


@pytest.mark.parametrize(
    "anyio_backend", ["asyncio", "trio"]
)  # in real time: a virtual clock would wait for the reader
async def test_a_read_that_waits_while_the_store_is_closed_is_answered(
    backend: SqliteBackend,
) -> None:
    await backend.commit(Commit((write("a", expected=0),)))
    go_on = threading.Event()
    found: list[str] = []

    async def read() -> None:
        found.extend(row.stream for row in await backend.read_all())

    assert backend._reading is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend._reading.call, go_on.wait)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(backend.close)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable, match="is not open"):
            await backend.read_all()
        go_on.set()

    assert found == ["a"]


async def test_listing_what_is_open_reads_no_more_than_that(backend: SqliteBackend) -> None:
    """SQLite uses the small index only for the very words that the index was made with."""
    await put_heads(backend, head("a"))
    plans: list[str] = []

    def explain(statement: str) -> None:
        if statement.lstrip().startswith("SELECT stream"):
            plans.append(statement)

    for query in (HeadQuery("saga", statuses=("executing", "blocked"), epoch_before=7),):
        reader = sqlite_read.SqliteReader(backend._file)
        reader.read(lambda connection: connection.set_trace_callback(explain))
        reader.read(sqlite_read.list_heads(query, "0", 500))
        (found,) = plans
        detail = reader.read(lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {plans[0]}").fetchall())
        reader.close()
        assert any("USING INDEX heads_open" in step[-1] for step in detail), (found, detail)


async def test_listing_the_newest_follows_an_index(backend: SqliteBackend) -> None:
    statements: list[str] = []
    reader = sqlite_read.SqliteReader(backend._file)
    reader.read(lambda connection: connection.set_trace_callback(statements.append))
    reader.read(sqlite_read.newest_heads(HeadQuery("saga"), "x", 100))

    detail = reader.read(lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {statements[-1]}").fetchall())

    reader.close()
    plan = " / ".join(step[-1] for step in detail)
    assert "USING INDEX heads_newest" in plan
    # Only those of one moment are sorted, each by one look into the index of its stream.
    assert re.search(r"TEMP B-TREE FOR (LAST 2 TERMS|RIGHT PART) OF ORDER BY", plan)
    assert "SCAN" not in plan
    assert "SEARCH events USING COVERING INDEX" in plan


async def test_reading_is_beyond_the_power_of_the_reading_connection_to_write(backend: SqliteBackend) -> None:
    reader = sqlite_read.SqliteReader(backend._file)

    def vandalise(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM events")

    with pytest.raises(StoreUnavailable):
        reader.read(vandalise)
    reader.close()


async def test_looking_for_what_is_rare_holds_up_no_other_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_read, "SPAN", 10)
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    for stream in ("rare-1", "$saga/x", "common-1", "rare-2"):
        await backend.commit(Commit((write(stream, count=1 if stream.startswith("rare") else 200),)))
    order: list[str] = []

    async def look(category: str | None) -> None:
        rows = await backend.read_all(category=category, limit=201)
        order.append(f"{category}: {len(rows)} up to {rows[-1].position}")

    async def read() -> None:
        await backend.read_stream("rare-1")
        order.append("another")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, "rare")
        tasks.start_soon(look, None)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(read)

    assert order[0] == "another"
    assert sorted(order[1:]) == ["None: 201 up to 401", "rare: 2 up to 402"]
    assert await backend.read_all(category="rare", limit=1) == await backend.read_stream("rare-1")
    assert await backend.read_all(after=401, category="rare") == await backend.read_stream("rare-2")
    assert await backend.read_all(after=402) == []
    assert await backend.read_all(limit=0) == []
    await backend.close()
