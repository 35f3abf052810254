"""What steps inject: looked up before anything is written, and the same object in every step."""

from __future__ import annotations

from typing import Any, Protocol

import anyio
import pytest

from allframe import (
    DependencyMissing,
    Inject,
    Refused,
    Saga,
    SagaStatus,
    StepContext,
    StepRefused,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home


class Bank:
    name = "a bank"


class Post(Protocol):
    def send(self) -> None: ...


class Needy(Saga):
    """It needs a bank to go forward, and the post only to go back."""

    @step
    async def debit(self, bank: Inject[Bank], world: Inject[World], ctx: StepContext) -> str:
        await world.do(ctx)
        return bank.name

    @compensates("debit")
    async def refund(self, debit: str | Unknown, post: Inject[Post], world: Inject[World], ctx: StepContext) -> None:
        post.send()
        await world.undo(ctx)

    @step
    async def credit(self, bank: Inject[Bank], world: Inject[World], ctx: StepContext) -> str:
        await world.do(ctx)
        return bank.name


class Modest(Saga):
    """It can do without."""

    @step
    async def only(self, bank: Inject[Bank | None] = None) -> str:
        return "none" if bank is None else bank.name


class Office:
    def __init__(self) -> None:
        self.sent = 0

    def send(self) -> None:
        self.sent += 1


def provide(home: Home, *without: Any) -> dict[Any, object]:
    everything: dict[Any, object] = {World: home.world, Bank: Bank(), Post: Office()}
    return {wanted: thing for wanted, thing in everything.items() if wanted not in without}


@pytest.mark.parametrize("call", ["execute", "start"])
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ((Bank,), "Bank (step 'debit', parameter 'bank')"),
        ((Post,), "Post (compensation 'refund', parameter 'post')"),
        ((Bank, Post), "Bank (step 'debit', parameter 'bank'), Post (compensation 'refund', parameter 'post')"),
    ],
    ids=["a step's", "a compensation's", "both"],
)
async def test_what_is_missing_is_said_before_anything_is_written(
    home: Home, missing: tuple[Any, ...], said: str, call: str
) -> None:
    given = provide(home, *missing)

    async with home.orchestrator(provide=given) as orchestrator:
        with pytest.raises(DependencyMissing) as raised:
            await getattr(orchestrator, call)(Needy(), id="n")
        assert await orchestrator.get_saga("n") is None

    has = ", ".join(sorted(wanted.__name__ for wanted in given))
    assert str(raised.value) == (
        f"Needy cannot run: nothing provides {said}. Hand it to the orchestrator: "
        f"SagaOrchestrator(..., provide={{...}}). It has {has}."
    )
    assert raised.value.saga_id == "n"
    assert (await home.store.stats()).total_events == 0
    assert home.world.journal == []


async def test_the_id_is_still_free_afterwards(home: Home) -> None:
    async with home.orchestrator(provide=provide(home, Bank)) as orchestrator:
        with pytest.raises(DependencyMissing):
            await orchestrator.execute(Needy(), id="n")
    async with home.orchestrator(provide=provide(home)) as orchestrator:
        outcome = await orchestrator.execute(Needy(), id="n")

    assert outcome.outputs == {"debit": "a bank", "credit": "a bank"}


async def test_nothing_provided_is_said(home: Home) -> None:
    async with home.orchestrator(provide={}) as orchestrator:
        with pytest.raises(DependencyMissing, match="It has nothing"):
            await orchestrator.execute(Needy())


async def test_steps_and_compensations_get_the_very_objects(home: Home) -> None:
    given = provide(home)
    home.world.tell("credit", home.world.raises(Refused("no")))

    async with home.orchestrator(provide=given) as orchestrator:
        with pytest.raises(StepRefused):
            await orchestrator.execute(Needy())

    office: Any = given[Post]
    assert office.sent == 1
    assert home.world.effects == []


async def test_a_subclass_is_not_what_was_asked_for(home: Home) -> None:
    class Savings(Bank): ...

    async with home.orchestrator(provide={**provide(home, Bank), Savings: Savings()}) as orchestrator:
        with pytest.raises(DependencyMissing, match="nothing provides Bank"):
            await orchestrator.execute(Needy())


async def test_a_parameter_with_a_default_may_go_without(home: Home) -> None:
    async with home.orchestrator(provide={}) as orchestrator:
        assert (await orchestrator.execute(Modest())).output == "none"
    async with home.orchestrator(provide={Bank | None: Bank()}) as orchestrator:
        assert (await orchestrator.execute(Modest())).output == "a bank"


async def test_a_provided_object_may_be_false(home: Home) -> None:
    class Empty(list[int]): ...

    class Counting(Saga):
        @step
        async def count(self, things: Inject[Empty]) -> int:
            return len(things)

    async with home.orchestrator(provide={Empty: Empty()}) as orchestrator:
        assert (await orchestrator.execute(Counting())).output == 0


async def test_a_saga_that_lacks_something_at_the_next_opening_is_blocked_until_it_is_there(home: Home) -> None:
    async def leave(ctx: StepContext) -> None:
        raise KeyboardInterrupt

    home.world.tell("credit", leave)
    with pytest.raises(KeyboardInterrupt):
        async with home.orchestrator(provide=provide(home)) as orchestrator:
            await orchestrator.execute(Needy(), id="n")

    async with home.orchestrator(provide=provide(home, Post)) as orchestrator:
        while await orchestrator.running_count():
            await anyio.sleep(1)
        metadata = await orchestrator.get_saga("n")
    assert metadata is not None
    assert (metadata.status, metadata.attention) == (SagaStatus.BLOCKED, True)
    assert metadata.reason is not None
    assert metadata.reason.startswith("Nothing provides Post (compensation 'refund', parameter 'post').")
    assert home.world.journal == ["do debit", "do credit"]

    async with home.orchestrator(provide=provide(home)) as orchestrator:
        outcome = await orchestrator.execute(Needy(), id="n")
    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do debit", "do credit", "do credit"]
