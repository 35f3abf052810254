"""One session of running sagas: an open orchestrator, and the ways in which it may have to stop early.

A signal, or a store that stays unwritable, ends the session as the orchestrator leaves: running steps get their grace,
nothing is written of what was cut, and the same command goes on next time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
import anyio.abc

from allframe import EventStore, SagaOrchestrator, VersionRegistry
from allframe.cli.exits import Exit, Stop
from allframe.cli.provide import Provided
from allframe.cli.render import warn
from allframe.cli.waiting import open_when_free
from allframe.errors import StoreError, StoreUnavailable
from allframe.events.coded import Codecs
from allframe.saga.observe import Observer

__all__ = ["Service", "Stopwatch", "run_service", "run_session"]

#: Seconds that the store may refuse to be written before a command gives up. The orchestrator itself never would.
STORE_PATIENCE = 3.0
#: Seconds that running steps get when a command is interrupted.
GRACE = 10.0

Work = Callable[[SagaOrchestrator], Awaitable[None]]


def run_session(
    url: str,
    provide: Callable[[], AbstractAsyncContextManager[Provided]],
    work: Work,
    *,
    concurrency: int,
    check: Callable[[Provided], None] = lambda provided: None,
    on_record: Iterable[Observer] = (),
    versions: VersionRegistry | None = None,
    codec: Codecs | None = None,
) -> None:
    """Open the orchestrator, do ``work`` with it, and leave. ``codec``: what the store's payloads are encoded by.

    ``provide`` opens what is injected: an async context manager that yields `Provided`. ``check`` sees it before the
    store is touched, and raises if it will not do. ``on_record``: the orchestrator's observers. ``versions``: how the
    store reads events of the past.

    Raises:
        Stop: with `Exit.INTERRUPTED` or `Exit.TERMINATED` for a signal, with `Exit.STORE` for a store that cannot be
            written.
        AllframeError: whatever ``work`` raises, and the store's own troubles.
    """
    session = _Session(on_record=on_record, versions=versions, codec=codec)
    anyio.run(partial(session.run, url, provide, check, work, concurrency))
    if session.stopped is not None:
        raise session.stopped


class Service(Protocol):
    """What is done with a store for as long as it is ours."""

    async def opened(self, store: EventStore) -> None:
        """It is ours, and nothing runs yet."""
        ...

    async def work(self, orchestrator: SagaOrchestrator) -> None:
        """The sagas run. It is cancelled when they shall stop."""
        ...

    async def left(self, store: EventStore) -> None:
        """Nothing runs any more, and it is still ours."""
        ...


def run_service(
    url: str,
    provide: Callable[[], AbstractAsyncContextManager[Provided]],
    service: Service,
    *,
    concurrency: int,
    check: Callable[[Provided], None],
    grace: float,
    wait: float,
    on_stop: Callable[[], None],
    versions: VersionRegistry | None = None,
    codec: Codecs | None = None,
) -> None:
    """As `run_session`, for as long as ``service`` works; a store that cannot be written does not end it.

    ``grace``: seconds that running steps get. ``wait``: seconds that another owner of the store gets to leave.
    ``on_stop`` is called when a signal came.

    Raises:
        Stop, AllframeError: as `run_session`.
    """
    session = _Session(grace=grace, patience=None, on_stop=on_stop, versions=versions, codec=codec)
    anyio.run(partial(session.serve, url, provide, check, service, concurrency, wait))
    if session.stopped is not None:
        raise session.stopped


class _Session:
    def __init__(
        self,
        *,
        grace: float = GRACE,
        patience: float | None = STORE_PATIENCE,
        on_stop: Callable[[], None] = lambda: None,
        on_record: Iterable[Observer] = (),
        versions: VersionRegistry | None = None,
        codec: Codecs | None = None,
    ) -> None:
        self._on_record, self._versions, self._codec = on_record, versions, codec
        self.stopped: Stop | None = None
        self._failed: BaseException | None = None
        self._grace, self._patience, self._on_stop = grace, patience, on_stop

    async def run(
        self,
        url: str,
        provide: Callable[[], AbstractAsyncContextManager[Provided]],
        check: Callable[[Provided], None],
        work: Work,
        concurrency: int,
    ) -> None:
        # Only the work is cancelled: what was opened is closed in peace, and the orchestrator gives its grace.
        self._scope = anyio.CancelScope()
        async with _watching(self._on_signal), provide() as provided:
            check(provided)
            if self._versions is None and self._codec is None:
                await self._orchestrate(url, provided, work, concurrency)
            else:
                async with EventStore(url, versions=self._versions, codec=self._codec) as store:
                    await self._orchestrate(store, provided, work, concurrency)
        if self._failed is not None:
            raise self._failed

    async def serve(
        self,
        url: str,
        provide: Callable[[], AbstractAsyncContextManager[Provided]],
        check: Callable[[Provided], None],
        service: Service,
        concurrency: int,
        wait: float,
    ) -> None:
        """As `run`, with a store that is ours from before the orchestrator is entered until after it was left."""
        self._scope = anyio.CancelScope()
        async with _watching(self._on_signal), provide() as provided:
            check(provided)
            store = EventStore(url, versions=self._versions, codec=self._codec)
            try:
                with self._scope:
                    await open_when_free(store, wait, warn)
                if self.stopped is None:
                    self._scope = anyio.CancelScope()
                    await service.opened(store)
                    await self._orchestrate(store, provided, service.work, concurrency)
                    await service.left(store)
            finally:
                await store.close()
        if self._failed is not None:
            raise self._failed

    async def _orchestrate(self, store: str | EventStore, provided: Provided, work: Work, concurrency: int) -> None:
        async with self._orchestrator(store, provided, concurrency) as orchestrator:
            with self._scope:
                await self._supervised(orchestrator, work)

    def _orchestrator(self, store: str | EventStore, provided: Provided, concurrency: int) -> SagaOrchestrator:
        return SagaOrchestrator(
            store,
            provide=provided.objects,
            container=provided.container,
            max_running=concurrency,
            grace=self._grace,
            on_record=self._on_record,
        )

    async def _supervised(self, orchestrator: SagaOrchestrator, work: Work) -> None:
        async with anyio.create_task_group() as group:
            if self._patience is not None:
                group.start_soon(self._watch_store, orchestrator, self._patience)
            try:
                await work(orchestrator)
            except StoreUnavailable as error:
                self._stop(_cannot_write(error))
            except Exception as error:  # noqa: BLE001 - raised again outside of the group, which would wrap it
                self._failed = error
            group.cancel_scope.cancel()

    async def _watch_store(self, orchestrator: SagaOrchestrator, patience: float) -> None:
        since: float | None = None
        while True:
            trouble = orchestrator.store_trouble
            now = anyio.current_time()
            since = None if trouble is None else since or now
            if trouble is not None and since is not None and now - since >= patience:
                self._stop(_cannot_write(trouble))
                return
            await anyio.sleep(0.1)

    def _on_signal(self, number: int) -> None:
        if self.stopped is not None:
            # Nothing is lost by leaving like this: it is what the records are for.
            os._exit(128 + number)
        warn(f"Leaving: running steps get {self._grace:g} s to end. Once more to leave at once.")
        name = signal.Signals(number).name
        self._stop(
            Stop(f"Stopped by {name}. What was begun is recorded: the same command continues it.", Exit(128 + number))
        )
        self._on_stop()

    def _stop(self, why: Stop) -> None:
        self.stopped = self.stopped or why
        self._scope.cancel()


def _cannot_write(trouble: StoreError) -> Stop:
    return Stop(
        f"The store cannot be written: {trouble} What was recorded before stands; mend it, and the same command "
        "continues.",
        Exit.STORE,
    )


@asynccontextmanager
async def _watching(on_signal: Callable[[int], None]) -> AsyncIterator[None]:
    """``on_signal`` is called, on the loop, for each SIGINT and SIGTERM while the block runs."""
    async with anyio.create_task_group() as group:
        await group.start(_forward, on_signal)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _forward(
    on_signal: Callable[[int], None], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        _leave_at_the_second()
        task_status.started()
        async for number in received:
            on_signal(number)


def _leave_at_the_second() -> None:
    """End the process at a second signal, also where the loop hears of none because a step does not let it run."""
    seen: list[int] = []

    def handle(number: int, frame: object) -> None:
        seen.append(number)
        if len(seen) > 1:
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        # In place of a handler that does nothing: the loop hears of signals by the file descriptor that wakes it.
        signal.signal(number, handle)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start
