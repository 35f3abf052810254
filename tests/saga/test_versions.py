"""A saga that goes on under newer code is given its outputs as the events of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from allframe import (
    Event,
    EventStore,
    Inject,
    Saga,
    SagaBlocked,
    SagaOrchestrator,
    SagaStatus,
    VersionRegistry,
    compensates,
    step,
    upcasts,
)

pytestmark = pytest.mark.anyio


class BookedV1(Event, name="saga_versions.booked", version=1):
    room: str


class Booked(Event, name="saga_versions.booked", version=2):
    room: str
    nights: int


@upcasts("saga_versions.booked", from_version=1)
def one_night(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "nights": 1}


VERSIONS = VersionRegistry([one_night])


class World:
    """What the steps of a program do, old or new, and what they were given."""

    def __init__(self, booked: Event, *, stuck: bool = False) -> None:
        self.booked, self.stuck = booked, stuck
        self.reached = anyio.Event()
        self.seen: list[Any] = []


class Stay(Saga, name="saga_versions.stay"):
    guest: str

    @step
    async def book(self, world: Inject[World]) -> Event:
        return world.booked

    @compensates("book")
    async def release(self) -> None: ...

    @step
    async def list_all(self, world: Inject[World]) -> list[Event]:
        return [world.booked, world.booked]

    @compensates("list_all")
    async def unlist(self) -> None: ...

    @step(timeout=None, readonly=True)
    async def pay(self, book: Event, list_all: list[Event], world: Inject[World]) -> None:
        world.reached.set()
        if world.stuck:
            await anyio.sleep_forever()
        world.seen += [book, list_all]


def program(store: EventStore, world: World) -> SagaOrchestrator:
    return SagaOrchestrator(store, provide={World: world}, sagas=[Stay], grace=0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


async def _left_by_the_old_program(url: str, booked: Event) -> None:
    old = World(booked, stuck=True)
    async with EventStore(url) as store, program(store, old) as orchestrator:
        await orchestrator.start(Stay(guest="ada"), id="stay")
        await old.reached.wait()


TODAY = Booked(room="7", nights=1)


async def test_a_step_is_given_an_output_of_the_past_as_the_event_of_today(url: str) -> None:
    await _left_by_the_old_program(url, BookedV1(room="7"))
    new = World(TODAY)

    async with EventStore(url, versions=VERSIONS) as store, program(store, new) as orchestrator:
        outcome = await (await orchestrator.start(Stay(guest="ada"), id="stay")).outcome()

    assert outcome.status is SagaStatus.COMPLETED
    assert new.seen == [TODAY, [TODAY, TODAY]]
    assert outcome.outputs["book"] == TODAY
    assert outcome.events == [TODAY, TODAY, TODAY]


async def test_an_outcome_that_is_read_from_the_records_has_the_events_of_today(url: str) -> None:
    async with EventStore(url) as store, program(store, World(BookedV1(room="7"))) as orchestrator:
        before = await orchestrator.execute(Stay(guest="ada"), id="stay")

    async with EventStore(url, versions=VERSIONS) as store, program(store, World(TODAY)) as orchestrator:
        outcome = await orchestrator.execute(Stay(guest="ada"), id="stay")

        assert await store.get_events("stay") == [TODAY, TODAY, TODAY]
    assert before.events == [BookedV1(room="7")] * 3
    assert (outcome.outputs["book"], outcome.events) == (TODAY, [TODAY, TODAY, TODAY])


async def test_an_event_of_the_past_that_a_step_returns_is_that_of_today_live_as_after_a_crash(url: str) -> None:
    live = World(BookedV1(room="7"))

    async with EventStore(url, versions=VERSIONS) as store, program(store, live) as orchestrator:
        outcome = await orchestrator.execute(Stay(guest="ada"), id="stay")
        stored = [recorded async for recorded in store.read("stay")]

    assert [recorded.schema_version for recorded in stored] == [1, 1, 1], "it is stored as it was returned"
    assert live.seen == [TODAY, [TODAY, TODAY]]
    assert outcome.outputs["book"] == TODAY
    assert outcome.events == [TODAY, TODAY, TODAY]


async def test_an_output_that_an_upcaster_fails_on_blocks_the_saga_until_it_is_mended(url: str) -> None:
    await _left_by_the_old_program(url, BookedV1(room="7"))

    @upcasts("saga_versions.booked", from_version=1)
    def broken(data: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no such room")

    versions = VersionRegistry([broken])
    async with EventStore(url, versions=versions) as store, program(store, World(TODAY)) as orchestrator:
        with pytest.raises(SagaBlocked) as blocked:
            await orchestrator.execute(Stay(guest="ada"), id="stay")

    new = World(TODAY)
    async with EventStore(url, versions=VERSIONS) as store, program(store, new) as orchestrator:
        outcome = await (await orchestrator.start(Stay(guest="ada"), id="stay")).outcome()

    assert "'saga_versions.booked' of version 1, the stored output of step 'book', cannot be upcast: " in str(
        blocked.value
    )
    assert broken.where in str(blocked.value)
    assert "failed with LookupError: no such room. What is stored was not touched" in str(blocked.value)
    assert (outcome.status, new.seen) == (SagaStatus.COMPLETED, [TODAY, [TODAY, TODAY]])
