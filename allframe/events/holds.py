"""`Holds`: who still needs a store to be owned after it was closed.

A thread cannot be stopped. A step that runs on one may go on after its orchestrator left, and nobody else may run the
same step meanwhile: so the store stays owned until the thread, or the process, ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from allframe.errors import StoreInUse

__all__ = ["Holds", "still_held"]


def still_held(url: str) -> StoreInUse:
    """The error of who claims a store while a step of the last claimant has not ended."""
    return StoreInUse(
        f"{url} is still in use in this process: a sync step of the last orchestrator over it has not ended, and a thread "
        "cannot be stopped. It can run sagas again when that step, or the process, has ended.",
        owner="a sync step in this process",
    )


class Holds:
    """Counts holders; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._then: Callable[[], None] | None = None

    @property
    def any(self) -> bool:
        """Whether somebody holds it."""
        return self._count > 0

    def take(self) -> Callable[[], None]:
        """Hold it; what is returned lets it go, once."""
        with self._lock:
            self._count += 1
        return self._let_go

    def when_free(self, action: Callable[[], None]) -> None:
        """Call ``action`` when nobody holds it, perhaps at once; otherwise on the thread of the last who did."""
        with self._lock:
            if self._count:
                self._then = action
                return
        action()

    def _let_go(self) -> None:
        with self._lock:
            self._count -= 1
            action, self._then = (None, self._then) if self._count else (self._then, None)
        if action is not None:
            action()
