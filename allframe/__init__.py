"""Sagas for Python: business transactions across services that finish or roll back, whatever happens to the process."""

from __future__ import annotations

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


def _name_errors() -> None:
    """An error is told, stored and looked up by its public name, not by the room where it is made."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type) and issubclass(value, Exception):
            value.__module__ = __name__


_name_errors()
