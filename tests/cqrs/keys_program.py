"""A program that dispatches so many commands under keys: ``python -m tests.cqrs.keys_program URL COUNT``.

It tells each key on a line of its own once it has been answered. Every seventh command is rejected; every other one
withdraws from an account, pays in to another in the same commit, and has a fee booked by a command within it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal

import anyio
import anyio.lowlevel

from allframe import Command, CommandBus, CommandContext, CommandRejected, Event, EventStore
from tests.cqrs.world import Deposited, Withdrawn

#: So many are under way at once.
AT_ONCE = 8


class Move(Command, name="keys.move"):
    number: int


class Fee(Command, name="keys.fee"):
    number: int


def is_rejected(number: int) -> bool:
    return number % 7 == 0


async def fee(command: Fee) -> Deposited:
    return Deposited(account="fees", amount=Decimal(command.number))


async def move(command: Move, context: CommandContext) -> list[Event]:
    if is_rejected(command.number):
        raise CommandRejected("The seventh is not moved.", reason="seventh")
    await context.dispatch(Fee(number=command.number))
    await anyio.lowlevel.checkpoint()
    amount = Decimal(command.number)
    return [Withdrawn(account="A", amount=amount), Deposited(account="B", amount=amount)]


async def main(url: str, count: int) -> None:
    async with EventStore(url) as store:
        bus = CommandBus(store)
        bus.register(Fee, fee)
        bus.register(Move, move)
        numbers = iter(range(1, count + 1))
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(_dispatch, bus, numbers)


async def _dispatch(bus: CommandBus, numbers: Iterator[int]) -> None:
    for number in numbers:
        try:
            await bus.dispatch_idempotent(Move(number=number), f"move-{number}")
        except CommandRejected as rejection:
            print("rejected", rejection.reason, file=sys.stderr)
        print(number, flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
