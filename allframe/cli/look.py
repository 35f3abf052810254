"""``allframe list`` and ``allframe show``: what the store says of its sagas, beside whoever runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

import typer
from pydantic_core import to_json

from allframe import SagaMetadata, SagaStatus
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.options import StoreOption, needed
from allframe.cli.reading import read_store
from allframe.cli.render import moment, print_json, print_line, print_table, printable
from allframe.events.coded import Codecs
from allframe.saga.monitor import Monitor
from allframe.saga.states import RUNNING
from allframe.saga.timeline import Entry, tell
from allframe.saga.wording import elapsed

__all__ = ["detail", "list_sagas", "show"]

T = TypeVar("T")

#: The most characters of a value that are shown to a person.
SHORT = 200

#: How many of the newest sagas are looked at for an id that resembles one that does not exist.
NEAREST_AMONG = 1000


@guarded
def list_sagas(
    store: StoreOption = None,
    codec: CodecOption = None,
    status: Annotated[
        SagaStatus | None, typer.Option(help="Only sagas with this status.", show_default=False, case_sensitive=False)
    ] = None,
    saga: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only sagas of this name.", show_default=False)
    ] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help="Only sagas that a person should look at, the newest first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> Exit:
    """List the sagas of a store: those that run, then the others, the newest first."""

    async def read(monitor: Monitor) -> tuple[list[SagaMetadata], int]:
        if attention:
            found = await monitor.get_attention(saga=saga, status=status, limit=limit)
        else:
            found = await _find(monitor, status, saga, limit)
        return found[:limit], await monitor.running_count() + await monitor.history_count()

    found, total = _look(needed(store), load_codec(codec), read)
    if json:
        for metadata in found:
            print_json(asdict(metadata))
        return Exit.COMPLETED
    columns = ("ID", "SAGA", "STATUS", "STEPS", "STARTED", "UPDATED", "DETAIL")
    print_table(columns, [_row(metadata) for metadata in found])
    print_line(f"\n{len(found):,} of {total:,} sagas." if found else f"None of {total:,} sagas.")
    return Exit.COMPLETED


@guarded
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The saga's id.")],  # noqa: A002 - the name of the argument
    store: StoreOption = None,
    codec: CodecOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with the timeline in it.")] = False,
) -> Exit:
    """Show one saga: its steps, attempts, errors and its rollback, in the order in which they were recorded."""

    async def read(monitor: Monitor) -> tuple[SagaMetadata, list[Entry], dict[str, Any]]:
        metadata = await monitor.get_saga(id)
        if metadata is None:
            raise Stop(await _not_there(monitor, id))
        entries = tell((entry.at, entry.record) for entry in await monitor.timeline(id))
        return metadata, entries, await monitor.values(id)

    metadata, entries, values = _look(needed(store), load_codec(codec), read)
    if json:
        print_json({**asdict(metadata), **values, "timeline": [asdict(entry) for entry in entries]}, indent=2)
        return Exit.COMPLETED
    _print_summary(metadata, values)
    columns = ("AT", "EVENT", "STEP", "ATTEMPT", "TOOK", "DETAIL", "THEN")
    print_table(columns, [_entry_row(entry) for entry in entries], right=("ATTEMPT", "TOOK"))
    return Exit.COMPLETED


def _look(url: str, codec: Codecs | None, read: Callable[[Monitor], Awaitable[T]]) -> T:
    """What ``read`` finds in the store, which is opened for reading only."""
    return read_store(url, codec, lambda store: read(Monitor(store)))


async def _find(monitor: Monitor, status: SagaStatus | None, saga: str | None, limit: int) -> list[SagaMetadata]:
    running: list[SagaMetadata] = []
    if status is None or status in RUNNING:
        every = await monitor.get_running_sagas()
        running = [m for m in every if (status is None or m.status is status) and saga in (None, m.saga)]
        running.sort(key=lambda metadata: (metadata.started_at, metadata.id), reverse=True)
    if status in RUNNING or len(running) >= limit:
        return running[:limit]
    return running + await monitor.get_history(saga=saga, status=status, limit=limit - len(running))


async def _not_there(monitor: Monitor, saga_id: str) -> str:
    known = [metadata.id for metadata in await _find(monitor, None, None, NEAREST_AMONG)]
    near = get_close_matches(saga_id, known, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else " allframe list says which there are." if known else ""
    return f"The store holds no saga {saga_id!r}.{hint}"


# --- the text --------------------------------------------------------------------------------------------------------


def _row(metadata: SagaMetadata) -> tuple[object, ...]:
    return (
        metadata.id,
        metadata.saga,
        metadata.status,
        f"{metadata.steps_executed}/{metadata.total_steps}",
        moment(metadata.started_at),
        moment(metadata.updated_at),
        detail(metadata),
    )


def detail(metadata: SagaMetadata) -> str:
    """The one thing that matters most of it."""
    if metadata.uncompensated:
        return f"still in effect: {', '.join(metadata.uncompensated)}"
    if metadata.running and metadata.status is not SagaStatus.BLOCKED:
        return f"running: {', '.join(metadata.running)}"
    if metadata.reason:
        return metadata.reason
    if metadata.failed_step:
        return f"{metadata.failed_step}: {metadata.error or 'did not end in time'}"
    return ""


def _print_summary(metadata: SagaMetadata, values: dict[str, Any]) -> None:
    print_line(printable(metadata.id), style="bold")
    duration = (metadata.updated_at - metadata.started_at).total_seconds()
    for name, value in (
        ("saga", metadata.saga),
        ("status", f"{metadata.status}{' (a person should look)' if metadata.attention else ''}"),
        ("input", _short(values["input"])),
        ("outputs", ", ".join(f"{step}: {_short(value)}" for step, value in values["outputs"].items())),
        ("steps", f"{metadata.steps_executed} of {metadata.total_steps} succeeded"),
        ("running", ", ".join(metadata.running)),
        ("failed step", metadata.failed_step),
        ("error", metadata.error),
        ("reason", metadata.reason),
        ("still in effect", ", ".join(metadata.uncompensated)),
        ("correlation", metadata.correlation_id),
        ("cause", metadata.causation_id),
        ("started", moment(metadata.started_at)),
        ("updated", f"{moment(metadata.updated_at)}, {elapsed(max(0.0, duration))} later"),
    ):
        if value:
            print_line(f"  {name:<16}{_indented(str(value))}")
    print_line()


def _short(value: Any) -> str:
    """A plain value as JSON, cut."""
    text = to_json(value).decode()
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def _indented(text: str) -> str:
    return printable(text).replace("\n", f"\n{' ' * 18}")


def _entry_row(entry: Entry) -> tuple[object, ...]:
    then = [f"run {step}" for step in entry.starts]
    then += [f"undo {entry.compensates}"] if entry.compensates else []
    if entry.next_at is not None:
        then.append(f"in {elapsed(max(0.0, (entry.next_at - entry.at).total_seconds()))}")
    took = "" if entry.seconds is None else elapsed(entry.seconds)
    return (moment(entry.at), entry.event, entry.step, entry.attempt or "", took, entry.detail, " ".join(then))
