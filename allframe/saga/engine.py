"""`Engine`: what all sagas of one orchestrator share, and how they write to the store together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from allframe.clock import Clock
from allframe.errors import StoreError, StoreUnavailable
from allframe.events.backend import Commit, EventStoreBackend
from allframe.events.versioning import VersionRegistry
from allframe.inject import Provider
from allframe.saga.catalog import Catalog
from allframe.saga.observe import Observers
from allframe.saga.threads import Threads
from allframe.saga.timers import Timers

if TYPE_CHECKING:
    from allframe.saga.context import StepContext
    from allframe.saga.perform import Attempt
    from allframe.saga.running import RunningSaga

__all__ = ["Engine", "Rehearsal", "persist"]


class Rehearsal(Protocol):
    """What a test puts between an engine and what it performs (`allframe.testing`)."""

    def call(
        self, context: StepContext, this: Attempt, body: Callable[[], Awaitable[Any]]
    ) -> Callable[[], Awaitable[Any]]:
        """What is awaited, within ``this.scope``, in place of ``body``: one attempt of a step or compensation."""
        ...

    def wait(self, until: int) -> None:
        """An attempt is to wait until then: microseconds since 1970, UTC."""
        ...


class Engine(Protocol):
    """What the sagas of one orchestrator share."""

    backend: EventStoreBackend
    #: How events that were stored in the past are read.
    versions: VersionRegistry | None
    provider: Provider
    clock: Clock
    #: This opening of the store.
    epoch: int
    #: Fingerprints of the graphs that are stored.
    definitions: set[str]
    #: The classes that may run here.
    catalog: Catalog
    #: Where sync steps run.
    threads: Threads
    timers: Timers
    #: None but in tests.
    rehearsal: Rehearsal | None
    #: Who is told of each record.
    observers: Observers

    @property
    def leaving(self) -> bool:
        """Nothing new begins; what runs may end."""
        ...

    @property
    def dropping(self) -> bool:
        """What runs is cut, and nothing is written of it."""
        ...

    def spawn(self, saga_id: str, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run it in a task of the orchestrator's own."""
        ...

    def ended(self, saga: RunningSaga) -> None:
        """The saga has nothing left to do here."""
        ...

    def trouble(self, error: StoreError | None, saga_id: str) -> None:
        """The store cannot be written, or can again."""
        ...


async def persist(engine: Engine, commit: Commit, saga_id: str, saga: str, *, first: bool = False) -> None:
    """Write ``commit``, and return when it is safe and the observers were told. ``saga``: the stored name of its class.

    While the store cannot be written, it is held and written again: the very same rows, so that a commit that was in
    doubt is not made twice. ``first``: raise instead, where it is certain that nothing was written.
    """
    delay = 0.05
    while True:
        try:
            versions = await engine.backend.commit(commit)
            break
        except StoreUnavailable as error:
            if first and not error.in_doubt:
                raise
            engine.trouble(error, saga_id)
            await anyio.sleep(delay)
            delay = min(delay * 2, 5.0)
    engine.trouble(None, saga_id)
    if engine.observers:
        engine.observers.tell(commit, versions, saga)
