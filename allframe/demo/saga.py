"""`TransferMoney`: from an account of one bank to an account of another.

It is a target for the command line, too::

    allframe run allframe.demo.saga:TransferMoney allframe-demo/transfers.jsonl --store sqlite:///allframe-demo/sagas.db
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from decimal import Decimal

from pydantic import Field

from allframe import Event, Inject, Retry, Saga, StepContext, Unknown, compensates, step
from allframe.demo.bank import Banks

__all__ = ["BANKS", "Credited", "Debited", "TransferMoney", "provide"]

#: The banks of the demo.
BANKS = ("north", "south")
#: Seconds that a step waits for a bank: short, so that a lost answer is not worth a coffee.
PATIENCE = 0.5


class Debited(Event, name="demo.debited"):
    """Money left an account."""

    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class Credited(Event, name="demo.credited"):
    """Money came to an account."""

    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class TransferMoney(Saga, name="demo.transfer"):
    """Move money from one account to another."""

    source: str
    target: str
    amount: Decimal = Field(gt=0, decimal_places=2)

    @step(timeout=PATIENCE)
    async def debit(self, banks: Inject[Banks], ctx: StepContext) -> Debited:
        bank = banks.of(self.source)
        await bank.withdraw(self.source, self.amount, key=ctx.idempotency_key, reference=ctx.saga_id)
        return Debited(account=self.source, amount=self.amount)

    @compensates("debit", timeout=5, retry=Retry(attempts=5, wait=0.05))
    async def refund(self, debit: Debited | Unknown, banks: Inject[Banks], ctx: StepContext) -> None:
        # By key and not by amount: the same call undoes a debit that happened, one that nobody knows of, and one that
        # is still on its way.
        await banks.of(self.source).revert(key=ctx.forward_key, reference=ctx.saga_id)

    @step(timeout=PATIENCE, retry=Retry(attempts=3, wait=0.05, on=ConnectionError))
    async def credit(self, banks: Inject[Banks], ctx: StepContext) -> Credited:
        bank = banks.of(self.target)
        await bank.deposit(self.target, self.amount, key=ctx.idempotency_key, reference=ctx.saga_id)
        return Credited(account=self.target, amount=self.amount)

    @compensates("credit", timeout=5, retry=Retry(attempts=5, wait=0.05))
    async def take_back(self, credit: Credited | Unknown, banks: Inject[Banks], ctx: StepContext) -> None:
        await banks.of(self.target).revert(key=ctx.forward_key, reference=ctx.saga_id)


def provide() -> AbstractAsyncContextManager[dict[type, object]]:
    """What the saga injects, for ``allframe run``: the banks in the folder that ``ALLFRAME_DEMO_FOLDER`` names."""
    return Banks.provided(os.environ.get("ALLFRAME_DEMO_FOLDER", "allframe-demo"), BANKS)
