"""`run`: a saga from a program that has no event loop."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from allframe import (
    DependencyMissing,
    EventStore,
    Inject,
    Refused,
    Saga,
    SagaIdConflict,
    SagaOrchestrator,
    SagaStatus,
    StepRefused,
    StoreInUse,
    Unknown,
    compensates,
    run,
    step,
)
from allframe.saga.monitor import Monitor
from tests.saga.test_sigint import interrupt, recorded

CUSTOMER: contextvars.ContextVar[str] = contextvars.ContextVar("customer", default="nobody")


class Shelf:
    def __init__(self) -> None:
        self.lines: list[str] = []


class Buy(Saga, name="test.run.buy"):
    item: str

    @step
    async def reserve(self, shelf: Inject[Shelf]) -> str:
        shelf.lines.append(f"reserve {self.item}")
        return f"{self.item} for {CUSTOMER.get()}"

    @compensates("reserve")
    async def release(self, reserve: str | Unknown, shelf: Inject[Shelf]) -> None:
        shelf.lines.append(f"release {self.item}")

    @step(readonly=True)
    async def pay(self) -> str:
        if self.item == "gold":
            raise Refused("too dear")
        return "paid"


class Dawdle(Saga, name="test.run.dawdle"):
    """Writes down how far it came."""

    log: str
    seconds: float

    @step
    async def first(self) -> None:
        with Path(self.log).open("a") as log:
            log.write("first\n")
        await anyio.sleep(self.seconds)
        with Path(self.log).open("a") as log:
            log.write("first ended\n")

    @compensates("first")
    async def undo(self) -> None: ...

    @step
    async def second(self) -> None:
        with Path(self.log).open("a") as log:
            log.write("second\n")


def test_gives_the_outcome() -> None:
    shelf = Shelf()

    outcome = run(Buy(item="tea"), provide={Shelf: shelf}, id="tea")

    assert (outcome.id, outcome.status, outcome.output) == ("tea", SagaStatus.COMPLETED, "paid")
    assert shelf.lines == ["reserve tea"]


def test_raises_what_execute_raises_when_the_rollback_is_over() -> None:
    shelf = Shelf()

    with pytest.raises(StepRefused, match=r"'pay' \(2 of 2\), was refused: too dear\. Rolled back: reserve\."):
        run(Buy(item="gold"), provide={Shelf: shelf})

    assert shelf.lines == ["reserve gold", "release gold"]


def test_raises_what_it_lacks_before_anything_is_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    with pytest.raises(DependencyMissing, match="nothing provides Shelf"):
        run(Buy(item="tea"), store=url, id="tea")

    assert anyio.run(statuses, url) == {}


def test_the_same_id_runs_once_and_another_input_is_refused(tmp_path: Path) -> None:
    shelf, url = Shelf(), f"sqlite:///{tmp_path}/store.db"

    first = run(Buy(item="tea"), store=url, provide={Shelf: shelf}, id="order-1")
    again = run(Buy(item="tea"), store=url, provide={Shelf: shelf}, id="order-1")

    assert (again.status, again.outputs) == (first.status, first.outputs)
    assert shelf.lines == ["reserve tea"]
    with pytest.raises(SagaIdConflict):
        run(Buy(item="coffee"), store=url, provide={Shelf: shelf}, id="order-1")


def test_a_step_sees_the_context_of_the_caller() -> None:
    CUSTOMER.set("Ada")

    assert run(Buy(item="tea"), provide={Shelf: Shelf()}).outputs["reserve"] == "tea for Ada"


@pytest.mark.parametrize("item", ["tea", "gold"])
def test_ends_what_an_earlier_program_left_unfinished(tmp_path: Path, item: str) -> None:
    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"
    anyio.run(leave_unfinished, url, Dawdle(log=str(log), seconds=0.2))
    assert anyio.run(statuses, url) == {"dawdle": "executing"}

    with nullcontext() if item == "tea" else pytest.raises(StepRefused):
        run(Buy(item=item), store=url, provide={Shelf: Shelf()}, id="order-1")

    assert log.read_text().splitlines() == ["first", "first", "first ended", "second"]
    assert anyio.run(statuses, url) == {
        "order-1": "completed" if item == "tea" else "compensated",
        "dawdle": "completed",
    }


def test_works_in_a_thread() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(run(Buy(item="tea"), provide={Shelf: Shelf()}).status))

    thread.start()
    thread.join(30)

    assert found == [SagaStatus.COMPLETED]


@pytest.mark.anyio
async def test_works_in_a_thread_of_somebody_elses_event_loop() -> None:
    outcome = await anyio.to_thread.run_sync(lambda: run(Buy(item="tea"), provide={Shelf: Shelf()}))

    assert outcome.status is SagaStatus.COMPLETED


def test_works_in_a_thread_that_has_the_context_of_an_event_loop() -> None:
    async def main() -> SagaStatus:
        return await asyncio.to_thread(lambda: run(Buy(item="tea"), provide={Shelf: Shelf()}).status)

    assert anyio.run(main) is SagaStatus.COMPLETED


@pytest.mark.anyio
async def test_says_what_to_await_inside_of_an_event_loop(anyio_backend_name: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(Buy(item="tea"), provide={Shelf: Shelf()})

    assert str(caught.value) == (
        f"allframe.run() was called where an event loop of {anyio_backend_name} runs already, and would stop it until "
        "the saga is over. Await the orchestrator instead: async with SagaOrchestrator(...) as orchestrator: "
        "outcome = await orchestrator.execute(saga)."
    )


def test_says_so_in_a_callback_of_an_event_loop_as_well() -> None:
    async def main() -> BaseException | None:
        found: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                run(Buy(item="tea"), provide={Shelf: Shelf()})
            except RuntimeError as error:
                found.set_result(error)
            else:
                found.set_result(None)

        asyncio.get_running_loop().call_soon(callback)
        return await found

    assert "an event loop of asyncio runs already" in str(asyncio.run(main()))


def test_refuses_a_store_that_belongs_to_another_event_loop() -> None:
    store: object = EventStore()

    with pytest.raises(
        TypeError, match=r"it takes a URL or nothing\. Found <allframe.*To run sagas on a store that is"
    ):
        run(Buy(item="tea"), provide={Shelf: Shelf()}, store=store)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_names_the_owner_of_a_file_that_is_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"

    async with EventStore(url):
        with pytest.raises(StoreInUse, match=r"is open already in this process, opened at "):
            await anyio.to_thread.run_sync(lambda: run(Buy(item="tea"), provide={Shelf: Shelf()}, store=url))


class Hold(Saga, name="test_run.Hold"):
    @step
    def hold(self, gates: Inject[list[threading.Event]]) -> None:
        began, gate = gates
        began.set()
        gate.wait(30)


def test_names_the_call_that_has_the_file_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    began, gate = gates = [threading.Event(), threading.Event()]
    call = threading.Thread(target=lambda: run(Hold(), store=url, provide={list[threading.Event]: gates}))
    call.start()
    try:
        assert began.wait(30)
        with pytest.raises(StoreInUse, match=rf"opened at {__file__}:\d+\."):
            run(Hold(), store=url, provide={list[threading.Event]: gates})
    finally:
        gate.set()
        call.join()


def test_ctrl_c_lets_the_running_step_end(tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"

    code, seconds, stderr = interrupt("run", "busy", url, log)

    assert (code, stderr.splitlines()[-1:]) in ((-signal.SIGINT, ["KeyboardInterrupt"]), (1, ["KeyboardInterrupt"]))
    assert seconds < 9
    assert log.read_text().splitlines() == ["first", "second", "second ended"]
    assert recorded(url)[-2:] == ["$saga.step_succeeded", "$saga.completed"]


@pytest.mark.slow
def test_ctrl_c_drops_a_step_that_does_not_end_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.saga import interrupted

    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"

    code, seconds, stderr = interrupt("run", "sleeping", url, log)

    assert (code, stderr.splitlines()[-1:]) in ((-signal.SIGINT, ["KeyboardInterrupt"]), (1, ["KeyboardInterrupt"]))
    # The step had its ten seconds, slept through them, and was dropped without a word.
    assert 9 < seconds < 20
    assert recorded(url) == ["$saga.started", "$saga.step_succeeded"]
    monkeypatch.setattr(interrupted, "ASLEEP", 0.0)
    outcome = run(interrupted.Program(how="sleeping", log=str(log)), store=url, id="program")
    assert outcome.status is SagaStatus.COMPLETED
    assert log.read_text().splitlines() == ["first", "second", "second", "second ended"]


def test_a_script_of_four_lines(tmp_path: Path) -> None:
    script = """
from allframe import Saga, run, step

class Hello(Saga):
    @step
    async def greet(self) -> str:
        return "hello"

print(run(Hello(), store="sqlite:///hello.db", id="hello").output)
"""
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}

    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stdout, done.stderr) == ("hello\n", "")


async def leave_unfinished(url: str, saga: Saga) -> None:
    async with SagaOrchestrator(url, grace=0) as orchestrator:
        await orchestrator.start(saga, id="dawdle")
        await anyio.sleep(0.1)


async def statuses(url: str) -> dict[str, str]:
    async with EventStore(url) as store:
        monitor = Monitor(store)
        every = [*await monitor.get_history(), *await monitor.get_running_sagas()]
        return {saga.id: str(saga.status) for saga in every}
