"""The socket beside the file: how another process reaches the owner of a store, and what the owner bears."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydantic_core import from_json, to_json

from allframe import (
    EventStore,
    OperationRefused,
    Saga,
    SagaNotFound,
    SagaOrchestrator,
    SagaStatus,
    StoreInUse,
    StoreUnavailable,
    compensates,
    step,
)
from allframe.saga import control
from allframe.saga.asking import Unanswered, ask_owner, check_folder, socket_places
from allframe.saga.deliver import deliver
from allframe.saga.monitor import Monitor
from allframe.saga.orders import Order
from allframe.saga.records import CancelRequested
from tests.saga.journey import Journey, World

pytestmark = pytest.mark.anyio
CANCEL = Order("cancel", "it rains", "ada")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Real clocks: what comes through a socket takes real time."""
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@asynccontextmanager
async def owner(path: Path, **options: Any) -> AsyncIterator[tuple[SagaOrchestrator, World]]:
    """An orchestrator in whose saga ``j`` the flight hangs."""
    world = World()
    reached = world.stop_in("do flight")
    url = f"sqlite:///{path}?durability=process"
    async with SagaOrchestrator(url, provide={World: world}, **{"grace": 0.2, **options}) as orchestrator:
        await orchestrator.start(Journey(), id="j")
        await reached.wait()
        yield orchestrator, world


async def status(path: Path) -> SagaStatus:
    async with EventStore(f"sqlite:///{path}?mode=ro") as store:
        metadata = await Monitor(store).get_saga("j")
    assert metadata is not None
    return metadata.status


def request(**more: Any) -> bytes:
    said = {"allframe": 1, "id": "j", "verb": "cancel", "reason": "it rains", "actor": "ada", **more}
    return to_json(said) + b"\n"


async def say(path: Path, data: bytes, *, end: bool = False) -> bytes:
    """What the owner answers to these bytes; ``end``: nothing follows them."""

    async with await anyio.connect_unix(f"{path}.sock") as stream:
        answer = b""
        try:
            await stream.send(data)
            if end:
                await stream.send_eof()
            while True:
                answer += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return answer


# --- where it lies ---------------------------------------------------------------------------------------------------


async def test_only_its_user_may_use_it_and_it_goes_with_its_owner(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path):
        there = os.lstat(f"{path}.sock")
        assert stat.S_ISSOCK(there.st_mode)
        assert stat.S_IMODE(there.st_mode) == 0o600

    assert not os.path.lexists(f"{path}.sock")


async def test_one_that_was_left_behind_is_replaced(folder: Path) -> None:
    path = folder / "bank.db"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{path}.sock")

    async with owner(path):
        receipt = await ask_owner(str(path), "j", CANCEL)

    assert receipt is not None
    assert receipt.recorded


async def test_what_is_no_socket_is_left_alone(folder: Path) -> None:
    path = folder / "bank.db"
    Path(f"{path}.sock").write_text("mine")

    async with owner(path):
        receipt = await ask_owner(str(path), "j", CANCEL)

    assert receipt is not None, "it listens elsewhere"
    assert Path(f"{path}.sock").read_text() == "mine"


async def test_a_path_that_is_too_long_for_a_socket_is_found_elsewhere(folder: Path) -> None:
    deep = folder / ("deep" * 20) / ("deeper" * 10)
    deep.mkdir(parents=True)
    path = deep / "bank.db"
    async with owner(path):
        places = socket_places(str(path))
        assert f"{path}.sock" not in places
        (used,) = [place for place in places if os.path.lexists(place)]
        assert stat.S_IMODE(os.lstat(os.path.dirname(used)).st_mode) == 0o700
        assert stat.S_IMODE(os.lstat(used).st_mode) == 0o600
        receipt = await deliver(f"sqlite:///{path}", "j", CANCEL)

    assert receipt.pid == os.getpid()
    assert not os.path.lexists(used)


def test_a_folder_that_others_may_write_is_not_trusted(folder: Path) -> None:
    shared = folder / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)

    with pytest.raises(PermissionError, match="is not a folder that only this user may use"):
        check_folder(str(shared / "x.sock"), str(folder / "bank.db"))


async def test_a_memory_store_has_none() -> None:
    with pytest.raises(StoreUnavailable, match="A memory store ends with its process"):
        await deliver("memory://", "j", CANCEL)


# --- what it carries out ---------------------------------------------------------------------------------------------


