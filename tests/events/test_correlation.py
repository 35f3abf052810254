"""What one request sets off can be found by its correlation, and what came of what by the cause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import to_thread

from allframe import Event, EventStore, RecordedEvent, correlated
from allframe.events.correlation import Correlation, caused_by, current_correlation

pytestmark = pytest.mark.anyio


class Happened(Event, name="correlation.happened"):
    what: str


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as opened:
        yield opened


async def _only(store: EventStore, stream: str) -> RecordedEvent:
    (recorded,) = [recorded async for recorded in store.read(stream)]
    return recorded


async def test_an_event_outside_of_any_correlation_has_no_metadata(store: EventStore) -> None:
    await store.append("a", [Happened(what="x")])

    assert (await _only(store, "a")).metadata == {}


async def test_events_carry_the_request_that_they_were_appended_in(store: EventStore) -> None:
    with correlated("request-1"):
        await store.append("a", [Happened(what="x")])
    await store.append("b", [Happened(what="y")])

    assert (await _only(store, "a")).metadata == {"correlation_id": "request-1"}
    assert (await _only(store, "b")).metadata == {}


async def test_what_comes_of_an_event_names_it_as_its_cause_and_keeps_its_correlation(store: EventStore) -> None:
    with correlated("request-1"):
        await store.append("a", [Happened(what="x")])
    first = await _only(store, "a")

    with correlated(first):
        await store.append("b", [Happened(what="y")])

    assert (await _only(store, "b")).metadata == {"correlation_id": "request-1", "causation_id": first.id}


async def test_an_event_without_a_correlation_begins_one(store: EventStore) -> None:
    await store.append("a", [Happened(what="x")])
    first = await _only(store, "a")

    with correlated(first) as correlation:
        assert correlation == Correlation(first.id, first.id)


async def test_what_the_caller_says_wins(store: EventStore) -> None:
    with correlated("request-1"):
        await store.append("a", [Happened(what="x")], metadata={"correlation_id": "mine", "by": "ada"})

    assert (await _only(store, "a")).metadata == {"correlation_id": "mine", "by": "ada"}


async def test_tasks_and_threads_inherit_it_and_it_ends_with_its_block(store: EventStore) -> None:
    seen: list[Correlation | None] = []

    async def look() -> None:
        seen.append(current_correlation())

    with correlated("request-1"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
        seen.append(await to_thread.run_sync(current_correlation))
    seen.append(current_correlation())

    assert seen == [Correlation("request-1"), Correlation("request-1"), None]


def test_a_cause_keeps_the_correlation_around_it_and_begins_one_where_there_is_none() -> None:
    with caused_by("command-1") as alone:
        with caused_by("command-2") as inner:
            with caused_by("saga-3", "of-its-own") as named:
                pass

    assert alone == Correlation("command-1", "command-1")
    assert inner == Correlation("command-1", "command-2")
    assert named == Correlation("of-its-own", "saga-3")


@pytest.mark.parametrize("by", [None, 5, "", b"request-1"])
def test_what_is_no_request_is_refused_at_once(by: Any) -> None:
    with pytest.raises(
        TypeError, match=f"Expected the id of a request, which is a text, or a RecordedEvent. Found {by!r}"
    ):
        with correlated(by):
            pass
