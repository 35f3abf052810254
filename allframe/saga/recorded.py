"""`SagaRecord`: one record of a saga, as watchers and observers get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from allframe.errors import ErrorInfo, StoreFormatError
from allframe.events.backend import Commit, StoredRow
from allframe.events.coded import check_plain
from allframe.events.event import Event
from allframe.events.recorded import RecordedEvent
from allframe.saga.encoding import decode
from allframe.saga.records import Record
from allframe.saga.streams import SAGA_PREFIX, saga_id_of

__all__ = ["SagaRecord", "saga_records", "to_saga_record"]


class SagaRecord(RecordedEvent):
    """One record of a saga, as it stands in the store.

    ::

        async for record in orchestrator.watch():
            print(record.saga_id, record.kind, record.step, record.attempt)
    """

    __slots__ = ("_record", "saga")

    #: The stored name of the saga's class.
    saga: str

    _shown: ClassVar[tuple[str, ...]] = (*RecordedEvent._shown, "saga")  # noqa: SLF001 - its own

    def __init__(self, *recorded: Any, saga: str, **about: Any) -> None:
        super().__init__(*recorded, **about)
        self.saga = saga
        self._record: Record | None = None

    @property
    def saga_id(self) -> str:
        return saga_id_of(self.stream)

    @property
    def kind(self) -> str:
        """What happened: ``"started"``, ``"step_succeeded"``, ``"completed"``, …"""
        return self.type.removeprefix("$saga.")

    @property
    def record(self) -> Record:
        """The record with everything that it says; one of `allframe.saga.records`.

        Raises:
            StoreFormatError: if a newer allframe wrote it, or it is damaged.
        """
        if self._record is None:
            self._record = decode(self.type, self.schema_version, self.data)
        return self._record

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

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._row, self.saga)


def to_saga_record(row: StoredRow, saga: str) -> SagaRecord:
    """A backend's row as a record of a saga named ``saga``.

    Raises:
        StoreFormatError: if it is encoded, and was read without the codec.
    """
    return _made(check_plain(row), saga)


def saga_records(commit: Commit, versions: Sequence[int], last: int, saga: str) -> list[SagaRecord]:
    """The saga records that were committed, oldest first. ``last``: the position of the commit's last row."""
    found: list[SagaRecord] = []
    position = last - sum(len(write.rows) for write in commit.writes)
    for write, version in zip(commit.writes, versions, strict=True):
        for revision, row in enumerate(write.rows, start=version - len(write.rows) + 1):
            position += 1
            if write.stream.startswith(SAGA_PREFIX):
                found.append(_made(StoredRow(position, write.stream, revision, *row), saga))
    return found


def _made(row: StoredRow, saga: str) -> SagaRecord:
    record = SagaRecord._of(row)  # noqa: SLF001 - its own
    record.saga, record._record = saga, None  # noqa: SLF001 - as its __init__
    return record
