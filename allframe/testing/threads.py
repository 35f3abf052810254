"""Which threads a task of an asyncio loop waits for: while it waits for one, time must not jump."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from allframe.testing.clock import VirtualClock

__all__ = ["KnowsThreads"]


class KnowsThreads:
    """Half of an asyncio loop: it counts what was handed to ``run_in_executor``, and asks anyio for its threads."""

    virtual: VirtualClock

    def __init__(self, *args: Any) -> None:
        self._executing: list[None] = []
        self._threads: anyio.CapacityLimiter | None = None
        self._learning: asyncio.Task[None] | None = None
        super().__init__(*args)

    def is_idle(self) -> bool:
        """Whether no task waits for a thread, as far as that is known."""
        if self._threads is None:
            loop: Any = self
            self._learning = self._learning or loop.create_task(self._learn())
            return False
        return not (self.virtual.is_held or self._executing or self._threads.borrowed_tokens)

    async def _learn(self) -> None:
        # anyio tells its limiter only to a task.
        self._threads = anyio.to_thread.current_default_thread_limiter()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._executing.append(None)
        parent: Any = super()
        future = parent.run_in_executor(executor, func, *args)
        future.add_done_callback(lambda _: self._executing.pop())
        return future
