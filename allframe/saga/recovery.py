"""A stored saga made runnable again, or the reason why it cannot be.

Nothing of the user's runs here. The class is found by its stored name and version among those that were imported; a
changed one goes on if what it changed has not happened yet. Whatever is missing blocks this saga and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allframe.errors import AllframeError, StoreFormatError
from allframe.events.backend import EventStoreBackend
from allframe.events.event import Event, Versions
from allframe.events.recorded import to_recorded
from allframe.events.versioning import VersionRegistry
from allframe.saga.building import graph_of, places_of
from allframe.saga.engine import Engine
from allframe.saga.execution import Execution
from allframe.saga.graph import SagaGraph
from allframe.saga.monitor import Monitor, StoredSaga
from allframe.saga.outputs import load_output
from allframe.saga.records import BlockedKind
from allframe.saga.running import RunningSaga, digest_of
from allframe.saga.states import Phase

__all__ = ["CannotLoad", "FindClass", "differences", "events_of", "load", "restore"]

#: From a stored name and version to the class, or None.
FindClass = Callable[[str, int], Any]


@dataclass
class CannotLoad(Exception):
    """Why a stored saga cannot run."""

    #: One of `BlockedKind`.
    kind: str
    reason: str

    def __str__(self) -> str:
        return self.reason


async def load(engine: Engine, monitor: Monitor, saga_id: str, find: FindClass) -> RunningSaga:
    """The saga as it stands in the store, ready to go on.

    Raises:
        CannotLoad: if its class or what it injects is not there, or has changed too much.
    """
    saga = await restore(engine, monitor, saga_id, find)
    missing = engine.provider.missing(saga.graph.wanted())
    if missing:
        raise CannotLoad(
            BlockedKind.DEPENDENCY, f"Nothing provides {missing}. The orchestrator has {engine.provider.names()}."
        )
    return saga


async def restore(engine: Engine, monitor: Monitor, saga_id: str, find: FindClass) -> RunningSaga:
    """The saga as it stands in the store, to be looked at.

    Raises:
        CannotLoad: if its class is not there, or has changed too much.
    """
    try:
        stored = await monitor.read(saga_id)
    except StoreFormatError as error:
        raise CannotLoad(BlockedKind.CODE, str(error)) from error
    if stored is None:
        raise CannotLoad(BlockedKind.CODE, "Its records are gone.")
    graph = _built_graph_of(stored, engine.catalog.find_step) if stored.started.built else _graph_of(stored, find)
    execution, definition = await _fit(monitor, stored, graph)
    changed = definition != execution.definition
    execution.definition = definition
    return RunningSaga(
        id=saga_id,
        saga=_input_of(stored, graph),
        graph=graph,
        engine=engine,
        execution=execution,
        digest=digest_of(stored.started.input),
        outputs=_outputs_of(execution, graph, engine.versions),
        events=None,
        redefined=definition if changed else None,
    )


async def events_of(
    monitor: Monitor, backend: EventStoreBackend, saga_id: str, versions: VersionRegistry | None = None
) -> list[Event]:
    """What the saga emitted, oldest first: each record is preceded, in the store, by the events that go with it.

    Raises:
        StoreFormatError: if this program lacks the class of one of them.
    """
    found: list[Event] = []
    for entry in await monitor.timeline(saga_id):
        count = getattr(entry.record, "emitted", 0)
        if count:
            rows = await backend.read_all(after=entry.position - count - 1, limit=count, system=True)
            found += [to_recorded(row, versions).event for row in rows]
    return found


def _graph_of(stored: StoredSaga, find: FindClass) -> SagaGraph:
    name, version = stored.started.saga, stored.started.version
    try:
        cls = find(name, version)
        graph: SagaGraph | None = None if cls is None else cls.graph
    except AllframeError as error:
        raise CannotLoad(BlockedKind.CODE, str(error)) from error
    if graph is None:
        raise CannotLoad(
            BlockedKind.CODE,
            f"This program has no saga class {name!r} of version {version}. Import the module that defines it, before the "
            "orchestrator is entered.",
        )
    return graph


def _built_graph_of(stored: StoredSaga, find_step: FindClass) -> SagaGraph:
    """The graph of a saga whose steps are part of its input."""
    try:
        return graph_of(stored.started.saga, places_of(stored.started.input, find_step))
    except AllframeError as error:
        raise CannotLoad(BlockedKind.CODE, str(error)) from error


async def _fit(monitor: Monitor, stored: StoredSaga, graph: SagaGraph) -> tuple[Execution, str]:
    """The execution by today's graph.

    Raises:
        CannotLoad: if what has happened already cannot have happened in it.
    """
    if stored.execution.definition == graph.fingerprint:
        return stored.by(graph.plan), graph.fingerprint  # what is stored of a plan says nothing of retries
    description = await monitor.description(stored.execution.definition)
    changes = "; ".join(differences(description, graph.description))
    try:
        today = stored.by(graph.plan)
    except StoreFormatError as error:
        raise CannotLoad(BlockedKind.CODE, f"Its class has changed too much: {changes}.") from error
    contradictions = _contradictions(today, stored.execution, graph)
    if contradictions:
        reason = f"Its class has changed too much: {'; '.join(contradictions)}. All changes: {changes}."
        raise CannotLoad(BlockedKind.CODE, reason)
    return today, graph.fingerprint


def _contradictions(today: Execution, before: Execution, graph: SagaGraph) -> list[str]:
    """What has happened and could not have happened in today's graph."""
    found = []
    old = {node.name: node for node in before.plan.nodes}
    for i, node in enumerate(graph.plan.nodes):
        state = today.steps[i]
        if state.phase is Phase.WAITING:
            continue
        early = [j for j in node.after if today.steps[j].phase not in (Phase.SUCCEEDED, Phase.LOST, Phase.SKIPPED)]
        if early:
            names = ", ".join(repr(graph.plan.nodes[j].name) for j in early)
            found.append(f"step {node.name!r} has begun, and now comes after {names}, which has not succeeded")
        was = old[node.name]
        if was.compensated and not node.compensated:
            found.append(f"step {node.name!r} has begun, and has no compensation any more")
        if (was.pivot, was.readonly) != (node.pivot, node.readonly):
            found.append(f"step {node.name!r} has begun, and is not the pivot or readonly as it was")
    return found


