"""Subscriptions: each event once, in order, whoever reads how fast, and nobody waits for a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from allframe.errors import ConcurrencyError, StoreUnavailable
from allframe.events import Event, EventStore, RecordedEvent
from allframe.events.backend import Commit, EventStoreBackend, StoredRow, Versions, Write
from allframe.events.follow import PAGE, Following
from allframe.events.memory import MemoryBackend
from allframe.events.rows import make_rows
from tests.events import outside

pytestmark = pytest.mark.anyio

WRITERS = 16


class Counted(Event, name="test_subscribe.counted"):
    writer: int
    n: int


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


async def take(events: AsyncIterator[RecordedEvent], count: int) -> list[RecordedEvent]:
    return [await anext(events) for _ in range(count)]


async def positions(events: AsyncIterator[RecordedEvent], count: int) -> list[int]:
    return [each.position for each in await take(events, count)]


def counted(count: int, writer: int = 0) -> list[Counted]:
    return [Counted(writer=writer, n=n) for n in range(count)]


async def system(store: EventStore, count: int = 1, stream: str = "$saga/1") -> None:
    """Rows of allframe's own."""
    await store.backend.commit(Commit((Write(stream, make_rows(counted(count), recorded_at=0)),)))


async def nothing_comes(events: AsyncIterator[RecordedEvent]) -> bool:
    with anyio.move_on_after(60) as waited:
        await anext(events)
    return waited.cancelled_caught


# --- what it gives ---------------------------------------------------------------------------------------------------


async def test_catches_up_and_then_gives_what_comes(store: EventStore) -> None:
    await store.append("a", counted(3))
    events = store.subscribe(after=1)

    before = await take(events, 2)
    assert await nothing_comes(events)
    await store.append("b", counted(2))

    assert [(each.position, each.stream, each.event) for each in before] == [
        (2, "a", Counted(writer=0, n=1)),
        (3, "a", Counted(writer=0, n=2)),
    ]
    assert await positions(events, 2) == [4, 5]


async def test_without_a_position_it_begins_now(store: EventStore) -> None:
    await store.append("a", counted(3))
    events = store.subscribe()
    await store.append("a", counted(2))

    assert await positions(events, 2) == [4, 5]


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
async def test_a_long_way_to_catch_up_has_no_gap_at_its_pages(store: EventStore, count: int) -> None:
    await store.append("a", counted(count))
    events = store.subscribe(after=0)

    found = await positions(events, count)
    await store.append("a", counted(1))

    assert [*found, *await positions(events, 1)] == list(range(1, count + 2))


async def test_leaves_out_what_is_ours_unless_it_is_asked_for(store: EventStore) -> None:
    await store.append("a", counted(1))
    await system(store)
    await store.append("a", counted(1))

    assert await positions(store.subscribe(after=0), 2) == [1, 3]
    assert await positions(store.subscribe(after=0, system=True), 3) == [1, 2, 3]
    assert await positions(store.subscribe(after=0, system=True, category="$saga"), 1) == [2]


async def test_gives_the_streams_of_one_category(store: EventStore) -> None:
    events = store.subscribe(after=0, category="account")
    for stream in ("account-1", "order-1", "account-2"):
        await store.append(stream, counted(1))

    assert await positions(events, 2) == [1, 3]
    await store.append("order-1", counted(1))
    assert await nothing_comes(events)
    await store.append("account-1", counted(1))
    assert await positions(events, 1) == [5]


async def test_what_was_refused_is_never_given(store: EventStore) -> None:
    """Others tell their subscribers before they write."""
    events = store.subscribe(after=0)
    await store.append("a", counted(1))
    for _ in range(3):
        with pytest.raises(ConcurrencyError):
            await store.append("a", counted(1, writer=9), expected_version=7)
    await store.append("a", counted(1))

    assert [each.event for each in await take(events, 2)] == counted(1) * 2
    assert await nothing_comes(events)


async def test_what_it_gives_can_be_read_by_everybody(store: EventStore) -> None:
    events = store.subscribe(after=0)

    async def look() -> None:
        for _ in range(20):
            recorded = await anext(events)
            (found,) = [each async for each in store.read("a", after=recorded.revision - 1)][:1]
            assert found.id == recorded.id

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        for event in counted(20):
            await store.append("a", [event])


# --- many at once ----------------------------------------------------------------------------------------------------


async def increment(store: EventStore, stream: str, writer: int, times: int) -> None:
    """Read, count on from what was read, and append if nobody was faster; else again."""
    for _ in range(times):
        while True:
            events = await store.get_events(stream)
            last = events[-1].n if events else 0  # type: ignore[attr-defined]
            try:
                await store.append(stream, [Counted(writer=writer, n=last + 1)], expected_version=len(events))
                break
            except ConcurrencyError:
                continue


