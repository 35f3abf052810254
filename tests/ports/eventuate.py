"""Four orders of Chris Richardson's: one of Eventuate Tram's customers and orders, three of the FTGO application.

Eventuate calls a participant by a message and waits for its reply as long as it takes; a step without a compensation is passed
over when it rolls back.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from allframe import Inject, Retry, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far

__all__ = ["CancelOrder", "CreateOrder", "CreateOrderWithCredit", "ReviseOrder"]


#: A participant is sent the same command again until it replies that it is done.
UNTIL_IT_SUCCEEDS = Retry(attempts=1_000_000, wait=1.0, max_wait=60.0)


class OrderOfCustomer(BaseModel):
    customer_id: int
    order_total: Decimal


class CreateOrderWithCredit(Saga, name="ports.eventuate.create_order_with_credit"):
    """An order is created, the customer's credit reserved, the order approved.

    eventuate-tram/eventuate-tram-sagas-examples-customers-and-orders, order-service/order-service-sagas,
    .../orders/sagas/CreateOrderSaga.java. `create` and `approve` are local: they commit together with the saga's own record.
    """

    order_details: OrderOfCustomer

    @step(timeout=None)
    async def create(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("create order", ctx)

    @compensates("create", timeout=None)
    async def reject(self, create: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create order", ctx)

    @step(timeout=None, pivot=True, retry=UNTIL_IT_SUCCEEDS)
    async def reserve_credit(self, create: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("reserve credit", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def approve(self, create: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("approve order", ctx)


class LineItem(BaseModel):
    menu_item: str
    name: str
    quantity: int


class OrderDetails(BaseModel):
    consumer_id: int
    restaurant_id: int
    line_items: list[LineItem]
    order_total: Decimal


class CreateTicketReply(BaseModel):
    ticket_id: str


class CreateOrder(Saga, name="ports.eventuate.create_order"):
    """A meal is ordered: the consumer may, the kitchen can, the card is good for it.

    microservices-patterns/ftgo-application, ftgo-order-service, .../sagas/createorder/CreateOrderSaga.java. The order is there
    before the saga begins, so the first step is nothing but its compensation.
    """

    order_id: int
    order_details: OrderDetails

    @step(timeout=None)
    async def order_is_pending(self) -> None: ...

    @compensates("order_is_pending", timeout=None)
    async def reject_order(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create order", ctx)

    @step(timeout=None, readonly=True)
    async def validate_order_by_consumer(self) -> None: ...

    @step(timeout=None)
    async def create_ticket(self, far: Inject[Far], ctx: StepContext) -> CreateTicketReply:
        return CreateTicketReply(ticket_id=await far.do("create ticket", ctx))

    @compensates("create_ticket", timeout=None)
    async def cancel_create_ticket(self, far: Inject[Far], ctx: StepContext) -> None:
        """By the order's id."""
        await far.undo("create ticket", ctx)

    @step(timeout=None, pivot=True, retry=UNTIL_IT_SUCCEEDS)
    async def authorize(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("authorize card", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def confirm_create_ticket(self, create_ticket: CreateTicketReply, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("confirm ticket", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def approve_order(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("approve order", ctx)


class CancelOrder(Saga, name="ports.eventuate.cancel_order"):
    """An order and its ticket are put on hold, the money is given back, the hold becomes final.

    microservices-patterns/ftgo-application, ftgo-order-service, .../sagas/cancelorder/CancelOrderSaga.java.
    """

    order_id: int
    restaurant_id: int
    consumer_id: int
    order_total: Decimal

    @step(timeout=None)
    async def begin_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("begin cancel", ctx)

    @compensates("begin_cancel", timeout=None)
    async def undo_begin_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("begin cancel", ctx)

    @step(timeout=None)
    async def begin_cancel_ticket(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("begin cancel ticket", ctx)

    @compensates("begin_cancel_ticket", timeout=None)
    async def undo_begin_cancel_ticket(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("begin cancel ticket", ctx)

    @step(timeout=None, pivot=True, retry=UNTIL_IT_SUCCEEDS)
    async def reverse_authorization(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("reverse authorization", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def confirm_ticket_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("confirm ticket cancel", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def confirm_order_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("confirm order cancel", ctx)


class BeginReviseOrderReply(BaseModel):
    revised_order_total: Decimal


class ReviseOrder(Saga, name="ports.eventuate.revise_order"):
    """The same for an order that becomes another: the total that the first step replies is what is authorized.

    microservices-patterns/ftgo-application, ftgo-order-service, .../sagas/reviseorder/ReviseOrderSaga.java.
    """

    consumer_id: int
    order_id: int
    restaurant_id: int
    revised_line_items: list[LineItem]

    @step(timeout=None)
    async def begin_revise_order(self, far: Inject[Far], ctx: StepContext) -> BeginReviseOrderReply:
        await far.do("begin revise order", ctx)
        return BeginReviseOrderReply(revised_order_total=Decimal("12.50"))

    @compensates("begin_revise_order", timeout=None)
    async def undo_begin_revise_order(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("begin revise order", ctx)

    @step(timeout=None)
    async def begin_revise_ticket(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("begin revise ticket", ctx)

    @compensates("begin_revise_ticket", timeout=None)
    async def undo_begin_revise_ticket(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("begin revise ticket", ctx)

    @step(timeout=None, pivot=True, retry=UNTIL_IT_SUCCEEDS)
    async def revise_authorization(
        self, begin_revise_order: BeginReviseOrderReply, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.do(f"authorize {begin_revise_order.revised_order_total}", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def confirm_ticket_revision(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("confirm ticket revision", ctx)

    @step(timeout=None, retry=UNTIL_IT_SUCCEEDS)
    async def confirm_order_revision(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("confirm order revision", ctx)
