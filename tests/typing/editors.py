"""What an editor shows of a saga: mypy --strict and pyright see real signatures. Nothing here is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, assert_type

from pydantic import BaseModel

from allframe import (
    Inject,
    Saga,
    SagaGraph,
    SagaHandle,
    SagaOrchestrator,
    SagaOutcome,
    StepContext,
    Unknown,
    compensates,
    step,
)


class Shop: ...


class Receipt(BaseModel):
    number: int


@step(readonly=True)
async def look_up(article: str) -> int:
    """A plain function."""
    return len(article)


class Order(Saga, timeout=60, typecheck=True):
    article: str

    @step
    async def reserve(self, shop: Inject[Shop], ctx: StepContext | None = None) -> Receipt:
        """Reserve it."""
        return Receipt(number=1)

    @compensates("reserve")
    async def release(self, reserve: Receipt | Unknown, shop: Inject[Shop]) -> None:
        """Release it."""

    @step(timeout=None)
    def label(self, reserve: Receipt) -> str:
        return str(reserve.number)

    looked_up = look_up


class Reserves(Protocol):
    def __call__(self, shop: Shop, ctx: StepContext | None = None) -> Coroutine[Any, Any, Receipt]: ...


class Releases(Protocol):
    def __call__(self, reserve: Receipt | Unknown, shop: Shop) -> Coroutine[Any, Any, None]: ...


class LooksUp(Protocol):
    def __call__(self, article: str) -> Coroutine[Any, Any, int]: ...


def signatures(order: Order, shop: Shop) -> None:
    """Names, order, defaults and types of the parameters are those that were written."""
    reserve: Reserves = order.reserve
    release: Releases = order.release
    looks_up: LooksUp = look_up
    assert_type(order.label(reserve=Receipt(number=1)), str)
    assert_type(Order.label(order, Receipt(number=1)), str)
    print(reserve, release, looks_up, shop)


async def awaited(order: Order, shop: Shop) -> None:
    assert_type(await order.reserve(shop), Receipt)
    assert_type(await order.release(Receipt(number=1), shop), None)
    assert_type(await look_up("cup"), int)


async def running(orchestrator: SagaOrchestrator, order: Order) -> None:
    assert_type(Order.graph, SagaGraph)
    execute: Callable[[Saga], Awaitable[SagaOutcome]] = orchestrator.execute
    print(execute)
    assert_type(await orchestrator.start(order), SagaHandle)
    outcome = await orchestrator.execute(order)
    assert_type(outcome, SagaOutcome)
    assert_type(outcome.outputs, Mapping[str, Any])
    assert_type(outcome.outputs["reserve"], Any)
    assert_type(outcome.output, Any)
