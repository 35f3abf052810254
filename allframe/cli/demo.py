"""``allframe demo``: hundreds of transfers between two banks that misbehave, and the count of the money."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from allframe import SagaOrchestrator
from allframe.cli.drive import Ending, Tally, drive
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.inputs import read_inputs
from allframe.cli.progress import progress
from allframe.cli.provide import provided
from allframe.cli.render import print_json, print_line, print_table
from allframe.cli.session import Stopwatch, run_session
from allframe.demo.bank import Banks
from allframe.demo.report import Audit, audit
from allframe.demo.saga import BANKS, TransferMoney
from allframe.demo.transfers import Transfer, lay_out, read_transfers

__all__ = ["demo"]

COUNT = 400


#: How many references a message names before it only counts.
NAMED = 10


@guarded
def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the banks, the transfers and the store lie.", file_okay=False)
    ] = Path("allframe-demo"),
    count: Annotated[
        int | None, typer.Option(min=1, help=f"How many transfers; {COUNT} in a new folder.", show_default=False)
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Transfers at once.")] = 64,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of going on in the folder.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> Exit:
    """Move money between two banks that are slow, refuse, break off and lose replies; then count it.

    Kill it whenever you like: the same command goes on where it stopped. The exit code is 0 exactly if the money is
    conserved, nothing was applied twice and nothing is stuck.
    """
    transfers = _prepare(folder, count, fresh)
    session = _Session(folder, transfers, concurrency, json)
    # Percent-encoded, for a folder may be called anything.
    url = f"sqlite:///{quote(os.fsencode(folder / 'sagas.db'))}"
    run_session(url, lambda: provided(Banks.provided(folder, BANKS), "the demo"), session.work, concurrency=concurrency)
    return session.report()


def _prepare(folder: Path, count: int | None, fresh: bool) -> list[Transfer]:
    try:
        there = [] if fresh else read_transfers(folder)
        if not there:
            lay_out(folder, count or COUNT)
            there = read_transfers(folder)
        missing = [name for name in BANKS if not (folder / f"{name}.db").is_file()]
    except (OSError, ValueError, KeyError) as error:
        raise Stop(f"{folder} cannot be used for the demo: {error}") from error
    if missing:
        raise Stop(f"{folder} lacks the bank {missing[0]}.db. Add --fresh to begin anew.")
    if count is not None and count != len(there):
        raise Stop(f"{folder} holds {len(there)} transfers, not {count}. Leave --count out to go on, or add --fresh.")
    return there


class _Session:
    def __init__(self, folder: Path, transfers: list[Transfer], concurrency: int, json: bool) -> None:
        self._folder = folder
        self._transfers = transfers
        self._concurrency = concurrency
        self._json = json
        self._tally = Tally()
        self._clock = Stopwatch()
        self._ended_before = 0

    async def work(self, orchestrator: SagaOrchestrator) -> None:
        self._ended_before = await orchestrator.history_count()
        inputs = read_inputs(str(self._folder / "transfers.jsonl"), TransferMoney)
        with progress(len(inputs.lines), "transfers", quiet=self._json) as advance:

            def on_end(ending: Ending) -> None:
                self._tally.add(ending)
                advance()

            await drive(orchestrator, inputs.lines, self._concurrency, on_end)
            await orchestrator.idle()

    def report(self) -> Exit:
        """Print what came of it, and give the exit code."""
        duration = self._clock()
        count = self._tally.statuses
        ended = count["completed"] + count["compensated"] + count["failed"]
        result = {
            "completed": count["completed"],
            "compensated": count["compensated"],
            "failed": count["failed"],
            "stuck": len(self._transfers) - ended,
            "seconds": round(duration, 3),
            # Those that an earlier run ended took no time in this one.
            "sagas_per_second": round(max(0, ended - self._ended_before) / duration, 1),
        }
        books = audit(self._folder, self._transfers)
        (_print_json if self._json else _print)(result, books)
        fine = books.conserved and not result["stuck"] and not result["failed"]
        return Exit.COMPLETED if fine else Exit.INCOMPLETE


def _print_json(result: dict[str, float], books: Audit) -> None:
    print_json({**result, **asdict(books), "conserved": books.conserved})


def _print(result: dict[str, float], books: Audit) -> None:
    columns = ("COMPLETED", "COMPENSATED", "FAILED", "SECONDS", "SAGAS/S")
    row = [result[key] for key in ("completed", "compensated", "failed")]
    print_table(columns, [(*row, f"{result['seconds']:.1f}", f"{result['sagas_per_second']:.0f}")], right=columns)
    print_line()
    for what, names in (
        ("half done", books.half),
        ("applied twice", books.twice),
        ("in the books, but never asked for", books.foreign),
        ("accounts that do not add up", books.unbalanced),
    ):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            print_line(f"{what}: {', '.join(names[:NAMED])}{more}")
    if result["stuck"]:
        print_line(f"stuck: {result['stuck']}")
    verdict = "conserved" if books.conserved else "NOT CONSERVED"
    print_line(f"money before {books.before:,.2f}, after {books.after:,.2f}: {verdict}")
