"""`Bank`: a participant that owns its data. Accounts and a ledger in one SQLite database, behind a client class.

It does what a far side must do so that a saga over it can be trusted:

*   Every order carries a **key**. One that comes again is answered as before, and applied once.
*   ``revert(key)`` undoes whatever that key did. If the key never arrived, it leaves a **tombstone**, so that an order
    that was only late cannot take effect after it was undone.
*   An order that it turns down is a `Refused`, and leaves nothing.

And it can be told to misbehave (`Trouble`), order by order, as real ones do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import anyio
import anyio.to_thread

from allframe import Refused

__all__ = ["Bank", "Banks", "Instruction", "Operation", "Trouble", "create_bank"]

T = TypeVar("T")
Operation = Literal["withdraw", "deposit", "revert"]


class Trouble(StrEnum):
    """How a bank misbehaves at one order."""

    #: It answers after ``seconds``.
    SLOW = "slow"
    #: It says no.
    REFUSE = "refuse"
    #: It cannot be reached: nothing happens.
    UNREACHABLE = "unreachable"
    #: It carries the order out, and the connection breaks before the answer.
    FAIL_AFTER_EFFECT = "fail after the effect"
    #: It carries the order out, and no answer ever comes.
    LOSE_REPLY = "lose the reply"
    #: No answer ever comes, and the order arrives when it has been reverted already.
    ARRIVE_LATE = "arrive late"


@dataclass(frozen=True, slots=True)
class Instruction:
    """Meet the orders of this kind, for the transfer with this reference, with trouble."""

    operation: Operation
    reference: str
    trouble: Trouble
    #: How many of them, counted over restarts; None for all.
    times: int | None = None
    #: How long, for `Trouble.SLOW`.
    seconds: float = 0.0


_SCHEMA = """
CREATE TABLE settings (latency REAL NOT NULL) STRICT;
CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    opening INTEGER NOT NULL,                       -- cents
    balance INTEGER NOT NULL CHECK (balance >= 0)   -- cents
) STRICT;
CREATE TABLE entries (
    key TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    reference TEXT NOT NULL,
    account TEXT NOT NULL,
    asked INTEGER NOT NULL,                         -- cents
    cents INTEGER NOT NULL,                         -- what it added to the account: 0 if it was refused
    refusal TEXT
) STRICT;
CREATE TABLE reversals (
    key TEXT PRIMARY KEY,                           -- of the entry that it undoes
    reference TEXT NOT NULL,
    cents INTEGER NOT NULL                          -- what it added to the account: 0 for a tombstone
) STRICT;
CREATE TABLE in_transit (key TEXT, operation TEXT, reference TEXT, account TEXT, cents INTEGER) STRICT;
CREATE TABLE instructions (
    operation TEXT NOT NULL, reference TEXT NOT NULL, trouble TEXT NOT NULL, times INTEGER, seconds REAL NOT NULL,
    met INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (operation, reference)
) STRICT;
"""


def create_bank(
    path: Path,
    accounts: Mapping[str, Decimal],
    instructions: Iterable[Instruction] = (),
    *,
    latency: float = 0.0,
) -> None:
    """Found a bank: ``accounts`` with their opening balances.

    ``latency``: seconds that each order travels before it arrives.
    """
    with closing(_connect(path)) as connection:
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO settings VALUES (?)", (latency,))
        connection.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?)",
            [(name, _cents(amount), _cents(amount)) for name, amount in accounts.items()],
        )
        connection.executemany(
            "INSERT INTO instructions (operation, reference, trouble, times, seconds) VALUES (?, ?, ?, ?, ?)",
            [(i.operation, i.reference, i.trouble.value, i.times, i.seconds) for i in instructions],
        )
        connection.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Order:
    key: str
    operation: str
    reference: str
    account: str
    #: What it adds to the account: negative for a withdrawal.
    cents: int


class Bank:
    """The client of one bank, an async context manager.

    Its methods answer when the bank's own transaction is committed. ``reference`` names the transfer that an order
    belongs to, as on a statement of account.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._instructions: dict[tuple[str, str], Instruction] = {}
        self._latency = 0.0

    async def __aenter__(self) -> Bank:
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no bank at {self.path}")
        # One connection, one thread at a time: SQLite would make them wait all the same.
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._connection = await anyio.to_thread.run_sync(_connect, self.path, limiter=self._one_at_a_time)
        await self._run(self._load)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(connection.close, limiter=self._one_at_a_time)

    async def withdraw(self, account: str, amount: Decimal, *, key: str, reference: str = "") -> None:
        """Take ``amount`` from the account.

        Raises:
            Refused: the account has less, or does not exist, or the key was reverted before.
            ConnectionError: in trouble; the order may have been carried out.
        """
        await self._carry_out(_Order(key, "withdraw", reference, account, -_cents(amount)))

    async def deposit(self, account: str, amount: Decimal, *, key: str, reference: str = "") -> None:
        """Add ``amount`` to the account.

        Raises:
            Refused: the account does not exist, or the key was reverted before.
            ConnectionError: in trouble; the order may have been carried out.
        """
        await self._carry_out(_Order(key, "deposit", reference, account, _cents(amount)))

    async def revert(self, *, key: str, reference: str = "") -> None:
        """Undo what the order with this key did, or see to it that it will never do anything.

        Raises:
            ConnectionError: in trouble; it may have been undone.
        """
        await self._meet("revert", reference, partial(self._revert, key, reference), late=None)

    async def balance(self, account: str) -> Decimal:
        """What the account holds now.

        Raises:
            KeyError: there is no such account.
        """
        row = await self._run(lambda sql: sql.execute(_BALANCE, (account,)).fetchone())
        if row is None:
            raise KeyError(account)
        return Decimal(row[0]).scaleb(-2)

    # --- what an order meets on its way ------------------------------------------------------------------------------

    async def _carry_out(self, order: _Order) -> None:
        if order.cents == 0:
            raise Refused("nothing to move: the amount is 0")
        refusal = await self._meet(
            order.operation, order.reference, partial(_apply, order=order), late=partial(_delay, order=order)
        )
        if refusal is not None:
            raise Refused(refusal)

    async def _meet(
        self,
        operation: str,
        reference: str,
        work: Callable[[sqlite3.Connection], str | None],
        late: Callable[[sqlite3.Connection], None] | None,
    ) -> str | None:
        if self._latency:
            await anyio.sleep(self._latency)
        instruction = self._instructions.get((operation, reference))
        if instruction is None or not await self._run(partial(_count, instruction=instruction)):
            return await self._run(work)
        match instruction.trouble:
            case Trouble.SLOW:
                await anyio.sleep(instruction.seconds)
                return await self._run(work)
            case Trouble.REFUSE:
                return f"the bank declines {operation} {reference}"
            case Trouble.UNREACHABLE:
                raise ConnectionRefusedError(f"the bank cannot be reached for {operation} {reference}")
            case Trouble.FAIL_AFTER_EFFECT:
                await self._run(work)
                raise ConnectionResetError(f"the connection broke at {operation} {reference}")
            case Trouble.LOSE_REPLY:
                await self._run(work)
            case Trouble.ARRIVE_LATE:
                await self._run(late or work)
        await anyio.sleep_forever()
        raise AssertionError("nobody waits for ever")

    # --- the bank's own transactions ---------------------------------------------------------------------------------

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            raise RuntimeError("this bank is closed: use it inside 'async with Bank(path) as bank'")
        return await anyio.to_thread.run_sync(_transact, self._connection, work, limiter=self._one_at_a_time)

    def _load(self, sql: sqlite3.Connection) -> None:
        (self._latency,) = sql.execute("SELECT latency FROM settings").fetchone()
        rows = sql.execute("SELECT operation, reference, trouble, times, seconds FROM instructions").fetchall()
        self._instructions = {(row[0], row[1]): Instruction(row[0], row[1], Trouble(row[2]), *row[3:]) for row in rows}

    @staticmethod
    def _revert(key: str, reference: str, sql: sqlite3.Connection) -> None:
        if sql.execute("SELECT 1 FROM reversals WHERE key = ?", (key,)).fetchone() is None:
            account, cents = sql.execute("SELECT account, cents FROM entries WHERE key = ?", (key,)).fetchone() or (
                "",
                0,
            )
            sql.execute("INSERT INTO reversals VALUES (?, ?, ?)", (key, reference, -cents))
            sql.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (cents, account))
        for row in sql.execute("DELETE FROM in_transit WHERE key = ? RETURNING *", (key,)).fetchall():
            _apply(sql, order=_Order(*row))  # what was late arrives now, and finds its undo


