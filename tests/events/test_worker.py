"""The thread of a store, and how it wakes the event loops whose tasks wait for it."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from allframe import Event, EventStore, StoreUnavailable
from allframe.events.backend import new_ids
from allframe.events.writer import Worker


class Happened(Event, name="worker.happened"):
    pass


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("worker")
    worker.start()
    yield worker
    if worker._thread.is_alive():
        worker.stop()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_calls_are_made_in_order_on_one_thread(worker: Worker, backend: str) -> None:
    made: list[int] = []

    async def call(number: int) -> None:
        assert await worker.call(lambda: made.append(number) or threading.current_thread()) is worker._thread  # type: ignore[func-returns-value]

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, number)

    anyio.run(main, backend=backend)

    assert sorted(made) == list(range(20))
    assert backend == "trio" or made == sorted(made), "trio begins its tasks in no order"


def test_what_a_call_raises_is_raised_where_it_was_made(worker: Worker) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)
        assert await worker.call(lambda: 7) == 7

    asyncio.run(main())


def test_loops_may_use_it_one_after_the_other_and_at_once(worker: Worker) -> None:
    async def main() -> int:
        return sum([await worker.call(lambda: 1) for _ in range(50)])

    assert [asyncio.run(main()) for _ in range(3)] == [50] * 3
    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(lambda _: asyncio.run(main()), range(8))] == [50] * 8


def test_a_loop_that_ends_before_its_answer_harms_nobody(worker: Worker) -> None:
    go_on = threading.Event()

    async def leave() -> None:
        waiting = asyncio.create_task(worker.call(go_on.wait))
        await asyncio.sleep(0)
        waiting.cancel()

    async def stay() -> int:
        return await worker.call(lambda: 7)

    asyncio.run(leave())
    go_on.set()

    assert asyncio.run(stay()) == 7


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="nobody tells which files are open")
def test_a_closed_store_leaves_no_file_open(tmp_path: object) -> None:
    async def main() -> int:
        before = open_files()
        for _ in range(3):
            async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
                await store.flush()
                assert [event async for event in store.read_all()] == []
        return open_files() - before

    asyncio.run(main())  # what Python opens once and keeps
    assert asyncio.run(main()) == 0


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="there is no eventfd")
def test_what_was_rung_before_the_end_is_answered(worker: Worker) -> None:
    """Whoever closes the store may run before those whose answer has just come."""

    async def main() -> list[int]:
        tasks = [asyncio.create_task(worker.call(lambda: 7)) for _ in range(3)]
        await asyncio.sleep(0)
        worker.stop()  # blocks: all is rung, and nothing answered
        worker.leave()
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(main()) == [7, 7, 7]


def test_ids_are_uuids_of_version_7_and_unique() -> None:
    ids = [uuid.UUID(bytes=each) for each in new_ids(5000)]

    assert len(set(ids)) == 5000
    assert {(each.version, each.variant) for each in ids} == {(7, uuid.RFC_4122)}
    # Each of the other 74 bits is random: over so many, none is always the same.
    every, none = -1, 0
    for each in ids:
        every, none = every & each.int, none | each.int
    assert every & ((1 << 80) - 1) == (7 << 76) | (0b10 << 62)
    assert none & ((1 << 80) - 1) == (1 << 80) - 1 - (8 << 76) - (0b01 << 62)


def test_what_is_handed_in_after_the_end_is_refused_at_once(worker: Worker) -> None:
    worker.stop()

    async def main() -> None:
        with pytest.raises(StoreUnavailable, match="The store is not open: it was closed meanwhile"):
            await asyncio.wait_for(worker.call(lambda: 7), 5)

    asyncio.run(main())


def test_a_store_that_is_closed_while_other_threads_use_it_leaves_none_of_them_waiting(tmp_path: Path) -> None:
    """Each hands in from a loop of its own, and the store is closed by one of them, at any moment."""
    ended: list[str] = []

    async def use(store: EventStore, number: int, started: threading.Event) -> None:
        try:
            while True:
                if await store.append(f"s-{number}", [Happened()]) == 3:
                    started.set()
                await store.stats()
        except StoreUnavailable as error:
            ended.append(str(error))

    async def close(store: EventStore, started: threading.Event) -> None:
        started.wait()
        await store.close()

    for rounds in range(20):
        store = EventStore(f"sqlite:///{tmp_path}/store-{rounds}.db?durability=process")
        asyncio.run(store.open())
        started = threading.Event()
        users = [threading.Thread(target=asyncio.run, args=(use(store, n, started),), daemon=True) for n in range(3)]
        closers = [threading.Thread(target=asyncio.run, args=(close(store, started),), daemon=True) for _ in range(2)]
        for thread in (*users, *closers):
            thread.start()
        for thread in (*users, *closers):
            thread.join(10)
            assert not thread.is_alive(), "it waits for ever"

    assert len(ended) == 3 * 20
    assert all("not open" in text or "closed" in text for text in ended)
