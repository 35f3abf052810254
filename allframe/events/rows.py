"""Events as the rows of a backend, and rows as the events that they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias

from allframe.errors import PayloadError
from allframe.events.backend import Row, StoredRow, new_ids
from allframe.events.coded import check_plain, refuse_reserved
from allframe.events.event import Event, decode, event_payload
from allframe.events.versioning import VersionRegistry
from allframe.masking import shown
from allframe.payload import Payload

__all__ = ["make_rows", "metadata_json", "to_event"]

_METADATA = Payload(dict[str, Any])


def make_rows(
    events: Sequence[Event], *, recorded_at: int, metadata: Mapping[str, Any] | None = None
) -> tuple[Row, ...]:
    """``events`` as rows for a backend, each with an id of its own. ``recorded_at``: microseconds since 1970, UTC.

    Raises:
        PayloadError: if one cannot be stored and read back equal.
    """
    about = metadata_json(metadata)
    kinds: dict[type, _Kind] = {}  # mostly one, of many events
    return tuple(map(_row, events, new_ids(len(events)), repeat(recorded_at), repeat(about), repeat(kinds)))


def metadata_json(metadata: Mapping[str, Any] | None) -> bytes | None:
    """The stored form of the metadata of events; None for none.

    Raises:
        PayloadError: if it cannot be stored and read back equal.
    """
    return None if not metadata else _METADATA.store(dict(metadata), "The metadata of an event")[0]


def to_event(row: StoredRow, versions: VersionRegistry | None = None) -> Event:
    """The event in a row: what `RecordedEvent.event` of it is, for whoever asks for nothing else.

    Raises:
        StoreFormatError: as `allframe.events.recorded.to_recorded` and `RecordedEvent.event` do.
    """
    check_plain(row)
    return decode(row.type, row.schema_version, row.data, versions, row)


def _row(event: Event, row_id: bytes, recorded_at: int, metadata: bytes | None, kinds: dict[type, _Kind]) -> Row:
    cls = type(event)
    kind = kinds.get(cls)
    if kind is None:
        kind = kinds[cls] = _kind(event)
    dump, name, version, what = kind
    data = dump(event, what)
    refuse_reserved(data, what)
    return Row(row_id, name, version, data, recorded_at, metadata)


#: How events of a class are written, its name and version, and what it is called in errors.
_Kind: TypeAlias = tuple[Callable[[Any, str], bytes], str, int, str]


def _kind(event: object) -> _Kind:
    if not isinstance(event, Event):
        raise PayloadError(
            f"{shown(event)} is not an Event. Append instances of classes that derive from allframe.Event."
        )
    cls = type(event)
    # In this order: a bare Event has no name.
    return event_payload(cls).dump, cls.event_name, cls.event_version, f"The event {cls.event_name!r}"
