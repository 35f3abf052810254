"""News of commits reaches whoever waits, from any thread, on any event loop, and nobody who is gone."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from allframe import Event, EventStore
from allframe.events.changes import Changes

pytestmark = pytest.mark.anyio


class Happened(Event, name="test.changes.happened"):
    pass


async def test_news_comes_from_another_thread() -> None:
    changes = Changes()
    with changes.listening("a") as listener:
        thread = threading.Thread(target=changes.announce, args=(7, {"a", "b"}))
        thread.start()
        await listener.wait()
        thread.join()

    assert changes.position == 7


async def test_what_is_announced_before_the_wait_is_heard_and_what_came_earlier_is_not() -> None:
    changes = Changes()
    changes.announce(1, ["a"])
    with changes.listening() as listener:
        with anyio.move_on_after(0.01) as waited:
            await listener.wait()
        changes.announce(2, ["a"])
        await listener.wait()

    assert waited.cancelled_caught


async def test_the_position_never_goes_back() -> None:
    changes = Changes()
    changes.announce(5, ["a"])
    changes.announce(3, ["b"])

    assert changes.position == 5


def test_a_listener_whose_loop_has_ended_is_no_trouble() -> None:
    changes = Changes()

    async def listen() -> None:
        left = changes.listening()
        left.__enter__()
        gone.append(left)

    gone: list[object] = []
    asyncio.run(listen())

    changes.announce(1, ["a"])


async def test_a_store_that_is_opened_again_knows_its_position(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    for opened in (0, 1):
        async with EventStore(url) as store:
            assert store.backend.changes is not None
            assert store.backend.changes.position == opened
            await store.append("a", [Happened()])
    async with EventStore(f"{url}?mode=ro") as reader:
        assert reader.backend.changes is None
