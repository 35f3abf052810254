"""What `typecheck=True` costs: the same saga of three steps with types checked and without, in memory, in turns.

    python benchmarks/typecheck.py [--rounds N] [--sagas N]

Each round runs some sagas without checks and as many with them, in turns. Printed are the microseconds a step, of the
whole saga divided by its three steps, the ratio, and what is paid once: typeguard's making of a function.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from decimal import Decimal

from pydantic import BaseModel

from allframe import Inject, Saga, SagaOrchestrator, SagaStatus, Unknown, compensates, step
from allframe.saga.typechecking import checked


class Bank:
    """Does nothing."""


class Entry(BaseModel):
    account: str
    amount: Decimal


class Plain(Saga, typecheck=False):
    """Debit, credit, notify; nothing is done."""

    account: str
    amount: Decimal

    @step
    async def debit(self, bank: Inject[Bank]) -> Entry:
        amount: Decimal = self.amount
        return Entry(account=self.account, amount=amount)

    @compensates("debit")
    async def refund(self, debit: Entry | Unknown) -> None: ...

    @step
    async def credit(self, debit: Entry, bank: Inject[Bank]) -> list[Entry]:
        entries: list[Entry] = [debit, debit]
        return entries

    @compensates("credit")
    async def take_back(self, credit: list[Entry] | Unknown) -> None: ...

    @step
    async def notify(self, debit: Entry, credit: list[Entry]) -> dict[str, str]:
        text: str = f"{debit.account}, {len(credit)}"
        return {"sent": text}


class Checked(Plain, typecheck=True):
    """The same, checked."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What typecheck=True costs a step.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--sagas", type=int, default=100, help="in each turn")
    given = parser.parse_args()
    plain, with_checks = asyncio.run(_measure(given.rounds, given.sagas))
    ratios = [b / a for a, b in zip(plain, with_checks, strict=True)]
    print("| a step of a saga in memory | µs | min to max |")
    print("|---|--:|--:|")
    for what, found in (("without", plain), ("typecheck=True", with_checks)):
        print(f"| {what} | {statistics.median(found):,.1f} | {min(found):,.1f} to {max(found):,.1f} |")
    print(f"\ntimes: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"once for each function: {_making() * 1e3:.1f} ms, for a module of the length of this one")


async def _measure(rounds: int, sagas: int) -> tuple[list[float], list[float]]:
    """Microseconds a step, a number a round."""
    found: dict[type[Plain], list[float]] = {Plain: [], Checked: []}
    async with SagaOrchestrator(provide={Bank: Bank()}) as orchestrator:
        for saga in (Plain, Checked):
            await _turn(orchestrator, saga, 10)
        for number in range(rounds):
            for saga in (Plain, Checked) if number % 2 else (Checked, Plain):
                found[saga].append(await _turn(orchestrator, saga, sagas))
    return found[Plain], found[Checked]


async def _turn(orchestrator: SagaOrchestrator, saga: type[Plain], sagas: int) -> float:
    begin = time.perf_counter()
    for _ in range(sagas):
        outcome = await orchestrator.execute(saga(account="A", amount=Decimal(7)))
        assert outcome.status is SagaStatus.COMPLETED
        assert outcome.output == {"sent": "A, 2"}
    return (time.perf_counter() - begin) / sagas / 3 * 1e6


def _making() -> float:
    """Seconds that it takes to make a function that was not yet made."""
    begin = time.perf_counter()
    checked(main, {})
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
