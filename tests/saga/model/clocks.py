"""A clock that jumps at once when nothing else can happen, and can be held meanwhile: thousands of plays take minutes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from unittest import mock

import anyio

from allframe.testing import VirtualClock

__all__ = ["hold_clock", "in_virtual_time", "let_clock_go", "wall_clock"]

T = TypeVar("T")

_holds: list[Any] = []


def hold_clock() -> None:
    hold = wall_clock().hold()
    hold.__enter__()
    _holds.append(hold)


def let_clock_go() -> None:
    if _holds:
        _holds.pop().__exit__(None, None, None)


def wall_clock() -> VirtualClock:
    """Wall time that goes with the loop's."""
    clock = VirtualClock.running()
    assert clock is not None
    return clock


def in_virtual_time(backend: str, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What ``function(*args)`` returns, run on ``"asyncio"`` or ``"trio"``."""
    _holds.clear()
    with (
        mock.patch("allframe.testing.clock.PATIENCE", 0.0),
        # The clock is held by whoever plays: a thread that waits for its gate is to take its time.
        mock.patch("allframe.saga.perform.waiting_for_thread", contextlib.nullcontext()),
    ):
        name, options = VirtualClock().backend(backend)
        return anyio.run(function, *args, backend=name, backend_options=options)