def _input_of(stored: StoredSaga, graph: SagaGraph) -> Any:
    try:
        return graph.model.load(stored.started.input, "Its stored input")
    except Exception as error:  # a validator of the user's may raise anything
        raise CannotLoad(BlockedKind.CODE, _sentence(error)) from error


def _outputs_of(execution: Execution, graph: SagaGraph, versions: Versions | None) -> dict[int, Any]:
    found = {}
    for i, state in enumerate(execution.steps):
        if state.output is not None:
            try:
                found[i] = load_output(graph.steps[i], state.output, state.form, versions)
            except Exception as error:  # as above
                raise CannotLoad(BlockedKind.CODE, _sentence(error)) from error
    return found


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, AllframeError) else f"{type(error).__qualname__}: {error}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How two stored definitions differ, a line each."""
    found = []
    if old["input"] != new["input"]:
        found.append("the input has changed")
    before = {step["name"]: step for step in old["steps"]}
    after = {step["name"]: step for step in new["steps"]}
    found += [f"step {name!r} is gone" for name in before if name not in after]
    found += [f"step {name!r} is new" for name in after if name not in before]
    for name, step in after.items():
        was = before.get(name, step)
        found += [
            f"{key} of step {name!r} was {was[key]!r} and is {step[key]!r}" for key in step if step[key] != was.get(key)
        ]
    return found or ["nothing but the order of steps"]
