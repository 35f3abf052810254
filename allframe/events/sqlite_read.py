"""The reading end of a SQLite store: what is committed, beside an owner here or elsewhere, or with none at all."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

from allframe.events.backend import BackendStats, Head, HeadQuery, StoredRow, StoredSnapshot
from allframe.events.category import separator
from allframe.events.sqlite_file import StoreFile

__all__ = [
    "Look",
    "SqliteReader",
    "count_heads",
    "get_head",
    "get_snapshot",
    "last_position",
    "list_heads",
    "newest_heads",
    "read_all",
    "read_stream",
    "stats",
]

T = TypeVar("T")

_ROWS = """
    SELECT position, stream, revision, id, type, schema_version, CAST(data AS BLOB), recorded_at, CAST(metadata AS BLOB)
    FROM events """
_STREAM = _ROWS + "WHERE stream = ? AND revision > ? ORDER BY revision LIMIT ?"
_ALL = _ROWS + "WHERE position > ? ORDER BY position LIMIT ?"
#: By position, whatever the planner thinks of the other index (the "+"): it would sort all there is for every page.
_ALL_OF = (
    _ROWS + "WHERE position > ? AND position <= ? AND (+stream = ? OR (+stream >= ? AND +stream < ?)) "
    "ORDER BY position LIMIT ?"
)
_ALL_BUT_OURS = _ROWS + "WHERE position > ? AND position <= ? AND stream NOT GLOB '$*' ORDER BY position LIMIT ?"

_SNAPSHOT = """
    SELECT stream, type, schema_version, revision, CAST(data AS BLOB), recorded_at
    FROM snapshots WHERE stream = ? AND type = ?"""
#: Once through the index of (stream, revision). A stream has one first event.
_COUNTS = """
    SELECT count(*), count(*) FILTER (WHERE revision = 1), count(*) FILTER (WHERE stream GLOB '$*'),
           count(*) FILTER (WHERE revision = 1 AND stream GLOB '$*')
    FROM events"""
_HAS_SNAPSHOTS = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'snapshots'"

_HEADS = """
    SELECT stream, category, name, version, started_at, status, since, blocked, epoch, digest, attention
    FROM heads WHERE """
_TERMINAL = ("completed", "compensated", "abandoned")
#: Where the newest row of a head's stream stands: what ended at the same moment still ended one after the other.
_LAST = "coalesce((SELECT position FROM events WHERE stream = {} ORDER BY revision DESC LIMIT 1), 0)"
_LAST_OF_HEAD = _LAST.format("heads.stream")
#: Word for word the condition of the index heads_open: SQLite uses it only then.
_OPEN = "status NOT IN ('completed', 'compensated', 'abandoned')"

#: Positions that one look passes over, a few milliseconds.
SPAN = 20_000
_LAST_POSITION = 2**63 - 1

#: How often a file that is being changed is looked at again before it is read like one with an owner.
_LOOKS = 3


class SqliteReader:
    """Reads one file. Every method is called by one thread at a time."""

    def __init__(self, file: StoreFile) -> None:
        self.file = file
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection | None:
        return self._connection

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What ``query`` finds.

        Raises:
            StoreError: if the file cannot be read.
        """
        try:
            return self._read(query)
        except sqlite3.Error as error:
            raise self.file.explain(error, "read") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            # Without a log nobody writes, and the file alone is the truth. Reading it so needs no permission to write
            # and leaves nothing behind.
            for _ in range(_LOOKS):
                before = self._look()
                if before is None:
                    break
                with closing(self.file.frozen()) as connection:
                    found = query(connection)
                if self._look() == before:
                    return found
            self._connection = self.file.reader()
        return query(self._connection)

    def _look(self) -> tuple[int, int, int] | None:
        """What changes when the file does; None while it has a log."""
        if self.file.has_log():
            return None
        try:
            found = os.stat(self.file.path)
        except OSError:
            return None  # opening it will say why
        return found.st_ino, found.st_mtime_ns, found.st_size


# --- queries


def read_stream(stream: str, after: int, limit: int | None) -> Callable[[sqlite3.Connection], list[StoredRow]]:
    return _rows(_STREAM, stream, after, -1 if limit is None else limit)


class Look(NamedTuple):
    """What a look for some of the rows found."""

    rows: list[StoredRow]
    #: Where the next look begins, for what is still wanted; None if there is no more.
    next: int | None


def read_all(after: int, limit: int, system: bool, category: str | None) -> Callable[[sqlite3.Connection], Look]:
    """One look for rows that are to be had. It passes over so many positions at most: others wait for the same thread."""
    if category is None and system:
        return lambda connection: Look(_rows(_ALL, after, limit)(connection), None)
    if category is not None and category.startswith("$") and not system:
        return lambda _: Look([], None)
    end = min(after + SPAN, _LAST_POSITION)
    rows = _rows(_ALL_BUT_OURS, after, end, limit) if category is None else _of(category, after, end, limit)

    def look(connection: sqlite3.Connection) -> Look:
        found = rows(connection)
        is_over = len(found) >= limit or last_position(connection) <= end
        return Look(found, None if is_over else end)

    return look


