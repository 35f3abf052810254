"""Two sagas of python-cqrs: its order, plain and with a fallback.

python-cqrs compensates the steps that were completed, so a compensation finds in the context what its step has put there.
"""

from __future__ import annotations

from pydantic import BaseModel

from allframe import Event, Inject, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far

__all__ = ["ProcessOrder", "ProcessOrderWithFallback"]


class ReserveInventoryResponse(BaseModel):
    reservation_id: str
    items_reserved: list[str]


class ProcessPaymentResponse(BaseModel):
    payment_id: str
    amount_charged: float
    transaction_id: str


class ShipOrderResponse(BaseModel):
    shipment_id: str
    tracking_number: str
    estimated_delivery: str


class InventoryReserved(Event, name="ports.cqrs.inventory_reserved"):
    order_id: str
    reservation_id: str
    items: list[str]


class PaymentProcessed(Event, name="ports.cqrs.payment_processed"):
    order_id: str
    payment_id: str
    amount: float


class OrderShipped(Event, name="ports.cqrs.order_shipped"):
    order_id: str
    shipment_id: str
    tracking_number: str


class ProcessOrder(Saga, name="ports.cqrs.process_order"):
    """Inventory, payment, shipment; each is undone by the number that its service gave.

    vadikko2/python-cqrs, examples/saga.py (also examples/saga_recovery.py, and docs/saga/examples.md of its documentation).
    """

    order_id: str
    user_id: str
    items: list[str]
    total_amount: float
    shipping_address: str

    @step
    async def reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> ReserveInventoryResponse:
        reservation = await far.do("reserve inventory", ctx)
        ctx.emit(InventoryReserved(order_id=self.order_id, reservation_id=reservation, items=self.items))
        return ReserveInventoryResponse(reservation_id=reservation, items_reserved=self.items)

    @compensates("reserve_inventory")
    async def release_items(
        self, reserve_inventory: ReserveInventoryResponse | Unknown, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.undo("reserve inventory", ctx)

    @step
    async def process_payment(self, far: Inject[Far], ctx: StepContext) -> ProcessPaymentResponse:
        payment = await far.do("charge", ctx)
        ctx.emit(PaymentProcessed(order_id=self.order_id, payment_id=payment, amount=self.total_amount))
        return ProcessPaymentResponse(payment_id=payment, amount_charged=self.total_amount, transaction_id="txn_000001")

    @compensates("process_payment")
    async def refund(
        self, process_payment: ProcessPaymentResponse | Unknown, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.undo("charge", ctx)

    @step
    async def ship_order(self, far: Inject[Far], ctx: StepContext) -> ShipOrderResponse:
        shipment = await far.do("create shipment", ctx)
        ctx.emit(OrderShipped(order_id=self.order_id, shipment_id=shipment, tracking_number="TRACK00000001"))
        return ShipOrderResponse(shipment_id=shipment, tracking_number="TRACK00000001", estimated_delivery="2024-12-25")

    @compensates("ship_order")
    async def cancel_shipment(
        self, ship_order: ShipOrderResponse | Unknown, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.undo("create shipment", ctx)


class ProcessOrderWithFallback(Saga, name="ports.cqrs.process_order_with_fallback"):
    """The same, with another service for the inventory where the first one fails.

    vadikko2/python-cqrs, examples/saga_mermaid.py, `OrderSagaWithFallback`. The bodies of its steps do nothing; what they mean
    is in their docstrings.
    """

    order_id: str
    items: list[str]
    total_amount: float

    @step
    async def reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> ReserveInventoryResponse:
        try:
            reservation = await far.do("reserve inventory", ctx)
        except Exception:  # whatever it was, the other service is asked
            reservation = await far.do("reserve inventory elsewhere", ctx)
        return ReserveInventoryResponse(reservation_id=reservation, items_reserved=self.items)

    @compensates("reserve_inventory")
    async def release_items(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve inventory", ctx)

    @step
    async def process_payment(self, far: Inject[Far], ctx: StepContext) -> ProcessPaymentResponse:
        payment = await far.do("charge", ctx)
        return ProcessPaymentResponse(payment_id=payment, amount_charged=self.total_amount, transaction_id="txn_123")

    @compensates("process_payment")
    async def refund(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("charge", ctx)

    @step
    async def ship_order(self, far: Inject[Far], ctx: StepContext) -> ShipOrderResponse:
        shipment = await far.do("create shipment", ctx)
        return ShipOrderResponse(shipment_id=shipment, tracking_number="TRACK1", estimated_delivery="2024-12-25")

    @compensates("ship_order")
    async def cancel_shipment(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create shipment", ctx)
