"""``allframe events schema`` and ``check`` say what events look like, and which change breaks what is stored."""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import Shop

BEFORE = """
from allframe import Event

class Paid(Event, name="shop.paid"):
    __stream__ = "order-{order}"
    order: str
    amount: int
"""

AFTER = """
from allframe import Event, VersionRegistry, upcasts

class Paid(Event, name="shop.paid", version=2):
    __stream__ = "order-{order}"
    order: str
    cents: int

class Sent(Event, name="shop.sent"):
    order: str

@upcasts("shop.paid", from_version=1)
def count_cents(data):
    return {"order": data["order"], "cents": data["amount"] * 100}

versions = VersionRegistry([count_cents])
"""


@pytest.fixture
def committed(shop: Shop) -> Shop:
    """A shop whose events are in ``events.py``, with the catalogue of a former day in ``events.json``."""
    (shop.folder / "events.py").write_text(BEFORE)
    (shop.folder / "events.json").write_text(shop.run("events", "schema", "-m", "events.py").stdout)
    return shop


def test_prints_the_catalogue(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(AFTER)

    made = json.loads(committed.run("events", "schema", "--module", "events").stdout)

    paid, sent = made["events"]
    assert (paid["name"], paid["version"], paid["stream"]) == ("shop.paid", 2, "order-{order}")
    assert paid["upcast_from"] == [{"name": "shop.paid", "version": 1}]
    assert paid["schema"]["required"] == ["order", "cents"]
    assert (sent["name"], sent["stream"], sent["upcast_from"]) == ("shop.sent", None, [])


def test_nothing_has_changed(committed: Shop) -> None:
    done = committed.run("events", "check", "events.json", "-m", "events.py")

    assert (done.stdout, done.stderr) == ("Nothing has changed since events.json.\n", "")


def test_changes_that_fit_are_listed(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(AFTER)

    done = committed.run("events", "check", "events.json", "-m", "events.py")

    assert done.stdout.splitlines() == [
        "fits:   shop.paid 1: it is upcast to version 2",
        "fits:   shop.paid 2: a new version",
        "fits:   shop.sent 1: a new event",
        "Nothing that is stored breaks. Write events.json anew: allframe events schema -m MODULE",
    ]


def test_a_change_that_breaks_ends_with_4(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(BEFORE.replace("amount: int", "amount: str\n    note: str = ''"))

    done = committed.run("events", "check", "events.json", "-m", "events.py", code=4)

    assert done.stdout == "fits:   shop.paid 1: the field 'note' was added with a default\n"
    assert done.stderr.splitlines() == [
        "breaks: shop.paid 1: in the same version, the field 'amount' was integer and is string",
        "1 of 2 changes since events.json break what is stored.",
    ]


def test_changes_as_json(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(BEFORE.replace("amount: int", "amount: str"))

    done = committed.run("events", "check", "events.json", "-m", "events.py", "--json", code=4)

    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "breaks": True,
            "event": "shop.paid",
            "version": 1,
            "text": "in the same version, the field 'amount' was integer and is string",
        }
    ]


def test_a_registry_with_a_gap_is_a_definition_that_breaks(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(AFTER.replace("version=2", "version=3"))

    done = committed.run("events", "check", "events.json", "-m", "events.py", code=4)

    assert "AF121" in done.stderr
    assert "nothing leads on from there to the newest, version 3" in done.stderr


def test_registries_of_several_modules_go_together(committed: Shop) -> None:
    (committed.folder / "events.py").write_text(AFTER)
    (committed.folder / "more.py").write_text(
        AFTER.replace("shop.", "more.").replace("import Event", "import AutoUpcaster, Event")
    )

    made = json.loads(committed.run("events", "schema", "-m", "events", "-m", "more").stdout)

    assert {entry["name"]: len(entry["upcast_from"]) for entry in made["events"]} == {
        "more.paid": 1,
        "more.sent": 0,
        "shop.paid": 1,
        "shop.sent": 0,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "events.json cannot be compared with: "),
        ("[]", "events.json cannot be compared with: It is no catalogue of events."),
        (None, "events.json cannot be read: No such file or directory."),
    ],
)
def test_a_file_that_is_no_catalogue_is_said_to_be_none(committed: Shop, text: str | None, said: str) -> None:
    (committed.folder / "events.json").unlink()
    if text is not None:
        (committed.folder / "events.json").write_text(text)

    done = committed.run("events", "check", "events.json", "-m", "events.py", code=2)

    assert done.stderr.startswith(f"allframe: {said}")


def test_a_module_without_events_is_said_to_have_none(shop: Shop) -> None:
    (shop.folder / "empty.py").write_text("")

    done = shop.run("events", "schema", "-m", "empty.py", code=2)

    assert done.stderr == "allframe: There are no events in empty.py. Name the modules that define them.\n"


STAY = """
from typing import Any
from allframe import Event, Saga, VersionRegistry, compensates, step, upcasts

{event}

class Stay(Saga, name="stay"):
    guest: str

    @step
    async def book(self) -> Event:
        return {made}

    @compensates("book")
    async def release(self) -> None: ...

    @step(readonly=True)
    async def pay(self, book: Event) -> None:
        {pay}
"""

BOOKED_BEFORE = """
class Booked(Event, name="shop.booked", version=1):
    room: str
"""

BOOKED_NOW = """
class Booked(Event, name="shop.booked", version=2):
    room: str
    nights: int

@upcasts("shop.booked", from_version=1)
def one_night(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "nights": 1}

versions = VersionRegistry([one_night])
"""


@pytest.mark.parametrize(
    "command",
    [
        ("run", "stay.py:Stay", '{"guest": "ada", "$id": "stay"}', "--store", "sqlite:///stay.db"),
        ("work", "stay.py", "--store", "sqlite:///stay.db", "--until-idle"),
    ],
)
def test_a_saga_goes_on_with_outputs_that_the_registry_of_its_module_upcasts(
    shop: Shop, command: tuple[str, ...]
) -> None:
    before = STAY.format(event=BOOKED_BEFORE, made='Booked(room="7")', pay="import os; os._exit(9)")
    now = STAY.format(event=BOOKED_NOW, made="None", pay='open("paid", "w").write(repr(book))')
    (shop.folder / "stay.py").write_text(before)
    process = shop.start("run", "stay.py:Stay", '{"guest": "ada", "$id": "stay"}', "--store", "sqlite:///stay.db")
    assert process.wait(60) == 9
    process.communicate()
    (shop.folder / "stay.py").write_text(now)

    shop.run(*command)

    assert (shop.folder / "paid").read_text() == "Booked(room='7', nights=1)"
