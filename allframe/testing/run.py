"""`run_saga`: one saga run to its end, with the endings that a test gives it, and what came of that."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import anyio

from allframe.errors import ErrorInfo, SagaError
from allframe.events.backend import EventStoreBackend, new_id
from allframe.events.event import Event
from allframe.events.store import EventStore
from allframe.saga.builder import SagaDefinition
from allframe.saga.declare import Saga
from allframe.saga.graph import SagaGraph
from allframe.saga.monitor import Monitor
from allframe.saga.orchestrator import SagaOrchestrator
from allframe.saga.outcome import SagaOutcome
from allframe.saga.running import RunningSaga
from allframe.saga.states import SagaStatus
from allframe.testing.clock import VirtualClock
from allframe.testing.mortal import Mortal, open_backend
from allframe.testing.outcomes import Outcomes
from allframe.testing.script import Script
from allframe.testing.stage import Stage, StageClock
from allframe.testing.trace import TraceEntry, trace_of

__all__ = ["SagaRun", "run_saga", "run_saga_sync"]


@dataclass(frozen=True)
class SagaRun:
    """What came of a saga."""

    #: How it ended, as whoever waits for it is told.
    outcome: SagaOutcome
    #: Every attempt that ended, in order: ``["debit", "credit: timed out", "undo credit", "undo debit"]``.
    trace: list[TraceEntry]
    #: The steps that are still in effect although they were to be undone: empty, unless it is ``FAILED``.
    left: tuple[str, ...]
    #: Seconds from its first record to its last, on the clock of the run: waits that were skipped count.
    seconds: float

    @property
    def id(self) -> str:
        return self.outcome.id

    @property
    def status(self) -> SagaStatus:
        return self.outcome.status

    @property
    def undone(self) -> list[str]:
        """The steps whose compensation did its work, in that order."""
        return [entry.step for entry in self.trace if entry.undo and entry.ending == "done"]

    @property
    def error(self) -> SagaError | None:
        """What `SagaOrchestrator.execute` raises for it; None if it completed."""
        try:
            self.outcome.raise_for_status()
        except SagaError as error:
            return error
        return None

    @property
    def info(self) -> ErrorInfo | None:
        """The error that decided against it, as it is stored."""
        return self.outcome.error

    @property
    def outputs(self) -> Mapping[str, Any]:
        return self.outcome.outputs

    @property
    def events(self) -> list[Event]:
        """What its steps and compensations emitted, oldest first."""
        return self.outcome.events


async def run_saga(
    saga: Saga | SagaDefinition,
    *,
    outcomes: Outcomes | None = None,
    provide: Mapping[Any, object] | None = None,
    store: EventStore | str | None = None,
    id: str | None = None,  # noqa: A002 - the word of the whole API
    **options: Any,
) -> SagaRun:
    """Run a saga to its end by the orchestrator of production, and return what came of it; how it ends never raises.

    ::

        run = await run_saga(TransferMoney(...), provide={Bank: bank}, outcomes={"credit": Timeout})
        assert run.trace == ["debit", "credit: timed out", "undo credit", "undo debit"]

    Nobody waits for a timeout that was staged, or for a retry. What the steps themselves wait for takes its time, unless
    the loop runs by a `VirtualClock`.

    Args:
        saga: The saga with its input, or one that was built.
        outcomes: How attempts end, by the name of a step or of a compensation; ``"undo <step>"`` means the compensation
            of that step. One ending is for every attempt (`Crash`: for the first), a list for consecutive ones; after
            its end, and for a part that is not named, the body runs. See `allframe.testing.outcomes`.
        provide: As `SagaOrchestrator` takes it.
        store: As `SagaOrchestrator` takes it. With `Crash`, it is closed and opened again on the way.
        id: As `SagaOrchestrator.execute` takes it; one that was built has its own.
        options: More that `SagaOrchestrator` takes.

    Raises:
        ValueError: ``outcomes`` names what the saga does not have, or an ending that it cannot have there.
        DependencyMissing, SagaIdConflict, PayloadError, StoreError: as `SagaOrchestrator.start`.
    """
    graph, classes = _parts_of(saga)
    script = Script(graph, outcomes or {})
    clock = StageClock()
    if isinstance(saga, SagaDefinition):
        id = saga.id_for(id)  # noqa: A001 - as above
    saga_id = str(uuid.UUID(bytes=new_id())) if id is None else id
    if store is None:
        options.setdefault("sagas", classes)  # another test may have a class of the same name
    async with open_backend(store) as backend:
        while True:
            stage = Stage(saga_id, script, clock)
            async with EventStore(cast("EventStoreBackend", Mortal(backend, stage.crashed))) as opened:
                orchestrator = _Rehearsed(opened, stage, provide=provide, clock=clock, **{"grace": 0, **options})
                outcome = await _live(orchestrator, saga, stage, saga_id)
                if outcome is not None:
                    return await _told(outcome, graph, opened)


def run_saga_sync(saga: Saga | SagaDefinition, *, backend: str = "asyncio", **arguments: Any) -> SagaRun:
    """As `run_saga`, for tests that are not async: it runs in a loop of its own, by a `VirtualClock` of its own.

    ``backend``: ``"asyncio"`` or ``"trio"``. ``arguments``: those of `run_saga`.
    """
    return VirtualClock().run(partial(run_saga, saga, **arguments), backend=backend)


class _Rehearsed(SagaOrchestrator):
    def __init__(self, store: EventStore, stage: Stage, **options: Any) -> None:
        super().__init__(store, **options)
        self._rehearsal = stage
        stage.find = self._running

    def _running(self, saga_id: str) -> RunningSaga | None:
        assert self._registry is not None
        entry = self._registry.entries.get(saga_id)
        return None if entry is None else entry.running

    def die(self) -> None:
        """A process that was killed says nothing of what it drops."""
        assert self._registry is not None
        self._registry.entries.clear()


async def _live(
    orchestrator: _Rehearsed, saga: Saga | SagaDefinition, stage: Stage, saga_id: str
) -> SagaOutcome | None:
    """How the saga ended; None if the process died before that."""
    async with orchestrator:
        handle = await orchestrator.start(saga, id=saga_id)
        ended: list[SagaOutcome | Exception] = []
        async with anyio.create_task_group() as waiting:

            async def wait_for_end() -> None:
                try:
                    ended.append(await handle.outcome())
                except Exception as error:  # noqa: BLE001 - raised below, without the group around it
                    ended.append(error)
                waiting.cancel_scope.cancel()

            waiting.start_soon(wait_for_end)
            await stage.crashed.wait()
            waiting.cancel_scope.cancel()
        if ended and isinstance(ended[0], Exception):
            raise ended[0]
        if ended:
            return cast("SagaOutcome", ended[0])
        orchestrator.die()
        return None


def _parts_of(saga: Saga | SagaDefinition) -> tuple[SagaGraph, list[type]]:
    """What it runs by, and the classes that it takes to recover it."""
    given: object = saga
    if isinstance(given, SagaDefinition):
        return given.graph, [type(step) for step in given.steps.values()]
    if not isinstance(given, Saga) or type(given) is Saga:
        raise TypeError(f"Expected an instance of a Saga class, or a SagaDefinition, found {given!r}.")
    return type(given).graph, [type(given)]


async def _told(outcome: SagaOutcome, graph: SagaGraph, store: EventStore) -> SagaRun:
    stored = await Monitor(store).read(outcome.id)
    assert stored is not None, "it has an outcome"
    execution = stored.execution
    return SagaRun(
        outcome=outcome,
        trace=trace_of(graph, stored.records),
        left=tuple(graph.steps[graph.plan.index[name]].attribute for name in execution.uncompensated),
        seconds=(execution.updated_at - execution.started_at) / 1e6,
    )
