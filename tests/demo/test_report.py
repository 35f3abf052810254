"""The audit reads the banks' books, and sees whatever is wrong with them."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from allframe import StoreInUse
from allframe.demo.bank import Bank
from allframe.demo.report import audit
from allframe.demo.saga import TransferMoney
from allframe.demo.transfers import CASES, Transfer, lay_out, read_transfers
from allframe.events.lockfile import LockFile

pytestmark = pytest.mark.anyio


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    lay_out(tmp_path, 1, latency=0)
    return read_transfers(tmp_path)[0]


def bank_of(folder: Path, account: str) -> Bank:
    return Bank(folder / f"{account.partition('-')[0]}.db")


async def move(folder: Path, transfer: Transfer, *, debit: str | None = None, credit: str | None = None) -> None:
    """Carry out a side of the transfer under a key."""
    if debit:
        async with bank_of(folder, transfer.source) as bank:
            await bank.withdraw(transfer.source, transfer.amount, key=debit, reference=transfer.id)
    if credit:
        async with bank_of(folder, transfer.target) as bank:
            await bank.deposit(transfer.target, transfer.amount, key=credit, reference=transfer.id)


async def test_nothing_done_is_conserved(tmp_path: Path, transfer: Transfer) -> None:
    books = audit(tmp_path, [transfer])

    assert books.conserved
    assert books.before == books.after == 2 * (25 * Decimal(10_000) + Decimal("0.50"))


async def test_done_is_conserved_and_so_is_undone(tmp_path: Path, transfer: Transfer) -> None:
    await move(tmp_path, transfer, debit="a", credit="b")
    assert audit(tmp_path, [transfer]).conserved

    async with bank_of(tmp_path, transfer.source) as bank:
        await bank.revert(key="a", reference=transfer.id)
    assert audit(tmp_path, [transfer]).half == (transfer.id,)
    async with bank_of(tmp_path, transfer.target) as bank:
        await bank.revert(key="b", reference=transfer.id)
    assert audit(tmp_path, [transfer]).conserved


async def test_one_side_alone_is_half(tmp_path: Path, transfer: Transfer) -> None:
    await move(tmp_path, transfer, debit="a")

    books = audit(tmp_path, [transfer])

    assert (books.conserved, books.half) == (False, (transfer.id,))
    assert books.before - books.after == transfer.amount


async def test_both_sides_twice_is_twice_though_the_sum_is_right(tmp_path: Path, transfer: Transfer) -> None:
    await move(tmp_path, transfer, debit="a", credit="b")
    await move(tmp_path, transfer, debit="c", credit="d")

    books = audit(tmp_path, [transfer])

    assert (books.conserved, books.twice) == (False, (transfer.id,))
    assert books.before == books.after


async def test_what_nobody_asked_for_is_foreign(tmp_path: Path, transfer: Transfer) -> None:
    await move(tmp_path, transfer, debit="a", credit="b")

    assert audit(tmp_path, []).foreign == (transfer.id,)


async def test_a_balance_that_is_not_what_the_entries_say_is_seen(tmp_path: Path, transfer: Transfer) -> None:
    with closing(sqlite3.connect(tmp_path / "north.db")) as sql:
        sql.execute("UPDATE accounts SET balance = balance + 1 WHERE name = 'north-001'")
        sql.commit()

    books = audit(tmp_path, [transfer])

    assert (books.conserved, books.unbalanced) == (False, ("north-001",))


async def test_the_same_count_is_the_same_world(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lay_out(tmp_path / name, 50)

    first, second = read_transfers(tmp_path / "one"), read_transfers(tmp_path / "two")

    assert first == second
    assert len({transfer.id for transfer in first}) == 50


async def test_every_case_has_its_share(tmp_path: Path) -> None:
    lay_out(tmp_path, 400)

    with closing(sqlite3.connect(tmp_path / "north.db")) as sql:
        told = Counter(row[0] for row in sql.execute("SELECT operation || ': ' || trouble FROM instructions"))

    assert sum(case.share for case in CASES) == 100
    assert told == {
        "withdraw: slow": 16,
        "withdraw: lose the reply": 24,
        "withdraw: arrive late": 16,
        "deposit: refuse": 48,
        "deposit: fail after the effect": 40,
        "deposit: lose the reply": 16,
        "revert: slow": 16,
        "revert: unreachable": 16,
    }


async def test_every_line_is_an_input_of_the_saga(tmp_path: Path) -> None:
    lay_out(tmp_path, 20)

    for line in (tmp_path / "transfers.jsonl").read_text().splitlines():
        fields = json.loads(line)
        assert fields.pop("$id").startswith("transfer-000")
        TransferMoney.model_validate_json(json.dumps(fields))


async def test_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "sagas.db").write_text("precious")

    with pytest.raises(FileExistsError, match=r"holds other things\. The demo needs a folder of its own\."):
        lay_out(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["sagas.db"]


async def test_does_not_begin_anew_under_a_running_demo(tmp_path: Path, transfer: Transfer) -> None:
    owner = LockFile(str(tmp_path.resolve() / "sagas.db"))
    owner.acquire("elsewhere")
    try:
        with pytest.raises(StoreInUse, match="is open already in this process, opened at elsewhere"):
            lay_out(tmp_path, 5)
    finally:
        owner.release()

    assert read_transfers(tmp_path) == [transfer]
