"""Sync steps: on threads of their own, never abandoned, and never in the way of others."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from allframe import (
    DefinitionError,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StepTimedOut,
    StoreInUse,
    Unknown,
    compensates,
    step,
)
from allframe.saga.threads import MOST, Threads
from tests.saga import world
from tests.saga.refusal import refused
from tests.saga.world import Home

pytestmark = pytest.mark.anyio
home = world.home


class Desk:
    """What sync steps do: each waits for its gate, if it has one, and does as it was told."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.gates: dict[str, threading.Event] = {}
        self.told: dict[str, list[Callable[[StepContext], Any]]] = {}
        self.contexts: list[StepContext] = []

    def gate(self, what: str) -> threading.Event:
        """Whoever does ``what`` waits for this."""
        return self.gates.setdefault(what, threading.Event())

    def tell(self, what: str, *behaviours: Callable[[StepContext], Any]) -> None:
        self.told.setdefault(what, []).extend(behaviours)

    def act(self, what: str, ctx: StepContext) -> Any:
        self.log.append(what)
        self.contexts.append(ctx)
        self.threads.add(threading.current_thread())
        if what in self.gates:
            assert self.gates[what].wait(30), "nobody opened the gate"
        told = self.told.get(what)
        return told.pop(0)(ctx) if told else f"{what} done"

    async def until(self, what: str) -> None:
        while what not in self.log:
            await anyio.lowlevel.checkpoint()

    def release(self) -> None:
        for gate in self.gates.values():
            gate.set()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.release()
    for thread in desk.threads - {threading.main_thread()}:
        thread.join(5)  # of an orchestrator that was left: none waits for more work


def errand(
    *,
    timeout: float | None = None,
    retry: Retry | None = None,
    undo: Any = None,
    undo_timeout: float | None = 60,
) -> Any:
    """A saga of two sync steps and an async one after them."""

    class Errand(Saga, name="Errand"):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

        @step(timeout=timeout, retry=retry)
        def fetch(self, look: int, desk: Inject[Desk], ctx: StepContext) -> str:
            output: str = desk.act("fetch", ctx)
            return output

        @compensates("fetch", timeout=undo_timeout, retry=undo or Retry(attempts=2, wait=0))
        def put_back(self, fetch: str | Unknown, desk: Inject[Desk], ctx: StepContext) -> None:
            desk.act("put back", ctx)

        @step
        async def thank(self, fetch: str, desk: Inject[Desk], ctx: StepContext) -> str:
            output: str = desk.act("thank", ctx)
            return output

    return Errand


def open_(home: Home, desk: Desk, **options: Any) -> SagaOrchestrator:
    return home.orchestrator(provide={Desk: desk}, **options)


def raises(error: BaseException) -> Callable[[StepContext], Any]:
    def behave(ctx: StepContext) -> Any:
        raise error

    return behave


# --- running ---------------------------------------------------------------------------------------------------------


async def test_a_sync_step_runs_on_a_daemon_thread_and_its_output_goes_on(home: Home, desk: Desk) -> None:
    async with open_(home, desk) as orchestrator:
        outcome = await orchestrator.execute(errand()(), id="s-1")
    assert outcome.outputs == {"look": 1, "fetch": "fetch done", "thank": "thank done"}
    threads = desk.threads - {threading.main_thread()}
    assert [thread.daemon for thread in threads] == [True]
    assert threading.main_thread() in desk.threads, "the async step ran where the loop runs"


