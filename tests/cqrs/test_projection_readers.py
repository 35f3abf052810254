"""Readers in other processes, with plain SQLite, while a service projects and the tables are rebuilt and swapped.

Each event deposits 1 into one of seven accounts, so in every whole state the sum of the balances is the position.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import anyio
import pytest

from allframe import EventStore
from tests.cqrs.accounts import deposit
from tests.events.outside import hear, running, say

#: Owns the store, appends to it and follows it, until it is told to end.
SERVICE = """
from allframe import EventStore, ProjectionRegistry
from tests.cqrs.accounts import *

async def main():
    async with EventStore(sys.argv[1]) as store, ProjectionRegistry(store, page=50) as registry:
        await registry.register(BalancesTable)
        await registry.caught_up()
        say("ready")
        async with anyio.create_task_group() as group:
            group.start_soon(append, store)
            await anyio.to_thread.run_sync(hear)
            group.cancel_scope.cancel()
        await registry.caught_up()
        say((await registry.get_metadata("balances_table")).position)

async def append(store):
    while True:
        await deposit(store, "ABCDEFG"[int(time.monotonic() * 1000) % 7], *[1] * 20)
        await anyio.sleep(0.005)

anyio.run(main)
"""

#: Rebuilds beside it, with the store opened to be read only, over and over.
REBUILDER = """
from allframe import EventStore, ProjectionRegistry
from tests.cqrs.accounts import *

async def main():
    async with EventStore(sys.argv[1] + "?mode=ro") as store:
        registry = ProjectionRegistry(store)
        await registry.register(BalancesTable)
        for number in range(int(sys.argv[2])):
            await registry.rebuild("balances_table")
            say(number)

anyio.run(main)
"""

#: Reads in a loop, knowing nothing of allframe; says what it saw when it is told to end.
READER = """
import json, sqlite3, threading

over = []
threading.Thread(target=lambda: over.append(hear()), daemon=True).start()
sql = sqlite3.connect(sys.argv[1])
seen, wrong, last = 0, [], 0
say("reading")
while not over:
    sums = "(SELECT sum(amount) FROM balances), (SELECT count(*) FROM balances)"
    rows = sql.execute(f"SELECT position, {sums}, count FROM allframe_projection, changes").fetchall()
    seen += 1
    if len(rows) != 1:
        wrong.append(f"{len(rows)} rows")
        continue
    ((position, total, accounts, changes),) = rows
    if not (position == total and changes == position - accounts and position >= last):
        wrong.append([position, total, accounts, changes, last])
    last = position
say(json.dumps({"seen": seen, "wrong": wrong[:5], "last": last}))
"""


@pytest.mark.timeout(120)
def test_readers_in_other_processes_see_whole_states_that_never_go_back(tmp_path: Path) -> None:
    url, tables = f"sqlite:///{tmp_path}/store.db", tmp_path / "store.db.projections" / "balances_table.db"
    anyio.run(_fill, f"{url}?durability=process")
    with ExitStack() as stack:
        service = stack.enter_context(running(SERVICE, f"{url}?durability=process"))
        assert hear(service) == "ready"
        readers = [stack.enter_context(running(READER, tables)) for _ in range(2)]
        assert [hear(reader) for reader in readers] == ["reading"] * 2
        rebuilder = stack.enter_context(running(REBUILDER, url, 4))
        assert [hear(rebuilder) for _ in range(4)] == ["0", "1", "2", "3"]
        for process in (*readers, service):
            say(process, "end")
        reports = [json.loads(hear(reader)) for reader in readers]
        position = int(hear(service))

    for report in reports:
        assert report["wrong"] == []
        assert report["seen"] > 20
    with closing(sqlite3.connect(tables)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sql.execute(
            "SELECT sum(amount), (SELECT position FROM allframe_projection) FROM balances"
        ).fetchall() == [(position, position)]


async def _fill(url: str) -> None:
    async with EventStore(url) as store:
        for account in "ABCDEFG":
            await deposit(store, account, *[1] * 300)
