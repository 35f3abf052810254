"""``allframe demo`` counts the money, and goes on in its folder."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests.cli.shell import Shop


def test_runs_ends_and_goes_on(shop: Shop) -> None:
    first = shop.run("demo", "--count", "60").stdout.splitlines()
    again = json.loads(shop.run("demo", "--json").stdout)

    assert first[0].split() == ["COMPLETED", "COMPENSATED", "FAILED", "SECONDS", "SAGAS/S"]
    completed, compensated, failed = map(int, first[1].split()[:3])
    assert (completed + compensated, failed) == (60, 0)
    assert completed > compensated > 10
    assert first[-1] == "money before 500,001.00, after 500,001.00: conserved"
    assert again["completed"] == completed
    assert again["sagas_per_second"] == 0, "nothing was left to do"
    assert again["conserved"] is True
    assert shop.book == []


def test_its_file_is_an_input_of_run_too(shop: Shop) -> None:
    shop.run("demo", "--count", "20", "--folder", "money")

    done = shop.run(
        "run",
        "allframe.demo.saga:TransferMoney",
        "money/transfers.jsonl",
        "--store",
        "sqlite:///money/sagas.db",
        env={"ALLFRAME_DEMO_FOLDER": "money"},
        code=1,
    )

    assert "20 sagas in" in done.stdout


def test_says_so_when_the_money_is_not_conserved(shop: Shop) -> None:
    shop.run("demo", "--count", "10")
    with closing(sqlite3.connect(shop.folder / "allframe-demo" / "north.db")) as sql:
        sql.execute("UPDATE accounts SET balance = balance - 100 WHERE name = 'north-001'")
        sql.commit()

    done = shop.run("demo", code=1)

    assert "accounts that do not add up: north-001" in done.stdout
    assert done.stdout.endswith("money before 500,001.00, after 500,000.00: NOT CONSERVED\n")


def test_begins_anew_only_when_told_and_only_what_is_its_own(shop: Shop) -> None:
    shop.run("demo", "--count", "5")

    other = shop.run("demo", "--count", "6", code=2)
    fresh = shop.run("demo", "--count", "6", "--fresh", "--json")
    (shop.folder / "allframe-demo" / "south.db").unlink()
    robbed = shop.run("demo", code=2)
    foreign = shop.run("demo", "--folder", ".", code=2)

    assert "allframe-demo holds 5 transfers, not 6. Leave --count out to go on, or add --fresh." in other.stderr
    assert json.loads(fresh.stdout)["completed"] + json.loads(fresh.stdout)["compensated"] == 6
    assert "allframe-demo lacks the bank south.db. Add --fresh to begin anew." in robbed.stderr
    assert "holds other things. The demo needs a folder of its own." in foreign.stderr
    assert shop.files == {"shop.py", "allframe-demo"}