_BALANCE = "SELECT balance FROM accounts WHERE name = ?"


def _apply(sql: sqlite3.Connection, order: _Order) -> str | None:
    """Carry the order out, once; the reason if it is refused."""
    if sql.execute("SELECT 1 FROM reversals WHERE key = ?", (order.key,)).fetchone():
        return f"the order {order.key} was reverted before it arrived"
    before = sql.execute("SELECT account, asked, refusal FROM entries WHERE key = ?", (order.key,)).fetchone()
    if before is not None:
        if before[:2] != (order.account, order.cents):
            return f"the key {order.key} belongs to another order"
        return str(before[2]) if before[2] is not None else None
    refusal = _why_not(sql, order)
    applied = 0 if refusal else order.cents
    sql.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)",
        (order.key, order.operation, order.reference, order.account, order.cents, applied, refusal),
    )
    sql.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (applied, order.account))
    return refusal


def _why_not(sql: sqlite3.Connection, order: _Order) -> str | None:
    row = sql.execute(_BALANCE, (order.account,)).fetchone()
    if row is None:
        return f"there is no account {order.account}"
    if row[0] + order.cents < 0:
        return f"account {order.account} has {_money(row[0])}, less than {_money(-order.cents)}"
    return None


def _delay(sql: sqlite3.Connection, order: _Order) -> None:
    sql.execute(
        "INSERT INTO in_transit VALUES (?, ?, ?, ?, ?)",
        (order.key, order.operation, order.reference, order.account, order.cents),
    )


