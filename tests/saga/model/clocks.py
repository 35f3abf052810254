"""A clock that jumps at once when nothing else can happen, and can be held meanwhile: thousands of plays take minutes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from unittest import mock

import anyio

from tests import virtual

__all__ = ["hold_clock", "in_virtual_time", "let_clock_go", "wall_clock"]

T = TypeVar("T")

_holds: list[Any] = []


def hold_clock() -> None:
    hold = virtual._Database.asked()
    hold.__enter__()
    _holds.append(hold)


def let_clock_go() -> None:
    if _holds:
        _holds.pop().__exit__(None, None, None)


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Of a clock that jumps at once when nothing else can happen, and waits for threads as long as it takes."""

    loop: QuickLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if virtual._Database.open:
            return super().select(1)
        ready = super().select(0)
        if not ready and not virtual._Database.open:
            self.loop.jump(timeout)
        return ready


class QuickLoop(virtual.VirtualLoop):
    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._offset = 0.0
        asyncio.SelectorEventLoop.__init__(self, selector)


def wall_clock() -> virtual.LoopClock:
    """Wall time that goes with the loop's."""
    return virtual.LoopClock()


def in_virtual_time(backend: str, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What ``function(*args)`` returns, run on ``"asyncio"`` or ``"trio"``."""
    with mock.patch.object(virtual, "PATIENCE", 0):
        name, options = virtual.virtual_backend(backend)
        if name == "asyncio":
            options = {"loop_factory": QuickLoop}
        return anyio.run(function, *args, backend=name, backend_options=options)
