"""The words in which it is told where a saga stands and what it does next: statuses, phases, causes, moves.

::

                     starts                 every step succeeded
    NOT_STARTED ───────────────► EXECUTING ─────────────────────► COMPLETED
         │                        │  ▲  │
         │ cancel      a failure  │  │  │ a step past the pivot is stuck
         │             or cancel  │  │  ▼
         └──────────────┐         │  BLOCKED ──┐ retry, skip, resolve, or what it waited for is there
                        ▼         ▼            │
                     COMPENSATING ◄────────────┘
                       │        │  ▲
       nothing is left │        │  │ retry, skip, resolve
                       ▼        ▼  │
                 COMPENSATED   FAILED           abandon: from whatever is not over ──► ABANDONED
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeAlias

from allframe.errors import ErrorInfo
from allframe.saga.context import Unknown, UnknownReason
from allframe.saga.records import StepResolved, StepSkipped

__all__ = [
    "RUNNING",
    "TERMINAL",
    "Block",
    "Cause",
    "CauseKind",
    "Compensate",
    "End",
    "Move",
    "Phase",
    "Run",
    "SagaStatus",
    "StepState",
    "Strand",
    "TurnBack",
    "Undo",
]


class SagaStatus(StrEnum):
    """Where a saga stands."""

    #: Recorded, and waiting for its turn.
    NOT_STARTED = "not_started"
    #: Its steps run.
    EXECUTING = "executing"
    #: What it did is being undone.
    COMPENSATING = "compensating"
    #: Every step succeeded.
    COMPLETED = "completed"
    #: Rolled back: nothing is left.
    COMPENSATED = "compensated"
    #: Rolled back as far as possible: something is left, and a person must look.
    FAILED = "failed"
    #: It cannot go on without a person or a deployment.
    BLOCKED = "blocked"
    #: A person gave it up.
    ABANDONED = "abandoned"


TERMINAL: Final = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.ABANDONED})
RUNNING: Final = frozenset({SagaStatus.NOT_STARTED, SagaStatus.EXECUTING, SagaStatus.COMPENSATING})


class Phase(Enum):
    """Where a step stands on its way forward."""

    WAITING = "waiting"
    RUNNING = "running"
    #: An attempt ended, and another is due.
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    #: It succeeded, and nobody has its output.
    LOST = "lost"
    #: It left no effect.
    NO_EFFECT = "no_effect"
    #: Nobody can say whether it took effect.
    UNKNOWN = "unknown"
    #: It did not succeed, and a person has it counted as done.
    SKIPPED = "skipped"


class Undo(Enum):
    """Where the compensation of a step stands."""

    NONE = "none"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    #: It was tried as often as it may be.
    EXHAUSTED = "exhausted"
    #: It was not undone, and a person has it counted as undone.
    SKIPPED = "skipped"


@dataclass(slots=True)
class StepState:
    """Where one step stands."""

    phase: Phase = Phase.WAITING
    #: Attempts begun.
    attempts: int = 0
    #: Attempts that ended, since the last fresh start, otherwise than by a crash: these count against the retry.
    spent: int = 0
    #: When the next attempt is due, or the open one was.
    next_at: int | None = None
    #: How many microseconds there were between the end of the last attempt and that.
    wait: int = 0
    #: Why nobody can say whether it took effect, once that is so. It stays, whatever a later attempt says.
    unknown: UnknownReason | None = None
    error: ErrorInfo | None = None
    #: JSON of what it returned, in this ``form``.
    output: bytes | None = None
    form: str = "value"
    #: Its place in the order in which steps ended.
    ended: int = 0
    undo: Undo = Undo.NONE
    undo_attempts: int = 0
    undo_spent: int = 0
    undo_next_at: int | None = None
    undo_wait: int = 0
    undo_error: ErrorInfo | None = None
    #: What a person said of it, last.
    verdict: StepSkipped | StepResolved | None = None

    def as_unknown(self) -> Unknown:
        """What its compensation is given in place of the output."""
        lost = self.phase is Phase.LOST
        reason = UnknownReason.OUTPUT_LOST if lost else self.unknown or UnknownReason.CRASH
        return Unknown(reason, self.error, self.attempts)


class CauseKind(Enum):
    """How the step ended that decided against the saga."""

    FAILED = "failed"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    UNKNOWN = "unknown"
    OUTPUT_LOST = "output_lost"
    #: Nobody knew, and a person found out that it left no effect.
    NOT_DONE = "not_done"


@dataclass(frozen=True, slots=True)
class Cause:
    """The first failure: what the saga's error tells."""

    step: int
    kind: CauseKind
    error: ErrorInfo | None
    #: The step's timeout in seconds, where its deadline passed.
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Begin an attempt of a step, not before ``at``."""

    step: int
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Compensate:
    """Begin an attempt to undo a step, not before ``at``."""

    step: int
    at: int | None = None


@dataclass(frozen=True, slots=True)
class TurnBack:
    """Nothing runs any more: begin the rollback."""


@dataclass(frozen=True, slots=True)
class Strand:
    """Do not undo this step: the compensation needs an output that does not exist."""

    step: int


@dataclass(frozen=True, slots=True)
class Block:
    """Wait for a person."""

    step: int
    kind: str


@dataclass(frozen=True, slots=True)
class End:
    """It is over."""

    status: SagaStatus


Move: TypeAlias = Run | Compensate | TurnBack | Strand | Block | End
