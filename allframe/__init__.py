"""Sagas for Python: business transactions across services that finish or roll back, whatever happens to the process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from allframe.errors import (
    AllframeError,
    AlreadyExecuting,
    CancelRefused,
    CommandDeadlock,
    CommandError,
    CommandInvalid,
    CommandNotFound,
    CommandRejected,
    CompensationFailed,
    ConcurrencyError,
    DefinitionError,
    DependencyMissing,
    ErrorInfo,
    FieldError,
    IdempotencyConflict,
    OperationRefused,
    OrchestratorClosed,
    PayloadError,
    Problem,
    ProjectionFailed,
    ProjectionRefused,
    QueryError,
    QueryInvalid,
    QueryNotFound,
    SagaAbandoned,
    SagaBlocked,
    SagaCancelled,
    SagaError,
    SagaIdConflict,
    SagaIdInvalid,
    SagaNotFound,
    SagaTimedOut,
    StepFailed,
    StepOutputLost,
    StepRefused,
    StepTimedOut,
    StepUnknown,
    StoreError,
    StoreFormatError,
    StoreInUse,
    StoreUnavailable,
)

if TYPE_CHECKING:  # at run time each is imported when it is first asked for: see `__getattr__`
    from allframe.cqrs.aggregate import Aggregate
    from allframe.cqrs.command import Command
    from allframe.cqrs.command_bus import CommandBus
    from allframe.cqrs.context import CommandContext
    from allframe.cqrs.projection import Projection, SqlProjection
    from allframe.cqrs.projections import ProjectionRegistry
    from allframe.cqrs.query import Query
    from allframe.cqrs.query_bus import QueryBus
    from allframe.cqrs.repository import Repository
    from allframe.cqrs.standing import ProjectionMetadata, ProjectionState
    from allframe.events.correlation import correlated
    from allframe.events.event import Event
    from allframe.events.recorded import RecordedEvent
    from allframe.events.snapshots import Snapshot
    from allframe.events.store import EventStore
    from allframe.events.tables import Transaction
    from allframe.events.upcasting import AutoUpcaster, Upcaster, upcasts
    from allframe.events.versioning import MigrationPath, VersionRegistry
    from allframe.inject import Inject
    from allframe.saga.builder import SagaDefinition
    from allframe.saga.context import EffectUnknown, Refused, StepContext, Unknown
    from allframe.saga.declare import Saga, compensates, step
    from allframe.saga.graph import SagaGraph
    from allframe.saga.handle import SagaHandle
    from allframe.saga.monitor import SagaMetadata
    from allframe.saga.orchestrator import SagaOrchestrator
    from allframe.saga.outcome import SagaOutcome
    from allframe.saga.recorded import SagaRecord
    from allframe.saga.retry import Retry
    from allframe.saga.states import SagaStatus
    from allframe.saga.steps import SagaStep
    from allframe.saga.sync import run

__version__ = "0.1.0"

__all__ = [
    # declaring
    "Saga",
    "SagaDefinition",
    "SagaGraph",
    "SagaStep",
    "compensates",
    "step",
    # inside steps
    "EffectUnknown",
    "Inject",
    "Refused",
    "Retry",
    "StepContext",
    "Unknown",
    # running and monitoring
    "ErrorInfo",
    "SagaHandle",
    "SagaMetadata",
    "SagaOrchestrator",
    "SagaOutcome",
    "SagaRecord",
    "SagaStatus",
    "run",
    # events
    "AutoUpcaster",
    "Event",
    "EventStore",
    "MigrationPath",
    "RecordedEvent",
    "Snapshot",
    "Upcaster",
    "VersionRegistry",
    "correlated",
    "upcasts",
    # commands, queries and what follows from events
    "Aggregate",
    "Command",
    "CommandBus",
    "CommandContext",
    "Projection",
    "ProjectionMetadata",
    "ProjectionRegistry",
    "ProjectionState",
    "Query",
    "QueryBus",
    "Repository",
    "SqlProjection",
    "Transaction",
    # errors
    "AllframeError",
    "AlreadyExecuting",
    "CancelRefused",
    "CommandDeadlock",
    "CommandError",
    "CommandInvalid",
    "CommandNotFound",
    "CommandRejected",
    "CompensationFailed",
    "ConcurrencyError",
    "DefinitionError",
    "DependencyMissing",
    "FieldError",
    "IdempotencyConflict",
    "OperationRefused",
    "OrchestratorClosed",
    "PayloadError",
    "Problem",
    "ProjectionFailed",
    "ProjectionRefused",
    "QueryError",
    "QueryInvalid",
    "QueryNotFound",
    "SagaAbandoned",
    "SagaBlocked",
    "SagaCancelled",
    "SagaError",
    "SagaIdConflict",
    "SagaIdInvalid",
    "SagaNotFound",
    "SagaTimedOut",
    "StepFailed",
    "StepOutputLost",
    "StepRefused",
    "StepTimedOut",
    "StepUnknown",
    "StoreError",
    "StoreFormatError",
    "StoreInUse",
    "StoreUnavailable",
]

#: Where each name is made, save errors: imported when it is asked for, as pydantic does, so that `import allframe` costs
#: next to nothing, and a program that has only events loads no sagas.
_ROOMS = {
    "Aggregate": "allframe.cqrs.aggregate",
    "Command": "allframe.cqrs.command",
    "CommandBus": "allframe.cqrs.command_bus",
    "CommandContext": "allframe.cqrs.context",
    "Projection": "allframe.cqrs.projection",
    "SqlProjection": "allframe.cqrs.projection",
    "ProjectionRegistry": "allframe.cqrs.projections",
    "Query": "allframe.cqrs.query",
    "QueryBus": "allframe.cqrs.query_bus",
    "Repository": "allframe.cqrs.repository",
    "ProjectionMetadata": "allframe.cqrs.standing",
    "ProjectionState": "allframe.cqrs.standing",
    "correlated": "allframe.events.correlation",
    "Event": "allframe.events.event",
    "RecordedEvent": "allframe.events.recorded",
    "Snapshot": "allframe.events.snapshots",
    "EventStore": "allframe.events.store",
    "Transaction": "allframe.events.tables",
    "AutoUpcaster": "allframe.events.upcasting",
    "Upcaster": "allframe.events.upcasting",
    "upcasts": "allframe.events.upcasting",
    "MigrationPath": "allframe.events.versioning",
    "VersionRegistry": "allframe.events.versioning",
    "Inject": "allframe.inject",
    "SagaDefinition": "allframe.saga.builder",
    "EffectUnknown": "allframe.saga.context",
    "Refused": "allframe.saga.context",
    "StepContext": "allframe.saga.context",
    "Unknown": "allframe.saga.context",
    "Saga": "allframe.saga.declare",
    "compensates": "allframe.saga.declare",
    "step": "allframe.saga.declare",
    "SagaGraph": "allframe.saga.graph",
    "SagaHandle": "allframe.saga.handle",
    "SagaMetadata": "allframe.saga.monitor",
    "SagaOrchestrator": "allframe.saga.orchestrator",
    "SagaOutcome": "allframe.saga.outcome",
    "SagaRecord": "allframe.saga.recorded",
    "Retry": "allframe.saga.retry",
    "SagaStatus": "allframe.saga.states",
    "SagaStep": "allframe.saga.steps",
    "run": "allframe.saga.sync",
}
#: What can be read of the package besides: `allframe.events` and the like.
_PACKAGES = {room.split(".")[1] for room in _ROOMS.values()}


def __getattr__(name: str) -> Any:
    if room := _ROOMS.get(name):
        value = globals()[name] = getattr(import_module(room), name)
        return value
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS, *_PACKAGES})
