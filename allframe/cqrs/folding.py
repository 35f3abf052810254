"""A projection and how far it has come: pages taken in, in memory or in tables, and a successor beside it.

::

    Fold.take_in(page)      one page, or what comes before the event that fails
    Fold.begin()            an empty one beside it, for a rebuild
    Fold.succeed(built)     the built one in its place, at once
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeAlias

from anyio.lowlevel import checkpoint

from allframe.cqrs.projection import AnyProjection, Projection, SqlProjection, digest_of, handled_types
from allframe.cqrs.standing import Poisoned, to_stored
from allframe.errors import ErrorInfo, ProjectionRefused, StoreError, StoreUnavailable
from allframe.events.backend import StoredRow
from allframe.events.feed import Feed, Page
from allframe.events.recorded import to_recorded
from allframe.events.tables import Mark, OpenTransaction, StoredTables, Tables
from allframe.events.versioning import VersionRegistry

__all__ = ["Fold", "MemoryFold", "TablesFold", "maker_of"]

#: So many are taken in by a projection in memory before the other tasks run.
EVENTS_AT_A_TIME = 100

Release: TypeAlias = Callable[[], None]


class Fold(Protocol):
    """What both kinds can do. Whoever uses one sees to it that `take_in` and `succeed` are not called at once."""

    #: Everything up to it was taken in.
    position: int

    @property
    def projection(self) -> AnyProjection:
        """What is served."""
        ...

    async def open(self, feed: Feed) -> str | None:
        """Make it ready; returns why it must be rebuilt before it can go on, or None."""
        ...

    async def take_in(self, page: Page) -> None:
        """Take in what of the page comes after its position, and move on; at most once each, whoever else does the same.

        Raises:
            Poisoned: at an event that cannot be taken in; what comes before it in the page was.
            StoreError: now it cannot be written; nothing of the page was taken in.
        """
        ...

    async def fail(self, error: ErrorInfo) -> None:
        """Keep, where it lasts, why it does not go on."""
        ...

    async def begin(self) -> Fold:
        """An empty one of the same projection; close it."""
        ...

    async def hold(self) -> tuple[int, Release]:
        """Keep other processes from moving it on; returns the position that it has come to, and what ends that."""
        ...

    async def succeed(self, built: Fold) -> Fold:
        """What is served from now on, and has come as far as ``built``."""
        ...

    async def close(self) -> None: ...


class MemoryFold:
    """``make`` gives a projection that has taken in nothing."""

    def __init__(
        self,
        make: Callable[[], Projection],
        projection: Projection | None = None,
        *,
        versions: VersionRegistry | None = None,
    ) -> None:
        self._make = make
        self._versions = versions
        self.projection: Projection = make() if projection is None else projection
        self.position = 0
        self._types = handled_types(self.projection, versions)
        # Whether what it holds is what the events up to its position say.
        self._is_sound = False

    async def open(self, feed: Feed) -> str | None:
        if not self._is_sound:
            self._begin_anew()
        await checkpoint()
        return None

    def _begin_anew(self) -> None:
        self.projection.reset()
        self.position, self._is_sound = 0, True

    async def take_in(self, page: Page) -> None:
        rows = [row for row in page.rows if row.position > self.position]
        for start in range(0, len(rows), EVENTS_AT_A_TIME):
            for row in rows[start : start + EVENTS_AT_A_TIME]:
                self._take_in(row)
                self.position = row.position
            await checkpoint()
        self.position = max(self.position, page.mark.position)

    def _take_in(self, row: StoredRow) -> None:
        if self._types is not None and row.type not in self._types:
            return
        try:
            recorded = to_recorded(row, self._versions)
            self.projection.apply(recorded.event, recorded)
        except BaseException as error:
            self._is_sound = False  # half of the event may be in it
            if isinstance(error, Exception):
                raise Poisoned(row, error) from error
            raise

    async def fail(self, error: ErrorInfo) -> None:
        await checkpoint()

    async def begin(self) -> Fold:
        built = MemoryFold(self._make, versions=self._versions)
        built._begin_anew()
        await checkpoint()
        return built

    async def hold(self) -> tuple[int, Release]:
        return self.position, _nothing

    async def succeed(self, built: Fold) -> Fold:
        return built

    async def close(self) -> None:
        await checkpoint()


class TablesFold:
    """``tables`` need not be open yet."""

    def __init__(
        self,
        projection: SqlProjection,
        tables: Tables,
        position: int = 0,
        *,
        versions: VersionRegistry | None = None,
    ) -> None:
        self.projection: SqlProjection = projection
        self._versions = versions
        self.tables = tables
        self.position = position
        self._types = handled_types(projection, versions)
        self._digest = digest_of(projection)

    async def open(self, feed: Feed) -> str | None:
        stored = await self.tables.open(self.projection.schema, self._digest)
        # Until it is rebuilt, nobody must believe that it has come anywhere.
        self.position = 0
        if stored.digest != self._digest:
            return "its schema or its version is another than the one that its tables were made with"
        if not await feed.is_at(stored.mark):
            return (
                f"its tables have come to position {stored.mark.position}, and the store has another event there, or none: "
                "they belong to another store, or this one was restored from a copy"
            )
        self.position = stored.mark.position
        return None

    async def take_in(self, page: Page) -> None:
        count = len(page.rows)
        poisoned: Poisoned | None = None
        while True:
            rows, mark = page.rows[:count], page.mark if poisoned is None else _mark_before(page, count)
            try:
                stored = await self._commit(page.after, rows, mark)
            except Poisoned as error:
                # It took everything before it back as well: that is written now.
                poisoned, count = error, page.rows.index(error.row)
                continue
            self.position = stored.mark.position
            if poisoned is not None:
                raise poisoned
            return

    async def _commit(self, after: int, rows: list[StoredRow], mark: Mark) -> StoredTables:
        return await self.tables.transaction(lambda tx, stored: self._fold(tx, stored, after, rows, mark))

    def _fold(
        self, tx: OpenTransaction, stored: StoredTables, after: int, rows: list[StoredRow], mark: Mark
    ) -> Mark | None:
        """On a thread, within a transaction: what the tables say counts, for others may have moved them on."""
        if stored.digest != self._digest:
            raise ProjectionRefused(
                f"The tables of {stored.name!r} were rebuilt by another program, with another schema or version. Run one "
                "version of the program at a time."
            )
        position = stored.mark.position
        if not after <= position < mark.position:
            return None
        for row in rows:
            if row.position > position and (self._types is None or row.type in self._types):
                self._apply(row, tx)
        return mark

    def _apply(self, row: StoredRow, tx: OpenTransaction) -> None:
        try:
            recorded = to_recorded(row, self._versions)
            self.projection.apply(recorded.event, recorded, tx)
            if tx.trouble is not None:  # and `apply` caught it
                raise tx.trouble
        except Exception as error:
            trouble = error if isinstance(error, StoreUnavailable) else tx.trouble
            if trouble is error and isinstance(error, StoreError):  # it says nothing of the event
                raise
            if isinstance(trouble, StoreError):
                raise trouble from error
            raise Poisoned(row, error) from error

    async def fail(self, error: ErrorInfo) -> None:
        with suppress(StoreError):  # it is in the log all the same
            await self.tables.set_error(to_stored(error))

    async def begin(self) -> Fold:
        await self.tables.open(self.projection.schema, self._digest)
        built = await self.tables.build(self.projection.schema, self._digest)
        return TablesFold(self.projection, built, versions=self._versions)

    async def hold(self) -> tuple[int, Release]:
        release = await self.tables.hold()
        try:
            stored = await self.tables.transaction(lambda tx, stored: None)
        except BaseException:
            release()
            raise
        return stored.mark.position, release

    async def succeed(self, built: Fold) -> Fold:
        assert isinstance(built, TablesFold)
        self.position = (await self.tables.swap(built.tables)).mark.position
        return self

    async def close(self) -> None:
        await self.tables.close()


def maker_of(given: Projection | Callable[[], Projection]) -> Callable[[], Projection]:
    """What makes projections like the one that was given, as it is now."""
    if not isinstance(given, Projection):
        return given
    pristine = copy.deepcopy(given)
    return lambda: copy.deepcopy(pristine)


def _mark_before(page: Page, count: int) -> Mark:
    """How far a page reaches with only its first ``count`` rows."""
    return Mark(page.rows[count - 1].position, page.rows[count - 1].id) if count else Mark(page.after)


def _nothing() -> None:
    pass
