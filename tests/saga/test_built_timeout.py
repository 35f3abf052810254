"""The timeout of a saga that was built: that of the whole, as a class of sagas has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from allframe import (
    DefinitionError,
    Inject,
    SagaDefinition,
    SagaStatus,
    SagaStep,
    SagaTimedOut,
    StepContext,
    Unknown,
)
from tests.saga import world
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home


class Stop(SagaStep, name="test_built_timeout.stop", timeout=None):
    async def execute(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    async def compensate(self, output: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, output)


def tour(saga_id: str = "s-1", **options: Any) -> SagaDefinition:
    definition = SagaDefinition(saga_id, name="tour", **options)
    return definition.add_step(Stop(), name="first").add_step(Stop(), name="second")


async def test_it_cuts_what_runs_and_rolls_back(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut) as caught:
            await orchestrator.execute(tour(timeout=60))

    assert str(caught.value) == (
        "tour 's-1' did not end within its timeout of 60 s. Rolled back: second, first. Nothing is left of it."
    )
    assert home.world.effects == []
    assert home.world.times[-1] == pytest.approx(home.world.times[0] + 60, abs=1)


async def test_it_counts_while_nobody_runs_it(home: Home) -> None:
    home.world.always("second", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(tour(timeout=60))
        await home.world.until("do second")
        await anyio.sleep(40)
    await home.reopen()

    async with home.orchestrator() as orchestrator:
        await orchestrator.idle()
        ended = await orchestrator.get_saga("s-1")

    assert ended is not None
    assert (ended.status, ended.reason) == (SagaStatus.COMPENSATED, "Its timeout of 60 s passed.")
    begun = home.world.times[0]
    assert home.world.times[home.world.journal.index("undo second")] == pytest.approx(begun + 60, abs=2)


async def test_what_is_built_of_the_same_steps_may_have_another(home: Home) -> None:
    home.world.always("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handles = {
            saga_id: await orchestrator.start(tour(saga_id, timeout=timeout))
            for saga_id, timeout in (("short", 10), ("none", None), ("long", 100))
        }
        await anyio.sleep(50)
        assert {saga_id: (await handle.metadata()).status.value for saga_id, handle in handles.items()} == {
            "short": "compensated",
            "none": "executing",
            "long": "executing",
        }
        await anyio.sleep(100)
        assert (await handles["long"].metadata()).status is SagaStatus.COMPENSATED
        await handles["none"].cancel(reason="enough")
        await handles["none"].outcome()


async def test_the_first_that_is_said_of_an_id_is_the_one(home: Home) -> None:
    """As of a class: the timeout is no input, so another is no conflict."""
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        await orchestrator.start(tour(timeout=60))
        with pytest.raises(SagaTimedOut) as caught:
            (await (await orchestrator.start(tour(timeout=600))).outcome()).raise_for_status()
    assert caught.value.duration == 60


def test_it_is_seconds_or_a_timedelta_and_stays_when_a_step_is_added() -> None:
    assert tour(timeout=timedelta(minutes=1)).timeout == 60
    assert tour(timeout=1.5).graph.timeout == 1.5
    assert tour().timeout is tour().graph.timeout is None
    assert tour(timeout=60) == tour(timeout=60.0) != tour(timeout=61)
    assert tour(timeout=60).graph.fingerprint == tour().graph.fingerprint


def test_it_is_explained() -> None:
    assert "1 min after its start what runs is cut, and everything is undone." in tour(timeout=60).graph.explain()


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "60", True, timedelta()])
def test_af109_one_that_makes_no_sense(timeout: Any) -> None:
    with pytest.raises(DefinitionError) as refusal:
        SagaDefinition("s-1", name="", timeout=timeout)

    (problem, other) = refusal.value.problems
    assert (problem.rule, other.rule) == ("AF109", "AF119")
    assert problem.text == f"It has timeout={timeout!r}. Expected seconds above 0, or None for no limit."
    assert "test_built_timeout.py" in problem.where
