"""Every test runs on asyncio and trio, with a clock that jumps instead of sleeping (`allframe.testing.VirtualClock`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allframe.testing import VirtualClock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> tuple[str, dict[str, Any]]:
    return virtual_clock.backend(request.param)


@pytest.fixture
def clock(virtual_clock: VirtualClock) -> VirtualClock:
    return virtual_clock


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
