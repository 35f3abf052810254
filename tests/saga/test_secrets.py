"""A saga with secrets runs, is resumed, and shows none of them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError

from allframe import (
    Event,
    Inject,
    Saga,
    SagaIdConflict,
    SagaOrchestrator,
    StepContext,
    StepFailed,
    Unknown,
    compensates,
    step,
)
from allframe.masking import MASK
from allframe.saga.logs import log_records
from tests.saga import world
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home

KEY = "hunter-2-hunter"
TOKEN = "tok_0123456789"
ROOT = Path(__file__).parents[2]


class Card(BaseModel):
    number: SecretStr
    owner: str


class Charged(Event, name="test.secrets.charged"):
    token: str = Field(json_schema_extra={"secret": True})
    amount: int


class Pay(Saga, name="test.secrets.pay"):
    key: SecretStr
    pin: str = Field(json_schema_extra={"secret": True})
    cards: list[Card]
    amount: int = 3

    @step(timeout=None)
    async def charge(self, world: Inject[World], ctx: StepContext) -> Charged:
        await world.do(ctx)
        return Charged(token=TOKEN, amount=self.amount)

    @compensates("charge", timeout=None)
    async def refund(self, charge: Charged | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, charge)

    @step(timeout=None)
    async def send(self, charge: Charged, world: Inject[World], ctx: StepContext) -> dict[str, SecretStr]:
        await world.do(ctx)
        return {"receipt": SecretStr(KEY), "check": self.key}


def pay(**given: Any) -> Pay:
    return Pay(**{"key": KEY, "pin": "98765", "cards": [Card(number=SecretStr("4111-1111"), owner="Ada")], **given})


ALL = (KEY, TOKEN, "98765", "4111-1111")


def hidden(text: str) -> bool:
    return not any(secret in text for secret in ALL)


async def test_a_saga_with_secrets_is_resumed_with_them(home: Home) -> None:
    home.world.tell("send", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(pay(), id="p")
        await home.world.until("do send")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(pay(), id="p")
        with pytest.raises(SagaIdConflict) as conflict:
            await orchestrator.start(pay(key="another key"), id="p")

    assert outcome.outputs["send"] == {"receipt": SecretStr(KEY), "check": SecretStr(KEY)}
    assert outcome.outputs["charge"].token == TOKEN
    assert hidden(str(conflict.value))
    assert hidden(repr(outcome))
    assert "amount=3" in repr(outcome)


def test_reprs_and_validation_errors_show_none() -> None:
    assert hidden(repr(pay()))
    assert "owner='Ada'" in repr(pay())
    for wrong in ({"pin": [KEY]}, {"key": [KEY]}, {"cards": KEY}, {"amount": KEY}):
        with pytest.raises(ValidationError) as error:
            pay(**wrong)
        assert hidden(str(error.value))


async def test_nothing_that_is_recorded_of_an_error_or_logged_shows_one(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cause = ValueError(f"https://bank/?key={KEY}&pin=98765")
    error = RuntimeError(f"no: {TOKEN!r} {'x' * 9000} {KEY * 900} 4111-1111")
    error.__cause__ = cause
    home.world.tell("send", home.world.raises(error))
    records = []
    async with home.orchestrator(on_record=[log_records(), records.append]) as orchestrator:
        with pytest.raises(StepFailed) as failed:
            await orchestrator.execute(pay(), id="p")
        metadata = await orchestrator.get_saga("p")

    assert hidden(str(failed.value))
    assert failed.value.__cause__ is error
    assert hidden(f"{failed.value.error}{failed.value.error.traceback if failed.value.error else ''}")
    assert hidden(repr(metadata))
    assert hidden(caplog.text)
    assert hidden("".join(repr(record) + repr(record.record) for record in records))
    (told,) = [record.error for record in records if record.error is not None]
    assert told is not None
    assert f"no: '{MASK}' xxx" in told.message
    assert told.traceback is not None
    assert f"https://bank/?key={MASK}&pin={MASK}" in told.traceback


SHOW = """
import sys
from allframe.cli import main
sys.argv = ["allframe", "show", "p", *sys.argv[1:]]
main()
"""


async def test_show_masks_without_the_class(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pay.db"
    async with SagaOrchestrator(url, provide={World: World()}) as orchestrator:
        await orchestrator.execute(pay(), id="p")

    def show(*arguments: str) -> str:
        command = [sys.executable, "-c", SHOW, "--store", url, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout

    data = json.loads(show("--json"))
    assert data["input"] == {"key": MASK, "pin": MASK, "cards": [{"number": MASK, "owner": "Ada"}], "amount": 3}
    charged = {"type": "test.secrets.charged", "version": 1, "data": {"token": MASK, "amount": 3}}
    assert data["outputs"] == {"charge": charged, "send": {"receipt": MASK, "check": MASK}}
    text = show()
    assert hidden(text)
    assert '"owner":"Ada"' in text


async def test_an_event_that_the_annotation_does_not_name_is_masked_whole(home: Home) -> None:
    class Vague(Saga, name="test.secrets.vague"):
        @step
        async def go(self) -> list[Event]:
            return [Charged(token=TOKEN, amount=1)]

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Vague(), id="v")
    values = await home.monitor.values("v")

    assert values["outputs"]["go"][0]["data"] == {"token": MASK, "amount": MASK}
