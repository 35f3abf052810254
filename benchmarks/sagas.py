"""How many sagas a second: three steps that do nothing, in memory and on SQLite, 1 and 64 at once.

    python benchmarks/sagas.py [--seconds N] [--repeats N] [--folder DIR]

The saga is "debit, credit, notify": three async steps that return a small dict; debit and credit have compensations. A
closed loop of workers executes one after the other and checks how each ended. The rate of a row is the median of the
repeats; the repeats of all rows are interleaved, so that a slow minute of the machine hits all alike. The last column
compares with a loop written by hand that calls the same three steps, each with a timeout, remembers what to undo, and
stores nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from allframe import Saga, SagaOrchestrator, SagaStatus, StepContext, Unknown, compensates, step

Entry = dict[str, int]


class Transfer(Saga):
    """Debit, credit, notify; nothing is done."""

    amount: int

    @step
    async def debit(self, ctx: StepContext) -> Entry:
        return {"debited": self.amount}

    @compensates("debit")
    async def refund(self, debit: Entry | Unknown) -> None:
        return None

    @step
    async def credit(self, debit: Entry) -> Entry:
        return {"credited": debit["debited"]}

    @compensates("credit")
    async def take_back(self, credit: Entry | Unknown) -> None:
        return None

    @step
    async def notify(self, credit: Entry) -> Entry:
        return {"notified": credit["credited"]}


EXPECTED: dict[str, Entry] = {"debit": {"debited": 7}, "credit": {"credited": 7}, "notify": {"notified": 7}}

#: Of a step, in seconds: allframe's own default.
TIMEOUT = 30.0

Execute = Callable[[], Awaitable[dict[str, Entry]]]


# --- by hand ---------------------------------------------------------------------------------------------------------


async def by_hand() -> dict[str, Entry]:
    """The same steps and the same promise to undo them, as one would write it without a library."""
    undo: list[Callable[[], Awaitable[None]]] = []
    try:
        async with asyncio.timeout(TIMEOUT):
            debit = await _debit(7)
        undo.append(_nothing)
        async with asyncio.timeout(TIMEOUT):
            credit = await _credit(debit)
        undo.append(_nothing)
        async with asyncio.timeout(TIMEOUT):
            notify = await _notify(credit)
        return {"debit": debit, "credit": credit, "notify": notify}
    except Exception:
        for compensation in reversed(undo):
            await compensation()
        raise


async def _debit(amount: int) -> Entry:
    return {"debited": amount}


async def _credit(debit: Entry) -> Entry:
    return {"credited": debit["debited"]}


async def _notify(credit: Entry) -> Entry:
    return {"notified": credit["credited"]}


async def _nothing() -> None:
    return None


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """One line of the table."""

    what: str
    #: Of the store; None for the loop by hand.
    url: str | None
    concurrency: int
    #: Sagas a second, a number a repeat.
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


async def measure(row: Row, seconds: float) -> float:
    """Sagas a second, over ``seconds`` after a warm-up of a tenth of that."""
    async with AsyncExitStack() as stack:
        execute: Execute = by_hand
        if row.url is not None:
            orchestrator = await stack.enter_async_context(SagaOrchestrator(row.url, sagas=[Transfer]))
            execute = _executing(orchestrator)
        await _closed_loop(execute, row.concurrency, seconds / 10)
        return await _closed_loop(execute, row.concurrency, seconds)


def _executing(orchestrator: SagaOrchestrator) -> Execute:
    async def execute() -> dict[str, Entry]:
        outcome = await orchestrator.execute(Transfer(amount=7))
        assert outcome.status is SagaStatus.COMPLETED, outcome
        return dict(outcome.outputs)

    return execute


async def _closed_loop(execute: Execute, workers: int, seconds: float) -> float:
    start = time.perf_counter()
    end = start + seconds

    async def work() -> int:
        done = 0
        while time.perf_counter() < end:
            outputs = await execute()
            assert outputs == EXPECTED, outputs
            done += 1
        return done

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(workers)]
    return sum(task.result() for task in tasks) / (time.perf_counter() - start)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    base = {row.concurrency: row.rate for row in rows if row.url is None}
    lines = [
        "| what | at once | sagas/s | min to max | times slower than by hand |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {row.what} | {row.concurrency} | {row.rate:,.0f} | {min(row.rates):,.0f} to {max(row.rates):,.0f} | "
            f"{base[row.concurrency] / row.rate:,.0f} |"
            for row in rows
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--folder", type=Path, help="where the SQLite files are made (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stores = [
            ("by hand, nothing stored", None),
            ("in memory", "memory://"),
            ("SQLite", f"sqlite:///{folder}/{{}}.db"),
            ("SQLite, durability=process", f"sqlite:///{folder}/{{}}.db?durability=process"),
        ]
        rows = [Row(what, url, workers) for what, url in stores for workers in (1, 64)]
        for repeat in range(options.repeats):
            for number, row in enumerate(rows):
                fresh = Row(row.what, row.url and row.url.format(f"{repeat}-{number}"), row.concurrency)
                row.rates.append(asyncio.run(measure(fresh, options.seconds)))
    print(table(rows))


if __name__ == "__main__":
    main()
