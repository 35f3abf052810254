"""Last year's shop. What it stored is still there, and nobody rewrites it."""

from __future__ import annotations

from allframe import Event, EventStore

__all__ = ["write_what_is_in_the_store"]


class OrderPlaced(Event, name="shop.order_placed", version=1):
    order: str
    customer: str
    items: dict[str, int]
    euros: float


async def write_what_is_in_the_store(url: str) -> None:
    """One order that was never fulfilled."""
    async with EventStore(url) as store:
        order = OrderPlaced(order="0", customer="ada", items={"lamp": 1}, euros=49.9)
        await store.append("order-0", [order], expected_version=0)
