"""Looking at sagas: `SagaMetadata`, and `Monitor`, which reads them from a store.

Everything here is a fold over what is stored. It needs no saga class, disturbs nobody, and works on a store that another
process owns (``sqlite:///bank.db?mode=ro``). So what it says is durable, wherever it is asked from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import from_json

from allframe.clock import from_microseconds, to_microseconds
from allframe.errors import ErrorInfo, SagaNotFound, StoreFormatError
from allframe.events.backend import EventStoreBackend, Head, HeadQuery, StoredRow
from allframe.events.coded import check_plain
from allframe.events.correlation import correlation_in
from allframe.events.store import EventStore
from allframe.events.versioning import VersionRegistry
from allframe.saga.discretion import shown_input, shown_output
from allframe.saga.encoding import decode
from allframe.saga.execution import Execution
from allframe.saga.graph import Plan
from allframe.saga.observe import watch
from allframe.saga.outcome import info_of
from allframe.saga.recorded import SagaRecord
from allframe.saga.records import Record, SagaStarted
from allframe.saga.states import RUNNING, Phase, SagaStatus
from allframe.saga.streams import CATEGORY, definition_stream, saga_id_of, saga_stream

__all__ = ["Monitor", "SagaMetadata", "StoredSaga", "TimelineEntry", "head_of", "metadata_of"]

_ALL: Final = tuple(SagaStatus)


@dataclass(frozen=True, slots=True)
class SagaMetadata:
    """Where one saga stands."""

    id: str
    #: The stored name of its class.
    saga: str
    status: SagaStatus
    #: The steps that run now, or whose compensation does.
    running: tuple[str, ...]
    #: How many steps have succeeded.
    steps_executed: int
    total_steps: int
    started_at: datetime
    #: When its last record was written.
    updated_at: datetime
    failed_step: str | None
    error: ErrorInfo | None
    #: For ``FAILED``: the steps that are still in effect. For ``ABANDONED``: those that are or may be.
    uncompensated: tuple[str, ...]
    #: Whether a person should look.
    attention: bool
    #: For ``BLOCKED``: what it waits for. For one whose step does not end: that. For one that was cancelled, timed out or
    #: abandoned: why.
    reason: str | None
    #: How many records it has: what a verb's ``expected_revision`` is compared with.
    revision: int = 0
    #: What it was started in, if anything (`allframe.correlated`), and what came right before.
    correlation_id: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One record of a saga."""

    #: From 1.
    revision: int
    position: int
    at: datetime
    record: Record


@dataclass(frozen=True, slots=True)
class StoredSaga:
    """A saga as it stands in the store."""

    started: SagaStarted
    execution: Execution
    records: list[tuple[Record, int]]

    def by(self, plan: Plan) -> Execution:
        """The same records folded by another plan.

        Raises:
            StoreFormatError: if they name a step that it does not have.
        """
        execution = _fold(plan, self.records)
        execution.correlation = self.execution.correlation
        return execution


