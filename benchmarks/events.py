"""How many events a second: appended, replayed and loaded by allframe, by `eventsourcing`, and by bare SQLite.

    python benchmarks/events.py [--rounds N] [--seconds N] [--folder DIR] [--only TEXT] [--json FILE]

All write to SQLite in WAL mode with ``synchronous=FULL``, read back from each; every result is checked. `eventsourcing`
is used as its documentation shows it, with its JSON transcoder and without snapshots and cache; its appenders at once are
threads, ours are tasks. *Bare* is one ``sqlite3`` connection and the very tables of allframe: ``BEGIN``, ``INSERT``,
``COMMIT``, and no look at what stands there; when reading, ``SELECT`` and ``json.loads``.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count, cycle
from pathlib import Path
from typing import Any

from measuring import Contest, Contestant, Turn, arguments, as_json, measure, peer, report

from allframe import Aggregate, Event, EventStore, Repository

PACKAGES = ["allframe", "eventsourcing", "pydantic", "anyio"]
#: WAL, FULL.
DURABLE = ("wal", 2)
#: What is read: so many events, in streams of 10 and of 100.
REPLAYED = 20_000
LOADED = 50
AT_ONCE = 16

Enter = Callable[[Path], AbstractAsyncContextManager[Turn]]


class Credited(Event, name="benchmark.credited"):
    """What is appended."""

    reference: str
    amount: int


class Account(Aggregate, name="benchmark.account"):
    """What is loaded."""

    balance: int = 0

    def apply(self, event: Event) -> None:
        assert isinstance(event, Credited)
        self.balance += event.amount


# --- allframe --------------------------------------------------------------------------------------------------------


def credited(first: int, many: int) -> list[Event]:
    return [Credited(reference=f"transfer-{number}", amount=number) for number in range(first, first + many)]


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EventStore]:
    async with EventStore(f"sqlite:///{folder}/events.db") as store:
        backend: Any = store.backend
        check_durable(backend._writer.connection)
        yield store


def appending(many: int, at_once: int = 1) -> Enter:
    """Appends ``many`` events at a time, each of ``at_once`` tasks to a stream of its own."""

    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        async with opened(folder) as store:
            known = dict.fromkeys((f"account-{number}" for number in range(at_once)), 0)

            async def append(stream: str, end: float) -> int:
                version = before = known[stream]
                while time.perf_counter() < end:
                    events = credited(version, many)
                    version = await store.append(stream, events, expected_version=version)
                known[stream] = version
                return version - before

            async def turn(seconds: float) -> int:
                end = time.perf_counter() + seconds
                if at_once == 1:
                    return await append("account-0", end)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(append(stream, end)) for stream in known]
                return sum(task.result() for task in tasks)

            yield turn
            for stream, version in known.items():
                assert await store.get_events(stream) == credited(0, version)

    return enter


@asynccontextmanager
async def replaying(folder: Path) -> AsyncIterator[Turn]:
    """Reads all events, as instances of their class."""
    async with opened(folder) as store:
        for number in range(REPLAYED // 100):
            await store.append(f"account-{number}", credited(0, 100))

        async def turn(seconds: float) -> int:
            end, total = time.perf_counter() + seconds, 0
            while time.perf_counter() < end:
                done = amount = 0
                async for recorded in store.read_all():
                    event = recorded.event
                    assert isinstance(event, Credited)
                    amount += event.amount
                    done += 1
                check_replayed(done, amount)
                total += done
            return total

        yield turn


def loading_aggregate(many: int) -> Enter:
    """Loads an account of ``many`` events by its repository."""

    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        async with opened(folder) as store:
            accounts = Repository(store, Account)
            for number in range(LOADED):
                await store.append(f"account-{number}", credited(0, many))
            ids = cycle(str(number) for number in range(LOADED))

            async def turn(seconds: float) -> int:
                end, done = time.perf_counter() + seconds, 0
                while time.perf_counter() < end:
                    assert (await accounts.load(next(ids))).balance == sum(range(many))
                    done += 1
                return done

            yield turn

    return enter


def loading(many: int) -> Enter:
    """Loads an account of ``many`` events."""

    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        async with opened(folder) as store:
            for number in range(LOADED):
                await store.append(f"account-{number}", credited(0, many))
            streams = cycle(f"account-{number}" for number in range(LOADED))

            async def turn(seconds: float) -> int:
                end, done = time.perf_counter() + seconds, 0
                while time.perf_counter() < end:
                    balance = 0
                    for event in await store.get_events(next(streams)):
                        assert isinstance(event, Credited)
                        balance += event.amount
                    assert balance == sum(range(many))
                    done += 1
                return done

            yield turn

    return enter


# --- eventsourcing ---------------------------------------------------------------------------------------------------


def application(folder: Path) -> tuple[Any, Any]:
    """An application of `eventsourcing` on a file in ``folder``, and the class of its aggregates.

    Raises:
        Skipped: if it is not installed.
    """
    peer("eventsourcing")
    from eventsourcing.application import Application

    app: Any = Application(env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/events.db"})
    with app.factory.datastore.get_connection(commit=True) as connection:
        check_durable(connection._sqlite_conn)
    return app, _account()


def _account() -> Any:
    from eventsourcing.domain import Aggregate, event

    global PeerAccount
    if "PeerAccount" not in globals():

        class PeerAccount(Aggregate):
            # Its topic is its name in this module: that is where it is looked up when it is read.
            __qualname__ = "PeerAccount"

            @event("Opened")
            def __init__(self) -> None:
                self.balance = 0

            @event("Credited")
            def credit(self, reference: str, amount: int) -> None:
                self.balance += amount

    return PeerAccount


def peer_appending(many: int, at_once: int = 1) -> Enter:
    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        app, account = application(folder)
        accounts = [account() for _ in range(at_once)]
        for each in accounts:
            app.save(each)

        def append(account: Any, end: float) -> int:
            before = account.version
            while time.perf_counter() < end:
                number = account.version - 1
                for amount in range(number, number + many):
                    account.credit(f"transfer-{amount}", amount)
                app.save(account)
            return int(account.version - before)

        with ThreadPoolExecutor(at_once) as threads:

            async def turn(seconds: float) -> int:
                end = time.perf_counter() + seconds
                if at_once == 1:
                    return append(accounts[0], end)
                return sum(threads.map(append, accounts, [end] * at_once))

            yield turn
        for each in accounts:
            assert app.repository.get(each.id).balance == sum(range(each.version - 1))
        app.close()

    return enter


@asynccontextmanager
async def peer_replaying(folder: Path) -> AsyncIterator[Turn]:
    app, account = application(folder)
    for _ in range(REPLAYED // 100):
        saved = account()
        for amount in range(100):
            saved.credit(f"transfer-{amount}", amount)
        app.save(saved)

    async def turn(seconds: float) -> int:
        end, total = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            done = amount = position = 0
            while page := app.recorder.select_notifications(start=position + 1, limit=1000):
                for notification in page:
                    event = app.mapper.to_domain_event(notification)
                    amount += getattr(event, "amount", 0)
                position = page[-1].id
                done += len(page)
            check_replayed(done - REPLAYED // 100, amount)  # without those of the opening
            total += done
        return total

    yield turn
    app.close()


def peer_loading(many: int) -> Enter:
    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        app, account = application(folder)
        ids = []
        for _ in range(LOADED):
            saved = account()
            for amount in range(1, many):  # its opening is an event, too
                saved.credit(f"transfer-{amount}", amount)
            app.save(saved)
            ids.append(saved.id)
        following = cycle(ids)

        async def turn(seconds: float) -> int:
            end, done = time.perf_counter() + seconds, 0
            while time.perf_counter() < end:
                assert app.repository.get(next(following)).balance == sum(range(many))
                done += 1
            return done

        yield turn
        app.close()

    return enter


# --- bare ------------------------------------------------------------------------------------------------------------

_INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT position, stream, revision, id, type, schema_version, data, recorded_at, metadata FROM events "


@asynccontextmanager
async def bare(folder: Path) -> AsyncIterator[sqlite3.Connection]:
    """A connection to the tables of an empty store of ours."""
    path = f"{folder}/events.db"
    async with EventStore(f"sqlite:///{path}"):
        pass
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    check_durable(connection)
    try:
        yield connection
    finally:
        connection.close()


def bare_rows(stream: str, position: int, revision: int, many: int) -> Iterable[tuple[object, ...]]:
    for number in range(many):
        data = f'{{"reference":"transfer-{revision + number}","amount":{revision + number}}}'
        place = position + number + 1, stream, revision + number + 1
        yield *place, os.urandom(16), "benchmark.credited", 1, data, time.time_ns() // 1000, None


def bare_insert(connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")


def bare_appending(many: int) -> Enter:
    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        async with bare(folder) as connection:
            numbers = count(step=many)

            async def turn(seconds: float) -> int:
                end, done = time.perf_counter() + seconds, 0
                while time.perf_counter() < end:
                    last = next(numbers)
                    bare_insert(connection, bare_rows("account-0", last, last, many))
                    done += many
                return done

            yield turn
            (found,) = connection.execute("SELECT count(*) FROM events").fetchone()
            assert found == next(numbers)

    return enter


@asynccontextmanager
async def bare_replaying(folder: Path) -> AsyncIterator[Turn]:
    async with bare(folder) as connection:
        for number in range(REPLAYED // 100):
            bare_insert(connection, bare_rows(f"account-{number}", number * 100, 0, 100))

        async def turn(seconds: float) -> int:
            end, total = time.perf_counter() + seconds, 0
            while time.perf_counter() < end:
                done = amount = 0
                for row in connection.execute(_SELECT + "ORDER BY position"):
                    amount += json.loads(row[6])["amount"]
                    done += 1
                check_replayed(done, amount)
                total += done
            return total

        yield turn


def bare_loading(many: int) -> Enter:
    @asynccontextmanager
    async def enter(folder: Path) -> AsyncIterator[Turn]:
        async with bare(folder) as connection:
            for number in range(LOADED):
                bare_insert(connection, bare_rows(f"account-{number}", number * many, 0, many))
            streams = cycle(f"account-{number}" for number in range(LOADED))

            async def turn(seconds: float) -> int:
                end, done = time.perf_counter() + seconds, 0
                while time.perf_counter() < end:
                    rows = connection.execute(_SELECT + "WHERE stream = ? ORDER BY revision", (next(streams),))
                    assert sum(json.loads(row[6])["amount"] for row in rows.fetchall()) == sum(range(many))
                    done += 1
                return done

            yield turn

    return enter


# --- checks ----------------------------------------------------------------------------------------------------------


def check_durable(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == DURABLE, (mode, synchronous)


def check_replayed(events: int, amount: int) -> None:
    assert events == REPLAYED, events
    assert amount == REPLAYED // 100 * sum(range(100)), amount


# --- memory ----------------------------------------------------------------------------------------------------------


async def growth(folder: Path, events: int) -> float:
    """MiB by which the process grows while it reads ``events`` events, one after the other."""
    async with opened(folder) as store:
        for number in range(events // 1000):
            await store.append(f"account-{number}", credited(0, 1000))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read = 0
        async for recorded in store.read_all():
            assert isinstance(recorded.event, Credited)
            read += 1
        assert read == events
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


# --- the whole -------------------------------------------------------------------------------------------------------


def contests() -> list[Contest]:
    def contest(what: str, ours: Enter, theirs: Enter, limit: Enter | None, unit: str = "events/s") -> Contest:
        three = [("allframe", ours), ("eventsourcing", theirs), ("bare", limit)]
        return Contest(what, [Contestant(who, enter) for who, enter in three if enter is not None], unit)

    return [
        contest("append 1 event", appending(1), peer_appending(1), bare_appending(1)),
        contest(f"append 1 event, {AT_ONCE} at once", appending(1, AT_ONCE), peer_appending(1, AT_ONCE), None),
        contest("append 10 events", appending(10), peer_appending(10), bare_appending(10)),
        contest("append 50 events", appending(50), peer_appending(50), bare_appending(50)),
        contest("replay all", replaying, peer_replaying, bare_replaying),
        contest("load an aggregate of 10", loading_aggregate(10), peer_loading(10), bare_loading(10), "loads/s"),
        contest("load an aggregate of 100", loading_aggregate(100), peer_loading(100), bare_loading(100), "loads/s"),
        contest("load and fold 10 events", loading(10), peer_loading(10), bare_loading(10), "loads/s"),
        contest("load and fold 100 events", loading(100), peer_loading(100), bare_loading(100), "loads/s"),
    ]


def main() -> None:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--memory", type=int, metavar="EVENTS", help="only: the growth while so many events are read")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # of the peers'
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.memory:
            print(f"{asyncio.run(growth(Path(folder), options.memory)):.1f} MiB more for {options.memory:,} events")
            return
        chosen = [contest for contest in contests() if options.only in contest.what]
        for contest in chosen:
            asyncio.run(measure(contest, rounds=options.rounds, seconds=options.seconds, folder=Path(folder)))
    print(report(chosen, PACKAGES, ["SQLite: journal_mode=wal, synchronous=FULL, read back from each"]))
    if options.json:
        options.json.write_text(as_json(chosen, PACKAGES))


if __name__ == "__main__":
    main()
