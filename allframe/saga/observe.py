"""Who is told of each record of a saga: observers, called when it is safe; watches, which read it from the store."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from weakref import WeakSet

from pydantic_core import from_json

from allframe.events.backend import Commit, EventStoreBackend, StoredRow, Versions
from allframe.events.follow import Following
from allframe.saga.recorded import SAGA_PREFIX, SagaRecord, saga_records, to_saga_record
from allframe.saga.records import SagaStarted, saga_stream

__all__ = ["Observer", "Observers", "Watches", "watch"]

logger = logging.getLogger("allframe")

Observer = Callable[[SagaRecord], None]

#: Sagas whose name a watch remembers.
_NAMES_KEPT = 10_000
#: Records that a watch is left with when its store closes.
_LEFT = 1000


class Observers:
    """Plain functions that are called with each record.

    Raises:
        TypeError: for one that is no plain function.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        given: object = observers
        if callable(given) or not isinstance(given, Iterable):
            raise TypeError(f"Expected on_record=[function, ...], found {given!r}.")
        self._observers = tuple(observers)
        for observer in self._observers:
            _check(observer)
        self._logged: set[tuple[int, type[BaseException]]] = set()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def tell(self, commit: Commit, versions: Versions, saga: str) -> None:
        """Call each observer with each saga record of ``commit``, oldest first."""
        for record in saga_records(commit, versions, versions.position, saga):
            for index in range(len(self._observers)):
                self._call(index, record)

    def _call(self, index: int, record: SagaRecord) -> None:
        observer = self._observers[index]
        try:
            result: object = observer(record)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(f"it returned a coroutine, which nobody awaits: {_ONLY_PLAIN}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if (index, type(error)) in self._logged:
                return
            self._logged.add((index, type(error)))
            logger.error(
                "the observer %r failed with record %d of saga %s, and goes on with the next; this is said once for "
                "each type of exception: %r",
                observer,
                record.revision,
                record.saga_id,
                error,
                exc_info=error,
            )


_ONLY_PLAIN = "an observer is a plain function, called on the event loop. To await something, follow watch() in a task."


def _check(observer: object) -> None:
    if not callable(observer):
        raise TypeError(f"Expected functions in on_record, found {observer!r}.")
    for function in (observer, getattr(observer, "__call__", None)):  # noqa: B004 - it may be async, too
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"The observer {observer!r} is async def, and {_ONLY_PLAIN}")


def watch(
    opened: Callable[[], EventStoreBackend], saga_id: str | None, after: int | None, interval: float = 0.5
) -> Following[SagaRecord]:
    """The records of one saga, or of all: those after the position ``after``, or from now on, and then those that come."""
    stream = None if saga_id is None else saga_stream(saga_id)
    return Following(opened, _Sagas(opened), stream=stream, after=after, interval=interval)


class Watches:
    """The watches of one orchestrator. Those that nobody has any more are forgotten."""

    def __init__(self) -> None:
        self._open: WeakSet[Following[SagaRecord]] = WeakSet()

    def add(self, following: Following[SagaRecord]) -> Following[SagaRecord]:
        self._open.add(following)
        return following

    async def end(self, backend: EventStoreBackend, *, closing: bool) -> None:
        """Let all end with what is written by now. ``closing``: the store closes, so that they are handed what is left."""
        watches = list(self._open)
        if not watches:
            return
        last = await backend.last_position()
        for each in watches:
            each.end_at(last)
        if closing:
            for each in watches:
                await each.detach(_LEFT)


class _Sagas:
    """Rows to saga records: what is no record of a saga is nothing, and the name of its class stands in its first one."""

    def __init__(self, opened: Callable[[], EventStoreBackend]) -> None:
        self._opened = opened
        self._names: OrderedDict[str, str] = OrderedDict()

    async def __call__(self, row: StoredRow) -> SagaRecord | None:
        if not row.stream.startswith(SAGA_PREFIX):
            return None
        return to_saga_record(row, await self._name_of(row))

    async def _name_of(self, row: StoredRow) -> str:
        name = self._names.get(row.stream)
        if name is None:
            name = await self._found(row)
            self._names[row.stream] = name
            if len(self._names) > _NAMES_KEPT:
                self._names.popitem(last=False)
        return name

    async def _found(self, row: StoredRow) -> str:
        if row.type == SagaStarted.type:
            return str(from_json(row.data)["saga"])
        head = await self._opened().get_head(row.stream)
        return "" if head is None else head.name
