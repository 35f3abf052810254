"""``allframe run`` runs a saga for every line, once, and says how each ended."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.shell import Shop, environment, wait_until

RUN = ("run", "shop.py:Order")
STORE = ("--store", "sqlite:///sagas.db")


def test_runs_every_line_and_again_does_nothing_twice(shop: Shop) -> None:
    file = shop.orders({"$id": "a", "item": "tea"}, {"item": "salt"}, {"item": "salt"})

    first = shop.run(*RUN, file, *STORE)
    book = shop.book
    second = shop.run(*RUN, file, *STORE)

    assert "3 sagas in" in first.stdout
    assert first.stdout.rstrip().endswith(": 3 completed.")
    assert sorted(line.split()[0] for line in book) == ["pay"] * 3 + ["reserve"] * 3 + ["reserved"] * 3
    assert len({line for line in book if line.startswith("pay")}) == 3, "equal lines are sagas of their own"
    assert shop.book == book
    assert second.stdout.rstrip().endswith(": 3 completed.")


def test_takes_an_object_and_standard_input(shop: Shop) -> None:
    shop.run(*RUN, '{"$id": "a", "item": "tea"}', *STORE)
    shop.run("run", "shop:Order", "-", *STORE, given='{"$id": "b", "item": "tea"}\n')

    assert [line for line in shop.book if line.startswith("pay")] == ["pay a", "pay b"]


def test_tells_what_did_not_complete(shop: Shop) -> None:
    file = shop.orders({"$id": "a", "item": "tea"}, {"$id": "b", "item": "gold"}, {"$id": "c", "item": "glue"})

    done = shop.run(*RUN, file, *STORE, code=1)

    rows = {line.split()[1]: line.split()[:3] for line in done.stdout.splitlines() if line.strip()[:1].isdigit()}
    assert rows["b"] == ["2", "b", "compensated"]
    assert rows["c"] == ["3", "c", "failed"]
    assert "too dear\\x1b[2J" in done.stdout, "data cannot clear the screen"
    assert done.stdout.rstrip().endswith(": 1 compensated, 1 completed, 1 failed.")
    assert "release b" in shop.book


def test_json_is_an_object_a_line_as_they_end(shop: Shop) -> None:
    file = shop.orders({"$id": "slow", "item": "tea", "wait": 0.5}, {"$id": "b", "item": "gold"}, "{")

    done = shop.run(*RUN, file, *STORE, "--json", code=1)

    bad, refused, slow = map(json.loads, done.stdout.splitlines())
    assert bad["line"] == 3
    assert bad["status"] is None
    assert bad["error"]["message"].startswith("it is no JSON")
    assert (refused["line"], refused["id"], refused["status"]) == (2, "b", "compensated")
    assert refused["error"]["message"] == "too dear\x1b[2J"
    assert slow == {
        "line": 1,
        "id": "slow",
        "status": "completed",
        "outputs": {"reserve": "shelf 3", "pay": None},
        "error": None,
    }
    assert "1 unusable line" in done.stderr


def test_a_dry_run_writes_nothing(shop: Shop) -> None:
    file = shop.orders({"$id": "a", "item": "tea"}, {"item": "salt"})

    done = shop.run(*RUN, file, "--dry-run")

    assert "1  a " in done.stdout
    assert "2  order-" in done.stdout
    assert done.stdout.endswith("2 sagas of order would run. Nothing was written.\n")
    assert shop.files == {"shop.py", "orders.jsonl"}


def test_new_ids_run_everything_anew(shop: Shop) -> None:
    file = shop.orders({"item": "tea"})

    for _ in range(2):
        shop.run(*RUN, file, *STORE, "--new-ids")

    assert len([line for line in shop.book if line.startswith("pay")]) == 2


def test_an_id_that_belongs_to_another_input_is_told_and_the_others_run(shop: Shop) -> None:
    shop.run(*RUN, '{"$id": "a", "item": "tea"}', *STORE)

    done = shop.run(*RUN, shop.orders({"$id": "a", "item": "salt"}, {"$id": "b", "item": "tea"}), *STORE, code=1)

    assert "1 completed, 1 not started." in done.stdout
    assert "pay b" in shop.book


def test_the_store_may_come_from_the_environment(shop: Shop) -> None:
    shop.run(*RUN, '{"item": "tea"}', env={"ALLFRAME_STORE": "sqlite:///there.db"})

    assert "there.db" in shop.files


def test_goes_on_with_what_an_earlier_run_left(shop: Shop) -> None:
    process = shop.start(*RUN, shop.orders({"$id": "left", "item": "tea", "wait": 0.7}), *STORE)
    with process:
        wait_until(process, lambda: "reserve left" in shop.book)
        process.kill()

    done = shop.run(*RUN, '{"$id": "other", "item": "tea"}', *STORE)

    assert done.stdout.endswith("1 completed.\nResumed from earlier runs: 1 completed.\n")
    assert shop.book.count("reserve left") == 2, "the attempt that was cut is made again"
    assert shop.book.count("pay left") == 1


def test_a_reader_that_leaves_early_is_no_trouble(shop: Shop) -> None:
    shop.orders(*({"item": "tea"} for _ in range(300)))
    command = f"{sys.executable} -m allframe run shop.py:Order orders.jsonl --dry-run | head -1"

    done = subprocess.run(
        command, shell=True, cwd=shop.folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.split() == ["LINE", "ID", "INPUT"]
    assert done.stderr == ""


def test_provides_from_elsewhere(shop: Shop) -> None:
    (shop.folder / "ours.py").write_text(
        "from contextlib import asynccontextmanager\nfrom shop import Book\n\n"
        "class Loud(Book):\n    def write(self, line): super().write(line.upper())\n\n"
        "@asynccontextmanager\nasync def books():\n"
        "    Loud().write('open')\n    yield {Book: Loud()}\n    Loud().write('closed')\n"
    )

    shop.run(*RUN, '{"$id": "a", "item": "tea"}', *STORE, "--provide", "ours:books")

    assert shop.book == ["OPEN", "RESERVE A", "RESERVED A", "PAY A", "CLOSED"]


def test_a_reader_that_has_had_enough_ends_it_without_a_traceback(shop: Shop) -> None:
    file = shop.orders(*({"item": f"tea {number}"} for number in range(60)))

    process = shop.start(*RUN, file, *STORE, "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()

    assert process.wait(30) == 1
    assert "Traceback" not in said


CONTAINER = """
from collections.abc import AsyncIterator

import dishka

import shop


class Books(dishka.Provider):
    ctx = dishka.from_context(provides=shop.StepContext, scope=dishka.Scope.REQUEST)

    @dishka.provide(scope=dishka.Scope.APP)
    async def library(self) -> AsyncIterator[list]:
        book = shop.Book()
        yield [book]
        book.write("library closed")

    @dishka.provide(scope=dishka.Scope.REQUEST)
    async def book(self, library: list, ctx: shop.StepContext) -> AsyncIterator[shop.Book]:
        yield library[0]
        library[0].write(f"{ctx.step} closed")


async def provide():
    return dishka.make_async_container(Books())
"""


def test_a_container_makes_what_each_attempt_needs_and_is_closed_at_the_end(shop: Shop) -> None:
    (shop.folder / "library.py").write_text(CONTAINER)

    shop.run("run", "shop:Order", '{"$id": "a", "item": "tea"}', *STORE, "--provide", "library:provide")

    assert shop.book == [
        *("reserve a", "reserved a", "reserve closed"),
        *("pay a", "pay closed"),
        "library closed",
    ]
