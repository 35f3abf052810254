"""``allframe projections list`` and ``rebuild``, beside whoever owns the store."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import anyio
import pytest

from allframe import EventStore, ProjectionFailed, ProjectionRegistry
from allframe.events import EncryptionCodec
from tests.cli.shell import Shop
from tests.cqrs.accounts import BalancesTable, Trap, deposit
from tests.events.past import store_past

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
#: The same, after an event was renamed.
UPCAST = (
    MODULE
    + """
from allframe import VersionRegistry, upcasts


@upcasts("accounts.deposited_once", from_version=1, to_type="accounts.deposited", to_version=1)
def call_them_amounts(data: dict[str, object]) -> dict[str, object]:
    return {"account": data["account"], "amount": data["pounds"]}


versions = VersionRegistry([call_them_amounts])
"""
)
KEYS = """
from allframe.events import EncryptionCodec

codec = EncryptionCodec(b"k" * 32)
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


def test_reads_what_the_modules_upcasters_and_the_codec_read(shop: Shop, url: str) -> None:
    (shop.folder / "reports.py").write_text(UPCAST)
    (shop.folder / "keys.py").write_text(KEYS)
    codec = ("--codec", "keys.py:codec")

    async def fill() -> None:
        async with EventStore(url, codec=EncryptionCodec(b"k" * 32)) as store:
            await store_past(store, "account-A", ("accounts.deposited_once", 1, {"account": "A", "pounds": 3}))

    anyio.run(fill)

    assert "--codec MODULE:NAME" in shop.run("projections", "list", *STORE, code=3).stderr
    done = shop.run(*REBUILD, "-m", "reports.py", *codec, "-q")
    listed = shop.run("projections", "list", *STORE, *codec).stdout

    assert done.stdout == "balances_table was rebuilt up to position 1.\n"
    assert "up to date" in listed
    with closing(sqlite3.connect(shop.folder / "bank.db.projections" / "balances_table.db")) as tables:
        assert tables.execute("SELECT * FROM balances").fetchall() == [("A", 6)]


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
