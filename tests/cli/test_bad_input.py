"""Whatever is wrong with what a command is given: one clear message, the right exit code, nothing half done."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.cli.shell import Shop, environment, wait_until

RUN = ("run", "shop.py:Order")
STORE = ("--store", "sqlite:///sagas.db")
TEA = '{"$id": "a", "item": "tea"}'


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The only line of standard error."""
    (line,) = done.stderr.splitlines()
    return line


def test_a_bad_line_is_told_with_its_number_and_the_others_run(shop: Shop) -> None:
    lines: list[str] = [f'{{"$id": "o-{number}", "item": "tea"}}' for number in range(1, 21)]
    lines[16] = '{"item": "tea"'
    lines[18] = '{"item": ["tea"]}'

    done = shop.run(*RUN, shop.orders(*lines), *STORE, code=1)

    assert done.stderr.splitlines() == [
        "orders.jsonl, line 17: it is no JSON: Expecting ',' delimiter at column 15.",
        "orders.jsonl, line 19: item: Input should be a valid string, found ['tea'].",
    ]
    assert done.stdout.rstrip().endswith(": 18 completed, 2 unusable lines.")
    assert len([line for line in shop.book if line.startswith("pay")]) == 18


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*RUN, "order.jsonl", *STORE), 2, "allframe: There is no file order.jsonl. Did you mean orders.jsonl?"),
        ((*RUN, "", *STORE), 2, "allframe: INPUT is empty. It is a JSON object, a .json or .jsonl file, or -"),
        (("run", "shop.py:Ordr", TEA, *STORE), 2, "allframe: shop.py has no saga 'Ordr'. Did you mean shop.py:Order?"),
        (("run", "shp.py:Order", TEA, *STORE), 2, "allframe: There is no file shp.py. Did you mean shop.py?"),
        ((*RUN, TEA), 2, "allframe: Which store? Give --store URL"),
        ((*RUN, TEA, *STORE, "--provide", "shop:nothing"), 2, "allframe: --provide: shop has no 'nothing'."),
        ((*RUN, TEA, "--store", "mysql://x"), 3, "allframe: AF403: allframe has no store of the kind 'mysql'."),
        ((*RUN, TEA, "--store", "sagas.db"), 3, "allframe: AF403: This is no URL of a store."),
        ((*RUN, TEA, "--store", "sqlite:///no/such/folder/sagas.db"), 3, "allframe: AF403: "),
        (("list", "--store", "sqlite:///nothing.db"), 3, "allframe: AF403: "),
    ],
)
def test_says_what_is_wrong_and_touches_nothing(shop: Shop, arguments: tuple[str, ...], code: int, said: str) -> None:
    shop.orders(TEA)

    done = shop.run(*arguments, code=code)

    assert message(done).startswith(said)
    assert done.stdout == ""
    assert shop.files == {"shop.py", "orders.jsonl"}


def test_an_input_without_one_good_line_opens_nothing(shop: Shop) -> None:
    done = shop.run(*RUN, shop.orders("{", '{"item": 1}'), *STORE, code=2)

    assert done.stderr.splitlines()[-1] == "allframe: Nothing to run: no line of orders.jsonl can be used."
    assert shop.run(*RUN, shop.orders(), *STORE, code=2).stderr == "allframe: Nothing to run: orders.jsonl is empty.\n"
    assert shop.files == {"shop.py", "orders.jsonl"}


def test_a_missing_dependency_is_told_before_anything_is_written(shop: Shop) -> None:
    shop.folder.joinpath("poor.py").write_text("nothing = {int: 1}\n")

    for more in ((), ("--dry-run",)):
        done = shop.run(*RUN, TEA, *STORE, "--provide", "poor:nothing", *more, code=2)
        assert "Order injects what nothing provides:\n  Book, for step 'reserve', parameter 'book'\n" in done.stderr
        assert "poor:nothing has: int." in done.stderr
    assert shop.files == {"shop.py", "poor.py"}


def test_a_container_that_lacks_something_is_told_before_anything_is_written(shop: Shop) -> None:
    shop.folder.joinpath("poor.py").write_text(
        "import dishka, shop\n"
        "deep = dishka.Provider(scope=dishka.Scope.STEP)\n"
        "deep.provide(shop.Book)\n"
        "provide = dishka.make_async_container(deep)\n"
        "plain = dishka.make_container(deep)\n"
    )

    for more in ((), ("--dry-run",)):
        done = shop.run(*RUN, TEA, *STORE, "--provide", "poor:provide", *more, code=2)
        assert (
            "Order injects what nothing provides:\n  Book, for step 'reserve', parameter 'book': in the container it is "
            "made in scope STEP, within an attempt's REQUEST\npoor:provide has: a container that makes nothing."
        ) in done.stderr
    done = shop.run(*RUN, TEA, *STORE, "--provide", "poor:plain", code=2)
    assert (
        "poor:plain cannot be used: container= takes a dishka AsyncContainer, found a dishka Container" in done.stderr
    )
    assert shop.files == {"shop.py", "poor.py"}


