"""Rounds of SIGKILL on the demo, and the truth about the money after each.

A round copies a folder of transfers, runs ``allframe demo`` in it, kills it at a moment drawn uniformly between the
first and the last record of a run that nobody kills, notes from the store what the kill hit, and runs the demo again to
its end. In half of the rounds the second run is killed as well, while it recovers. Then the books of the two banks say
whether each transfer is done or undone as a whole, and the store whether each has one saga that ended.

    python -m tests.demo.kill_rounds 200
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from time import monotonic
from typing import TypeVar

import anyio

from allframe import EventStore, SagaStatus, StoreError
from allframe.demo.bank import Trouble
from allframe.demo.saga import BANKS
from allframe.demo.transfers import Case, Transfer, lay_out, read_transfers
from allframe.saga.execution import Execution
from allframe.saga.monitor import Monitor
from tests.cli.shell import Zygote

T = TypeVar("T")

COUNT = 96
CONCURRENCY = 96
#: At the same time, for most of a round is waiting.
SIDE_BY_SIDE = 4
KINDS = ("forward", "rollback", "recovery")

#: More than half take long, forward and back, so that many are under way until the end.
CASES = (
    Case("nothing special", 12, "completed"),
    Case("the source has too little", 4, "compensated", poor=True),
    Case("the debit is slow", 8, "completed", (("withdraw", Trouble.SLOW, None, 0.3),)),
    Case("the debit's reply is lost", 8, "compensated", (("withdraw", Trouble.LOSE_REPLY, None, 0),)),
    Case("the debit arrives late", 4, "compensated", (("withdraw", Trouble.ARRIVE_LATE, None, 0),)),
    Case("the credit is refused", 4, "compensated", (("deposit", Trouble.REFUSE, None, 0),)),
    Case("the credit's connection breaks once", 4, "completed", (("deposit", Trouble.FAIL_AFTER_EFFECT, 1, 0),)),
    Case("the credit's connection always breaks", 4, "compensated", (("deposit", Trouble.FAIL_AFTER_EFFECT, None, 0),)),
    Case(
        "the credit's reply is lost, and undoing is slow",
        46,
        "compensated",
        (("deposit", Trouble.LOSE_REPLY, None, 0), ("revert", Trouble.SLOW, None, 0.3)),
    ),
    Case(
        "the credit is refused, and the refund needs patience",
        6,
        "compensated",
        (("deposit", Trouble.REFUSE, None, 0), ("revert", Trouble.UNREACHABLE, 2, 0)),
    ),
)


@dataclass(frozen=True)
class Kill:
    """What a SIGKILL hit, as the store's records tell it right after."""

    #: Seconds after the first record of the killed process.
    moment: float
    in_flight: int
    #: An attempt of a step was open.
    forward: bool
    #: A saga was being rolled back.
    rollback: bool
    #: The process had taken over sagas of the one before, and some of them were open.
    recovery: bool

    @property
    def hit(self) -> set[str]:
        return {kind for kind in KINDS if getattr(self, kind)}


@dataclass
class Round:
    number: int
    kills: list[Kill] = field(default_factory=list)
    #: What is wrong afterwards: should be nothing.
    wrong: list[str] = field(default_factory=list)

    @property
    def hit(self) -> set[str]:
        return set().union(*(kill.hit for kill in self.kills))


def run_rounds(count: int, seed: int = 1) -> list[Round]:
    """``count`` rounds. The same seed draws the same moments, as far as a machine does the same twice."""
    with tempfile.TemporaryDirectory(prefix="allframe-kill-") as name, ExitStack() as stack:
        template = Path(name) / "template"
        lay_out(template, COUNT, cases=CASES)
        idle: Queue[Zygote] = Queue()
        for _ in range(SIDE_BY_SIDE):
            idle.put(stack.enter_context(closing(Zygote())))
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            # As many at once as in the rounds, for what else the machine does makes a run longer.
            unkilled = [Path(name) / f"unkilled-{number}" for number in range(SIDE_BY_SIDE)]
            span = statistics.median(pool.map(lambda folder: _with(idle, _unkilled_span, folder, template), unkilled))

            def one(number: int) -> Round:
                dice = random.Random(f"{seed}/{number}")
                return _with(idle, _round, Path(name) / f"round-{number}", template, number, span, dice)

            return list(pool.map(one, range(1, count + 1)))


