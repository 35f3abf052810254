"""The writing end of a SQLite store: batches in transactions, and what is believed after an error.

Nothing is believed of a connection after its COMMIT failed. Such a commit can be found in the file when the process
dies at once, and gone when it lives on; and an fsync that failed once tells nothing when it succeeds the second time
(the "fsyncgate" of 2018). So the connection is closed, the next one first moves the whole log into the file, and a
commit stays in doubt until the same rows were written again.

Python takes its global lock back after every step of a statement, and beside a busy event loop each time can take
5 ms. So a batch is few steps: one to look up all that must be known of its streams, one for dozens of rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import chain
from operator import attrgetter

from allframe.errors import ConcurrencyError, PayloadError, StoreError, StoreInUse, StoreUnavailable
from allframe.events.backend import Claim, Commit, Head, StoredSnapshot, Versions
from allframe.events.batch import Batch, NewRow
from allframe.events.sqlite_file import StoreFile

__all__ = ["Saving", "SqliteWriter"]

_INSERT_ROWS = "INSERT INTO events VALUES ", "(?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, CAST(? AS TEXT))"
_REPLACE_HEADS = "REPLACE INTO heads VALUES ", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#: The most rows a statement. Of each number up to it there may be one, and sqlite3 keeps 128 of them prepared.
_LARGEST = 50

_SAVE_SNAPSHOT = """
    INSERT INTO snapshots VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?)
    ON CONFLICT (stream, type) DO UPDATE SET (schema_version, revision, data, recorded_at) =
        (excluded.schema_version, excluded.revision, excluded.data, excluded.recorded_at)
    WHERE (excluded.revision, excluded.schema_version) >= (snapshots.revision, snapshots.schema_version)"""

_POSITION_AND_EPOCH = "SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'events'), epoch FROM owner"
#: What must be known before a batch is written: the last position, the epoch, and the versions of its streams; of a
#: single one, as a saga or an aggregate writes it, without the detour by JSON.
_BEFORE = """
    SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'events'), epoch, (
        SELECT json_group_array(json_array(key, (SELECT max(revision) FROM events WHERE stream = value)))
        FROM json_each(?))
    FROM owner"""
_BEFORE_ONE = """
    SELECT (SELECT seq FROM sqlite_sequence WHERE name = 'events'), epoch, (
        SELECT max(revision) FROM events WHERE stream = ?)
    FROM owner"""
_HEAD_FIELDS: Callable[[Head], tuple[object, ...]] = attrgetter(*(field.name for field in fields(Head)))
_SNAPSHOT_FIELDS: Callable[[StoredSnapshot], tuple[object, ...]] = attrgetter(
    *(field.name for field in fields(StoredSnapshot))
)
_ID_AT = "SELECT id FROM events WHERE stream = ? AND revision = ?"
_POSITION_OF = "SELECT position FROM events WHERE stream = ? AND revision = ?"
_REVISION_OF = "SELECT revision FROM events WHERE stream = ? AND id = ?"


@dataclass(frozen=True, slots=True)
class Saving(Commit):
    """A snapshot in the queue of the commits."""

    snapshot: StoredSnapshot | None = None


class SqliteWriter:
    """Writes one file. Every method is called by the same thread, save `close`, when that thread has ended."""

    def __init__(self, file: StoreFile) -> None:
        self.file = file
        #: How many commits came, and in how many transactions they were written.
        self.commits = 0
        self.transactions = 0
        self._connection: sqlite3.Connection | None = file.writer()
        self._trusted = True
        self._claim: Claim | None = None
        self._claimed_by = ""
        # The ids of the first rows of commits that may have been written.
        self._doubtful: set[bytes] = set()

    @property
    def connection(self) -> sqlite3.Connection | None:
        return self._connection

    def last_position(self) -> int:
        """The position of the newest row, before the first commit; 0 for none."""
        assert self._connection is not None
        position, _ = self._connection.execute(_POSITION_AND_EPOCH).fetchone()
        return position or 0

    # --- commits

    def write(self, commits: list[Commit]) -> Sequence[Versions | BaseException]:
        """Write ``commits`` in one transaction; answers each with its versions or its error."""
        self.commits += len(commits)
        if not any(commit.writes or commit.head or _snapshot_of(commit) for commit in commits):
            return [Versions()] * len(commits)
        try:
            connection = self._begin()
            answers = self._write(connection, commits)
        except sqlite3.Error as error:
            return self._failed(commits, error, certain=self.file.is_certain(error))
        except StoreInUse as error:
            return self._taken_over(commits, error)
        except StoreError as error:
            return [self._not_begun(error, commit) for commit in commits]
        except BaseException:
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._failed(commits, error, certain=False)
        self.transactions += 1
        if self._doubtful:
            self._doubtful.difference_update(*map(_firsts, commits))
        return answers

    def _write(self, connection: sqlite3.Connection, commits: list[Commit]) -> list[Versions | BaseException]:
        streams = dict.fromkeys(write.stream for commit in commits for write in commit.writes)
        streams |= dict.fromkeys(saved.stream for commit in commits if (saved := _snapshot_of(commit)))
        position, epoch, versions = _before(connection, list(streams))
        self._check_epoch(epoch)
        batch = Batch(_Stored(connection, versions), position, self._doubtful)
        answers: list[Versions | BaseException] = []
        for commit in commits:
            try:
                if (saved := _snapshot_of(commit)) is not None:
                    batch.admit_snapshot(saved)
                answers.append(batch.admit(commit))
            except (ConcurrencyError, PayloadError) as error:
                answers.append(error)
        _insert(connection, _INSERT_ROWS, batch.rows)
        _insert(connection, _REPLACE_HEADS, map(_HEAD_FIELDS, batch.heads.values()))
        for snapshot in batch.snapshots:
            connection.execute(_SAVE_SNAPSHOT, _SNAPSHOT_FIELDS(snapshot))
        return answers

    def _failed(self, commits: list[Commit], error: sqlite3.Error, *, certain: bool) -> list[BaseException]:
        rolled_back = self._roll_back()
        if not (certain and rolled_back):
            self._trusted = False
            self._doubtful.update(*map(_firsts, commits))
        answers: list[BaseException] = []
        for commit in commits:
            # One each: what several tasks raise must not be the same object.
            answer = self.file.explain(error, "write", in_doubt=not certain or self._is_doubtful(commit))
            answer.__cause__ = error
            answers.append(answer)
        return answers

    def _taken_over(self, commits: list[Commit], error: StoreInUse) -> list[BaseException]:
        self._roll_back()
        return [StoreInUse(str(error), owner=error.owner) for _ in commits]

    def _not_begun(self, error: StoreError, commit: Commit) -> BaseException:
        answer = StoreUnavailable(str(error), in_doubt=self._is_doubtful(commit))
        answer.__cause__ = error
        return answer

    def _is_doubtful(self, commit: Commit) -> bool:
        return not self._doubtful.isdisjoint(_firsts(commit))

    # --- who runs the sagas

    def claim(self, where: str) -> Claim:
        """
        Raises:
            StoreInUse: if there is a claim already.
            StoreUnavailable: if it cannot be written.
        """
        if self._claim is not None:
            raise StoreInUse(
                f"The sagas of {self.file.path} are run by {self._claimed_by} already. Use that one, or leave it "
                "first.",
                owner=self._claimed_by,
            )
        epoch, clean = self._change_owner("UPDATE owner SET epoch = epoch + 1, clean = 0")
        self._claim, self._claimed_by = Claim(epoch=epoch + 1, clean=bool(clean)), where
        return self._claim

    def release(self) -> None:
        """
        Raises:
            StoreUnavailable: if it cannot be written; the claim is given back all the same, without the mark.
        """
        if self._claim is not None:
            epoch, self._claim = self._claim.epoch, None
            self._change_owner("UPDATE owner SET clean = 1 WHERE epoch = ?", epoch)

    def _change_owner(self, change: str, *values: int) -> tuple[int, int]:
        """Make the change, alone; returns the epoch and the mark that were there before it."""
        try:
            connection = self._begin()
            before: tuple[int, int] = connection.execute("SELECT epoch, clean FROM owner").fetchone()
            connection.execute(change, values)
        except sqlite3.Error as error:
            certain = self._roll_back() and self.file.is_certain(error)
            self._trusted = self._trusted and certain
            raise self.file.explain(error, "write", in_doubt=not certain) from error
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._trusted = False
            raise self.file.explain(error, "write", in_doubt=True) from error
        return before

    def _check_epoch(self, epoch: int) -> None:
        if self._claim is not None and epoch != self._claim.epoch:
            raise StoreInUse(
                f"{self.file.path} was taken over: this process opened it as number {self._claim.epoch}, and somebody "
                f"else as number {epoch}. Nothing was written. Stop the other process, and open the store again.",
                owner=f"opening {epoch}",
            )

    # --- the connection

    def close(self) -> None:
        """Move the log into the file so far as readers allow, and let go."""
        if self._connection is None:
            return
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            pass  # what was acknowledged stands in the log, and the next one who opens it will see to it
        self._connection.close()
        self._connection = None

    def _begin(self) -> sqlite3.Connection:
        if not self._trusted:
            self._open_again()
        assert self._connection is not None
        # IMMEDIATE: a transaction that begins by reading and then wants to write fails at once beside another writer.
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def _open_again(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        connection = self.file.writer()
        try:
            self._empty_log(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self.file.explain(error, "open") from error
        except StoreUnavailable:
            connection.close()
            raise
        self._connection, self._trusted = connection, True

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreUnavailable(
                f"{self.file.path} is being read by another program for more than {self.file.busy_timeout:g} s, and "
                "after a failed write its log must be emptied first. Close whatever has it open."
            )

    def _roll_back(self) -> bool:
        """Undo what is not committed; whether that is certain."""
        if self._connection is None:
            return self._trusted
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._trusted = False
        return self._trusted


class _Stored:
    """The streams of a batch, as they are in the file (`allframe.events.batch.Stored`)."""

    def __init__(self, connection: sqlite3.Connection, versions: dict[str, int]) -> None:
        self._connection = connection
        self._versions = versions

    def version(self, stream: str) -> int:
        return self._versions[stream]

    def id_at(self, stream: str, revision: int) -> bytes | None:
        found = self._connection.execute(_ID_AT, (stream, revision)).fetchone()
        return None if found is None else found[0]

    def revision_of(self, stream: str, id: bytes) -> int | None:  # noqa: A002 - the row's own word
        found = self._connection.execute(_REVISION_OF, (stream, id)).fetchone()
        return None if found is None else found[0]

    def position_of(self, stream: str, revision: int) -> int:
        (position,) = self._connection.execute(_POSITION_OF, (stream, revision)).fetchone()
        return int(position)


def _before(connection: sqlite3.Connection, streams: list[str]) -> tuple[int, int, dict[str, int]]:
    if len(streams) == 1:
        position, epoch, version = connection.execute(_BEFORE_ONE, streams).fetchone()
        return position or 0, epoch, {streams[0]: version or 0}
    position, epoch, found = connection.execute(_BEFORE, (json.dumps(streams),)).fetchone()
    return position or 0, epoch, {streams[index]: version or 0 for index, version in json.loads(found)}


def _insert(
    connection: sqlite3.Connection, statement: tuple[str, str], rows: Iterable[NewRow | tuple[object, ...]]
) -> None:
    rest = list(rows)
    for start in range(0, len(rest), _LARGEST):
        some = rest[start : start + _LARGEST]
        connection.execute(_for_rows(*statement, len(some)), list(chain.from_iterable(some)))


@cache
def _for_rows(words: str, row: str, number: int) -> str:
    return words + ", ".join([row] * number)


def _snapshot_of(commit: Commit) -> StoredSnapshot | None:
    return commit.snapshot if isinstance(commit, Saving) else None


def _firsts(commit: Commit) -> list[bytes]:
    return [write.rows[0].id for write in commit.writes if write.rows]
