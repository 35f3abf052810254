"""`MemoryBackend`: an event store that ends with its process. For tests, and for sagas that nobody must recover."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator

from anyio.lowlevel import cancel_shielded_checkpoint

from allframe.errors import StoreInUse, StoreUnavailable
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
from allframe.events.batch import Batch, check_commit, check_snapshot
from allframe.events.category import category_of
from allframe.events.changes import Changes
from allframe.events.holds import Holds, still_held
from allframe.events.sqlite_tables import SqliteTables
from allframe.events.sqlite_tables_file import stored_in
from allframe.events.tables import StoredTables, Tables

__all__ = ["MemoryBackend"]


#: Rows after which a long look lets the other tasks run.
SPAN = 20_000


class MemoryBackend:
    """Rows in lists. It makes every check that a database makes; what it holds lives as long as this object."""

    url = "memory://"
    readonly = False
    durable = False

    def __init__(self) -> None:
        self.changes = Changes()
        self._rows: list[StoredRow] = []
        self._streams: defaultdict[str, list[StoredRow]] = defaultdict(list)
        self._heads: dict[str, Head] = {}
        self._snapshots: dict[tuple[str, str], StoredSnapshot] = {}
        self._is_open = False
        self._epoch = 0
        self._clean = True
        self._claimed_by: str | None = None
        self._holds = Holds()
        #: Of the tables of projections.
        self._folder: str | None = None
        self._remove: Callable[[], object] | None = None

    async def open(self) -> None:
        if self._is_open:
            raise StoreInUse("This memory store is open already: hand its EventStore around.", owner="this process")
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        self._claimed_by = None
        self.changes.wake_all()
        if self._remove is not None:
            self._remove()
            self._folder = self._remove = None

    async def claim(self, where: str) -> Claim:
        await self._turn()
        if self._claimed_by is not None:
            raise StoreInUse(
                f"The sagas of this memory store are run by {self._claimed_by} already. Use that one, or leave it "
                "first.",
                owner=self._claimed_by,
            )
        if self._holds.any:
            raise still_held(self.url)
        claim = Claim(epoch=self._epoch + 1, clean=self._clean)
        self._epoch, self._clean, self._claimed_by = claim.epoch, False, where
        return claim

    async def release(self) -> None:
        if self._claimed_by is not None:
            self._clean, self._claimed_by = True, None
        await cancel_shielded_checkpoint()

    def hold(self) -> Callable[[], None]:
        return self._holds.take()

    async def commit(self, commit: Commit) -> Versions:
        self._check_open()
        check_commit(commit)
        batch = Batch(self, position=len(self._rows))
        versions = batch.admit(commit)
        for fields in batch.rows:
            row = StoredRow(*fields)
            self._rows.append(row)
            self._streams[row.stream].append(row)
        self._heads.update(batch.heads)
        self.changes.announce(len(self._rows), [write.stream for write in commit.writes])
        # Whoever waits for a database lets the other tasks run, too.
        await cancel_shielded_checkpoint()
        return versions

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[StoredRow]:
        await self._turn()
        first = max(after, 0)
        return self._streams.get(stream, [])[first : None if limit is None else first + limit]

    async def read_all(
        self, *, after: int = 0, limit: int = 1000, system: bool = False, category: str | None = None
    ) -> list[StoredRow]:
        await self._turn()
        found: list[StoredRow] = []
        for index in range(max(after, 0), len(self._rows)):
            if len(found) >= limit:
                break
            if not (index + 1) % SPAN:
                await self._turn()
            row = self._rows[index]
            if (system or not row.stream.startswith("$")) and category in (None, category_of(row.stream)):
                found.append(row)
        return found

    async def last_position(self) -> int:
        await self._turn()
        return len(self._rows)

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        self._check_open()
        check_snapshot(snapshot)
        Batch(self, position=len(self._rows)).admit_snapshot(snapshot)
        key = snapshot.stream, snapshot.type
        kept = self._snapshots.get(key)
        if kept is None or (kept.revision, kept.schema_version) <= (snapshot.revision, snapshot.schema_version):
            self._snapshots[key] = snapshot
        await cancel_shielded_checkpoint()

    async def get_snapshot(self, stream: str, type: str) -> StoredSnapshot | None:  # noqa: A002 - the row's own word
        await self._turn()
        return self._snapshots.get((stream, type))

    async def get_head(self, stream: str) -> Head | None:
        await self._turn()
        return self._heads.get(stream)

    async def list_heads(self, query: HeadQuery, *, after: str | None = None, limit: int = 500) -> list[Head]:
        await self._turn()
        heads = sorted(self._matching(query), key=lambda head: head.stream.encode())
        return [head for head in heads if after is None or head.stream.encode() > after.encode()][:limit]

    async def newest_heads(self, query: HeadQuery, *, before: str | None = None, limit: int = 100) -> list[Head]:
        await self._turn()
        heads = sorted(self._matching(query), key=self._newest_first)
        if before is not None:
            last = self._heads.get(before)
            heads = [head for head in heads if last is not None and self._newest_first(head) > self._newest_first(last)]
        return heads[:limit]

    async def count_heads(self, query: HeadQuery) -> int:
        await self._turn()
        return sum(1 for _ in self._matching(query))

    async def stats(self) -> BackendStats:
        await self._turn()
        ours = [rows for stream, rows in self._streams.items() if stream.startswith("$")]
        return BackendStats(
            total_events=len(self._rows),
            total_streams=len(self._streams),
            total_snapshots=len(self._snapshots),
            system_events=sum(map(len, ours)),
            system_streams=len(ours),
            backend_specific={},
        )

    def tables(self, name: str) -> Tables:
        self._check_open()
        if self._folder is None:
            # SQL needs a database: it is one that nobody finds, and it ends with this one.
            self._folder = tempfile.mkdtemp(prefix="allframe-")
            self._remove = weakref.finalize(self, _remove, self._folder, os.getpid())
        return SqliteTables(self._folder, name)

    async def list_tables(self) -> list[StoredTables]:
        await self._turn()
        return [] if self._folder is None else stored_in(self._folder)

    # What a batch asks of the store it is made for (`allframe.events.batch.Stored`).

    def version(self, stream: str) -> int:
        return len(self._streams.get(stream, ()))

    def id_at(self, stream: str, revision: int) -> bytes | None:
        rows = self._streams.get(stream, [])
        return rows[revision - 1].id if 0 < revision <= len(rows) else None

    def revision_of(self, stream: str, id: bytes) -> int | None:  # noqa: A002 - the row's own word
        return next((row.revision for row in self._streams.get(stream, ()) if row.id == id), None)

    def position_of(self, stream: str, revision: int) -> int:
        return self._streams[stream][revision - 1].position

    def _matching(self, query: HeadQuery) -> Iterator[Head]:
        return (head for head in self._heads.values() if _matches(head, query))

    def _newest_first(self, head: Head) -> tuple[int, int, bytes]:
        rows = self._streams.get(head.stream)
        return -head.since, -rows[-1].position if rows else 0, head.stream.encode()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("This memory store is not open: use it inside `async with EventStore(...)`.")

    async def _turn(self) -> None:
        self._check_open()
        await cancel_shielded_checkpoint()


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has no part in it
        shutil.rmtree(folder, ignore_errors=True)


def _matches(head: Head, query: HeadQuery) -> bool:
    return (
        head.category == query.category
        and (query.statuses is None or head.status in query.statuses)
        and (query.blocked is None or head.status != "blocked" or head.blocked in query.blocked)
        and (query.name is None or head.name == query.name)
        and (query.since is None or head.since >= query.since)
        and (query.epoch_before is None or head.epoch < query.epoch_before)
        and (query.attention is None or head.attention == query.attention)
    )