async def test_of_sixteen_writers_on_one_stream_no_update_is_lost(store: EventStore) -> None:
    times = 5
    seen: list[list[int]] = [[] for _ in range(4)]

    async def follow(mine: list[int]) -> None:
        events = store.subscribe(after=0)
        while len(mine) < WRITERS * times:
            mine.append((await anext(events)).position)

    async with anyio.create_task_group() as tasks:
        for mine in seen:
            tasks.start_soon(follow, mine)
        for writer in range(WRITERS):
            tasks.start_soon(increment, store, "a", writer, times)

    found = [recorded async for recorded in store.read("a")]
    assert [each.event.n for each in found] == list(range(1, WRITERS * times + 1))  # type: ignore[attr-defined]
    assert [each.revision for each in found] == list(range(1, WRITERS * times + 1))
    assert Counter(each.event.writer for each in found) == dict.fromkeys(range(WRITERS), times)  # type: ignore[attr-defined]
    assert seen == [list(range(1, WRITERS * times + 1))] * 4


async def test_of_sixteen_writers_without_an_expected_version_nothing_is_lost(store: EventStore) -> None:
    versions: list[int] = []

    async def append(writer: int) -> None:
        for n in range(10):
            versions.append(await store.append("a", [Counted(writer=writer, n=n), Counted(writer=writer, n=n)]))

    async with anyio.create_task_group() as tasks:
        for writer in range(WRITERS):
            tasks.start_soon(append, writer)

    found = [recorded async for recorded in store.read("a")]
    assert [each.position for each in found] == [each.revision for each in found] == list(range(1, 20 * WRITERS + 1))
    assert sorted(versions) == list(range(2, 20 * WRITERS + 1, 2))
    for writer in range(WRITERS):
        mine = [each.event.n for each in found if each.event.writer == writer]  # type: ignore[attr-defined]
        assert mine == sorted([*range(10), *range(10)])


async def test_a_slow_subscriber_holds_up_no_writer(store: EventStore) -> None:
    """Nothing is handed in that waits for it: what all writers wrote is there before it took its second event."""
    slow = store.subscribe(after=0)
    await store.append("a", counted(1))
    first = await anext(slow)
    waits = await _waits_of_writers(store, "a")
    assert await _waits_of_writers(store, "b", subscribers=0) == waits

    rest = await positions(slow, 20 * WRITERS)
    assert [first.position, *rest] == list(range(1, 20 * WRITERS + 2))


async def _waits_of_writers(store: EventStore, stream: str, subscribers: int = 50) -> int:
    """How often sixteen writers of ten events each had to wait, beside subscribers who take one event and no more."""
    idle = [store.subscribe(after=0) for _ in range(subscribers)]
    for each in idle:
        await anext(each)
    waits = 0

    async def append(writer: int) -> None:
        nonlocal waits
        for event in counted(10, writer):
            append = store.append(stream, [event]).__await__()
            waits += await _Counting(append)

    async with anyio.create_task_group() as tasks:
        for writer in range(WRITERS):
            tasks.start_soon(append, writer)
    return waits


class _Counting:
    """Runs a coroutine to its end: how often it waited for anything."""

    def __init__(self, running: Any) -> None:
        self._running = running

    def __await__(self) -> Any:
        count, sent = 0, None
        while True:
            try:
                waiting = self._running.send(sent)
            except StopIteration:
                return count
            count += 1
            try:
                sent = yield waiting
            except BaseException as error:
                waiting = self._running.throw(error)


async def test_a_slow_subscriber_holds_a_page_and_no_more(store: EventStore) -> None:
    slow = store.subscribe(after=0)
    assert isinstance(slow, Following)
    await store.append("a", counted(5 * PAGE))

    held = []
    for _ in range(5 * PAGE):
        await anext(slow)
        held.append(len(slow._ready))

    assert max(held) == PAGE - 1


# --- leaving and going on --------------------------------------------------------------------------------------------


async def test_a_subscriber_that_is_cancelled_goes_on_by_position(store: EventStore) -> None:
    """Whenever it is cancelled: between events, within a page, while it waits."""
    seen: list[int] = []

    async def follow(patience: int) -> None:
        with anyio.CancelScope() as scope:
            async for recorded in store.subscribe(after=seen[-1] if seen else 0):
                seen.append(recorded.position)
                patience -= 1
                if patience < 0 or len(seen) == total:
                    scope.cancel()  # it is felt at the next wait
                if patience < -2:
                    break  # what was read already is given without one

    async def write() -> None:
        for n in range(30):
            await store.append("a", counted(n % 7 + 1))

    total = sum(n % 7 + 1 for n in range(30))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        patience = 0
        while len(seen) < total:
            await follow(patience)
            patience = (patience + 1) % 5

    assert seen == list(range(1, total + 1))


