"""Commits on a SQLite file: together, apart, in doubt, on a full disk, and at the moment of death."""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe.errors import ConcurrencyError, StoreUnavailable
from allframe.events.backend import Commit, Row, Write
from allframe.events.sqlite import SqliteBackend
from allframe.testing.backend_rows import row, write
from tests.events import outside

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    yield backend
    await backend.close()


@asynccontextmanager
async def busy_writer(backend: SqliteBackend) -> AsyncIterator[None]:
    """Meanwhile the writing thread does something else, so that what is handed in gathers."""
    gate = threading.Event()
    assert backend._thread is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend._thread.call, gate.wait)
        await anyio.wait_all_tasks_blocked()
        try:
            yield
            await anyio.wait_all_tasks_blocked()
        finally:
            gate.set()


async def transactions(backend: SqliteBackend) -> int:
    return int((await backend.stats()).backend_specific["transactions"])


# --- together


async def test_commits_that_wait_are_written_in_one_transaction(backend: SqliteBackend) -> None:
    async with anyio.create_task_group() as tasks, busy_writer(backend):
        for number in range(100):
            tasks.start_soon(backend.commit, Commit((write(f"s{number}", count=2, expected=0),)))

    assert await transactions(backend) == 1
    assert (await backend.stats()).backend_specific["commits"] == 100
    assert [found.position for found in await backend.read_all()] == list(range(1, 201))


COUNTING = """
async def main():
    backend = SqliteBackend(sys.argv[1])
    await backend.open()
    tasks, commits = map(int, sys.argv[2:])

    async def one(number):
        for version in range(commits):
            await backend.commit(write(f"s{number}", expected=version))

    async with anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(one, number)
    await backend.close()

anyio.run(main)
"""


def fsyncs(folder: Path, tasks: int, commits: int) -> int:
    trace = folder / f"trace-{tasks}-{commits}"
    before = ("strace", "-f", "-qq", "-e", "trace=fdatasync", "-o", str(trace))
    outside.run(COUNTING, folder / f"store-{tasks}-{commits}.db", tasks, commits, before=before)
    return len(re.findall(r"fdatasync\(", trace.read_text()))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed here")
def test_the_price_of_a_disk_is_shared(tmp_path: Path) -> None:
    least = fsyncs(tmp_path, 1, 1)  # the log's first page and what closing costs are in it
    alone = fsyncs(tmp_path, 1, 101)
    together = fsyncs(tmp_path, 50, 10)

    assert alone - least == 100  # one each
    assert together - least < 250  # for 500 commits, even on a machine that is busy


async def test_every_transaction_takes_the_write_lock_before_it_reads(backend: SqliteBackend) -> None:
    seen: list[str] = []
    assert backend._writer is not None
    assert backend._writer.connection is not None
    backend._writer.connection.set_trace_callback(seen.append)

    await backend.claim("here")
    await backend.commit(Commit((write("a"),)))
    await backend.release()

    begun = [statement for statement in seen if statement.startswith("BEGIN")]
    assert begun == ["BEGIN IMMEDIATE"] * 3
    assert seen.count("COMMIT") == 3


async def test_another_program_that_holds_the_lock_is_waited_for(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db", busy_timeout=0.05)
    await backend.open()
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"is locked by another program, for more than 0\.05 s") as caught:
            await backend.commit(Commit((write("a"),)))
        other.execute("ROLLBACK")

    assert not caught.value.in_doubt
    assert "Nothing was written." in str(caught.value)
    assert await backend.commit(Commit((write("a", expected=0),))) == (1,)
    await backend.close()


# --- apart


