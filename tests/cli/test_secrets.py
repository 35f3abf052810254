"""No command shows a secret."""

from __future__ import annotations

import json

from tests.cli.shell import Shop

STORE = ("--store", "sqlite:///sagas.db")
KEY = "hunter-2-hunter"
MASK = "**********"

SAGA = """
from pydantic import BaseModel, Field, SecretStr, field_validator
from allframe import Event, Saga, step


class Paid(Event, name="paid"):
    token: str = Field(json_schema_extra={"secret": True})
    amount: int


class Pay(Saga, name="pay"):
    key: SecretStr = Field(alias="the-key")
    pin: str = Field(json_schema_extra={"secret": True}, max_length=20)
    amount: int = 1

    @field_validator("pin")
    @classmethod
    def check(cls, pin: str) -> str:
        if pin.startswith("bad"):
            raise ValueError(f"{pin} is bad")
        return pin

    @step(readonly=True)
    async def look(self) -> dict[str, SecretStr]:
        return {"key": self.key}

    @step(readonly=True)
    async def pay(self) -> Event:
        if self.amount < 0:
            raise ValueError(f"no {self.key.get_secret_value()} {self.pin}")
        return Paid(token=self.pin, amount=self.amount)
"""


def run(shop: Shop, *lines: dict[str, object], code: int = 0, more: tuple[str, ...] = ("--json",)) -> str:
    (shop.folder / "pay.py").write_text(SAGA)
    store = () if "--dry-run" in more else STORE
    done = shop.run("run", "pay.py:Pay", shop.orders(*lines), *store, *more, code=code)
    assert KEY not in done.stdout + done.stderr
    return done.stdout + done.stderr


def line(saga_id: str | None = None, **fields: object) -> dict[str, object]:
    return {**({"$id": saga_id} if saga_id else {}), "the-key": KEY, "pin": KEY, **fields}


def test_run_masks_outputs_and_errors(shop: Shop) -> None:
    out = run(shop, line("a"), line("b", amount=-1), code=1)

    rows = {row["id"]: row for row in map(json.loads, out.splitlines()[:2])}
    assert rows["a"]["outputs"] == {"look": {"key": MASK}, "pay": {"token": MASK, "amount": 1}}
    assert rows["b"]["error"]["message"] == f"no {MASK} {MASK}"


def test_show_list_and_watch_mask(shop: Shop) -> None:
    run(shop, line("a"), line("b", amount=-1), code=1)
    (shop.folder / "pay.py").unlink()

    for command in (
        ("show", "a"),
        ("show", "b", "--json"),
        ("list",),
        ("list", "--json"),
        ("watch", "b", "--after", "0"),
    ):
        code = 1 if command[0] == "watch" else 0
        more = ("--until-done", "--json") if code else ()
        assert KEY not in shop.run(*command, *more, *STORE, code=code).stdout


def test_a_line_that_cannot_be_used_is_not_quoted(shop: Shop) -> None:
    wrong: list[dict[str, object]] = [
        line(pin=[KEY]),
        line(pin=f"bad {KEY}"),
        line(pin=KEY * 3),
        line(amount=KEY),
        {"the-key": [KEY], "pin": "1"},
    ]
    out = run(shop, *wrong, line("a"), code=1)

    assert out.count("orders.jsonl, line") == 5
    assert f"{MASK} is bad" in out
    assert "line 4: amount: Input should be a valid integer" in out


def test_a_dry_run_masks_and_lines_that_differ_in_a_secret_alone_are_two(shop: Shop) -> None:
    out = run(shop, line(), {**line(), "the-key": "another one"}, more=("--dry-run",))

    assert f'{{"the-key":"{MASK}","pin":"{MASK}","amount":1}}' in out
    assert "another" not in out
    assert "2 sagas of pay would run" in out
    clash = run(shop, line("a"), line("a", **{"the-key": "another one"}), more=("--dry-run",), code=1)
    assert "which has another input" in clash
