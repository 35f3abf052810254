"""Every test runs on asyncio and trio, with a clock that jumps instead of sleeping (`tests.virtual`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allframe.events.sqlite import SqliteBackend
from tests.virtual import LoopClock, hold_clock_during, hold_clock_for_threads, virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_backend(request.param)


@pytest.fixture(autouse=True)
def _clock_waits_for_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_clock_during(SqliteBackend, monkeypatch)


@pytest.fixture(autouse=True)
def _clock_waits_for_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("threads_take_time") is None:
        hold_clock_for_threads(monkeypatch)


@pytest.fixture
def clock() -> LoopClock:
    return LoopClock()


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
