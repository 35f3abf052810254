"""`Order`: what its events come to, and what may happen to it next."""

from __future__ import annotations

from allframe import Aggregate, CommandRejected, Event
from examples.orders.events import OrderCancelled, OrderDeclined, OrderPlaced, OrderShipped

__all__ = ["Order"]


class Order(Aggregate, name="shop.order"):
    """Its stream is ``order-<id>``, the one that its events name."""

    state: str = "new"
    customer: str = ""
    cents: int = 0

    def apply(self, event: Event) -> None:
        match event:
            case OrderPlaced(customer=customer, cents=cents):
                self.state, self.customer, self.cents = "placed", customer, cents
            case OrderShipped():
                self.state = "shipped"
            case OrderDeclined():
                self.state = "declined"
            case OrderCancelled():
                self.state = "cancelled"

    def cancel(self, reason: str) -> list[Event]:
        if self.state != "placed":
            raise CommandRejected(f"order {self.id} is {self.state}", reason=self.state)
        return [OrderCancelled(order=self.id, reason=reason)]
