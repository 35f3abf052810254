"""What is written of a saga, in the past tense.

A saga's stream ``$saga/<id>`` holds these records and nothing else; where it stands is their fold
(`allframe.saga.execution`). What ended and what begins share one record: ``starts`` names the steps, and
``compensates`` the step being undone, whose next attempt begins once the record is safe. The intent is durable before
the effect, without a commit of its own.

What is stored is final: a field may be added with a default, none may change its meaning. Times are microseconds since
1970, UTC. Steps are named by their stored names, and an ``attempt`` counts from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

from allframe.errors import ErrorInfo
from allframe.saga.context import UnknownReason

__all__ = [
    "BlockedKind",
    "CancelRequested",
    "DeadlinePassed",
    "Form",
    "Intent",
    "Outcome",
    "Record",
    "RetryRequested",
    "RollbackBegun",
    "SagaAbandoned",
    "SagaAdmitted",
    "SagaBlocked",
    "SagaCompensated",
    "SagaCompleted",
    "SagaFailed",
    "SagaRecovered",
    "SagaStarted",
    "StepCompensated",
    "StepFailed",
    "StepNotBegun",
    "StepNotCompensated",
    "StepOutputLost",
    "StepStillRunning",
    "StepResolved",
    "StepSkipped",
    "StepSucceeded",
    "StepUnknown",
]

#: How an output is stored.
Form: TypeAlias = Literal["value", "event", "events"]
#: What somebody found out of a step.
Outcome: TypeAlias = Literal["done", "not_done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The base of records that can say what begins next."""

    #: Steps whose next attempt begins.
    starts: tuple[str, ...] = ()
    #: The step whose compensation is tried next.
    compensates: str | None = None


# --- a saga begins, waits and goes on --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStarted(Intent):
    """The saga exists. Without ``starts`` it waits for its turn."""

    type: ClassVar[str] = "$saga.started"
    #: The stored name and version of the class.
    saga: str
    version: int
    #: The fingerprint of its graph; the stream ``$definition/<fingerprint>`` holds the graph.
    definition: str
    #: JSON of the saga's fields.
    input: bytes = field(repr=False)
    epoch: int
    #: When its timeout passes, if it has one.
    deadline: int | None = None
    #: The steps are part of the input, and no class is stored under ``saga``: a `SagaDefinition`.
    built: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaAdmitted(Intent):
    """Its turn came."""

    type: ClassVar[str] = "$saga.admitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRecovered(Intent):
    """Another opening of the store took it over: attempts that were open ended unknown, by a crash."""

    type: ClassVar[str] = "$saga.recovered"
    epoch: int
    #: How often in a row it was taken over with an attempt open, after an owner that died.
    recoveries: int
    #: The fingerprint of the graph that it goes on with, where that is another one.
    definition: str | None = None


# --- a step ended ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSucceeded(Intent):
    """It returned, and the output is stored."""

    type: ClassVar[str] = "$saga.step_succeeded"
    step: str
    attempt: int
    #: JSON, as ``form`` says.
    output: bytes = field(repr=False)
    #: ``"value"``; or ``"event"``, ``"events"``: stored by their own classes.
    form: Form = "value"
    #: How many events, standing right before this commit's records, it emitted.
    emitted: int = 0
    #: It returned after its deadline, and had this many seconds.
    late: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutputLost(Intent):
    """It returned something that cannot be stored: it took effect, and nobody has its output."""

    type: ClassVar[str] = "$saga.step_output_lost"
    step: str
    attempt: int
    error: ErrorInfo
    late: bool = False
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Intent):
    """It raised an ordinary error: it left no effect."""

    type: ClassVar[str] = "$saga.step_failed"
    step: str
    attempt: int
    error: ErrorInfo
    #: It raised ``Refused``.
    refused: bool = False
    #: False where its body never began: what it injects could not be made. That says nothing of earlier attempts.
    begun: bool = True
    #: When the next attempt is due, if there is one.
    next_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUnknown(Intent):
    """Nobody can say whether it took effect."""

    type: ClassVar[str] = "$saga.step_unknown"
    step: str
    attempt: int
    reason: UnknownReason
    error: ErrorInfo | None = None
    #: The seconds it had, where its deadline passed.
    timeout: float | None = None
    next_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNotBegun(Intent):
    """The attempt was announced, and its body never began: it had no effect."""

    type: ClassVar[str] = "$saga.step_not_begun"
    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStillRunning:
    """An attempt was to end, for its deadline passed or it was cut, and does not: everything waits for it."""

    type: ClassVar[str] = "$saga.step_still_running"
    step: str
    attempt: int
    #: It is the compensation that does not end.
    compensation: bool = False


