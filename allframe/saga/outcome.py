"""How a saga ended, for whoever waits for it: `SagaOutcome`, and the error that tells the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from allframe.errors import (
    CompensationFailed,
    ErrorInfo,
    SagaAbandoned,
    SagaBlocked,
    SagaCancelled,
    SagaError,
    SagaTimedOut,
    StepFailed,
    StepOutputLost,
    StepRefused,
    StepTimedOut,
    StepUnknown,
)
from allframe.events.event import Event
from allframe.masking import shown
from allframe.saga.execution import Execution
from allframe.saga.records import StepResolved
from allframe.saga.states import Cause, CauseKind, Phase, SagaStatus, Undo

__all__ = ["SagaOutcome", "error_of", "info_of"]


@dataclass(frozen=True, repr=False)
class SagaOutcome:
    """How a saga ended, or where it stopped."""

    id: str
    status: SagaStatus
    #: What the steps returned, by the name of their method; those that succeeded.
    outputs: Mapping[str, Any]
    #: What the last step of the body returned; None if it did not succeed.
    output: Any
    #: What its steps and compensations emitted, oldest first.
    events: list[Event]
    #: The error that decided against it, or None.
    error: ErrorInfo | None
    #: The errors of other branches that failed as well.
    suppressed: tuple[ErrorInfo, ...] = ()
    _failure: SagaError | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        named = [f for f in fields(self) if f.repr]
        return f"SagaOutcome({', '.join(f'{f.name}={shown(getattr(self, f.name))}' for f in named)})"

    def raise_for_status(self) -> None:
        """Raise the `SagaError` that tells why it did not complete; return if it did."""
        if self._failure is not None:
            raise self._failure


def info_of(execution: Execution) -> ErrorInfo | None:
    """The stored error that decided against the saga, or that it is stuck on."""
    if execution.cause is not None:
        return execution.cause.error
    if execution.blocked is not None and execution.blocked.step is not None:
        return execution.steps[execution.plan.index[execution.blocked.step]].error
    return None


def error_of(saga_id: str, title: str, execution: Execution, live: BaseException | None = None) -> SagaError | None:
    """The error that tells how the saga ended, made from its records alone; None if it completed.

    ``title``: the stored name of the saga. ``live``: the exception behind it, where this process saw it.
    """
    error = _error(saga_id, title, execution)
    if error is not None:
        error.__cause__ = live
    return error


def _error(saga_id: str, title: str, execution: Execution) -> SagaError | None:
    match execution.status:
        case SagaStatus.COMPENSATED:
            return _rolled_back(saga_id, title, execution)
        case SagaStatus.FAILED:
            return _left_behind(saga_id, title, execution)
        case SagaStatus.BLOCKED:
            blocked = execution.blocked
            assert blocked is not None
            index = None if blocked.step is None else execution.plan.index.get(blocked.step)
            return SagaBlocked(
                f"{title} {saga_id!r} cannot go on: {blocked.reason} {_what_next(blocked.kind)}",
                reason=blocked.reason,
                saga_id=saga_id,
                step_name=blocked.step,
                step_index=index,
                error=None if index is None else execution.steps[index].error,
            )
        case SagaStatus.ABANDONED:
            return _given_up(saga_id, title, execution)
    return None


def _given_up(saga_id: str, title: str, execution: Execution) -> SagaError:
    said = execution.abandoned
    assert said is not None
    left = [f"Still in effect: {', '.join(said.in_effect)}."] if said.in_effect else []
    left += [f"May be in effect: {', '.join(said.uncertain)}."] if said.uncertain else []
    return SagaAbandoned(
        f"{title} {saga_id!r} was abandoned by {said.actor}: {said.reason.rstrip('.')}. {_undone(execution)} "
        f"{' '.join(left) or 'Nothing of it is in effect.'}",
        reason=said.reason,
        in_effect=said.in_effect,
        uncertain=said.uncertain,
        saga_id=saga_id,
        error=info_of(execution),
    )


def _what_next(kind: str) -> str:
    if kind in ("code", "dependency"):
        return "It goes on by itself at the next opening of the store that has what is missing."
    if kind == "output":
        return "The step succeeded, and never runs again."
    return "When the cause is mended, retry_failed() tries it again."


def _rolled_back(saga_id: str, title: str, execution: Execution) -> SagaError:
    skipped = any(state.undo is Undo.SKIPPED for state in execution.steps)
    done = f"{_undone(execution)} Nothing {'else ' if skipped else ''}is left of it."
    if execution.cause is None:
        if execution.cancel is None:
            assert execution.expired is not None
            duration = execution.expired.timeout
            text = f"{title} {saga_id!r} did not end within its timeout of {duration:g} s. {done}"
            return SagaTimedOut(text, duration=duration, saga_id=saga_id)
        reason = execution.cancel.reason
        text = f"{title} {saga_id!r} was cancelled: {reason.rstrip('.')}. {done}"
        return SagaCancelled(text, reason=reason, saga_id=saga_id)
    return _step_error(saga_id, title, execution, execution.cause, done)


def _step_error(saga_id: str, title: str, execution: Execution, cause: Cause, done: str) -> SagaError:
    name = execution.plan.nodes[cause.step].name
    where: dict[str, Any] = {
        "saga_id": saga_id,
        "step_name": name,
        "step_index": cause.step,
        "error": cause.error,
    }
    place = f"{title} {saga_id!r}, step {name!r} ({cause.step + 1} of {len(execution.plan.nodes)})"
    match cause.kind:
        case CauseKind.REFUSED:
            return StepRefused(f"{place}, was refused: {_message(cause.error)}. {done}", **where)
        case CauseKind.FAILED:
            return StepFailed(f"{place}, failed: {_text(cause.error)}. {done}", **where)
        case CauseKind.TIMED_OUT:
            duration = cause.timeout or 0.0
            state = execution.steps[cause.step]
            late = state.phase is Phase.SUCCEEDED and state.verdict is None
            how = "returned after its deadline" if late else "did not end within its timeout"
            return StepTimedOut(f"{place}, {how} of {duration:g} s. {done}", duration=duration, **where)
        case CauseKind.OUTPUT_LOST:
            return StepOutputLost(
                f"{place}, succeeded, but its output is lost: {_message(cause.error)}. {done}", **where
            )
        case CauseKind.NOT_DONE:
            return StepFailed(f"{place}, left no effect, as was found out. {done}", **where)
        case CauseKind.UNKNOWN:
            return StepUnknown(f"{place}, may or may not have taken effect: {_text(cause.error)}. {done}", **where)


def _left_behind(saga_id: str, title: str, execution: Execution) -> SagaError:
    left = execution.uncompensated
    failed = [i for i in range(len(execution.steps)) if execution.steps[i].undo is Undo.EXHAUSTED]
    error = execution.steps[failed[0]].undo_error if failed else None
    original = execution.cause.error if execution.cause else None
    began = _began(execution)
    reasons = "; ".join(
        f"the compensation of {execution.plan.nodes[i].name!r} failed: {_text(execution.steps[i].undo_error)}"
        for i in failed
    )
    return CompensationFailed(
        f"{title} {saga_id!r} could not be rolled back. It was to be undone because {began}. "
        f"{_undone(execution, 'Nothing was rolled back.')} Still in "
        f"effect: {', '.join(left)} ({reasons}). When the cause is mended, retry_failed() goes on with the rollback.",
        original=original,
        uncompensated=left,
        saga_id=saga_id,
        step_name=execution.plan.nodes[failed[0]].name if failed else None,
        step_index=failed[0] if failed else None,
        error=error,
    )


def _began(execution: Execution) -> str:
    if execution.cause is None and execution.cancel is not None:
        return f"it was cancelled ({execution.cancel.reason})"  # and its timeout may have passed since
    if execution.cause is None:
        return f"its timeout of {execution.expired.timeout:g} s passed" if execution.expired else "it failed"
    name = execution.plan.nodes[execution.cause.step].name
    what = {
        CauseKind.REFUSED: "was refused",
        CauseKind.FAILED: "failed",
        CauseKind.TIMED_OUT: "did not end in time",
        CauseKind.OUTPUT_LOST: "lost its output",
        CauseKind.UNKNOWN: "ended unknown",
        CauseKind.NOT_DONE: "left no effect",
    }[execution.cause.kind]
    detail = f": {_text(execution.cause.error)}" if execution.cause.error else ""
    return f"step {name!r} {what}{detail}"


def _undone(execution: Execution, nothing: str = "Nothing had to be rolled back.") -> str:
    names = [execution.plan.nodes[i].name for i in _newest_first(execution) if execution.steps[i].undo is Undo.DONE]
    done = [f"Rolled back: {', '.join(names)}."] if names else [nothing]
    return " ".join(done + [_verdict(execution, i) for i in _newest_first(execution) if execution.steps[i].verdict])


def _verdict(execution: Execution, step: int) -> str:
    """What a person said of a step: it was not allframe that saw to it."""
    name, verdict = execution.plan.nodes[step].name, execution.steps[step].verdict
    assert verdict is not None
    by = f"by {verdict.actor} ({verdict.reason.rstrip('.')})"
    if isinstance(verdict, StepResolved):
        return f"Resolved as {'done' if verdict.outcome == 'done' else 'not done'}: {name}, {by}."
    return f"Not {'undone' if execution.steps[step].undo is Undo.SKIPPED else 'done'} but skipped: {name}, {by}."


def _newest_first(execution: Execution) -> Sequence[int]:
    return sorted(range(len(execution.steps)), key=lambda i: -execution.steps[i].ended)


def _text(error: ErrorInfo | None) -> str:
    return "no error was seen" if error is None else str(error).rstrip(".")


def _message(error: ErrorInfo | None) -> str:
    return "" if error is None else error.message.rstrip(".")
