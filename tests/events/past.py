"""Events as some older program stored them: rows, of which no class need exist here."""

from __future__ import annotations

import json
from typing import Any

from allframe import EventStore
from allframe.events.backend import Commit, Row, Write, new_id

__all__ = ["store_past"]


async def store_past(store: EventStore, stream: str, *forms: tuple[str, int, Any]) -> None:
    """Append what is stored as these names, versions and payloads."""
    rows = tuple(
        Row(new_id(), name, version, data if isinstance(data, bytes) else json.dumps(data).encode(), 0)
        for name, version, data in forms
    )
    await store.backend.commit(Commit((Write(stream, rows),)))
