"""Writing an order down without going on with the saga: no class is loaded, and nothing of the user's runs.

The saga is folded by the plan that was stored with it. What is written announces nothing that would begin: the owner, or
the next one, goes on from there. It takes no claim: an opening of the store that runs no sagas is no owner of them, so
the mark that the last owner left, or failed to leave, stays for the next one to see.
"""

from __future__ import annotations

import dataclasses

from pydantic_core import from_json

from allframe.errors import OperationRefused
from allframe.events.backend import Commit, EventStoreBackend, Write
from allframe.events.correlation import correlation_in
from allframe.saga.encoding import rows_of
from allframe.saga.execution import Execution
from allframe.saga.forecast import Receipt, receipt_of
from allframe.saga.monitor import Monitor, StoredSaga, head_of
from allframe.saga.ordered import record_of
from allframe.saga.orders import PARTICIPLES, Moved, Order, check, needs_output
from allframe.saga.outputs import StoredOutput
from allframe.saga.records import Record, SagaBlocked
from allframe.saga.running import digest_of
from allframe.saga.states import SagaStatus
from allframe.saga.streams import saga_stream

__all__ = ["block", "prepare", "refused_for"]

#: The most records that a refusal tells of.
TOLD = 8


def prepare(
    saga_id: str,
    stored: StoredSaga,
    order: Order,
    now: int,
    output: StoredOutput | None = None,
    *,
    unowned: str | None = None,
) -> tuple[Commit | None, Receipt]:
    """The commit that writes an order down, None if there is nothing to write, and what comes of it.

    Args:
        now: Microseconds since 1970, UTC.
        output: What the step returned, checked by its class.
        unowned: The store's name, if nobody runs its sagas.

    Raises:
        Moved, OperationRefused: as `check`.
    """
    execution, before, version = stored.execution, stored.execution.status, stored.execution.revision
    if not check(order, saga_id, execution):
        return None, receipt_of(order, saga_id, execution, False, before, unowned=unowned)
    _check_output(order, saga_id, execution, output)
    asked = record_of(order, execution, output)
    records, _ = execution.decide(asked, now, leaving=True)
    receipt = receipt_of(order, saga_id, execution, True, before, unowned=unowned)
    return _commit(saga_id, stored, records, version, now), receipt


def _check_output(order: Order, saga_id: str, execution: Execution, output: StoredOutput | None) -> None:
    if order.verb == "resolve" and order.outcome == "done" and output is None:
        index = execution.plan.index[order.step or ""]
        if execution.status is SagaStatus.BLOCKED or needs_output(index, execution):
            raise OperationRefused(
                f"Step {order.step!r} of saga {saga_id!r} cannot be resolved as done by a process without its class, "
                "which says what the step returns. Name the saga's module, with -m MODULE on the command line.",
                saga_id=saga_id,
                step_name=order.step,
                step_index=index,
            )


def _commit(saga_id: str, stored: StoredSaga, records: list[Record], version: int, now: int) -> Commit:
    stream = saga_stream(saga_id)
    rows = rows_of(records, now, stored.execution.correlation)
    head = head_of(stream, stored.execution, digest_of(stored.started.input))
    return Commit((Write(stream, rows, version),), head)


async def block(backend: EventStoreBackend, saga_id: str, blocked: SagaBlocked, now: int) -> Commit | None:
    """The commit that says that a saga cannot be loaded; None if that stands there already."""
    stream = saga_stream(saga_id)
    head = await backend.get_head(stream)
    rows = await backend.read_stream(stream)
    if head is None or (head.status == SagaStatus.BLOCKED and head.epoch == blocked.epoch):
        return None
    changed = dataclasses.replace(
        head,
        status=SagaStatus.BLOCKED.value,
        since=head.since if head.status == SagaStatus.BLOCKED else now,
        blocked=blocked.kind,
        epoch=blocked.epoch,
        attention=True,
    )
    correlation = None if rows[0].metadata is None else correlation_in(from_json(rows[0].metadata))
    return Commit((Write(stream, rows_of([blocked], now, correlation), len(rows)),), changed)


async def refused_for(moved: Moved, monitor: Monitor, saga_id: str, order: Order) -> OperationRefused:
    """The letter to whoever decided on stale sight: where the saga is now, and what has happened since."""
    since = (await monitor.timeline(saga_id))[moved.expected :]
    told = [f"{entry.revision} {_name_of(entry.record)}" for entry in (since if len(since) <= TOLD else since[-TOLD:])]
    if len(since) > TOLD:
        told.insert(0, f"{len(since) - TOLD} others")
    happened = f"Since then: {'; '.join(told)}." if told else "It has never been there."
    return OperationRefused(
        f"Saga {saga_id!r} is at revision {moved.actual}, not at the expected revision {moved.expected}, and was not "
        f"{PARTICIPLES[order.verb]}. {happened} Look at it again, and decide anew.",
        saga_id=saga_id,
    )


def _name_of(record: Record) -> str:
    """``"CancelRequested by ada (it rains)"``, ``"StepSucceeded of 'debit'"``"""
    text = type(record).__name__
    step: str | None = getattr(record, "step", None)
    actor: str | None = getattr(record, "actor", None)
    if step is not None:
        text += f" of {step!r}"
    if actor is not None:
        text += f" by {actor} ({getattr(record, 'reason', '')})"
    return text
