"""The file that the tables of a projection lie in: how it is recognised and opened, what is noted in it, and its errors.

What lies in it follows from the events. So whatever is wrong with it, it can be deleted, and is made anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

from allframe.errors import StoreError, StoreFormatError
from allframe.events.sqlite_file import StoreFile
from allframe.events.sqlite_read import SqliteReader
from allframe.events.tables import Mark, StoredTables

__all__ = ["APPLICATION_ID", "FORMAT", "META", "TablesFile", "inode", "is_empty", "read_stored", "stored_in"]

#: ``allp``
APPLICATION_ID = 0x616C6C70
FORMAT = 1
#: The table that is allframe's own.
META = "allframe_projection"

_STORED = "SELECT name, position, event_id, updated_at, digest, error FROM allframe_projection"


class TablesFile(StoreFile):
    """Where the tables of one projection lie. ``path`` is absolute."""

    __slots__ = ()

    def explain(self, error: sqlite3.Error, verb: str, *, in_doubt: bool = False) -> StoreError:
        told = StoreFile.explain(self, error, verb, in_doubt=in_doubt)
        return self.broken("it is damaged, or no SQLite database") if isinstance(told, StoreFormatError) else told

    def broken(self, what: str) -> StoreFormatError:
        return StoreFormatError(
            f"{self.path} cannot be used as the tables of a projection: {what}. It was left as it is: delete it and what "
            "lies beside it (-wal, -shm), and it is made anew from the events."
        )

    def check_format(self, connection: sqlite3.Connection | None = None) -> None:
        """
        Raises:
            StoreFormatError: what ``connection`` reads are no tables of a projection, or those of a newer allframe.
        """
        assert connection is not None
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise self.explain(error, "open") from error
        if application != APPLICATION_ID:
            raise StoreFormatError(
                f"{self.path} does not hold the tables of a projection, but those of another program. It was left as it is: "
                "move it away, or give the projection another name."
            )
        if version > FORMAT:
            raise StoreFormatError(
                f"{self.path} was written by a newer allframe: it has format {version}, and this one knows formats up to "
                f"{FORMAT}. It was left as it is: update allframe, or delete it, and it is made anew."
            )

    def connect(self, *, is_built: bool) -> sqlite3.Connection:
        """A connection that writes; ``is_built``: what nobody serves yet."""
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout,
            isolation_level=None,  # BEGIN and COMMIT are ours to say
            check_same_thread=False,  # it is used by one thread at a time
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            if is_built:
                # Nobody waits for it after a crash; and its journal is kept for a statement that fails.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")
            else:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            connection.close()
            raise self.explain(error, "open") from error
        return connection

    def stored(self, connection: sqlite3.Connection) -> StoredTables:
        """What is noted in it."""
        try:
            found = connection.execute(_STORED).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            found = None
        if found is None:
            raise self.broken("nothing in it says how far it has come")
        return _to_stored(found)


def inode(path: str) -> tuple[int, int] | None:
    """Which file it is; None for none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_empty(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_schema").fetchone()[0])


def stored_in(folder: str, busy_timeout: float = 5.0) -> list[StoredTables]:
    """What is known of every projection whose tables lie in ``folder``, by name; of a damaged one, that."""
    with suppress(FileNotFoundError):
        names = sorted(entry[:-3] for entry in os.listdir(folder) if entry.endswith(".db"))
        found = [_look(folder, name, busy_timeout) for name in names]
        return [stored for stored in found if stored is not None]
    return []


def read_stored(connection: sqlite3.Connection) -> StoredTables | None:
    """None for a file that is just being made, or is another program's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    found = connection.execute(_STORED).fetchone() if application == APPLICATION_ID else None
    return None if found is None else _to_stored(found)


def _look(folder: str, name: str, busy_timeout: float) -> StoredTables | None:
    base = os.path.join(folder, name)
    file = TablesFile(f"{base}.db", "process", busy_timeout, None)
    try:
        with closing(SqliteReader(file)) as reader:
            stored = reader.read(read_stored)
    except StoreFormatError as error:
        return _damaged(file, name, error)
    except StoreError:
        if inode(file.path) is None:  # it was deleted meanwhile
            return None
        raise
    return None if stored is None else replace(stored, rebuilding=_is_taken(f"{base}.new.lock"))


def _damaged(file: TablesFile, name: str, error: StoreFormatError) -> StoredTables:
    told = json.dumps({"type": "allframe.StoreFormatError", "message": str(error), "traceback": None})
    return StoredTables(name, Mark(), int(os.stat(file.path).st_mtime * 1_000_000), "", told)


def _to_stored(found: tuple[Any, ...]) -> StoredTables:
    name, position, event_id, updated_at, digest, error = found
    return StoredTables(name, Mark(position, event_id), updated_at, digest, error)


def _is_taken(lock: str) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
