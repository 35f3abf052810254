"""How fast projections are rebuilt, and how much memory that takes: balances of accounts, in memory and in tables.

    python benchmarks/projections.py [--events N] [--accounts N] [--folder DIR]

The events are deposits on accounts, appended beforehand. Each row is measured in a process of its own: the rate of the
rebuild, and by how much the process's resident memory was at its peak above what it had before the rebuild began.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from allframe import Event, EventStore, Projection, ProjectionRegistry, RecordedEvent, SqlProjection, Transaction

ADD = "INSERT INTO balances VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount"


class Deposited(Event, name="bench.deposited"):
    account: str
    amount: int


class Balances(Projection, name="memory"):
    def __init__(self) -> None:
        self.by_account: dict[str, int] = {}

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        assert isinstance(event, Deposited)
        self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount

    def reset(self) -> None:
        self.by_account.clear()


class BalancesTable(SqlProjection, name="tables"):
    schema = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)"

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert isinstance(event, Deposited)
        tx.execute(ADD, (event.account, event.amount))


async def fill(path: Path, events: int, accounts: int) -> None:
    """A store of so many deposits of 1."""
    async with EventStore(f"sqlite:///{path}?durability=process") as store:
        for start in range(0, events, 1000):
            numbers = range(start, min(start + 1000, events))
            batch = [Deposited(account=f"account-{number % accounts:06}", amount=1) for number in numbers]
            await store.append(f"batch-{start}", batch)


async def rebuild(path: Path, kind: type[Projection] | type[SqlProjection], events: int) -> dict[str, float]:
    async with EventStore(f"sqlite:///{path}?mode=ro") as store:
        registry = ProjectionRegistry(store)
        await registry.register(kind)
        before = resident()
        peak = [before]
        done = threading.Event()
        watching = threading.Thread(target=watch, args=(peak, done))
        watching.start()
        started = time.perf_counter()
        await registry.rebuild(kind.projection_name)
        seconds = time.perf_counter() - started
        done.set()
        watching.join()
        await check(registry, kind, events)
        return {"rate": events / seconds, "seconds": seconds, "growth": (peak[0] - before) / (1 << 20)}


async def check(registry: ProjectionRegistry, kind: type[Projection] | type[SqlProjection], events: int) -> None:
    if kind is Balances:
        total = sum(registry.get("memory", Balances).by_account.values())
    else:
        ((total,),) = await registry.query("tables", "SELECT sum(amount) FROM balances")
    assert total == events, f"expected {events}, found {total}"


def watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.01):
        peak[0] = max(peak[0], resident())


def resident() -> int:
    """Bytes of this process that are in memory now (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


KINDS: dict[str, type[Projection] | type[SqlProjection]] = {"memory": Balances, "tables": BalancesTable}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--measure", choices=KINDS, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(asyncio.run(rebuild(given.folder / "bench.db", KINDS[given.measure], given.events))))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        asyncio.run(fill(folder / "bench.db", given.events, given.accounts))
        print(f"{given.events:,} events on {given.accounts:,} accounts")
        for kind in KINDS:
            found = measure(folder, kind, given.events)
            print(
                f"{kind:8} {found['rate']:10,.0f} events/s  {found['seconds']:7.1f} s  {found['growth']:6.1f} MiB of growth"
            )


def measure(folder: Path, kind: str, events: int) -> dict[str, float]:
    """A row, in a process of its own: what another one left in memory would hide what this one takes."""
    command = [sys.executable, __file__, "--measure", kind, "--folder", str(folder), "--events", str(events)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