def _of(category: str, after: int, end: int, limit: int) -> Callable[[sqlite3.Connection], list[StoredRow]]:
    # The names that begin with the category and what parts it from the rest, as a range.
    first = category + separator(category)
    return _rows(_ALL_OF, after, end, category, first, first[:-1] + chr(ord(first[-1]) + 1), limit)


def last_position(connection: sqlite3.Connection) -> int:
    (position,) = connection.execute("SELECT max(position) FROM events").fetchone()
    return position or 0


def get_snapshot(stream: str, kind: str) -> Callable[[sqlite3.Connection], StoredSnapshot | None]:
    def query(connection: sqlite3.Connection) -> StoredSnapshot | None:
        if not _has_snapshots(connection):
            return None
        found = connection.execute(_SNAPSHOT, (stream, kind)).fetchone()
        return None if found is None else StoredSnapshot(*found)

    return query


def _has_snapshots(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table: its owner may be an allframe that does not know it."""
    return connection.execute(_HAS_SNAPSHOTS).fetchone() is not None


def get_head(stream: str) -> Callable[[sqlite3.Connection], Head | None]:
    def query(connection: sqlite3.Connection) -> Head | None:
        return next(iter(_heads(connection, "stream = ?", [stream])), None)

    return query


def list_heads(query: HeadQuery, after: str | None, limit: int) -> Callable[[sqlite3.Connection], list[Head]]:
    where, values = _condition(query)
    if after is not None:
        where, values = f"{where} AND stream > ?", [*values, after]
    return lambda connection: _heads(connection, f"{where} ORDER BY stream LIMIT ?", [*values, limit])


def newest_heads(query: HeadQuery, before: str | None, limit: int) -> Callable[[sqlite3.Connection], list[Head]]:
    where, values = _condition(query)
    if before is not None:
        since, place = "(SELECT since FROM heads WHERE stream = ?)", f"(-{_LAST_OF_HEAD}, stream)"
        where += f" AND since <= {since} AND (since < {since} OR {place} > (-{_LAST.format('?')}, ?))"
        values = [*values, before, before, before, before]
    order = f"ORDER BY since DESC, {_LAST_OF_HEAD} DESC, stream LIMIT ?"
    return lambda connection: _heads(connection, f"{where} {order}", [*values, limit])


def count_heads(query: HeadQuery) -> Callable[[sqlite3.Connection], int]:
    where, values = _condition(query)
    # Only our own words are put together here; what comes from outside is bound.
    statement = f"SELECT count(*) FROM heads WHERE {where}"  # noqa: S608
    return lambda connection: int(connection.execute(statement, values).fetchone()[0])


def stats(connection: sqlite3.Connection) -> BackendStats:
    events, streams, our_events, our_streams = connection.execute(_COUNTS).fetchone()
    snapshots = 0
    if _has_snapshots(connection):
        (snapshots,) = connection.execute("SELECT count(*) FROM snapshots").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    facts: dict[str, str | int] = {
        "sqlite_version": sqlite3.sqlite_version,
        "page_count": pages,
        "page_size": page_size,
    }
    return BackendStats(events, streams, snapshots, our_events, our_streams, facts)


def _rows(statement: str, *values: object) -> Callable[[sqlite3.Connection], list[StoredRow]]:
    # As StoredRow._make, for thousands of rows: their length is that of the statement.
    return lambda connection: list(map(tuple.__new__, repeat(StoredRow), connection.execute(statement, values)))


def _heads(connection: sqlite3.Connection, rest: str, values: list[object]) -> list[Head]:
    found = connection.execute(_HEADS + rest, values).fetchall()
    return [_head(list(row)) for row in found]


def _head(row: list[Any]) -> Head:
    row[-1] = bool(row[-1])  # SQLite has no type for it
    return Head(*row)


def _condition(query: HeadQuery) -> tuple[str, list[object]]:
    """The query as a condition; only our own words are put together here, and what comes from outside is bound."""
    where: list[str] = ["category = ?"]
    values: list[object] = [query.category]

    def narrow(condition: str, *bound: object) -> None:
        where.append(condition)
        values.extend(bound)

    if query.statuses is not None:
        narrow("status IN (SELECT value FROM json_each(?))", json.dumps(query.statuses))
        if not set(query.statuses) & set(_TERMINAL):
            narrow(_OPEN)
    if query.blocked is not None:
        narrow("(status != 'blocked' OR blocked IN (SELECT value FROM json_each(?)))", json.dumps(query.blocked))
    if query.name is not None:
        narrow("name = ?", query.name)
    if query.since is not None:
        narrow("since >= ?", query.since)
    if query.epoch_before is not None:
        narrow("epoch < ?", query.epoch_before)
    if query.attention is not None:
        narrow("attention = ?", query.attention)
    return " AND ".join(where), values
