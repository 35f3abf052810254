"""The demo's folder: two banks, and transfers between them of which stated shares meet each kind of trouble.

::

    <folder>/north.db, south.db   the banks
    <folder>/transfers.jsonl      what shall be done: an input file for ``allframe run``
    <folder>/sagas.db             the event store, made by whoever runs the transfers

The transfers are the same for the same count, and the troubles lie in the banks, so that a process that begins again
meets the world that the one before it left.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from allframe.demo.bank import Instruction, Operation, Trouble, create_bank
from allframe.demo.saga import BANKS
from allframe.events.lockfile import LockFile

__all__ = ["CASES", "Case", "Transfer", "lay_out", "read_transfers"]

ACCOUNTS = 25
OPENING = Decimal("10000.00")
#: Says that what lies in the folder is the demo's, to be removed with ``--fresh``.
_MARK = ".allframe-demo"
#: Seconds that an order travels to a bank.
LATENCY = 0.01


@dataclass(frozen=True, slots=True)
class Case:
    """What a share of the transfers meets, and how those should end."""

    name: str
    #: Percent of all transfers.
    share: int
    #: The status that they end with when nothing else goes wrong.
    ends: str
    #: Operation, trouble, how many times (None: always), seconds.
    troubles: tuple[tuple[Operation, Trouble, int | None, float], ...] = ()
    #: Whether the source holds less than the transfer needs.
    poor: bool = False


CASES = (
    Case("nothing special", 56, "completed"),
    Case("the source has too little", 4, "compensated", poor=True),
    Case("the debit is slow", 4, "completed", (("withdraw", Trouble.SLOW, None, 0.2),)),
    Case("the debit's reply is lost", 6, "compensated", (("withdraw", Trouble.LOSE_REPLY, None, 0),)),
    Case("the debit arrives late", 4, "compensated", (("withdraw", Trouble.ARRIVE_LATE, None, 0),)),
    Case("the credit is refused", 8, "compensated", (("deposit", Trouble.REFUSE, None, 0),)),
    Case("the credit's connection breaks once", 6, "completed", (("deposit", Trouble.FAIL_AFTER_EFFECT, 1, 0),)),
    Case("the credit's connection always breaks", 4, "compensated", (("deposit", Trouble.FAIL_AFTER_EFFECT, None, 0),)),
    Case(
        "the credit's reply is lost, and taking it back is slow",
        4,
        "compensated",
        (("deposit", Trouble.LOSE_REPLY, None, 0), ("revert", Trouble.SLOW, None, 0.2)),
    ),
    Case(
        "the credit is refused, and the refund needs patience",
        4,
        "compensated",
        (("deposit", Trouble.REFUSE, None, 0), ("revert", Trouble.UNREACHABLE, 2, 0)),
    ),
)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One line of the file."""

    id: str
    source: str
    target: str
    amount: Decimal

    def as_json(self) -> str:
        return json.dumps(
            {"$id": self.id, "source": self.source, "target": self.target, "amount": str(self.amount)},
            ensure_ascii=False,
        )


def lay_out(folder: Path, count: int, *, cases: Sequence[Case] = CASES, latency: float = LATENCY) -> None:
    """Found the banks and write the transfers, in place of what the demo put there before.

    The file of transfers comes last and stands for a finished folder.

    Raises:
        FileExistsError: things that are not the demo's lie there.
        StoreInUse: a demo is running there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds other things. The demo needs a folder of its own.")
    (folder / _MARK).touch()
    lock = LockFile(str(folder.resolve() / "sagas.db"))
    lock.acquire("allframe demo")
    try:
        _clear(folder)
        _found(folder, count, cases, latency)
    finally:
        lock.release()


def _found(folder: Path, count: int, cases: Sequence[Case], latency: float) -> None:
    transfers, instructions = _plan(count, cases)
    for bank in BANKS:
        accounts = {_account(bank, number): OPENING for number in range(1, ACCOUNTS + 1)} | {
            f"{bank}-poor": Decimal("0.50")
        }
        create_bank(folder / f"{bank}.db", accounts, instructions, latency=latency)
    draft = folder / "transfers.jsonl.new"
    draft.write_text("".join(f"{transfer.as_json()}\n" for transfer in transfers), encoding="utf-8")
    os.replace(draft, folder / "transfers.jsonl")


def _clear(folder: Path) -> None:
    (folder / "transfers.jsonl").unlink(missing_ok=True)
    for name in (*BANKS, "sagas"):
        for path in (folder / f"{name}.db{end}" for end in ("", "-wal", "-shm", "-journal")):
            path.unlink(missing_ok=True)


def read_transfers(folder: Path) -> list[Transfer]:
    """The lines of the folder's file; an empty list if there is none."""
    path = folder / "transfers.jsonl"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Transfer(row["$id"], row["source"], row["target"], Decimal(row["amount"])) for row in rows]


def _plan(count: int, cases: Sequence[Case]) -> tuple[list[Transfer], list[Instruction]]:
    """The transfers, and what the banks are told; the instructions hold for whichever bank the order comes to."""
    dice = random.Random(count)  # noqa: S311 - the same world for the same count
    transfers: list[Transfer] = []
    instructions: list[Instruction] = []
    for number, case in enumerate(_deal(cases, count, dice), start=1):
        source, target = dice.sample(BANKS, 2)
        giver = f"{source}-poor" if case.poor else _account(source, dice.randint(1, ACCOUNTS))
        amount = Decimal(dice.randint(100, 9999)).scaleb(-2)
        reference = f"transfer-{number:05}"
        transfers.append(Transfer(reference, giver, _account(target, dice.randint(1, ACCOUNTS)), amount))
        instructions += [
            Instruction(kind, reference, trouble, times, sec) for kind, trouble, times, sec in case.troubles
        ]
    return transfers, instructions


def _deal(cases: Sequence[Case], count: int, dice: random.Random) -> list[Case]:
    """``count`` cases in their shares, shuffled; what rounding leaves over meets nothing special."""
    dealt = [case for case in cases[1:] for _ in range(round(case.share * count / 100))][:count]
    dealt += [cases[0]] * (count - len(dealt))
    dice.shuffle(dealt)
    return dealt


def _account(bank: str, number: int) -> str:
    return f"{bank}-{number:03}"
