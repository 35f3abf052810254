"""`measure`: the same work done by several, in turns, in one run; the rates as a table and as JSON.

A machine has slow minutes. So nobody is measured from beginning to end: a round gives each contestant one short turn,
and the rate of a contestant is the median of its turns. All stay open for the whole contest.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Contest", "Contestant", "Skipped", "Turn", "arguments", "measure", "peer", "report"]

#: Does the work for about so many seconds; returns how often it was done. It raises if a result is wrong.
Turn = Callable[[float], Awaitable[int]]


class Skipped(Exception):
    """A contestant that cannot take part, and why."""


@dataclass
class Contestant:
    """Who does the work. ``enter`` makes it ready in a folder of its own, for as long as its block lasts."""

    who: str
    enter: Callable[[Path], AbstractAsyncContextManager[Turn]]
    #: How often a second, a number a turn.
    rates: list[float] = field(default_factory=list)
    #: Microseconds of processor to do it once, a number a turn.
    processor: list[float] = field(default_factory=list)
    skipped: str | None = None

    @property
    def rate(self) -> float | None:
        return statistics.median(self.rates) if self.rates else None

    @property
    def cost(self) -> float | None:
        """Microseconds of processor, of all threads, to do it once."""
        return statistics.median(self.processor) if self.processor else None


@dataclass
class Contest:
    """One line of the table: the work, and who does it. Ratios are to the first contestant, which is allframe."""

    what: str
    contestants: list[Contestant]
    unit: str = "events/s"


def peer(package: str) -> None:
    """
    Raises:
        Skipped: if ``package`` is not installed.
    """
    if find_spec(package) is None:
        raise Skipped(f"{package} is not installed: pip install --group peers")


async def measure(contest: Contest, *, rounds: int, seconds: float, folder: Path) -> None:
    """Give each contestant a turn of ``seconds`` in each round, after one that is not counted."""
    async with AsyncExitStack() as stack:
        turns: list[tuple[Contestant, Turn]] = []
        for contestant in contest.contestants:
            place = Path(tempfile.mkdtemp(dir=folder))
            try:
                turns.append((contestant, await stack.enter_async_context(contestant.enter(place))))
            except Skipped as reason:
                contestant.skipped = str(reason)
        for _, turn in turns:
            await turn(seconds / 2)
        for _ in range(rounds):
            for contestant, turn in turns:
                await _take(contestant, turn, seconds)


async def _take(contestant: Contestant, turn: Turn, seconds: float) -> None:
    start, processor = time.perf_counter(), time.process_time()
    done = await turn(seconds)
    contestant.rates.append(done / (time.perf_counter() - start))
    contestant.processor.append((time.process_time() - processor) / done * 1e6)


def report(contests: Iterable[Contest], packages: Iterable[str], settings: Iterable[str] = ()) -> str:
    """Versions, settings, and the rates as Markdown."""
    contests = list(contests)
    names = list(dict.fromkeys(c.who for contest in contests for c in contest.contestants))
    first, *others = names
    ratios = " | ".join(f"times {name}" for name in others)
    lines = [
        *(f"{name} {version}" for name, version in versions(packages).items()),
        *settings,
        "",
        f"| what | {' | '.join(names)} | {ratios} | min to max of {first} |",
        f"|---|{'--:|' * (len(names) + len(others) + 1)}",
        *(_line(contest, names) for contest in contests),
        "",
        f"| processor time, µs of all threads | {' | '.join(names)} |",
        f"|---|{'--:|' * len(names)}",
        *(_cost(contest, names) for contest in contests),
    ]
    skipped = {f"{c.who}: {c.skipped}" for contest in contests for c in contest.contestants if c.skipped}
    return "\n".join([*lines, *(f"\nskipped: {reason}" for reason in sorted(skipped))])


def _line(contest: Contest, names: list[str]) -> str:
    by_name = {contestant.who: contestant for contestant in contest.contestants}
    ours = contest.contestants[0]
    rates = [by_name[name].rate if name in by_name else None for name in names]
    cells = ["-" if rate is None else f"{rate:,.0f}" for rate in rates]
    cells += ["-" if rate is None or ours.rate is None else f"{ours.rate / rate:.2f}" for rate in rates[1:]]
    spread = f"{min(ours.rates):,.0f} to {max(ours.rates):,.0f}" if ours.rates else "-"
    return f"| {contest.what}, {contest.unit} | {' | '.join(cells)} | {spread} |"


def _cost(contest: Contest, names: list[str]) -> str:
    costs = {contestant.who: contestant.cost for contestant in contest.contestants}
    cells = ["-" if (cost := costs.get(name)) is None else f"{cost:,.1f}" for name in names]
    return f"| {contest.what}, for one of the {contest.unit.partition('/')[0]} | {' | '.join(cells)} |"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python, SQLite, the system, and the installed ones among ``packages``."""
    found = {
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "SQLite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors",
    }
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def as_json(contests: Iterable[Contest], packages: Iterable[str]) -> str:
    """Everything that was measured."""
    rows = [
        {
            "what": contest.what,
            "unit": contest.unit,
            "who": contestant.who,
            "median": contestant.rate,
            "rates": contestant.rates,
            "processor_us": contestant.cost,
            "skipped": contestant.skipped,
        }
        for contest in contests
        for contestant in contest.contestants
    ]
    return json.dumps({"versions": versions(packages), "rows": rows}, indent=2)


def arguments(description: str) -> argparse.ArgumentParser:
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn (default: 0.5)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant (default: 15)")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the temporary folder)")
    parser.add_argument("--only", default="", help="only the works whose name holds this text")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    return parser
