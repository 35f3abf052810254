"""`Repository`: aggregates loaded from their streams, and what they decided appended to them."""

from __future__ import annotations

import copy
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from allframe.cqrs.aggregate import Aggregate, apply_next, check_usable, stream_named
from allframe.cqrs.commit import commit_surely
from allframe.cqrs.contention import Line
from allframe.errors import AllframeError, ConcurrencyError, PayloadError, StoreFormatError
from allframe.events.arguments import check_whole
from allframe.events.backend import Commit, Row, StoredRow, Write
from allframe.events.correlation import with_correlation
from allframe.events.event import Event, decode, event_payload, stream_of
from allframe.events.rows import make_rows, to_event
from allframe.events.store import EventStore, pages_of
from allframe.masking import shown

__all__ = ["Repository"]

A = TypeVar("A", bound=Aggregate)

logger = logging.getLogger("allframe")


class Repository(Generic[A]):
    """The aggregates of one class in a store.

    ::

        accounts = Repository(store, Account, snapshot_every=100)
        account = await accounts.change("A", lambda account: account.withdraw(Decimal(5)))

    Args:
        store: Where their events are. It must be open when it is used.
        aggregate: The class. Its stream is named by its id.
        snapshot_every: So many events are read again at a load, about; None: all of them. Snapshots are a shortcut, and
            nothing else: without them, or with those of another version, the same comes of the events.

    Raises:
        DefinitionError: (AF122) for a class without an `apply`, or with the name of another.
        TypeError: for another store, or no class of aggregates.
        ValueError: for a ``snapshot_every`` below 1.
    """

    def __init__(self, store: EventStore, aggregate: type[A], *, snapshot_every: int | None = None) -> None:
        if not isinstance(store, EventStore):
            raise TypeError(f"Repository takes an EventStore, found {shown(store)}.")
        check_usable(aggregate)
        check_whole("snapshot_every", snapshot_every, 1, otherwise="no snapshots")
        self._store = store
        self._class = aggregate
        self._every = snapshot_every

    async def load(self, id: str) -> A:  # noqa: A002 - the aggregate's own word
        """The aggregate as all events in its stream make it; ``Account(id=id)`` if there are none.

        Raises:
            StoreFormatError: an event cannot be read, or applied.
            PayloadError: it can be no id.
            StoreUnavailable: the store cannot be read.
        """
        stream = stream_named(self._class, id)
        aggregate = await self._newest_snapshot(id, stream) or self._class(id=id)
        start = aggregate.version
        async for page in pages_of(self._store, stream, after=start):
            for row in page:
                self._replay(aggregate, row)
        if self._every is not None and aggregate.version - start >= self._every:
            await self._keep(stream, aggregate)  # whoever appended them was no repository with this option
        return aggregate

    async def save(self, aggregate: A, events: Sequence[Event]) -> A:
        """Append what was decided; returns the aggregate after it. ``aggregate`` itself stays as it was.

        ``events``: they have not been applied to it. If there are none, nothing is written or checked.

        Raises:
            ConcurrencyError: somebody appended to its stream since it was loaded. Nothing was written.
            PayloadError: an event cannot be stored, or goes to another stream. Nothing was written.
            StoreUnavailable: it could not be written; or, with ``in_doubt``, nobody could find out whether it was.
            Exception: what `apply` raised. Nothing was written.
        """
        return await self._append(self._successor(aggregate), events)

    async def change(
        self,
        id: str,  # noqa: A002 - the aggregate's own word
        decide: Callable[[A], Sequence[Event] | Awaitable[Sequence[Event]]],
        *,
        attempts: int = 3,
    ) -> A:
        """Load, decide and save; returns the aggregate after it.

        ``decide`` is given the aggregate, and returns the events that shall happen: none, and nothing is written. What it
        raises comes out of here, and nothing is written. It is called again, with the aggregate as it is by then, when
        somebody else appended to the stream in between; so it does nothing but decide. Those of one event loop who got in
        each other's way decide one after the other.

        Raises:
            ConcurrencyError: that happened at each of the ``attempts``. Nothing was written.
            PayloadError, StoreFormatError, StoreUnavailable: as `load` and `save` do.
            ValueError: for ``attempts`` below 1.
        """
        check_whole("attempts", attempts, 1)
        if not callable(decide):
            raise TypeError(f"Expected a function that decides, from an aggregate to events, found {shown(decide)}.")
        stream = stream_named(self._class, id)
        async with Line(self._store) as line:
            if line.is_before(stream):
                await line.join(stream)
            while True:
                attempts -= 1
                aggregate = await self.load(id)
                successor = self._successor(aggregate)  # before decide can touch it
                events = await _decided(decide, aggregate)
                try:
                    return await self._append(successor, events)
                except ConcurrencyError:
                    if not attempts:
                        raise
                await line.join(stream)

    def write(self, aggregate: A, events: Sequence[Event]) -> tuple[str, list[Event], int]:
        """What `save` would append, for `EventStore.append_many` or the return of a command handler: the stream, the
        events, and the version that the stream must have.

        Raises:
            PayloadError: an event cannot be stored, or goes to another stream; or there are none.
            Exception: what `apply` raised.
        """
        successor = self._successor(aggregate)
        if not _checked(events):
            raise PayloadError(
                f"There are no events to write of {_called(aggregate)}. Give at least one, or do not write."
            )
        stream, _ = self._advance(successor, events)
        return stream, list(events), aggregate.version

    # --- what was decided

    def _successor(self, aggregate: A) -> A:
        """A copy that nothing else refers to, for what comes next to be applied to."""
        if type(aggregate) is not self._class:
            raise PayloadError(
                f"This is a repository of {self._class.__qualname__}, and was given {shown(aggregate)}. Save it with a "
                "repository of its own class."
            )
        return copy.deepcopy(aggregate)

    async def _append(self, successor: A, events: Sequence[Event]) -> A:
        before = successor.version
        if _checked(events):
            stream, rows = self._advance(successor, events)
            await commit_surely(self._store, Commit((Write(stream, rows, before),)))
            if self._every is not None and successor.version // self._every > before // self._every:
                await self._keep(stream, successor)
        return successor

    def _advance(self, successor: A, events: Sequence[Event]) -> tuple[str, tuple[Row, ...]]:
        """Apply ``events`` as they will be read; returns their stream, and what is to be written. An event that cannot be
        applied is not written: nobody could load its stream again."""
        stream = stream_named(self._class, successor.id)
        rows = make_rows(_checked(events), recorded_at=time.time_ns() // 1000, metadata=with_correlation(None))
        for row in rows:
            event = decode(row.type, row.schema_version, row.data, self._store.versions)
            if (target := stream_of(event, stream)) != stream:
                raise PayloadError(
                    f"{_called(successor)} has the stream {stream!r}, and its event {shown(event)} goes to {target!r}, as "
                    f"the template of {type(event).__qualname__} fills in. Append that one by another repository, or "
                    "give the two templates one form."
                )
            try:
                apply_next(successor, event)
            except Exception as error:
                error.add_note(f"{_called(successor)} could not apply {shown(event)}. Nothing was written.")
                raise
        return stream, rows

    # --- what happened

    def _replay(self, aggregate: A, row: StoredRow) -> None:
        try:
            event = to_event(row, self._store.versions)
        except StoreFormatError as error:
            raise StoreFormatError(f"{_cannot_load(aggregate, row)} cannot be read. {error}") from error
        try:
            apply_next(aggregate, event)
        except Exception as error:  # noqa: BLE001 - apply is the user's
            hides = event_payload(type(event)).hides  # then what apply says may quote a secret
            said = type(error).__qualname__ if hides else f"{type(error).__qualname__}: {error}"
            raise StoreFormatError(
                f"{_cannot_load(aggregate, row)}, {row.type!r} of version {row.schema_version}, cannot be "
                f"applied: {said.rstrip('.')}. It happened, and stays in the stream: mend apply, so that it takes it."
            ) from (None if hides else error)

    # --- snapshots

    async def _newest_snapshot(self, id: str, stream: str) -> A | None:  # noqa: A002 - the aggregate's own word
        if self._every is None:
            return None
        try:
            snapshot = await self._store.get_latest_snapshot(stream, self._class)
        except StoreFormatError as error:
            logger.debug("the snapshot of %s is not used: %s", stream, error)
            return None
        if snapshot is None or snapshot.state.id != id or snapshot.state.version != snapshot.version:
            return None
        return snapshot.state if _is_whole(snapshot.state) else None

    async def _keep(self, stream: str, aggregate: A) -> None:
        if self._store.opened().readonly:
            return
        try:
            await self._store.save_snapshot(stream, aggregate, version=aggregate.version)
        except AllframeError as error:
            logger.warning("%s at version %d has no snapshot: %s", stream, aggregate.version, error)


async def _decided(
    decide: Callable[[A], Sequence[Event] | Awaitable[Sequence[Event]]], aggregate: A
) -> Sequence[Event]:
    decided = decide(aggregate)
    return await decided if inspect.isawaitable(decided) else decided


def _checked(events: Sequence[Event]) -> Sequence[Event]:
    """``events``, unless they are what is easily taken for a list of events."""
    given: object = events
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise PayloadError(f"{shown(given)} is no list of events. Give a list, an empty one for nothing.")
    return events


def _called(aggregate: Aggregate) -> str:
    return f"{type(aggregate).__qualname__} {aggregate.id!r}"


def _cannot_load(aggregate: Aggregate, row: StoredRow) -> str:
    return f"{_called(aggregate)} cannot be loaded: event {row.revision} of stream {row.stream!r}"


def _is_whole(value: Any) -> bool:
    """Whether each field of the models in it was stored. One that was added since has its default, which says nothing of
    the events before."""
    if isinstance(value, BaseModel):
        fields = {name for name, field in type(value).model_fields.items() if not field.exclude}
        return fields <= value.model_fields_set and all(_is_whole(item) for _, item in value)
    if isinstance(value, dict):
        return all(map(_is_whole, value.values()))
    return not isinstance(value, list | tuple | set | frozenset) or all(map(_is_whole, value))
