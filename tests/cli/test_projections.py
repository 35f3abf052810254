"""``allframe projections list`` and ``rebuild``, beside whoever owns the store."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from allframe import EventStore, ProjectionFailed, ProjectionRegistry
from tests.cli.shell import Shop
from tests.cqrs.accounts import BalancesTable, Trap, deposit

ROOT = str(Path(__file__).parents[2])

MODULE = """
from allframe import Event, Projection, RecordedEvent, SqlProjection, Transaction


class Deposited(Event, name="accounts.deposited"):
    account: str
    amount: int


class Twice(SqlProjection, name="balances_table", version=2):
    schema = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)"

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert isinstance(event, Deposited)
        if event.amount == 99:
            raise ValueError("too much\\x1b[2J")
        tx.execute("INSERT INTO balances VALUES (?, ?)", (event.account, 2 * event.amount))


class Seen(Projection, name="seen"):
    def apply(self, event: Event, recorded: RecordedEvent) -> None: ...

    def reset(self) -> None: ...
"""
STORE = ("--store", "sqlite:///bank.db")
REBUILD = ("projections", "rebuild", "balances_table", *STORE)


@pytest.fixture
def url(shop: Shop) -> str:
    (shop.folder / "reports.py").write_text(MODULE)
    return f"sqlite:///{shop.folder}/bank.db"


def test_lists_what_there_is_without_the_classes(shop: Shop, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trap, "amount", 13)

    async def fill() -> None:
        async with EventStore(url) as store:
            async with ProjectionRegistry(store) as registry:
                await registry.register("good", BalancesTable)
                await registry.register("late", BalancesTable)
                await deposit(store, "A", 1, 2)
                await registry.caught_up()
            async with ProjectionRegistry(store) as registry:
                await registry.register("good", BalancesTable)
                await deposit(store, "A", 3)
                await registry.caught_up()
            async with ProjectionRegistry(store) as registry:
                await registry.register("bad", BalancesTable)
                await deposit(store, "A", 13)
                with pytest.raises(ProjectionFailed):
                    await registry.caught_up()
            # The owner is still here.
            text = await anyio.to_thread.run_sync(lambda: shop.run("projections", "list", *STORE).stdout)
            lines = [line.split() for line in text.splitlines()]
            assert lines[0] == ["NAME", "POSITION", "LAG", "STATE", "UPDATED", "ERROR"]
            assert [line[:4] for line in lines[1:4]] == [
                ["bad", "3", "1", "failed"],
                ["good", "3", "1", "behind"],
                ["late", "2", "2", "behind"],
            ]
            assert "13 is too much for me (at position 4, 'accounts.deposited'" in text
            assert text.endswith("\n3 projections with tables.\n")

    anyio.run(fill)

    found = [json.loads(line) for line in shop.run("projections", "list", *STORE, "--json").stdout.splitlines()]
    assert [(each["name"], each["position"], each["lag"], each["state"]) for each in found] == [
        ("bad", 3, 1, "failed"),
        ("good", 3, 1, "behind"),
        ("late", 2, 2, "behind"),
    ]
    assert found[1].keys() == {"name", "position", "lag", "state", "updated_at", "error"}


def test_a_store_without_projections_has_none(shop: Shop, url: str) -> None:
    async def make() -> None:
        async with EventStore(url):
            pass

    anyio.run(make)

    assert shop.run("projections", "list", *STORE).stdout == "\n0 projections with tables.\n"


def test_rebuilds_beside_the_owner(shop: Shop, url: str) -> None:
    async def beside() -> None:
        async with EventStore(url) as store:
            await deposit(store, "A", 21)
            done = await anyio.to_thread.run_sync(lambda: shop.run(*REBUILD, "-m", "reports.py"))
            assert done.stdout == "balances_table was rebuilt up to position 1.\n"
            assert done.stderr == ""  # no bar: this is no terminal
            found = await store.backend.tables("balances_table").query("SELECT * FROM balances")
            assert found == [("A", 42)]

    anyio.run(beside)

    assert "up to date" in shop.run("projections", "list", *STORE).stdout
    shop.run(*REBUILD, "--module", "reports.py", "--quiet")


def test_says_why_it_cannot(shop: Shop, url: str) -> None:
    async def fill() -> None:
        async with EventStore(url) as store:
            await deposit(store, "A", 99)

    anyio.run(fill)

    failed = shop.run(*REBUILD, "-m", "reports.py", code=1).stderr
    assert (
        "allframe: AF408: The projection 'balances_table' stopped: ValueError: too much\\x1b[2J (at position 1"
        in failed
    )

    unknown = shop.run("projections", "rebuild", "balances", *STORE, "-m", "reports.py", code=2).stderr
    assert unknown == (
        "allframe: reports.py has no projection 'balances'. Did you mean 'balances_table'? Its projections are: "
        "balances_table, seen.\n"
    )
    in_memory = shop.run("projections", "rebuild", "seen", *STORE, "-m", "reports.py", code=2).stderr
    assert "The projection 'seen' is in memory: each process makes its own at its start" in in_memory
    nothing = shop.run("projections", "list", "--store", "memory://", code=2).stderr
    assert "A memory store ends with its process" in nothing


OLD = """
from allframe import Event, EventStore
from allframe.events import ZlibCodec
import anyio, sys


