"""What customers ask for, and who does it."""

from __future__ import annotations

from pydantic import Field

from allframe import (
    Command,
    CommandBus,
    CommandContext,
    CommandRejected,
    Event,
    EventStore,
    Repository,
    SagaError,
    SagaHandle,
    SagaOrchestrator,
)
from examples.orders.order import Order
from examples.orders.saga import FulfilOrder

__all__ = ["PRICES", "CancelOrder", "PlaceOrder", "command_bus"]

#: In cents.
PRICES = {"lamp": 4_990, "chair": 12_000}


class PlaceOrder(Command, name="shop.place_order"):
    order: str = Field(min_length=1)
    customer: str = Field(min_length=1)
    items: dict[str, int] = Field(min_length=1)


class CancelOrder(Command, name="shop.cancel_order"):
    order: str
    reason: str


def command_bus(store: EventStore, orchestrator: SagaOrchestrator) -> CommandBus:
    """Everything that can be asked for."""
    bus = CommandBus(store, starter=orchestrator.start)
    orders = Repository(store, Order, snapshot_every=100)

    @bus.handler
    async def place(command: PlaceOrder, context: CommandContext) -> None:
        """The saga does it, and its events come of its steps. Who does not want to wait leaves out the second half."""
        cents = sum(PRICES[item] * count for item, count in command.items.items())
        saga = FulfilOrder(order=command.order, customer=command.customer, items=command.items, cents=cents)
        handle: SagaHandle = await context.start(saga, id=f"fulfil-{command.order}")

        try:
            (await handle.outcome()).raise_for_status()
        except SagaError as error:
            why = error.error.message if error.error else f"no answer from {error.step_name!r}"
            raise CommandRejected(f"declined: {why}", reason="declined") from error

    @bus.handler(attempts=3)
    async def cancel(command: CancelOrder) -> list[tuple[str, list[Event], int]]:
        """Decided on the order as it is; again, if it has moved on meanwhile."""
        order = await orders.load(command.order)
        return [orders.write(order, order.cancel(command.reason))]

    return bus
