"""``allframe watch`` prints each record as it is written, beside whoever runs the sagas."""

from __future__ import annotations

import json
import re
import signal
import subprocess

from tests.cli.shell import Shop, end, wait_until

RUN = ("run", "shop.py:Order")
STORE = ("--store", "sqlite:///sagas.db")
TEA = '{"$id": "a", "item": "tea"}'


def first_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_prints_a_line_a_record_until_it_is_interrupted(shop: Shop) -> None:
    shop.run(*RUN, TEA, *STORE)
    watch = shop.start("watch", *STORE, "--after", "0")
    with watch:
        before = first_lines(watch, 4)
        shop.run(*RUN, '{"$id": "b", "item": "gold\\u001b[2J"}', *STORE)
        after = first_lines(watch, 1)
        code, _, errors = end(watch, signal.SIGINT)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  2  saga=a \(order\) started: order version 1", before[0]
    )
    assert re.search(r"  3  saga=a \(order\) step=reserve attempt=1 succeeded \d+ ms$", before[1])
    assert before[3].endswith("saga=a (order) completed")
    assert "saga=b (order) started" in after[0]
    assert code == 130
    assert "Traceback" not in errors


def test_prints_json_lines_of_one_saga_from_a_position(shop: Shop) -> None:
    shop.run(*RUN, shop.orders({"$id": "a", "item": "tea"}, {"$id": "b", "item": "gold"}), *STORE, code=1)

    done = shop.run("watch", "b", *STORE, "--after", "1", "--until-done", "--json", code=1)

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["id"] for row in rows} == {"b"}
    assert [row["event"] for row in rows] == ["started", "succeeded", "refused", "rollback", "undone", "compensated"]
    assert [row["kind"] for row in rows][-1] == "compensated"
    assert rows[1].keys() >= {
        "position",
        "revision",
        "saga",
        "step",
        "attempt",
        "seconds",
        "at",
        "starts",
        "compensates",
    }
    assert rows[2]["error"]["message"] == "too dear\x1b[2J"


def test_waits_for_a_saga_that_is_not_there_yet_until_it_is_done(shop: Shop) -> None:
    shop.run(*RUN, TEA, *STORE)
    watch = shop.start("watch", "b", *STORE, "--until-done", "--after", "0")
    with watch:
        shop.run(*RUN, '{"$id": "b", "item": "tea", "wait": 0.3}', *STORE)
        output, _ = watch.communicate(timeout=30)

    assert watch.returncode == 0
    assert output.splitlines()[-1].endswith("saga=b (order) completed")


def test_a_saga_that_is_over_is_not_waited_for(shop: Shop) -> None:
    shop.run(*RUN, shop.orders({"$id": "a", "item": "tea"}, {"$id": "b", "item": "gold"}), *STORE, code=1)

    assert shop.run("watch", "a", *STORE, "--until-done").stdout == ""
    assert shop.run("watch", "b", *STORE, "--until-done", code=1).stdout == ""


def test_watches_beside_a_running_owner(shop: Shop) -> None:
    owner = shop.start(*RUN, '{"$id": "a", "item": "tea", "wait": 20}', *STORE)
    with owner:
        wait_until(owner, lambda: "reserve a" in shop.book)
        watch = shop.start("watch", "a", *STORE, "--after", "0")
        with watch:
            assert first_lines(watch, 1)[0].endswith("started: order version 1")
            watch.kill()
        owner.kill()


def test_says_what_it_needs(shop: Shop) -> None:
    assert "name its ID" in shop.run("watch", *STORE, "--until-done", code=2).stderr
    assert "nothing to look at" in shop.run("watch", "--store", "memory://", code=2).stderr
    assert "there is no such file" in shop.run("watch", *STORE, code=3).stderr


def test_run_logs_a_line_a_record(shop: Shop) -> None:
    done = shop.run(*RUN, TEA, *STORE, "--log-level", "info", "--json")
    quiet = shop.run(*RUN, '{"$id": "b", "item": "gold"}', *STORE, "--log-level", "warning", code=1)

    assert "INFO allframe.saga: saga=a (order) step=pay attempt=1 succeeded" in done.stderr
    assert json.loads(done.stdout)["status"] == "completed"
    assert "WARNING allframe.saga: saga=b (order) step=pay attempt=1 refused" in quiet.stderr
    assert "INFO" not in quiet.stderr
