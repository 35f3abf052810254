"""Text for people: tables, times, and data that cannot play tricks on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["clean", "console", "moment", "print_json", "print_line", "print_table", "printable", "warn"]

#: The colours of statuses, where there are colours.
STYLES = {
    "completed": "green",
    "compensated": "yellow",
    "failed": "bold red",
    "blocked": "bold red",
    "refused": "yellow",
    "succeeded": "green",
    "unknown": "magenta",
}


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error: with colours and the width of a window only on a terminal."""
    out = Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not out.is_terminal:
        # What goes to a file or a pipe is not folded: it is read by a program, or by grep.
        out = Console(
            stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True, no_color=True, width=10_000
        )
    return out


def clean(text: object, limit: int | None = None) -> str:
    """``text`` on one line, with everything that is not printable escaped, cut at ``limit`` characters."""
    full = "".join(char if char.isprintable() else _escape(char) for char in str(text))
    return full if limit is None or len(full) <= limit else f"{full[: limit - 1]}…"


def printable(text: object) -> str:
    """``text`` with its line ends, and everything else that is not printable escaped."""
    return "\n".join(clean(line.expandtabs()) for line in str(text).splitlines())


def print_line(text: str = "", *, style: str | None = None) -> None:
    console().print(Text(text, style=style or ""))


def warn(text: str) -> None:
    """Say it on standard error."""
    console(stderr=True).print(Text(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """A table; the columns named in ``right`` are aligned to the right. Every cell is cleaned."""
    out = console()
    aligned = set(right)
    table = Table(box=SIMPLE_HEAD if out.is_terminal else None, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    _write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_json(value: Mapping[str, object] | Sequence[object], *, indent: int | None = None) -> None:
    """One JSON document on standard output, on one line without ``indent``. Only ASCII: nothing can play tricks."""
    _write(f"{json.dumps(value, indent=indent, default=_plain)}\n")


def _write(text: str) -> None:
    out: TextIO | None = sys.stdout
    if out is not None:  # it is closed: nobody reads what is found, and the exit code says how it went
        out.write(text)
        out.flush()


def moment(when: datetime) -> str:
    """A time in UTC, such as ``2026-01-31 12:00:00.123``."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _cell(value: object) -> Text:
    text = "" if value is None else clean(value)
    return Text(text, style=STYLES.get(text, ""))


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
