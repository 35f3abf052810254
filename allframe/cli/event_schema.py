"""``allframe events schema`` and ``allframe events check``: what events look like, and what a change of them breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from allframe import Event, PayloadError
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.render import print_json, print_line, printable, warn
from allframe.cli.target import load_module, versions_of
from allframe.events.catalogue import Catalogue, Change, compare, make_catalogue, read_catalogue
from allframe.events.event import event_classes

__all__ = ["check", "schema"]

_Modules = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--module",
        metavar="MODULE",
        help="What defines the events and upcasters: shop.events, events.py. Repeatable.",
    ),
]


@guarded
def schema(modules: _Modules) -> Exit:
    """Print what the events look like, as JSON: to be committed, and for whoever reads them elsewhere."""
    print_json(_catalogue(modules), indent=2)
    return Exit.COMPLETED


@guarded
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `allframe events schema` printed before.")],
    modules: _Modules,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each change.")] = False,
) -> Exit:
    """Say what has changed since FILE, and whether events that are stored can still be read.

    The exit code is 0 if they can, and 4 if a change breaks something.
    """
    changes = compare(_read(file), _catalogue(modules))
    breaking = [change for change in changes if change.breaks]
    for change in changes:
        _tell(change, as_json)
    if not as_json:
        _sum_up(file, changes, breaking)
    return Exit.DEFINITION if breaking else Exit.COMPLETED


def _catalogue(names: list[str]) -> Catalogue:
    modules = [load_module(name) for name in names]
    known = {module.__name__ for module in modules}
    classes = [cls for cls in event_classes() if not _is_ours(cls) or cls.__module__ in known]
    if not classes:
        raise Stop(f"There are no events in {', '.join(names)}. Name the modules that define them.")
    return make_catalogue(classes, versions_of(modules))


def _is_ours(cls: type[Event]) -> bool:
    """Whether allframe brings it, such as the demo's."""
    return cls.__module__.partition(".")[0] == "allframe"


def _read(file: Path) -> Catalogue:
    try:
        return read_catalogue(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise Stop(
            f"{file} cannot be read: {error.strerror}. Make it with `allframe events schema -m MODULE`."
        ) from error
    except (ValueError, PayloadError) as error:
        raise Stop(f"{file} cannot be compared with: {error}") from error


def _tell(change: Change, as_json: bool) -> None:
    if as_json:
        print_json({"breaks": change.breaks, "event": change.event, "version": change.version, "text": change.text})
    elif change.breaks:
        warn(printable(f"breaks: {change}"))
    else:
        print_line(printable(f"fits:   {change}"))


def _sum_up(file: Path, changes: list[Change], breaking: list[Change]) -> None:
    if breaking:
        warn(printable(f"{len(breaking)} of {len(changes)} changes since {file} break what is stored."))
    elif changes:
        print_line(printable(f"Nothing that is stored breaks. Write {file} anew: allframe events schema -m MODULE"))
    else:
        print_line(printable(f"Nothing has changed since {file}."))
