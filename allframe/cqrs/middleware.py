"""`Middleware`: something around every command that a bus handles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from allframe.cqrs.command import Command
from allframe.cqrs.context import CommandContext
from allframe.events.event import Event

__all__ = ["Middleware", "Next", "around"]

#: The rest of the way: the next middleware, or the handler and its commit.
Next: TypeAlias = Callable[[Command], Awaitable[list[Event]]]
#: Something around every command: it calls the rest of the way, or does not.
Middleware: TypeAlias = Callable[[Command, CommandContext, Next], Awaitable[list[Event]]]


def around(middleware: Middleware, context: CommandContext, way: Next) -> Next:
    """``way`` with ``middleware`` around it."""

    async def call(command: Command) -> list[Event]:
        return await middleware(command, context, way)

    return call
