"""Calls at their time, for all sagas of an orchestrator."""

from __future__ import annotations

import anyio
import pytest

from allframe import OrchestratorClosed
from allframe.saga.timers import MOST_TAKEN_BACK, Timers

pytestmark = pytest.mark.anyio


async def test_calls_are_made_in_the_order_of_their_times_and_not_when_taken_back() -> None:
    made: list[str] = []
    async with anyio.create_task_group() as group:
        timers = Timers(group.start_soon)
        now = anyio.current_time()
        timers.call_at(now + 20, lambda: made.append("late"))
        timers.call_at(now + 10, lambda: made.append("early"))
        timers.take_back(timers.call_at(now + 15, lambda: made.append("never")))
        await anyio.sleep(30)
        group.cancel_scope.cancel()

    assert made == ["early", "late"]


async def test_a_call_that_comes_when_the_orchestrator_has_left_harms_no_other() -> None:
    made: list[str] = []

    def too_late() -> None:
        raise OrchestratorClosed("It has left.")

    async with anyio.create_task_group() as group:
        timers = Timers(group.start_soon)
        timers.call_at(anyio.current_time() + 10, too_late)
        timers.call_at(anyio.current_time() + 10, lambda: made.append("made"))
        await anyio.sleep(20)
        group.cancel_scope.cancel()

    assert made == ["made"]


async def test_what_was_taken_back_is_not_kept_until_its_time() -> None:
    """A saga with a timeout of a month that ends in a second costs nothing for the rest of the month."""
    made: list[int] = []
    async with anyio.create_task_group() as group:
        timers = Timers(group.start_soon)
        month = anyio.current_time() + 30 * 86_400
        for number in range(10 * MOST_TAKEN_BACK):
            ticket = timers.call_at(month + number, lambda number=number: made.append(number))  # type: ignore[misc]
            if number % 2000:
                timers.take_back(ticket)
        assert len(timers._due) <= MOST_TAKEN_BACK + 10
        await anyio.sleep(31 * 86_400)
        group.cancel_scope.cancel()

    assert made == [0, 2000, 4000, 6000, 8000]
