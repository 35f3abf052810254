"""`after=`: steps side by side, what a failure does to the others, and the way back."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from allframe import (
    CompensationFailed,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaStatus,
    StepContext,
    StepFailed,
    StepTimedOut,
    Unknown,
    compensates,
    step,
)
from allframe.events.backend import Commit
from tests.saga import world
from tests.saga.shapes import DIAMOND, shaped
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home

PARALLEL = dict.fromkeys("abcde", ())


async def ended(home: Home, saga: Any, **options: Any) -> Any:
    """How the saga ``s-1`` of this class ended."""
    async with home.orchestrator(**options) as orchestrator:
        return await (await orchestrator.start(saga(), id="s-1")).outcome()


# --- forward ---------------------------------------------------------------------------------------------------------


async def test_steps_of_which_none_waits_for_the_other_run_at_the_same_time(home: Home) -> None:
    gate = anyio.Event()

    async def meet(ctx: StepContext) -> str:
        if len([entry for entry in home.world.journal if entry.startswith("do")]) == 5:
            gate.set()  # all five are there, and none of them has ended
        await gate.wait()
        return home.world.take_effect(ctx)

    for name in PARALLEL:
        home.world.always(name, meet)
    outcome = await ended(home, shaped(PARALLEL))
    assert outcome.status is SagaStatus.COMPLETED
    assert sorted(home.world.effects) == list("abcde")
    assert (await home.told("s-1"))[0] == "started"
    assert (await home.timeline("s-1"))[0].record.starts == tuple("abcde")


async def test_a_join_begins_in_the_record_of_its_last_predecessor(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("left", home.world.waits(gate))

    async def open_gate(ctx: StepContext) -> str:
        gate.set()
        return home.world.take_effect(ctx)

    home.world.tell("right", open_gate)
    await ended(home, shaped(DIAMOND))
    begun = {
        entry.record.step: entry.record.starts for entry in await home.timeline("s-1") if hasattr(entry.record, "step")
    }
    assert begun == {"top": ("left", "right"), "right": (), "left": ("bottom",), "bottom": ()}


async def test_a_graph_of_n_steps_takes_n_and_one_commits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[Commit] = []
    write = home.store.backend.commit

    async def commit(made: Commit) -> Any:
        commits.append(made)
        return await write(made)

    monkeypatch.setattr(home.store.backend, "commit", commit)
    await ended(home, shaped({"top": (), **dict.fromkeys("abc", ("top",)), "bottom": None}))
    assert len(commits) == 6


class Trip(Saga, name="test_branches.trip"):
    """Branches that hand their outputs to a join."""

    @step(after=())
    async def hotel(self) -> str:
        return "room 1"

    @compensates("hotel")
    async def free_room(self) -> None: ...

    @step(after=())
    async def flight(self) -> int:
        return 7

    @compensates("flight")
    async def free_seat(self, flight: int | Unknown) -> None: ...

    @step
    async def invoice(self, hotel: str, flight: int) -> str:
        return f"{hotel}, seat {flight}"


async def test_a_join_takes_the_outputs_of_all_branches(home: Home) -> None:
    outcome = await ended(home, Trip)
    assert outcome.outputs == {"hotel": "room 1", "flight": 7, "invoice": "room 1, seat 7"}
    assert outcome.output == "room 1, seat 7"


async def test_a_step_may_stand_above_the_one_it_runs_after(home: Home) -> None:
    await ended(home, shaped({"last": ("middle",), "first": (), "middle": ("first",)}))
    assert home.world.effects == ["first", "middle", "last"]


async def test_a_name_in_after_means_nothing_more_than_its_own_line(home: Home) -> None:
    graph = shaped({"a": (), "b": ("a",), "c": ("a", "b")}).graph
    assert [node.after for node in graph.plan.nodes] == [(), (0,), (1,)], "what b implies is not said again"


async def test_a_thousand_steps_in_a_line(home: Home) -> None:
    names = [f"s{i}" for i in range(1000)]
    outcome = await ended(home, shaped(dict.fromkeys(names)))
    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.effects == names


async def test_a_thousand_steps_side_by_side_are_all_undone(home: Home) -> None:
    names = [f"s{i}" for i in range(999)]
    home.world.tell("end", home.world.raises(ValueError("no")))
    outcome = await ended(home, shaped({**dict.fromkeys(names, ()), "end": None}))
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []
    undone = [entry for entry in home.world.journal if entry.startswith("undo")]
    assert len(undone) == 999


# --- a failure -------------------------------------------------------------------------------------------------------


async def test_siblings_end_before_anything_is_undone(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("left", home.world.waits(gate))

    async def fail(ctx: StepContext) -> str:
        gate.set()
        raise Refused("sold out")

    home.world.tell("right", fail)
    outcome = await ended(home, shaped(DIAMOND))
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal[-2:] == ["undo left", "undo top"]
    assert await home.told("s-1") == [
        "started",
        "top succeeded",
        "right was refused",
        "left succeeded",
        "rollback begun",
        "left compensated",
        "top compensated",
        "compensated",
    ]
    assert home.world.effects == []


async def test_nothing_new_begins_once_a_branch_has_failed(home: Home) -> None:
    gate = anyio.Event()
    home.world.tell("left", home.world.waits(gate))

    async def fail(ctx: StepContext) -> str:
        gate.set()
        raise ValueError("no")

    home.world.tell("right", fail)
    await ended(home, shaped({"left": (), "after_left": ("left",), "right": ()}))
    assert "do after_left" not in home.world.journal


async def test_a_sibling_keeps_its_own_timeout_while_the_saga_waits_for_it(home: Home) -> None:
    home.world.tell("left", home.world.hangs())
    home.world.tell("right", home.world.raises(ValueError("no")))
    saga = shaped(DIAMOND, options={"left": {"timeout": 20}})
    outcome = await ended(home, saga)
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.times[home.world.journal.index("undo left")] >= 20
    assert home.world.given["left"].reason == "deadline"


async def test_a_sibling_that_waits_to_try_again_does_not(home: Home) -> None:
    gate = anyio.Event()
    retry = Retry(attempts=3, wait=600, max_wait=600, jitter=0)

    async def fail_later(ctx: StepContext) -> str:
        await gate.wait()
        raise ValueError("no")

    async def fail_first(ctx: StepContext) -> str:
        gate.set()
        raise ConnectionError("reset")

    home.world.always("left", fail_first)
    home.world.tell("right", fail_later)
    outcome = await ended(home, shaped(DIAMOND, options={"left": {"retry": retry}}))
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.times[-1] < 600, "nobody waited for the next attempt"
    assert home.world.journal.count("do left") == 1
    assert home.world.journal[-2:] == ["undo left", "undo top"], "its first attempt may have taken effect"


async def test_the_first_failure_is_the_error_and_the_others_are_suppressed(home: Home) -> None:
    gate = anyio.Event()

    async def second(ctx: StepContext) -> str:
        await gate.wait()
        raise ValueError("the second")

    async def first(ctx: StepContext) -> str:
        gate.set()
        raise KeyError("the first")

    home.world.tell("left", second)
    home.world.tell("right", first)
    outcome = await ended(home, shaped(DIAMOND))
    with pytest.raises(StepFailed, match=r"step 'right' .*KeyError: 'the first'") as caught:
        outcome.raise_for_status()
    assert isinstance(caught.value.__cause__, KeyError)
    assert [str(error) for error in outcome.suppressed] == ["ValueError: the second"]


async def test_a_late_step_beside_one_that_failed_is_undone_too(home: Home) -> None:
    saga = shaped({"slow": (), "quick": ()}, options={"slow": {"timeout": 5}})
    home.world.tell("slow", home.world.swallows())
    home.world.tell("quick", home.world.raises(ValueError("no")))
    outcome = await ended(home, saga)
    assert home.world.effects == []
    with pytest.raises(StepFailed):
        outcome.raise_for_status()


# --- the way back ----------------------------------------------------------------------------------------------------


async def test_what_ran_side_by_side_is_undone_by_the_latest_end(home: Home) -> None:
    gates = {name: anyio.Event() for name in "abc"}
    for name, gate in gates.items():
        home.world.tell(name, home.world.waits(gate))
    home.world.tell("end", home.world.raises(ValueError("no")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped({"a": (), "b": (), "c": (), "end": None})(), id="s-1")
        for name in "bca":
            gates[name].set()
            while f"{name} succeeded" not in await home.told("s-1"):
                await anyio.lowlevel.checkpoint()
        await handle.outcome()
    assert home.world.journal[-3:] == ["undo a", "undo c", "undo b"]


async def test_a_step_is_undone_after_everything_that_was_begun_after_it(home: Home) -> None:
    """Also where it ended later than what stands beside those."""
    gate = anyio.Event()
    shape = {"a": (), "b": ("a",), "x": (), "end": ("b", "x")}
    home.world.tell("x", home.world.waits(gate))

    async def then_open(ctx: StepContext) -> str:
        gate.set()
        return home.world.take_effect(ctx)

    home.world.tell("b", then_open)
    home.world.tell("end", home.world.raises(ValueError("no")))
    await ended(home, shaped(shape))
    assert home.world.journal[-3:] == ["undo x", "undo b", "undo a"]


async def test_an_exhausted_compensation_holds_up_its_ancestors_and_no_other_branch(home: Home) -> None:
    shape = {"a": (), "b": ("a",), "x": (), "y": ("x",), "end": ("b", "y")}
    home.world.always("undo b", home.world.raises(ValueError("stuck")))
    home.world.tell("end", home.world.raises(ValueError("no")))
    saga = shaped(shape, undo={"b": {"retry": Retry(attempts=2, wait=0)}})
    outcome = await ended(home, saga)
    assert outcome.status is SagaStatus.FAILED
    with pytest.raises(CompensationFailed) as caught:
        outcome.raise_for_status()
    assert caught.value.uncompensated == ("a", "b")
    assert sorted(home.world.effects) == ["a", "b"]
    assert "undo a" not in home.world.journal


async def test_after_a_retry_the_held_up_ones_are_undone(home: Home) -> None:
    shape = {"a": (), "b": ("a",), "x": (), "end": ("b", "x")}
    home.world.tell("undo b", home.world.raises(ValueError("stuck")))
    home.world.tell("end", home.world.raises(ValueError("no")))
    saga = shaped(shape, undo={"b": {"retry": Retry(attempts=1)}})
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(saga(), id="s-1")
        assert (await handle.outcome()).status is SagaStatus.FAILED
        await orchestrator.retry_failed("s-1", reason="mended")
        assert (await handle.outcome()).status is SagaStatus.COMPENSATED
    assert home.world.journal.count("undo x") == 1
    assert home.world.journal[-2:] == ["undo b", "undo a"]


# --- a pivot ---------------------------------------------------------------------------------------------------------


async def test_after_the_pivot_branches_go_forward_each_for_itself(home: Home) -> None:
    again = Retry(attempts=2, wait=0)
    shape = {"a": (), "pay": None, "mail": ("pay",), "ship": ("pay",), "close": ("ship",)}
    saga = shaped(
        shape,
        irreversible=("pay", "mail", "ship", "close"),
        options={"pay": {"pivot": True}, "mail": {"retry": again}, "ship": {"retry": again}, "close": {"retry": again}},
    )
    home.world.always("mail", home.world.raises(ValueError("no")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(saga(), id="s-1")
        outcome = await handle.outcome()
        assert outcome.status is SagaStatus.BLOCKED
        assert sorted(home.world.effects) == ["a", "close", "pay", "ship"], "the other branch went on"
        home.world.relent("mail")
        await orchestrator.retry_failed("s-1", reason="mended")
        assert (await handle.outcome()).status is SagaStatus.COMPLETED


async def test_the_one_step_that_comes_after_all_others_is_the_pivot_wherever_it_stands(home: Home) -> None:
    graph = shaped({"pay": ("a", "b"), "a": (), "b": ()}, irreversible=("pay",)).graph
    assert [node.pivot for node in graph.plan.nodes] == [True, False, False]


# --- cancelling and crashing -----------------------------------------------------------------------------------------


async def test_cancelling_cuts_all_that_runs_side_by_side(home: Home) -> None:
    for name in "abc":
        home.world.tell(name, home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped({"a": (), "b": (), "c": ()})(), id="s-1")
        for name in "abc":
            await home.world.until(f"do {name}")
        await orchestrator.cancel("s-1", reason="changed my mind")
        outcome = await handle.outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert {home.world.given[name].reason for name in "abc"} == {"cancelled"}
    assert home.world.effects == []


async def test_what_was_open_side_by_side_runs_again_after_the_process_is_gone(home: Home) -> None:
    for name in "ab":
        home.world.tell(name, home.world.hangs())
    saga = shaped({"a": (), "b": (), "end": None})
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        for name in "ab":
            await home.world.until(f"do {name}")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(saga(), id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert [home.world.journal.count(f"do {name}") for name in ("a", "b", "end")] == [2, 2, 1]


async def test_metadata_names_all_that_runs(home: Home) -> None:
    gate = anyio.Event()
    for name in "ab":
        home.world.tell(name, home.world.waits(gate))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(shaped({"a": (), "b": (), "c": None})(), id="s-1")
        metadata = await handle.metadata()
        assert (metadata.running, metadata.steps_executed, metadata.total_steps) == (("a", "b"), 0, 3)
        gate.set()
        await handle.outcome()


async def test_a_deadline_in_one_branch_is_told_of_that_step(home: Home) -> None:
    home.world.tell("left", home.world.hangs())
    outcome = await ended(home, shaped(DIAMOND, options={"left": {"timeout": 3}}))
    with pytest.raises(StepTimedOut, match="step 'left' \\(2 of 4\\)") as caught:
        outcome.raise_for_status()
    assert caught.value.step_index == 1
    assert home.world.effects == []


async def test_injected_objects_are_shared_by_branches(home: Home) -> None:
    class Both(Saga, name="test_branches.both"):
        @step(after=())
        async def one(self, world: Inject[World]) -> int:
            return id(world)

        @compensates("one")
        async def undo_one(self) -> None: ...

        @step(after=(), readonly=True)
        async def two(self, world: Inject[World]) -> int:
            return id(world)

    outcome = await ended(home, Both)
    assert outcome.outputs == {"one": id(home.world), "two": id(home.world)}
