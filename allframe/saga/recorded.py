"""`SagaRecord`: one record of a saga, as watchers and observers get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic_core import from_json

from allframe.clock import from_microseconds
from allframe.errors import ErrorInfo, StoreFormatError
from allframe.events.backend import Commit, Row, StoredRow
from allframe.events.coded import check_plain
from allframe.events.event import Event, RecordedEvent
from allframe.saga.encoding import decode
from allframe.saga.records import Record
from allframe.saga.streams import SAGA_PREFIX, saga_id_of

__all__ = ["SagaRecord", "saga_records", "to_saga_record"]


@dataclass(frozen=True)
class SagaRecord(RecordedEvent):
    """One record of a saga, as it stands in the store.

    ::

        async for record in orchestrator.watch():
            print(record.saga_id, record.kind, record.step, record.attempt)
    """

    #: The stored name of the saga's class.
    saga: str = ""

    @property
    def saga_id(self) -> str:
        return saga_id_of(self.stream)

    @property
    def kind(self) -> str:
        """What happened: ``"started"``, ``"step_succeeded"``, ``"completed"``, …"""
        return self.type.removeprefix("$saga.")

    @cached_property
    def record(self) -> Record:
        """The record with everything that it says; one of `allframe.saga.records`.

        Raises:
            StoreFormatError: if a newer allframe wrote it, or it is damaged.
        """
        return decode(self.type, self.schema_version, self.data)

    @property
    def step(self) -> str | None:
        """The stored name of the step that it happened to, if any."""
        return getattr(self.record, "step", None)

    @property
    def attempt(self) -> int | None:
        """The attempt of the step, or of its compensation, that ended with it; None where none did."""
        return getattr(self.record, "attempt", None)

    @property
    def error(self) -> ErrorInfo | None:
        """The exception that it tells of, if any."""
        return getattr(self.record, "error", None)

    @property
    def starts(self) -> tuple[str, ...]:
        """The steps whose next attempt began with it."""
        return getattr(self.record, "starts", ())

    @property
    def compensates(self) -> str | None:
        """The step whose compensation began with it, if any."""
        return getattr(self.record, "compensates", None)

    @property
    def event(self) -> Event:
        """There is none: what a saga records of itself is a `record`.

        Raises:
            StoreFormatError: always.
        """
        raise StoreFormatError(
            f"{self.type!r} is no event but a record of saga {self.saga_id!r}: read its .record, .step, .attempt, .error."
        )


def to_saga_record(row: StoredRow, saga: str) -> SagaRecord:
    """A backend's row as a record of a saga named ``saga``.

    Raises:
        StoreFormatError: if it is encoded, and was read without the codec.
    """
    check_plain(row)
    return _made(row.stream, row.revision, row.position, row, saga)


def saga_records(commit: Commit, versions: Sequence[int], last: int, saga: str) -> list[SagaRecord]:
    """The saga records that were committed, oldest first. ``last``: the position of the commit's last row."""
    found: list[SagaRecord] = []
    position = last - sum(len(write.rows) for write in commit.writes)
    for write, version in zip(commit.writes, versions, strict=True):
        for revision, row in enumerate(write.rows, start=version - len(write.rows) + 1):
            position += 1
            if write.stream.startswith(SAGA_PREFIX):
                found.append(_made(write.stream, revision, position, row, saga))
    return found


def _made(stream: str, revision: int, position: int, row: Row | StoredRow, saga: str) -> SagaRecord:
    return SagaRecord(
        id=row.id.hex(),
        position=position,
        stream=stream,
        revision=revision,
        type=row.type,
        schema_version=row.schema_version,
        data=row.data,
        recorded_at=from_microseconds(row.recorded_at),
        metadata={} if row.metadata is None else from_json(row.metadata),
        saga=saga,
    )
