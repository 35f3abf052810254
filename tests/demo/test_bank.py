"""A bank does an order once, undoes it by its key, and can be told to misbehave."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from allframe import Refused
from allframe.demo.bank import Bank, Banks, Instruction, Trouble, create_bank

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def a_bank(folder: Path, *instructions: Instruction) -> AsyncIterator[Bank]:
    create_bank(folder / "north.db", {"north-1": Decimal(100), "north-2": Decimal(5)}, instructions)
    async with Bank(folder / "north.db") as bank:
        yield bank


async def balances(bank: Bank) -> tuple[Decimal, Decimal]:
    return await bank.balance("north-1"), await bank.balance("north-2")


async def test_moves_money(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        await bank.withdraw("north-1", Decimal("12.34"), key="a")
        await bank.deposit("north-2", Decimal("12.34"), key="b")

        assert await balances(bank) == (Decimal("87.66"), Decimal("17.34"))


async def test_applies_a_repeated_key_once(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        for _ in range(3):
            await bank.withdraw("north-1", Decimal(10), key="a")

        assert await bank.balance("north-1") == 90


async def test_answers_a_repeated_key_as_before_even_if_it_was_no(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        with pytest.raises(Refused, match=r"account north-2 has 5\.00, less than 10\.00"):
            await bank.withdraw("north-2", Decimal(10), key="a")
        await bank.deposit("north-2", Decimal(50), key="b")

        with pytest.raises(Refused, match=r"has 5\.00, less than 10\.00"):
            await bank.withdraw("north-2", Decimal(10), key="a")
        assert await bank.balance("north-2") == 55


async def test_refuses_a_key_that_belongs_to_another_order(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        await bank.deposit("north-1", Decimal(10), key="a")

        with pytest.raises(Refused, match="the key a belongs to another order"):
            await bank.deposit("north-2", Decimal(10), key="a")


async def test_refuses_an_account_that_it_does_not_keep(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        with pytest.raises(Refused, match="there is no account north-9"):
            await bank.deposit("north-9", Decimal(10), key="a")
        with pytest.raises(Refused, match="no bank keeps the account east-1"):
            Banks({"north": bank}).of("east-1")


async def test_moves_whole_cents_and_nothing_else(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        for amount in ("0.001", "-1", "NaN"):
            with pytest.raises(ValueError, match="is no amount of money: expected 0 or more, in whole cents"):
                await bank.deposit("north-1", Decimal(amount), key="a")

        assert await bank.balance("north-1") == 100


async def test_reverts_an_order_once(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        await bank.withdraw("north-1", Decimal(10), key="a")

        await bank.revert(key="a")
        await bank.revert(key="a")

        assert await bank.balance("north-1") == 100


async def test_an_order_that_comes_after_its_undo_does_nothing(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        await bank.revert(key="a")

        with pytest.raises(Refused, match="the order a was reverted before it arrived"):
            await bank.withdraw("north-1", Decimal(10), key="a")
        assert await bank.balance("north-1") == 100


async def test_a_lost_reply_leaves_the_effect(tmp_path: Path) -> None:
    async with (
        a_bank(tmp_path, Instruction("withdraw", "t", Trouble.LOSE_REPLY)) as bank,
        anyio.create_task_group() as group,
    ):
        group.start_soon(order, bank)

        while await bank.balance("north-1") != 90:
            pass
        await anyio.wait_all_tasks_blocked()  # and whoever waits for the reply waits on
        group.cancel_scope.cancel()


async def test_an_order_that_arrives_late_finds_its_undo(tmp_path: Path) -> None:
    async with a_bank(tmp_path, Instruction("withdraw", "t", Trouble.ARRIVE_LATE)) as bank:
        async with anyio.create_task_group() as group:
            group.start_soon(order, bank)
            while not await in_transit(tmp_path):
                pass
            group.cancel_scope.cancel()
        assert await bank.balance("north-1") == 100

        await bank.revert(key="a", reference="t")

        assert not await in_transit(tmp_path)
        assert await bank.balance("north-1") == 100


async def order(bank: Bank) -> None:
    await bank.withdraw("north-1", Decimal(10), key="a", reference="t")
    raise AssertionError("there was a reply")


async def in_transit(folder: Path) -> int:
    await anyio.lowlevel.checkpoint()
    with closing(sqlite3.connect(folder / "north.db")) as sql:
        return int(sql.execute("SELECT count(*) FROM in_transit").fetchone()[0])


async def test_a_connection_that_breaks_leaves_the_effect_and_the_second_try_its_answer(tmp_path: Path) -> None:
    async with a_bank(tmp_path, Instruction("deposit", "t", Trouble.FAIL_AFTER_EFFECT, times=1)) as bank:
        with pytest.raises(ConnectionResetError, match="the connection broke at deposit t"):
            await bank.deposit("north-1", Decimal(10), key="a", reference="t")
        await bank.deposit("north-1", Decimal(10), key="a", reference="t")

        assert await bank.balance("north-1") == 110


async def test_refusing_and_unreachable_leave_nothing(tmp_path: Path) -> None:
    troubles = Instruction("deposit", "t", Trouble.REFUSE), Instruction("withdraw", "t", Trouble.UNREACHABLE)
    async with a_bank(tmp_path, *troubles) as bank:
        with pytest.raises(Refused, match="the bank declines deposit t"):
            await bank.deposit("north-1", Decimal(10), key="a", reference="t")
        with pytest.raises(ConnectionRefusedError, match="cannot be reached for withdraw t"):
            await bank.withdraw("north-1", Decimal(10), key="b", reference="t")

        assert await bank.balance("north-1") == 100


async def test_slow_is_slow(tmp_path: Path) -> None:
    async with a_bank(tmp_path, Instruction("deposit", "t", Trouble.SLOW, seconds=3600)) as bank:
        before = anyio.current_time()
        await bank.deposit("north-1", Decimal(10), key="a", reference="t")

        assert anyio.current_time() - before >= 3600
        assert await bank.balance("north-1") == 110


async def test_trouble_is_counted_over_restarts(tmp_path: Path) -> None:
    async with a_bank(tmp_path, Instruction("deposit", "t", Trouble.UNREACHABLE, times=1)) as bank:
        with pytest.raises(ConnectionRefusedError):
            await bank.deposit("north-1", Decimal(10), key="a", reference="t")

    async with Bank(tmp_path / "north.db") as bank:
        await bank.deposit("north-1", Decimal(10), key="a", reference="t")
        assert await bank.balance("north-1") == 110


async def test_a_closed_bank_says_so(tmp_path: Path) -> None:
    async with a_bank(tmp_path) as bank:
        pass

    with pytest.raises(RuntimeError, match="this bank is closed: use it inside 'async with Bank"):
        await bank.balance("north-1")
    with pytest.raises(FileNotFoundError, match="there is no bank at"):
        await Bank(tmp_path / "south.db").__aenter__()
