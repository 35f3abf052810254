"""How an attempt ended, as the record that says so.

*A step that speaks is believed; a step that is silenced is treated as possibly done.*
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from allframe.errors import ErrorInfo
from allframe.events.backend import Write
from allframe.events.event import Event, Versions
from allframe.events.versioning import as_read
from allframe.inject import type_name
from allframe.saga.context import StepContext, UnknownReason
from allframe.saga.graph import Compensation, Step
from allframe.saga.outputs import event_writes, refuse_awaitable, store_output
from allframe.saga.perform import Attempt, describe, is_refusal, is_unknown
from allframe.saga.records import (
    Record,
    StepCompensated,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepOutputLost,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.retry import Retry
from allframe.saga.typechecking import Wrong, wrong_type

__all__ = ["Ended", "judge_compensation", "judge_step"]


@dataclass(slots=True)
class Ended:
    """What came of a move."""

    record: Record
    #: How to try again, if the error admits that.
    retry: Retry | None = None
    #: The events that go with the record.
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = ()
    value: Any = None
    error: BaseException | None = None


def judge_step(step: Step, context: StepContext, this: Attempt, now: int, versions: Versions | None = None) -> Ended:
    """How an attempt of ``step`` ended. ``now``: microseconds since 1970, UTC. ``versions``: how events are read."""
    if this.returned:
        return _succeeded(step, context, this, now, versions)
    if this.making is not None:
        return _not_begun(step, context, this)
    number, error, wrong = context.attempt, this.error, wrong_type(this.error)
    if wrong is Wrong.RETURN:
        assert error is not None
        return _lost(step, context, this, error)
    if this.silenced:
        cut = this.cut and not this.overdue
        reason = UnknownReason.CANCELLED if cut else UnknownReason.DEADLINE
        info = None if error is None else describe(error)
        timeout = None if cut else this.timeout
        silenced = StepUnknown(step=step.name, attempt=number, reason=reason, error=info, timeout=timeout)
        return Ended(silenced, retry=None if cut else _admitted(step.retry, TimeoutError()), error=error)
    assert error is not None
    refused = is_refusal(error)
    retry = None if refused or wrong else _admitted(step.retry, error)
    if wrong is Wrong.VARIABLE or is_unknown(error, unknown_on=step.unknown_on, known_on=step.known_on):
        silent = StepUnknown(step=step.name, attempt=number, reason=UnknownReason.SILENCE, error=describe(error))
        return Ended(silent, retry=retry, error=error)
    failed = StepFailed(step=step.name, attempt=number, error=describe(error), refused=refused, begun=this.begun)
    return Ended(failed, retry=retry, error=error)


def _not_begun(step: Step, context: StepContext, this: Attempt) -> Ended:
    """What it injects was not made: no effect, whatever the error."""
    number, error = context.attempt, this.error
    if this.cut and not this.overdue:
        return Ended(StepNotBegun(step=step.name, attempt=number))
    info, admitted = _not_made(f"step {step.attribute!r}", this)
    failed = StepFailed(step=step.name, attempt=number, error=info, begun=False)
    return Ended(failed, retry=_admitted(step.retry, admitted), error=error)


def _not_made(part: str, this: Attempt) -> tuple[ErrorInfo, BaseException]:
    """Why an object could not be made for ``part``, and the error that says whether to try again."""
    assert this.making is not None
    what, where = type_name(this.making.wanted), f"{part}, parameter {this.making.name!r}"
    if this.silenced or this.error is None:
        text = f"{what} ({where}) was not made within the timeout of {this.timeout:g} s, and the body never began."
        return ErrorInfo("TimeoutError", text), TimeoutError()
    found = describe(this.error)
    text = f"{what} ({where}) could not be made, and the body never began: {found.message or found.type}"
    return ErrorInfo(found.type, text, found.traceback), this.error


def _succeeded(step: Step, context: StepContext, this: Attempt, now: int, versions: Versions | None) -> Ended:
    late, timeout = this.overdue, this.timeout if this.overdue else None
    try:
        stored = store_output(step, this.value, versions)
        writes, events = _emitted(context, stored.events, now, versions)
    except Exception as error:  # noqa: BLE001 - serializers, templates and __eq__ are the user's, and the effect is there
        return _lost(step, context, this, error)
    record = StepSucceeded(
        step=step.name,
        attempt=context.attempt,
        output=stored.data,
        form=stored.form,
        emitted=len(events),
        late=late,
        timeout=timeout,
    )
    return Ended(record, writes=writes, events=events, value=stored.value)


def _lost(step: Step, context: StepContext, this: Attempt, error: BaseException) -> Ended:
    """It returned, and what it returned cannot be stored or is of another type."""
    timeout = this.timeout if this.overdue else None
    info, number = describe(error), context.attempt
    lost = StepOutputLost(step=step.name, attempt=number, error=info, late=this.overdue, timeout=timeout)
    return Ended(lost, error=error)


def judge_compensation(
    undo: Compensation, context: StepContext, this: Attempt, now: int, versions: Versions | None = None
) -> Ended:
    """How an attempt to undo a step ended. One that returned after its deadline has undone it all the same."""
    step, number, error = context.step, context.attempt, this.error
    if this.returned:
        try:
            refuse_awaitable(this.value, f"What {undo.attribute!r} returned")
            writes, events = _emitted(context, _events_of(this.value), now, versions)
        except Exception as lost:  # noqa: BLE001 - as above
            error = lost
        else:
            done = StepCompensated(step=step, attempt=number, emitted=len(events))
            return Ended(done, writes=writes, events=events)
    timeout = this.timeout if this.silenced else None
    if this.making is not None:
        info, reason = _not_made(f"compensation {undo.attribute!r}", this)
        failed = StepNotCompensated(step=step, attempt=number, error=info, timeout=timeout)
        return Ended(failed, retry=_admitted(undo.retry, reason), error=error)
    admitted = TimeoutError() if this.silenced else error
    if error is None:
        error = TimeoutError(f"The compensation did not end within its timeout of {this.timeout:g} s.")
    failed = StepNotCompensated(step=step, attempt=number, error=describe(error), timeout=timeout)
    return Ended(failed, retry=_admitted(undo.retry, admitted or error), error=error)


def _emitted(
    context: StepContext, returned: Sequence[Event], now: int, versions: Versions | None
) -> tuple[tuple[Write, ...], tuple[Event, ...]]:
    """What an attempt emitted, as writes and as events: what it handed to ``ctx.emit`` comes before what it returned."""
    emitted = [*context.emitted, *((event, None) for event in returned)]
    if not emitted:
        return (), ()
    writes = event_writes(emitted, saga_id=context.saga_id, step=context.step, recorded_at=now)
    return writes, tuple(as_read(event, versions) for event, _ in emitted)


def _events_of(value: Any) -> list[Event]:
    """The events that a compensation returned; anything else that it returns means nothing."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Event)]


def _admitted(retry: Retry | None, error: BaseException) -> Retry | None:
    return retry if retry is not None and retry.admits(error) else None
