"""`EventStore` over every backend: appending events and reading them back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
import pytest

from allframe.errors import ConcurrencyError, PayloadError, StoreFormatError, StoreUnavailable
from allframe.events import Event, EventStore, RecordedEvent
from allframe.events.backend import Commit, Row, Write, new_id
from allframe.events.memory import MemoryBackend
from allframe.events.rows import make_rows

pytestmark = pytest.mark.anyio


class Debited(Event, name="test_store.debited", version=2):
    account: str
    amount: Decimal


class Credited(Event, name="test_store.credited"):
    account: str
    amount: Decimal


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


def debited(amount: int) -> Debited:
    return Debited(account="A", amount=Decimal(amount))


async def recorded(found: AsyncIterator[RecordedEvent]) -> list[RecordedEvent]:
    return [each async for each in found]


async def test_events_come_back_equal_and_in_order(store: EventStore) -> None:
    assert await store.append("a", [debited(1), Credited(account="A", amount=Decimal("0.10"))]) == 2
    assert await store.append("a", [debited(3)], expected_version=2) == 3

    assert await store.get_events("a") == [debited(1), Credited(account="A", amount=Decimal("0.10")), debited(3)]
    assert await store.get_events_after("a", 2) == [debited(3)]
    assert await store.get_events("nobody") == []


async def test_a_recorded_event_says_where_it_stands(store: EventStore) -> None:
    before = datetime.now(UTC)
    await store.append("b", [debited(1)])
    await store.append("a", [debited(1), debited(2)], metadata={"by": "me", "depth": [1, {"x": None}]})

    found = (await recorded(store.read("a", after=1)))[0]

    assert (found.position, found.stream, found.revision) == (3, "a", 2)
    assert (found.type, found.schema_version) == ("test_store.debited", 2)
    assert found.data == b'{"account":"A","amount":"2"}'
    assert found.metadata == {"by": "me", "depth": [1, {"x": None}]}
    assert found.event == debited(2)
    assert len(bytes.fromhex(found.id)) == 16
    assert before.replace(microsecond=0) <= found.recorded_at <= datetime.now(UTC)
    assert (await recorded(store.read("b")))[0].metadata == {}


async def test_a_stream_at_another_version_is_refused(store: EventStore) -> None:
    await store.append("a", [debited(1)], expected_version=0)

    with pytest.raises(ConcurrencyError) as caught:
        await store.append("a", [debited(2)], expected_version=0)

    assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("a", 0, 1)
    assert await store.get_events("a") == [debited(1)]


async def test_several_streams_are_written_together_or_not_at_all(store: EventStore) -> None:
    await store.append("b", [debited(1)])

    assert await store.append_many([("a", [debited(1), debited(2)], 0), ("b", [debited(3)], None)]) == [2, 2]
    with pytest.raises(ConcurrencyError):
        await store.append_many([("c", [debited(1)], 0), ("b", [debited(3)], 1)])

    assert await store.get_events("c") == []
    assert await store.append_many([]) == []
    assert await store.append_many([("c", [debited(1)], 0), ("c", [debited(2)], 1)]) == [1, 2]


async def test_all_events_are_read_in_their_order_without_our_own(store: EventStore) -> None:
    await store.append("a", [debited(1)])
    await store.backend.commit(Commit((Write("$saga/1", make_rows([debited(9)], recorded_at=0)),)))
    await store.append("b", [debited(2), debited(3)])

    assert await store.get_all_events() == [debited(1), debited(2), debited(3)]
    assert await store.get_all_events(after=1, limit=1) == [debited(2)]
    assert await store.get_all_events(limit=0) == []
    assert [each.stream for each in await recorded(store.read_all())] == ["a", "b", "b"]
    assert [each.position for each in await recorded(store.read_all(after=1, system=True))] == [2, 3, 4]


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
async def test_long_streams_are_read_in_pages(store: EventStore, count: int) -> None:
    rows = tuple(Row(new_id(), "Happened", 1, b"{}", 0) for _ in range(count))
    await store.backend.commit(Commit((Write("a", rows),)))

    assert [each.revision for each in await recorded(store.read("a"))] == list(range(1, count + 1))
    assert [each.position for each in await recorded(store.read_all(after=1))] == list(range(2, count + 1))


@pytest.mark.parametrize("stream", ["$saga/1", "$", "$anything"])
async def test_our_own_streams_are_not_appended_to(store: EventStore, stream: str) -> None:
    with pytest.raises(PayloadError, match="names that begin with '\\$' are allframe's own"):
        await store.append(stream, [debited(1)])

    assert await recorded(store.read_all(system=True)) == []


async def test_appending_nothing_is_refused(store: EventStore) -> None:
    with pytest.raises(PayloadError, match="There are no events to append to the stream 'a'"):
        await store.append("a", [], expected_version=7)
    with pytest.raises(PayloadError, match="There are no events to append to the stream 'b'"):
        await store.append_many([("a", [debited(1)], None), ("b", [], None)])

    assert await store.get_events("a") == []


@pytest.mark.parametrize("metadata", [{"at": datetime(2026, 1, 1, tzinfo=UTC)}, {"lock": object()}, {1: "one"}])
async def test_metadata_that_does_not_come_back_equal_is_refused(store: EventStore, metadata: dict[Any, Any]) -> None:
    with pytest.raises(PayloadError, match="The metadata of an event"):
        await store.append("a", [debited(1)], metadata=metadata)

    assert await store.get_events("a") == []


async def test_what_is_no_event_is_refused(store: EventStore) -> None:
    with pytest.raises(PayloadError, match="'paid' is not an Event"):
        await store.append("a", ["paid"])  # type: ignore[list-item]


async def test_an_event_of_no_known_class_is_read_as_recorded_and_refused_as_event(store: EventStore) -> None:
    await store.backend.commit(Commit((Write("a", (Row(new_id(), "test_store.forgotten", 1, b"{}", 0),)),)))

    assert [each.type for each in await recorded(store.read("a"))] == ["test_store.forgotten"]
    with pytest.raises(StoreFormatError, match=r"holds an event 'test_store\.forgotten' of version 1"):
        await store.get_events("a")


async def test_flush_returns_when_abandoned_appends_are_decided(store: EventStore) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.append("a", [debited(1)])

    await store.flush()

    assert (await store.stats()).total_events == 1


async def test_stats_tell_ours_from_yours(store: EventStore) -> None:
    await store.append("a", [debited(1), debited(2)])
    await store.append("b", [debited(1)])
    await store.backend.commit(Commit((Write("$saga/1", make_rows([debited(9)], recorded_at=0)),)))

    stats = await store.stats()

    assert (stats.total_events, stats.total_streams) == (4, 3)
    assert (stats.system_events, stats.system_streams) == (1, 1)


async def test_stats_that_cannot_be_counted_are_an_error(tmp_path: Any) -> None:
    async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
        await store.append("a", [debited(1)])
        with closing(sqlite3.connect(tmp_path / "store.db")) as shell:
            shell.execute("ALTER TABLE events RENAME TO lost")

        with pytest.raises(StoreUnavailable, match="SQLite could not read .*no such table"):
            await store.stats()


async def test_a_store_that_is_not_open_says_so(store_url: str) -> None:
    store = EventStore(store_url)

    with pytest.raises(StoreUnavailable, match="was not opened yet: use it inside `async with EventStore"):
        await store.append("a", [debited(1)])
    async with store:
        with pytest.raises(StoreUnavailable, match="is open already: use it as it is"):
            await store.open()
        await store.append("a", [debited(1)])
    await store.close()
    with pytest.raises(StoreUnavailable, match="was closed: use it inside"):
        await store.get_events("a")


async def test_without_a_backend_it_is_memory() -> None:
    async with EventStore() as store:
        assert isinstance(store.backend, MemoryBackend)
        assert await store.append("a", [debited(1)]) == 1


async def test_a_store_to_look_at_can_be_read_and_flushed(tmp_path: Any) -> None:
    async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
        await store.append("a", [debited(1)])
    async with EventStore(f"sqlite:///{tmp_path}/store.db?mode=ro") as store:
        await store.flush()
        assert await store.get_events("a") == [debited(1)]
        with pytest.raises(StoreUnavailable, match="mode=ro"):
            await store.append("a", [debited(2)])
