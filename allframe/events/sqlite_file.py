"""One SQLite file as a store: its format, how it is made, recognised and opened, and what its errors mean.

The format is number 1. A file says that it is ours by its ``application_id`` and which format it has by its
``user_version``; both stand in the file's first bytes from its first moment. Times are microseconds since 1970, UTC.
Payloads are text, for SQLite's shell and for ``json_extract``.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from urllib.parse import quote

from allframe.errors import StoreError, StoreFormatError, StoreUnavailable
from allframe.events.url import Durability

__all__ = ["APPLICATION_ID", "FORMAT", "StoreFile"]

#: ``allf``
APPLICATION_ID = 0x616C6C66
FORMAT = 1

_TABLES = (
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        stream TEXT NOT NULL,
        revision INTEGER NOT NULL,
        id BLOB NOT NULL,
        type TEXT NOT NULL,
        schema_version INTEGER NOT NULL,
        data TEXT NOT NULL,
        recorded_at INTEGER NOT NULL,
        metadata TEXT,
        UNIQUE (stream, revision)
    ) STRICT""",
    """CREATE TABLE heads (
        stream TEXT NOT NULL PRIMARY KEY,
        category TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        since INTEGER NOT NULL,
        blocked TEXT,
        epoch INTEGER NOT NULL,
        digest BLOB NOT NULL,
        attention INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE INDEX heads_open ON heads (category, status)
        WHERE status NOT IN ('completed', 'compensated', 'abandoned')""",
    "CREATE INDEX heads_newest ON heads (category, since DESC, stream)",
    "CREATE TABLE owner (epoch INTEGER NOT NULL, clean INTEGER NOT NULL) STRICT",
    "INSERT INTO owner VALUES (0, 1)",
)
#: Not in every file of this format: its owner adds what is missing, and who only reads does without.
_ADDED = (
    """CREATE TABLE IF NOT EXISTS snapshots (
        stream TEXT NOT NULL,
        type TEXT NOT NULL,
        schema_version INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        data TEXT NOT NULL,
        recorded_at INTEGER NOT NULL,
        PRIMARY KEY (stream, type)
    ) STRICT""",
)

#: What of SQLite's result codes says for certain that nothing was written (https://www.sqlite.org/rescode.html).
_CERTAIN = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}