def test_a_file_that_is_no_database_is_left_alone(shop: Shop) -> None:
    precious = b"precious, and no database at all\n" * 100
    (shop.folder / "sagas.db").write_bytes(precious)

    for arguments in ((*RUN, TEA, *STORE), ("list", *STORE), ("show", "a", *STORE)):
        assert "AF404" in message(shop.run(*arguments, code=3))
    assert (shop.folder / "sagas.db").read_bytes() == precious
    assert shop.book == []


def test_a_foreign_database_is_left_alone(shop: Shop) -> None:
    with closing(sqlite3.connect(shop.folder / "sagas.db")) as sql:
        sql.execute("CREATE TABLE mine (a)")
        sql.commit()
    before = (shop.folder / "sagas.db").read_bytes()

    assert "AF404" in message(shop.run(*RUN, TEA, *STORE, code=3))
    assert (shop.folder / "sagas.db").read_bytes() == before


@pytest.mark.parametrize("arguments", [(*RUN, TEA), ("list",)])
def test_a_place_that_may_not_be_written(shop: Shop, arguments: tuple[str, ...]) -> None:
    (shop.folder / "shut").mkdir(mode=0o555)
    root = os.getuid() == 0
    if root:  # what lies above is root's own, and has to be passed through
        for path in (shop.folder, *shop.folder.parents[:3]):
            path.chmod(path.stat().st_mode | 0o055)

    done = shop.run(*arguments, "--store", "sqlite:///shut/sagas.db", code=3, user=65534 if root else None)

    assert message(done).startswith("allframe: AF403: ")
    assert "shut/sagas.db" in message(done)
    assert list((shop.folder / "shut").iterdir()) == []
    assert shop.book == []


def test_two_runs_on_one_file(shop: Shop) -> None:
    process = shop.start(*RUN, '{"$id": "first", "item": "tea", "wait": 20}', *STORE)
    with process:
        wait_until(process, lambda: "reserve first" in shop.book)

        done = shop.run(*RUN, '{"$id": "second", "item": "tea"}', *STORE, code=3)
        process.kill()

    assert "AF401" in message(done)
    assert f"process {process.pid} " in message(done)
    assert not any("second" in line for line in shop.book)


def test_a_full_disk_ends_the_run_and_room_continues_it(shop: Shop) -> None:
    file = shop.orders(*({"$id": f"o-{number}", "item": "tea " * 50} for number in range(200)))

    full = shop.run(*RUN, file, "--store", "sqlite:///sagas.db?max_page_count=40", code=3)
    paid = [line for line in shop.book if line.startswith("pay")]
    shop.run(*RUN, file, *STORE)

    assert message(full).startswith("allframe: The store cannot be written: ")
    assert "sagas.db is full" in message(full)
    assert message(full).endswith("What was recorded before stands; mend it, and the same command continues.")
    assert len(paid) < 200
    for number in range(200):
        assert f"pay o-{number}" in shop.book
    assert "200 of 200 sagas." in shop.run("list", *STORE, "--limit", "1000", "--status", "completed").stdout


def test_a_file_that_cannot_even_be_left_in_order_is_told_the_same_way(shop: Shop) -> None:
    """A disk so full that the log cannot be written: closing the store fails as well."""
    file = shop.orders(*({"$id": f"o-{number}", "item": "tea " * 50} for number in range(200)))

    full = subprocess.run(
        [sys.executable, "-m", "allframe", *RUN, file, *STORE],
        cwd=shop.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )

    assert full.returncode == 3
    assert message(full).startswith("allframe: The store cannot be written: ")
    assert message(full).endswith("What was recorded before stands; mend it, and the same command continues.")


def test_usage_is_told_by_the_parser(shop: Shop) -> None:
    for arguments in (("run",), (*RUN, TEA, *STORE, "--concurrency", "0"), ("fly",), ("list", *STORE, "--status", "x")):
        assert "Usage: allframe" in shop.run(*arguments, code=2).stderr
    assert shop.files == {"shop.py"}