async def test_it_is_undone_on_a_thread_too(home: Home, desk: Desk) -> None:
    desk.tell("thank", raises(Refused("no thanks")))
    async with open_(home, desk) as orchestrator:
        outcome = await (await orchestrator.start(errand()(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert desk.log == ["fetch", "thank", "put back"]


async def test_idle_threads_are_used_again_and_end_with_the_orchestrator(home: Home, desk: Desk) -> None:
    async with open_(home, desk) as orchestrator:
        for number in range(5):
            await orchestrator.execute(errand()(), id=f"s-{number}")
    workers = desk.threads - {threading.main_thread()}
    assert len(workers) == 1
    worker = workers.pop()
    worker.join(5)
    assert not worker.is_alive()


async def test_a_thread_is_idle_before_anybody_hears_that_its_call_ended() -> None:
    idle: list[int] = []
    threads = Threads(lambda: lambda: idle.append(len(threads._idle)))

    for _ in range(3):
        await threads.start(lambda: None).done.wait()

    threads.close()
    assert idle == [1, 1, 1]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


async def test_context_variables_are_carried_to_the_thread_and_not_back(home: Home, desk: Desk) -> None:
    seen: list[str] = []

    def look(ctx: StepContext) -> str:
        seen.append(variable.get())
        variable.set("the step's own")
        return "done"

    desk.tell("fetch", look, look)
    variable.set("the opener's")
    async with open_(home, desk) as orchestrator:
        await orchestrator.execute(errand()(), id="s-1")
        await orchestrator.execute(errand()(), id="s-2")
    assert seen == ["the opener's", "the opener's"]
    assert variable.get() == "the opener's"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no"), "fetch failed"),
        (Refused("no"), "fetch was refused"),
        (TimeoutError(), "fetch unknown (silence)"),
        (StopIteration("odd"), "fetch failed"),
        (SystemExit(3), "fetch unknown (silence)"),
        (GeneratorExit(), "fetch unknown (silence)"),
    ],
    ids=lambda part: type(part).__name__,
)
async def test_what_it_raises_means_what_it_means_in_an_async_step(
    home: Home, desk: Desk, error: BaseException, told: str
) -> None:
    desk.tell("fetch", raises(error))
    async with open_(home, desk) as orchestrator:
        await (await orchestrator.start(errand()(), id="s-1")).outcome()
    assert (await home.told("s-1"))[2] == told


async def test_it_is_tried_again(home: Home, desk: Desk) -> None:
    desk.tell("fetch", raises(ConnectionError()))
    async with open_(home, desk) as orchestrator:
        outcome = await orchestrator.execute(errand(retry=Retry(attempts=2, wait=0))(), id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert [ctx.attempt for ctx in desk.contexts[:2]] == [1, 2]


async def test_a_function_that_hands_back_a_coroutine_has_lost_its_output(home: Home, desk: Desk) -> None:
    async def later() -> str:
        return "later"

    desk.tell("fetch", lambda ctx: later())
    async with open_(home, desk) as orchestrator:
        outcome = await (await orchestrator.start(errand()(), id="s-1")).outcome()
    assert (await home.told("s-1"))[2] == "fetch lost its output"
    assert outcome.error is not None
    assert "coroutine" in outcome.error.message
    assert "async def" in outcome.error.message


async def test_where_no_thread_can_be_had_the_step_failed_without_effect(
    home: Home, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    left = [2]

    def limited(self: threading.Thread) -> None:
        if self.name == "allframe step" and left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    async with open_(home, desk) as orchestrator:
        outcome = await orchestrator.execute(errand(retry=Retry(attempts=3, wait=0))(), id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert (await home.told("s-1"))[2:4] == ["fetch failed, again", "fetch failed, again"]
    async with open_(home, desk):
        pass  # nothing is held


# --- deadlines and cancelling ----------------------------------------------------------------------------------------


def test_it_has_no_deadline_if_none_is_asked_for() -> None:
    class Default(Saga, name="test_threads.default"):
        @step
        def one(self) -> int:
            return 1

        @compensates("one")
        def undo(self) -> None: ...

        @step
        async def two(self) -> int:
            return 2

        @compensates("two")
        async def undo_two(self) -> None: ...

        @step(timeout=30)
        def three(self) -> int:
            return 3

    assert [s.timeout for s in Default.graph.steps] == [None, 30, 30]


async def told(home: Home) -> list[str]:
    """The records in words, but for one that a slow machine adds: it takes a thread real time to end."""
    return [line for line in await home.told("s-1") if "still running" not in line]


def until_cancelled(then: Any) -> Callable[[StepContext], Any]:
    """It works until it is asked to end, and then returns or raises."""

    def behave(ctx: StepContext) -> Any:
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        if isinstance(then, BaseException):
            raise then
        return then

    return behave


@pytest.mark.threads_take_time
async def test_past_its_deadline_it_is_asked_to_end_and_a_late_result_counts_as_done(home: Home, desk: Desk) -> None:
    desk.tell("fetch", until_cancelled("a late one"))
    async with open_(home, desk) as orchestrator:
        outcome = await (await orchestrator.start(errand(timeout=5)(), id="s-1")).outcome()
    with pytest.raises(StepTimedOut, match="returned after its deadline"):
        outcome.raise_for_status()
    assert desk.log == ["fetch", "put back"]
    assert (await told(home))[2] == "fetch succeeded late"


@pytest.mark.threads_take_time
async def test_an_error_after_its_deadline_says_nothing(home: Home, desk: Desk) -> None:
    desk.tell("fetch", until_cancelled(ValueError("interrupted")))
    async with open_(home, desk) as orchestrator:
        await (await orchestrator.start(errand(timeout=5)(), id="s-1")).outcome()
    assert (await told(home))[2] == "fetch unknown (deadline)"
    assert desk.log == ["fetch", "put back"]


@pytest.mark.threads_take_time
async def test_neither_a_retry_nor_the_rollback_begins_before_the_thread_has_ended(home: Home, desk: Desk) -> None:
    gate = desk.gate("fetch")
    async with open_(home, desk) as orchestrator:
        handle = await orchestrator.start(errand(timeout=5, retry=Retry(attempts=2, wait=0))(), id="s-1")
        await anyio.sleep(3600)
        assert desk.log == ["fetch"]
        metadata = await handle.metadata()
        assert (metadata.attention, metadata.running) == (True, ("fetch",))
        assert metadata.reason == "Step 'fetch' was to end, and is still running. Everything waits for it."
        assert await home.told("s-1") == ["started", "look succeeded", "fetch still running"]
        gate.set()
        outcome = await handle.outcome()
        assert not (await handle.metadata()).attention
    assert outcome.status is SagaStatus.COMPENSATED
    assert desk.log == ["fetch", "put back"]


@pytest.mark.threads_take_time
async def test_an_async_step_that_swallows_its_cancellation_draws_attention_too(home: Home, desk: Desk) -> None:
    gate = anyio.Event()

    class Stubborn(Saga, name="test_threads.stubborn"):
        @step(timeout=5)
        async def only(self) -> str:
            with anyio.CancelScope(shield=True):
                await gate.wait()
            return "done"

        @compensates("only")
        async def undo(self) -> None: ...

    async with open_(home, desk) as orchestrator:
        handle = await orchestrator.start(Stubborn(), id="s-1")
        await anyio.sleep(60)
        assert (await handle.metadata()).attention
        gate.set()
        await handle.outcome()
    assert await home.told("s-1") == [
        "started",
        "only still running",
        "only succeeded late",
        "rollback begun",
        "only compensated",
        "compensated",
    ]


@pytest.mark.threads_take_time
async def test_what_ends_in_time_draws_no_attention(home: Home, desk: Desk) -> None:
    async with open_(home, desk) as orchestrator:
        await orchestrator.execute(errand(timeout=5)(), id="s-1")
        await anyio.sleep(100)
    assert "fetch still running" not in await home.told("s-1")


@pytest.mark.threads_take_time
async def test_cancelling_the_saga_asks_it_to_end_and_waits(home: Home, desk: Desk) -> None:
    gate = desk.gate("fetch")
    async with open_(home, desk) as orchestrator:
        handle = await orchestrator.start(errand()(), id="s-1")
        await desk.until("fetch")
        await orchestrator.cancel("s-1", reason="changed my mind")
        assert desk.contexts[0].cancelled
        await anyio.sleep(3600)
        assert desk.log == ["fetch"]
        assert (await handle.metadata()).attention
        gate.set()
        outcome = await handle.outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert desk.log == ["fetch", "put back"]


@pytest.mark.threads_take_time
async def test_a_compensation_that_hangs_is_waited_for_before_it_is_tried_again(home: Home, desk: Desk) -> None:
    desk.tell("thank", raises(Refused("no thanks")))
    gate = desk.gate("put back")
    desk.tell("put back", raises(ValueError("interrupted")))
    async with open_(home, desk) as orchestrator:
        handle = await orchestrator.start(errand(undo_timeout=5)(), id="s-1")
        await anyio.sleep(3600)
        assert (await home.told("s-1"))[-1] == "fetch still running undoing"
        assert (await handle.metadata()).attention
        gate.set()
        outcome = await handle.outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert desk.log == ["fetch", "thank", "put back", "put back"]


# --- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.threads_take_time
async def test_leaving_waits_for_a_thread_within_grace(home: Home, desk: Desk) -> None:
    gate = desk.gate("fetch")
    async with open_(home, desk, grace=3600) as orchestrator:
        await orchestrator.start(errand()(), id="s-1")
        await desk.until("fetch")
        gate.set()
    assert await home.told("s-1") == ["started", "look succeeded", "fetch succeeded"]


@pytest.mark.threads_take_time
async def test_a_thread_that_outlives_grace_keeps_the_store_owned_until_it_ends(
    home: Home, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    gate = desk.gate("fetch")
    with caplog.at_level(logging.WARNING, "allframe"):
        async with open_(home, desk, grace=5) as orchestrator:
            await orchestrator.start(errand()(), id="s-1")
            await desk.until("fetch")
    assert "saga s-1: step fetch did not end in time and is dropped" in caplog.text
    assert desk.contexts[0].cancelled, "it is asked to end"
    with pytest.raises(StoreInUse, match="a sync step of the last orchestrator over it has not ended"):
        async with open_(home, desk):
            pass
    gate.set()
    (worker,) = desk.threads - {threading.main_thread()}
    worker.join(5)
    assert await home.told("s-1") == ["started", "look succeeded"], "its result is dropped"
    async with open_(home, desk) as orchestrator:
        outcome = await orchestrator.execute(errand()(), id="s-1")
    assert outcome.status is SagaStatus.COMPLETED
    assert desk.log == ["fetch", "fetch", "thank"]


@pytest.mark.threads_take_time
async def test_a_file_that_was_closed_meanwhile_cannot_be_opened_before_the_thread_has_ended(
    tmp_path: Any, desk: Desk
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    gate = desk.gate("fetch")
    async with SagaOrchestrator(url, provide={Desk: desk}, grace=0) as orchestrator:
        await orchestrator.start(errand()(), id="s-1")
        await desk.until("fetch")
    with pytest.raises(StoreInUse, match=r"still owned by this process: a sync step .* has not ended"):
        async with SagaOrchestrator(url):
            pass
    gate.set()
    (worker,) = desk.threads - {threading.main_thread()}
    worker.join(5)
    async with SagaOrchestrator(url, provide={Desk: desk}) as orchestrator:
        outcome = await orchestrator.execute(errand()(), id="s-1")
    assert outcome.status is SagaStatus.COMPLETED


# --- many ------------------------------------------------------------------------------------------------------------


class Nap(Saga, name="test_threads.nap"):
    @step
    def nap(self, desk: Inject[Desk], ctx: StepContext) -> str:
        output: str = desk.act("nap", ctx)
        return output


class Quick(Saga, name="test_threads.quick"):
    @step
    async def go(self, desk: Inject[Desk], ctx: StepContext) -> str:
        output: str = desk.act("go", ctx)
        return output


@pytest.mark.threads_take_time
async def test_200_sleeping_ones_delay_neither_records_nor_async_steps(home: Home, desk: Desk) -> None:
    gate = desk.gate("nap")
    async with open_(home, desk) as orchestrator:
        naps = [await orchestrator.start(Nap(), id=f"nap-{number}") for number in range(200)]
        while desk.log.count("nap") < 200:
            await anyio.lowlevel.checkpoint()
        for number in range(20):
            await orchestrator.execute(Quick(), id=f"quick-{number}")
            assert await orchestrator.get_saga(f"quick-{number}") is not None
        assert desk.log.count("nap") == 200, "all of them still sleep"
        gate.set()
        for nap in naps:
            assert (await nap.outcome()).status is SagaStatus.COMPLETED


@pytest.mark.threads_take_time
async def test_who_waits_for_a_thread_has_not_begun_and_can_be_cancelled(
    home: Home, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allframe.saga.threads.Threads.__init__.__defaults__", (2,))
    assert MOST > 200
    gate = desk.gate("nap")
    async with open_(home, desk) as orchestrator:
        naps = [await orchestrator.start(Nap(), id=f"nap-{number}") for number in range(2)]
        await desk.until("nap")
        waiting = await orchestrator.start(Nap(), id="waiting")
        await anyio.sleep(100)
        await orchestrator.cancel("waiting", reason="too long")
        assert (await waiting.outcome()).status is SagaStatus.COMPENSATED
        assert await home.told("waiting") == [
            "started",
            "cancel requested",
            "nap not begun",
            "rollback begun",
            "compensated",
        ]
        gate.set()
        for nap in naps:
            await nap.outcome()
    assert desk.log == ["nap", "nap"]


# --- declaring -------------------------------------------------------------------------------------------------------


def test_af113_an_async_method_under_a_decorator_that_is_not() -> None:
    import functools

    def plain(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    def declare() -> None:
        class Bad(Saga):
            @step
            @plain
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF113") == (
        "'only' is async, and the decorator below its mark is not: nobody would await it. Make its wrapper `async def`."
    )


def test_a_sync_generator_is_no_step() -> None:
    with pytest.raises(DefinitionError, match="is a generator"):

        class Bad(Saga):
            @step
            def only(self) -> Any:
                yield 1
