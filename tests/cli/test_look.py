"""``allframe list`` and ``show`` say what the store says, beside whoever runs it."""

from __future__ import annotations

import json

import anyio

from allframe import Saga, SagaOrchestrator, correlated, step
from tests.cli.shell import Shop, wait_until

RUN = ("run", "shop.py:Order")
STORE = ("--store", "sqlite:///sagas.db")


def fill(shop: Shop) -> None:
    file = shop.orders({"$id": "a", "item": "tea"}, {"$id": "b", "item": "gold"}, {"$id": "c", "item": "glue"})
    shop.run(*RUN, file, *STORE, code=1)
    (shop.folder / "shop.py").unlink()  # the store is read without the code


def test_lists_and_chooses(shop: Shop) -> None:
    fill(shop)

    everything = shop.run("list", *STORE).stdout
    failed = shop.run("list", *STORE, "--status", "failed").stdout
    as_json = shop.run("list", *STORE, "--json", "--saga", "order", "--limit", "2").stdout

    assert everything.splitlines()[0].split() == ["ID", "SAGA", "STATUS", "STEPS", "STARTED", "UPDATED", "DETAIL"]
    assert {line.split()[0] for line in everything.splitlines()[1:4]} == {"a", "b", "c"}
    assert "3 of 3 sagas." in everything
    assert "still in effect: reserve" in failed
    assert "1 of 3 sagas." in failed
    rows = [json.loads(line) for line in as_json.splitlines()]
    assert len(rows) == 2
    assert {"id", "saga", "status", "running", "steps_executed", "total_steps", "started_at", "error"} <= rows[0].keys()
    assert "None of 3 sagas." in shop.run("list", *STORE, "--saga", "other").stdout


def test_shows_a_saga_as_a_timeline(shop: Shop) -> None:
    fill(shop)

    text = shop.run("show", "b", *STORE).stdout
    data = json.loads(shop.run("show", "c", *STORE, "--json").stdout)

    events = [line.split()[2] for line in text[text.index("AT ") :].splitlines()[1:]]
    assert events == ["started", "succeeded", "refused", "rollback", "undone", "compensated"]
    assert "status          compensated" in text
    assert "too dear\\x1b[2J" in text
    assert "\x1b" not in text
    assert data["status"] == "failed"
    assert data["uncompensated"] == ["reserve"]
    assert data["attention"] is True
    attempts = [entry for entry in data["timeline"] if entry["event"] == "not undone"]
    assert [entry["attempt"] for entry in attempts] == [1, 2]
    assert [entry["error"]["message"] for entry in attempts] == ["it sticks", "it sticks"]
    assert all(entry["seconds"] >= 0 for entry in attempts)


def test_names_what_is_nearest(shop: Shop) -> None:
    shop.run(*RUN, '{"$id": "order-17", "item": "tea"}', *STORE)

    done = shop.run("show", "order-71", *STORE, code=2)

    assert done.stderr == "allframe: The store holds no saga 'order-71'. Did you mean order-17?\n"
    assert "nothing to look at" in shop.run("list", "--store", "memory://", code=2).stderr


def test_looks_beside_a_running_owner(shop: Shop) -> None:
    process = shop.start(*RUN, '{"$id": "a", "item": "tea", "wait": 20}', *STORE)
    with process:
        wait_until(process, lambda: "reserve a" in shop.book)
        listed = shop.run("list", *STORE).stdout
        shown = shop.run("show", "a", *STORE).stdout
        process.kill()

    assert "executing" in listed
    assert "running: reserve" in listed
    assert "run reserve" in shown


def test_lists_what_needs_attention(shop: Shop) -> None:
    fill(shop)

    found = shop.run("list", *STORE, "--attention").stdout
    as_json = shop.run("list", *STORE, "--attention", "--json").stdout

    assert "c   " in found
    assert "still in effect: reserve" in found
    assert "1 of 3 sagas." in found
    assert [json.loads(line)["id"] for line in as_json.splitlines()] == ["c"]
    assert "None of 3 sagas." in shop.run("list", *STORE, "--attention", "--status", "blocked").stdout
    assert "None of 3 sagas." in shop.run("list", *STORE, "--attention", "--saga", "other").stdout


class Greet(Saga, name="look.greet"):
    @step(readonly=True)
    async def greet(self) -> None: ...


def test_shows_what_a_saga_was_started_in(shop: Shop) -> None:
    async def begin() -> None:
        async with SagaOrchestrator(f"sqlite:///{shop.folder}/sagas.db", sagas=[Greet]) as orchestrator:
            with correlated("request-17\x1b[2J"):
                await orchestrator.execute(Greet(), id="a")
            await orchestrator.execute(Greet(), id="b")

    anyio.run(begin)

    text, without = (shop.run("show", name, *STORE).stdout for name in ("a", "b"))
    data = json.loads(shop.run("show", "a", *STORE, "--json").stdout)

    assert "  correlation     request-17\\x1b[2J\n" in text
    assert "correlation" not in without
    assert (data["correlation_id"], data["causation_id"]) == ("request-17\x1b[2J", None)
