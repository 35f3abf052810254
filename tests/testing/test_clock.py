"""The virtual clock: time passes as far as somebody waits for it, and no thread is overtaken."""

from __future__ import annotations

import asyncio
import importlib.machinery
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest
import trio

from allframe import EventStore
from allframe.clock import threads_at_work, waiting_for_thread
from allframe.testing import VirtualClock
from tests.virtual import ASYNCIO_ONLY, TRIO_ONLY

pytestmark = pytest.mark.anyio
START = datetime(2026, 1, 1, tzinfo=UTC)


class NoTrio:
    """Finds nothing, as where trio is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] == "trio":
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)


def work() -> str:
    """What takes a thread much longer than the clock's patience."""
    threading.Event().wait(0.05)
    return "done"


async def test_an_hour_passes_on_the_loop_and_on_the_wall(virtual_clock: VirtualClock) -> None:
    before = anyio.current_time()

    await anyio.sleep(3600)

    assert anyio.current_time() - before == pytest.approx(3600)
    assert virtual_clock.time() == anyio.current_time()
    assert virtual_clock.now() == START + timedelta(hours=1)


async def test_whoever_is_due_first_runs_first() -> None:
    told: list[tuple[str, float]] = []

    async def wait(name: str, *seconds: float) -> None:
        for each in seconds:
            await anyio.sleep(each)
            told.append((name, round(anyio.current_time(), 6)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "a", 1, 3)
        tasks.start_soon(wait, "b", 2, 1)

    assert told == [("a", 1), ("b", 2), ("b", 3), ("a", 4)]


async def test_a_thread_is_not_overtaken() -> None:
    with anyio.move_on_after(1) as scope:
        assert await anyio.to_thread.run_sync(work) == "done"

    assert not scope.cancelled_caught
    assert anyio.current_time() == 0


@ASYNCIO_ONLY
async def test_a_thread_of_asyncios_own_is_not_overtaken() -> None:
    async with asyncio.timeout(1):
        assert await asyncio.to_thread(work) == "done"


@TRIO_ONLY
async def test_a_thread_of_trios_own_is_not_overtaken() -> None:
    with trio.fail_after(1):
        assert await trio.to_thread.run_sync(work) == "done"


async def test_a_thread_that_the_clock_cannot_see_is_not_overtaken_while_it_is_held(
    virtual_clock: VirtualClock,
) -> None:
    limiter = anyio.CapacityLimiter(1)
    with anyio.move_on_after(1) as scope, virtual_clock.hold():
        await anyio.to_thread.run_sync(work, limiter=limiter)
    with anyio.move_on_after(1) as overtaken:
        await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)

    assert not scope.cancelled_caught
    assert overtaken.cancelled_caught


async def test_a_thread_that_is_told_of_is_not_overtaken() -> None:
    limiter = anyio.CapacityLimiter(1)
    with anyio.move_on_after(1) as scope, waiting_for_thread:
        assert threads_at_work() == 1
        await anyio.to_thread.run_sync(work, limiter=limiter)

    assert not scope.cancelled_caught
    assert threads_at_work() == 0


async def test_a_store_on_a_file_is_not_overtaken(tmp_path: Any) -> None:
    with anyio.move_on_after(0.001) as scope:
        async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
            await store.stats()

    assert not scope.cancelled_caught


async def test_time_can_pass_while_nobody_runs(virtual_clock: VirtualClock) -> None:
    with anyio.move_on_after(10) as scope:
        virtual_clock.advance(11)
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(5)

    assert scope.cancelled_caught
    assert virtual_clock.time() == pytest.approx(11)


async def test_a_thread_can_say_how_long_it_took(virtual_clock: VirtualClock) -> None:
    gone = threading.Event()

    def long() -> None:
        virtual_clock.advance(11)
        gone.wait(10)

    with anyio.move_on_after(10) as scope:
        try:
            await anyio.to_thread.run_sync(long, abandon_on_cancel=True)
        finally:
            gone.set()

    assert scope.cancelled_caught


async def test_the_wall_can_be_set_without_time_passing(virtual_clock: VirtualClock) -> None:
    virtual_clock.shift(days=-1)

    assert virtual_clock.now() == START - timedelta(days=1)
    assert anyio.current_time() == 0


def test_time_does_not_go_back(virtual_clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match=r"advanced by 0 seconds and more, found -1\. To set the wall back, use shift"):
        virtual_clock.advance(-1)


async def test_a_loop_knows_its_clock(virtual_clock: VirtualClock) -> None:
    assert VirtualClock.running() is virtual_clock


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_in_real_time_has_none(backend: str) -> None:
    async def ask() -> VirtualClock | None:
        return VirtualClock.running()

    assert anyio.run(ask, backend=backend) is None
    assert VirtualClock.running() is None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_function_is_run_from_a_plain_one(backend: str) -> None:
    clock = VirtualClock(datetime(1999, 12, 31, 23, tzinfo=UTC))

    async def wait(hours: int) -> str:
        await anyio.sleep(hours * 3600)
        return f"{clock.now():%Y}"

    assert clock.run(wait, 1, backend=backend) == "2000"
    assert clock.run(wait, 24 * 366, backend=backend) == "2001"


def test_it_runs_loops_that_somebody_else_makes(virtual_clock: VirtualClock) -> None:
    with asyncio.Runner(loop_factory=virtual_clock.new_loop) as runner:
        runner.run(asyncio.sleep(3600))

    assert virtual_clock.time() == pytest.approx(3600)


def test_another_backend_is_told(virtual_clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="runs on 'asyncio', 'uvloop' and 'trio', found 'curio'"):
        virtual_clock.backend("curio")


def test_without_trio_the_error_names_the_extra(virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "trio" or name.endswith(".trio_clock")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoTrio()])

    with pytest.raises(
        ModuleNotFoundError, match=r"needs trio, which is not installed: pip install 'allframe\[testing\]'"
    ):
        virtual_clock.backend("trio")
