"""Which commits of a batch may be written, and as what rows: pure, and the same for every backend.

Commits that are written together see each other: the second of two on one stream starts where the first one ends. A
member that may not be written is refused alone, and the others go on as if it had never been handed in.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol, TypeAlias

from allframe.errors import ConcurrencyError, PayloadError
from allframe.events.backend import Commit, Head, StoredSnapshot, Versions, Write

__all__ = ["Batch", "NewRow", "Stored", "check_commit", "check_snapshot"]

#: The fields of a `StoredRow`, in its order.
NewRow: TypeAlias = tuple[int, str, int, bytes, str, int, bytes, int, bytes | None]

_LARGEST = (1 << 63) - 1


class Stored(Protocol):
    """What must be known of the streams that stand in the store already."""

    def version(self, stream: str) -> int: ...

    def id_at(self, stream: str, revision: int) -> bytes | None: ...

    def revision_of(self, stream: str, id: bytes) -> int | None: ...  # noqa: A002 - the row's own word

    def position_of(self, stream: str, revision: int) -> int: ...


class Batch:
    """The rows and heads of the commits, and the snapshots, that were admitted, oldest first.

    ``position`` is the store's last one. ``doubtful`` holds the ids of the first rows of commits that may have been
    written without anybody knowing.
    """

    def __init__(self, stored: Stored, position: int, doubtful: Container[bytes] = ()) -> None:
        self.rows: list[NewRow] = []
        self.heads: dict[str, Head] = {}
        self.snapshots: list[StoredSnapshot] = []
        self._stored = stored
        self._position = position
        self._doubtful = doubtful
        # Of each stream that was touched: its version in the store, and the ids that come after it.
        self._base: dict[str, int] = {}
        self._new: dict[str, list[bytes]] = {}

    def admit(self, commit: Commit) -> Versions:
        """Take a commit in; returns the version of each written stream after it.

        A commit that stands there already adds nothing, and its versions are what they were then.

        Raises:
            ConcurrencyError: a stream is not at its expected version; nothing of the commit is taken in.
        """
        if any(self._stands(write) for write in commit.writes):
            then = [self._version_then(write) for write in commit.writes]
            last = max(i for i, write in enumerate(commit.writes) if write.rows)
            return Versions(then, self._position_of(commit.writes[last].stream, then[last]))
        versions = self._check(commit)
        for write, version in zip(commit.writes, versions, strict=True):
            self._add(write, version - len(write.rows))
        if commit.head is not None:
            self.heads[commit.head.stream] = commit.head
        return Versions(versions, self._position if commit.writes else 0)

    def admit_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Take a snapshot in.

        Raises:
            PayloadError: its stream is not at its revision yet.
        """
        version = self._version(snapshot.stream)
        if snapshot.revision > version:
            raise PayloadError(
                f"Stream {snapshot.stream!r} is at version {version}, and a snapshot of it at version "
                f"{snapshot.revision} would hold events that it does not have. Nothing was saved. Append the events first."
            )
        self.snapshots.append(snapshot)

    def _stands(self, write: Write) -> bool:
        if not write.rows:
            return False
        first = write.rows[0].id
        if write.expected is None:
            # Where it would stand is not known, so the whole stream must be searched: only with a reason.
            return first in self._doubtful and self._revision_of(write.stream, first) is not None
        return self._version(write.stream) > write.expected and self._id_at(write.stream, write.expected + 1) == first

    def _version_then(self, write: Write) -> int:
        if write.expected is not None:
            return write.expected + len(write.rows)
        first = self._revision_of(write.stream, write.rows[0].id) if write.rows else None
        return self._version(write.stream) if first is None else first + len(write.rows) - 1

    def _check(self, commit: Commit) -> tuple[int, ...]:
        ahead: dict[str, int] = {}  # a commit may write one stream twice
        versions = []
        for write in commit.writes:
            actual = ahead.get(write.stream)
            if actual is None:
                actual = self._version(write.stream)
            if write.expected is not None and write.expected != actual:
                raise ConcurrencyError(write.stream, expected=write.expected, actual=actual)
            ahead[write.stream] = actual + len(write.rows)
            versions.append(ahead[write.stream])
        return tuple(versions)

    def _add(self, write: Write, version: int) -> None:
        place, stream = self._position, write.stream
        self._new[stream] += [row.id for row in write.rows]
        self.rows += [
            (place + number, stream, version + number, row_id, name, schema_version, data, recorded_at, metadata)
            for number, (row_id, name, schema_version, data, recorded_at, metadata) in enumerate(write.rows, start=1)
        ]
        self._position += len(write.rows)

    def _version(self, stream: str) -> int:
        base = self._base.get(stream)
        if base is None:
            base = self._base[stream] = self._stored.version(stream)
            self._new[stream] = []
        return base + len(self._new[stream])

    def _id_at(self, stream: str, revision: int) -> bytes | None:
        version, new = self._version(stream), self._new[stream]
        base = version - len(new)
        return new[revision - base - 1] if revision > base else self._stored.id_at(stream, revision)

    def _position_of(self, stream: str, revision: int) -> int:
        new = next((row[0] for row in self.rows if row[1] == stream and row[2] == revision), None)
        return self._stored.position_of(stream, revision) if new is None else new

    def _revision_of(self, stream: str, row_id: bytes) -> int | None:
        version, new = self._version(stream), self._new[stream]
        if row_id in new:
            return version - len(new) + new.index(row_id) + 1
        return self._stored.revision_of(stream, row_id)


def check_commit(commit: Commit) -> None:
    """Refuse what not every database can hold, before it is handed in with the commits of others.

    Raises:
        PayloadError: for a name that is empty, no Unicode or holds a NUL character, or a number of more than 63 bits.
    """
    for write in commit.writes:
        _check_text("The name of a stream", write.stream)
        # What is written together is mostly of one type and time.
        for kind, version, time in {(row.type, row.schema_version, row.recorded_at) for row in write.rows}:
            _check_text("The type of an event", kind)
            if not (0 <= version <= _LARGEST and -_LARGEST <= time <= _LARGEST):
                raise PayloadError(
                    f"An event {kind!r} has the version {version} and the time {time}: a store holds whole numbers of up "
                    "to 63 bits."
                )
    if commit.head is not None:
        _check_text("The name of a stream", commit.head.stream)


def check_snapshot(snapshot: StoredSnapshot) -> None:
    """Refuse what not every database can hold.

    Raises:
        PayloadError: for a name as in `check_commit`, a revision below 1, or a number of more than 63 bits.
    """
    _check_text("The name of a stream", snapshot.stream)
    _check_text("The type of a snapshot", snapshot.type)
    numbers_fit = 0 <= snapshot.schema_version <= _LARGEST and -_LARGEST <= snapshot.recorded_at <= _LARGEST
    if not (numbers_fit and 1 <= snapshot.revision <= _LARGEST):
        raise PayloadError(
            f"A snapshot of {snapshot.stream!r} has the revision {snapshot.revision}, the version "
            f"{snapshot.schema_version} and the time {snapshot.recorded_at}: a store holds whole numbers of up to 63 bits, "
            "and revisions from 1."
        )


def _check_text(what: str, text: str) -> None:
    if text and "\0" not in text and (text.isascii() or _is_unicode(text)):
        return
    raise PayloadError(f"{what} is {text!r}. Expected Unicode text that is not empty and holds no NUL character.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