async def test_an_order_reaches_the_owner(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path) as (orchestrator, world):
        receipt = await deliver(f"sqlite:///{path}", "j", CANCEL)
        outcome = await (await orchestrator.start(Journey(), id="j")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert world.log[-2:] == ["undo flight 1", "undo hotel 1"]
    assert receipt.text == f"j: cancelled. pid {os.getpid()} undoes flight, then hotel."
    assert (receipt.undoes, receipt.status, receipt.pid) == (("flight", "hotel"), "executing", os.getpid())


async def test_a_refusal_comes_back_as_the_error_that_it_is(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path):
        with pytest.raises(OperationRefused) as refused:
            await deliver(f"sqlite:///{path}", "j", Order("retry", "why not", "ada"))
        with pytest.raises(OperationRefused, match="at revision 2, not at the expected revision 1"):
            await deliver(f"sqlite:///{path}", "j", Order("cancel", "why not", "ada", 1))
        with pytest.raises(SagaNotFound, match="The store holds no saga 'nobody', so none can be cancelled"):
            await ask_owner(str(path), "nobody", CANCEL)

    assert str(refused.value) == (
        "Saga 'j' is executing, and only one that is failed or blocked can be retried. Possible now: cancel, abandon."
    )


async def test_fifty_processes_at_once_write_one_record(folder: Path) -> None:
    path = folder / "bank.db"
    results: list[str] = []

    async def ask(n: int) -> None:
        try:
            await deliver(f"sqlite:///{path}", "j", Order("cancel", "it rains", f"ada {n}", 2))
            results.append("accepted")
        except OperationRefused:
            results.append("refused")

    async with owner(path) as (orchestrator, _):
        async with anyio.create_task_group() as group:
            for n in range(50):
                group.start_soon(ask, n)
        await (await orchestrator.start(Journey(), id="j")).outcome()

    assert (results.count("accepted"), results.count("refused")) == (1, 49)
    async with EventStore(f"sqlite:///{path}?mode=ro") as store:
        timeline = await Monitor(store).timeline("j")
    assert len([e for e in timeline if isinstance(e.record, CancelRequested)]) == 1


# --- what it bears ---------------------------------------------------------------------------------------------------

BAD = {
    "garbage": b"\x00\xff\xfe{{{\n",
    "no object": b"[]\n",
    "nothing": b"\n",
    "too deep": b"[" * 5000 + b"\n",
    "another version": request(allframe=2),
    "an unknown verb": request(verb="explode"),
    "an unknown field": request(why="not"),
    "no reason": request(reason=""),
    "a number as text": request(expected_revision="2"),
    "a step that is none": request(verb="skip", step=7),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_what_is_no_request_is_refused_and_changes_nothing(folder: Path, data: bytes) -> None:
    path = folder / "bank.db"
    async with owner(path):
        answer = from_json(await say(path, data))
        assert await status(path) is SagaStatus.EXECUTING
        assert answer["code"] == "usage"
        assert (await say(path, request())) != b"", "it listens still"


@pytest.mark.parametrize("data", [b"", b'{"allframe":1,', request()[:-1]], ids=["nothing", "half", "no line end"])
async def test_half_a_request_changes_nothing(folder: Path, data: bytes) -> None:
    path = folder / "bank.db"
    async with owner(path):
        assert await say(path, data, end=True) == b""
        assert await status(path) is SagaStatus.EXECUTING


async def test_a_request_that_is_too_long_is_cut_off(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path):
        async with await anyio.connect_unix(f"{path}.sock") as stream:
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                while True:
                    await stream.send(b"x" * 100_000)
        assert await status(path) is SagaStatus.EXECUTING


async def test_a_hundred_that_say_nothing_do_not_hold_up_leaving(folder: Path) -> None:
    path = folder / "bank.db"
    idle = []
    async with owner(path, grace=30):
        for _ in range(100):
            one = socket.socket(socket.AF_UNIX)
            await anyio.to_thread.run_sync(one.connect, f"{path}.sock")
            idle.append(one)
        await anyio.to_thread.run_sync(idle[0].send, b'{"allframe":')
        async with EventStore(f"sqlite:///{path}?mode=ro") as store:
            assert await Monitor(store).get_saga("j") is not None
        for one in idle[50:]:
            one.close()
        with anyio.move_on_after(20) as waiting:
            while (receipt := await ask_or_none(path)) is None:
                await anyio.sleep(0.02)
        assert not waiting.cancelled_caught
        assert receipt is not None
        assert receipt.recorded
        start = anyio.current_time()

    assert anyio.current_time() - start < 10, "those that say nothing are not waited for"
    for one in idle:
        one.close()


async def ask_or_none(path: Path) -> Any:
    try:
        return await ask_owner(str(path), "j", CANCEL)
    except Unanswered:
        return None


async def test_whoever_asked_and_went_away_is_served_all_the_same(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path) as (orchestrator, _):
        async with await anyio.connect_unix(f"{path}.sock") as stream:
            await stream.send(request())
        outcome = await (await orchestrator.start(Journey(), id="j")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED


async def test_another_user_is_not_heard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "bank.db"
    async with owner(path):
        with monkeypatch.context() as patch:
            patch.setattr(control, "_is_ours", lambda connection: False)
            assert await say(path, request()) == b""
        assert await status(path) is SagaStatus.EXECUTING


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="this system does not tell who connects")
def test_who_connects_is_told_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = socket.socketpair()
    with one, other:
        assert control._is_ours(one)
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert not control._is_ours(one)


# --- no owner --------------------------------------------------------------------------------------------------------


async def test_without_an_owner_the_record_is_written_and_the_next_one_goes_on(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path):
        pass
    receipt = await deliver(f"sqlite:///{path}", "j", CANCEL)
    assert receipt.text == (
        "j: cancelled. No process has bank.db open: the rollback (flight, then hotel) begins when the next one opens it."
    )
    again = await deliver(f"sqlite:///{path}", "j", CANCEL)
    assert not again.recorded

    world = World()
    async with SagaOrchestrator(f"sqlite:///{path}", provide={World: world}) as orchestrator:
        outcome = await (await orchestrator.start(Journey(), id="j")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert world.log == ["undo flight 1", "undo hotel 1"]


class Deposit(Saga, name="control.Deposit"):
    """A compensation that cannot work without the output, which is lost."""

    @step
    async def pay(self) -> int:
        raise TimeoutError("read")

    @compensates("pay", if_unknown="fail")
    async def pay_back(self, pay: int) -> None: ...

    @step(readonly=True)
    async def look(self) -> None: ...


async def test_what_stays_in_effect_is_told_without_an_owner(folder: Path) -> None:
    path = folder / "bank.db"
    async with SagaOrchestrator(f"sqlite:///{path}") as orchestrator:
        assert (await (await orchestrator.start(Deposit(), id="d")).outcome()).status is SagaStatus.FAILED

    receipt = await deliver(f"sqlite:///{path}", "d", Order("retry", "they answered", "ada"))

    assert receipt.text == (
        "d: retry: the rollback is tried again. No process has bank.db open: the rollback (nothing can be undone) begins "
        "when the next one opens it. It ends failed, with this still in effect: pay."
    )


async def test_an_owner_that_is_no_orchestrator_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "bank.db"
    async with owner(path):
        pass
    monkeypatch.setattr("allframe.saga.deliver.PATIENCE", 0.1)
    async with EventStore(f"sqlite:///{path}"):
        with pytest.raises(StoreInUse) as raised:
            await deliver(f"sqlite:///{path}", "j", CANCEL)

    assert "which does not listen at" in str(raised.value)
    assert "it is no orchestrator, or cannot be reached" in str(raised.value)


async def test_a_store_that_does_not_exist_is_not_made(folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no such file"):
        await deliver(f"sqlite:///{folder}/bank.db", "j", CANCEL)

    assert list(folder.iterdir()) == []


async def test_an_owner_that_leaves_at_the_same_moment_writes_it_once(folder: Path) -> None:
    for n in range(10):
        path = folder / f"bank{n}.db"
        receipts = []

        async def ask(path: Path = path, receipts: list[Any] = receipts) -> None:
            receipts.append(await deliver(f"sqlite:///{path}", "j", CANCEL))

        async with anyio.create_task_group() as group:
            async with owner(path, grace=0):
                group.start_soon(ask)
                for _ in range(n * 3):
                    await anyio.lowlevel.checkpoint()
        async with EventStore(f"sqlite:///{path}?mode=ro") as store:
            timeline = await Monitor(store).timeline("j")
        assert len([e for e in timeline if isinstance(e.record, CancelRequested)]) == 1
        assert receipts[0].recorded


@pytest.mark.parametrize("written", ["at once", "late", "never"])
async def test_an_order_that_is_not_answered_is_written_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    path = folder / "bank.db"
    calls: list[Order] = []

    async def unanswered(place: str, saga_id: str, order: Order) -> Any:
        calls.append(order)
        if len(calls) == (1 if written == "at once" else 2) and written != "never":
            assert await ask_owner(place, saga_id, calls[0])
        if len(calls) == 1:
            raise Unanswered
        return await ask_owner(place, saga_id, order)

    monkeypatch.setattr("allframe.saga.deliver.ask_owner", unanswered)
    async with owner(path) as (orchestrator, _):
        receipt = await deliver(f"sqlite:///{path}", "j", CANCEL)
        outcome = await (await orchestrator.start(Journey(), id="j")).outcome()

    assert receipt.recorded
    assert outcome.status is SagaStatus.COMPENSATED
    async with EventStore(f"sqlite:///{path}?mode=ro") as store:
        timeline = await Monitor(store).timeline("j")
    assert len([e for e in timeline if isinstance(e.record, CancelRequested)]) == 1
    assert [order.expected_revision for order in calls] == ([None] if written == "at once" else [None, 2])


async def test_a_wish_for_a_saga_that_nobody_can_load_waits_for_its_class(folder: Path) -> None:
    path = folder / "bank.db"
    async with owner(path):
        pass
    async with SagaOrchestrator(f"sqlite:///{path}", provide={}) as orchestrator:
        while (metadata := await orchestrator.get_saga("j")) and metadata.status is not SagaStatus.BLOCKED:
            await anyio.sleep(0.01)
    assert (await deliver(f"sqlite:///{path}", "j", CANCEL)).recorded

    world = World()
    async with SagaOrchestrator(f"sqlite:///{path}", provide={World: world}) as orchestrator:
        outcome = await (await orchestrator.start(Journey(), id="j")).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert world.log == ["undo flight 1", "undo hotel 1"]
