"""What is opened, what is refused, and that what is refused stays as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from allframe.errors import StoreError, StoreFormatError, StoreUnavailable
from allframe.events.backend import Commit, Write
from allframe.events.sqlite import SqliteBackend
from allframe.testing.backend_rows import row, write
from tests.events import outside

pytestmark = pytest.mark.anyio

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


async def refusal(path: Path, *, readonly: bool = False) -> StoreError:
    """The error of opening ``path``, which must leave its folder as it was."""
    before = snapshot(path.parent) if path.parent.is_dir() else {}
    with pytest.raises(StoreError) as caught:
        await SqliteBackend(path, readonly=readonly).open()
    assert (snapshot(path.parent) if path.parent.is_dir() else {}) == before
    return caught.value


async def test_a_new_file_says_what_it_is_and_can_be_read_with_a_shell(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.commit(Commit((write("$saga/1", count=2),)))
    await backend.close()

    with closing(sqlite3.connect(tmp_path / "store.db")) as shell:
        assert shell.execute("PRAGMA application_id").fetchone() == (0x616C6C66,)
        assert shell.execute("PRAGMA user_version").fetchone() == (1,)
        assert shell.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert shell.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert shell.execute("SELECT position, stream, revision, data, data->>'n' FROM events").fetchall() == [
            (1, "$saga/1", 1, '{"n":0}', 0),
            (2, "$saga/1", 2, '{"n":1}', 1),
        ]


async def test_only_its_user_may_read_a_new_file(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.commit(Commit((write("a"),)))

    try:
        files = sorted(tmp_path.iterdir())
        assert [path.name for path in files] == ["store.db", "store.db-shm", "store.db-wal", "store.db.lock"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    finally:
        await backend.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db", "store.db.lock"]


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    backend = SqliteBackend(tmp_path / "store.db")

    await backend.open()

    assert await backend.commit(Commit((write("a"),))) == (1,)
    await backend.close()


@pytest.mark.parametrize(
    "content", [b"x", b"account,amount\nA,100\n" * 100, b"\0" * 5000, b"SQLite format 3\0" + b"\1" * 500]
)
@pytest.mark.parametrize("readonly", [False, True])
async def test_what_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes, readonly: bool) -> None:
    (tmp_path / "accounts.csv").write_bytes(content)

    error = await refusal(tmp_path / "accounts.csv", readonly=readonly)

    assert isinstance(error, StoreFormatError)
    assert str(tmp_path / "accounts.csv") in str(error)
    assert "It was left as it is: name another file." in str(error)


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 1", "user_version = 0"])
async def test_the_database_of_another_program_is_refused_untouched(tmp_path: Path, mode: str, pragma: str) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute(f"PRAGMA {pragma}")
        other.execute("CREATE TABLE events (x)")
        other.commit()

        while_in_use = await refusal(tmp_path / "other.db")
    at_rest = await refusal(tmp_path / "other.db")

    assert isinstance(while_in_use, StoreFormatError)
    assert "is a SQLite database of another program, not an allframe store" in str(at_rest)
    assert str(while_in_use) == str(at_rest)


@pytest.mark.parametrize("readonly", [False, True])
async def test_a_newer_store_is_refused_untouched(tmp_path: Path, readonly: bool) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as newer:
        newer.execute("PRAGMA user_version = 2")

    error = await refusal(tmp_path / "store.db", readonly=readonly)

    assert isinstance(error, StoreFormatError)
    assert "was written by a newer allframe: it has format 2, and this one knows formats up to 1" in str(error)


async def test_a_store_without_its_tables_is_damaged(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.close()
    with closing(sqlite3.connect(tmp_path / "store.db")) as vandal:
        vandal.execute("DROP TABLE heads")

    error = await refusal(tmp_path / "store.db")

    assert isinstance(error, StoreFormatError)
    assert "is damaged: tables of an allframe store are missing" in str(error)


async def test_malformed_pages_are_damage_and_not_an_unavailable_store(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    for _ in range(3):
        await backend.commit(Commit((write("a", count=200),)))
    await backend.close()
    with (tmp_path / "store.db").open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096 * 20)
    reader = SqliteBackend(tmp_path / "store.db", readonly=True)
    await reader.open()

    with pytest.raises(StoreFormatError, match="is damaged: SQLite finds its pages malformed"):
        await reader.read_all()

    await reader.close()


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    error = await refusal(tmp_path / "nowhere" / "store.db")

    assert isinstance(error, StoreUnavailable)
    assert f"there is no folder {tmp_path}/nowhere. Make it first." in str(error)


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "is a folder, not a store. Name a file in it." in str(await refusal(tmp_path))


async def test_a_pipe_is_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StoreFormatError, match="is no regular file"):
        await SqliteBackend(tmp_path / "pipe").open()


@pytest.mark.parametrize("content", [None, b""])
async def test_looking_makes_no_store(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "store.db"
    if content is not None:
        path.write_bytes(content)

    error = await refusal(path, readonly=True)

    assert isinstance(error, StoreUnavailable)
    expected = "it is empty, no store was made of it yet" if content == b"" else "there is no such file"
    assert expected in str(error)


@pytest.mark.parametrize(
    "name", ["a b.db", "50%.db", "100%25.db", "what?.db", "#1.db", "a&b=c;d.db", "ü€.db", ":memory:", "a'b\"c.db"]
)
async def test_odd_paths_work(tmp_path: Path, name: str) -> None:
    owner = SqliteBackend(tmp_path / name)
    await owner.open()
    await owner.commit(Commit((write("a"),)))
    assert len(await owner.read_all()) == 1
    await owner.close()

    reader = SqliteBackend(tmp_path / name, readonly=True)
    await reader.open()
    assert len(await reader.read_all()) == 1
    await reader.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.lock"]


async def test_a_path_that_is_no_unicode_works(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.db")
    owner = SqliteBackend(path)
    await owner.open()

    assert await owner.commit(Commit((write("a"),))) == (1,)

    await owner.close()


async def test_a_store_that_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"is full: it may have 3 pages \(max_page_count=3\)"):
        await SqliteBackend(tmp_path / "store.db", max_page_count=3).open()

    assert [path.name for path in tmp_path.iterdir()] == ["store.db.lock"]


async def test_dying_while_the_store_is_made_leaves_a_place_where_one_can_be_made(tmp_path: Path) -> None:
    """A process is killed in the system calls with which a store is made."""
    for call, when in (("pwrite64", 2), ("pwrite64", 5), ("fdatasync", 2), ("fsync", 1), ("rename", 1), ("fsync", 2)):
        for left in tmp_path.iterdir():
            left.unlink()
        outside.traced(
            "anyio.run(SqliteBackend(sys.argv[1]).open)",
            tmp_path / "store.db",
            inject=f"{call}:signal=SIGKILL:when={when}",
        )

        backend = SqliteBackend(tmp_path / "store.db")
        await backend.open()
        assert await backend.commit(Commit((write("a", expected=0),))) == (1,)
        await backend.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db", "store.db.lock"]


@needs_root
def test_a_folder_that_cannot_be_written_says_so(public_folder: Path) -> None:
    printed = as_nobody(
        public_folder,
        """
        async def main():
            try:
                await SqliteBackend(sys.argv[1]).open()
            except StoreUnavailable as error:
                say(error)

        anyio.run(main)
        """,
    )

    assert "cannot be written (Permission denied)" in printed
    assert "?mode=ro" in printed


@needs_root
def test_a_folder_that_cannot_be_entered_says_so(public_folder: Path) -> None:
    public_folder.chmod(0o700)

    printed = as_nobody(
        public_folder,
        """
        async def main():
            for readonly in (False, True):
                try:
                    await SqliteBackend(sys.argv[1], readonly=readonly).open()
                except StoreUnavailable as error:
                    say(error)

        anyio.run(main)
        """,
    )

    expected = f"{public_folder}/store.db cannot be looked at: Permission denied. See that this user may."
    assert printed.splitlines() == [expected] * 2


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may enter and only its owner may write; pytest closes its own to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(folder: Path, program: str) -> str:
    """What a program prints that runs as a user who owns nothing, and is given the path of a store in ``folder``."""
    # Only after the imports: the interpreter may stand where nobody else can read.
    become = "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    return outside.run(become + dedent(program), folder / "store.db")


@needs_root
async def test_a_store_in_a_folder_that_cannot_be_written_can_be_looked_at(public_folder: Path) -> None:
    backend = SqliteBackend(public_folder / "store.db")
    await backend.open()
    await backend.commit(Commit((write("a", count=3), write("b"))))
    await backend.close()
    (public_folder / "store.db").chmod(0o644)
    before = snapshot(public_folder)

    printed = as_nobody(
        public_folder,
        """
        async def main():
            backend = SqliteBackend(sys.argv[1], readonly=True)
            await backend.open()
            say(len(await backend.read_all()), os.access(os.path.dirname(sys.argv[1]), os.W_OK))
            await backend.close()

        anyio.run(main)
        """,
    )

    assert printed == "4 False\n"
    assert snapshot(public_folder) == before


async def test_what_was_opened_for_looking_refuses_to_write(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.close()
    reader = SqliteBackend(tmp_path / "store.db", readonly=True)
    await reader.open()

    for use in (lambda: reader.commit(Commit((write("a"),))), lambda: reader.claim("here"), reader.release):
        with pytest.raises(StoreUnavailable, match="was opened with mode=ro, to be read only"):
            await use()

    await reader.close()


async def test_durability_is_how_long_a_commit_waits(tmp_path: Path) -> None:
    for durability, level in (("power", 2), ("process", 1)):
        backend = SqliteBackend(tmp_path / f"{durability}.db", durability=durability)  # type: ignore[arg-type]
        await backend.open()
        assert backend._writer is not None
        assert backend._writer.connection is not None
        assert backend._writer.connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert (await backend.stats()).backend_specific["durability"] == durability
        await backend.close()


async def test_a_row_is_not_limited_by_the_page(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db", max_page_count=2000)
    await backend.open()

    await backend.commit(Commit((Write("a", (row(b'"' + b"x" * 100_000 + b'"'),)),)))

    assert len((await backend.read_all())[0].data) == 100_002
    await backend.close()
