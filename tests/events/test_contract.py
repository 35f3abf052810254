"""The contract of a backend, over every backend that allframe brings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allframe.events.backend import EventStoreBackend
from allframe.events.memory import MemoryBackend
from allframe.events.sqlite import SqliteBackend
from tests.events.contract import BackendContract

pytestmark = pytest.mark.anyio


class TestMemory(BackendContract):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[EventStoreBackend]:
        backend = MemoryBackend()
        await backend.open()
        yield backend
        await backend.close()


class TestSqlite(BackendContract):
    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[EventStoreBackend]:
        backend = SqliteBackend(tmp_path / "store.db")
        await backend.open()
        yield backend
        await backend.close()
