"""What tests need of the virtual clock beside `allframe.testing`."""

from __future__ import annotations

import pytest

from allframe.testing import VirtualClock

#: For a test about something that only asyncio has.
ASYNCIO_ONLY = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


def pass_time(seconds: float) -> None:
    """Let the running loop's time pass without the loop running."""
    clock = VirtualClock.running()
    assert clock is not None
    clock.advance(seconds)
