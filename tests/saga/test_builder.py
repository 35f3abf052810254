"""A saga that was built step by step runs, is rolled back and is recovered like any other."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from allframe import (
    AlreadyExecuting,
    CompensationFailed,
    DefinitionError,
    DependencyMissing,
    Event,
    EventStore,
    Inject,
    OperationRefused,
    PayloadError,
    Refused,
    Retry,
    Saga,
    SagaCancelled,
    SagaDefinition,
    SagaIdConflict,
    SagaIdInvalid,
    SagaMetadata,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    StepContext,
    StepFailed,
    StepRefused,
    StepTimedOut,
    Unknown,
    step,
)
from allframe.saga import building
from tests.saga import world
from tests.saga.crash import crash_image
from tests.saga.refusal import problems
from tests.saga.world import Home, World
from tests.sources import ROOT

pytestmark = pytest.mark.anyio
home = world.home


class Moved(Event, name="test_builder.moved"):
    what: str


class Do(SagaStep, name="test_builder.do", timeout=10, compensation_retry=Retry(attempts=2, wait=1, jitter=0)):
    """Does what the world was told, and can undo it."""

    note: str = ""

    async def execute(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    async def compensate(self, output: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, output)


class Again(Do, name="test_builder.again", retry=Retry(attempts=3, wait=5, max_wait=5, jitter=0)):
    """The same, tried three times."""


class Emit(SagaStep, name="test_builder.emit"):
    """Says so in events, forward and back."""

    async def execute(self) -> list[Moved]:
        return [Moved(what="there"), Moved(what="further")]

    async def compensate(self, output: list[Moved] | Unknown) -> Moved:
        assert not isinstance(output, Unknown)
        return Moved(what=f"back from {output[-1].what}")


class Look(SagaStep, name="test_builder.look", readonly=True):
    async def execute(self) -> int:
        return 7


class Point(SagaStep, name="test_builder.point", pivot=True):
    async def execute(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


class Last(SagaStep, name="test_builder.last"):
    """Nothing can undo it."""

    async def execute(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


class Ahead(SagaStep, name="test_builder.ahead", retry=Retry(attempts=2)):
    """For after the pivot."""

    async def execute(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


def trip(saga_id: str = "trip-1", *, note: str = "", name: str | None = None) -> SagaDefinition:
    """Three steps that can be undone: ``first``, ``second``, ``third``."""
    return (
        SagaDefinition(saga_id, name=name)
        .add_step(Do(), name="first")
        .add_step(Do(note=note), name="second")
        .add_step(Do(), name="third")
    )


def edges(definition: SagaDefinition) -> dict[str, list[str]]:
    """For each step, the steps that it waits for."""
    nodes = definition.graph.plan.nodes
    return {node.name: [nodes[i].name for i in node.after] for node in nodes}


# --- building --------------------------------------------------------------------------------------------------------


def test_adding_a_step_gives_another_definition_and_leaves_the_first_as_it_is() -> None:
    empty = SagaDefinition("trip-1", name="trip")
    one = empty.add_step(Do(), name="first")
    two = one.add_step(Do(note="x"))

    assert [len(definition.steps) for definition in (empty, one, two)] == [0, 1, 2]
    assert (two.id, two.name, dict(two.steps)) == (
        "trip-1",
        "trip",
        {"first": Do(), "test_builder.do": Do(note="x")},
    )
    assert repr(two) == "<SagaDefinition 'trip-1': first -> test_builder.do>"


def test_definitions_of_the_same_steps_are_equal() -> None:
    assert trip() == trip()
    assert hash(trip()) == hash(trip())
    assert len({trip(), trip("trip-2"), trip(name="other"), trip(note="other")}) == 4


@pytest.mark.parametrize(
    ("stored", "called"),
    [("DebitStep", "debit_step"), ("HTTPCallOf2Parts", "http_call_of2_parts"), ("bank.debit", "bank.debit")],
)
def test_a_step_is_called_by_what_its_class_is_stored_under_in_snake_case(stored: str, called: str) -> None:
    class Some(SagaStep, name=stored):
        async def execute(self) -> None: ...

    assert list(SagaDefinition("x").add_step(Some()).steps) == [called]


def test_a_step_waits_for_all_that_were_added_before_it_or_for_those_that_it_names() -> None:
    built = (
        SagaDefinition("x")
        .add_step(Do(), name="a")
        .add_step(Do(), name="b")
        .add_step(Do(), name="c", after="a")
        .add_step(Do(), name="d", after=())
        .add_step(Do(), name="e", after=("a", "b", "d"))
        .add_step(Do(), name="f")
    )

    assert edges(built) == {"a": [], "b": ["a"], "c": ["a"], "d": [], "e": ["b", "d"], "f": ["c", "e"]}


def test_what_is_no_step_object_is_a_type_error() -> None:
    with pytest.raises(TypeError) as refusal:
        SagaDefinition("x").add_step(Do)  # type: ignore[arg-type]

    assert str(refusal.value) == (
        "add_step() takes a SagaStep, found <class 'tests.saga.test_builder.Do'>. Make an object of it: Do(...)."
    )


def test_af108_and_af109_a_name_that_is_there_already_and_one_that_is_not() -> None:
    built = SagaDefinition("x").add_step(Do(), name="a")

    assert problems(lambda: built.add_step(Do(), name="a", after=("a", "b"))) == [
        ("AF109", "A step is called 'a' already. Give this one a name of its own: add_step(..., name=...)."),
        ("AF108", "'a' comes after 'b', and no such step was added before it. There are: a."),
    ]
    assert problems(lambda: built.add_step(Do(), name="a/b"))[0][1].startswith(
        "A step has the name 'a/b'. Expected 1 to"
    )


def test_af119_a_name_that_cannot_be_one() -> None:
    assert problems(lambda: SagaDefinition("x", name="")) == [
        ("AF119", "Its name is ''. Expected 1 to 100 printable characters without '/' and not beginning with '$'.")
    ]


def test_a_definition_in_the_making_is_not_wrong_yet() -> None:
    SagaDefinition("x").add_step(Last()).add_step(Do()).add_step(Point())


def test_af111_no_steps_with_the_place() -> None:
    with pytest.raises(DefinitionError) as refusal:
        SagaDefinition("x").check()

    (problem,) = refusal.value.problems
    line = test_af111_no_steps_with_the_place.__code__.co_firstlineno + 2
    assert (problem.rule, problem.where) == ("AF111", f"{__file__}:{line}")
    assert problem.text == "It has no steps, so running it would do nothing. Put some in with add_step()."


def test_af104_a_step_that_others_follow_or_run_beside_and_nothing_undoes() -> None:
    before = SagaDefinition("x").add_step(Last(), name="a").add_step(Look()).add_step(Do(), name="b")
    beside = SagaDefinition("x").add_step(Do(), name="a").add_step(Last(), name="b").add_step(Do(), name="c", after="a")

    ((rule, text),) = problems(before.check)
    assert rule == "AF104"
    assert text == (
        "'a' has no compensation, and test_builder.look, b can fail after it: its effect would be left behind. Give Last a "
        "`compensate`, or declare it readonly=True if it has no effect."
    )
    ((rule, text),) = problems(beside.check)
    assert rule == "AF104"
    assert text == (
        "'b' has no compensation, and c can fail beside it: its effect would be left behind. Give Last a `compensate`, or "
        "declare it readonly=True if it has no effect. If what undoes a undoes this effect as well, an empty compensation "
        "says so."
    )


def test_af104_tells_what_helps_by_what_comes_after() -> None:
    forward = SagaDefinition("x").add_step(Last(), name="a").add_step(Last(), name="b")
    reading = SagaDefinition("x").add_step(Last(), name="a").add_step(Look(), name="b")

    assert problems(forward.check)[0][1].endswith(
        "or pivot=True if the saga must only go forward after it, with retry=Retry(...) on b."
    )
    assert problems(reading.check)[0][1].endswith("b only reads: do that in 'a', or before it.")


def test_a_place_where_a_step_was_added_goes_with_its_problem() -> None:
    built = SagaDefinition("x").add_step(Last(), name="a")
    built = built.add_step(Do(), name="b")

    with pytest.raises(DefinitionError) as refusal:
        built.check()

    line = test_a_place_where_a_step_was_added_goes_with_its_problem.__code__.co_firstlineno + 1
    assert refusal.value.problems[0].where == f"{__file__}:{line}"


def test_the_one_last_step_that_nothing_undoes_is_the_pivot() -> None:
    built = SagaDefinition("x").add_step(Do()).add_step(Last())
    split = SagaDefinition("x").add_step(Do(), name="a").add_step(Do(), name="b", after=()).add_step(Last())

    assert built.graph.plan.pivot == 1
    assert split.graph.plan.pivot == 2
    assert trip().graph.plan.pivot is None


def test_af112_what_may_not_stand_around_a_pivot() -> None:
    start = SagaDefinition("x").add_step(Do(), name="a")

    assert [text.partition(":")[0] for _, text in problems(start.add_step(Point()).add_step(Again()).check)] == [
        "'test_builder.again' comes after the pivot 'test_builder.point', and Again has a `compensate`"
    ]
    assert [text.partition(":")[0] for _, text in problems(start.add_step(Point()).add_step(Last()).check)] == [
        "'test_builder.last' comes after the pivot 'test_builder.point', and Last has no retry"
    ]
    two = start.add_step(Point(), name="p").add_step(Point(), name="q", after="a")
    assert [text.partition(".")[0] for _, text in problems(two.check)] == [
        "'p' and 'q' are both a pivot",
        "'q' runs beside the pivot 'p': whether it must be undone could not be said",
    ]
    start.add_step(Point()).add_step(Ahead()).check()


def test_before_it_runs_its_metadata_counts_its_steps() -> None:
    metadata = trip(name="trip").metadata()

    assert trip().status() is SagaStatus.NOT_STARTED
    assert (metadata.id, metadata.saga, metadata.status) == ("trip-1", "trip", SagaStatus.NOT_STARTED)
    assert (metadata.steps_executed, metadata.total_steps, metadata.running) == (0, 3, ())
    assert metadata.started_at == metadata.updated_at


def test_a_thousand_steps_are_built_in_no_time() -> None:
    built = SagaDefinition("x")
    for number in range(1000):
        built = built.add_step(Do(), name=f"s{number}")

    assert edges(built)["s999"] == ["s998"]


# --- running ---------------------------------------------------------------------------------------------------------


async def test_its_steps_run_one_after_the_other_and_give_their_outputs_by_name(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(trip())

    assert home.world.journal == ["do first", "do second", "do third"]
    assert (outcome.id, outcome.status) == ("trip-1", "completed")
    assert outcome.outputs == {"first": "first done", "second": "second done", "third": "third done"}
    assert outcome.output == "third done"
    assert [ctx.idempotency_key for ctx in home.world.contexts] == [
        "trip-1/first/do",
        "trip-1/second/do",
        "trip-1/third/do",
    ]


async def test_the_events_of_its_steps_are_those_of_the_saga(home: Home) -> None:
    built = SagaDefinition("trip-1").add_step(Emit()).add_step(Do(), name="second")
    home.world.tell("second", home.world.raises(Refused("no")))
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(built)
        outcome = await handle.outcome()

    told = [Moved(what="there"), Moved(what="further"), Moved(what="back from further")]
    assert outcome.events == told
    assert await home.store.get_events("trip-1") == told
    assert outcome.outputs == {"test_builder.emit": told[:2]}


async def test_a_failure_undoes_the_newest_step_first_with_what_each_returned(home: Home) -> None:
    home.world.tell("third", home.world.raises(Refused("no room")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepRefused) as refusal:
            await orchestrator.execute(trip(name="trip"))

    assert str(refusal.value) == (
        "trip 'trip-1', step 'third' (3 of 3), was refused: no room. Rolled back: second, first. Nothing is left of it."
    )
    assert home.world.journal[-2:] == ["undo second", "undo first"]
    assert home.world.given == {"second": "second done", "first": "first done"}
    assert home.world.effects == []


async def test_a_step_that_passes_its_timeout_is_undone_too_and_told_that_nobody_knows(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut) as refusal:
            await orchestrator.execute(trip())

    assert (refusal.value.duration, refusal.value.step_index) == (10, 1)
    assert isinstance(home.world.given["second"], Unknown)
    assert home.world.effects == []


async def test_a_step_is_retried_as_its_class_says(home: Home) -> None:
    home.world.tell("second", home.world.raises(ValueError("1")), home.world.raises(ValueError("2")))
    built = SagaDefinition("trip-1").add_step(Again(), name="second").add_step(Look())
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(built)

    assert [ctx.attempt for ctx in home.world.contexts] == [1, 2, 3]
    assert home.world.times[1] - home.world.times[0] == pytest.approx(5)
    assert outcome.outputs == {"second": "second done", "test_builder.look": 7}


async def test_steps_that_do_not_wait_for_each_other_run_side_by_side(home: Home) -> None:
    both = anyio.Event()

    async def meet(ctx: StepContext) -> str:
        if {"do left", "do right"} <= set(home.world.journal):
            both.set()
        await both.wait()
        return f"{ctx.step} met"

    home.world.tell("left", meet)
    home.world.tell("right", meet)
    built = (
        SagaDefinition("trip-1")
        .add_step(Do(), name="root")
        .add_step(Do(), name="left", after="root")
        .add_step(Do(), name="right", after="root")
        .add_step(Do(), name="join")
    )
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(built)

    assert outcome.outputs["left"], outcome.outputs["right"] == ("left met", "right met")
    assert home.world.journal[-1] == "do join"


async def test_sync_steps_run_on_threads(home: Home) -> None:
    main = threading.get_ident()

    class Sync(SagaStep, name="test_builder.sync"):
        def execute(self) -> bool:
            return threading.get_ident() != main

        def compensate(self) -> None: ...

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(SagaDefinition("trip-1").add_step(Sync()))

    assert outcome.output is True


async def test_a_thousand_steps_run(home: Home) -> None:
    built = SagaDefinition("long")
    for number in range(1000):
        built = built.add_step(Look(), name=f"s{number}")
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(built)

    assert len(outcome.outputs) == 1000


async def test_what_it_injects_and_nobody_provides_is_said_before_anything_is_written(home: Home) -> None:
    async with home.orchestrator(provide={}) as orchestrator:
        with pytest.raises(DependencyMissing) as refusal:
            await orchestrator.execute(trip())

        assert "nothing provides World (step 'first', parameter 'world')" in str(refusal.value)
        assert await orchestrator.get_saga("trip-1") is None


async def test_what_could_not_be_rolled_back_is_refused_before_anything_is_written(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(DefinitionError, match=r"(?s)Saga trip has 1 problem:.*AF104"):
            await orchestrator.execute(SagaDefinition("trip-1", name="trip").add_step(Last()).add_step(Do()))

        assert await orchestrator.get_saga("trip-1") is None


async def test_a_step_that_cannot_be_stored_is_refused_before_anything_is_written(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(PayloadError, match="The input of SagaDefinition cannot be stored"):
            await orchestrator.execute(SagaDefinition("trip-1").add_step(Do.model_construct(note=7)))

        assert await orchestrator.get_saga("trip-1") is None


async def test_a_cancelled_one_is_undone(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(trip())
        await home.world.until("do second")
        await handle.cancel(reason="changed my mind")
        with pytest.raises(SagaCancelled):
            (await handle.outcome()).raise_for_status()

    assert home.world.effects == []


async def test_a_rollback_that_got_stuck_goes_on_when_it_is_retried(home: Home) -> None:
    home.world.tell("second", home.world.raises(Refused("no")))
    home.world.always("undo first", home.world.raises(ValueError("stuck")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(CompensationFailed, match="the compensation of 'first' failed"):
            await orchestrator.execute(trip())
        home.world.relent("undo first")
        await orchestrator.retry_failed("trip-1", reason="mended")
        with pytest.raises(StepRefused):
            await orchestrator.execute(trip())

    assert home.world.effects == []


# --- what it knows of itself -----------------------------------------------------------------------------------------


async def test_it_tells_where_it_stands_while_it_runs_and_after(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    built = trip()
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(built)
        await home.world.until("do second")

        assert built.status() is SagaStatus.EXECUTING
        assert built.metadata() == await handle.metadata()
        assert (built.metadata().steps_executed, built.metadata().running) == (1, ("second",))
        assert trip().status() is SagaStatus.NOT_STARTED  # another object, which nobody ran
        await handle.outcome()

    assert built.status() is SagaStatus.COMPENSATED
    assert built.metadata().failed_step == "second"


async def test_what_is_made_of_one_that_ran_has_not_run(home: Home) -> None:
    built = trip()
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(built)

    assert built.status() is SagaStatus.COMPLETED
    assert built.add_step(Do(), name="fourth").status() is SagaStatus.NOT_STARTED


async def test_it_tells_where_it_stands_if_it_was_over_when_it_was_asked_for(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(trip())
    await home.reopen()
    built = trip()
    async with home.orchestrator() as orchestrator:
        await orchestrator.start(built)

        assert built.metadata() == await orchestrator.get_saga("trip-1")
        assert built.status() is SagaStatus.COMPLETED


async def test_it_tells_where_it_stands_if_it_was_recovered_when_it_was_asked_for(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            built = trip()
            outcome = await (await orchestrator.start(built)).outcome()

            assert built.status() is outcome.status is SagaStatus.COMPLETED


# --- ids -------------------------------------------------------------------------------------------------------------


async def test_it_has_an_id_and_takes_no_other(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaIdInvalid) as refusal:
            await orchestrator.execute(trip(), id="trip-2")
        assert str(refusal.value) == (
            "This definition is the saga 'trip-1', and was to be started as 'trip-2'. Leave the id away, or build another: "
            "SagaDefinition('trip-2')."
        )
        with pytest.raises(SagaIdInvalid, match="1 to 200 printable characters"):
            await orchestrator.execute(trip("$1"))
        assert (await orchestrator.execute(trip(), id="trip-1")).id == "trip-1"


async def test_the_same_again_is_the_same_saga(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(trip())
        again = await orchestrator.execute(trip())

    assert again.outputs["third"] == "third done"
    assert home.world.journal == ["do first", "do second", "do third"]


async def test_the_same_while_it_runs_is_executing_already(home: Home) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(trip())
        assert (await orchestrator.start(trip())).id == "trip-1"
        with pytest.raises(AlreadyExecuting):
            await orchestrator.execute(trip())
        await handle.outcome()


class Other(Saga, name="SagaDefinition"):
    """A saga class that is listed as definitions are."""

    @step
    async def first(self) -> None: ...


OTHERS: dict[str, Callable[[], Any]] = {
    "another field": lambda: trip(note="other"),
    "another name": lambda: trip(name="other"),
    "fewer steps": lambda: SagaDefinition("trip-1").add_step(Do(), name="first"),
    "another order": lambda: (
        SagaDefinition("trip-1")
        .add_step(Do(), name="first")
        .add_step(Do(), name="second", after=())
        .add_step(Do(), name="third")
    ),
    "another class": lambda: (
        SagaDefinition("trip-1")
        .add_step(Do(), name="first")
        .add_step(Again(), name="second")
        .add_step(Do(), name="third")
    ),
    "a saga class": Other,
}


@pytest.mark.parametrize("other", OTHERS)
async def test_another_saga_of_its_id_is_a_conflict(home: Home, other: str) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(trip())
        with pytest.raises(SagaIdConflict):
            await orchestrator.start(OTHERS[other](), id="trip-1")
        await handle.outcome()
        with pytest.raises(SagaIdConflict):
            await orchestrator.start(OTHERS[other](), id="trip-1")


async def test_one_of_the_id_of_a_saga_class_is_a_conflict(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Other(), id="trip-1")
        with pytest.raises(SagaIdConflict):
            await orchestrator.start(trip())


async def test_a_saga_class_whose_input_looks_like_the_steps_is_another(home: Home) -> None:
    class Looks(Saga, name="SagaDefinition"):
        steps: list[JsonValue]

        @step
        async def first(self) -> None: ...

    async with home.orchestrator(sagas=[Looks, Do]) as orchestrator:
        await orchestrator.execute(trip())
        stored = await home.monitor.read("trip-1")
        assert stored is not None
        looks = Looks.model_validate_json(stored.started.input)

        with pytest.raises(SagaIdConflict):
            await orchestrator.execute(looks, id="trip-1")


async def test_the_same_is_the_same_though_its_graph_was_made_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_KEPT", 1)
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(trip())
        before = trip().graph
        SagaDefinition("x").add_step(Do(), name="made only here").check()
        assert trip().graph is not before

        assert (await orchestrator.start(trip())).id == handle.id
        await handle.outcome()


# --- which steps an orchestrator has ---------------------------------------------------------------------------------


async def test_a_step_that_the_orchestrator_was_not_given_is_refused(home: Home) -> None:
    async with home.orchestrator(sagas=[Do]) as orchestrator:
        await orchestrator.execute(trip())
        with pytest.raises(OperationRefused) as refusal:
            await orchestrator.execute(SagaDefinition("x").add_step(Do()).add_step(Look()))

    assert str(refusal.value) == (
        "The step 'test_builder.look' of saga 'x' is a Look, which is not among the steps that this orchestrator was "
        "given, and would not be recovered by it. It has: Do. Add it to sagas=."
    )


async def test_a_module_gives_its_steps_as_well(home: Home) -> None:
    module = ModuleType("steps")
    vars(module).update(Do=Do, Other=Other, World=World)
    async with home.orchestrator(sagas=[module]) as orchestrator:
        await orchestrator.execute(trip())
        await orchestrator.execute(Other())


async def test_steps_that_could_not_be_told_apart_are_refused_before_anything_is_written(home: Home) -> None:
    class One(SagaStep, name="test_builder.twin"):
        async def execute(self) -> None: ...

    class Two(SagaStep, name="test_builder.twin"):
        async def execute(self) -> None: ...

    async with home.orchestrator() as orchestrator:
        with pytest.raises(DefinitionError, match=r"(?s)The step name 'test_builder.twin', version 1, has 1 problem:"):
            await orchestrator.execute(SagaDefinition("trip-1").add_step(One()))

        assert await orchestrator.get_saga("trip-1") is None
    del Two


async def test_what_is_neither_a_class_nor_a_module_is_a_type_error(home: Home) -> None:
    with pytest.raises(TypeError, match="sagas= takes classes of sagas and of steps, and modules of them, found 7"):
        home.orchestrator(sagas=[7])


# --- recovery --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["SagaDefinition", "trip"])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


class crashed_in_second:
    """A store whose owner died in the second step of `trip`, and the world that the step changed."""

    def __init__(self, url: str, clock: world.VirtualClock, folder: Path, *, name: str | None = None) -> None:
        self._url, self._clock, self._folder, self._name = url, clock, folder, name

    async def __aenter__(self) -> tuple[EventStore, World]:
        before = World()
        before.tell("second", before.hangs())
        async with EventStore(self._url) as store:
            async with SagaOrchestrator(
                store, sagas=[Do], provide={World: before}, clock=self._clock, grace=0
            ) as orchestrator:
                await orchestrator.start(trip(name=self._name))
                await before.until("do second")
                self._image = crash_image(store, self._folder)
        return await self._image.__aenter__(), before

    async def __aexit__(self, *error: Any) -> None:
        await self._image.__aexit__(*error)


async def over(orchestrator: SagaOrchestrator) -> SagaMetadata:
    """Where the saga stands when nothing runs any more."""
    while await orchestrator.running_count():
        await anyio.sleep(1)
    metadata = await orchestrator.get_saga("trip-1")
    assert metadata is not None
    return metadata


async def test_after_a_crash_it_goes_on_by_itself(store_url: str, clock: world.VirtualClock, tmp_path: Path) -> None:
    async with crashed_in_second(store_url, clock, tmp_path, name="trip") as (store, _):
        after = World()
        async with SagaOrchestrator(store, provide={World: after}, clock=clock) as orchestrator:
            metadata = await over(orchestrator)

        assert (metadata.saga, metadata.status, metadata.steps_executed) == ("trip", "completed", 3)
        assert after.journal == ["do second", "do third"]
        assert [ctx.attempt for ctx in after.contexts] == [2, 1]


async def test_after_a_crash_it_is_rolled_back_with_what_was_stored(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        after = World()
        after.tell("third", after.raises(Refused("no")))
        async with SagaOrchestrator(store, provide={World: after}, clock=clock) as orchestrator:
            metadata = await over(orchestrator)

        assert metadata.status == "compensated"
        assert after.given == {"first": "first done", "second": "second done"}


async def test_without_the_class_of_a_step_it_is_blocked_until_that_is_there(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, sagas=[Look], provide={World: World()}, clock=clock) as orchestrator:
            metadata = await over(orchestrator)
            assert (metadata.status, metadata.attention) == ("blocked", True)
            assert metadata.reason == (
                "This program lacks what the saga is built of: the step class 'test_builder.do' of version 1, for first, "
                "second, third. Import the modules that define it, before the orchestrator is entered."
            )
        async with SagaOrchestrator(store, sagas=[Do], provide={World: World()}, clock=clock) as orchestrator:
            while (await over(orchestrator)).status != "completed":
                await anyio.sleep(1)


async def test_whoever_starts_a_blocked_one_is_told(store_url: str, clock: world.VirtualClock, tmp_path: Path) -> None:
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, sagas=[Do], clock=clock) as orchestrator:
            metadata = await over(orchestrator)
            assert metadata.status == "blocked"
            assert "Nothing provides World (step 'first', parameter 'world')" in str(metadata.reason)
        async with SagaOrchestrator(store, provide={World: World()}, clock=clock) as orchestrator:
            assert (await orchestrator.execute(trip())).status == "completed"


def changed(**body: Any) -> type[SagaStep]:
    """`Do` as a later version of the program has it."""
    body = {"__module__": __name__, "__qualname__": "Changed", **body}
    namespace = type(SagaStep).__prepare__("Do", (SagaStep,))
    for name, value in body.items():
        namespace[name] = value  # type: ignore[index]
    return type(SagaStep)("Do", (SagaStep,), namespace, name="test_builder.do")  # type: ignore[return-value, arg-type]


async def _execute(self: Any, world: Inject[World], ctx: StepContext) -> str:
    return str(await world.do(ctx))


async def _compensate(self: Any, output: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
    await world.undo(ctx, output)


async def test_a_class_that_changed_without_harm_goes_on(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    wider = changed(
        execute=_execute, compensate=_compensate, __annotations__={"note": str, "more": int}, note="", more=7
    )
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, sagas=[wider], provide={World: World()}, clock=clock) as orchestrator:
            assert (await over(orchestrator)).status == "completed"


async def test_a_class_whose_fields_do_not_fit_any_more_blocks(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    other = changed(execute=_execute, compensate=_compensate, __annotations__={"note": int})
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, sagas=[other], provide={World: World()}, clock=clock) as orchestrator:
            metadata = await over(orchestrator)

    assert metadata.status == "blocked"
    assert "Its stored input cannot be read" in str(metadata.reason)


async def test_a_class_that_lost_its_compensation_blocks(
    store_url: str, clock: world.VirtualClock, tmp_path: Path
) -> None:
    poorer = changed(execute=_execute, __annotations__={"note": str}, note="")
    async with crashed_in_second(store_url, clock, tmp_path) as (store, _):
        async with SagaOrchestrator(store, sagas=[poorer], provide={World: World()}, clock=clock) as orchestrator:
            metadata = await over(orchestrator)

    assert metadata.status == "blocked"
    assert "'first' has no compensation, and second, third can fail after it" in str(metadata.reason)


def test_another_process_goes_on_after_one_was_killed(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"

    first = _program("begin", url, log)
    second = _program("go-on", url, log)

    assert first.returncode == 9, first.stderr
    assert second.stdout == "program completed 3 of 3\n", second.stderr
    assert log.read_text().splitlines() == ["1 do 1", "2 do 1", "2 do 2", "3 do 1"]


def _program(how: str, url: str, log: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.saga.built_program", how, url, str(log)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


async def test_how_one_ended_can_be_told_without_the_classes_of_its_steps(home: Home) -> None:
    home.world.tell("third", home.world.raises(ValueError("no room")))
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(trip())
    async with home.orchestrator(sagas=[]) as orchestrator:
        metadata = await orchestrator.get_saga("trip-1")
        history = await orchestrator.get_history(saga="SagaDefinition")

    assert metadata is not None
    assert (metadata.failed_step, history) == ("third", [metadata])
