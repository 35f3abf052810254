"""A store as it would be found if the process had died this instant, without killing it.

What SQLite has written is copied file by file; what a memory store holds, list by list. The copy knows nothing of the
owner that still lives, so whoever opens it finds a store that nobody closed.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

from allframe import EventStore
from allframe.events.memory import MemoryBackend
from allframe.events.sqlite import SqliteBackend


def crash_image(store: EventStore, folder: Path) -> EventStore:
    """An unopened store with what ``store`` has safely written by now."""
    backend = store.backend
    if isinstance(backend, MemoryBackend):
        return EventStore(_memory_image(backend))
    assert isinstance(backend, SqliteBackend)
    source = Path(backend.url.removeprefix("sqlite:///"))
    target = folder / f"image-{len(list(folder.iterdir()))}"
    target.mkdir()
    for suffix in ("", "-wal"):
        if Path(f"{source}{suffix}").exists():
            shutil.copy(f"{source}{suffix}", f"{target / source.name}{suffix}")
    return EventStore(f"sqlite:///{target / source.name}")


def _memory_image(backend: MemoryBackend) -> MemoryBackend:
    image = MemoryBackend()
    image._rows = list(backend._rows)
    image._streams = defaultdict(list, {name: list(rows) for name, rows in backend._streams.items()})
    image._heads = dict(backend._heads)
    image._epoch, image._clean = backend._epoch, backend._clean
    return image
