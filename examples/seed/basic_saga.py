"""The seed, "Usage Examples / Basic Saga": an order that reserves inventory and takes a payment.

It prints::

    Order successful! 2 events generated
    Releasing inventory for order order-12346
    Step 'ProcessPayment' failed: card declined
    Compensation was executed automatically!
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from allframe import Event, Refused, SagaDefinition, SagaError, SagaOrchestrator, SagaStep, StepFailed


class OrderEvent(Event):
    order_id: str


class Reserved(OrderEvent):
    items: list[str]


class PaymentProcessed(OrderEvent):
    amount: Decimal


class Shipped(OrderEvent):
    tracking: str


# Step 1: Reserve inventory
class ReserveInventoryStep(SagaStep, name="ReserveInventory"):
    order_id: str
    items: list[str]

    async def execute(self) -> list[OrderEvent]:
        # Reserve inventory in database
        return [Reserved(order_id=self.order_id, items=self.items)]

    async def compensate(self) -> list[OrderEvent]:
        # Release inventory reservation
        print(f"Releasing inventory for order {self.order_id}")
        return []


# Step 2: Process payment
class ProcessPaymentStep(SagaStep, name="ProcessPayment", timeout=10):  # payment has a timeout of its own
    order_id: str
    amount: Decimal

    async def execute(self) -> list[OrderEvent]:
        # Process payment with payment gateway
        if self.amount > 500:
            raise Refused("card declined")  # the seed returns Err("card declined")
        return [PaymentProcessed(order_id=self.order_id, amount=self.amount)]

    async def compensate(self) -> list[OrderEvent]:
        # Refund payment. The step that failed is not undone: it said that it left nothing behind.
        print(f"Refunding ${self.amount} for order {self.order_id}")
        return []


def order(order_id: str, amount: Decimal) -> SagaDefinition:
    """In Rust a step is called what it says of itself; here the definition gives it a name in snake case, or this one."""
    return (
        SagaDefinition(order_id)
        .add_step(ReserveInventoryStep(order_id=order_id, items=["item-1", "item-2"]), name="ReserveInventory")
        .add_step(ProcessPaymentStep(order_id=order_id, amount=amount), name="ProcessPayment")
    )


async def main() -> None:
    async with SagaOrchestrator() as orchestrator:
        for saga in (order("order-12345", Decimal("99.99")), order("order-12346", Decimal("9999.99"))):
            try:
                outcome = await orchestrator.execute(saga)
                print(f"Order successful! {len(outcome.events)} events generated")
            except StepFailed as failed:
                print(f"Step '{failed.step_name}' failed: {failed.error.message if failed.error else ''}")
                print("Compensation was executed automatically!")
            except SagaError as error:
                print(f"Saga error: {error}")


if __name__ == "__main__":
    asyncio.run(main())
