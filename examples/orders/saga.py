"""`FulfilOrder`: reserve, take the money, ship; or leave nothing of it."""

from __future__ import annotations

from allframe import Inject, Saga, StepContext, Unknown, compensates, step
from examples.orders.events import OrderDeclined, OrderPaid, OrderPlaced, OrderShipped, PaymentReturned
from examples.orders.services import Payment, Shipping, Stock

__all__ = ["FulfilOrder"]


class FulfilOrder(Saga, name="shop.fulfil_order"):
    """One order over three services. What its steps return is appended to the order's stream."""

    order: str
    customer: str
    items: dict[str, int]
    cents: int

    @step
    async def place(self) -> OrderPlaced:
        return OrderPlaced(order=self.order, customer=self.customer, items=self.items, cents=self.cents)

    @compensates("place")
    async def decline(self) -> OrderDeclined:
        return OrderDeclined(order=self.order)

    @step
    async def reserve(self, stock: Inject[Stock], ctx: StepContext) -> None:
        await stock.reserve(self.items, key=ctx.idempotency_key)

    @compensates("reserve")
    async def release(self, stock: Inject[Stock], ctx: StepContext) -> None:
        await stock.release(key=ctx.forward_key)

    @step
    async def pay(self, payment: Inject[Payment], ctx: StepContext) -> OrderPaid:
        await payment.take(self.customer, self.cents, key=ctx.idempotency_key)
        return OrderPaid(order=self.order, cents=self.cents)

    @compensates("pay")
    async def give_back(self, pay: OrderPaid | Unknown, payment: Inject[Payment], ctx: StepContext) -> PaymentReturned:
        await payment.give_back(key=ctx.forward_key)
        return PaymentReturned(order=self.order, cents=self.cents)

    @step(timeout=1)
    async def ship(self, shipping: Inject[Shipping], ctx: StepContext) -> OrderShipped:
        parcel = await shipping.ship(self.order, self.customer, key=ctx.idempotency_key)
        return OrderShipped(order=self.order, parcel=parcel)

    @compensates("ship")
    async def call_back(self, shipping: Inject[Shipping], ctx: StepContext) -> None:
        await shipping.call_back(key=ctx.forward_key)