def _with(idle: Queue[Zygote], work: Callable[..., T], *arguments: object) -> T:
    zygote = idle.get()
    try:
        return work(zygote, *arguments)
    finally:
        idle.put(zygote)


def _round(zygote: Zygote, folder: Path, template: Path, number: int, span: float, dice: random.Random) -> Round:
    shutil.copytree(template, folder)
    this = Round(number)
    for _ in range(dice.choice((1, 2))):
        try:
            kill = _run_and_kill(zygote, folder, dice.uniform(0, span), recovering=bool(this.kills))
        except StoreError as error:
            this.wrong.append(f"the store cannot be read after a kill: {error}")
            break
        if kill is None:
            break  # it ended by itself before the moment came
        this.kills.append(kill)
    code, output = _run_to_end(zygote, folder)
    transfers = read_transfers(folder)
    this.wrong += [*_wrong_in_the_store(folder, transfers), *_wrong_in_the_books(folder, transfers)]
    if code != 0:
        this.wrong.append(f"the last run ended with {code}: {output}")
    shutil.rmtree(folder)
    return this


# --- the process -----------------------------------------------------------------------------------------------------


def _start(zygote: Zygote, folder: Path) -> None:
    zygote.start(folder, "demo", "--folder", str(folder), "--json", "--concurrency", str(CONCURRENCY), streams=folder)


def _run_to_end(zygote: Zygote, folder: Path) -> tuple[int | None, str]:
    """Its exit code, None if it does not end, and what it said."""
    _start(zygote, folder)
    code = zygote.wait(60)
    if code is None:
        zygote.kill()
    said = "".join((folder / stream).read_text(errors="replace") for stream in ("stdout", "stderr"))
    return code, said[-2000:]


def _run_and_kill(zygote: Zygote, folder: Path, moment: float, *, recovering: bool) -> Kill | None:
    """Kill a run ``moment`` seconds after its first record; None if it ended before."""
    before = _last_position(folder)
    _start(zygote, folder)
    deadline = monotonic() + 60
    while _last_position(folder) == before:
        assert monotonic() < deadline, "the demo wrote nothing for a minute"
        if zygote.wait(0.004) is not None:
            return None
    if zygote.wait(moment) is not None:
        return None
    zygote.kill()
    return anyio.run(_what_was_hit, folder, moment, recovering)


def _unkilled_span(zygote: Zygote, folder: Path, template: Path) -> float:
    """Seconds from the first to the last record."""
    shutil.copytree(template, folder)
    code, output = _run_to_end(zygote, folder)
    assert code == 0, output
    with closing(_read(folder / "sagas.db")) as sql:
        first, last = sql.execute("SELECT min(recorded_at), max(recorded_at) FROM events").fetchone()
    return float(last - first) / 1e6


# --- what was hit, and what is true ----------------------------------------------------------------------------------


async def _what_was_hit(folder: Path, moment: float, recovering: bool) -> Kill:
    open_sagas = await _executions(folder)
    epoch = max((execution.epoch for execution in open_sagas), default=0)
    taken_over = [e for e in open_sagas if e.epoch == epoch and e.started is not None and e.started.epoch < epoch]
    return Kill(
        moment=moment,
        in_flight=len(open_sagas),
        forward=any(execution.running for execution in open_sagas),
        rollback=any(execution.status is SagaStatus.COMPENSATING for execution in open_sagas),
        recovery=recovering and bool(taken_over),
    )


