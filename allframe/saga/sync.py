"""`run`: one saga from a program that has no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import anyio

from allframe.errors import SagaError
from allframe.saga.declare import Saga
from allframe.saga.orchestrator import SagaOrchestrator
from allframe.saga.outcome import SagaOutcome

__all__ = ["run"]


def run(
    saga: Saga,
    *,
    store: str | None = None,
    provide: Mapping[Any, object] | None = None,
    id: str | None = None,  # noqa: A002 - the word of the whole API
) -> SagaOutcome:
    """Run a saga in an event loop of its own, and return its outcome: for scripts.

    It also goes on with whatever else the store holds unfinished, and returns when nothing runs any more: a script that
    was interrupted has no other process that would. Ctrl-C lets running steps end, for at most ten seconds, and leaves;
    the next call on this store goes on.

    Args:
        saga: The saga with its input.
        store: The store's URL; memory, if not given. Calls on one file follow each other: it has one owner at a time.
        provide: An object for each type that steps inject.
        id: Its id, once for ever. With the id of a saga that is over it gives what came of that, and runs nothing.

    Raises:
        RuntimeError: an event loop runs in this thread already. In it, await ``SagaOrchestrator.execute``.
        SagaError, PayloadError, StoreError: as `SagaOrchestrator.execute`.
    """
    _check_no_loop()
    _check_store(store)

    async def execute() -> SagaOutcome:
        async with SagaOrchestrator(store, provide=provide) as orchestrator:
            try:
                outcome = await orchestrator.execute(saga, id=id)
            except SagaError:
                await orchestrator.idle()
                raise
            await orchestrator.idle()
            return outcome

    # Not anyio.run: in a thread that got its caller's context it would believe to be inside of that one's loop.
    return asyncio.run(execute())


def _check_no_loop() -> None:
    loop = _running_loop()
    if loop is not None:
        raise RuntimeError(
            f"allframe.run() was called where an event loop of {loop} runs already, and would stop it until the saga is "
            "over. Await the orchestrator instead: async with SagaOrchestrator(...) as orchestrator: "
            "outcome = await orchestrator.execute(saga)."
        )


def _running_loop() -> str | None:
    """The library whose event loop runs in this thread, if one does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        return "asyncio"
    try:
        anyio.get_current_task()
    except RuntimeError:
        return None
    return "trio"


def _check_store(store: object) -> None:
    if store is not None and not isinstance(store, str):
        raise TypeError(
            f"allframe.run() opens its store in an event loop of its own, so it takes a URL or nothing. Found {store!r}. "
            "To run sagas on a store that is open, hand it to a SagaOrchestrator."
        )
