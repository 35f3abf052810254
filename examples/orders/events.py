"""What happens to an order, and how what was stored in the past is read."""

from __future__ import annotations

from typing import Any, ClassVar

from allframe import Event, VersionRegistry, upcasts

__all__ = [
    "VERSIONS",
    "OrderCancelled",
    "OrderDeclined",
    "OrderEvent",
    "OrderPaid",
    "OrderPlaced",
    "OrderShipped",
    "PaymentReturned",
]


class OrderEvent(Event):
    """Its stream is the order's, whoever returns it: a command handler or a step of a saga."""

    __stream__: ClassVar[str] = "order-{order}"
    order: str


class OrderPlaced(OrderEvent, name="shop.order_placed", version=2):
    customer: str
    items: dict[str, int]
    #: In version 1 it was ``euros``.
    cents: int


class OrderPaid(OrderEvent, name="shop.order_paid"):
    cents: int


class PaymentReturned(OrderEvent, name="shop.payment_returned"):
    cents: int


class OrderShipped(OrderEvent, name="shop.order_shipped"):
    parcel: str


class OrderDeclined(OrderEvent, name="shop.order_declined"):
    """The shop could not do it, and undid what it had done."""


class OrderCancelled(OrderEvent, name="shop.order_cancelled"):
    """The customer no longer wants it."""

    reason: str


@upcasts("shop.order_placed", from_version=1)
def count_cents(data: dict[str, Any]) -> dict[str, Any]:
    """Last year's shop wrote euros."""
    return {**{key: data[key] for key in ("order", "customer", "items")}, "cents": round(data["euros"] * 100)}


VERSIONS = VersionRegistry([count_cents])
