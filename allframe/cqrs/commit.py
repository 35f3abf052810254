"""A commit that nobody takes back: whoever is cancelled meanwhile, and so far as can be found out, whatever the store says."""

from __future__ import annotations

from typing import Final

import anyio

from allframe.errors import StoreUnavailable
from allframe.events.backend import Commit
from allframe.events.store import EventStore

__all__ = ["commit_surely"]

#: Seconds before a commit in doubt is written again, each time.
_WAITS: Final = (0.05, 0.2, 1.0)


async def commit_surely(store: EventStore, commit: Commit) -> None:
    """Write it, out of the reach of cancellation. What is in doubt is settled by writing the very same rows again.

    Raises:
        ConcurrencyError: a stream was not at its expected version; nothing was written.
        StoreUnavailable: ``in_doubt`` tells whether it may have been written.
    """
    backend = store.opened()
    with anyio.CancelScope(shield=True):
        doubt: StoreUnavailable | None = None
        for wait in (*_WAITS, None):
            try:
                await backend.commit(commit)
                return
            except StoreUnavailable as error:
                doubt = doubt or (error if error.in_doubt else None)
                if doubt is None:
                    raise
                if wait is None:
                    raise doubt from error
                await anyio.sleep(wait)
