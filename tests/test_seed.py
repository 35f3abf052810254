"""The design that allframe started from: its tests by their names, its order, and its examples, which are run.

Where its semantics and ours differ, the test says so.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from allframe import Event, Refused, SagaDefinition, SagaOrchestrator, SagaStatus, SagaStep, StepRefused, StepTimedOut
from allframe.testing import VirtualClock
from tests.sources import ROOT

EXAMPLES = sorted((ROOT / "examples" / "seed").glob("*.py"))


class AccountEvent(Event):
    account: str
    amount: Decimal


class Debited(AccountEvent, name="seed.debited"):
    pass


class Credited(AccountEvent, name="seed.credited"):
    pass


class DebitStep(SagaStep, name="seed.DebitStep", timeout=5):
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        return [Debited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        return [Credited(account=self.account, amount=self.amount)]


class CreditStep(SagaStep, name="seed.CreditStep"):
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        if self.account == "closed":
            raise Refused("the account is closed")
        return [Credited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        return [Debited(account=self.account, amount=self.amount)]


def transfer(saga_id: str, amount: int = 100, *, target: str = "B") -> SagaDefinition:
    return (
        SagaDefinition(saga_id)
        .add_step(DebitStep(account="A", amount=Decimal(amount)))
        .add_step(CreditStep(account=target, amount=Decimal(amount)))
    )


# --- its four unit tests ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_successful_saga(store_url: str, clock: VirtualClock) -> None:
    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        outcome = await orchestrator.execute(transfer("transfer-1"))

        # There `execute` gives the events; here they are part of the outcome.
        assert outcome.events == [
            Debited(account="A", amount=Decimal(100)),
            Credited(account="B", amount=Decimal(100)),
        ]
        assert await orchestrator.running_count() == 0
        assert await orchestrator.history_count() == 1


@pytest.mark.anyio
async def test_saga_metadata(store_url: str, clock: VirtualClock) -> None:
    saga = SagaDefinition("transfer-2").add_step(DebitStep(account="A", amount=Decimal(50)))

    assert saga.id == "transfer-2"
    assert saga.status() == SagaStatus.NOT_STARTED
    assert saga.metadata().total_steps == 1

    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        await orchestrator.execute(saga)
        history = await orchestrator.get_history()

    assert [(past.id, past.status, past.steps_executed) for past in history] == [("transfer-2", "completed", 1)]
    # There the definition is gone once it is executed; here it tells how that went.
    assert saga.metadata() == history[0]


def test_saga_definition_builder() -> None:
    saga = transfer("test-saga", 10)

    assert saga.metadata().total_steps == 2
    assert saga.status() == SagaStatus.NOT_STARTED


@pytest.mark.anyio
async def test_multiple_sagas(store_url: str, clock: VirtualClock) -> None:
    first = SagaDefinition("transfer-1").add_step(DebitStep(account="A", amount=Decimal(100)))
    second = SagaDefinition("transfer-2").add_step(DebitStep(account="B", amount=Decimal(200)))

    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        await orchestrator.execute(first)
        await orchestrator.execute(second)

        assert await orchestrator.history_count() == 2


# --- its integration test --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_saga_coordination(store_url: str, clock: VirtualClock) -> None:
    """A full execution with debit and credit; and one whose credit is refused."""
    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        outcome = await orchestrator.execute(transfer("transfer-100"))
        assert outcome.status == SagaStatus.COMPLETED

        with pytest.raises(StepRefused) as refusal:
            await orchestrator.execute(transfer("transfer-101", target="closed"))
        rolled_back = await (await orchestrator.start(transfer("transfer-101", target="closed"))).outcome()

        # The events of compensations are kept as well; there they are dropped.
        assert rolled_back.events == [
            Debited(account="A", amount=Decimal(100)),
            Credited(account="A", amount=Decimal(100)),
        ]
        assert (refusal.value.step_index, refusal.value.step_name) == (1, "seed.credit_step")
        assert {saga.id: saga.status for saga in await orchestrator.get_history()} == {
            "transfer-100": "completed",
            "transfer-101": "compensated",
        }


# --- its order -------------------------------------------------------------------------------------------------------


class OrderEvent(Event):
    order_id: str


class Reserved(OrderEvent, name="seed.reserved"):
    items: list[str]


class PaymentProcessed(OrderEvent, name="seed.payment_processed"):
    amount: Decimal


WORLD: list[str] = []


class ReserveInventoryStep(SagaStep, name="seed.ReserveInventory"):
    order_id: str
    items: list[str]

    async def execute(self) -> list[OrderEvent]:
        WORLD.append(f"reserved for {self.order_id}")
        return [Reserved(order_id=self.order_id, items=self.items)]

    async def compensate(self) -> list[OrderEvent]:
        WORLD.append(f"Releasing inventory for order {self.order_id}")
        return []


class ProcessPaymentStep(SagaStep, name="seed.ProcessPayment", timeout=10):
    order_id: str
    amount: Decimal

    async def execute(self) -> list[OrderEvent]:
        if self.amount > 1000:
            raise Refused("card declined")
        if self.amount > 500:
            await anyio.sleep(60)
        WORLD.append(f"paid for {self.order_id}")
        return [PaymentProcessed(order_id=self.order_id, amount=self.amount)]

    async def compensate(self) -> list[OrderEvent]:
        WORLD.append(f"Refunding ${self.amount} for order {self.order_id}")
        return []


def order(amount: str) -> SagaDefinition:
    return (
        SagaDefinition("order-12345")
        .add_step(
            ReserveInventoryStep(order_id="order-12345", items=["item-1", "item-2"]),
            name="ReserveInventory",
        )
        .add_step(ProcessPaymentStep(order_id="order-12345", amount=Decimal(amount)), name="ProcessPayment")
    )


@pytest.mark.anyio
async def test_order_saga_reserves_inventory_and_processes_the_payment(store_url: str, clock: VirtualClock) -> None:
    WORLD.clear()
    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        outcome = await orchestrator.execute(order("99.99"))

    assert outcome.events == [
        Reserved(order_id="order-12345", items=["item-1", "item-2"]),
        PaymentProcessed(order_id="order-12345", amount=Decimal("99.99")),
    ]
    assert WORLD == ["reserved for order-12345", "paid for order-12345"]


@pytest.mark.anyio
async def test_order_saga_releases_inventory_if_the_payment_fails(store_url: str, clock: VirtualClock) -> None:
    WORLD.clear()
    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        with pytest.raises(StepRefused) as refusal:
            await orchestrator.execute(order("9999.99"))

    assert (refusal.value.step_index, refusal.value.step_name) == (1, "ProcessPayment")
    assert WORLD == ["reserved for order-12345", "Releasing inventory for order order-12345"]


@pytest.mark.anyio
async def test_order_saga_refunds_a_payment_that_did_not_end_in_time(store_url: str, clock: VirtualClock) -> None:
    """There only the steps before the one that timed out are compensated: the payment may have gone through, and stays."""
    WORLD.clear()
    async with SagaOrchestrator(store_url, clock=clock) as orchestrator:
        with pytest.raises(StepTimedOut) as timeout:
            await orchestrator.execute(order("999.99"))
        history = await orchestrator.get_history()

    assert (timeout.value.step_index, timeout.value.duration) == (1, 10)
    assert WORLD == [
        "reserved for order-12345",
        "Refunding $999.99 for order order-12345",
        "Releasing inventory for order order-12345",
    ]
    assert [saga.status for saga in history] == ["compensated"]  # there it is in no history at all


# --- its examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_it_says(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}

    found = subprocess.run(
        [sys.executable, "-W", "error", path],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=environment,
        timeout=60,
    )

    assert (found.returncode, found.stderr) == (0, "")
    assert doctest.OutputChecker().check_output(_promised(path), found.stdout, doctest.ELLIPSIS), found.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_its_section(path: Path) -> None:
    assert re.match(r'The seed, ".+": ', _docstring(path))


def test_every_example_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "builder.md").read_text(encoding="utf-8")

    assert sorted(re.findall(r"`(\w+\.py)`", page)) == [path.name for path in EXAMPLES]


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _promised(path: Path) -> str:
    """What stands behind "It prints::" in the example's docstring."""
    block = _docstring(path).partition("It prints::\n\n")[2]
    lines = block.splitlines()
    end = next((i for i, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return inspect.cleandoc("\n".join(lines[:end])) + "\n"
