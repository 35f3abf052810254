"""A world that steps change, and sagas to change it: what the tests of running sagas look at.

::

    world.tell("second", raises(ValueError("no")))     what the next attempt of a step does
    world.effects == ["first"]                         what stands in the world
    world.journal == ["do first", "do second"]         what was called, in order

A `Home` is a store that can be closed and opened again. After each test that has one, every saga in it is checked against
`assert_invariants`. A test module takes it by ``home = world.home``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import pytest

from allframe import (
    EventStore,
    Inject,
    Retry,
    Saga,
    SagaError,
    SagaOrchestrator,
    StepContext,
    Unknown,
    compensates,
    step,
)
from allframe.events.backend import StoredRow
from allframe.saga.encoding import decode
from allframe.saga.monitor import Monitor, StoredSaga, TimelineEntry, head_of
from allframe.saga.records import (
    CancelRequested,
    DeadlinePassed,
    Record,
    RetryRequested,
    RollbackBegun,
    SagaAbandoned,
    SagaAdmitted,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaRecovered,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepOutputLost,
    StepResolved,
    StepSkipped,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.running import digest_of
from allframe.saga.states import TERMINAL
from allframe.testing import VirtualClock
from tests.virtual import pass_time

Behaviour: TypeAlias = Callable[[StepContext], Awaitable[Any]]
_DEFAULT = Retry(attempts=5)


class World:
    """Where steps have effects. Each does what it was told, or takes effect and returns ``"<step> done"``."""

    def __init__(self) -> None:
        #: The steps whose effect stands, in the order in which they took it.
        self.effects: list[str] = []
        #: ``"do first"`` and ``"undo first"``, for each attempt that began.
        self.journal: list[str] = []
        #: The loop's time of each entry of the journal.
        self.times: list[float] = []
        #: What the last attempt of each compensation was given in place of the step's output.
        self.given: dict[str, Any] = {}
        #: The context of each attempt, as the journal has it.
        self.contexts: list[StepContext] = []
        self._told: dict[str, deque[Behaviour]] = {}
        self._always: dict[str, Behaviour] = {}
        self._marks: dict[str, anyio.Event] = {}

    def tell(self, part: str, *behaviours: Behaviour) -> None:
        """What the next attempts of ``"second"`` or ``"undo second"`` do, one after the other."""
        self._told.setdefault(part, deque()).extend(behaviours)

    def always(self, part: str, behaviour: Behaviour) -> None:
        """What every attempt does for which nothing else was told."""
        self._always[part] = behaviour

    def relent(self, part: str) -> None:
        """Take back what was told of ``part``."""
        self._told.pop(part, None)
        self._always.pop(part, None)

    async def do(self, ctx: StepContext) -> Any:
        """One attempt of a step."""
        self._note(f"do {ctx.step}", ctx)
        behaviour = self._next(ctx.step)
        return await behaviour(ctx) if behaviour else self.take_effect(ctx)

    async def undo(self, ctx: StepContext, given: Any = None) -> Any:
        """One attempt of a compensation."""
        self.given[ctx.step] = given
        self._note(f"undo {ctx.step}", ctx)
        behaviour = self._next(f"undo {ctx.step}")
        return await behaviour(ctx) if behaviour else self.take_back(ctx)

    def take_effect(self, ctx: StepContext) -> str:
        self.effects.append(ctx.step)
        return f"{ctx.step} done"

    def take_back(self, ctx: StepContext) -> None:
        self.effects = [effect for effect in self.effects if effect != ctx.step]

    async def until(self, entry: str) -> None:
        """Wait until the journal has ``entry``."""
        if entry not in self.journal:
            await self._marks.setdefault(entry, anyio.Event()).wait()

    def _note(self, entry: str, ctx: StepContext) -> None:
        self.journal.append(entry)
        self.times.append(anyio.current_time())
        self.contexts.append(ctx)
        if entry in self._marks:
            self._marks.pop(entry).set()

    def _next(self, part: str) -> Behaviour | None:
        told = self._told.get(part)
        return told.popleft() if told else self._always.get(part)

    # --- behaviours ----------------------------------------------------------------------------------------------

    def raises(self, error: BaseException) -> Behaviour:
        """It leaves no effect, and raises."""

        async def behave(ctx: StepContext) -> Any:
            raise error

        return behave

    def raises_after(self, error: BaseException) -> Behaviour:
        """It takes effect, and raises."""

        async def behave(ctx: StepContext) -> Any:
            self.take_effect(ctx)
            raise error

        return behave

    def hangs(self) -> Behaviour:
        """It takes effect, and does not end within an hour."""

        async def behave(ctx: StepContext) -> Any:
            self.take_effect(ctx)
            await anyio.sleep(3600)

        return behave

    def returns(self, value: Any) -> Behaviour:
        """It takes effect, and returns ``value``."""

        async def behave(ctx: StepContext) -> Any:
            self.take_effect(ctx)
            return value

        return behave

    def waits(self, gate: anyio.Event) -> Behaviour:
        """It waits for ``gate``, and then does as usual. Only for what has no timeout: idle, the clock jumps."""

        async def behave(ctx: StepContext) -> Any:
            await gate.wait()
            return self.take_effect(ctx)

        return behave

    def undoes_after(self, gate: anyio.Event) -> Behaviour:
        """A compensation that waits for ``gate`` first."""

        async def behave(ctx: StepContext) -> Any:
            await gate.wait()
            self.take_back(ctx)

        return behave

    def never_yields(self, seconds: float, then: BaseException | None = None) -> Behaviour:
        """It computes for ``seconds`` without letting anybody else run, takes effect, and returns or raises ``then``."""

        async def behave(ctx: StepContext) -> Any:
            pass_time(seconds)
            done = self.take_effect(ctx)
            if then is not None:
                raise then
            return done

        return behave

    def swallows(self, then: BaseException | None = None) -> Behaviour:
        """It takes effect, waits, swallows its cancellation, and returns or raises ``then``."""

        async def behave(ctx: StepContext) -> Any:
            done = self.take_effect(ctx)
            try:
                await anyio.sleep(3600)
            except anyio.get_cancelled_exc_class():
                if then is not None:
                    raise then from None
            return done

        return behave


def trip(
    *,
    timeout: float | None = 10,
    retry: Retry | None = None,
    undo_timeout: float | None = 60,
    undo_retry: Retry = _DEFAULT,
    idempotent: bool = False,
) -> Any:
    """A saga class of three steps that can all be undone; the options are those of ``second``."""

    class Trip(Saga, name="Trip"):
        traveller: str = "Ada"

        @step(timeout=None)
        async def first(self, world: Inject[World], ctx: StepContext) -> str:
            return str(await world.do(ctx))

        @compensates("first", timeout=None)
        async def undo_first(self, first: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
            await world.undo(ctx, first)

        @step(timeout=timeout, retry=retry, idempotent=idempotent)
        async def second(self, first: str, world: Inject[World], ctx: StepContext) -> str:
            output: str = await world.do(ctx)
            return output

        @compensates("second", timeout=undo_timeout, retry=undo_retry)
        async def undo_second(self, first: str, second: str | Unknown, world: Inject[World], ctx: StepContext) -> Any:
            return await world.undo(ctx, second)

        @step(timeout=None)
        async def third(self, world: Inject[World], ctx: StepContext) -> str:
            return str(await world.do(ctx))

        @compensates("third")
        async def undo_third(self, third: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
            await world.undo(ctx, third)

    return Trip


# --- the store -----------------------------------------------------------------------------------------------------


class Home:
    """A store, and a world that its sagas change."""

    def __init__(self, url: str, clock: VirtualClock) -> None:
        # Losing power is not what these tests are about, and waiting for the disk is most of their time.
        self.url = f"{url}?durability=process" if url.startswith("sqlite") else url
        self.clock = clock
        self.world = World()
        self.store = EventStore(self.url)

    def orchestrator(self, **options: Any) -> SagaOrchestrator:
        """One over this store, which outlives it."""
        options.setdefault("provide", {World: self.world})
        return SagaOrchestrator(self.store, clock=self.clock, **options)

    async def reopen(self) -> None:
        """Close the store and open it again; a memory store is gone when closed, and stays as it is."""
        if self.store.backend.durable:
            await self.store.close()
            self.store = EventStore(self.url)
            await self.store.open()

    @property
    def monitor(self) -> Monitor:
        return Monitor(self.store)

    async def timeline(self, saga_id: str) -> list[TimelineEntry]:
        return await self.monitor.timeline(saga_id)

    async def told(self, saga_id: str) -> list[str]:
        """The records of a saga in words."""
        return [tell(entry.record) for entry in await self.timeline(saga_id)]


@pytest.fixture
async def home(store_url: str, clock: VirtualClock) -> AsyncIterator[Home]:
    """A fresh one on each kind of store. What the test leaves in it is checked."""
    home = Home(store_url, clock)
    await home.store.open()
    yield home
    await assert_invariants(home.store)
    await home.store.close()


def tell(record: Record) -> str:
    """A record in words: ``"second unknown (deadline), again"``."""
    again = ", again" if getattr(record, "next_at", None) is not None else ""
    match record:
        case SagaStarted():
            return "started" if record.starts else "queued"
        case SagaAdmitted():
            return "admitted"
        case SagaRecovered():
            return "recovered"
        case StepSucceeded():
            return f"{record.step} succeeded{' late' if record.late else ''}"
        case StepOutputLost():
            return f"{record.step} lost its output{' late' if record.late else ''}"
        case StepFailed():
            return f"{record.step} {'was refused' if record.refused else 'failed'}{again}"
        case StepUnknown():
            return f"{record.step} unknown ({record.reason}){again}"
        case StepNotBegun():
            return f"{record.step} not begun"
        case StepStillRunning():
            return f"{record.step} still running{' undoing' if record.compensation else ''}"
        case CancelRequested():
            return "cancel requested"
        case DeadlinePassed():
            return "deadline passed"
        case RollbackBegun():
            return "rollback begun"
        case StepCompensated():
            return f"{record.step} compensated"
        case StepNotCompensated():
            return f"{record.step} not compensated{again}"
        case RetryRequested():
            return "retry requested"
        case SagaCompleted():
            return "completed"
        case SagaCompensated():
            return "compensated"
        case SagaFailed():
            return "failed"
        case SagaBlocked():
            return f"blocked ({record.kind})"
        case StepSkipped():
            return f"{record.step} skipped"
        case StepResolved():
            return f"{record.step} resolved ({record.outcome})"
        case SagaAbandoned():
            return "abandoned"


def facts(error: SagaError) -> dict[str, Any]:
    """All that an error says, but for the live exception behind it."""
    return {"class": type(error), "text": str(error), **vars(error)}


# --- what holds of every saga, whatever happened -------------------------------------------------------------------


async def assert_invariants(store: EventStore) -> None:
    """Check every stream of the store, and every saga in it."""
    rows = await _all_rows(store)
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    streams: dict[str, list[StoredRow]] = {}
    for row in rows:
        streams.setdefault(row.stream, []).append(row)
    for stream, members in streams.items():
        assert [row.revision for row in members] == list(range(1, len(members) + 1)), stream
        if stream.startswith("$saga/"):
            await _assert_saga(store, stream, members)


async def _all_rows(store: EventStore) -> list[StoredRow]:
    rows: list[StoredRow] = []
    while page := await store.backend.read_all(after=len(rows), system=True):
        rows += page
    return rows


async def _assert_saga(store: EventStore, stream: str, rows: list[StoredRow]) -> None:
    stored = await Monitor(store).read(stream.removeprefix("$saga/"))
    assert stored is not None
    head = await store.backend.get_head(stream)
    assert head == head_of(stream, stored.execution, digest_of(stored.started.input)), "the head is not the fold"
    records = [decode(row.type, row.schema_version, row.data) for row in rows]
    terminal = [record for record in records if isinstance(record, SagaCompleted | SagaCompensated | SagaAbandoned)]
    assert not terminal or (len(terminal) == 1 and records[-1] is terminal[0]), "something follows the end"
    assert bool(terminal) == (stored.execution.status in TERMINAL)
    _assert_order(records)
    if isinstance(records[-1], SagaCompensated):
        assert _in_effect(stored, records) == set(), "compensated, and something is left"


def _assert_order(records: list[Record]) -> None:
    rolling = False
    #: To be tried again, and not begun, for the orchestrator left: whoever takes the saga over says more.
    left = set[str]()
    for record in records:
        rolling = rolling or isinstance(record, RollbackBegun)
        assert not (isinstance(record, RollbackBegun) and left), f"{left} were to be tried again, and it turned back"
        if getattr(record, "next_at", None) is not None:
            left.add(getattr(record, "step"))  # noqa: B009 - three kinds of records have both
        if isinstance(record, SagaRecovered):
            left.clear()
        left -= {*(getattr(record, "starts", None) or ()), getattr(record, "compensates", None)}
        assert not (rolling and getattr(record, "starts", None)), f"{record} begins a step in a rollback"
        assert rolling or getattr(record, "compensates", None) is None, f"{record} undoes before the rollback"


def _in_effect(stored: StoredSaga, records: list[Record]) -> set[str]:
    """The steps that took effect, or may have, and were not undone; told without the fold."""
    nodes = {node.name: node for node in stored.execution.plan.nodes}
    standing: set[str] = set()
    running: set[str] = set()
    for record in records:
        match record:
            case StepSucceeded() | StepOutputLost() | StepUnknown():
                standing.add(record.step)
            case StepFailed() if nodes[record.step].idempotent:
                standing.discard(record.step)
            case StepCompensated() | StepSkipped() | StepResolved(outcome="not_done"):
                standing.discard(record.step)  # or a person saw to it
            case SagaRecovered():
                standing |= running
        running = (running - {getattr(record, "step", None)}) | set(getattr(record, "starts", None) or ())
    return {name for name in standing if nodes[name].compensated}
