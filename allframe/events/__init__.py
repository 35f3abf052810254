"""What happened: events, and the append-only store that keeps them."""

from __future__ import annotations

from allframe.events.codecs import Codec, ZlibCodec
from allframe.events.encryption import EncryptionCodec
from allframe.events.event import Event
from allframe.events.recorded import RecordedEvent
from allframe.events.snapshots import Snapshot
from allframe.events.store import EventStore
from allframe.events.upcasting import AutoUpcaster, Upcaster, upcasts
from allframe.events.versioning import MigrationPath, VersionRegistry

__all__ = [
    "AutoUpcaster",
    "Codec",
    "EncryptionCodec",
    "Event",
    "EventStore",
    "MigrationPath",
    "RecordedEvent",
    "Snapshot",
    "Upcaster",
    "VersionRegistry",
    "ZlibCodec",
    "upcasts",
]
