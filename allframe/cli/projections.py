"""``allframe projections list`` and ``rebuild``: the tables of projections, beside whoever follows the events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from types import ModuleType
from typing import Annotated, TypeAlias

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from allframe import EventStore, Projection, ProjectionRegistry, SqlProjection
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.options import StoreOption, needed
from allframe.cli.reading import read_store
from allframe.cli.render import console, moment, print_json, print_line, print_table
from allframe.cli.target import load_module, versions_of
from allframe.clock import from_microseconds
from allframe.cqrs.projection import AnyProjection
from allframe.cqrs.standing import from_stored
from allframe.errors import ProjectionFailed
from allframe.events.tables import StoredTables

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at projections, and rebuild them.")

Found: TypeAlias = AnyProjection | type[AnyProjection]


@dataclass(frozen=True, slots=True)
class Line:
    """What `list` says of one projection."""

    name: str
    position: int
    lag: int
    #: ``failed``, ``rebuilding``, ``up to date`` or ``behind``: whether anybody follows, the tables do not say.
    state: str
    updated_at: datetime
    error: str | None


@app.command("list")
@guarded
def list_projections(
    store: StoreOption = None,
    codec: CodecOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> Exit:
    """List the projections of a store that have tables: how far they have come, and what stops them."""
    lines = read_store(needed(store), load_codec(codec), _lines)
    if json:
        for line in lines:
            print_json({name: getattr(line, name) for name in Line.__slots__})
        return Exit.COMPLETED
    columns = ("NAME", "POSITION", "LAG", "STATE", "UPDATED", "ERROR")
    rows = [(line.name, line.position, line.lag, line.state, moment(line.updated_at), line.error) for line in lines]
    if rows:
        print_table(columns, rows, right=("POSITION", "LAG"))
    print_line(f"\n{len(rows)} {'projection' if len(rows) == 1 else 'projections'} with tables.")
    return Exit.COMPLETED


@app.command("rebuild")
@guarded
def rebuild(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The projection's name.")],
    module: Annotated[
        str,
        typer.Option("--module", "-m", metavar="MODULE", help="Where its class is: package.module or path/to/file.py."),
    ],
    store: StoreOption = None,
    codec: CodecOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> Exit:
    """Make the tables of a projection anew from the first event on, and put them in the place of the old ones, at once.

    It works while a service follows the same store: the old tables are served and kept up to date until the new ones are
    there. A VersionRegistry in MODULE reads the events of the past.
    """
    place = load_module(module)
    found = _find(name, place, module)

    async def run(store: EventStore) -> int:
        registry = ProjectionRegistry(store)
        await registry.register(name, found)
        with _bar(f"rebuilding {name}", quiet=quiet) as move:
            await registry.rebuild(name, move)
        return (await registry.get_metadata(name)).position

    try:
        position = read_store(needed(store), load_codec(codec), run, versions=versions_of([place]))
    except ProjectionFailed as failure:
        raise Stop(f"{failure.code}: {failure}", Exit.INCOMPLETE) from failure
    except sqlite3.Error as error:
        raise Stop(f"The schema of {name!r} cannot be run: {error}. Mend it in {module}.", Exit.DEFINITION) from error
    print_line(f"{name} was rebuilt up to position {position}.")
    return Exit.COMPLETED


async def _lines(store: EventStore) -> list[Line]:
    stored = await store.backend.list_tables()
    end = await store.backend.last_position()
    return [_line(each, end) for each in stored]


def _line(stored: StoredTables, end: int) -> Line:
    error, lag = from_stored(stored.error), max(0, end - stored.mark.position)
    if stored.rebuilding:
        state = "rebuilding"
    elif error is not None:
        state = "failed"
    else:
        state = "behind" if lag else "up to date"
    told = None if error is None else str(error)
    return Line(stored.name, stored.mark.position, lag, state, from_microseconds(stored.updated_at), told)


def _find(name: str, module: ModuleType, place: str) -> Found:
    """The projection of this name that a module holds: a class, or an object. ``place``: what the module was called.

    Raises:
        Stop: there is none, or it has no tables.
    """
    kinds = (Projection, SqlProjection)
    values = vars(module).values()
    classes: list[Found] = [
        value for value in values if isinstance(value, type) and issubclass(value, kinds) and value not in kinds
    ]
    objects: list[Found] = [value for value in values if isinstance(value, kinds)]
    found = {each.projection_name: each for each in (*classes, *objects)}
    if name not in found:
        near = get_close_matches(name, found, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        there = f"Its projections are: {', '.join(found)}." if found else "It has none."
        raise Stop(f"{place} has no projection {name!r}.{hint} {there}")
    chosen = found[name]
    if not (issubclass(chosen, SqlProjection) if isinstance(chosen, type) else isinstance(chosen, SqlProjection)):
        raise Stop(
            f"The projection {name!r} is in memory: each process makes its own at its start, and there is nothing to rebuild "
            "from here. Restart the service, or call registry.rebuild() in it."
        )
    return chosen


@contextmanager
def _bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar, if standard error is a terminal; it is told how far it is, and of how much."""
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=quiet or not out.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda position, total: bar.update(task, completed=position, total=total)
