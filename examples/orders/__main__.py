"""One day in the shop, on an SQLite file that has last year's order in it.

It prints::

    place 1: done
    place 1 by a second click: done
    place 2: declined: bob has only 1000 cents
    place 3: declined: only 1 of lamp left
    place 4: declined: no answer from 'ship'
    cancel 1: order 1 is shipped
    cancel 0: done
    place: order: String should have at least 1 character
    place: customer: Field required
    place: items: Dictionary should have at least 1 item after validation, not 0
    order 0 is cancelled: a year is enough
    order 1 is shipped as parcel-1
    order 2 is declined
    order 3 is declined
    order 4 is declined
    ada paid 9980 cents
    bob paid 0 cents
    eve paid 0 cents
    of one click came ['shop.order_placed', 'shop.order_paid', 'shop.order_shipped']
    in stock: {'lamp': 1, 'chair': 2}, on the way: ['parcel-1']
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable
from pathlib import Path

import anyio

from allframe import (
    CommandBus,
    CommandError,
    CommandInvalid,
    Event,
    EventStore,
    ProjectionRegistry,
    RecordedEvent,
    SagaOrchestrator,
    correlated,
)
from examples.orders import last_year
from examples.orders.commands import CancelOrder, PlaceOrder, command_bus
from examples.orders.events import VERSIONS
from examples.orders.services import Payment, Shipping, Stock
from examples.orders.views import Board, BoardOf, Sales, SalesTo, query_bus


async def main(folder: Path) -> None:
    url = f"sqlite:///{folder}/shop.db"
    await last_year.write_what_is_in_the_store(url)

    stock, payment, shipping = Stock(), Payment(), Shipping()
    services = {Stock: stock, Payment: payment, Shipping: shipping}
    async with (
        EventStore(url, versions=VERSIONS) as store,
        SagaOrchestrator(store, provide=services) as orchestrator,
        ProjectionRegistry(store) as projections,
    ):
        await projections.register("board", Board)
        await projections.register("sales", Sales)
        await a_day(command_bus(store, orchestrator))

        await projections.caught_up()
        queries = query_bus(projections)
        for order, state in (await queries.dispatch(BoardOf())).items():
            print(f"order {order} is {state}")
        for customer in payment.accounts:
            print(f"{customer} paid {await queries.dispatch(SalesTo(customer=customer))} cents")
        print("of one click came", [each.type async for each in store.read_all() if _is_of(each, "click-1")])
        print(f"in stock: {dict(stock.free)}, on the way: {list(shipping.parcels.values())}")


async def a_day(bus: CommandBus) -> None:
    """What customers ask for, and what they hear."""
    one = PlaceOrder(order="1", customer="ada", items={"lamp": 2})
    with correlated("click-1"):
        await ask("place 1", bus.dispatch_idempotent(one, key="click-1"))
    await ask("place 1 by a second click", bus.dispatch_idempotent(one, key="click-1"))
    await ask("place 2", bus.dispatch(PlaceOrder(order="2", customer="bob", items={"chair": 1})))
    await ask("place 3", bus.dispatch(PlaceOrder(order="3", customer="ada", items={"lamp": 2})))
    await ask("place 4", bus.dispatch(PlaceOrder(order="4", customer="eve", items={"chair": 1})))
    await ask("cancel 1", bus.dispatch(CancelOrder(order="1", reason="too late")))
    await ask("cancel 0", bus.dispatch(CancelOrder(order="0", reason="a year is enough")))
    try:
        bus.parse(PlaceOrder, {"order": "", "items": {}})
    except CommandInvalid as invalid:
        for error in invalid.errors:
            print(f"place: {error.field}: {error.message}")


async def ask(what: str, answer: Awaitable[list[Event]]) -> None:
    try:
        await answer
        print(f"{what}: done")
    except CommandError as error:
        print(f"{what}: {error}")


def _is_of(recorded: RecordedEvent, request: str) -> bool:
    return recorded.metadata.get("correlation_id") == request


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(main, Path(folder))
