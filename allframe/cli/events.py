"""``allframe events tail``, ``read`` and ``stats``: what stands in a store, beside whoever writes it.

No class is needed: an event is shown as it is stored, under its stored name, whether this program knows that or not.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

import typer
from pydantic_core import from_json

from allframe import EventStore, RecordedEvent
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.options import StoreOption, needed
from allframe.cli.reading import read_store
from allframe.cli.render import clean, moment, print_json, print_line, print_table
from allframe.events.category import check_category

__all__ = ["read", "stats", "tail"]

#: How far back the first look for the last events goes, in positions; each further one goes so many times as far.
_BACK, _FURTHER = 1000, 8

Category: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only streams of this category: account for account-1.", show_default=False),
]
System: TypeAlias = Annotated[
    bool, typer.Option("--system", help="Also allframe's own records, such as those of sagas.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")]


@guarded
def tail(
    store: StoreOption = None,
    codec: CodecOption = None,
    last: Annotated[int, typer.Option(min=0, metavar="N", help="Begin with so many of the last ones.")] = 10,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**63 - 1, metavar="N", help="Begin after this position, 0 for everything.", show_default=False
        ),
    ] = None,
    category: Category = None,
    system: System = False,
    json: Json = False,
) -> Exit:
    """Print the last events of a store, and then each as it is written, until Ctrl-C. It only reads."""
    _check(category, system=system)

    async def follow(store: EventStore) -> Exit:
        start = after
        if start is None:
            found, start = await _last(store, last, category, system)
            for recorded in found:
                _print(recorded, json)
        async for recorded in store.subscribe(after=start, category=category, system=system):
            _print(recorded, json)
        raise AssertionError("a subscription to another process's store has no end")

    return read_store(needed(store), load_codec(codec), follow)


@guarded
def read(
    stream: Annotated[
        str | None, typer.Argument(metavar="[STREAM]", help="The stream to read.", show_default=False)
    ] = None,
    store: StoreOption = None,
    codec: CodecOption = None,
    every: Annotated[bool, typer.Option("--all", help="Read all streams, in the order of the store.")] = False,
    category: Category = None,
    after: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Begin after this revision of STREAM; without STREAM, this position."),
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.", show_default=False)] = None,
    system: System = False,
    json: Json = False,
) -> Exit:
    """Print the events of a stream, or of all, oldest first."""
    if stream is not None and (every or category is not None or system):
        raise Stop(
            "STREAM names one stream: --all, --category and --system choose among all of them. Give one or the other."
        )
    if stream is None and not every and category is None:
        raise Stop("Which stream? Name STREAM, or read --all of them, or those of a --category.")

    _check(category, system=system)

    async def print_them(store: EventStore) -> Exit:
        if stream is None:
            found = store.read_all(after=after, system=system, category=category)
        else:
            found = store.read(stream, after=after)
        printed = 0
        async for recorded in found:
            _print(recorded, json)
            printed += 1
            if printed == limit:
                break
        if stream is not None and not printed and not await store.backend.read_stream(stream, limit=1):
            raise Stop(f"The store holds no stream {stream!r}. allframe events read --all shows what it holds.")
        return Exit.COMPLETED

    return read_store(needed(store), load_codec(codec), print_them)


@guarded
def stats(
    store: StoreOption = None,
    codec: CodecOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> Exit:
    """Say how much a store holds."""
    found = asdict(read_store(needed(store), load_codec(codec), EventStore.stats))
    if json:
        print_json(found, indent=2)
        return Exit.COMPLETED
    specific = found.pop("backend_specific")
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value) for name, value in found.items()
    ]
    print_table(("WHAT", "HOW MUCH"), [*rows, *((name.replace("_", " "), value) for name, value in specific.items())])
    return Exit.COMPLETED


def _check(category: str | None, *, system: bool) -> None:
    if category is not None and category.startswith("$") and not system:
        raise Stop(f"The streams of {category!r} are allframe's own, and left out: ask for them with --system.")
    try:
        check_category(category, system=system)
    except ValueError as error:
        raise Stop(str(error)) from error


async def _last(store: EventStore, count: int, category: str | None, system: bool) -> tuple[deque[RecordedEvent], int]:
    """The last events that are meant, and the position up to which that is all."""
    end, back = await store.backend.last_position(), _BACK
    while True:
        found: deque[RecordedEvent] = deque(maxlen=count)
        async for recorded in store.read_all(after=max(0, end - back), system=system, category=category):
            if recorded.position > end:
                break
            found.append(recorded)
        if len(found) == count or back >= end:
            return found, end
        back *= _FURTHER


# --- the lines -------------------------------------------------------------------------------------------------------


def _print(recorded: RecordedEvent, json: bool) -> None:
    if json:
        print_json(_as_json(recorded))
        return
    data = clean(recorded.data.decode(errors="replace"))
    about = f"  {clean(recorded.metadata)}" if recorded.metadata else ""
    print_line(
        f"{moment(recorded.recorded_at)}  {recorded.position}  {clean(recorded.stream)}@{recorded.revision}  "
        f"{clean(recorded.type)} v{recorded.schema_version}  {data}{about}"
    )


def _as_json(recorded: RecordedEvent) -> dict[str, Any]:
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "revision": recorded.revision,
        "category": recorded.category,
        "id": recorded.id,
        "type": recorded.type,
        "schema_version": recorded.schema_version,
        "recorded_at": recorded.recorded_at,
        "data": from_json(recorded.data),
        "metadata": recorded.metadata,
    }
