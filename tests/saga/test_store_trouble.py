"""The store fails in the middle of a saga: nothing begins, results are held, and the same rows are written again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from allframe import EventStore, SagaOrchestrator, StoreUnavailable
from allframe.events.backend import Commit, Row, Write, new_id
from allframe.saga.encoding import encode
from allframe.saga.monitor import Monitor
from allframe.saga.records import SagaRecovered
from allframe.saga.streams import saga_stream
from allframe.testing import VirtualClock
from tests.saga.journey import Journey, World

pytestmark = pytest.mark.anyio


class Trouble:
    """Makes the commits of a store fail, before they are written or after."""

    def __init__(self, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: Callable[[int], str | None] = lambda number: None
        self.commits: list[Commit] = []
        self._commit: Any = store.backend.commit
        monkeypatch.setattr(store.backend, "commit", self.commit)

    async def commit(self, commit: Commit) -> Any:
        self.commits.append(commit)
        how = self.fails(len(self.commits))
        if how == "full":
            raise StoreUnavailable("The disk is full.")
        result = await self._commit(commit)
        if how == "lost reply":
            raise StoreUnavailable("Nobody knows.", in_doubt=True)
        return result


@pytest.mark.parametrize("how", ["full", "lost reply"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6])
async def test_every_commit_may_fail_for_a_while_and_the_saga_ends_as_if_it_had_not(
    store_url: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, nth: int, how: str
) -> None:
    world = World()
    world.fail_in("do car", ValueError("no car"))
    async with EventStore(store_url) as store:
        trouble = Trouble(store, monkeypatch)
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            trouble.fails = lambda number: how if nth <= number < nth + 3 else None
            if nth == 1 and how == "full":
                with pytest.raises(StoreUnavailable, match="full"):
                    await orchestrator.start(Journey(), id="trip-1")
                assert world.log == []
                assert await orchestrator.get_saga("trip-1") is None
                trouble.fails = lambda number: None
            handle = await orchestrator.start(Journey(), id="trip-1")
            assert (await handle.outcome()).status == "compensated"
            assert orchestrator.store_trouble is None
        entries = await Monitor(store).timeline("trip-1")

    assert world.log == ["do hotel 1", "do flight 1", "do car 1", "undo flight 1", "undo hotel 1"]
    assert [entry.revision for entry in entries] == list(range(1, len(entries) + 1))


async def test_while_the_store_cannot_be_written_nothing_begins_and_it_can_be_seen(
    store_url: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    async with EventStore(store_url) as store:
        trouble = Trouble(store, monkeypatch)
        async with SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator:
            trouble.fails = lambda number: "full" if number > 1 else None
            handle = await orchestrator.start(Journey(), id="trip-1")
            await anyio.sleep(3600)
            assert world.log == ["do hotel 1"]
            assert str(orchestrator.store_trouble) == "The disk is full."
            rows = {commit.writes[-1].rows for commit in trouble.commits[1:]}
            assert len(rows) == 1, "the very same rows are written again"

            trouble.fails = lambda number: None
            assert (await handle.outcome()).status == "completed"
            assert orchestrator.store_trouble is None


async def test_results_that_cannot_be_written_before_leaving_are_named_and_run_again(
    store_url: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    async with EventStore(store_url) as store:
        trouble = Trouble(store, monkeypatch)
        async with SagaOrchestrator(store, provide={World: world}, clock=clock, grace=5) as orchestrator:
            trouble.fails = lambda number: "full" if number > 1 else None
            await orchestrator.start(Journey(), id="trip-1")
            await anyio.sleep(1)
        assert "saga trip-1: its last records could not be written" in caplog.text
        trouble.fails = lambda number: None
        again = World()
        async with SagaOrchestrator(store, provide={World: again}, clock=clock) as orchestrator:
            assert (await orchestrator.execute(Journey(), id="trip-1")).status == "completed"

    assert again.log[0] == "do hotel 2"


async def test_somebody_elses_write_stops_the_saga_here(store_url: str, clock: VirtualClock) -> None:
    world = World()
    async with (
        EventStore(store_url) as store,
        SagaOrchestrator(store, provide={World: world}, clock=clock) as orchestrator,
    ):

        async def intrude(ctx: object) -> None:
            monitor = Monitor(store)
            stored = await monitor.read("trip-1")
            assert stored is not None
            record = SagaRecovered(epoch=99, recoveries=0)
            row = Row(new_id(), record.type, 1, encode(record), stored.records[-1][1])
            await store.backend.commit(Commit((Write(saga_stream("trip-1"), (row,), len(stored.records)),)))

        world.hooks["do flight"] = intrude
        with pytest.raises(Exception, match="is at version 3, not at the expected version 2"):
            await orchestrator.execute(Journey(), id="trip-1")

    assert world.log == ["do hotel 1", "do flight 1"], "a zombie begins nothing more"
