"""One file has one owner: in this process, in others, after a death and after a fork."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from allframe.errors import StoreInUse
from allframe.events.backend import Commit
from allframe.events.sqlite import SqliteBackend
from allframe.testing.backend_rows import write
from tests.events import outside

pytestmark = pytest.mark.anyio


async def test_a_second_opener_in_this_process_hears_where_the_first_one_is(tmp_path: Path) -> None:
    first = SqliteBackend(tmp_path / "store.db")
    await first.open()
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")

    for path in (tmp_path / "store.db", tmp_path / "link.db"):
        with pytest.raises(StoreInUse) as caught:
            await SqliteBackend(path).open()
        assert "is open already in this process, opened at " in str(caught.value)
        assert f"{__file__}:" in caught.value.owner
        assert "hand that EventStore around" in str(caught.value)

    assert await first.commit(Commit((write("a"),))) == (1,)
    await first.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.db", "store.db", "store.db.lock"]


async def test_a_second_process_hears_who_the_first_one_is(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"

        with pytest.raises(StoreInUse) as caught:
            await SqliteBackend(path).open()

        assert caught.value.owner.startswith(f"process {owner.pid} on {os.uname().nodename} since 20")
        assert f"{path} is in use by process {owner.pid} on" in str(caught.value)
        assert "Stop that process first, or open the store with ?mode=ro to look at it." in str(caught.value)
        assert json.loads((tmp_path / "store.db.lock").read_text())["pid"] == owner.pid

        outside.say(owner, "close")
        assert outside.hear(owner) == "closed"
    backend = SqliteBackend(path)
    await backend.open()
    assert len(await backend.read_all()) == 1
    await backend.close()


async def test_a_killed_owner_owns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"
        owner.kill()
        owner.wait()

        backend = SqliteBackend(path)
        await backend.open()

        assert await backend.commit(Commit((write("a", expected=1),))) == (2,)
        await backend.close()


async def test_a_lock_file_whose_owner_cannot_be_read_still_locks(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"
        (tmp_path / "store.db.lock").write_text("")

        with pytest.raises(StoreInUse, match="is in use by another process") as caught:
            await SqliteBackend(path).open()

        assert caught.value.owner == "another process"


async def test_a_lock_file_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "store.db.lock").symlink_to(tmp_path / "precious")

    with pytest.raises(Exception, match=r"its lock file .* cannot be written"):
        await SqliteBackend(tmp_path / "store.db").open()

    assert (tmp_path / "precious").read_text() == "text"


async def test_a_claim_that_somebody_took_over_writes_nothing(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "store.db")
    await backend.open()
    await backend.claim("here")
    with closing(sqlite3.connect(tmp_path / "store.db")) as thief:
        thief.execute("UPDATE owner SET epoch = 7")
        thief.commit()

    with pytest.raises(StoreInUse, match=r"this process opened it as number 1, and somebody else as number 7\."):
        await backend.commit(Commit((write("a"),)))

    assert await backend.read_all() == []
    await backend.release()
    with closing(sqlite3.connect(tmp_path / "store.db")) as thief:
        assert thief.execute("SELECT epoch, clean FROM owner").fetchone() == (7, 0)
    await backend.close()


# In a process of its own, and with the event loop in another thread than the fork: a child that inherits a running loop
# shares its epoll descriptor with the parent, whatever the store does.
FORKING = """
import asyncio, gc, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forking beside threads

path, end = sys.argv[1:]
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def do(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

def open_files():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(link) for link in links if os.path.islink(link) and path in os.readlink(link))

async def child():
    for use in (lambda: backend.commit(write("a")), backend.read_all, lambda: backend.claim("x"), backend.open):
        try:
            await use()
        except StoreUnavailable as error:
            assert "Open a store of its own in the child, after the fork" in str(error), error
        else:
            raise AssertionError("it was used")
    await backend.close()
    try:
        await SqliteBackend(path).open()
    except StoreInUse as error:
        assert f"process {os.getppid()} on" in error.owner, error.owner
    else:
        raise AssertionError("it was opened")

backend = SqliteBackend(path)
do(backend.open())
do(backend.commit(write("a")))
looker = SqliteBackend(path, readonly=True)
do(looker.open())
do(looker.read_all())
do(backend.read_all())
pid = os.fork()
if not pid:
    if end == "die":
        signal.pause()
    anyio.run(child)
    held = open_files()
    del backend, looker
    gc.collect()
    assert open_files() == held, "a connection that belongs to the parent was closed"
    # And it ends like any program: collecting what it inherited must neither hang nor touch the parent's files.
    sys.exit(0)
say("child", pid)
do(backend.commit(write("a")))
if end == "die":
    os.kill(os.getpid(), signal.SIGKILL)
_, status = os.waitpid(pid, 0)
say("child ended", status, os.path.exists(path + "-wal"))
do(backend.commit(write("a", expected=2)))
say("rows", len(do(backend.read_all())))
do(looker.close())
do(backend.close())
"""


def test_a_forked_child_must_open_its_own_and_leaves_its_parent_alone(tmp_path: Path) -> None:
    printed = outside.run(FORKING, tmp_path / "store.db", "live").splitlines()

    assert printed[1:] == ["child ended 0 True", "rows 3"]


async def test_a_forked_child_does_not_keep_a_dead_parents_lock(tmp_path: Path) -> None:
    with outside.running(FORKING, tmp_path / "store.db", "die") as parent:
        _, pid = outside.hear(parent).split()
        parent.wait()
        try:
            backend = SqliteBackend(tmp_path / "store.db")
            await backend.open()
            assert len(await backend.read_all()) == 2
            await backend.close()
        finally:
            os.kill(int(pid), signal.SIGKILL)