async def _executions(folder: Path) -> list[Execution]:
    """Where every saga stands that had not ended."""
    async with EventStore(f"sqlite:///{folder}/sagas.db?mode=ro") as store:
        monitor = Monitor(store)
        found = [await monitor.read(metadata.id) for metadata in await monitor.get_running_sagas()]
    return [stored.execution for stored in found if stored is not None]


def _wrong_in_the_store(folder: Path, transfers: Sequence[Transfer]) -> list[str]:
    """Every line has one saga, and it ended."""
    statuses = dict(_statuses(folder))
    wrong = [f"{transfer.id} has no saga" for transfer in transfers if transfer.id not in statuses]
    wrong += [f"{saga_id} is no line" for saga_id in statuses.keys() - {transfer.id for transfer in transfers}]
    return wrong + [
        f"{saga_id} is {status}" for saga_id, status in statuses.items() if status not in ("completed", "compensated")
    ]


def _wrong_in_the_books(folder: Path, transfers: Sequence[Transfer]) -> list[str]:
    """Each transfer is net 0/0 or 1/1, as its saga says, and the money is what it was."""
    statuses, sides = dict(_statuses(folder)), {transfer.id: [0, 0] for transfer in transfers}
    before = after = 0
    for bank in BANKS:
        with closing(_read(folder / f"{bank}.db")) as sql:
            opened, holds = sql.execute("SELECT sum(opening), sum(balance) FROM accounts").fetchone()
            before, after = before + opened, after + holds
            for reference, cents in sql.execute(
                "SELECT e.reference, e.cents FROM entries e WHERE e.cents <> 0 "
                "AND NOT EXISTS (SELECT 1 FROM reversals r WHERE r.key = e.key)"
            ):
                sides[reference][cents > 0] += 1
    wrong = [] if before == after else [f"there was {before} and is {after}"]
    for saga_id, (out, back) in sides.items():
        expected = (1, 1) if statuses.get(saga_id) == "completed" else (0, 0)
        if (out, back) != expected:
            wrong.append(f"{saga_id} is {statuses.get(saga_id)}, with {out} debits and {back} credits in effect")
    return wrong


def _statuses(folder: Path) -> Iterable[tuple[str, str]]:
    with closing(_read(folder / "sagas.db")) as sql:
        rows = sql.execute("SELECT stream, status FROM heads WHERE category = 'saga'").fetchall()
    return [(stream.removeprefix("$saga/"), status) for stream, status in rows]


def _last_position(folder: Path) -> int:
    path = folder / "sagas.db"
    if not path.exists():
        return 0
    try:
        with closing(_read(path)) as sql:
            return int(sql.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])
    except sqlite3.OperationalError:  # it is just being made
        return 0


def _read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)


# --- the histogram ---------------------------------------------------------------------------------------------------


def histogram(rounds: Sequence[Round]) -> str:
    """How many rounds hit what, and how many sagas were under way."""
    hits = Counter(kind for this in rounds for kind in this.hit)
    in_flight = sorted(kill.in_flight for this in rounds for kill in this.kills)
    lines = [f"{len(rounds)} rounds, {len(in_flight)} kills"]
    for kind in KINDS:
        share = 100 * hits[kind] / len(rounds)
        lines.append(f"{kind:<9} {hits[kind]:>4} rounds  {share:>5.1f} %  {'#' * round(share / 2)}")
    enough = 100 * sum(number >= 32 for number in in_flight) / max(1, len(in_flight))
    lines.append(
        f"in flight at a kill: median {statistics.median(in_flight):.0f}, 32 or more in {enough:.0f} % of kills"
    )
    return "\n".join(lines)


def main() -> None:
    rounds = run_rounds(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print(histogram(rounds))
    wrong = {this.number: this.wrong for this in rounds if this.wrong}
    print(json.dumps(wrong, indent=2) if wrong else "each transfer done or undone, none stuck")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
