"""What a dishka container makes for an attempt: its own, in time, and closed when its record is safe."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import anyio
import dishka
import pytest
from dishka import AsyncContainer, FromComponent, FromDishka, Scope

from allframe import (
    DependencyMissing,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaOutcome,
    SagaStatus,
    StepContext,
    StepFailed,
    StepTimedOut,
    Unknown,
    compensates,
    step,
)
from tests.saga import world
from tests.saga.crash import crash_image
from tests.saga.world import Home, World, pass_time

pytestmark = pytest.mark.anyio
home = world.home


class Session:
    """Something that is opened and closed."""

    def __init__(self, ctx: StepContext) -> None:
        self.ctx = ctx
        self.open = True

    def __str__(self) -> str:
        return f"{self.ctx.step} {self.ctx.attempt}"


class Pool:
    """Something of which a program has one."""


class Request:
    """Something that a web framework puts into its own scopes."""


class Audit:
    def __init__(self, request: Request) -> None:
        self.request = request


class Deep:
    """Something of a scope within an attempt's."""


class Mirror:
    """Something of another component."""


Hook = Callable[[StepContext], Awaitable[None]]


class Desk(dishka.Provider):
    """Sessions for attempts; it notes what stood in the store when each was closed."""

    ctx = dishka.from_context(provides=StepContext, scope=Scope.REQUEST)

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.home = home
        self.pools = 0
        self.sessions: list[Session] = []
        #: ``"second 1 ValueError"``: whose session, and which error its factory was told of.
        self.closed: list[str] = []
        #: What was recorded of the saga when a session was closed, by whose it was.
        self.recorded: dict[str, list[str]] = {}
        self.before_opening: Hook | None = None
        self.before_closing: Hook | None = None

    @dishka.provide(scope=Scope.APP)
    async def pool(self) -> AsyncIterator[Pool]:
        await anyio.sleep(1)
        self.pools += 1
        yield Pool()
        self.closed.append("pool")

    @dishka.provide(scope=Scope.REQUEST)
    async def session(self, ctx: StepContext, pool: Pool) -> AsyncGenerator[Session, BaseException | None]:
        if self.before_opening:
            await self.before_opening(ctx)
        session = Session(ctx)
        self.sessions.append(session)
        error = yield session
        if self.before_closing:
            await self.before_closing(ctx)
        await anyio.sleep(0.5)
        session.open = False
        self.recorded[str(session)] = await self.home.told(ctx.saga_id)
        self.closed.append(f"{session} {type(error).__name__ if error else 'ok'}")

    request = dishka.from_context(provides=Request, scope=Scope.REQUEST)
    audit = dishka.provide(Audit, scope=Scope.REQUEST)
    deep = dishka.provide(Deep, scope=Scope.STEP)


@pytest.fixture
def desk(home: Home) -> Desk:
    return Desk(home)


@pytest.fixture
async def container(desk: Desk) -> AsyncIterator[AsyncContainer]:
    mirrors = dishka.Provider(scope=Scope.APP, component="far")
    mirrors.provide(Mirror)
    container = dishka.make_async_container(desk, mirrors, lock_factory=anyio.Lock)
    yield container
    await container.close()


class Move(Saga, name="Move"):
    """Its second step and what undoes it want a session."""

    @step(timeout=10)
    async def first(self, world: Inject[World], ctx: StepContext) -> str:
        return str(await world.do(ctx))

    @compensates("first")
    async def undo_first(self, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx)

    @step(timeout=10, retry=Retry(attempts=3, wait=1, jitter=0))
    async def second(self, world: Inject[World], session: Inject[Session], ctx: StepContext) -> str:
        assert session.open
        assert session.ctx is ctx
        return str(await world.do(ctx))

    @compensates("second", timeout=10, retry=Retry(attempts=2, wait=1, jitter=0))
    async def undo_second(self, world: Inject[World], session: Inject[Session], ctx: StepContext) -> None:
        assert session.open
        await world.undo(ctx)

    @step(pivot=True)
    async def third(self, world: Inject[World], ctx: StepContext) -> None:
        await world.do(ctx)


