"""`SqliteTables`: the tables of one projection, in a SQLite file of their own.

::

    bank.db.projections/
        balances.db         the tables, and allframe_projection: how far they have come
        balances.lock       whoever writes them locks it (flock(2)), so the kernel lets go of it for a process that dies
        balances.new        a successor being built
        balances.new.lock   whoever builds it

The file is in WAL mode with ``synchronous=NORMAL``: the disk is not waited for, and what a loss of power takes is read from
the events again. Readers are never waited for either, also not by a swap: that is one transaction of SQLite's backup
(https://www.sqlite.org/c3ref/backup_finish.html), page by page into the write-ahead log.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from allframe.clock import SystemClock, to_microseconds, waiting_for_thread
from allframe.errors import StoreFormatError, StoreInUse, StoreUnavailable
from allframe.events.sqlite_file import StoreFile
from allframe.events.sqlite_read import SqliteReader
from allframe.events.sqlite_transaction import Guard, SqliteTransaction, committing, statements
from allframe.events.tables import Mark, Parameters, StoredTables, Tables, Transaction, check_name

__all__ = ["SqliteTables", "stored_in"]

T = TypeVar("T")

#: ``allp``
APPLICATION_ID = 0x616C6C70
FORMAT = 1
META = "allframe_projection"

_CREATE = """
    CREATE TABLE allframe_projection (
        name TEXT NOT NULL,
        position INTEGER NOT NULL,
        event_id BLOB NOT NULL,
        updated_at INTEGER NOT NULL,
        digest TEXT NOT NULL,
        error TEXT
    ) STRICT"""
_INSERT = "INSERT INTO allframe_projection VALUES (?, 0, x'', ?, ?, NULL)"
_STORED = "SELECT name, position, event_id, updated_at, digest, error FROM allframe_projection"
_MOVE_ON = "UPDATE allframe_projection SET position = ?, event_id = ?, updated_at = ?, error = NULL"
_SET_ERROR = "UPDATE allframe_projection SET error = ?"

#: Seconds for which a build waits for somebody who looks whether there is one.
_LOOKING = 0.5


class SqliteTables:
    """The tables of the projection ``name`` in ``folder``. ``busy_timeout`` is in seconds."""

    def __init__(self, folder: str, name: str, busy_timeout: float = 5.0, *, suffix: str = "db") -> None:
        check_name(name)
        self.name = name
        self._folder, self._timeout = folder, busy_timeout
        self._base = os.path.join(folder, name)
        self._file = StoreFile(f"{self._base}.{suffix}", "process", busy_timeout, None)
        self._is_built = suffix == "new"
        self._reader = SqliteReader(self._file)
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._is_held = False
        self._guard = Guard(META)
        # A task that is cancelled by asyncio itself leaves its thread behind: these keep the next one waiting.
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writers, self._readers = CapacityLimiter(1), CapacityLimiter(1)

    @property
    def path(self) -> str:
        return self._file.path

    async def open(self, schema: str, digest: str) -> StoredTables:
        return await self._write(lambda: self._open(schema, digest))

    async def transaction(self, work: Callable[[Transaction, StoredTables], Mark | None]) -> StoredTables:
        return await self._write(lambda: self._transact(work))

    async def set_error(self, error: str) -> None:
        def write() -> None:
            with self._exclusively(), self._committing() as connection:
                connection.execute(_SET_ERROR, (error,))

        await self._write(write)

    async def query(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        def read() -> list[tuple[Any, ...]]:
            with self._reading:
                try:
                    return self._reader.read(lambda connection: connection.execute(sql, parameters).fetchall())
                finally:
                    if self._lock is None:  # nobody would close it
                        self._renew_reader()

        with waiting_for_thread:
            return await to_thread.run_sync(read, limiter=self._readers)

    async def hold(self) -> Callable[[], None]:
        def take() -> None:
            fcntl.flock(self._descriptor(), fcntl.LOCK_EX)
            self._is_held = True

        await self._write(take)
        return self._let_go

    async def build(self, schema: str, digest: str) -> Tables:
        built = SqliteTables(self._folder, self.name, self._timeout, suffix="new")
        try:
            await built.open(schema, digest)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await built.close()
            raise
        return built

    async def swap(self, built: Tables) -> StoredTables:
        assert isinstance(built, SqliteTables)

        def put() -> StoredTables:
            with self._exclusively():
                built._opened().backup(self._opened())  # noqa: SLF001 - of the same kind
                return self._stored(self._opened())

        return await self._write(put)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._write(self._close)

    # --- on a thread

    def _open(self, schema: str, digest: str) -> StoredTables:
        if self._connection is not None:
            return self._stored(self._connection)
        self._take_lock()
        if self._is_built:
            self._file.remove()
        connection = self._connect()
        try:
            with self._exclusively():
                if _is_empty(connection):
                    self._create(connection, schema, digest)
                else:
                    self._check_format(connection)
            stored = self._stored(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return stored

    def _take_lock(self) -> None:
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            lock = f"{self._base}.new.lock" if self._is_built else f"{self._base}.lock"
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            if not os.path.exists(self.path):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be made: {error.strerror}. The tables of projections lie in {self._folder}: give this "
                "user write permission there."
            ) from error
        if self._is_built and not _taken(self._lock):
            os.close(self._lock)
            self._lock = None
            raise StoreInUse(
                f"The projection {self.name!r} is being rebuilt by somebody else already. Wait for the end of that.",
                owner="another rebuild",
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=self._timeout,
            isolation_level=None,  # BEGIN and COMMIT are ours to say
            check_same_thread=False,  # it is used by one thread at a time
        )
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            if self._is_built:
                # Nobody waits for it after a crash; and its journal is kept for a statement that fails.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("PRAGMA journal_mode = MEMORY")
            else:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 67108864")
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            connection.close()
            raise self._file.explain(error, "open") from error
        connection.set_authorizer(self._guard.authorize)
        return connection

    def _create(self, connection: sqlite3.Connection, schema: str, digest: str) -> None:
        with self._committing(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {FORMAT:d}")
            connection.execute(_CREATE)
            connection.execute(_INSERT, (self.name, _now(), digest))
            with self._guard.users_turn():
                transaction = SqliteTransaction(connection, self._file)
                for statement in statements(schema):
                    transaction.execute(statement)

    def _check_format(self, connection: sqlite3.Connection) -> None:
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error as error:
            raise self._file.explain(error, "open") from error
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

    def _transact(self, work: Callable[[Transaction, StoredTables], Mark | None]) -> StoredTables:
        with self._exclusively(), self._committing() as connection:
            stored = self._stored(connection)
            with self._guard.users_turn():
                mark = work(SqliteTransaction(connection, self._file), stored)
            if mark is None:
                return stored
            now = _now()
            connection.execute(_MOVE_ON, (mark.position, mark.event_id, now))
            return replace(stored, mark=mark, updated_at=now, error=None)

    def _stored(self, connection: sqlite3.Connection) -> StoredTables:
        found = connection.execute(_STORED).fetchone()
        if found is None:
            raise StoreFormatError(
                f"{self.path} is damaged: nothing says how far it has come. Delete it, and it is made anew."
            )
        return _to_stored(found)

    def _close(self) -> None:
        with self._reading:
            self._renew_reader()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            if self._is_built:
                self._file.remove()
            os.close(self._lock)
            self._lock = None

    def _renew_reader(self) -> None:
        self._reader.close()
        self._reader = SqliteReader(self._file)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Nobody else writes these tables within the block."""
        if self._is_held or self._is_built:
            yield
            return
        fcntl.flock(self._descriptor(), fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor(), fcntl.LOCK_UN)

    @contextmanager
    def _committing(self, connection: sqlite3.Connection | None = None) -> Iterator[sqlite3.Connection]:
        with committing(connection or self._opened(), self._file) as begun:
            yield begun

    def _let_go(self) -> None:
        self._is_held = False
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self.path} is not open.")
        return self._connection

    def _descriptor(self) -> int:
        if self._lock is None:
            raise StoreUnavailable(f"{self.path} is not open.")
        return self._lock

    async def _write(self, function: Callable[[], T]) -> T:
        def alone() -> T:
            with self._writing:
                return function()

        with waiting_for_thread:
            return await to_thread.run_sync(alone, limiter=self._writers)