@dataclass(frozen=True, slots=True)
class StoreFile:
    """Where the store lies and how it is opened. ``path`` is absolute, with all links resolved."""

    path: str
    durability: Durability
    #: Seconds.
    busy_timeout: float
    max_page_count: int | None

    # --- recognising it

    def check_place(self) -> None:
        """
        Raises:
            StoreUnavailable: if no file can lie there.
            StoreFormatError: if what lies there is no file.
        """
        if sqlite3.sqlite_version_info < (3, 37):
            raise StoreUnavailable(
                f"This Python brings SQLite {sqlite3.sqlite_version}, and allframe needs 3.37 or newer: use a newer "
                "Python, or one that is built with a newer SQLite."
            )
        folder = os.path.dirname(self.path)
        there = _stat(folder)
        if there is None or not stat.S_ISDIR(there.st_mode):
            raise StoreUnavailable(f"{self.path} cannot be opened: there is no folder {folder}. Make it first.")
        found = _stat(self.path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise StoreFormatError(f"{self.path} is a folder, not a store. Name a file in it.")
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise StoreFormatError(f"{self.path} is no regular file. A store needs one.")

    def size(self) -> int | None:
        """Its bytes; None if there is no such file.

        Raises:
            StoreUnavailable: if this user may not know.
        """
        found = _stat(self.path)
        return None if found is None else found.st_size

    def check_format(self) -> None:
        """Look at a file that is not empty without leaving anything beside it.

        Raises:
            StoreFormatError: if it is no store, or one of a newer allframe.
            StoreUnavailable: if it cannot be read.
        """
        try:
            # Through SQLite, for closing a descriptor of our own would drop the locks that SQLite holds on the file for
            # this process (https://www.sqlite.org/howtocorrupt.html, section 2.2).
            with closing(self.frozen()) as connection:
                self.check_header(connection)
        except sqlite3.Error as error:
            if not self.has_log():
                raise self.explain(error, "open") from error
            # A process that died while it moved its log into the file left it torn: the two are whole only together.
            self._check_format_with_log()

    def _check_format_with_log(self) -> None:
        try:
            with closing(self.reader()) as connection:
                self.check_header(connection)
        except sqlite3.Error as error:
            raise self.explain(error, "open") from error

    def check_header(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise StoreFormatError(
                f"{self.path} is a SQLite database of another program, not an allframe store. It was left as it is: "
                "name another file."
            )
        if version > FORMAT:
            raise StoreFormatError(
                f"{self.path} was written by a newer allframe: it has format {version}, and this one knows formats up "
                f"to {FORMAT}. It was left as it is: update allframe."
            )
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if version < 1 or not found >= {"events", "heads", "owner"}:
            raise StoreFormatError(f"{self.path} is damaged: tables of an allframe store are missing. Restore a copy.")

    # --- opening it

    def create(self) -> None:
        """Put an empty store there, which only this user may read; only for the owner of a place that is empty.

        It is made beside it and moved there whole: whoever comes after a crash finds a store, or nothing.

        Raises:
            StoreUnavailable: if the folder cannot be written.
        """
        new = replace(self, path=f"{self.path}.new")
        try:
            try:
                new.make()
                os.rename(new.path, self.path)
                _sync(os.path.dirname(self.path))
            except BaseException:
                new.remove()
                raise
        except OSError as error:
            raise StoreUnavailable(f"{self.path} cannot be created: {error.strerror}.") from error
        except sqlite3.Error as error:
            raise self.explain(error, "create") from error

    def writer(self) -> sqlite3.Connection:
        """The one connection that writes.

        Raises:
            StoreError: if it cannot be opened, or is no store.
        """
        try:
            connection = self._connect("mode=rw")
            try:
                self._configure(connection)
                self.check_header(connection)
                self._write_ahead(connection)
                for statement in _ADDED:
                    connection.execute(statement)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self.explain(error, "open") from error
        return connection

    def reader(self) -> sqlite3.Connection:
        """A connection that reads what is committed, beside an owner."""
        connection = self._connect("mode=ro")
        connection.execute("PRAGMA query_only = ON")
        return connection

    def frozen(self) -> sqlite3.Connection:
        """A connection that reads the file as it lies there, without its log, and needs no permission to write.

        Only what stands in the file itself is right: use it when there is no log, or for the header.
        """
        return self._connect("mode=ro&immutable=1")

    def has_log(self) -> bool:
        """Whether the file is, or was at its owner's death, being written: newer rows may stand beside it."""
        return os.path.exists(f"{self.path}-wal")

    def _connect(self, options: str) -> sqlite3.Connection:
        # As bytes: a path need not be Unicode. Quoted: it may hold "?", "#" and "%".
        return sqlite3.connect(
            f"file://{quote(os.fsencode(self.path))}?{options}",
            uri=True,
            timeout=self.busy_timeout,
            isolation_level=None,  # BEGIN and COMMIT are ours to say
            check_same_thread=False,  # each is used by one thread at a time
        )

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA trusted_schema = OFF")
        if self.durability == "power":
            connection.execute("PRAGMA synchronous = FULL")
            # Only macOS: its fsync() leaves the data in the disk's own cache.
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA checkpoint_fullfsync = ON")
        else:
            connection.execute("PRAGMA synchronous = NORMAL")
        if self.max_page_count is not None:
            connection.execute(f"PRAGMA max_page_count = {self.max_page_count:d}")
        # The log of a busy hour is given back when it starts anew.
        connection.execute("PRAGMA journal_size_limit = 67108864")

    def make(self) -> None:
        """Make an empty store of it, in place of what lies there."""
        self.remove()
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(self._connect("mode=rw")) as connection:
            self._configure(connection)
            # Nobody knows of it yet: the disk is waited for once, at the end.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {FORMAT:d}")
            for statement in (*_TABLES, *_ADDED):
                connection.execute(statement)
            connection.execute("COMMIT")
            self._write_ahead(connection)
        _sync(self.path)

    def remove(self) -> None:
        for left in (self.path, f"{self.path}-journal", f"{self.path}-wal", f"{self.path}-shm"):
            with suppress(FileNotFoundError):
                os.unlink(left)

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreUnavailable(
                f"{self.path} cannot be put into SQLite's WAL mode (it stays in mode {mode!r}): its file system lacks "
                "the shared memory for it. Put the store on a local disk."
            )
        # Opens the log, so that readers see from now on that there is one.
        connection.execute("SELECT epoch FROM owner").fetchone()

    # --- what its errors mean

    def is_certain(self, error: sqlite3.Error) -> bool:
        """Whether ``error``, raised before a COMMIT, says for certain that nothing was written."""
        return _primary(error) in _CERTAIN

    def explain(self, error: sqlite3.Error, verb: str, *, in_doubt: bool = False) -> StoreError:
        """A letter about an error that SQLite raised when it was to ``verb`` the file."""
        code = _primary(error)
        if code == sqlite3.SQLITE_NOTADB:
            return StoreFormatError(f"{self.path} is not a SQLite database. It was left as it is: name another file.")
        if code == sqlite3.SQLITE_CORRUPT and verb != "write":
            return StoreFormatError(
                f"{self.path} is damaged: SQLite finds its pages malformed. Restore a copy, or save what can be read "
                "with `sqlite3 FILE .recover`."
            )
        end = ""
        if verb == "write":
            end = (
                " It may have been written all the same: write the same rows again to find out."
                if in_doubt
                else " Nothing was written."
            )
        return StoreUnavailable(self._cause(error, code, verb) + end, in_doubt=in_doubt)

    def _cause(self, error: sqlite3.Error, code: int, verb: str) -> str:
        if code == sqlite3.SQLITE_FULL:
            if self.max_page_count is None:
                return f"{self.path} cannot grow: the disk is full. Free some space."
            return (
                f"{self.path} is full: it may have {self.max_page_count} pages (max_page_count={self.max_page_count}). "
                "Open it with a larger max_page_count, or with none."
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return (
                f"{self.path} is locked by another program, for more than {self.busy_timeout:g} s. Close whatever has "
                "it open, or wait longer with busy_timeout=SECONDS."
            )
        if code == sqlite3.SQLITE_READONLY:
            return (
                f"{self.path} cannot be written: the file, its folder or its file system is read-only. Give this user "
                "write permission, or open the store with ?mode=ro to look at it."
            )
        if code == sqlite3.SQLITE_CANTOPEN:
            return (
                f"{self.path} or one of the files beside it (-wal, -shm) cannot be opened. See that this user may read "
                "them, and may write in their folder if the store was not closed."
            )
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return f"SQLite could not {verb} {self.path}: {error} ({name})."


def _primary(error: sqlite3.Error) -> int:
    # The low byte; the rest of an extended code says more about the same.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be looked at: {error.strerror}. See that this user may.") from error


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