class Deposited(Event, name="old.deposited"):
    account: str
    cents: int


async def main() -> None:
    async with EventStore("sqlite:///old.db", codec=ZlibCodec()) as store:
        await store.append("a", [Deposited(account="A", cents=300)])


anyio.run(main)
"""
TODAY = """
from allframe import Event, RecordedEvent, SqlProjection, Transaction, VersionRegistry, upcasts
from allframe.events import ZlibCodec


class Deposited(Event, name="old.deposited", version=2):
    account: str
    euros: int


@upcasts("old.deposited", from_version=1)
def to_euros(data: dict[str, object]) -> dict[str, object]:
    return {"account": data["account"], "euros": int(str(data["cents"])) // 100}


versions = VersionRegistry([to_euros])
codec = ZlibCodec()


class Euros(SqlProjection, name="euros"):
    schema = "CREATE TABLE euros (account TEXT, amount INTEGER)"

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert isinstance(event, Deposited)
        tx.execute("INSERT INTO euros VALUES (?, ?)", (event.account, event.euros))
"""


def test_reads_the_past_and_what_is_packed_as_the_service_does(shop: Shop) -> None:
    (shop.folder / "old.py").write_text(OLD)
    (shop.folder / "today.py").write_text(TODAY)
    subprocess.run([sys.executable, "old.py"], cwd=shop.folder, env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    store = ("--store", "sqlite:///old.db", "--codec", "today.py:codec")

    done = shop.run("projections", "rebuild", "euros", "-m", "today.py", *store)

    assert (done.stdout, done.stderr) == ("euros was rebuilt up to position 1.\n", "")
    with closing(sqlite3.connect(shop.folder / "old.db.projections" / "euros.db")) as sql:
        assert sql.execute("SELECT * FROM euros").fetchall() == [("A", 3)]
    assert "up to date" in shop.run("projections", "list", *store).stdout


def test_a_damaged_file_is_listed_as_one(shop: Shop, url: str) -> None:
    async def fill() -> None:
        async with EventStore(url) as store, ProjectionRegistry(store) as registry:
            await registry.register("good", BalancesTable)
            await deposit(store, "A", 1)
            await registry.caught_up()

    anyio.run(fill)
    (shop.folder / "bank.db.projections" / "bad.db").write_bytes(b"no database" * 100)

    found = [json.loads(line) for line in shop.run("projections", "list", *STORE, "--json").stdout.splitlines()]

    assert [(each["name"], each["state"]) for each in found] == [("bad", "failed"), ("good", "up to date")]
    assert "bad.db cannot be used as the tables of a projection" in found[0]["error"]


def test_a_schema_that_cannot_be_run_is_told_without_a_traceback(shop: Shop, url: str) -> None:
    test_a_store_without_projections_has_none(shop, url)
    (shop.folder / "typo.py").write_text(MODULE.replace("CREATE TABLE balances", "CREAT TABLE balances"))

    done = shop.run(*REBUILD, "-m", "typo.py", code=4)

    assert (
        "allframe: The schema of 'balances_table' cannot be run: near \"CREAT\": syntax error. Mend it in typo.py."
        in done.stderr
    )
    assert "Traceback" not in done.stderr