async def test_a_conflict_fails_alone_in_its_batch(backend: SqliteBackend) -> None:
    await backend.commit(Commit((write("a"),)))
    conflicts: list[ConcurrencyError] = []

    async def collide() -> None:
        try:
            await backend.commit(Commit((write("b"), write("a", expected=0))))
        except ConcurrencyError as error:
            conflicts.append(error)

    async with anyio.create_task_group() as tasks, busy_writer(backend):
        tasks.start_soon(backend.commit, Commit((write("a", expected=1),)))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(collide)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(backend.commit, Commit((write("c", expected=0),)))

    assert [(each.expected, each.actual) for each in conflicts] == [(0, 2)]
    assert await transactions(backend) == 2
    assert [found.stream for found in await backend.read_all()] == ["a", "a", "c"]
    assert await backend.last_position() == 3


async def test_commits_of_one_batch_see_each_other(backend: SqliteBackend) -> None:
    refused: list[int] = []

    async def expect(number: int, version: int) -> None:
        try:
            await backend.commit(Commit((write("a", expected=version),)))
        except ConcurrencyError:
            refused.append(number)

    async with anyio.create_task_group() as tasks, busy_writer(backend):
        for number, version in enumerate((0, 0, 1, 2, 1)):
            tasks.start_soon(expect, number, version)
            await anyio.wait_all_tasks_blocked()

    # In the order in which they were handed in: 0, 1 and 2 follow each other, the second 0 and the second 1 come late.
    assert sorted(refused) == [1, 4]
    assert await transactions(backend) == 1


# --- in doubt


class FailingCommit:
    """A connection whose COMMIT fails once: before it happened, or after."""

    def __init__(self, connection: sqlite3.Connection, *, happens: bool) -> None:
        self._connection = connection
        self._happens = happens

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            if self._happens:
                self._connection.execute(statement)
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def fail_next_commit(backend: SqliteBackend, *, happens: bool) -> None:
    assert backend._writer is not None
    connection = backend._writer.connection
    assert connection is not None
    backend._writer._connection = FailingCommit(connection, happens=happens)  # type: ignore[assignment]


@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("expected", [0, None])
async def test_writing_the_same_rows_again_settles_a_doubt(
    backend: SqliteBackend, happens: bool, expected: int | None
) -> None:
    commit = Commit((write("a", count=2, expected=expected),))
    fail_next_commit(backend, happens=happens)

    with pytest.raises(
        StoreUnavailable, match="It may have been written all the same: write the same rows again"
    ) as caught:
        await backend.commit(commit)
    await backend.commit(Commit((write("b"),)))

    assert caught.value.in_doubt
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert await backend.commit(commit) == (2,)
    assert len(await backend.read_stream("a")) == 2
    assert [found.position for found in await backend.read_all()] == [1, 2, 3]


async def test_every_member_of_a_batch_in_doubt_has_an_error_of_its_own(backend: SqliteBackend) -> None:
    fail_next_commit(backend, happens=True)
    errors: list[StoreUnavailable] = []

    async def doubt(stream: str) -> None:
        try:
            await backend.commit(Commit((write(stream),)))
        except StoreUnavailable as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, busy_writer(backend):
        tasks.start_soon(doubt, "a")
        tasks.start_soon(doubt, "b")

    assert [error.in_doubt for error in errors] == [True, True]
    assert errors[0] is not errors[1]


