"""Where a projection stands: `ProjectionMetadata`, and the words for it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

from allframe.errors import ErrorInfo
from allframe.events.backend import StoredRow

__all__ = ["Poisoned", "ProjectionMetadata", "ProjectionState", "describe", "from_stored", "to_stored"]

_MAX_MESSAGE, _MAX_TRACEBACK = 8 << 10, 64 << 10
_INFO = TypeAdapter(ErrorInfo)


class ProjectionState(StrEnum):
    """::

    STOPPED ── start ──► CATCHING_UP ── has read everything ──► LIVE
                              ▲  │                               │
                       resume │  └──────── an event fails ───────┤
                              └─────────── FAILED ◄──────────────┘
    """

    #: Nobody runs it: not yet, or not any more.
    STOPPED = "stopped"
    CATCHING_UP = "catching_up"
    #: It had everything that was in the store, and takes in what comes.
    LIVE = "live"
    #: It stands before an event that it could not take in.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ProjectionMetadata:
    """Where a projection stands."""

    name: str
    #: Everything in the store up to it was taken in.
    position: int
    #: When the position last moved on; None for never in this process.
    updated_at: datetime | None
    #: Whether its successor is being built by this registry. Of other processes, ``allframe projections list`` tells.
    rebuilding: bool
    #: How many positions it is behind the end of the store.
    lag: int
    state: ProjectionState
    #: Why it failed, or why it waits before it tries again; None if all is well.
    error: ErrorInfo | None


class Poisoned(Exception):
    """An event that could not be taken in: what it was, and as ``__cause__`` what was raised."""

    def __init__(self, row: StoredRow, error: Exception) -> None:
        super().__init__(f"at position {row.position}, {row.type!r} of the stream {row.stream!r}")
        self.row = row
        self.error = error

    @property
    def info(self) -> ErrorInfo:
        """The error as text, with what could not be taken in."""
        found = describe(self.error)
        return ErrorInfo(found.type, f"{found.message} ({self})"[-_MAX_MESSAGE:], found.traceback)


def describe(error: BaseException) -> ErrorInfo:
    """An exception as text, whatever it is."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    try:
        message = str(error)
        trace = "".join(traceback.format_exception(error))
    except Exception as broken:  # noqa: BLE001 - a user's __str__
        message, trace = f"(its text cannot be had: {type(broken).__qualname__})", ""
    return ErrorInfo(name, _text(message, _MAX_MESSAGE), _text(trace, _MAX_TRACEBACK) or None)


def to_stored(error: ErrorInfo) -> str:
    return _INFO.dump_json(error).decode()


def from_stored(text: str | None) -> ErrorInfo | None:
    return None if text is None else _INFO.validate_json(text)


def _text(text: str, limit: int) -> str:
    """Text that can be written as UTF-8, and is not too long: the end of a traceback says most."""
    return text.encode("utf-8", "backslashreplace").decode()[-limit:]
