"""`Idleness`: that an orchestrator has nothing to do, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio

from allframe.saga.handle import Entry

__all__ = ["Idleness"]


class Idleness:
    """``entries``: the sagas in hand. ``check_open`` raises if the orchestrator leaves."""

    def __init__(self, entries: Mapping[str, Entry], check_open: Callable[[str | None], None]) -> None:
        self._entries, self._check_open = entries, check_open
        self._recovered = anyio.Event()

    async def after(self, recover: Callable[[], Awaitable[None]]) -> None:
        """Run ``recover``: there is something to do at least until it is through, however it ends."""
        try:
            await recover()
        finally:
            self._recovered.set()

    async def reached(self) -> None:
        """Return when no saga is in hand, and none is left to be taken over.

        Raises:
            OrchestratorClosed: if the orchestrator leaves before that.
        """
        await self._recovered.wait()
        self._check_open(None)
        while self._entries:
            await next(iter(self._entries.values())).done.wait()
            self._check_open(None)
