"""Move money between accounts of a bank that keeps them in a SQLite file: a complete program, and a target to run.

    python examples/transfer_money.py
    allframe run examples/transfer_money.py:TransferMoney examples/transfers.jsonl --store sqlite:///transfers.db

Two of the transfers in the file are refused, so the second command ends with exit code 1. Run it again, or kill it and
run it again: no transfer happens twice, and none is left half done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path

from anyio import to_thread
from pydantic import Field

from allframe import (
    Event,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaError,
    SagaOrchestrator,
    StepContext,
    Unknown,
    compensates,
    step,
)

# --- the other side: it knows nothing of sagas, and does the work of one key once ------------------------------------


class Declined(Exception):
    """The bank said no, and did nothing."""


class Bank:
    """Accounts in a SQLite file. Every call is one transaction of the bank's own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as sql:
            sql.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)")
            sql.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, account TEXT, amount INTEGER)")
            opening = [("A", 1000_00), ("B", 500_00), ("C", 0)]
            sql.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?)", opening)

    async def withdraw(self, account: str, amount: Decimal, *, key: str) -> None:
        """Take ``amount`` from ``account``; a second call with the same key does nothing.

        Raises:
            Declined: there is no such account, or too little on it.
        """
        await to_thread.run_sync(self._move, account, -cents(amount), key)

    async def deposit(self, account: str, amount: Decimal, *, key: str) -> None:
        """Put ``amount`` on ``account``; a second call with the same key does nothing.

        Raises:
            Declined: there is no such account.
        """
        await to_thread.run_sync(self._move, account, cents(amount), key)

    async def revert(self, *, key: str) -> None:
        """Undo what was done under ``key``; if that has not come yet, see to it that it does nothing when it comes."""
        await to_thread.run_sync(self._revert, key)

    async def balances(self) -> dict[str, Decimal]:
        """What is on each account."""
        return await to_thread.run_sync(self._balances)

    def _move(self, account: str, amount: int, key: str) -> None:
        with self._transaction() as sql:
            if sql.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone():
                return
            row = sql.execute("SELECT balance FROM accounts WHERE name = ?", (account,)).fetchone()
            if row is None:
                raise Declined(f"there is no account {account}")
            if row[0] + amount < 0:
                raise Declined(f"account {account} has {Decimal(row[0]) / 100}, which is too little")
            sql.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, account))
            sql.execute("INSERT INTO entries VALUES (?, ?, ?)", (key, account, amount))

    def _revert(self, key: str) -> None:
        with self._transaction() as sql:
            row = sql.execute("SELECT account, amount FROM entries WHERE key = ?", (key,)).fetchone()
            if row:
                sql.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (row[1], row[0]))
            # The entry stays, with nothing in it: a late request with this key finds it and does nothing.
            sql.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, 0)", (key, row[0] if row else None))

    def _balances(self) -> dict[str, Decimal]:
        with self._transaction() as sql:
            rows = sql.execute("SELECT name, balance FROM accounts ORDER BY name").fetchall()
        return {name: Decimal(balance) / 100 for name, balance in rows}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        sql = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            sql.execute("BEGIN IMMEDIATE")
            yield sql
            sql.execute("COMMIT")
        finally:
            sql.close()  # a transaction that did not get as far as COMMIT is rolled back


def cents(amount: Decimal) -> int:
    """The stored form of an amount of money."""
    return int(amount * 100)


# --- the saga --------------------------------------------------------------------------------------------------------


class Debited(Event):
    """Money left an account."""

    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class Credited(Event):
    """Money came to an account."""

    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class TransferMoney(Saga):
    """Move money from one account to another."""

    source: str
    target: str
    amount: Decimal = Field(gt=0, decimal_places=2)

    @step(timeout=10)
    async def debit(self, bank: Inject[Bank], ctx: StepContext) -> Debited:
        """Take the money."""
        try:
            await bank.withdraw(self.source, self.amount, key=ctx.idempotency_key)
        except Declined as no:
            raise Refused(str(no)) from no
        return Debited(account=self.source, amount=self.amount)

    @compensates("debit")
    async def refund(self, debit: Debited | Unknown, bank: Inject[Bank], ctx: StepContext) -> None:
        """Give it back, if it was taken: the bank knows by the key."""
        await bank.revert(key=ctx.forward_key)

    @step(timeout=10, retry=Retry(attempts=3, on=ConnectionError))
    async def credit(self, bank: Inject[Bank], ctx: StepContext) -> Credited:
        """Hand it over."""
        try:
            await bank.deposit(self.target, self.amount, key=ctx.idempotency_key)
        except Declined as no:
            raise Refused(str(no)) from no
        return Credited(account=self.target, amount=self.amount)

    @compensates("credit")
    async def take_back(self, credit: Credited | Unknown, bank: Inject[Bank], ctx: StepContext) -> None:
        """Take it back, if it was handed over."""
        await bank.revert(key=ctx.forward_key)


@asynccontextmanager
async def provide() -> AsyncIterator[dict[type, object]]:
    """What the saga injects, for ``allframe run``."""
    yield {Bank: Bank(Path("bank.db"))}


# --- a program of its own --------------------------------------------------------------------------------------------


async def main() -> None:
    async with (
        provide() as objects,
        SagaOrchestrator("sqlite:///transfers.db", provide=objects) as orchestrator,
    ):
        outcome = await orchestrator.execute(
            TransferMoney(source="A", target="B", amount=Decimal(100)), id="transfer-100"
        )
        print(outcome.id, outcome.status, outcome.outputs["debit"])
        try:
            await orchestrator.execute(TransferMoney(source="A", target="Z", amount=Decimal(5)), id="transfer-5")
        except SagaError as error:
            print(error)
        bank = objects[Bank]
        assert isinstance(bank, Bank)
        print(await bank.balances())


if __name__ == "__main__":
    asyncio.run(main())
