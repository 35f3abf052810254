"""From a thread back to the event loop that waits for it, asyncio's or trio's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["running_loop", "soon"]


def running_loop() -> Any:
    """The trio token or the asyncio loop of this task, for `soon`."""
    trio = sys.modules.get("trio")
    # Trio first: as a guest, it runs inside an asyncio loop.
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def soon(loop: Any, function: Callable[..., None], *args: Any) -> None:
    """Have ``loop`` call ``function(*args)``; from any thread. Nothing happens where the loop has ended."""
    call = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    try:
        call(function, *args)
    except RuntimeError:
        # And with it everybody who waited: asyncio's "Event loop is closed", trio's RunFinishedError.
        pass