def stored_in(folder: str, busy_timeout: float = 5.0) -> list[StoredTables]:
    """What is known of every projection whose tables lie in ``folder``, by name."""
    with suppress(FileNotFoundError):
        names = sorted(entry[:-3] for entry in os.listdir(folder) if entry.endswith(".db"))
        found = [_look(folder, name, busy_timeout) for name in names]
        return [stored for stored in found if stored is not None]
    return []


def _look(folder: str, name: str, busy_timeout: float) -> StoredTables | None:
    base = os.path.join(folder, name)
    with closing(SqliteReader(StoreFile(f"{base}.db", "process", busy_timeout, None))) as reader:
        stored = reader.read(_stored_of)
    return None if stored is None else replace(stored, rebuilding=_is_taken(f"{base}.new.lock"))


def _stored_of(connection: sqlite3.Connection) -> StoredTables | None:
    """None for a file that is just being made, or is another program's."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    found = connection.execute(_STORED).fetchone() if application == APPLICATION_ID else None
    return None if found is None else _to_stored(found)


def _to_stored(found: tuple[Any, ...]) -> StoredTables:
    name, position, event_id, updated_at, digest, error = found
    return StoredTables(name, Mark(position, event_id), updated_at, digest, error)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_schema").fetchone()[0])


def _taken(descriptor: int) -> bool:
    """Lock it, after whoever looks at it for a moment; whether that succeeded."""
    deadline = time.monotonic() + _LOOKING
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(0.01)


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


def _now() -> int:
    return to_microseconds(SystemClock().now())
