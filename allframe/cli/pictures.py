"""``allframe explain`` and ``allframe graph``: what a saga will do, before it does it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from allframe import SagaGraph
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.render import console, print_line
from allframe.cli.target import load_graph
from allframe.saga.drawing import branches

__all__ = ["Format", "explain", "graph"]

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="package.module:Saga or path/to/file.py:Saga; a class, or a SagaDefinition.",
        show_default=False,
    ),
]


class Format(StrEnum):
    """How a saga is drawn."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


#: What a file's name says of its format.
_SUFFIXES = {
    ".svg": Format.SVG,
    ".mmd": Format.MERMAID,
    ".mermaid": Format.MERMAID,
    ".dot": Format.DOT,
    ".gv": Format.DOT,
}


@guarded
def explain(target: TargetArgument) -> Exit:
    """Say in words what a saga will do: its order, how it goes back, how long it may take, what may stay unknown."""
    print_line(load_graph(target).explain())
    return Exit.COMPLETED


@guarded
def graph(
    target: TargetArgument,
    format: Annotated[  # noqa: A002 - it is the name of the option
        Format | None,
        typer.Option(help="How to draw it. Without it as the name of FILE says, or as a tree.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.", show_default=False)
    ] = None,
) -> Exit:
    """Draw a saga: as a tree in the terminal, as Mermaid or Graphviz text, or as an SVG image."""
    found = load_graph(target)
    format = format or _SUFFIXES.get(output.suffix.lower() if output else "", Format.TREE)  # noqa: A001 - as above
    if output is not None:
        _write(output, _drawn(found, format))
    elif format is Format.TREE:
        _print_tree(found)
    else:
        sys.stdout.write(_drawn(found, format))
    return Exit.COMPLETED


def _drawn(found: SagaGraph, format: Format) -> str:  # noqa: A002 - as above
    match format:
        case Format.TREE:
            return f"{found.tree()}\n"
        case Format.MERMAID:
            return f"{found.mermaid()}\n"
        case Format.DOT:
            return f"{found.dot()}\n"
        case Format.SVG:
            return f"{found.svg()}\n"


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Stop(
            f"{output} cannot be written: {error.strerror}. Name a file in a folder that you may write to."
        ) from error


def _print_tree(found: SagaGraph) -> None:
    out = console()
    for branch in branches(found):
        pivot = branch.step is not None and branch.step == found.plan.pivot
        title = "bold red" if pivot else "bold" if branch.step is not None or not branch.guide else "italic"
        out.print(Text.assemble((branch.guide, "dim"), (branch.title, title), (branch.notes, "dim")))
