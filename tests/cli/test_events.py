"""``allframe events tail``, ``read`` and ``stats`` show what is stored, without any class, beside whoever writes it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing

import anyio

from allframe.events import Event, EventStore
from tests.cli.shell import Shop, end, wait_until

STORE = ("--store", "sqlite:///sagas.db")


class Happened(Event, name="cli.happened"):
    text: str


def fill(shop: Shop, *streams: str, text: str = "x") -> None:
    async def append() -> None:
        async with EventStore(f"sqlite:///{shop.folder}/sagas.db") as store:
            for stream in streams:
                await store.append(stream, [Happened(text=text)], metadata={"by": "ada"})

    anyio.run(append)


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def positions(text: str) -> list[int]:
    return [json.loads(line)["position"] for line in text.splitlines()]


def test_reads_one_stream_as_it_is_stored(shop: Shop) -> None:
    fill(shop, "account-1", "order-1", "account-1", text="\x1b[2J\nend")

    text = shop.run("events", "read", "account-1", *STORE).stdout
    rows = shop.run("events", "read", "account-1", *STORE, "--json", "--after", "1").stdout

    assert [line.split()[2:6] for line in text.splitlines()] == [
        ["1", "account-1@1", "cli.happened", "v1"],
        ["3", "account-1@2", "cli.happened", "v1"],
    ]
    assert r"\u001b[2J\nend" in text
    assert "\x1b" not in text + rows
    (row,) = [json.loads(line) for line in rows.splitlines()]
    assert (row["position"], row["stream"], row["revision"], row["category"]) == (3, "account-1", 2, "account")
    assert (row["type"], row["schema_version"]) == ("cli.happened", 1)
    assert (row["data"], row["metadata"]) == ({"text": "\x1b[2J\nend"}, {"by": "ada"})
    assert row.keys() >= {"id", "recorded_at"}


def test_control_characters_of_names_are_escaped(shop: Shop) -> None:
    fill(shop, "evil\x1b[2J-1")

    assert r"evil\x1b[2J-1@1" in shop.run("events", "read", "--all", *STORE).stdout
    assert r"evil\u001b[2J-1" in shop.run("events", "read", "--all", *STORE, "--json").stdout


def test_reads_all_streams_and_chooses(shop: Shop) -> None:
    shop.run("run", "shop.py:Order", '{"$id": "a", "item": "tea"}', *STORE)
    fill(shop, "account-1", "order-1", "account-2")
    everything = positions(shop.run("events", "read", "--all", "--system", *STORE, "--json").stdout)
    first = everything[-3]

    def read(*options: str) -> list[int]:
        return positions(shop.run("events", "read", *STORE, "--json", *options).stdout)

    assert everything == list(range(1, first + 3))
    assert first > 1
    assert read("--all") == [first, first + 1, first + 2]
    assert read("--category", "account") == [first, first + 2]
    assert read("--all", "--category", "account", "--limit", "1") == [first]
    assert read("--all", "--after", str(first)) == [first + 1, first + 2]
    assert len(read("--category", "$saga", "--system")) > 2
    assert read("--category", "nothing") == []


def test_says_what_it_needs(shop: Shop) -> None:
    fill(shop, "account-1")

    def said(*arguments: str, code: int = 2) -> str:
        return shop.run("events", *arguments, code=code).stderr

    assert "Which stream? Name STREAM, or read --all" in said("read", *STORE)
    assert "Give one or the other" in said("read", "account-1", "--all", *STORE)
    assert "The store holds no stream 'account-2'. allframe events read --all" in said("read", "account-2", *STORE)
    assert "'account-1' is no category" in said("read", "--category", "account-1", *STORE)
    assert "ask for them with --system" in said("tail", "--category", "$saga", *STORE)
    assert "Which store?" in said("stats")
    assert "nothing to look at" in said("tail", "--store", "memory://")
    assert "there is no such file" in said("stats", "--store", "sqlite:///nothing.db", code=3)
    assert shop.run("events", "read", "account-1", "--after", "7", *STORE).stdout == ""


def test_stats_count_what_is_there(shop: Shop) -> None:
    shop.run("run", "shop.py:Order", '{"$id": "a", "item": "tea"}', *STORE)
    fill(shop, "account-1", "account-1", "account-2")

    found = json.loads(shop.run("events", "stats", *STORE, "--json").stdout)
    text = shop.run("events", "stats", *STORE).stdout

    assert found["total_events"] - found["system_events"] == 3
    assert found["total_streams"] - found["system_streams"] == 2
    assert found["total_snapshots"] == 0
    assert found["backend_specific"]["path"].endswith("sagas.db")
    assert f"total events     {found['total_events']}" in text


def test_stats_of_a_damaged_store_are_an_error(shop: Shop) -> None:
    fill(shop, "account-1")
    with closing(sqlite3.connect(shop.folder / "sagas.db")) as shell:
        shell.execute("ALTER TABLE events RENAME COLUMN revision TO lost")

    assert "SQLite could not read" in shop.run("events", "stats", *STORE, code=3).stderr


def test_tails_the_last_ones_and_then_what_another_process_writes(shop: Shop) -> None:
    fill(shop, *[f"account-{number}" for number in range(12)])
    tail = shop.start("events", "tail", *STORE, "--json")
    with tail:
        before = lines(tail, 10)
        fill(shop, "order-1")
        after = lines(tail, 1)
        code, _, errors = end(tail, signal.SIGINT)

    assert positions("\n".join([*before, *after])) == list(range(3, 14))
    assert code == 130
    assert "Traceback" not in errors


def test_tails_from_a_position_and_of_a_category(shop: Shop) -> None:
    fill(shop, "account-1", *["order-1"] * 1200, "account-2", "order-2")
    chosen = shop.start("events", "tail", *STORE, "--category", "account", "--last", "2", "--json")
    with chosen:
        assert positions("\n".join(lines(chosen, 2))) == [1, 1202]
        chosen.kill()
    late = shop.start("events", "tail", *STORE, "--after", "1201", "--system", "--json")
    with late:
        assert positions("\n".join(lines(late, 2))) == [1202, 1203]
        late.kill()


def test_tails_beside_a_running_owner(shop: Shop) -> None:
    owner = shop.start("run", "shop.py:Order", '{"$id": "a", "item": "tea", "wait": 20}', *STORE)
    with owner:
        wait_until(owner, lambda: "reserve a" in shop.book)
        tail = shop.start("events", "tail", *STORE, "--after", "0", "--system")
        with tail:
            assert any("$saga/a@1  $saga.started v1" in line for line in lines(tail, 2))
            tail.kill()
        owner.kill()
