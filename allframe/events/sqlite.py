"""`SqliteBackend`: an event store in one SQLite file, owned by one process and read by any.

::

    tasks ── commit ──> Writer, a thread ──> SqliteWriter ──> the file's log (-wal) ──> the file
    tasks ── read ────> Worker, a thread ──> SqliteReader ──> what is committed
                                             LockFile (.lock): who owns it

Writing and reading are two connections: a reader never waits for a commit, and never sees one that is not durable.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from anyio import CancelScope, CapacityLimiter, to_thread

from allframe.clock import waiting_for_thread
from allframe.errors import StoreUnavailable
from allframe.events import sqlite_read
from allframe.events.backend import (
    BackendStats,
    Claim,
    Commit,
    Head,
    HeadQuery,
    StoredRow,
    StoredSnapshot,
    Versions,
)
from allframe.events.batch import check_commit, check_snapshot
from allframe.events.changes import Changes
from allframe.events.holds import Holds, still_held
from allframe.events.kept import keep_for_ever
from allframe.events.lockfile import LockFile, caller
from allframe.events.sqlite_file import StoreFile
from allframe.events.sqlite_read import SqliteReader
from allframe.events.sqlite_tables import SqliteTables
from allframe.events.sqlite_tables_file import stored_in
from allframe.events.sqlite_write import Saving, SqliteWriter
from allframe.events.tables import StoredTables, Tables
from allframe.events.url import Durability
from allframe.events.writer import Worker, Writer

__all__ = ["SqliteBackend"]

T = TypeVar("T")

_backends: weakref.WeakSet[SqliteBackend] = weakref.WeakSet()


class SqliteBackend:
    """Rows in a SQLite file. ``path`` may be relative, and hold any character.

    ``durability="power"`` (the default) waits for the disk at each commit: what is acknowledged survives the loss of
    power. ``"process"`` does not: it survives the death of the process, and a loss of power may take the last commits.
    ``busy_timeout`` is in seconds. ``max_page_count`` limits the file's size, in pages of 4 KiB. ``brief``: it is closed
    again at once, so whoever else opens it waits for that.
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "power",
        busy_timeout: float = 5.0,
        max_page_count: int | None = None,
        readonly: bool = False,
        brief: bool = False,
        url: str | None = None,
    ) -> None:
        self.url = f"sqlite:///{quote(os.fspath(path), errors='surrogateescape')}" if url is None else url
        self.readonly = readonly
        resolved = os.path.realpath(path)
        self._file = StoreFile(resolved, durability, busy_timeout, max_page_count)
        self._lock = LockFile(resolved, brief=brief)
        self._holds = Holds()
        self.changes = None if readonly else Changes()
        self._thread: Writer[Commit, Versions] | None = None
        self._writer: SqliteWriter | None = None
        self._reader: SqliteReader | None = None
        self._reading: Worker | None = None
        self._closing: threading.Event | None = None
        self._is_forked = False
        _backends.add(self)

    @property
    def path(self) -> str:
        """The file, absolute and with all links resolved."""
        return self._file.path

    # --- opening and closing

    async def open(self) -> None:
        self._check_forked()
        where = caller()
        if self._reader is not None:
            self._lock.check_own_process()
            raise StoreUnavailable(f"{self._file.path} is open already.")
        opening = _Opening(self._look if self.readonly else self._own, self._let_go)
        try:
            with waiting_for_thread, CancelScope(shield=True):
                await to_thread.run_sync(opening.make, where, limiter=CapacityLimiter(1))
        except BaseException:
            opening.abandon()
            raise
        self._closing = None
        name = f"allframe {os.path.basename(self._file.path)}"
        # A thread of its own: user code that fills the shared ones must not keep the store from being read.
        self._reading = Worker(f"{name} reading", self._file.path)
        self._reading.start()
        if self._writer is not None:
            self._thread = Writer(name, self._write, self._file.path)
            self._thread.start()

    async def close(self) -> None:
        if self._is_forked or self._reader is None:
            return
        with CancelScope(shield=True):
            closing, self._closing = self._closing, self._closing or threading.Event()
            if closing is not None:  # a loop in another thread may have begun it
                with waiting_for_thread:
                    await to_thread.run_sync(closing.wait, limiter=CapacityLimiter(1))
                return
            closing = self._closing
            workers = [worker for worker in (self._thread, self._reading) if worker is not None]
            if self.changes is not None:
                self.changes.wake_all()
            try:
                with waiting_for_thread:
                    await to_thread.run_sync(self._let_go, limiter=CapacityLimiter(1))
            finally:
                closing.set()
                for worker in workers:
                    worker.leave()

    def _look(self, where: str) -> None:
        """Open it for reading only. ``where`` is of no use: there may be any number of readers."""
        self._file.check_place()
        size = self._file.size()
        if size is None:
            raise StoreUnavailable(
                f"{self._file.path} cannot be read: there is no such file, and whoever only reads makes none."
            )
        if size == 0:
            raise StoreUnavailable(f"{self._file.path} cannot be read: it is empty, no store was made of it yet.")
        self._file.check_format()
        self._reader = SqliteReader(self._file)

    def _own(self, where: str) -> None:
        self._file.check_place()
        self._lock.check_own_process()
        if self._file.size():
            self._file.check_format()
        self._lock.acquire(where)
        try:
            if not self._file.size():
                self._file.create()
            self._writer = SqliteWriter(self._file)
            assert self.changes is not None
            self.changes.position = self._writer.last_position()
        except BaseException:
            self._lock.release()
            raise
        self._reader = SqliteReader(self._file)

    def _let_go(self) -> None:
        for worker in (self._thread, self._reading):
            if worker is not None:
                worker.stop()
        # The reader first: the last one to close moves the log into the file and removes it, and a reader cannot.
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.linger()
        self._holds.when_free(self._lock.release)
        self._thread, self._reading, self._writer, self._reader = None, None, None, None

    # --- writing

    async def claim(self, where: str) -> Claim:
        thread, writer = self._writing()
        if self._holds.any:
            raise still_held(self.url)
        return await thread.call(lambda: writer.claim(where))

    async def release(self) -> None:
        thread, writer = self._writing()
        await thread.call(writer.release)

    def hold(self) -> Callable[[], None]:
        return self._holds.take()

    async def commit(self, commit: Commit) -> Versions:
        thread, _ = self._writing()
        check_commit(commit)
        return await thread.write(commit)

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        thread, _ = self._writing()
        check_snapshot(snapshot)
        await thread.write(Saving((), snapshot=snapshot))

    def _write(self, commits: list[Commit]) -> Sequence[Versions | BaseException]:
        """On the thread of the writer: write, and tell of what can be read now."""
        assert self._writer is not None
        assert self.changes is not None
        answers = self._writer.write(commits)
        written = [i for i, answer in enumerate(answers) if isinstance(answer, Versions)]
        if written:
            streams = {write.stream for i in written for write in commits[i].writes}
            self.changes.announce(max(answers[i].position for i in written), streams)  # type: ignore[union-attr]
        return answers

    def _writing(self) -> tuple[Writer[Commit, Versions], SqliteWriter]:
        self._check_open()
        thread, writer = self._thread, self._writer
        if thread is None or writer is None:
            self._check_open()  # unless it was closed meanwhile
            raise StoreUnavailable(
                f"{self._file.path} was opened with mode=ro, to be read only. Open it without that option to write."
            )
        return thread, writer

    # --- reading

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[StoredRow]:
        return await self._read(sqlite_read.read_stream(stream, after, limit))

    async def read_all(
        self, *, after: int = 0, limit: int = 1000, system: bool = False, category: str | None = None
    ) -> list[StoredRow]:
        found: list[StoredRow] = []
        start = after
        while True:
            look = await self._read(sqlite_read.read_all(start, limit - len(found), system, category))
            found += look.rows
            if look.next is None:
                return found
            start = look.next

    async def last_position(self) -> int:
        return await self._read(sqlite_read.last_position)

    async def get_snapshot(self, stream: str, type: str) -> StoredSnapshot | None:  # noqa: A002 - the row's own word
        return await self._read(sqlite_read.get_snapshot(stream, type))

    async def get_head(self, stream: str) -> Head | None:
        return await self._read(sqlite_read.get_head(stream))

    async def list_heads(self, query: HeadQuery, *, after: str | None = None, limit: int = 500) -> list[Head]:
        return await self._read(sqlite_read.list_heads(query, after, limit))

    async def newest_heads(self, query: HeadQuery, *, before: str | None = None, limit: int = 100) -> list[Head]:
        return await self._read(sqlite_read.newest_heads(query, before, limit))

    async def count_heads(self, query: HeadQuery) -> int:
        return await self._read(sqlite_read.count_heads(query))

    async def stats(self) -> BackendStats:
        found = await self._read(sqlite_read.stats)
        facts = {**found.backend_specific, "path": self._file.path, "durability": self._file.durability}
        if self._writer is not None:
            facts |= {"commits": self._writer.commits, "transactions": self._writer.transactions}
        return replace(found, backend_specific=facts)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        worker, reader = self._check_open()
        return await worker.ask(lambda: reader.read(query))

    def _check_open(self) -> tuple[Worker, SqliteReader]:
        self._check_forked()
        # Each is looked at once: a loop in another thread may close it meanwhile.
        worker, reader = self._reading, self._reader
        if worker is None or reader is None or self._closing is not None:
            raise StoreUnavailable(f"{self._file.path} is not open: use it inside `async with EventStore(...)`.")
        return worker, reader

    # --- the tables of projections

    def tables(self, name: str) -> Tables:
        self._check_open()
        return SqliteTables(self._tables_folder, name, self._file.busy_timeout)

    async def list_tables(self) -> list[StoredTables]:
        worker, _ = self._check_open()
        folder, timeout = self._tables_folder, self._file.busy_timeout
        return await worker.ask(lambda: stored_in(folder, timeout))

    @property
    def _tables_folder(self) -> str:
        return f"{self._file.path}.projections"

    # --- forked children

    def _check_forked(self) -> None:
        if self._is_forked:
            raise StoreUnavailable(
                f"{self._file.path} was opened by the process that this one was forked from, and SQLite's files cannot "
                "be carried over a fork. Open a store of its own in the child, after the fork."
            )

    def _poison(self) -> None:
        """In a forked child: refuse every use, and never touch what belongs to the parent."""
        self._is_forked = True
        for end in (self._writer, self._reader):
            if end is not None and end.connection is not None:
                keep_for_ever(end.connection)


class _Opening:
    """Opening a file on a thread, for somebody who may be gone when it is open.

    A shield keeps out the cancellations of anyio, and not those of ``asyncio.Task.cancel``.
    """

    def __init__(self, own: Callable[[str], None], let_go: Callable[[], None]) -> None:
        self._own, self._let_go = own, let_go
        self._lock = threading.Lock()
        self._is_open = self._is_abandoned = False

    def make(self, where: str) -> None:
        self._own(where)
        with self._lock:
            self._is_open = True
            if self._is_abandoned:
                self._let_go()

    def abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            if self._is_open:
                self._let_go()


def _in_forked_child() -> None:
    for backend in list(_backends):
        backend._poison()  # noqa: SLF001 - one idea, two scopes


os.register_at_fork(after_in_child=_in_forked_child)
