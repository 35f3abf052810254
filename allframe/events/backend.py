"""`EventStoreBackend`: what a database must do to be an event store, and the commit that it does.

A backend stores rows and knows nothing of what is in them. It promises four things:

*   **A commit is all or nothing.** It may write several streams and one head; either every row is stored and durable
    when `commit` returns, or none is.
*   **Positions follow visibility.** They count 1, 2, 3, … without gaps, a reader that has seen position *n* will never
    see a smaller one appear later, and the rows of one commit have adjacent positions, in the order given.
*   **The key is (stream, revision).** A write that names an expected version is refused when the stream is elsewhere.
*   **Writing the same commit again is harmless.** If the first row of a write stands where it would go, with the very
    same ``id``, the commit happened before and is reported as done. So a commit in doubt is settled by repeating it.
    Where a write without an expected version would go is not known: it is recognised beside one that has an expected
    version, and alone only by the backend that reported it to be in doubt.

`allframe.testing.backends` has this contract as tests, for backends of your own as well; they run over every one of ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from allframe.events.changes import Changes
from allframe.events.tables import StoredTables, Tables

__all__ = [
    "BackendStats",
    "Claim",
    "Commit",
    "EventStoreBackend",
    "Head",
    "HeadQuery",
    "Row",
    "StoredRow",
    "StoredSnapshot",
    "Versions",
    "Write",
    "new_id",
    "new_ids",
]


class Row(NamedTuple):  # as the next one: there are many, and a tuple is made in a third of the time
    """One event, ready to be written."""

    #: 16 bytes, unique for ever (`new_id`).
    id: bytes
    type: str
    schema_version: int
    #: JSON.
    data: bytes
    #: Microseconds since 1970, UTC.
    recorded_at: int
    #: A JSON object, or None.
    metadata: bytes | None = None


class StoredRow(NamedTuple):
    """One event as it stands in the store."""

    position: int
    stream: str
    revision: int
    id: bytes
    type: str
    schema_version: int
    data: bytes
    recorded_at: int
    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """What the first rows of a stream come to, as it stands in the store."""

    stream: str
    #: What kind of snapshot it is: of each, a stream has one.
    type: str
    schema_version: int
    #: The revision of the last row that is in it, from 1.
    revision: int
    #: JSON.
    data: bytes
    #: Microseconds since 1970, UTC.
    recorded_at: int


@dataclass(frozen=True, slots=True)
class Write:
    """Rows for one stream, in order. ``expected``: the stream's version before them, or None for "whatever it is"."""

    stream: str
    rows: tuple[Row, ...]
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What must be known of a stream without reading it, so that listing is a query.

    It is a cache of the stream's fold, written in the commit that changes it.
    """

    stream: str
    #: What kind of stream it is: ``"saga"``.
    category: str
    #: The stored name and version of the class.
    name: str
    version: int
    #: Microseconds since 1970, UTC.
    started_at: int
    status: str
    #: When it came to have this status: microseconds since 1970, UTC.
    since: int
    #: The kind of reason, where the status is "blocked".
    blocked: str | None
    #: The opening of the store that last took the stream over.
    epoch: int
    #: SHA-256 of the canonical input.
    digest: bytes
    #: Whether a person should look.
    attention: bool


@dataclass(frozen=True, slots=True)
class HeadQuery:
    """Which heads are meant. Every field that is given narrows the choice."""

    category: str
    statuses: tuple[str, ...] | None = None
    #: Kinds of BLOCKED: heads whose status is "blocked" count only if their kind is among these.
    blocked: tuple[str, ...] | None = None
    name: str | None = None
    #: Only heads whose ``since`` is at or after it.
    since: int | None = None
    #: Only heads of an earlier epoch.
    epoch_before: int | None = None
    attention: bool | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """What is written together."""

    writes: tuple[Write, ...]
    head: Head | None = None


class Versions(tuple[int, ...]):
    """What a commit comes to: the new version of each written stream, in the order of the writes."""

    #: The position of its last row; 0 for one without rows.
    position: int

    def __new__(cls, versions: Iterable[int] = (), position: int = 0) -> Self:
        self = super().__new__(cls, versions)
        self.position = position
        return self


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the sagas of a store."""

    #: 1 for the first; each opening has the next.
    epoch: int
    #: Whether the owner before closed the store itself, rather than dying.
    clean: bool


@dataclass(frozen=True, slots=True)
class BackendStats:
    """How much a store holds. What cannot be counted is an error, never 0."""

    total_events: int
    total_streams: int
    total_snapshots: int
    #: How many of them are of allframe's own streams, which begin with ``$``.
    system_events: int
    system_streams: int
    #: Facts that only this kind of backend has.
    backend_specific: dict[str, str | int]


