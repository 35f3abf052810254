"""A saga of three steps over a small world, for tests that stop it halfway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from allframe import Inject, Retry, Saga, StepContext, Unknown, compensates, step

Hook = Callable[[StepContext], Awaitable[None]]


class World:
    """What was done, and what a test does in the middle of it."""

    def __init__(self) -> None:
        #: ``do hotel 1 trip-1/hotel/do``: direction, step, attempt, key.
        self.log: list[str] = []
        #: What compensations were given.
        self.undone: dict[str, object] = {}
        self.hooks: dict[str, Hook] = {}
        self.reached: dict[str, anyio.Event] = {}

    async def act(self, what: str, ctx: StepContext) -> None:
        self.log.append(f"{what} {ctx.attempt}")
        if what in self.reached:
            self.reached[what].set()
        if what in self.hooks:
            await self.hooks[what](ctx)

    def stop_in(self, what: str) -> anyio.Event:
        """Whoever does ``what`` waits for ever; the event tells that it is there."""
        self.hooks[what] = lambda ctx: anyio.sleep_forever()
        self.reached[what] = anyio.Event()
        return self.reached[what]

    def fail_in(self, what: str, error: BaseException, times: int = 10**9) -> None:
        """The first ``times`` of those who do ``what`` raise ``error``."""
        left = [times]

        async def fail(ctx: StepContext) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise error

        self.hooks[what] = fail


class Journey(Saga, name="test.journey"):
    """Hotel, flight, car: each can be given back."""

    traveller: str = "Ada"

    @step(timeout=100)
    async def hotel(self, world: Inject[World], ctx: StepContext) -> str:
        await world.act("do hotel", ctx)
        return "room 1"

    @compensates("hotel", retry=Retry(attempts=3, wait=5, jitter=0))
    async def free_room(self, hotel: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        world.undone["hotel"] = hotel
        await world.act("undo hotel", ctx)

    @step(timeout=100, retry=Retry(attempts=2, wait=60, max_wait=60, jitter=0, on=ConnectionError))
    async def flight(self, hotel: str, world: Inject[World], ctx: StepContext) -> tuple[str, int]:
        await world.act("do flight", ctx)
        return (hotel, 7)

    @compensates("flight", retry=Retry(attempts=3, wait=5, jitter=0))
    async def free_seat(self, flight: tuple[str, int] | Unknown, world: Inject[World], ctx: StepContext) -> None:
        world.undone["flight"] = flight
        await world.act("undo flight", ctx)

    @step(timeout=100)
    async def car(self, flight: tuple[str, int], world: Inject[World], ctx: StepContext) -> str:
        await world.act("do car", ctx)
        return f"car for {flight[0]}"

    @compensates("car", retry=Retry(attempts=3, wait=5, jitter=0))
    async def free_car(self, car: str | Unknown, world: Inject[World], ctx: StepContext) -> None:
        world.undone["car"] = car
        await world.act("undo car", ctx)