async def test_a_cancelled_wait_loses_nothing(store: EventStore) -> None:
    events = store.subscribe(after=0)
    seen: list[int] = []

    async def write() -> None:
        for _ in range(50):
            await store.append("a", counted(1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        waits = 0
        while len(seen) < 50:
            waits += 1
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as racing:
                    if waits % 2:
                        racing.start_soon(_cancel_soon, scope, waits // 2 % 6)
                    seen.append((await anext(events)).position)
                    racing.cancel_scope.cancel()

    assert seen == list(range(1, 51))


async def _cancel_soon(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_subscribers_that_wait_end_when_the_store_closes(store_url: str) -> None:
    said: list[str] = []

    async def follow(events: AsyncIterator[RecordedEvent]) -> None:
        try:
            async for _ in events:
                pass
        except StoreUnavailable as error:
            said.append(str(error))

    async with anyio.create_task_group() as tasks:
        async with EventStore(store_url) as store:
            await store.append("account-1", counted(3))
            for each in (store.subscribe(), store.subscribe(after=0), store.subscribe(category="order")):
                tasks.start_soon(follow, each)
            await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(60) as waited:
            while len(said) < 3:
                await anyio.sleep(1)

    assert not waited.cancelled_caught
    assert all("was closed: use it inside `async with EventStore" in text for text in said)
    with pytest.raises(StoreUnavailable, match="was closed"):
        store.subscribe()


async def test_what_was_read_before_the_store_closed_is_given(store_url: str) -> None:
    async with EventStore(store_url) as store:
        await store.append("a", counted(3))
        events = store.subscribe(after=0)
        assert await positions(events, 1) == [1]

    assert await positions(events, 2) == [2, 3]
    with pytest.raises(StoreUnavailable, match="was closed"):
        await anext(events)


# --- what it costs ---------------------------------------------------------------------------------------------------


class Counting:
    """A memory backend that keeps what is asked of it."""

    def __init__(self) -> None:
        self._inner = MemoryBackend()
        self.asked: list[int] = []
        self.given = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def read_all(self, *, after: int = 0, **rest: Any) -> list[StoredRow]:
        self.asked.append(after)
        found = await self._inner.read_all(after=after, **rest)
        self.given += len(found)
        return found


@pytest.mark.parametrize("choice", [{}, {"category": "account"}, {"category": "account", "system": True}])
async def test_what_is_passed_over_is_not_read_at_each_look(choice: dict[str, Any]) -> None:
    backend = Counting()
    async with EventStore(backend) as store:  # type: ignore[arg-type]
        await store.append("account-1", counted(1))
        events = store.subscribe(after=0, **choice)
        assert await positions(events, 1) == [1]
        for _ in range(5):
            await system(store, 100)
            assert await nothing_comes(events)

    assert backend.asked == [0, 1, 101, 201, 301, 401]


async def test_a_reader_beside_the_owner_does_not_read_again_what_it_passes_over(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as reader:
        await system(store, 100)
        events = reader.subscribe(after=0)
        asked = _asked(reader.backend)
        assert await nothing_comes(events)

    assert len(asked) > 100
    assert asked[0] == 0
    assert set(asked[1:]) == {100}


def _asked(backend: EventStoreBackend) -> list[int]:
    """The positions after which it is read from now on."""
    asked: list[int] = []
    read_all = backend.read_all

    async def noting(*, after: int = 0, **rest: Any) -> list[StoredRow]:
        asked.append(after)
        return await read_all(after=after, **rest)

    backend.read_all = noting  # type: ignore[method-assign]
    return asked


async def test_a_commit_of_a_subscribers_reader_is_not_passed_over(store: EventStore) -> None:
    """What comes while a page is read has no place in it, and is above the position that it counts as read."""
    await system(store, 10)
    events = store.subscribe(after=0)
    read_all = store.backend.read_all
    written: list[Versions] = []

    async def slowly(**query: Any) -> list[StoredRow]:
        found = await read_all(**query)
        if not written:
            written.append(await store.backend.commit(Commit((Write("a", make_rows(counted(1), recorded_at=0)),))))
        return found

    store.backend.read_all = slowly  # type: ignore[method-assign]

    with anyio.move_on_after(60) as waited:
        assert await positions(events, 1) == [11]
    assert not waited.cancelled_caught


# --- another process -------------------------------------------------------------------------------------------------


async def test_a_reader_gets_what_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with outside.running(outside.OWNER, path) as owner:
        assert outside.hear(owner) == "open"
        async with EventStore(f"sqlite:///{path}?mode=ro") as reader:
            events = reader.subscribe(after=0)
            assert await positions(events, 1) == [1]
            for position in (2, 3):
                outside.say(owner)
                assert outside.hear(owner) == "written"
                assert await positions(events, 1) == [position]


async def test_a_reader_without_a_position_begins_at_its_first_look(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as reader:
        await store.append("a", counted(3))
        events = reader.subscribe()
        assert await nothing_comes(events)
        await store.append("a", counted(1))

        assert await positions(events, 1) == [4]
