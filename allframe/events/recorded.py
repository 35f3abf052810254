"""`RecordedEvent`: an event as it stands in the store.

It is a view of a backend's row: what is asked for is made of the row when it is asked for. Whoever reads a million events
asks most of them for nothing but the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic_core import from_json, to_json

from allframe.clock import from_microseconds, to_microseconds
from allframe.errors import AllframeError, StoreFormatError
from allframe.events.backend import StoredRow
from allframe.events.category import category_of
from allframe.events.coded import check_plain
from allframe.events.event import Event, Versions, decode

__all__ = ["RecordedEvent", "to_recorded"]


class RecordedEvent:
    """An event as it stands in the store.

    ``recorded_at`` has a time zone. Two are equal if all that is stored of them is. It can't be changed.
    """

    __slots__ = ("_event", "_row", "_versions")

    _row: StoredRow
    #: Of the store that it was read from, if that has any.
    _versions: Versions | None
    #: Once somebody has asked.
    _event: Event | None

    #: What is in its repr.
    _shown: ClassVar[tuple[str, ...]] = (
        "id",
        "position",
        "stream",
        "revision",
        "type",
        "schema_version",
        "recorded_at",
        "metadata",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the word of the whole API
        position: int,
        stream: str,
        revision: int,
        type: str,  # noqa: A002 - the word of the whole API
        schema_version: int,
        data: bytes,
        recorded_at: datetime,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        about = to_json(dict(metadata)) if metadata else None
        at = to_microseconds(recorded_at)
        self._row = StoredRow(position, stream, revision, bytes.fromhex(id), type, schema_version, data, at, about)
        self._versions = self._event = None

    @classmethod
    def _of(cls, row: StoredRow, versions: Versions | None = None) -> Self:
        """A row of a backend, past the constructor; its payload is read when it is first asked for, by ``versions``."""
        recorded = _new(cls)
        recorded._row, recorded._versions, recorded._event = row, versions, None  # noqa: SLF001 - its own
        return recorded

    @property
    def id(self) -> str:
        """Unique over all stores: 32 hexadecimal digits, a UUID of version 7."""
        return self._row.id.hex()

    @property
    def position(self) -> int:
        """Its place in the order of the whole store, from 1."""
        return self._row.position

    @property
    def stream(self) -> str:
        return self._row.stream

    @property
    def category(self) -> str:
        """The category of its stream: what stands before the first ``-`` of the name."""
        return category_of(self._row.stream)

    @property
    def revision(self) -> int:
        """Its place in its stream, from 1; the stream's version after it was appended."""
        return self._row.revision

    @property
    def type(self) -> str:
        """The stored name of its class."""
        return self._row.type

    @property
    def schema_version(self) -> int:
        """The version of its class when it was stored."""
        return self._row.schema_version

    @property
    def data(self) -> bytes:
        """The payload as JSON, as it was stored."""
        return self._row.data

    @property
    def recorded_at(self) -> datetime:
        """UTC. For people only: order is ``position``, never time."""
        return from_microseconds(self._row.recorded_at)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was said of it when it was appended, and the correlation that held."""
        about = self._row.metadata
        return {} if about is None else from_json(about)

    @property
    def event(self) -> Event:
        """The event itself, read when first asked for, as the class that it has today.

        Raises:
            StoreFormatError: if this program has no class for its type and version, an upcaster fails, or the class
                cannot read it.
        """
        event = self._event
        if event is None:
            row = self._row
            event = self._event = decode(row.type, row.schema_version, row.data, self._versions, row)
        return event

    @property
    def is_readable(self) -> bool:
        """Whether this program can read the `event`. What is stored is there all the same: `payload`."""
        try:
            _ = self.event
        except AllframeError:
            return False
        return True

    def payload(self) -> dict[str, Any]:
        """What is stored, as it was stored: no upcaster and no class is asked. Secrets in it are not masked.

        Raises:
            StoreFormatError: if it is damaged.
        """
        try:
            found: dict[str, Any] = from_json(self._row.data)
        except ValueError as error:
            raise StoreFormatError(
                f"What is stored at position {self.position} is damaged: {error}. Its bytes are in .data."
            ) from error
        return found

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)
        return f"{type(self).__qualname__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._row[:-1] == other._row[:-1] and self.metadata == other.metadata

    def __hash__(self) -> int:
        return hash(self._row.id)

    def __copy__(self) -> Self:
        return self  # nobody can change it

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The functions of a registry stay here. Where they have work to do the event itself goes along, if it can be read.
        if self._versions is not None and self._versions.has_upcaster(self.type, self.schema_version):
            _ = self.is_readable
        return _unpickled, (self._row, self._event)


_new = object.__new__


def _unpickled(row: StoredRow, event: Event | None) -> RecordedEvent:
    recorded = to_recorded(row)
    recorded._event = event  # noqa: SLF001 - as `_of`
    return recorded


def to_recorded(row: StoredRow, versions: Versions | None = None) -> RecordedEvent:
    """A backend's row as an event, to be read by ``versions``.

    Raises:
        StoreFormatError: if it is encoded, and was read without the codec.
    """
    recorded = _new(RecordedEvent)  # as `_of`, for thousands of them
    recorded._row, recorded._versions, recorded._event = check_plain(row), versions, None  # noqa: SLF001 - as `_of`
    return recorded
