"""`max_running`: so many sagas at once, and the others wait for their turn, recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from allframe import Retry, SagaStatus, StepContext
from tests.saga import world
from tests.saga.world import Behaviour, Home, trip

pytestmark = pytest.mark.anyio
home = world.home


class Turnstile:
    """Counts who is inside."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.inside: set[str] = set()
        self.most = 0
        self.order: list[str] = []

    def pass_through(self, seconds: float = 1) -> Behaviour:
        async def behave(ctx: StepContext) -> Any:
            assert ctx.saga_id not in self.inside
            self.inside.add(ctx.saga_id)
            self.most = max(self.most, len(self.inside))
            self.order.append(ctx.saga_id)
            await anyio.sleep(seconds)
            self.inside.discard(ctx.saga_id)
            return self.home.world.take_effect(ctx)

        return behave


@pytest.mark.parametrize("limit", [1, 3])
async def test_never_more_at_once_and_all_complete(home: Home, limit: int) -> None:
    Trip = trip()
    turnstile = Turnstile(home)
    for part in ("first", "second", "third"):
        home.world.always(part, turnstile.pass_through())

    async with home.orchestrator(max_running=limit) as orchestrator:
        handles = [await orchestrator.start(Trip(), id=f"t{n}") for n in range(10)]
        outcomes = [await handle.outcome() for handle in handles]

    assert turnstile.most == limit
    assert [outcome.status for outcome in outcomes] == [SagaStatus.COMPLETED] * 10
    if limit == 1:
        # one saga is over before the next begins, in the order in which they came
        assert turnstile.order == [f"t{n}" for n in range(10) for _ in range(3)]


async def test_who_waits_is_recorded_and_seen(home: Home) -> None:
    Trip = trip(timeout=None)
    gate = anyio.Event()
    home.world.always("first", home.world.waits(gate))

    async with home.orchestrator(max_running=2) as orchestrator:
        handles = [await orchestrator.start(Trip(), id=f"t{n}") for n in range(5)]
        seen = await orchestrator.get_running_sagas()
        assert [metadata.status for metadata in seen] == [SagaStatus.EXECUTING] * 2 + [SagaStatus.NOT_STARTED] * 3
        assert [metadata.running for metadata in seen] == [("first",)] * 2 + [()] * 3
        assert await orchestrator.running_count() == 5
        assert home.world.journal == ["do first"] * 2
        assert await home.told("t4") == ["queued"]
        gate.set()
        for handle in handles:
            await handle.outcome()
        assert await orchestrator.running_count() == 0

    assert (await home.told("t0"))[0] == "started"
    assert (await home.told("t4"))[:3] == ["queued", "admitted", "first succeeded"]


async def test_execute_waits_its_turn(home: Home) -> None:
    Trip = trip()

    async with home.orchestrator(max_running=1) as orchestrator, anyio.create_task_group() as callers:
        for n in range(10):
            callers.start_soon(lambda: orchestrator.execute(Trip(), id=f"t{n}"))  # noqa: B023
            await anyio.lowlevel.checkpoint()

    assert home.world.journal == ["do first", "do second", "do third"] * 10


@pytest.mark.parametrize("how", ["compensated", "failed", "cancelled", "conflict"])
async def test_a_turn_is_given_on_however_a_saga_ends(home: Home, how: str) -> None:
    Trip = trip(timeout=None, undo_retry=Retry(attempts=1))
    told: dict[str, Callable[[], None]] = {
        "compensated": lambda: home.world.tell("second", home.world.raises(ValueError("no"))),
        "failed": lambda: home.world.tell("second", home.world.raises_after(TimeoutError())),
        "cancelled": lambda: home.world.tell("second", home.world.hangs()),
        "conflict": lambda: None,
    }
    told[how]()
    if how == "failed":
        home.world.tell("undo second", home.world.raises(ValueError("no")))

    async with home.orchestrator(max_running=1) as orchestrator:
        first = await orchestrator.start(Trip(), id="first")
        if how == "conflict":
            with pytest.raises(Exception, match="with another input"):
                await orchestrator.start(Trip(traveller="Grace"), id="first")
            await first.outcome()
            with pytest.raises(Exception, match="with another input"):
                await orchestrator.start(Trip(traveller="Grace"), id="first")
        second = await orchestrator.start(Trip(), id="second")
        if how == "cancelled":
            await home.world.until("do second")
            await first.cancel(reason="it rains")
        assert (await second.outcome()).status is SagaStatus.COMPLETED
        third = await orchestrator.start(Trip(), id="third")
        assert (await third.outcome()).status is SagaStatus.COMPLETED


async def test_a_rollback_keeps_its_turn(home: Home) -> None:
    Trip = trip(undo_timeout=None)
    gate = anyio.Event()
    home.world.tell("third", home.world.raises(ValueError("no")))
    home.world.tell("undo second", home.world.undoes_after(gate))

    async with home.orchestrator(max_running=1) as orchestrator:
        await orchestrator.start(Trip(), id="back")
        queued = await orchestrator.start(Trip(), id="queued")
        await home.world.until("undo second")
        await anyio.sleep(100)
        assert (await queued.metadata()).status is SagaStatus.NOT_STARTED
        gate.set()
        await queued.outcome()

    assert home.world.journal[4:] == ["undo first", "do first", "do second", "do third"]


async def test_a_saga_that_waits_for_a_retry_keeps_its_turn(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=2, wait=1000, max_wait=1000))
    home.world.tell("second", home.world.raises(ValueError("no")))

    async with home.orchestrator(max_running=1) as orchestrator:
        first = await orchestrator.start(Trip(), id="t0")
        second = await orchestrator.start(Trip(), id="t1")
        await first.outcome()
        await second.outcome()

    assert [ctx.saga_id for ctx in home.world.contexts] == ["t0"] * 4 + ["t1"] * 3


async def test_who_waited_when_the_orchestrator_left_goes_on_at_the_next_opening(home: Home) -> None:
    Trip = trip(timeout=None)
    home.world.tell("first", home.world.waits(anyio.Event()))

    async with home.orchestrator(max_running=1, grace=1) as orchestrator:
        for n in range(5):
            await orchestrator.start(Trip(), id=f"t{n}")
        await home.world.until("do first")
    statuses = [(await home.monitor.get_saga(f"t{n}")) for n in range(5)]
    assert [metadata.status for metadata in statuses if metadata] == [
        SagaStatus.EXECUTING,
        *[SagaStatus.NOT_STARTED] * 4,
    ]

    await home.reopen()
    turnstile = Turnstile(home)
    home.world.always("second", turnstile.pass_through())
    async with home.orchestrator(max_running=2) as orchestrator:
        await anyio.sleep(1000)
        assert await orchestrator.running_count() == 0
        assert await orchestrator.history_count() == 5

    assert turnstile.most == 2
    assert sorted(turnstile.order) == [f"t{n}" for n in range(5)]