async def test_a_doubt_lasts_until_it_is_settled(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db", busy_timeout=0.05)
    await backend.open()
    commit, other_commit = Commit((write("a", expected=0),)), Commit((write("b"),))
    fail_next_commit(backend, happens=False)
    with pytest.raises(StoreUnavailable):
        await backend.commit(commit)

    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for again, in_doubt in ((commit, True), (other_commit, False)):
            with pytest.raises(StoreUnavailable) as caught:
                await backend.commit(again)
            assert caught.value.in_doubt == in_doubt
        other.execute("ROLLBACK")

    assert await backend.commit(commit) == (1,)
    await backend.close()


async def test_after_a_failed_commit_the_log_is_emptied_before_anything_is_written(
    tmp_path: Path, backend: SqliteBackend
) -> None:
    await backend.commit(Commit((write("a", count=500),)))
    await backend.read_all()  # while somebody reads, closing a connection does not empty it
    log = tmp_path / "store.db-wal"
    before = log.stat().st_size
    fail_next_commit(backend, happens=False)
    with pytest.raises(StoreUnavailable):
        await backend.commit(Commit((write("a"),)))

    await backend.commit(Commit((write("a"),)))

    assert log.stat().st_size < before
    assert len(await backend.read_all()) == 501


FAILING = """
async def persist(commit):
    for attempt in range(3):
        try:
            return await backend.commit(commit)
        except StoreUnavailable as error:
            say("doubt" if error.in_doubt else "certain")
            if sys.argv[2] == "die":
                os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it never worked again")

async def main():
    global backend
    backend = SqliteBackend(sys.argv[1])
    try:
        await backend.open()
    except StoreUnavailable:
        say("closed")
        await backend.open()
    for number in range(6):
        await persist(Commit((Write("a", (Row(bytes([number]) * 16, "Happened", 1, b"{}", 0),), expected=number),)))
        say("acknowledged")
    await backend.close()

anyio.run(main)
"""


@pytest.mark.parametrize("then", ["live", "die"])
async def test_a_disk_that_fails_once_loses_nothing_and_doubles_nothing(tmp_path: Path, then: str) -> None:
    """Whichever fdatasync fails, and whether the process dies of it or goes on."""
    said: list[str] = []
    for when in range(1, 10, 2):
        path = tmp_path / f"{when}.db"
        done = outside.traced(FAILING, path, then, inject=f"fdatasync:error=EIO:when={when}")
        said += (lines := done.stdout.split())
        acknowledged = lines.count("acknowledged")
        assert then == "die" or acknowledged == 6, done.stderr

        backend = SqliteBackend(path)
        await backend.open()
        found = [each.id for each in await backend.read_stream("a")]
        assert len(found) in (acknowledged, min(acknowledged + 1, 6))
        for number in range(6):
            again = Row(bytes([number]) * 16, "Happened", 1, b"{}", 0)
            assert await backend.commit(Commit((Write("a", (again,), expected=number),))) == (number + 1,)
        assert [each.id for each in await backend.read_all()] == [bytes([number]) * 16 for number in range(6)]
        assert [each.position for each in await backend.read_all()] == [1, 2, 3, 4, 5, 6]
        await backend.close()
    assert "doubt" in said


# --- full


async def test_a_full_store_writes_nothing_and_goes_on_when_it_may_grow(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    backend = SqliteBackend(path, max_page_count=20)
    await backend.open()
    large = [Commit((Write("a", (row(b'"' + b"x" * 10_000 + b'"'),), expected=version),)) for version in range(20)]
    written = 0

    with pytest.raises(StoreUnavailable) as caught:
        for commit in large:
            await backend.commit(commit)
            written += 1

    assert not caught.value.in_doubt
    assert f"{path} is full: it may have 20 pages (max_page_count=20)" in str(caught.value)
    assert "Open it with a larger max_page_count, or with none. Nothing was written." in str(caught.value)
    assert written > 1
    assert len(await backend.read_all()) == written
    await backend.close()

    backend = SqliteBackend(path, max_page_count=1000)
    await backend.open()
    assert await backend.commit(large[written]) == (written + 1,)
    assert [each.position for each in await backend.read_all()] == list(range(1, written + 2))
    await backend.close()


async def test_all_of_a_batch_that_does_not_fit_fail(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db", max_page_count=20)
    await backend.open()
    errors: list[StoreUnavailable] = []

    async def put(stream: str, size: int) -> None:
        try:
            await backend.commit(Commit((Write(stream, (row(b'"' + b"x" * size + b'"'),)),)))
        except StoreUnavailable as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, busy_writer(backend):
        tasks.start_soon(put, "large", 100_000)
        tasks.start_soon(put, "small", 10)

    assert [error.in_doubt for error in errors] == [False, False]
    await put("small", 10)
    assert [(found.position, found.stream) for found in await backend.read_all()] == [(1, "small")]
    await backend.close()


# --- death, cancellation, and loops that end


COMMITTING = """
async def main():
    backend = SqliteBackend(sys.argv[1])
    await backend.open()

    async def one(number):
        for version in range(100_000):
            await backend.commit(write(f"s{number}", expected=version))
            say(number, version + 1)

    async with anyio.create_task_group() as group:
        for number in range(16):
            group.start_soon(one, number)

anyio.run(main)
"""


@pytest.mark.parametrize("acknowledgements", [1, 40, 333])
async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, acknowledgements: int) -> None:
    with outside.running(COMMITTING, tmp_path / "store.db") as process:
        heard = [outside.hear(process) for _ in range(acknowledgements)]
        process.kill()
        assert process.stdout is not None
        heard += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    versions = {int(number): int(version) for number, version in (line.split() for line in heard)}

    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    rows = await backend.read_all(limit=1_000_000)
    for number, version in versions.items():
        # The last one may stand there without its acknowledgement having been heard.
        assert len(await backend.read_stream(f"s{number}")) in (version, version + 1)
    assert [each.position for each in rows] == list(range(1, len(rows) + 1))
    await backend.close()


async def test_cancelled_waiters_leave_the_others_and_their_own_commits_alone(backend: SqliteBackend) -> None:
    versions: list[tuple[int, ...]] = []

    async def patient() -> None:
        versions.append(await backend.commit(Commit((write("a"),))))

    async with anyio.create_task_group() as tasks, busy_writer(backend), anyio.create_task_group() as impatient:
        for _ in range(5):
            impatient.start_soon(backend.commit, Commit((write("a"),)))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(patient)
        await anyio.wait_all_tasks_blocked()
        impatient.cancel_scope.cancel()

    assert versions == [(6,)]
    assert len(await backend.read_stream("a")) == 6


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def run(request: pytest.FixtureRequest) -> Any:
    def run(function: Any) -> Any:
        if request.param == "trio":
            return anyio.run(function, backend="trio")
        return anyio.run(function, backend="asyncio", backend_options={"use_uvloop": request.param == "uvloop"})

    return run


def test_a_loop_that_ends_with_commits_under_way_harms_nobody(tmp_path: Path, run: Any) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    gate = threading.Event()

    async def hand_in_and_go() -> None:
        await backend.open()
        assert backend._thread is not None
        async with anyio.create_task_group() as tasks:
            # Handed in behind the gate; the queue keeps its order.
            tasks.start_soon(backend._thread.write, Commit((write("b"),)))
            await anyio.wait_all_tasks_blocked()
            backend._thread._queue.put(_blocker(gate))
            tasks.start_soon(backend.commit, Commit((write("a"),)))
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    async def go_on() -> tuple[int, ...]:
        versions = await backend.commit(Commit((write("a", expected=1),)))
        await backend.close()
        return versions

    run(hand_in_and_go)
    gate.set()

    assert run(go_on) == (2,)


def _blocker(gate: threading.Event) -> Any:
    class Blocker:
        call = staticmethod(gate.wait)
        loop = type("Ended", (), {"call_soon_threadsafe": staticmethod(_ended)})()
        result = error = None

    return Blocker()


def _ended(*_: object) -> None:
    raise RuntimeError("Event loop is closed")


def test_many_tasks_commit_on_every_loop(tmp_path: Path, run: Any) -> None:
    async def main() -> int:
        backend = SqliteBackend(tmp_path / "store.db")
        await backend.open()

        async def one(number: int) -> None:
            for version in range(10):
                await backend.commit(Commit((write(f"s{number}", expected=version),)))

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(one, number)
        count = await backend.last_position()
        await backend.close()
        return count

    assert run(main) == 300


def test_a_program_that_ends_without_closing_ends(tmp_path: Path) -> None:
    program = """
    async def main():
        backend = SqliteBackend(sys.argv[1])
        await backend.open()
        await backend.commit(write("a"))
        say("written")

    anyio.run(main)
    """

    assert outside.run(program, tmp_path / "store.db") == "written\n"
