"""`EventStore`: events appended to streams, and read back in the order in which they happened."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from anyio import CancelScope
from pydantic import BaseModel

from allframe.errors import PayloadError, StoreUnavailable
from allframe.events.arguments import check_events, check_metadata, check_stream, check_whole
from allframe.events.backend import BackendStats, Commit, EventStoreBackend, StoredRow, Write
from allframe.events.backends import backend_of
from allframe.events.category import check_category
from allframe.events.coded import Codecs, CodedBackend, check_newest
from allframe.events.correlation import with_correlation
from allframe.events.event import Event
from allframe.events.follow import Following
from allframe.events.recorded import RecordedEvent, to_recorded
from allframe.events.rows import make_rows, to_event
from allframe.events.snapshots import Snapshot, snapshot_type, to_snapshot, to_stored
from allframe.events.versioning import VersionRegistry
from allframe.masking import shown

__all__ = ["EventStore", "pages_of"]

#: Rows that are read at a time.
PAGE = 1000

_A_WRITE = 'Expected a list of ("stream", [one event or more], expected_version), the version None for whatever it has.'

M = TypeVar("M", bound=BaseModel)


class EventStore:
    """The log that everything stands on.

    ::

        async with EventStore("sqlite:///bank.db") as store:
            await store.append("account-A", [Debited(account="A", amount=Decimal(100))], expected_version=0)
            events = await store.get_events("account-A")

    ``backend`` is a database, its URL (``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``memory://``), or
    nothing for memory. A stream's version is the number of its events. Streams that begin with ``$`` are allframe's
    own: they can be read, and are never appended to here. ``versions`` reads what was stored in the past as the classes
    of today, wherever events are read from this store.

    ``codec`` encodes what is written and decodes what is read; of several, the first one encodes first. What was stored
    without one stays readable.

    Raises:
        StoreUnavailable: for a URL that allframe does not understand.
        DefinitionError: (AF121) if ``versions`` has a path that leads to no class.
        TypeError: if ``backend`` or ``versions`` is something else.
        ValueError: for codecs that cannot be told apart.
    """

    def __init__(
        self,
        backend: EventStoreBackend | str | None = None,
        *,
        versions: VersionRegistry | None = None,
        codec: Codecs | None = None,
    ) -> None:
        if versions is not None:
            _check_versions(versions)
            versions.check()
        #: How what was stored in the past is read, if anybody said so.
        self.versions = versions
        self.backend: EventStoreBackend = backend_of(backend)
        if codec is not None:
            self.backend = CodedBackend(self.backend, codec)
        self._state: Literal["new", "open", "closed"] = "new"

    async def open(self) -> None:
        """Make it ready; `close` it afterwards. ``async with`` does both.

        Raises:
            StoreInUse: another owner has it.
            StoreFormatError: what lies there is not an allframe store, or a newer one, or takes another codec. It is
                left as it was.
            StoreUnavailable: it cannot be opened, or is open already.
        """
        if self._state == "open":
            raise StoreUnavailable(f"The event store {self.backend.url} is open already: use it as it is.")
        await self.backend.open()
        try:
            await check_newest(self.backend)
        except BaseException:
            with CancelScope(shield=True):
                await self.backend.close()
            raise
        self._state = "open"

    async def close(self) -> None:
        """Finish what was handed in, and let the database go. Harmless when repeated."""
        if self._state == "open":
            self._state = "closed"
        await self.backend.close()

    async def __aenter__(self) -> EventStore:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # --- writing

    async def append(
        self,
        stream: str,
        events: Sequence[Event],
        *,
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Append ``events``, all or none; returns the stream's new version. They are durable when it returns.

        ``expected_version`` is the version that the stream must have: 0 for a new one, None for whatever it has.
        ``metadata`` goes with each of them, and so does the correlation that holds here (`correlated`).

        Raises:
            ConcurrencyError: the stream has another version.
            PayloadError: an event cannot be stored, there are none, or the name is not one of yours to append to.
            ValueError: ``expected_version`` is no whole number.
            StoreUnavailable: it could not be written, or, with ``in_doubt``, may have been.
        """
        backend = self.opened()
        check_metadata(metadata)
        write = _write(stream, events, expected_version, time.time_ns() // 1000, with_correlation(metadata))
        (version,) = await backend.commit(Commit((write,)))
        return version

    async def append_many(
        self,
        writes: Sequence[tuple[str, Sequence[Event], int | None]],
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """Append to several streams, all or none; returns the new version of each.

        A write is the stream, its events and the version it must have, as in `append`. A stream may come twice: the
        second time it has the version that the first one left. Their events have adjacent positions, in this order.

        Raises:
            ConcurrencyError, PayloadError, ValueError, StoreUnavailable: as `append` does, and nothing was written.
        """
        backend = self.opened()
        now = time.time_ns() // 1000
        check_metadata(metadata)
        about = with_correlation(metadata)
        prepared = tuple(_write(*write, now, about) for write in _triples(writes))
        return list(await backend.commit(Commit(prepared))) if prepared else []

    async def save_snapshot(self, stream: str, snapshot: BaseModel, *, version: int) -> None:
        """Keep what the first ``version`` events of a stream come to; it is durable when this returns.

        Of each type (`snapshot_type`) a stream keeps the newest: an older one never takes the place of a newer one.

        Raises:
            PayloadError: it cannot be stored, or the stream is not at that version yet; nothing was saved.
            StoreUnavailable: it could not be written, or, with ``in_doubt``, may have been.
        """
        backend = self.opened()
        check_stream(stream)
        given: object = version
        if not isinstance(given, int):
            check_whole("the version of a snapshot", given, 1)
        await backend.save_snapshot(to_stored(stream, snapshot, version, time.time_ns() // 1000))

    async def flush(self) -> None:
        """Return when everything that was handed in before, also by tasks that no longer wait for it, is decided."""
        if not self.opened().readonly:
            await self.backend.commit(Commit(()))

    # --- reading

    async def get_events(self, stream: str) -> list[Event]:
        """Every event of a stream, oldest first; none for a stream that does not exist.

        Raises:
            StoreFormatError: if this program has no class for one of them.
        """
        return await self.get_events_after(stream, 0)

    async def get_events_after(self, stream: str, version: int) -> list[Event]:
        """The events of a stream that came after it had ``version``, oldest first."""
        pages = pages_of(self, stream, after=version)
        return [to_event(row, self.versions) async for page in pages for row in page]

    async def get_all_events(self, *, after: int = 0, limit: int | None = None) -> list[Event]:
        """The events of all streams with a position above ``after``, at most ``limit``, without allframe's own."""
        check_whole("limit", limit, 0, otherwise="all")
        events: list[Event] = []
        if limit == 0:
            return events
        async for page in self._all(after):
            events += [to_event(row, self.versions) for row in page[: None if limit is None else limit - len(events)]]
            if len(events) == limit:
                break
        return events

    def read(self, stream: str, *, after: int = 0) -> AsyncIterator[RecordedEvent]:
        """The events of a stream with a revision above ``after``, oldest first, read in pages as they are asked for."""
        return _Recorded(pages_of(self, stream, after=after), self.versions)

    def read_all(
        self, *, after: int = 0, system: bool = False, category: str | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """The events of all streams with a position above ``after``; allframe's own streams only with ``system``.

        ``category``: only streams of that one, which is what stands before the first ``-`` of their names.

        Raises:
            ValueError: if no stream that is read can be of the category.
        """
        check_category(category, system=system)
        return _Recorded(self._all(after, system, category), self.versions)

    def subscribe(
        self, *, after: int | None = None, system: bool = False, category: str | None = None
    ) -> AsyncIterator[RecordedEvent]:
        """The events with a position above ``after``, or from now on, and then those that come, each once and in order.

        ``system`` and ``category`` choose as in `read_all`. It reads at its own pace, a page at a time: a slow subscriber
        holds up nobody. It may be left at any moment; to go on later, hand in the ``position`` of the last event that was
        dealt with. A store that another process writes is looked at twice a second. When the store closes, it gives what
        it has read, and then raises `StoreUnavailable`.

        Raises:
            ValueError: as `read_all`.
            StoreUnavailable: if the store is not open.
        """
        check_whole("a position to begin after", after, 0, otherwise="now")
        check_category(category, system=system)
        return Following(self.opened, self._recorded, system=system, category=category, after=after)

    async def get_latest_snapshot(self, stream: str, type: type[M]) -> Snapshot[M] | None:  # noqa: A002 - a snapshot's word
        """The newest snapshot of a stream that was saved from a model of this type, or None.

        Raises:
            StoreFormatError: the model cannot read it, or has another version.
        """
        backend = self.opened()
        check_stream(stream)
        name, _ = snapshot_type(type)
        stored = await backend.get_snapshot(stream, name)
        return None if stored is None else to_snapshot(stored, type, self.versions)

    def _all(self, after: int, system: bool = False, category: str | None = None) -> AsyncIterator[list[StoredRow]]:
        check_whole("a position to read after", after, 0)
        return _Pages(
            lambda last: self.opened().read_all(
                after=last.position if last else after, limit=PAGE, system=system, category=category
            )
        )

    async def _recorded(self, row: StoredRow) -> RecordedEvent:
        return to_recorded(row, self.versions)

    async def stats(self) -> BackendStats:
        """How much it holds."""
        return await self.opened().stats()

    def opened(self) -> EventStoreBackend:
        """The backend.

        Raises:
            StoreUnavailable: if the store is not open.
        """
        if self._state == "open":
            return self.backend
        raise StoreUnavailable(
            f"The event store {self.backend.url} was {'closed' if self._state == 'closed' else 'not opened yet'}: use "
            "it inside `async with EventStore(...) as store:`."
        )


def pages_of(store: EventStore, stream: str, *, after: int = 0) -> AsyncIterator[list[StoredRow]]:
    """The rows of a stream as the backend has them, a page at a time: what `EventStore.read` is made of."""
    check_stream(stream)
    check_whole("a version to read after", after, 0)
    return _Pages(lambda last: store.opened().read_stream(stream, after=last.revision if last else after, limit=PAGE))


class _Pages:
    """Rows a page at a time, by what comes after the last one. No generator: who stops in the middle would have to close
    it."""

    def __init__(self, following: Callable[[StoredRow | None], Awaitable[list[StoredRow]]]) -> None:
        self._following = following
        self._last: StoredRow | None = None
        self._is_last_page = False

    def __aiter__(self) -> _Pages:
        return self

    async def __anext__(self) -> list[StoredRow]:
        page = [] if self._is_last_page else await self._following(self._last)
        self._is_last_page = len(page) < PAGE
        if not page:
            raise StopAsyncIteration
        self._last = page[-1]
        return page


class _Recorded:
    """What is on the pages, one after the other."""

    def __init__(self, pages: AsyncIterator[list[StoredRow]], versions: VersionRegistry | None) -> None:
        self._pages = pages
        self._versions = versions
        self._page: Iterator[StoredRow] = iter(())

    def __aiter__(self) -> _Recorded:
        return self

    async def __anext__(self) -> RecordedEvent:
        for row in self._page:
            return to_recorded(row, self._versions)
        self._page = iter(await self._pages.__anext__())
        return to_recorded(next(self._page), self._versions)


def _check_versions(given: object) -> None:
    if not isinstance(given, VersionRegistry):
        raise TypeError(
            f"versions= takes a VersionRegistry, found {shown(given)}. Make one: VersionRegistry([upcaster, ...])."
        )


def _triples(writes: object) -> Iterator[tuple[str, Sequence[Event], int | None]]:
    if not isinstance(writes, Sequence):
        raise PayloadError(f"{shown(writes)} is no list of writes. {_A_WRITE}")
    for write in writes:
        match write:
            case (stream, events, expected):
                yield stream, events, expected
            case _:
                raise PayloadError(f"{shown(write)} is no write. {_A_WRITE}")


def _write(
    stream: str, events: Sequence[Event], expected: int | None, now: int, metadata: Mapping[str, Any] | None
) -> Write:
    check_stream(stream)
    given: object = expected
    if not isinstance(given, int):  # one below 0 is one that the stream does not have
        check_whole("expected_version", given, 0, otherwise="whatever it has")
    if stream.startswith("$"):
        raise PayloadError(
            f"Nothing can be appended to the stream {stream!r}: names that begin with '$' are allframe's own. Give it "
            "another name."
        )
    check_events(events)
    if not events:
        # To return the version it has would look like a check of expected_version, and check nothing.
        raise PayloadError(
            f"There are no events to append to the stream {stream!r}. Give at least one, or do not append."
        )
    return Write(stream, make_rows(events, recorded_at=now, metadata=metadata), expected)
