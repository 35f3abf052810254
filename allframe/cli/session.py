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

import anyio
import anyio.abc

from allframe import SagaOrchestrator
from allframe.cli.exits import Exit, Stop
from allframe.cli.provide import Provided
from allframe.cli.render import warn
from allframe.errors import StoreError, StoreUnavailable
from allframe.saga.observe import Observer

__all__ = ["Stopwatch", "drain", "run_session"]

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
) -> None:
    """Open the orchestrator, do ``work`` with it, and leave.

    ``provide`` opens what is injected: an async context manager that yields `Provided`. ``check`` sees it before the
    store is touched, and raises if it will not do. ``on_record``: the orchestrator's observers.

    Raises:
        Stop: with `Exit.INTERRUPTED` or `Exit.TERMINATED` for a signal, with `Exit.STORE` for a store that cannot be
            written.
        AllframeError: whatever ``work`` raises, and the store's own troubles.
    """
    session = _Session(on_record)
    anyio.run(partial(session.run, url, provide, check, work, concurrency))
    if session.stopped is not None:
        raise session.stopped


async def drain(orchestrator: SagaOrchestrator, seen: Callable[[int], None] = lambda running: None) -> None:
    """Wait until nothing runs any more; ``seen`` is told how many still do."""
    while running := await orchestrator.running_count():
        seen(running)
        await anyio.sleep(0.05)


class _Session:
    def __init__(self, on_record: Iterable[Observer] = ()) -> None:
        self._on_record = on_record
        self.stopped: Stop | None = None
        self._failed: BaseException | None = None

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
        async with _watching(self._on_signal):
            async with provide() as provided:
                check(provided)
                async with self._orchestrator(url, provided, concurrency) as orchestrator:
                    with self._scope:
                        await self._supervised(orchestrator, work)
            if self._failed is not None:
                raise self._failed

    def _orchestrator(self, url: str, provided: Provided, concurrency: int) -> SagaOrchestrator:
        return SagaOrchestrator(
            url,
            provide=provided.objects,
            container=provided.container,
            max_running=concurrency,
            grace=GRACE,
            on_record=self._on_record,
        )

    async def _supervised(self, orchestrator: SagaOrchestrator, work: Work) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch_store, orchestrator)
            try:
                await work(orchestrator)
            except StoreUnavailable as error:
                self._stop(_cannot_write(error))
            except Exception as error:  # noqa: BLE001 - raised again outside of the group, which would wrap it
                self._failed = error
            group.cancel_scope.cancel()

    async def _watch_store(self, orchestrator: SagaOrchestrator) -> None:
        since: float | None = None
        while True:
            trouble = orchestrator.store_trouble
            now = anyio.current_time()
            since = None if trouble is None else since or now
            if trouble is not None and since is not None and now - since >= STORE_PATIENCE:
                self._stop(_cannot_write(trouble))
                return
            await anyio.sleep(0.1)

    def _on_signal(self, number: int) -> None:
        if self.stopped is not None:
            # Nothing is lost by leaving like this: it is what the records are for.
            os._exit(128 + number)
        warn(f"Leaving: running steps get {GRACE:.0f} s to end. Once more to leave at once.")
        name = signal.Signals(number).name
        self._stop(
            Stop(f"Stopped by {name}. What was begun is recorded: the same command continues it.", Exit(128 + number))
        )

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
        task_status.started()
        async for number in received:
            on_signal(number)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start
