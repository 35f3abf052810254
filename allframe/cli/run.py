"""``allframe run``: a saga for every line of an input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import anyio
import typer

from allframe import SagaOrchestrator
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.drive import Ending, Tally, drive
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.inputs import BadLine, Inputs, read_inputs, shown_json
from allframe.cli.logs import LogLevelOption, log_to_stderr
from allframe.cli.options import StoreOption, needed
from allframe.cli.progress import progress
from allframe.cli.provide import Provided, check_provided, find_provider, provided
from allframe.cli.render import clean, print_json, print_line, print_table, printable, warn
from allframe.cli.session import Stopwatch, run_session
from allframe.cli.target import Target, load_target, versions_of
from allframe.events.coded import Codecs
from allframe.saga.observe import Observer
from allframe.saga.wording import elapsed

__all__ = ["run"]

#: Endings other than completion that are listed; the rest is counted.
LISTED = 20


@guarded
def run(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="package.module:Saga or path/to/file.py:Saga.")],
    input: Annotated[  # noqa: A002 - it is the name of the argument
        str,
        typer.Argument(metavar="INPUT", help="A JSON object, a .json or .jsonl file, or - for standard input."),
    ],
    store: StoreOption = None,
    codec: CodecOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Sagas at once.")] = 64,
    provide: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:THING",
            help="What the sagas inject: a mapping, a dishka container, an async context manager that yields one, or a "
            "callable that returns any of these. Without it: the attribute 'provide' of TARGET's module.",
            show_default=False,
        ),
    ] = None,
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Give lines without $id an id that was never used: run them anew.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, print what would run, and write nothing. Opens --provide."),
    ] = False,
    log_level: LogLevelOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object a line: line, id, status, outputs, error. As they end.")
    ] = False,
) -> Exit:
    """Run a saga for every line of INPUT, and whatever an earlier run left unfinished.

    A key "$id" names a saga; a line without one is named by its content, so that running the same file again continues
    it. The exit code is 0 if every saga completed, 1 if one did not or a line could not be used.
    """
    url = "" if dry_run else needed(store)
    encoded = load_codec(codec)
    found = load_target(target)
    inputs = read_inputs(input, found.saga, new_ids=new_ids)
    for bad in inputs.bad:
        _report_bad(inputs, bad, json)
    if not inputs.lines:
        why = f"no line of {inputs.source} can be used" if inputs.bad else f"{inputs.source} is empty"
        raise Stop(f"Nothing to run: {why}.")
    provider, what = find_provider(provide, found.module)

    def opened() -> AbstractAsyncContextManager[Provided]:
        return provided(provider, what)

    if dry_run:
        return _dry_run(found, inputs, opened, what, json)
    return _run(found, inputs, opened, what, url, encoded, concurrency, json, log_to_stderr(log_level))


def _run(
    target: Target,
    inputs: Inputs,
    opened: Callable[[], AbstractAsyncContextManager[Provided]],
    what: str,
    store: str,
    codec: Codecs | None,
    concurrency: int,
    json: bool,
    on_record: list[Observer],
) -> Exit:
    tally, clock = Tally(), Stopwatch()
    begun = False
    left_over: list[str] = []

    async def work(orchestrator: SagaOrchestrator) -> None:
        nonlocal begun
        begun = True
        ours = {line.id for line in inputs.lines}
        resumed = [saga.id for saga in await orchestrator.get_running_sagas() if saga.id not in ours]
        with progress(len(inputs.lines), "sagas", quiet=json) as advance:

            def on_end(ending: Ending) -> None:
                tally.add(ending)
                if json:
                    print_json(ending.as_json())
                advance()

            await drive(orchestrator, inputs.lines, concurrency, on_end)
            await orchestrator.idle()
        for saga_id in resumed:
            metadata = await orchestrator.get_saga(saga_id)
            left_over.append(str(metadata.status) if metadata else "gone")

    try:
        run_session(
            store,
            opened,
            work,
            concurrency=concurrency,
            check=lambda found: check_provided([target.saga], found, what),
            on_record=on_record,
            versions=versions_of([target.module]),
            codec=codec,
        )
    finally:
        if begun:
            _summarise(inputs, tally, clock(), json)
    if left_over:
        (warn if json else print_line)(f"Resumed from earlier runs: {_counted(left_over)}.")
    complete = not tally.incomplete and not inputs.bad and set(left_over) <= {"completed"}
    return Exit.COMPLETED if complete else Exit.INCOMPLETE


def _dry_run(
    target: Target, inputs: Inputs, opened: Callable[[], AbstractAsyncContextManager[Provided]], what: str, json: bool
) -> Exit:
    async def check() -> None:
        async with opened() as found:
            check_provided([target.saga], found, what)

    anyio.run(check)
    if json:
        for line in inputs.lines:
            print_json({"line": line.number, "id": line.id, "saga": target.saga.graph.saga, "status": None})
    else:
        rows = [(line.number, line.id, clean(shown_json(line.saga).decode(), 100)) for line in inputs.lines]
        print_table(("LINE", "ID", "INPUT"), rows, right=("LINE",))
        print_line(f"\n{_count(len(inputs.lines), 'saga')} of {target.saga.graph.saga} would run. Nothing was written.")
    return Exit.INCOMPLETE if inputs.bad else Exit.COMPLETED


def _report_bad(inputs: Inputs, bad: BadLine, json: bool) -> None:
    warn(f"{inputs.place(bad.number)}: {clean(bad.message)}")
    if json:
        error = {"type": "BadLine", "message": bad.message}
        print_json({"line": bad.number, "id": bad.id, "status": None, "outputs": {}, "error": error})


def _summarise(inputs: Inputs, tally: Tally, duration: float, json: bool) -> None:
    say = warn if json else print_line
    if tally.incomplete and not json:
        rows = [(e.line.number, e.line.id, e.status, clean(e.error or "", 200)) for e in tally.incomplete[:LISTED]]
        print_table(("LINE", "ID", "STATUS", "ERROR"), rows, right=("LINE",))
        if len(tally.incomplete) > LISTED:
            print_line(f"… and {len(tally.incomplete) - LISTED} more: allframe list shows them.")
        print_line()
    done = sum(tally.statuses.values())
    parts = [_counted(tally.statuses.elements())] if done else []
    parts += [_count(len(inputs.bad), "unusable line")] if inputs.bad else []
    parts += [f"{len(inputs.lines) - done} not ended"] if done < len(inputs.lines) else []
    say(printable(f"{_count(done, 'saga')} in {elapsed(duration)}: {', '.join(parts) or 'none'}."))


def _counted(statuses: Iterable[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(Counter(statuses).items()))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
