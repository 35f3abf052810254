"""The saga of `transfer_money.py`, tested: forward, refused, silenced, killed, and with a rollback that does not go well.

    pytest examples/test_transfer_money.py

Nothing here waits: timeouts that are staged pass at once, and so do the waits between attempts.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from transfer_money import Bank, Credited, Debited, TransferMoney

from allframe import CompensationFailed, SagaStatus, StepRefused, StepTimedOut
from allframe.testing import Crash, Fail, Refuse, SagaRun, Timeout, run_saga_sync

BEFORE = {"A": Decimal(1000), "B": Decimal(500), "C": Decimal(0)}
AFTER = {"A": Decimal(900), "B": Decimal(600), "C": Decimal(0)}


class Transfer:
    """100 from A to B, at a bank of its own."""

    def __init__(self, folder: Path) -> None:
        self.bank = Bank(folder / "bank.db")

    def run(self, *, target: str = "B", **outcomes: Any) -> SagaRun:
        saga = TransferMoney(source="A", target=target, amount=Decimal(100))
        return run_saga_sync(saga, provide={Bank: self.bank}, outcomes=outcomes)

    @property
    def balances(self) -> dict[str, Decimal]:
        return self.bank._balances()  # noqa: SLF001 - what the public method asks on a thread


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    return Transfer(tmp_path)


def test_the_money_arrives(transfer: Transfer) -> None:
    run = transfer.run()

    assert run.trace == ["debit", "credit"]
    assert run.status is SagaStatus.COMPLETED
    assert run.events == [
        Debited(account="A", amount=Decimal(100)),
        Credited(account="B", amount=Decimal(100)),
    ]
    assert transfer.balances == AFTER


def test_an_account_that_does_not_exist_is_refused_and_the_money_goes_back(transfer: Transfer) -> None:
    run = transfer.run(target="Z")

    assert run.trace == ["debit", "credit: refused", "undo debit"]
    assert isinstance(run.error, StepRefused)
    assert "there is no account Z" in str(run.error)
    assert transfer.balances == BEFORE


def test_a_bank_that_refuses_to_begin_leaves_nothing_to_undo(transfer: Transfer) -> None:
    run = transfer.run(debit=Refuse("closed on Sundays"))

    assert run.trace == ["debit: refused"]
    assert run.undone == []
    assert transfer.balances == BEFORE


@pytest.mark.parametrize("took_effect", [True, False])
@pytest.mark.parametrize("step", ["debit", "credit"])
def test_a_step_that_does_not_answer_is_undone_whether_the_money_moved_or_not(
    transfer: Transfer, step: str, took_effect: bool
) -> None:
    run = transfer.run(**{step: Timeout(effect=took_effect)})

    assert run.undone[0] == step
    assert isinstance(run.error, StepTimedOut)
    assert run.error.duration == 10
    assert transfer.balances == BEFORE


def test_a_connection_that_breaks_is_tried_again_and_the_money_moves_once(transfer: Transfer) -> None:
    run = transfer.run(credit=[ConnectionResetError, ConnectionResetError])

    assert run.trace == ["debit", "credit: unknown", "credit: unknown", "credit"]
    assert transfer.balances == AFTER


@pytest.mark.parametrize("step", ["debit", "credit"])
@pytest.mark.parametrize("took_effect", [True, False])
def test_a_process_that_dies_is_followed_by_one_that_goes_on(transfer: Transfer, step: str, took_effect: bool) -> None:
    run = transfer.run(**{step: Crash(effect=took_effect)})

    assert f"{step}: crashed" in run.trace
    assert run.status is SagaStatus.COMPLETED
    assert transfer.balances == AFTER


def test_a_refund_that_fails_twice_works_the_third_time(transfer: Transfer) -> None:
    run = transfer.run(credit=Fail, refund=[Fail, Timeout])

    assert run.trace == ["debit", "credit: failed", "undo debit: failed", "undo debit: timed out", "undo debit"]
    assert run.status is SagaStatus.COMPENSATED
    assert transfer.balances == BEFORE


def test_a_refund_that_always_fails_is_left_for_a_person(transfer: Transfer) -> None:
    run = transfer.run(credit=Fail, refund=Fail("the bank is closed"))

    assert run.status is SagaStatus.FAILED
    assert run.left == ("debit",)
    assert isinstance(run.error, CompensationFailed)
    assert "the bank is closed" in str(run.error)