class Monitor:
    """Reads sagas from an open store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._plans: dict[str, Plan] = {}

    @property
    def _backend(self) -> EventStoreBackend:
        return self._store.backend

    @property
    def versions(self) -> VersionRegistry | None:
        """How the store reads events of the past."""
        return self._store.versions

    async def get_saga(self, id: str) -> SagaMetadata | None:  # noqa: A002 - the word of the whole API
        """Where the saga with this id stands; None if there is none."""
        stored = await self.read(id)
        return None if stored is None else metadata_of(id, stored.execution)

    async def get_running_sagas(self) -> list[SagaMetadata]:
        """Those that are ``NOT_STARTED``, ``EXECUTING`` or ``COMPENSATING``, by id."""
        found: list[SagaMetadata] = []
        after: str | None = None
        query = HeadQuery(CATEGORY, statuses=_values(RUNNING))
        while heads := await self._backend.list_heads(query, after=after):
            found += await self._read_all(heads)
            after = heads[-1].stream
        return [metadata for metadata in found if metadata.status in RUNNING]

    async def get_history(
        self,
        *,
        saga: str | type | None = None,
        status: SagaStatus | str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[SagaMetadata]:
        """Those that do not run any more, the newest end first.

        Args:
            saga: Only of this class, or stored name.
            status: Only with this status.
            since: Only those that came to their status at or after this time.
            limit: At most so many.
            before: The id of the last one of the page before.
        """
        wanted = set(_ALL) - RUNNING if status is None else {SagaStatus(status)} - RUNNING
        query = HeadQuery(
            CATEGORY,
            statuses=_values(wanted),
            name=_stored_name(saga),
            since=None if since is None else to_microseconds(since),
        )
        last = None if before is None else saga_stream(before)
        return await self._read_all(await self._backend.newest_heads(query, before=last, limit=limit))

    async def get_attention(
        self,
        *,
        saga: str | type | None = None,
        status: SagaStatus | str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[SagaMetadata]:
        """Those that a person should look at, running ones included, by when they came to their status, newest first.

        The arguments are those of `get_history`.
        """
        statuses = None if status is None else (SagaStatus(status).value,)
        query = HeadQuery(CATEGORY, statuses=statuses, name=_stored_name(saga), attention=True)
        last = None if before is None else saga_stream(before)
        return await self._read_all(await self._backend.newest_heads(query, before=last, limit=limit))

    async def running_count(self) -> int:
        """How many sagas are ``NOT_STARTED``, ``EXECUTING`` or ``COMPENSATING``."""
        return await self._backend.count_heads(HeadQuery(CATEGORY, statuses=_values(RUNNING)))

    async def history_count(self) -> int:
        """How many are not."""
        return await self._backend.count_heads(HeadQuery(CATEGORY, statuses=_values(set(_ALL) - RUNNING)))

    async def timeline(self, id: str) -> list[TimelineEntry]:  # noqa: A002
        """Every record of one saga, oldest first.

        Raises:
            SagaNotFound: if there is none with this id.
        """
        rows = await self._backend.read_stream(saga_stream(id))
        if not rows:
            raise SagaNotFound(f"The store holds no saga {id!r}.", saga_id=id)
        return [
            TimelineEntry(row.revision, row.position, from_microseconds(row.recorded_at), _decode(row)) for row in rows
        ]

    def watch(
        self,
        id: str | None = None,  # noqa: A002
        *,
        after: int | None = None,
        interval: float = 0.5,
    ) -> AsyncIterator[SagaRecord]:
        """As `SagaOrchestrator.watch`, without an end, and also of a store that another process owns.

        Such a store is looked at every ``interval`` seconds, and ``after=None`` counts from the first look.
        """
        return watch(self._store.opened, id, after, interval)

    async def values(self, id: str) -> dict[str, Any]:  # noqa: A002
        """The ``input`` of one saga, and its ``outputs`` by step, as they stand in JSON, with secrets masked.

        Raises:
            SagaNotFound: if there is none with this id.
        """
        stored = await self.read(id)
        if stored is None:
            raise SagaNotFound(f"The store holds no saga {id!r}.", saga_id=id)
        began = await self.description(stored.started.definition)
        now = await self.description(stored.execution.definition)
        outputs = {
            node.name: shown_output(now, node.name, state.output, state.form)
            for node, state in zip(stored.execution.plan.nodes, stored.execution.steps, strict=True)
            if state.output is not None
        }
        return {"input": shown_input(began, stored.started.input), "outputs": outputs}

    async def read(self, id: str) -> StoredSaga | None:  # noqa: A002
        """A saga folded from its records, by the plan that was stored with it; None if there is none.

        Raises:
            StoreFormatError: if it cannot be read.
        """
        rows = await self._backend.read_stream(saga_stream(id))
        if not rows:
            return None
        records = [(_decode(row), row.recorded_at) for row in rows]
        started = records[0][0]
        if not isinstance(started, SagaStarted):
            raise StoreFormatError(f"The stream of saga {id!r} begins with {started.type!r}.")
        plan = await self.plan(_definition(records))
        execution = _fold(plan, records)
        if rows[0].metadata is not None:
            execution.correlation = correlation_in(from_json(rows[0].metadata))
        return StoredSaga(started, execution, records)

    async def plan(self, fingerprint: str) -> Plan:
        """The stored structure of a saga.

        Raises:
            StoreFormatError: if it is not there.
        """
        plan = self._plans.get(fingerprint)
        if plan is None:
            plan = self._plans[fingerprint] = Plan.from_description(await self.description(fingerprint))
        return plan

    async def description(self, fingerprint: str) -> dict[str, Any]:
        """The stored definition of a saga.

        Raises:
            StoreFormatError: if it is not there.
        """
        rows = await self._backend.read_stream(definition_stream(fingerprint), limit=1)
        if not rows:
            raise StoreFormatError(f"The store lacks the definition {fingerprint} that a saga names.")
        description: dict[str, Any] = from_json(check_plain(rows[0]).data)
        return description

    async def _read_all(self, heads: Iterable[Head]) -> list[SagaMetadata]:
        found = []
        for head in heads:
            id_ = saga_id_of(head.stream)
            try:
                metadata = await self.get_saga(id_)
            except StoreFormatError as error:
                metadata = _from_head(id_, head, error)  # one that cannot be read does not hide the others
            if metadata is not None:
                found.append(metadata)
        return found


def metadata_of(saga_id: str, execution: Execution) -> SagaMetadata:
    """What there is to say of an execution."""
    nodes, cause = execution.plan.nodes, execution.cause
    running = [nodes[step].name for step in execution.running]
    if execution.undoing is not None:
        running.append(nodes[execution.undoing].name)
    reason = execution.cancel.reason if execution.cancel and not execution.committed else None
    failed = None if cause is None else nodes[cause.step].name
    if execution.expired is not None and reason is None:
        how = "has" if execution.pivot_succeeded else "may have"
        late = f" Its pivot {how} succeeded, so it goes on." if execution.committed else ""
        reason = f"Its timeout of {execution.expired.timeout:g} s passed.{late}"
    if execution.overdue:
        names = ", ".join(repr(nodes[step].name) for step in execution.overdue)
        reason = f"Step {names} was to end, and is still running. Everything waits for it."
    if execution.blocked is not None:
        reason, failed = execution.blocked.reason, execution.blocked.step or failed
    if execution.abandoned is not None:
        reason = execution.abandoned.reason
    assert execution.started is not None
    return SagaMetadata(
        id=saga_id,
        saga=execution.started.saga,
        status=execution.status,
        running=tuple(running),
        steps_executed=sum(state.phase in (Phase.SUCCEEDED, Phase.LOST) for state in execution.steps),
        total_steps=len(nodes),
        started_at=from_microseconds(execution.started_at),
        updated_at=from_microseconds(execution.updated_at),
        failed_step=failed,
        error=info_of(execution),
        uncompensated=execution.uncompensated,
        attention=execution.attention,
        reason=reason,
        revision=execution.revision,
        correlation_id=None if execution.correlation is None else execution.correlation.correlation_id,
        causation_id=None if execution.correlation is None else execution.correlation.causation_id,
    )


def head_of(stream: str, execution: Execution, digest: bytes) -> Head:
    """The head that goes with an execution."""
    started = execution.started
    assert started is not None
    return Head(
        stream=stream,
        category=CATEGORY,
        name=started.saga,
        version=started.version,
        started_at=execution.started_at,
        status=execution.status.value,
        since=execution.since,
        blocked=execution.blocked.kind if execution.blocked else None,
        epoch=execution.epoch,
        digest=digest,
        attention=execution.attention,
    )


def _from_head(saga_id: str, head: Head, error: StoreFormatError) -> SagaMetadata:
    since = from_microseconds(head.since)
    return SagaMetadata(
        id=saga_id,
        saga=head.name,
        status=SagaStatus(head.status),
        running=(),
        steps_executed=0,
        total_steps=0,
        started_at=from_microseconds(head.started_at),
        updated_at=since,
        failed_step=None,
        error=None,
        uncompensated=(),
        attention=True,
        reason=f"Its records cannot be read: {error}",
    )


def _fold(plan: Plan, records: list[tuple[Record, int]]) -> Execution:
    try:
        return Execution.replay(plan, records)
    except KeyError as error:
        raise StoreFormatError(f"The records of a saga name a step {error} that its definition lacks.") from error


def _definition(records: list[tuple[Record, int]]) -> str:
    named = [fingerprint for record, _ in records if (fingerprint := getattr(record, "definition", None))]
    return str(named[-1])


def _decode(row: StoredRow) -> Record:
    return decode(row.type, row.schema_version, check_plain(row).data)


def _stored_name(saga: str | type | None) -> str | None:
    return saga if saga is None or isinstance(saga, str) else str(getattr(saga, "saga_name", saga.__name__))


def _values(statuses: Iterable[SagaStatus]) -> tuple[str, ...]:
    return tuple(sorted(status.value for status in statuses))
