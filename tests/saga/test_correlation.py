"""What one request sets off is found by its correlation, through sagas and over crashes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context
from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe import (
    EffectUnknown,
    Event,
    EventStore,
    Inject,
    PayloadError,
    RecordedEvent,
    Retry,
    Saga,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    StepContext,
    compensates,
    correlated,
    step,
)
from allframe.events.correlation import Correlation, caused_by, current_correlation
from allframe.saga.recorded import SagaRecord
from allframe.testing import VirtualClock
from tests.saga import world
from tests.saga.crash import crash_image
from tests.saga.journey import Journey
from tests.saga.journey import World as JourneyWorld
from tests.saga.world import Home, trip

pytestmark = pytest.mark.anyio
home = world.home

REQUEST = {"correlation_id": "request-1"}
OF_TRIP = {"correlation_id": "request-1", "causation_id": "trip-1"}


class Booked(Event, name="saga_correlation.booked"):
    what: str


class Seen:
    """The correlation that holds where each part runs."""

    def __init__(self) -> None:
        self.by: dict[str, Correlation | None] = {}

    def look(self, part: str) -> None:
        self.by[part] = current_correlation()


class Look(Saga, name="saga_correlation.Look"):
    """One step on the loop, one on a thread, one that fails."""

    @step
    async def here(self, seen: Inject[Seen], ctx: StepContext) -> Booked:
        seen.look("here")
        ctx.emit(Booked(what="extra"))
        return Booked(what="here")

    @compensates("here")
    async def undo_here(self, seen: Inject[Seen]) -> Booked:
        seen.look("undo here")
        return Booked(what="undone")

    @step
    def there(self, seen: Inject[Seen]) -> None:
        seen.look("there")

    @compensates("there")
    def undo_there(self, seen: Inject[Seen]) -> None:
        seen.look("undo there")

    @step(readonly=True)
    async def fail(self) -> None:
        raise ValueError("no")


async def events(store: EventStore) -> list[RecordedEvent]:
    return [recorded async for recorded in store.read_all()]


async def first_record(store: EventStore, saga_id: str) -> RecordedEvent:
    return await anext(store.read(f"$saga/{saga_id}"))


async def test_a_saga_keeps_what_it_was_started_in_beside_its_records(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with correlated("request-1"), caused_by("command-1"):
            await orchestrator.execute(trip()(), id="t")

    records = [recorded async for recorded in home.store.read("$saga/t")]
    assert records[0].metadata == {**REQUEST, "causation_id": "command-1"}
    assert [record.metadata for record in records[1:]] == [REQUEST] * (len(records) - 1)
    assert b"request-1" not in records[0].data


@pytest.mark.parametrize("request_id", [None, "request-1"])
async def test_what_comes_of_any_record_of_a_saga_belongs_to_what_the_saga_belongs_to(
    home: Home, request_id: str | None
) -> None:
    found: list[Correlation] = []

    async def run() -> None:
        async with home.orchestrator() as orchestrator:
            with nullcontext() if request_id is None else correlated(request_id):
                await orchestrator.start(trip()(), id="t")
            await orchestrator.idle()

    async with anyio.create_task_group() as tasks:
        Context().run(tasks.start_soon, run)

    records = [recorded async for recorded in home.store.read("$saga/t")]
    for record in records:
        with correlated(record) as correlation:
            found.append(correlation)

    assert len(records) > 2
    assert found == [Correlation(request_id or "t", record.id) for record in records]


async def test_steps_compensations_and_threads_belong_to_it_with_the_saga_as_the_cause(home: Home) -> None:
    seen = Seen()
    async with home.orchestrator(provide={Seen: seen}) as orchestrator:
        with correlated("request-1"):
            handle = await orchestrator.start(Look(), id="t")
        assert (await handle.outcome()).status == "compensated"

    expected = Correlation("request-1", "t")
    assert seen.by == dict.fromkeys(("here", "there", "undo here", "undo there"), expected)
    assert current_correlation() is None


async def test_events_of_steps_and_compensations_say_what_they_belong_to(home: Home) -> None:
    async with home.orchestrator(provide={Seen: Seen()}) as orchestrator:
        with correlated("request-1"):
            await (await orchestrator.start(Look(), id="t")).outcome()

    about = {"saga": "t", "step": "here", "correlation_id": "request-1", "causation_id": "t"}
    assert [(each.event.what, each.metadata) for each in await events(home.store)] == [  # type: ignore[attr-defined]
        ("extra", about),
        ("here", about),
        ("undone", about),
    ]


async def test_a_saga_that_was_started_in_nothing_begins_a_correlation(home: Home) -> None:
    seen = Seen()
    with correlated("where the orchestrator was entered"):
        async with home.orchestrator(provide={Seen: seen}) as orchestrator:
            await _outside(orchestrator)

    assert seen.by["here"] == Correlation("t", "t")
    assert (await first_record(home.store, "t")).metadata == {}


async def _outside(orchestrator: SagaOrchestrator) -> None:
    """Run it in a task where no correlation holds."""

    async def start() -> None:
        await (await orchestrator.start(Look(), id="t")).outcome()

    async with anyio.create_task_group() as tasks:
        Context().run(tasks.start_soon, start)


async def test_a_saga_that_a_step_starts_belongs_to_the_same_and_names_the_first_as_its_cause(home: Home) -> None:
    async with home.orchestrator() as orchestrator:

        async def start_another(ctx: StepContext) -> str:
            await orchestrator.execute(trip()(), id="inner")
            await home.store.append("notes", [Booked(what="by the step itself")])
            return "done"

        home.world.tell("first", start_another)
        with correlated("request-1"):
            await orchestrator.execute(trip()(), id="outer")
        inner = await orchestrator.get_saga("inner")

    of_outer = {"correlation_id": "request-1", "causation_id": "outer"}
    assert (await first_record(home.store, "inner")).metadata == of_outer
    assert inner is not None
    assert (inner.correlation_id, inner.causation_id) == ("request-1", "outer")
    assert [each.metadata for each in await events(home.store)] == [of_outer]


async def test_starting_it_again_elsewhere_changes_nothing(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with correlated("request-1"):
            await orchestrator.execute(trip()(), id="t")
        with correlated("request-2"):
            await orchestrator.execute(trip()(), id="t")
        again = await orchestrator.get_saga("t")

    assert again is not None
    assert again.correlation_id == "request-1"


async def test_it_is_there_after_a_crash(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    before = JourneyWorld()
    reached = before.stop_in("do flight")
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, provide={JourneyWorld: before}, clock=clock, grace=0) as orchestrator:
            with correlated("request-1"):
                await orchestrator.start(Journey(), id="trip-1")
            await reached.wait()
            image = crash_image(store, tmp_path)
    after, seen = JourneyWorld(), Seen()

    async def look(ctx: StepContext) -> None:
        seen.look("flight")
        ctx.emit(Booked(what="seat"))

    after.hooks["do flight"] = look
    async with image:
        async with SagaOrchestrator(image, provide={JourneyWorld: after}, clock=clock) as orchestrator:
            await orchestrator.idle()
        found = await events(image)

    assert seen.by == {"flight": Correlation("request-1", "trip-1")}
    assert [each.metadata for each in found] == [{"saga": "trip-1", "step": "flight", **OF_TRIP}]


async def test_the_event_that_a_person_tells_of_belongs_to_it_too(home: Home) -> None:
    class Stuck(Saga, name="saga_correlation.Stuck"):
        @step(pivot=True)
        async def pay(self) -> None: ...

        @step(retry=Retry(attempts=1))
        async def book(self) -> Booked:
            raise EffectUnknown("no answer")

    async with home.orchestrator() as orchestrator:
        with correlated("request-1"):
            await (await orchestrator.start(Stuck(), id="t")).outcome()
        with correlated("request-of-the-operator"):
            await orchestrator.resolve("t", "book", "done", output=Booked(what="by phone"), reason="asked")

    (told,) = await events(home.store)
    assert told.metadata == {"saga": "t", "step": "book", "correlation_id": "request-1", "causation_id": "t"}


async def test_observers_watchers_and_the_saga_that_was_built_tell_it(home: Home) -> None:
    observed: list[Any] = []
    observe: Callable[[Any], None] = observed.append
    built = SagaDefinition("built-1").add_step(Leave())
    async with home.orchestrator(on_record=[observe]) as orchestrator:
        watched = orchestrator.watch("built-1", after=0)
        with correlated("request-1"):
            await orchestrator.execute(built)
        record = await anext(watched)

    assert isinstance(record, SagaRecord)
    assert record.metadata == observed[0].metadata == REQUEST
    assert observed[0] == record
    assert built.metadata().correlation_id == "request-1"


class Leave(SagaStep, name="saga_correlation.Leave"):
    async def execute(self) -> None: ...

    async def compensate(self) -> None: ...


async def test_what_cannot_be_stored_is_refused_before_anything_is_written(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        with correlated("request-\udc80"), pytest.raises(PayloadError, match="The metadata of an event"):
            await orchestrator.start(trip()(), id="t")
        await orchestrator.execute(trip()(), id="t")

    assert (await first_record(home.store, "t")).metadata == {}
