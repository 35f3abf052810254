"""Two views of the events, and what can be asked of them."""

from __future__ import annotations

from allframe import (
    Event,
    Inject,
    Projection,
    ProjectionRegistry,
    Query,
    QueryBus,
    RecordedEvent,
    SqlProjection,
    Transaction,
)
from examples.orders.events import (
    OrderCancelled,
    OrderDeclined,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    PaymentReturned,
)

__all__ = ["Board", "BoardOf", "Sales", "SalesTo", "query_bus"]


class Board(Projection, name="board"):
    """Where each order stands: in memory, made anew at each start."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        match event:
            case OrderPlaced(order=order):
                self.states[order] = "placed"
            case OrderShipped(order=order, parcel=parcel):
                self.states[order] = f"shipped as {parcel}"
            case OrderDeclined(order=order):
                self.states[order] = "declined"
            case OrderCancelled(order=order, reason=reason):
                self.states[order] = f"cancelled: {reason}"

    def reset(self) -> None:
        self.states.clear()


class Sales(SqlProjection, name="sales", version=1):
    """What each customer has paid: in a table, with its position in the same transaction."""

    handles = (OrderPlaced, OrderPaid, PaymentReturned)
    schema = """
        CREATE TABLE customers ("order" TEXT PRIMARY KEY, customer TEXT NOT NULL);
        CREATE TABLE sales (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL)
    """

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        match event:
            case OrderPlaced(order=order, customer=customer):
                tx.execute("INSERT INTO customers VALUES (:order, :customer)", {"order": order, "customer": customer})
            case OrderPaid(order=order, cents=cents):
                self._add(order, cents, tx)
            case PaymentReturned(order=order, cents=cents):
                self._add(order, -cents, tx)

    def _add(self, order: str, cents: int, tx: Transaction) -> None:
        tx.execute(
            'INSERT INTO sales SELECT customer, :cents FROM customers WHERE "order" = :order '
            "ON CONFLICT (customer) DO UPDATE SET cents = cents + excluded.cents",
            {"order": order, "cents": cents},
        )


class BoardOf(Query[dict[str, str]], name="shop.board"):
    """Where every order stands."""


class SalesTo(Query[int], name="shop.sales_to"):
    """What a customer has paid, in cents."""

    customer: str


def query_bus(projections: ProjectionRegistry) -> QueryBus:
    """Everything that can be asked."""
    bus = QueryBus(provide={ProjectionRegistry: projections})

    @bus.handler
    async def board(query: BoardOf, projections: Inject[ProjectionRegistry]) -> dict[str, str]:
        return dict(projections.get("board", Board).states)

    @bus.handler
    async def sales_to(query: SalesTo, projections: Inject[ProjectionRegistry]) -> int:
        rows = await projections.query(
            "sales", "SELECT cents FROM sales WHERE customer = :customer", {"customer": query.customer}
        )
        return rows[0][0] if rows else 0

    return bus