class Careful(Saga, name="Careful"):
    """One attempt, whose far side honours the key."""

    @step(timeout=10, idempotent=True, retry=Retry(attempts=2, wait=1, jitter=0))
    async def only(self, world: Inject[World], session: Inject[Session], ctx: StepContext) -> None:
        await world.do(ctx)

    @compensates("only")
    async def undo(self, only: Unknown | None, world: Inject[World], ctx: StepContext) -> None:
        await world.undo(ctx, only)

    @step(pivot=True)
    async def last(self) -> None: ...


async def run(home: Home, container: AsyncContainer, saga: Saga, **options: Any) -> SagaOutcome:
    """The outcome of a saga, however it ended."""
    async with home.orchestrator(container=container, **options) as orchestrator:
        handle = await orchestrator.start(saga, id="m")
        return await handle.outcome()


# --- a scope for each attempt ------------------------------------------------------------------------------------------


async def test_each_attempt_has_objects_of_its_own_that_are_closed_when_it_is_recorded(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("second", home.world.raises(ValueError("no")), home.world.raises(ValueError("still no")))

    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert len({id(session) for session in desk.sessions}) == 3
    assert desk.closed == ["second 1 ValueError", "second 2 ValueError", "second 3 ok"]
    assert desk.recorded == {
        "second 1": ["started", "first succeeded", "second failed, again"],
        "second 2": ["started", "first succeeded", "second failed, again", "second failed, again"],
        "second 3": [
            *("started", "first succeeded", "second failed, again", "second failed, again", "second succeeded")
        ],
    }
    assert desk.pools == 1


async def test_a_compensation_has_its_own_too(home: Home, desk: Desk, container: AsyncContainer) -> None:
    home.world.tell("third", home.world.raises(Refused("no")))
    home.world.tell("undo second", home.world.raises(ValueError("not yet")))

    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.effects == []
    assert desk.closed == ["second 1 ok", "second 1 ValueError", "second 2 ok"]
    assert desk.recorded["second 2"][-1] == "second compensated"


async def test_whoever_waits_for_the_outcome_finds_everything_closed(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    class Asks(Saga):
        @step
        async def only(self, session: Inject[Session]) -> None: ...

    async with home.orchestrator(container=container) as orchestrator:
        home.world.always("second", home.world.raises(Refused("no")))
        with pytest.raises(StepFailed):
            await orchestrator.execute(Move(), id="m")
        assert desk.closed == ["second 1 Refused"]
        await orchestrator.execute(Asks(), id="a")
        assert desk.closed == ["second 1 Refused", "only 1 ok"]
        assert desk.recorded["only 1"] == ["started", "only succeeded", "completed"]


async def test_an_attempt_that_is_cut_by_its_deadline_is_recorded_and_closed(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("second", home.world.hangs())

    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert desk.closed == ["second 1 TimeoutError", "second 2 ok"]
    assert desk.recorded["second 1"][-1] == "second unknown (deadline), again"


async def test_an_attempt_that_is_cut_by_a_cancellation_is_recorded_and_closed(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("second", home.world.hangs())

    async with home.orchestrator(container=container) as orchestrator:
        handle = await orchestrator.start(Move(), id="m")
        await home.world.until("do second")
        await handle.cancel(reason="enough")
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert desk.closed == ["second 1 TimeoutError", "second 1 ok"]
    assert "second unknown (cancelled)" in desk.recorded["second 1"]


async def test_an_attempt_that_is_dropped_is_closed_and_the_next_opening_makes_anew(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(container=container, grace=2) as orchestrator:
        await orchestrator.start(Move(), id="m")
        await home.world.until("do second")
    assert desk.closed == ["second 1 TimeoutError"]
    assert await home.told("m") == ["started", "first succeeded"]
    await home.reopen()

    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert desk.closed == ["second 1 TimeoutError", "second 2 ok"]


async def test_a_saga_whose_process_died_goes_on_with_new_objects(
    home: Home, desk: Desk, container: AsyncContainer, tmp_path: Path
) -> None:
    home.world.tell("second", home.world.hangs())
    (tmp_path / "images").mkdir()
    if home.store.backend.durable:
        home.store.backend.url = home.store.backend.url.partition("?")[0]  # type: ignore[attr-defined]
    async with home.orchestrator(container=container, grace=0) as orchestrator:
        await orchestrator.start(Move(), id="m")
        await home.world.until("do second")
        image = crash_image(home.store, tmp_path / "images")

    async with (
        image,
        SagaOrchestrator(image, provide={World: home.world}, container=container, clock=home.clock) as after,
    ):
        handle = await after.start(Move(), id="m")
        assert (await handle.outcome()).status is SagaStatus.COMPLETED

    assert [str(session) for session in desk.sessions] == ["second 1", "second 2"]
    assert desk.closed == ["second 1 TimeoutError", "second 2 ok"]


async def test_objects_of_the_whole_program_are_made_once_for_attempts_side_by_side(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    async with home.orchestrator(container=container) as orchestrator:
        handles = [await orchestrator.start(Move(), id=str(number)) for number in range(5)]
        for handle in handles:
            assert (await handle.outcome()).status is SagaStatus.COMPLETED

    assert desk.pools == 1
    assert len(desk.sessions) == 5
    assert "pool" not in desk.closed, "a container that was handed in stays open"


async def test_nothing_is_opened_for_attempts_that_need_nothing_of_the_container(
    home: Home, container: AsyncContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = AsyncContainer.__call__

    def call(self: Any, context: Any = None, **options: Any) -> Any:
        opened.append(context[StepContext])
        return original(self, context, **options)

    monkeypatch.setattr(AsyncContainer, "__call__", call)
    await run(home, container, Move())

    assert [ctx.step for ctx in opened if ctx] == ["second"]


# --- factories that fail or hang --------------------------------------------------------------------------------------


def failing(error: BaseException, times: int = 1) -> Hook:
    left = [times]

    async def fail(ctx: StepContext) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such bank"),
        TimeoutError("no such bank"),
        ConnectionResetError("no such bank"),
        SystemExit("no such bank"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_factory_that_raises_is_a_failure_without_effect_whatever_it_raises(
    home: Home, desk: Desk, container: AsyncContainer, error: BaseException
) -> None:
    desk.before_opening = failing(error, 100)

    async with home.orchestrator(container=container) as orchestrator:
        with pytest.raises(StepFailed) as raised:
            await orchestrator.execute(Move(), id="m")

    assert raised.value.__cause__ is error
    assert raised.value.error is not None
    assert raised.value.error.type == type(error).__name__
    assert raised.value.error.message == (
        "Session (step 'second', parameter 'session') could not be made, and the body never began: no such bank"
    )
    assert home.world.journal == ["do first", "undo first"]
    again = isinstance(error, Exception)
    assert (await home.told("m")).count("second failed, again") == (2 if again else 0)


async def test_a_factory_that_fails_once_is_tried_again(home: Home, desk: Desk, container: AsyncContainer) -> None:
    desk.before_opening = failing(ConnectionError("busy"))

    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do first", "do second", "do third"]
    assert home.world.contexts[1].attempt == 2


async def test_a_factory_that_hangs_has_the_steps_time_and_leaves_no_effect(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    async def hang(ctx: StepContext) -> None:
        await anyio.sleep(3600)

    desk.before_opening = hang
    async with home.orchestrator(container=container) as orchestrator:
        with pytest.raises(StepFailed) as raised:
            await orchestrator.execute(Move(), id="m")

    assert not isinstance(raised.value, StepTimedOut)
    assert raised.value.error is not None
    assert str(raised.value.error) == (
        "TimeoutError: Session (step 'second', parameter 'session') was not made within the timeout of 10 s, and the body "
        "never began."
    )
    assert home.world.journal == ["do first", "undo first"]


async def test_a_body_does_not_begin_when_its_time_was_used_up_by_a_factory_that_never_yields(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    async def compute(ctx: StepContext) -> None:
        if ctx.attempt == 1:
            pass_time(11)

    desk.before_opening = compute
    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do first", "do second", "do third"]
    assert desk.closed == ["second 1 TimeoutError", "second 2 ok"]


async def test_a_cancellation_during_a_factory_leaves_no_effect(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    reached = anyio.Event()

    async def wait(ctx: StepContext) -> None:
        reached.set()
        await anyio.sleep(3600)

    desk.before_opening = wait
    async with home.orchestrator(container=container) as orchestrator:
        handle = await orchestrator.start(Move(), id="m")
        await reached.wait()
        await handle.cancel(reason="enough")
        outcome = await handle.outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do first", "undo first"]
    assert "second not begun" in await home.told("m")


async def test_a_factory_that_fails_does_not_speak_for_the_far_side(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    """The first attempt may have taken effect, and the far side never heard of the second."""
    home.world.tell("only", home.world.raises_after(ConnectionError("reset")))

    async def fail_second(ctx: StepContext) -> None:
        if ctx.attempt == 2:
            raise ValueError("no such bank")

    desk.before_opening = fail_second
    outcome = await run(home, container, Careful())

    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do only", "undo only"]
    assert isinstance(home.world.given["only"], Unknown)
    assert home.world.effects == []


async def test_a_compensation_whose_factory_fails_is_tried_again_and_then_left(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("third", home.world.raises(Refused("no")))
    opened = []

    async def fail(ctx: StepContext) -> None:
        opened.append(ctx.attempt)
        if len(opened) > 1:
            raise ConnectionError("busy")

    desk.before_opening = fail
    async with home.orchestrator(container=container) as orchestrator:
        outcome = await (await orchestrator.start(Move(), id="m")).outcome()
        assert outcome.status is SagaStatus.FAILED
        metadata = await orchestrator.get_saga("m")
        assert metadata is not None
        assert metadata.uncompensated == ("first", "second")
        desk.before_opening = None
        await orchestrator.retry_failed("m", reason="the bank is back")
        assert (await (await orchestrator.start(Move(), id="m")).outcome()).status is SagaStatus.COMPENSATED

    told = [entry.record for entry in await home.timeline("m")]
    errors = [str(getattr(record, "error", "")) for record in told if record.type == "$saga.step_not_compensated"]
    assert (
        errors
        == [
            "ConnectionError: Session (compensation 'undo_second', parameter 'session') could not be made, and the body never "
            "began: busy"
        ]
        * 2
    )
    assert opened == [1, 1, 2]


async def test_a_compensation_whose_factory_hangs_is_tried_again(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("third", home.world.raises(Refused("no")))
    opened = []

    async def hang_once(ctx: StepContext) -> None:
        opened.append(ctx.attempt)
        if len(opened) == 2:
            await anyio.sleep(3600)

    desk.before_opening = hang_once
    outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPENSATED
    records = [entry.record for entry in await home.timeline("m")]
    cut: Any = next(record for record in records if record.type == "$saga.step_not_compensated")
    assert cut.timeout == 10
    assert cut.error.message == (
        "Session (compensation 'undo_second', parameter 'session') was not made within the timeout of 10 s, and the body "
        "never began."
    )


async def test_what_is_retried_while_its_last_attempt_is_still_closing_has_a_scope_of_its_own(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("third", home.world.raises(Refused("no")))
    home.world.tell("undo second", *[home.world.raises(ValueError("stuck"))] * 2)
    gates = [anyio.Event(), anyio.Event()]

    async def wait(ctx: StepContext) -> None:
        if len(desk.sessions) == 3 and not gates[0].is_set():  # the second attempt to undo, the last
            gates[0].set()
            await gates[1].wait()

    desk.before_closing = wait
    async with home.orchestrator(container=container, grace=1000) as orchestrator:
        handle = await orchestrator.start(Move(), id="m")
        await gates[0].wait()
        await orchestrator.retry_failed("m", reason="again")
        while len(desk.closed) < 3:
            await anyio.sleep(0.1)
        gates[1].set()
        assert (await handle.outcome()).status is SagaStatus.COMPENSATED

    assert desk.closed == ["second 1 ok", "second 1 ValueError", "second 3 ok", "second 2 ValueError"]


# --- closing that fails or hangs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError("broken pipe"), SystemExit("broken pipe")], ids=["ValueError", "SystemExit"]
)
async def test_an_error_while_closing_is_logged_and_changes_nothing(
    home: Home, desk: Desk, container: AsyncContainer, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    desk.before_closing = failing(error)

    with caplog.at_level(logging.ERROR, "allframe"):
        outcome = await run(home, container, Move())

    assert outcome.status is SagaStatus.COMPLETED
    assert home.world.journal == ["do first", "do second", "do third"]
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "saga m: what the container made for step second could not be closed, and what was recorded stands: "
    )


async def test_closing_that_hangs_is_cut_after_the_grace(
    home: Home, desk: Desk, container: AsyncContainer, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(ctx: StepContext) -> None:
        await anyio.sleep(3600)

    desk.before_closing = hang
    began = anyio.current_time()
    with caplog.at_level(logging.ERROR, "allframe"):
        outcome = await run(home, container, Move(), grace=5)

    assert outcome.status is SagaStatus.COMPLETED
    assert anyio.current_time() - began == pytest.approx(6, abs=0.5), "a second for the pool, five for the session"
    assert [record.getMessage() for record in caplog.records] == [
        "saga m: what the container made for step second could not be closed, and what was recorded stands: "
        "TimeoutError('It was not closed within 5 s.')"
    ]


async def test_closing_that_hangs_does_not_keep_anybody_from_leaving(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    async def hang(ctx: StepContext) -> None:
        await anyio.sleep(3600)

    desk.before_closing = hang
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(container=container, grace=2) as orchestrator:
        await orchestrator.start(Move(), id="m")
        await home.world.until("do second")
        began = anyio.current_time()

    assert anyio.current_time() - began == pytest.approx(4, abs=0.5), "two to end, two to close"
    assert await home.told("m") == ["started", "first succeeded"]


class Tool:
    open = True


class Long(Saga, name="Long"):
    """It goes on with its tool until ``gate`` opens."""

    @step(timeout=None)
    def work(self, tool: Inject[Tool], gate: Inject[threading.Event]) -> None:
        LONG.append("began")
        gate.wait(30)
        LONG.append("with an open tool" if tool.open else "with a closed tool")


#: What a thread that nobody waits for any more says.
LONG: list[str] = []


@pytest.mark.threads_take_time
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # trio tells of a generator that the garbage collector ends
async def test_a_thread_that_outlives_its_orchestrator_goes_on_with_open_objects(home: Home) -> None:
    class Tools(dishka.Provider):
        @dishka.provide(scope=Scope.REQUEST)
        async def tool(self) -> AsyncIterator[Tool]:
            tool = Tool()
            try:
                yield tool
            finally:
                tool.open = False

    gate = threading.Event()
    LONG.clear()
    container = dishka.make_async_container(Tools(), lock_factory=anyio.Lock)
    async with home.orchestrator(container=container, provide={threading.Event: gate}, grace=0) as orchestrator:
        await orchestrator.start(Long(), id="l")
        while not LONG:
            await anyio.sleep(0.01)
    for _ in range(3):
        gc.collect()
        await anyio.sleep(0.01)
    gate.set()
    while len(LONG) < 2:
        await anyio.sleep(0.01)

    assert LONG == ["began", "with an open tool"]


class Outer:
    """Made first, so closed last."""


class Inner:
    def __init__(self, outer: Outer) -> None:
        self.outer = outer


@pytest.mark.parametrize("how", ["hangs", "exits"])
async def test_what_cannot_be_closed_does_not_keep_the_others_open(home: Home, how: str) -> None:
    closed: list[str] = []

    class Nested(dishka.Provider):
        scope = Scope.REQUEST

        @dishka.provide
        async def outer(self) -> AsyncIterator[Outer]:
            try:
                yield Outer()
            finally:
                closed.append("outer")

        @dishka.provide
        async def inner(self, outer: Outer) -> AsyncIterator[Inner]:
            yield Inner(outer)
            closed.append("inner begins")
            if how == "exits":
                raise SystemExit
            await anyio.sleep(3600)

    class Nest(Saga):
        @step
        async def only(self, inner: Inject[Inner]) -> None: ...

    container = dishka.make_async_container(Nested(), lock_factory=anyio.Lock)
    outcome = await run(home, container, Nest())

    assert outcome.status is SagaStatus.COMPLETED
    assert closed == ["inner begins", "outer"]


# --- what can be asked for --------------------------------------------------------------------------------------------


async def test_what_is_provided_comes_before_what_is_made(home: Home, desk: Desk, container: AsyncContainer) -> None:
    class Asks(Saga):
        @step
        async def only(self, pool: Inject[Pool]) -> bool:
            return pool is mine

    mine = Pool()
    outcome = await run(home, container, Asks(), provide={Pool: mine})

    assert outcome.output is True
    assert desk.pools == 0


async def test_dishkas_own_marks_are_understood(home: Home, container: AsyncContainer) -> None:
    class Asks(Saga, name="test.marks"):
        @step
        async def own(self, session: FromDishka[Session]) -> str:
            return type(session).__name__

        @compensates("own")
        async def undo(self) -> None: ...

        @step
        async def component(self, mirror: Annotated[Mirror, FromComponent("far")]) -> str:
            return type(mirror).__name__

        @compensates("component")
        async def undo_component(self) -> None: ...

        @step
        async def both(self, mirror: Inject[Annotated[Mirror, FromComponent("far")]]) -> str:  # type: ignore[misc]
            return type(mirror).__name__

    outcome = await run(home, container, Asks())

    assert outcome.outputs == {"own": "Session", "component": "Mirror", "both": "Mirror"}


async def test_dishkas_marks_are_filled_from_what_is_provided_too(home: Home) -> None:
    class Asks(Saga, name="test.marks"):
        @step
        async def only(self, pool: FromDishka[Pool], mirror: Annotated[Mirror, FromComponent("far")]) -> bool:
            return (pool, mirror) == given

    given = (Pool(), Mirror())
    provide = {Pool: given[0], Annotated[Mirror, FromComponent("far")]: given[1]}
    async with home.orchestrator(provide=provide) as orchestrator:
        assert (await orchestrator.execute(Asks())).output is True


async def test_a_parameter_keeps_its_default_where_neither_has_anything(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    mine = Pool()

    class Asks(Saga):
        @step
        async def only(
            self, deep: Inject[Deep | None] = None, request: Inject[Request | None] = None, pool: Inject[Pool] = mine
        ) -> list[bool]:
            return [deep is None, request is None, pool is mine]

    assert (await run(home, container, Asks())).output == [True, True, False]


class Wanting(Saga):
    """What it wants, no container can make for an attempt."""

    @step
    async def look(
        self,
        audit: Inject[Audit],
        deep: Inject[Deep],
        mirror: Inject[Mirror],
        request: FromDishka[Request],
        text: Inject[str],
    ) -> None: ...


async def test_what_cannot_be_made_is_said_with_the_reason_before_anything_is_written(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    async with home.orchestrator(container=container) as orchestrator:
        with pytest.raises(DependencyMissing) as raised:
            await orchestrator.execute(Wanting(), id="w")

    context = "comes from the context, and that of an attempt has StepContext"
    assert str(raised.value) == (
        "Wanting cannot run: nothing provides "
        f"Audit (step 'look', parameter 'audit': in the container it needs Request, which {context}), "
        "Deep (step 'look', parameter 'deep': in the container it is made in scope STEP, within an attempt's REQUEST), "
        "Mirror (step 'look', parameter 'mirror': in the container it is of another component: 'far'), "
        f"Request (step 'look', parameter 'request': in the container it {context}), "
        "str (step 'look', parameter 'text'). "
        "Add it to a provider of the container, or hand it in: SagaOrchestrator(..., provide={...}). "
        "It has World and a container that makes Mirror of component 'far', Pool, Session, StepContext."
    )
    assert (await home.store.stats()).total_events == 0
    assert desk.pools == 0, "asking makes nothing"


async def test_what_is_missing_in_recovery_blocks_until_a_container_has_it(
    home: Home, desk: Desk, container: AsyncContainer
) -> None:
    home.world.tell("second", home.world.hangs())
    async with home.orchestrator(container=container, grace=0) as orchestrator:
        await orchestrator.start(Move(), id="m")
        await home.world.until("do second")
    await home.reopen()
    empty = dishka.make_async_container(lock_factory=anyio.Lock)

    async with home.orchestrator(container=empty) as orchestrator:
        while await orchestrator.running_count():
            await anyio.sleep(1)
        metadata = await orchestrator.get_saga("m")
    assert metadata is not None
    assert metadata.status is SagaStatus.BLOCKED
    assert metadata.reason == (
        "Nothing provides Session (step 'second', parameter 'session'). The orchestrator has World and a container that "
        "makes nothing."
    )
    await home.reopen()

    assert (await run(home, container, Move())).status is SagaStatus.COMPLETED
    assert desk.closed == ["second 1 TimeoutError", "second 2 ok"]


async def test_a_condition_that_only_the_run_can_decide_is_no_reason_to_refuse(home: Home) -> None:
    marker = dishka.Marker("open")
    provider = dishka.Provider(scope=Scope.REQUEST)
    provider.provide(Pool, when=marker)
    provider.activate(lambda: False, marker)

    class Asks(Saga):
        @step
        async def only(self, pool: Inject[Pool]) -> None: ...

    container = dishka.make_async_container(provider, lock_factory=anyio.Lock)
    async with home.orchestrator(container=container) as orchestrator:
        with pytest.raises(StepFailed, match=r"Pool \(step 'only', parameter 'pool'\) could not be made"):
            await orchestrator.execute(Asks())


# --- which container -------------------------------------------------------------------------------------------------


async def test_a_container_that_locks_with_asyncio_is_refused_on_trio(home: Home, anyio_backend_name: str) -> None:
    container = dishka.make_async_container()
    orchestrator = home.orchestrator(container=container)

    if anyio_backend_name == "asyncio":
        async with orchestrator:
            return
    with pytest.raises(ValueError) as raised:
        async with orchestrator:
            pass
    assert str(raised.value) == (
        "The container locks with asyncio.Lock, dishka's default, and this is trio, where that lock cannot wait. Build it "
        "with make_async_container(..., lock_factory=anyio.Lock), which works on both."
    )
    async with home.orchestrator(container=dishka.make_async_container(lock_factory=None)):
        pass


def test_a_container_that_makes_synchronously_is_refused() -> None:
    container: Any = dishka.make_container()
    with pytest.raises(TypeError) as raised:
        SagaOrchestrator(container=container)
    assert str(raised.value) == (
        "container= takes a dishka AsyncContainer, found a dishka Container, which makes objects synchronously. Build it "
        "with make_async_container() from the same providers."
    )


def test_what_is_no_container_is_refused() -> None:
    given: Any = {Pool: Pool()}
    with pytest.raises(TypeError, match="container= takes a dishka AsyncContainer, found an object of dict"):
        SagaOrchestrator(container=given)


def test_a_container_without_a_scope_below_it_is_refused() -> None:
    container = dishka.make_async_container(start_scope=Scope.STEP)
    with pytest.raises(ValueError, match="The container is in scope STEP, and dishka has no scope below it"):
        SagaOrchestrator(container=container)


def test_a_dishka_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    container = dishka.make_async_container()
    monkeypatch.delattr(dishka.DependencyKey, "is_marker")
    with pytest.raises(TypeError, match=r"too old to be asked what it can make: pip install 'allframe\[dishka\]'"):
        SagaOrchestrator(container=container)


async def test_a_container_of_a_deeper_scope_opens_the_next_one(home: Home) -> None:
    provider = dishka.Provider(scope=Scope.REQUEST)
    provider.provide(Pool)
    provider.provide(Deep, scope=Scope.ACTION)

    class Asks(Saga):
        @step
        async def only(self, pool: Inject[Pool], deep: Inject[Deep]) -> bool:
            return pool is await request.get(Pool)

    container = dishka.make_async_container(provider, lock_factory=anyio.Lock)
    async with container(lock_factory=anyio.Lock) as request:
        assert (await run(home, request, Asks())).output is True


def test_asyncios_lock_is_the_default_that_is_looked_for() -> None:
    assert isinstance(dishka.make_async_container().lock, asyncio.Lock)
