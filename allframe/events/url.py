"""The URL of a store -> what it says. A URL may hold a password, so errors never repeat it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote

from allframe.errors import StoreUnavailable

__all__ = ["Durability", "MemoryUrl", "SqliteUrl", "parse_url"]

Durability: TypeAlias = Literal["power", "process"]

_SUPPORTED = (
    "Stores are memory://, sqlite:///relative.db and sqlite:////absolute.db, the latter two with the options "
    "durability=power|process, busy_timeout=SECONDS, max_page_count=PAGES and mode=ro|rw, as in "
    "sqlite:///bank.db?durability=process."
)


@dataclass(frozen=True, slots=True)
class MemoryUrl:
    """``memory://``"""


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """``sqlite:///relative.db?busy_timeout=5``"""

    path: str
    durability: Durability = "power"
    #: Seconds.
    busy_timeout: float = 5.0
    max_page_count: int | None = None
    readonly: bool = False


def parse_url(url: str) -> MemoryUrl | SqliteUrl:
    """What a store's URL says. In the path ``%``, ``?`` and control characters are written as ``%25``, ``%3F``, ….

    Raises:
        StoreUnavailable: if it says nothing that allframe understands; the text lists what is supported.
    """
    scheme, colon, rest = url.partition("://")
    place, _, query = rest.partition("?")
    if not colon:
        raise _refused("This is no URL of a store.")
    if scheme == "memory":
        if place or query:
            raise _refused("memory:// has no path and no options.")
        return MemoryUrl()
    if scheme == "sqlite":
        return SqliteUrl(path=_path(place), **_options(query))
    raise _refused(f"allframe has no store of the kind {scheme!r}.")


def _path(place: str) -> str:
    if not place.startswith("/"):
        raise _refused("The path of a SQLite store begins after three slashes; a fourth makes it absolute.")
    path = unquote(place[1:], errors="surrogateescape")
    if not path or "\0" in path:
        raise _refused("The URL names no file.")
    if path == ":memory:":
        raise _refused("A store without a file is memory://, not a SQLite database.")
    return path


def _options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _READ:
            raise _refused(f"A SQLite store has no option {name!r}.")
        argument, read = _READ[name]
        if argument in options:
            raise _refused(f"The option {name} is given twice.")
        try:
            options[argument] = read(text)
        except (ValueError, KeyError):
            raise _refused(f"The option {name} cannot be {text!r}.") from None
    return options


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and 0 <= seconds <= 1_000_000):
        raise ValueError(text)
    return seconds


def _pages(text: str) -> int:
    pages = int(text)
    if not 1 <= pages <= 0xFFFF_FFFE:
        raise ValueError(text)
    return pages


#: Option -> argument and how its text is read.
_READ: dict[str, tuple[str, Callable[[str], object]]] = {
    "durability": ("durability", {"power": "power", "process": "process"}.__getitem__),
    "busy_timeout": ("busy_timeout", _seconds),
    "max_page_count": ("max_page_count", _pages),
    "mode": ("readonly", {"ro": True, "rw": False}.__getitem__),
}


def _refused(why: str) -> StoreUnavailable:
    return StoreUnavailable(f"{why} {_SUPPORTED}")
