"""``allframe cancel``, ``retry``, ``abandon``, ``skip`` and ``resolve``, beside the process that runs the store or without."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.cli.shell import Shop, wait_until

STORE = ("--store", "sqlite:///sagas.db")
RUN = ("run", "shop.py:Order")
WHY = ("--reason", "it rains", "--actor", "ada")


def order(item: str, **more: Any) -> str:
    return json.dumps({"$id": "a", "item": item, **more})


def timeline(shop: Shop) -> list[str]:
    return [entry["event"] for entry in json.loads(shop.run("show", "a", *STORE, "--json").stdout)["timeline"]]


def test_cancel_reaches_the_process_that_runs_the_store(shop: Shop) -> None:
    process = shop.start(*RUN, order("tea", wait=20), *STORE)
    with process:
        wait_until(process, lambda: "reserve a" in shop.book)
        said = shop.run("cancel", "a", *STORE, *WHY, "--wait").stdout
        again = shop.run("cancel", "a", *STORE, *WHY, code=2).stderr
        output, _ = process.communicate(timeout=30)

    assert said == (f"a: cancelled. pid {process.pid} undoes reserve.\na: it is compensated: it rains.\n")
    assert "Saga 'a' is compensated: it is over, and cannot be cancelled." in again
    assert shop.book == ["reserve a", "release a"]
    assert "1 compensated" in output
    assert (shop.files & {"sagas.db.sock"}) == set()


def test_without_a_process_the_next_one_goes_on(shop: Shop) -> None:
    process = shop.start(*RUN, order("tea", wait=20), *STORE)
    with process:
        wait_until(process, lambda: "reserve a" in shop.book)
        process.send_signal(signal.SIGKILL)

    said = shop.run("cancel", "a", *STORE, *WHY, "--wait", code=1)
    assert said.stdout == (
        "a: cancelled. No process has sagas.db open: the rollback (reserve) begins when the next one opens it.\n"
    )
    assert said.stderr == "allframe: Nobody runs the store, so there is nothing to wait for.\n"
    assert "nothing was written" in shop.run("cancel", "a", *STORE, *WHY).stdout
    assert timeline(shop) == ["started", "cancel"]

    shop.run(*RUN, order("tea", wait=20), *STORE, code=1)
    assert shop.book == ["reserve a", "release a"]
    (recovered,) = [
        entry
        for entry in json.loads(shop.run("show", "a", *STORE, "--json").stdout)["timeline"]
        if entry["event"] == "recovered"
    ]
    assert recovered["detail"] == "after a crash", "taking the lock for a moment does not hide that the owner died"


def test_a_failed_saga_is_retried_skipped_and_given_up(shop: Shop) -> None:
    shop.run(*RUN, order("glue"), *STORE, code=1)
    revision = json.loads(shop.run("show", "a", *STORE, "--json").stdout)["revision"]

    said = shop.run("retry", "a", *STORE, *WHY, "--expect-revision", str(revision)).stdout
    assert said == (
        "a: retry: the compensation of 'reserve' is tried again. No process has sagas.db open: the rollback (reserve) begins "
        "when the next one opens it.\n"
    )
    stale = shop.run("retry", "a", *STORE, *WHY, "--expect-revision", str(revision), code=2).stderr
    assert f"Saga 'a' is at revision {revision + 1}, not at the expected revision {revision}" in stale
    assert f"Since then: {revision + 1} RetryRequested by ada (it rains)." in stale

    shop.run(*RUN, order("glue"), *STORE, code=1)  # it sticks still
    said = shop.run("skip", "a", "reserve", *STORE, *WHY, "--json").stdout
    receipt = json.loads(said)
    assert (receipt["verb"], receipt["recorded"], receipt["status"], receipt["pid"]) == (
        "skip",
        True,
        "compensated",
        None,
    )
    assert receipt["text"] == (
        "a: 'reserve' is skipped, and counts as undone. Nothing is left to be undone: it is compensated."
    )
    assert "is over" in shop.run("abandon", "a", *STORE, *WHY, code=2).stderr
    shown = shop.run("show", "a", *STORE).stdout
    assert "not allframe's doing: it rains (by ada)" in shown


def test_abandon_says_what_is_left(shop: Shop) -> None:
    shop.run(*RUN, order("glue"), *STORE, code=1)

    said = shop.run("abandon", "a", *STORE, *WHY).stdout

    assert said == "a: abandoned. Nothing more happens to it. May be in effect: reserve.\n"
    listed = json.loads(shop.run("list", *STORE, "--json").stdout)
    assert (listed["status"], listed["reason"], listed["uncompensated"]) == ("abandoned", "it rains", ["reserve"])


LETTERS = """
from __future__ import annotations

from pathlib import Path

from allframe import EffectUnknown, Retry, Saga, step


class Letter(Saga, name="letter"):
    @step(pivot=True)
    async def post(self) -> int:
        with Path("book.txt").open("a") as file:
            file.write("post\\n")
        raise EffectUnknown("no receipt")

    @step(readonly=True, retry=Retry())
    async def file(self, post: int) -> int:
        return post + 1