def _count(sql: sqlite3.Connection, instruction: Instruction) -> bool:
    """Whether the instruction still holds; it has been met once more if so."""
    if instruction.times is None:
        return True
    done = sql.execute(
        "UPDATE instructions SET met = met + 1 WHERE operation = ? AND reference = ? AND met < times",
        (instruction.operation, instruction.reference),
    )
    return done.rowcount == 1


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    # What was committed outlives the process; only losing power could take the last of it.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        answer = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answer


def _cents(amount: Decimal) -> int:
    cents = amount.scaleb(2)
    if not cents.is_finite() or cents < 0 or cents != cents.to_integral_value():
        raise ValueError(f"{amount} is no amount of money: expected 0 or more, in whole cents")
    return int(cents)


def _money(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2):,.2f}"


@dataclass(frozen=True, slots=True)
class Banks:
    """Every bank by its name; an account is called ``<bank>-<number>``."""

    banks: Mapping[str, Bank] = field(default_factory=dict)

    def of(self, account: str) -> Bank:
        """The bank where ``account`` is kept.

        Raises:
            Refused: no bank keeps it.
        """
        bank = self.banks.get(account.partition("-")[0])
        if bank is None:
            raise Refused(f"no bank keeps the account {account}")
        return bank

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: str | Path, names: Iterable[str]) -> AsyncIterator[Banks]:
        """The banks ``<folder>/<name>.db``, open for as long as the block runs."""
        async with AsyncExitStack() as stack:
            yield cls({name: await stack.enter_async_context(Bank(Path(folder) / f"{name}.db")) for name in names})

    @classmethod
    @asynccontextmanager
    async def provided(cls, folder: str | Path, names: Iterable[str]) -> AsyncIterator[dict[type, object]]:
        """The same as what is provided to sagas that inject `Banks`."""
        async with cls.open(folder, names) as banks:
            yield {cls: banks}
