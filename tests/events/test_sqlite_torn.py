"""A process that dies while it moves its log into the file leaves the file torn, and whole together with the log."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from allframe import Event, EventStore

pytestmark = pytest.mark.anyio

PAGE = 4096


class Noted(Event, name="test.torn.noted"):
    text: str


@pytest.mark.parametrize("mode", ["rw", "ro"])
async def test_a_store_torn_in_a_checkpoint_is_opened_and_complete(tmp_path: Path, mode: str) -> None:
    whole, torn = tmp_path / "whole.db", tmp_path / "torn.db"
    async with EventStore(f"sqlite:///{whole}") as store:
        for number in range(20):
            await store.append("notes", [Noted(text="x" * 3000 + str(number))])
        for suffix in ("", "-wal"):
            shutil.copy(f"{whole}{suffix}", f"{torn}{suffix}")
    # Now the log of the other one is in the file: of this, only the first page had come over when the process died.
    with torn.open("r+b") as file:
        file.write(whole.read_bytes()[:PAGE])
    with sqlite3.connect(f"file:{torn}?mode=ro&immutable=1", uri=True) as alone:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            alone.execute("SELECT count(*) FROM events").fetchone()
    alone.close()

    async with EventStore(f"sqlite:///{torn}?mode={mode}") as store:
        events = await store.get_events("notes")

    assert len(events) == 20