provide = {}
"""


def test_resolve_takes_the_output_by_the_class(shop: Shop) -> None:
    (shop.folder / "letters.py").write_text(LETTERS)
    shop.run("run", "letters.py:Letter", '{"$id": "a"}', *STORE, code=1)
    resolve = ("resolve", "a", "post", "done", *STORE, *WHY)

    assert "Give output=" in shop.run(*resolve, code=2).stderr
    unchecked = shop.run(*resolve, "--output", "7", code=2).stderr
    assert (
        "by a process without its class, which says what the step returns. Name the saga's module, with -m" in unchecked
    )
    assert "cannot be read as int" in shop.run(*resolve, "--output", '"x"', "-m", "letters.py", code=2).stderr
    assert "--output is no JSON" in shop.run(*resolve, "--output", "{", "-m", "letters.py", code=2).stderr
    assert shop.run(*resolve, "--output", '{"a": [12345678901234567.89]}', "-m", "letters.py", code=2).stderr == (
        "allframe: --output has the number 12345678901234567.89, which would be read as 1.2345678901234568e+16. Write it as "
        'a text: "12345678901234567.89".\n'
    )
    assert "cannot be read as int" in shop.run(*resolve, "--output", "1.10", "-m", "letters.py", code=2).stderr
    said = shop.run(*resolve, "--output", "7", "-m", "letters.py").stdout
    assert said == (
        "a: 'post' is resolved: it took effect. No process has sagas.db open: the rest (file) begins when the next one opens "
        "it.\n"
    )

    shop.run("run", "letters.py:Letter", '{"$id": "a"}', *STORE)
    assert shop.book == ["post"]


NOBODY = "allframe: Nobody runs the store, so there is nothing to wait for.\n"


def test_without_a_process_there_is_nothing_to_wait_for(shop: Shop) -> None:
    shop.run(*RUN, order("glue"), *STORE, code=1)
    assert shop.run("retry", "a", *STORE, *WHY, "--wait", code=1).stderr == NOBODY

    shop.run(*RUN, order("glue"), *STORE, code=1)  # it sticks still
    skipped = shop.run("skip", "a", "reserve", *STORE, *WHY, "--wait")
    assert "it is compensated" in skipped.stdout


def test_what_has_changed_since_it_was_looked_at_is_left_alone(shop: Shop) -> None:
    (shop.folder / "letters.py").write_text(LETTERS)
    shop.run("run", "letters.py:Letter", '{"$id": "a"}', *STORE, code=1)
    revision = json.loads(shop.run("show", "a", *STORE, "--json").stdout)["revision"]

    for order in (("resolve", "a", "post", "not_done"), ("abandon", "a", "--yes"), ("retry", "a")):
        done = shop.run(*order, *STORE, *WHY, "--expect-revision", str(revision - 1), code=2)
        assert f"at revision {revision}, not at the expected revision {revision - 1}" in done.stderr

    receipt = json.loads(
        shop.run("resolve", "a", "post", "not_done", *STORE, *WHY, "--expect-revision", str(revision), "--json").stdout
    )
    assert (receipt["verb"], receipt["recorded"], receipt["revision"] > revision) == ("resolve", True, True)
    # It goes back now, and there is nothing more to find out.
    again = shop.run("resolve", "a", "post", "not_done", *STORE, *WHY, "--wait", code=2)
    assert "only a step of one that is failed or blocked can be resolved" in again.stderr


def test_a_cancel_of_what_has_gone_on_since_is_refused(shop: Shop) -> None:
    process = shop.start(*RUN, order("tea", wait=20), *STORE)
    with process:
        wait_until(process, lambda: "reserve a" in shop.book)
        stale = shop.run("cancel", "a", *STORE, *WHY, "--expect-revision", "9", code=2).stderr
        shop.run("cancel", "a", *STORE, *WHY, "--expect-revision", "1", "--wait")
        process.communicate(timeout=30)

    assert "Saga 'a' is at revision 1, not at the expected revision 9" in stale
    assert shop.book == ["reserve a", "release a"]


@pytest.mark.parametrize("verb", ["cancel", "retry", "abandon"])
def test_a_reason_and_a_store_are_needed(shop: Shop, verb: str) -> None:
    assert "Missing option '--reason'" in shop.run(verb, "a", *STORE, code=2).stderr
    assert "Expected reason to be text" in shop.run(verb, "a", *STORE, "--reason", " ", code=2).stderr
    assert "Which store?" in shop.run(verb, "a", "--reason", "x", code=2).stderr
    assert "there is no such file" in shop.run(verb, "a", *STORE, "--reason", "x", code=3).stderr
    assert shop.files == {"shop.py"}


def test_an_id_that_does_not_exist_is_said_so(shop: Shop) -> None:
    shop.run(*RUN, order("tea"), *STORE)

    done = shop.run("cancel", "b", *STORE, *WHY, code=2)

    assert done.stderr == "allframe: AF311: The store holds no saga 'b', so none can be cancelled.\n"
