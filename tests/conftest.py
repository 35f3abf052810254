"""Every test runs on asyncio and trio, with a clock that jumps instead of sleeping (`allframe.testing.VirtualClock`)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from allframe.testing import VirtualClock
from tests.virtual import LOOPS


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> tuple[str, dict[str, Any]]:
    return virtual_clock.backend(request.param)


@pytest.fixture(autouse=True)
def _clock_goes_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test about sync steps that take long."""
    if request.node.get_closest_marker("threads_take_time") is not None:
        monkeypatch.setattr("allframe.saga.perform.waiting_for_thread", contextlib.nullcontext())


@pytest.fixture
def clock(virtual_clock: VirtualClock) -> VirtualClock:
    return virtual_clock


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