# --- the rollback ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody wants it undone."""

    type: ClassVar[str] = "$saga.cancel_requested"
    reason: str
    actor: str
    #: The revision that whoever asked had seen, where they said so.
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed(Intent):
    """The saga's own timeout has passed: it is undone, unless it can only go forward."""

    type: ClassVar[str] = "$saga.deadline_passed"
    #: The seconds that it had.
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBegun(Intent):
    """Nothing runs any more, and what was done is undone from here on."""

    type: ClassVar[str] = "$saga.rollback_begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompensated(Intent):
    """It was undone."""

    type: ClassVar[str] = "$saga.step_compensated"
    step: str
    attempt: int
    emitted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNotCompensated(Intent):
    """An attempt to undo it failed. ``attempt`` 0: it was not tried, for the output that it needs does not exist."""

    type: ClassVar[str] = "$saga.step_not_compensated"
    step: str
    attempt: int
    error: ErrorInfo
    #: The seconds it had, where its deadline passed.
    timeout: float | None = None
    next_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested(Intent):
    """Somebody wants what is stuck tried again, with fresh attempts."""

    type: ClassVar[str] = "$saga.retry_requested"
    reason: str
    actor: str
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Intent):
    """Somebody wants it counted as undone in a rollback, or as done after the pivot, though it is not."""

    type: ClassVar[str] = "$saga.step_skipped"
    step: str
    reason: str
    actor: str
    expected_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResolved(Intent):
    """Somebody found out whether it took effect, or what it returned."""

    type: ClassVar[str] = "$saga.step_resolved"
    step: str
    outcome: Outcome
    reason: str
    actor: str
    expected_revision: int | None = None
    #: JSON of what it returned, as ``form`` says; None where that was not told.
    output: bytes | None = None
    form: Form = "value"
    #: How many events, standing right before this commit's records, are in that output.
    emitted: int = 0


# --- how it ended ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCompleted:
    type: ClassVar[str] = "$saga.completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaCompensated:
    """Nothing is left of it."""

    type: ClassVar[str] = "$saga.compensated"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaFailed:
    """It was rolled back as far as possible."""

    type: ClassVar[str] = "$saga.failed"
    #: The steps that are still in effect, in the order of the body.
    uncompensated: tuple[str, ...]


class BlockedKind:
    """What a blocked saga waits for. The first two go on by themselves, at the next opening that has it."""

    #: A class that can read it.
    CODE: Final = "code"
    #: An object that its steps inject.
    DEPENDENCY: Final = "dependency"
    MENDABLE: Final = (CODE, DEPENDENCY)
    #: A person, for a step that can only go forward has failed for good.
    STEP: Final = "step"
    #: A person, for a step's output is lost and a later one takes it.
    OUTPUT: Final = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaBlocked:
    """It cannot go on without a person or a deployment."""

    type: ClassVar[str] = "$saga.blocked"
    kind: str
    reason: str
    #: The opening that found it so.
    epoch: int
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaAbandoned:
    """Somebody gave it up: nothing more happens to it."""

    type: ClassVar[str] = "$saga.abandoned"
    reason: str
    actor: str
    expected_revision: int | None = None
    #: The steps that are still in effect, and those that may be, in the order of the body.
    in_effect: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()


Record: TypeAlias = (
    SagaStarted
    | SagaAdmitted
    | SagaRecovered
    | StepSucceeded
    | StepOutputLost
    | StepFailed
    | StepUnknown
    | StepNotBegun
    | StepStillRunning
    | CancelRequested
    | DeadlinePassed
    | RollbackBegun
    | StepCompensated
    | StepNotCompensated
    | RetryRequested
    | StepSkipped
    | StepResolved
    | SagaCompleted
    | SagaCompensated
    | SagaFailed
    | SagaBlocked
    | SagaAbandoned
)
