"""What happens to the sagas of a store, as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from allframe import EventStore, RecordedEvent, SagaStatus
from allframe.saga.encoding import decode
from allframe.saga.records import Record
from allframe.saga.states import RUNNING
from allframe.saga.streams import SAGA_PREFIX, saga_id_of

__all__ = ["Tail", "Told"]

#: How a saga comes to rest, by the record that says so.
_ENDINGS: Final = {f"$saga.{status}": status for status in SagaStatus if status not in RUNNING}


@dataclass(frozen=True, slots=True)
class Told:
    """One record, and whose it is."""

    saga_id: str
    recorded: RecordedEvent

    @property
    def ending(self) -> SagaStatus | None:
        """The status that the saga came to rest with by it, if it did."""
        return _ENDINGS.get(self.recorded.type)

    @property
    def record(self) -> Record:
        return decode(self.recorded.type, self.recorded.schema_version, self.recorded.data)


class Tail:
    """The records above a position; each is told once, however often one asks."""

    def __init__(self, store: EventStore, after: int) -> None:
        self._store, self._after = store, after

    async def new(self) -> list[Told]:
        """Those that are there by now and were not told yet, oldest first.

        Raises:
            StoreUnavailable: the store cannot be read. Nothing of it was told.
        """
        rows = [recorded async for recorded in self._store.read_all(after=self._after, system=True)]
        self._after = rows[-1].position if rows else self._after
        return [
            Told(saga_id_of(row.stream), row)
            for row in rows
            if row.stream.startswith(SAGA_PREFIX) and row.type.startswith("$saga.")
        ]
