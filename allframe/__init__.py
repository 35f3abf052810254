"""Sagas for Python: business transactions across services that finish or roll back, whatever happens to the process."""

from __future__ import annotations

from allframe.cqrs.projection import Projection, SqlProjection
from allframe.cqrs.projections import ProjectionRegistry
from allframe.cqrs.standing import ProjectionMetadata, ProjectionState
from allframe.errors import (
    AllframeError,
    AlreadyExecuting,
    CancelRefused,
    CompensationFailed,
    ConcurrencyError,
    DefinitionError,
    DependencyMissing,
    ErrorInfo,
    OperationRefused,
    OrchestratorClosed,
    PayloadError,
    ProjectionFailed,
    ProjectionRefused,
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
from allframe.events.event import Event, RecordedEvent
from allframe.events.store import EventStore
from allframe.events.tables import Transaction
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
    "Event",
    "EventStore",
    "RecordedEvent",
    "correlated",
    # what follows from events
    "Projection",
    "ProjectionMetadata",
    "ProjectionRegistry",
    "ProjectionState",
    "SqlProjection",
    "Transaction",
    # errors
    "AllframeError",
    "AlreadyExecuting",
    "CancelRefused",
    "CompensationFailed",
    "ConcurrencyError",
    "DefinitionError",
    "DependencyMissing",
    "OperationRefused",
    "OrchestratorClosed",
    "PayloadError",
    "ProjectionFailed",
    "ProjectionRefused",
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
