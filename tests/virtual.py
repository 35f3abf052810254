"""What tests need of the virtual clock beside `allframe.testing`."""

from __future__ import annotations

import os

import pytest

from allframe.testing import VirtualClock

#: The event loops that async tests run on: ``ALLFRAME_LOOPS=uvloop pytest`` for others.
LOOPS = os.environ.get("ALLFRAME_LOOPS", "asyncio,trio").split(",")
#: For a test about something that only asyncio has, or only trio. `tests/test_loops.py` lists them.
ASYNCIO_ONLY = pytest.mark.parametrize(
    "anyio_backend", [loop for loop in LOOPS if loop != "trio"] or ["asyncio"], indirect=True
)
TRIO_ONLY = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)


def pass_time(seconds: float) -> None:
    """Let the running loop's time pass without the loop running."""
    clock = VirtualClock.running()
    assert clock is not None
    clock.advance(seconds)
