"""The forty sagas of `tests.forty`: each completes, and each is undone wherever it fails or stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allframe import SagaDefinition
from allframe.testing import VirtualClock
from tests import whole
from tests.forty import EXAMPLES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=sorted(EXAMPLES))
def saga(request: pytest.FixtureRequest) -> Any:
    return EXAMPLES[request.param]


def test_there_are_forty_of_all_styles() -> None:
    assert len(EXAMPLES) == 40
    assert sum(isinstance(example, SagaDefinition) for example in EXAMPLES.values()) == 3


async def test_it_completes(saga: Any, clock: VirtualClock) -> None:
    await whole.completes(saga, clock)


async def test_whatever_is_refused_leaves_nothing_behind(saga: Any, clock: VirtualClock) -> None:
    await whole.leaves_nothing_that_is_refused(saga, clock)


async def test_whatever_reply_is_lost_leaves_nothing_behind(saga: Any, clock: VirtualClock) -> None:
    await whole.leaves_nothing_that_is_lost(saga, clock)


async def test_stopped_anywhere_it_is_finished_by_the_next_opening(
    saga: Any, clock: VirtualClock, tmp_path: Path
) -> None:
    await whole.is_finished_wherever_it_stops(saga, clock, tmp_path)
