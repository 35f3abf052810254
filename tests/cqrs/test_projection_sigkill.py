"""SIGKILL at any moment of projecting and of rebuilding: nothing is applied twice, nothing is lost, no state is torn.

Every event deposits 1, and every position is such an event: so the sum of the balances is the position, or something was
applied twice or not at all.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from allframe import EventStore, ProjectionRegistry
from tests.cqrs.accounts import BalancesTable, balances, deposit, folded
from tests.events.outside import hear, running

#: Owns the store, appends to it, follows it, and says how far it is.
PROJECT = """
from allframe import EventStore, ProjectionRegistry
from tests.cqrs.accounts import *

async def main():
    async with EventStore(sys.argv[1]) as store, ProjectionRegistry(store, page=20) as registry:
        await registry.register(BalancesTable)
        async with anyio.create_task_group() as group:
            group.start_soon(append, store)
            while True:
                await registry.caught_up(1 + (await registry.get_metadata("balances_table")).position)
                say("at")

async def append(store):
    while True:
        await deposit(store, "ABCDEFG"[int(time.monotonic() * 1000) % 7], *[1] * 10)
        await anyio.sleep(0.02)

anyio.run(main)
"""

#: Does so too, and rebuilds, over and over.
REBUILD = PROJECT.replace(
    """            while True:
                await registry.caught_up(1 + (await registry.get_metadata("balances_table")).position)
                say("at")
""",
    """            while True:
                await registry.rebuild("balances_table", lambda position, total: say("at" if position < total else "swap"))
                say("swapped")
""",
)


@pytest.mark.parametrize("seed", range(2))
def test_projecting_is_killed(tmp_path: Path, seed: int) -> None:
    _rounds(PROJECT, tmp_path, random.Random(seed), rounds=3)


@pytest.mark.parametrize("seed", range(3))
def test_rebuilding_is_killed(tmp_path: Path, seed: int) -> None:
    _rounds(REBUILD, tmp_path, random.Random(seed), rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", [PROJECT, REBUILD], ids=["projecting", "rebuilding"])
@pytest.mark.parametrize("seed", range(4, 10))
def test_it_is_killed_over_and_over(tmp_path: Path, program: str, seed: int) -> None:
    _rounds(program, tmp_path, random.Random(seed), rounds=25)


def _rounds(program: str, folder: Path, chance: random.Random, rounds: int) -> None:
    url = f"sqlite:///{folder}/store.db?durability=process"
    reached = 0
    anyio.run(_fill, url)
    for _ in range(rounds):
        _kill_once(program, url, chance)
        position = _check_file(folder / "store.db.projections" / "balances_table.db")
        assert position >= reached
        reached = position
    assert reached > 0
    anyio.run(_check_after_all, url)
    assert not (folder / "store.db.projections" / "balances_table.new").exists()


def _kill_once(program: str, url: str, chance: random.Random) -> None:
    """Kill it a moment after one of the things that it says."""
    with running(program, url) as process:
        wanted = chance.choice(["at", "swap", "swapped"]) if program is REBUILD else "at"
        for _ in range(chance.randint(1, 4)):
            while (word := hear(process)) != wanted:
                assert word, "it ended by itself"
        try:
            process.wait(chance.uniform(0, 0.02))
        except subprocess.TimeoutExpired:
            process.kill()


def _check_file(path: Path) -> int:
    """What any tool sees right after the death; returns the position."""
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((position,),) = sql.execute("SELECT position FROM allframe_projection").fetchall()
        ((total, accounts),) = sql.execute("SELECT coalesce(sum(amount), 0), count(*) FROM balances").fetchall()
        ((changes,),) = sql.execute("SELECT count FROM changes").fetchall()
    assert total == position
    assert changes == position - accounts  # each event but the first of an account changes a row
    return int(position)


async def _fill(url: str) -> None:
    async with EventStore(url) as store:
        for _ in range(10):
            await deposit(store, "A", *[1] * 50)


async def _check_after_all(url: str) -> None:
    async with EventStore(url) as store, ProjectionRegistry(store) as registry:
        await registry.register(BalancesTable)
        await registry.caught_up()
        expected = folded(await store.get_all_events())

        assert await balances(registry, "balances_table") == expected

        await registry.rebuild("balances_table")
        assert await balances(registry, "balances_table") == expected
