"""What the checker refuses of python-cqrs's, as it is published."""

from __future__ import annotations

from allframe import Inject, Saga, StepContext, compensates, step
from tests.forty import Far
from tests.ports.cqrs import (
    InventoryReserved,
    OrderShipped,
    PaymentProcessed,
    ProcessPaymentResponse,
    ReserveInventoryResponse,
    ShipOrderResponse,
)
from tests.ports.published.refusals import refused

with refused("ports.cqrs.process_order"):

    class ProcessOrder(Saga, name="ports.cqrs.process_order"):
        """Inventory, payment, shipment; each is undone by the number that its service gave."""

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
            self, reserve_inventory: ReserveInventoryResponse, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.undo(f"reserve inventory {reserve_inventory.reservation_id}", ctx)

        @step
        async def process_payment(self, far: Inject[Far], ctx: StepContext) -> ProcessPaymentResponse:
            payment = await far.do("charge", ctx)
            ctx.emit(PaymentProcessed(order_id=self.order_id, payment_id=payment, amount=self.total_amount))
            return ProcessPaymentResponse(
                payment_id=payment, amount_charged=self.total_amount, transaction_id="txn_000001"
            )

        @compensates("process_payment")
        async def refund(self, process_payment: ProcessPaymentResponse, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo(f"charge {process_payment.payment_id}", ctx)

        @step
        async def ship_order(self, far: Inject[Far], ctx: StepContext) -> ShipOrderResponse:
            shipment = await far.do("create shipment", ctx)
            ctx.emit(OrderShipped(order_id=self.order_id, shipment_id=shipment, tracking_number="TRACK00000001"))
            return ShipOrderResponse(
                shipment_id=shipment, tracking_number="TRACK00000001", estimated_delivery="2024-12-25"
            )

        @compensates("ship_order")
        async def cancel_shipment(self, ship_order: ShipOrderResponse, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo(f"create shipment {ship_order.shipment_id}", ctx)
