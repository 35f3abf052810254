"""`SagaHandle`: one saga, to wait for and to ask about. `Entry`: the same from inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from allframe.saga.monitor import SagaMetadata
from allframe.saga.outcome import SagaOutcome
from allframe.saga.records import SagaStarted
from allframe.saga.running import RunningSaga

if TYPE_CHECKING:
    from allframe.saga.orchestrator import SagaOrchestrator

__all__ = ["Entry", "SagaHandle"]


@dataclass(slots=True, eq=False)
class Entry:
    """A saga that this orchestrator has in hand."""

    id: str
    #: None until it is loaded from the store.
    running: RunningSaga | None = None
    #: Its first record, until it is written.
    started: SagaStarted | None = None
    #: Whether a call of this orchestrator asked for it.
    asked: bool = False
    #: Whether it counts against ``max_running``.
    holds_slot: bool = False
    #: Whether it waits for its turn.
    waiting: bool = False
    #: How many verbs hold it here: until they are through, nobody else may take it up.
    holds: int = 0
    #: Set when it is certain that it exists, or when ``failure`` says why it does not.
    found: anyio.Event = field(default_factory=anyio.Event)
    #: Set when nothing more happens to it here.
    done: anyio.Event = field(default_factory=anyio.Event)
    failure: BaseException | None = None
    #: How it ended, where that can be told without reading the store.
    outcome: SagaOutcome | None = None

    @property
    def was_not_begun(self) -> bool:
        """Whether its first record was never written by us."""
        return self.started is not None

    def fail(self, error: BaseException) -> None:
        """Tell whoever waits that nothing more comes of it here."""
        self.failure = error
        self.found.set()
        self.done.set()


class SagaHandle:
    """One saga that was started or found."""

    def __init__(self, id: str, orchestrator: SagaOrchestrator, entry: Entry | None) -> None:  # noqa: A002
        #: The id of the saga.
        self.id = id
        self._orchestrator = orchestrator
        self._entry = entry

    async def outcome(self) -> SagaOutcome:
        """Wait until the saga ended, or stopped ``FAILED`` or ``BLOCKED``, and return how. May be called again.

        It does not raise for how the saga ended: ``outcome.raise_for_status()`` does.

        Raises:
            OrchestratorClosed: if the orchestrator leaves before that.
        """
        return await self._orchestrator._outcome(self.id, self._entry)  # noqa: SLF001 - one class in two halves

    async def metadata(self) -> SagaMetadata:
        """Where it stands."""
        metadata = await self._orchestrator.get_saga(self.id)
        assert metadata is not None, "a handle is made of a saga that exists"
        return metadata

    async def cancel(self, *, reason: str, actor: str | None = None, expected_revision: int | None = None) -> None:
        """As `SagaOrchestrator.cancel`."""
        await self._orchestrator.cancel(self.id, reason=reason, actor=actor, expected_revision=expected_revision)

    def __repr__(self) -> str:
        return f"<SagaHandle {self.id!r}>"
