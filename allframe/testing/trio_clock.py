"""Trio's half of `VirtualClock`: a clock for ``trio.run`` that jumps when nothing else can happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allframe.testing.extra import needs

with needs("trio"):
    import trio.abc
    import trio.to_thread

if TYPE_CHECKING:
    from allframe.testing.clock import VirtualClock

__all__ = ["JumpingClock"]


class JumpingClock(trio.abc.Clock):
    """Trio asks it how long to wait for the next deadline: first for `PATIENCE`, and then for nothing."""

    def __init__(self, virtual: VirtualClock, patience: float) -> None:
        self.virtual = virtual
        self.watch = _Watch()
        self._patience = patience

    def start_clock(self) -> None:
        self.watch.is_idle = False

    def current_time(self) -> float:
        return self.virtual.time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        wait = deadline - self.virtual.time()
        if wait <= 0 or wait == float("inf"):
            return wait
        was_idle, self.watch.is_idle = self.watch.is_idle, not self._is_held()
        if not (was_idle and self.watch.is_idle):
            return self._patience
        self.watch.is_idle = False
        self.virtual.reach(deadline)
        return 0

    def _is_held(self) -> bool:
        return self.virtual.is_held or trio.to_thread.current_default_thread_limiter().borrowed_tokens > 0


class _Watch(trio.abc.Instrument):
    """Knows whether any task has run since the clock was last asked."""

    def __init__(self) -> None:
        self.is_idle = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.is_idle = False
