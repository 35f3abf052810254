"""A fork while projections are open: the child can neither use nor harm what belongs to its parent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.events.outside import run

PROGRAM = """
import atexit, gc
from allframe import EventStore, ProjectionRegistry
from tests.cqrs.accounts import *

async def child(registry):
    try:
        await registry.query("balances_table", "SELECT 1")
    except StoreUnavailable as error:
        say("query:", error)
    tables = registry._runners["balances_table"].fold.tables
    try:
        await tables.transaction(lambda tx, stored: None)
    except StoreUnavailable as error:
        say("write:", error)
    await tables.close()

def fork(registry):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    anyio.run(child, registry)
    registry._runners.clear()
    gc.collect()
    atexit._run_exitfuncs()
    os._exit(0)

async def main():
    async with EventStore(sys.argv[1]) as store, ProjectionRegistry(store) as registry:
        await registry.register(BalancesTable)
        await deposit(store, "A", 1)
        await registry.caught_up()
        await registry.query("balances_table", "SELECT 1")
        await anyio.to_thread.run_sync(fork, registry)
        await deposit(store, "A", 2)
        await registry.caught_up()
        say(await registry.query("balances_table", "SELECT amount FROM balances"))
        await registry.rebuild("balances_table")
        say(await registry.query("balances_table", "PRAGMA integrity_check"))

anyio.run(main)
"""


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_forked_child_leaves_the_tables_alone(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else "memory://"

    told = run(PROGRAM, url).splitlines()

    assert told[0].startswith("query: ")
    assert "cannot be carried over a fork. Open a store and its projections in the child" in told[0]
    assert told[1].startswith("write: ")
    assert "cannot be carried over a fork" in told[1]
    assert told[2:] == ["[(3,)]", "[('ok',)]"]


def test_a_child_that_outlives_its_parent_keeps_nobody_from_the_tables(tmp_path: Path) -> None:
    program = """
    from allframe import EventStore, ProjectionRegistry
    from tests.cqrs.accounts import *

    async def main():
        async with EventStore(sys.argv[1]) as store:
            tables = store.backend.tables("balances_table")
            await tables.open("CREATE TABLE t (x)", "digest")
            await tables.hold()
            pid = os.fork()
            if pid:
                say(pid)
                os._exit(0)  # dies, holding them
            os.close(1), os.close(2)
            time.sleep(30)
            os._exit(0)

    anyio.run(main)
    """
    url = f"sqlite:///{tmp_path}/store.db"
    child = int(run(program, url))
    try:
        told = run(
            """
            from allframe import EventStore

            async def main():
                async with EventStore(sys.argv[1] + "?busy_timeout=1") as store:
                    tables = store.backend.tables("balances_table")
                    await tables.open("CREATE TABLE t (x)", "digest")
                    await tables.transaction(lambda tx, stored: None)
                    await tables.close()
                    say("written")

            anyio.run(main)
            """,
            url,
        )
    finally:
        os.kill(child, signal.SIGKILL)
    assert told == "written\n"