class EventStoreBackend(Protocol):
    """One database. Every method may be called by several tasks at once; each raises a `StoreError` on trouble."""

    #: The URL it was opened by, without secrets.
    url: str
    #: Whether it may only be read.
    readonly: bool
    #: Whether what it holds is still there after the process ended.
    durable: bool

    @property
    def changes(self) -> Changes | None:
        """Where it announces each commit once that can be read, and wakes all when it closes; None where nobody can
        tell, for another process writes."""
        ...

    async def open(self) -> None:
        """Make it ready.

        Raises:
            StoreInUse: another owner has it.
            StoreFormatError: what lies there is not an allframe store, or a newer one. It is left as it was.
            StoreUnavailable: it cannot be opened.
        """
        ...

    async def close(self) -> None:
        """Let everything go; commits that were handed in are finished first. Harmless when repeated."""
        ...

    async def claim(self, where: str) -> Claim:
        """Become the one that runs the sagas of this store; ``where`` names the claimant in errors.

        Raises:
            StoreInUse: somebody is that already.
        """
        ...

    async def release(self) -> None:
        """Give the claim back, with the mark that it was not lost by dying. Harmless when repeated."""
        ...

    def hold(self) -> Callable[[], None]:
        """Keep owning it, also after `release` and `close`, until what is returned is called, once, from any thread.

        Meanwhile `claim` and `open`, of this one and of others, raise `StoreInUse`.
        """
        ...

    async def commit(self, commit: Commit) -> Versions:
        """Write all of it or nothing; returns the new version of each written stream, in the order of the writes.

        The commit is handed in when this is called: cancelling the wait does not take it back. One without writes and
        head returns when everything that was handed in before it is decided.

        Raises:
            ConcurrencyError: a stream was not at its expected version; nothing was written.
            StoreUnavailable: ``in_doubt`` tells whether it may have been written.
        """
        ...

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[StoredRow]:
        """The rows of a stream with a revision above ``after``, oldest first."""
        ...

    async def read_all(
        self, *, after: int = 0, limit: int = 1000, system: bool = False, category: str | None = None
    ) -> list[StoredRow]:
        """Rows with a position above ``after``, by position; streams that begin with ``$`` only with ``system``, and with
        ``category`` only the streams of that one (`allframe.events.category`)."""
        ...

    async def last_position(self) -> int:
        """The position of the newest row; 0 for none."""
        ...

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep it for its stream and type, in place of what was kept: unless that has a later revision, or the same one
        and a later schema version. It sees what was handed in to `commit` before it, and is durable when this returns.

        It is handed in when this is called, as a commit is.

        Raises:
            PayloadError: the stream is not at that revision yet, or the revision is below 1; nothing was written.
            StoreUnavailable: ``in_doubt`` tells whether it may have been written.
        """
        ...

    async def get_snapshot(self, stream: str, type: str) -> StoredSnapshot | None:  # noqa: A002 - the row's own word
        """The one that is kept."""
        ...

    async def get_head(self, stream: str) -> Head | None: ...

    async def list_heads(self, query: HeadQuery, *, after: str | None = None, limit: int = 500) -> list[Head]:
        """Heads by the name of their stream, those above ``after``."""
        ...

    async def newest_heads(self, query: HeadQuery, *, before: str | None = None, limit: int = 100) -> list[Head]:
        """Heads by ``since``, newest first; those of one moment by where the newest row of their stream stands, then by
        stream. ``before`` names the stream of the last one already had.

        None follow a ``before`` that has no head.
        """
        ...

    async def count_heads(self, query: HeadQuery) -> int: ...

    async def stats(self) -> BackendStats: ...

    def tables(self, name: str) -> Tables:
        """The tables of the projection ``name``, not open yet. They can be written beside a store that is only read.

        Raises:
            ProjectionRefused: for what cannot be a name.
        """
        ...

    async def list_tables(self) -> list[StoredTables]:
        """What is known of every projection that has tables, by name."""
        ...


def new_id() -> bytes:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits. Unique; order is no promise."""
    (only,) = new_ids(1)
    return only


def new_ids(count: int) -> list[bytes]:
    """As many ids of one moment as `new_id` gives one by one, for less."""
    start = ((time.time_ns() // 1_000_000) << 80) | _VERSION_7
    random = os.urandom(10 * count)
    return [
        (start | (int.from_bytes(random[place : place + 10]) & _RANDOM)).to_bytes(16)
        for place in range(0, 10 * count, 10)
    ]


#: Of the last 80 bits of an id: those that are random, and those that tell its version and variant.
_RANDOM = (1 << 80) - 1 - (0xF << 76) - (0b11 << 62)
_VERSION_7 = (7 << 76) | (0b10 << 62)
