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

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import checkpoint

from allframe.clock import SystemClock, to_microseconds, waiting_for_thread
from allframe.errors import ProjectionRefused, StoreInUse, StoreUnavailable
from allframe.events.kept import keep_for_ever
from allframe.events.sqlite_read import SqliteReader
from allframe.events.sqlite_tables_file import APPLICATION_ID, FORMAT, META, TablesFile, inode, is_empty
from allframe.events.sqlite_transaction import Guard, SqliteTransaction, committing, statements
from allframe.events.tables import Mark, OpenTransaction, Parameters, StoredTables, Tables, check_name
from allframe.events.tables_lock import Hold, TablesLock

__all__ = ["SqliteTables"]

T = TypeVar("T")

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
_MOVE_ON = "UPDATE allframe_projection SET position = ?, event_id = ?, updated_at = ?, error = NULL"
_SET_ERROR = "UPDATE allframe_projection SET error = ?"

#: Seconds for which a build waits for somebody who looks whether there is one.
_LOOKING = 0.5
#: Seconds after which whoever waits to hold the tables can be told to stop.
_TURN = 0.1

_tables: weakref.WeakSet[SqliteTables] = weakref.WeakSet()


class SqliteTables:
    """The tables of the projection ``name`` in ``folder``. ``busy_timeout`` is in seconds."""

    def __init__(self, folder: str, name: str, busy_timeout: float = 5.0, *, suffix: str = "db") -> None:
        check_name(name)
        self.name = name
        self._folder, self._timeout = folder, busy_timeout
        self._base = os.path.join(folder, name)
        self._file = TablesFile(f"{self._base}.{suffix}", "process", busy_timeout, None)
        self._is_built = suffix == "new"
        self._lock = TablesLock(f"{self._base}{'.new' if self._is_built else ''}.lock", self.path, busy_timeout)
        self._reader = SqliteReader(self._file)
        self._connection: sqlite3.Connection | None = None
        #: Which files the connection and the reader are of.
        self._inode, self._read_inode = inode(self.path), inode(self.path)
        self._guard = Guard(META)
        # A task that is cancelled by asyncio itself leaves its thread behind: these keep the next one waiting.
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writers, self._readers = CapacityLimiter(1), CapacityLimiter(1)
        self._is_forked = False
        _tables.add(self)

    @property
    def path(self) -> str:
        return self._file.path

    async def open(self, schema: str, digest: str) -> StoredTables:
        return await self._write(lambda: self._open(schema, digest))

    async def transaction(self, work: Callable[[OpenTransaction, StoredTables], Mark | None]) -> StoredTables:
        return await self._write(lambda: self._transact(work))

    async def set_error(self, error: str) -> None:
        def write() -> None:
            with self._exclusively(), committing(self._opened(), self._file) as connection:
                connection.execute(_SET_ERROR, (error,))

        await self._write(write)

    async def query(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        self._check_forked()

        def read() -> list[tuple[Any, ...]]:
            with self._reading:
                return self._query(sql, parameters)

        with waiting_for_thread:
            return await to_thread.run_sync(read, limiter=self._readers)

    async def hold(self) -> Callable[[], None]:
        hold = Hold()

        def let_go() -> None:
            if not self._is_forked:
                with self._writing:  # what was left behind within the hold ends in it
                    self._lock.let_go(hold)

        try:
            while not await self._write(lambda: self._lock.take(hold, _TURN)):
                await checkpoint()
        except BaseException:
            self._lock.let_go(hold)  # asyncio itself may have cancelled it, and the thread takes it all the same
            raise
        return let_go

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
            with built._writing, self._exclusively():  # noqa: SLF001 - of the same kind
                connection = self._opened()
                try:
                    built._opened().backup(connection)  # noqa: SLF001
                except sqlite3.Error as error:
                    raise self._file.explain(error, "write") from error
                return self._file.stored(connection)

        return await self._write(put)

    async def close(self) -> None:
        if not self._is_forked:
            with anyio.CancelScope(shield=True):
                await self._write(self._close)

    # --- on a thread

    def _open(self, schema: str, digest: str) -> StoredTables:
        if self._connection is not None and inode(self.path) == self._inode:
            return self._file.stored(self._connection)
        self._let_connection_go()
        self._lock.close()  # it lies beside the tables, and may be gone with them
        try:
            self._take_lock()
            connection = self._connect(schema, digest)
            try:
                stored = self._file.stored(connection)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._lock.close()
            raise
        self._connection, self._inode = connection, inode(self.path)
        return stored

    def _take_lock(self) -> None:
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._lock.open()
            if self._is_built and not self._lock.only_now(_LOOKING):
                raise StoreInUse(
                    f"The projection {self.name!r} is being rebuilt by somebody else already. Wait for the end of that.",
                    owner="another rebuild",
                )
            if self._is_built:
                self._file.remove()
            if not os.path.exists(self.path):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be made: {error.strerror}. The tables of projections lie in {self._folder}: give this "
                "user write permission there."
            ) from error

    def _connect(self, schema: str, digest: str) -> sqlite3.Connection:
        try:
            connection = self._file.connect(is_built=self._is_built)
        except sqlite3.Error as error:
            raise self._file.explain(error, "open") from error
        try:
            connection.set_authorizer(self._guard.authorize)
            with nullcontext() if self._is_built else self._lock.exclusively():
                if is_empty(connection):
                    self._create(connection, schema, digest)
                else:
                    self._file.check_format(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection, schema: str, digest: str) -> None:
        with committing(connection, self._file):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute(f"PRAGMA user_version = {FORMAT:d}")
            connection.execute(_CREATE)
            connection.execute(_INSERT, (self.name, _now(), digest))
            transaction = SqliteTransaction(connection, self._file)
            with self._guard.users_turn():
                for statement in statements(schema):
                    transaction.execute(statement)
            transaction.finish()

    def _transact(self, work: Callable[[OpenTransaction, StoredTables], Mark | None]) -> StoredTables:
        with self._exclusively(), committing(self._opened(), self._file) as connection:
            stored = self._file.stored(connection)
            transaction = SqliteTransaction(connection, self._file)
            with self._guard.users_turn():
                mark = work(transaction, stored)
            transaction.finish()
            if mark is None:
                return stored
            now = _now()
            connection.execute(_MOVE_ON, (mark.position, mark.event_id, now))
            return replace(stored, mark=mark, updated_at=now, error=None)

    def _query(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        found = inode(self.path)
        if found != self._read_inode:  # another file lies there now
            self._renew_reader()
            self._read_inode = found

        def rows(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            try:
                return connection.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
                    raise ProjectionRefused(
                        f"A query only reads the tables of a projection, and this one would write ({error}). What they hold "
                        "follows from the events: let apply() write it."
                    ) from error
                raise
            finally:
                if (
                    connection.in_transaction
                ):  # a reader that stays in one sees nothing new, and keeps the log from its end
                    connection.rollback()

        try:
            return self._reader.read(rows)
        finally:
            if not self._lock.is_open:  # nobody would close it
                self._renew_reader()

    def _close(self) -> None:
        with self._reading:
            self._renew_reader()
        self._let_connection_go()
        if self._lock.is_open and self._is_built:
            self._file.remove()
        self._lock.close()

    def _let_connection_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _renew_reader(self) -> None:
        self._reader.close()
        self._reader = SqliteReader(self._file)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Nobody else writes these tables within the block, and they are what lies at their place.

        Raises:
            StoreUnavailable: that cannot be had now.
        """
        if self._is_built:
            yield
            return
        self._opened()
        with self._lock.exclusively():
            if inode(self.path) != self._inode:
                raise StoreUnavailable(
                    f"{self.path} was deleted or replaced while it was open. What lies there now is opened next, or made anew."
                )
            yield

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self.path} is not open.")
        return self._connection

    async def _write(self, function: Callable[[], T]) -> T:
        self._check_forked()

        def alone() -> T:
            with self._writing:
                return function()

        with waiting_for_thread:
            return await to_thread.run_sync(alone, limiter=self._writers)

    # --- forked children

    def _check_forked(self) -> None:
        if self._is_forked:
            raise StoreUnavailable(
                f"{self.path} was opened by the process that this one was forked from, and SQLite's files cannot be carried "
                "over a fork. Open a store and its projections in the child, after the fork."
            )

    def _poison(self) -> None:
        """In a forked child: refuse every use, and never touch what belongs to the parent."""
        self._is_forked = True
        self._lock.forget()
        for connection in (self._connection, self._reader.connection):
            if connection is not None:
                keep_for_ever(connection)


def _now() -> int:
    return to_microseconds(SystemClock().now())


def _in_forked_child() -> None:
    for tables in list(_tables):
        tables._poison()  # noqa: SLF001 - one idea, two scopes


os.register_at_fork(after_in_child=_in_forked_child)
