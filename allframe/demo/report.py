"""The truth about the money, read from the two banks and from nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from allframe.demo.saga import BANKS
from allframe.demo.transfers import Transfer

__all__ = ["Audit", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What the banks' books say. Nothing may be in any of the lists."""

    #: All money of all banks when they were founded, and now.
    before: Decimal
    after: Decimal
    #: References of transfers of which one side is in effect and the other is not.
    half: tuple[str, ...]
    #: References of transfers of which a side is in effect more than once.
    twice: tuple[str, ...]
    #: References in the books that belong to no transfer, or to one of another amount.
    foreign: tuple[str, ...]
    #: Accounts whose balance is not what their entries add up to.
    unbalanced: tuple[str, ...]

    @property
    def conserved(self) -> bool:
        """Whether no money was lost or made, and every transfer is done or undone, once."""
        wrong = self.half or self.twice or self.foreign or self.unbalanced
        return self.before == self.after and not wrong


def audit(folder: Path, transfers: Iterable[Transfer]) -> Audit:
    """Read the books of the banks in ``folder``, and compare them with what was asked for.

    Transfers that are under way are half done as long as they are: ask when nothing runs.
    """
    before = after = 0
    moved: dict[str, list[tuple[int, str]]] = {}
    unbalanced: list[str] = []
    for bank in BANKS:
        with closing(_read(folder / f"{bank}.db")) as sql:
            opened, holds = sql.execute("SELECT total(opening), total(balance) FROM accounts").fetchone()
            before, after = before + int(opened), after + int(holds)
            for reference, cents, account in sql.execute(_IN_EFFECT):
                moved.setdefault(reference, []).append((cents, account))
            unbalanced += [row[0] for row in sql.execute(_UNBALANCED)]
    half, twice, foreign = _sort_out(moved, {transfer.id: transfer for transfer in transfers})
    return Audit(
        Decimal(before).scaleb(-2),
        Decimal(after).scaleb(-2),
        tuple(half),
        tuple(twice),
        tuple(foreign),
        tuple(unbalanced),
    )


#: One row for each entry that was applied and not reversed.
_IN_EFFECT = """
SELECT e.reference, e.cents, e.account FROM entries e LEFT JOIN reversals r ON r.key = e.key
WHERE e.cents + coalesce(r.cents, 0) <> 0 ORDER BY e.reference
"""

_UNBALANCED = """
SELECT a.name FROM accounts a WHERE a.balance <> a.opening
    + (SELECT coalesce(sum(e.cents), 0) FROM entries e WHERE e.account = a.name)
    + (SELECT coalesce(sum(r.cents), 0) FROM reversals r JOIN entries e ON e.key = r.key WHERE e.account = a.name)
"""


def _sort_out(
    moved: dict[str, list[tuple[int, str]]], transfers: dict[str, Transfer]
) -> tuple[list[str], list[str], list[str]]:
    half: list[str] = []
    twice: list[str] = []
    foreign: list[str] = []
    for reference, entries in moved.items():
        transfer = transfers.get(reference)
        if transfer is None:
            foreign.append(reference)
            continue
        amount = int(transfer.amount.scaleb(2))
        out, back = entries.count((-amount, transfer.source)), entries.count((amount, transfer.target))
        if out + back != len(entries):
            foreign.append(reference)
        elif out > 1 or back > 1:
            twice.append(reference)
        elif out != back:
            half.append(reference)
    return half, twice, foreign


def _read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
