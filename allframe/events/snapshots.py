"""`Snapshot`: what the first events of a stream come to, kept so that they need not all be read again.

A snapshot is only ever a shortcut: it can be made again from the events, and nothing is lost with one. It is stored by
the stream and by its type: what the model says in ``snapshot_name``, else the name of its class. Of each type a stream
keeps the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pydantic import BaseModel

from allframe.errors import PayloadError, StoreFormatError
from allframe.events.backend import StoredSnapshot
from allframe.events.coded import check_plain_snapshot, refuse_reserved
from allframe.events.event import Versions
from allframe.events.upcasting import identity_of
from allframe.masking import shown
from allframe.naming import is_version
from allframe.payload import Payload

__all__ = ["Snapshot", "snapshot_type", "to_snapshot", "to_stored"]

M = TypeVar("M", bound=BaseModel)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[M]):
    """What a stream's events up to ``version`` come to."""

    stream: str
    #: The revision of the last event that is in it.
    version: int
    state: M
    #: The version that its model had when it was stored.
    schema_version: int
    #: UTC.
    recorded_at: datetime


def snapshot_type(cls: type[BaseModel]) -> tuple[str, int]:
    """The stored name and version of a model, as `identity_of` has them.

    Raises:
        PayloadError: if the name is no printable text that is not empty, or the version no whole number from 1.
    """
    given: object = cls
    if not isinstance(given, type) or not issubclass(given, BaseModel):
        raise PayloadError(f"{shown(given)} is no type of snapshots. Give the class of a pydantic model.")
    name, version = identity_of(cls)
    said: object = name
    if not isinstance(said, str) or not said or not said.isprintable():
        raise PayloadError(
            f"{cls.__qualname__} cannot be a snapshot: its snapshot_name is {name!r}. Expected printable text."
        )
    if not is_version(version):
        raise PayloadError(
            f"{cls.__qualname__} cannot be a snapshot: its snapshot_version is {version!r}. Expected a whole number "
            "from 1."
        )
    return name, version


def to_stored(stream: str, state: BaseModel, version: int, recorded_at: int) -> StoredSnapshot:
    """``state`` as it is stored. ``recorded_at``: microseconds since 1970, UTC.

    Raises:
        PayloadError: if it cannot be stored and read back equal, or no stream of the user's has such a name and version.
    """
    given: object = state
    if not isinstance(given, BaseModel):
        raise PayloadError(f"{shown(given)} is not a pydantic model. Save an instance of a model as a snapshot.")
    if stream.startswith("$"):
        raise PayloadError(
            f"No snapshot of the stream {stream!r} can be saved: names that begin with '$' are allframe's own."
        )
    if version < 1:
        raise PayloadError(
            f"A snapshot of {stream!r} at version {version} would hold nothing: version 1 is the first event. Save one "
            "at the revision of the last event that is in it."
        )
    name, schema_version = snapshot_type(type(state))
    data, _ = _payload(type(state)).store(state, f"The snapshot {name!r}")
    refuse_reserved(data, f"The snapshot {name!r}")
    return StoredSnapshot(stream, name, schema_version, version, data, recorded_at)


def to_snapshot(stored: StoredSnapshot, cls: type[M], versions: Versions | None = None) -> Snapshot[M]:
    """What is stored, upcast by ``versions``.

    Raises:
        StoreFormatError: if ``cls`` cannot read it, an upcaster fails, or none leads to its version.
    """
    return Snapshot(
        stored.stream,
        stored.revision,
        _read(stored, cls, versions),
        stored.schema_version,
        _EPOCH + timedelta(microseconds=stored.recorded_at),
    )


def _read(stored: StoredSnapshot, cls: type[M], versions: Versions | None) -> M:
    check_plain_snapshot(stored)
    name, version = snapshot_type(cls)
    found, data = (stored.type, stored.schema_version), stored.data
    if versions is not None and versions.has_upcaster(*found):
        *_, data = upcast = versions.upcast(*found, data, where=f"the snapshot of stream {stored.stream!r}")
        found = upcast[:2]
    if found != (name, version):
        raise StoreFormatError(
            f"The snapshot {name!r} of stream {stored.stream!r} was stored with version {stored.schema_version} of its "
            f"model, and {cls.__qualname__} has version {version}. Read the events of the stream instead, and save a new "
            "one; or give the EventStore versions=VersionRegistry([...]) with an upcaster."
        )
    try:
        state: M = _payload(cls).load(data, f"The snapshot {name!r} of stream {stored.stream!r}")
    except PayloadError as error:
        raise StoreFormatError(
            f"{error} The model has changed since it was stored: give it a new snapshot_version."
        ) from error
    return state


def _payload(cls: type[BaseModel]) -> Payload:
    """The stored form of a model, made once a class."""
    payload: Payload | None = vars(cls).get("__allframe_snapshot__")
    if payload is None:
        payload = Payload(cls)
        type.__setattr__(cls, "__allframe_snapshot__", payload)
    return payload
