"""The store's own tests wait for no clock, and look at who calls it: nothing may stand between."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _clock_waits_for_sqlite() -> None:
    """In place of the one for all tests."""
