"""What the checker refuses of Eventuate's and FTGO's, as they are published."""

from __future__ import annotations

from decimal import Decimal

from allframe import Inject, Saga, StepContext, compensates, step
from tests.forty import Far
from tests.ports.eventuate import BeginReviseOrderReply, CreateTicketReply, LineItem, OrderDetails, OrderOfCustomer
from tests.ports.published.refusals import refused

with refused("ports.eventuate.create_order_with_credit"):

    class CreateOrderWithCredit(Saga, name="ports.eventuate.create_order_with_credit"):
        """An order is created, the customer's credit reserved, the order approved."""

        order_details: OrderOfCustomer

        @step(timeout=None)
        async def create(self, far: Inject[Far], ctx: StepContext) -> str:
            return await far.do("create order", ctx)

        @compensates("create", timeout=None)
        async def reject(self, create: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo(f"create order {create}", ctx)

        @step(timeout=None)
        async def reserve_credit(self, create: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("reserve credit", ctx)

        @step(timeout=None)
        async def approve(self, create: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("approve order", ctx)


with refused("ports.eventuate.create_order"):

    class CreateOrder(Saga, name="ports.eventuate.create_order"):
        """A meal is ordered: the consumer may, the kitchen can, the card is good for it."""

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

        @step(timeout=None)
        async def authorize(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("authorize card", ctx)

        @step(timeout=None)
        async def confirm_create_ticket(
            self, create_ticket: CreateTicketReply, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.do("confirm ticket", ctx)

        @step(timeout=None)
        async def approve_order(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("approve order", ctx)


with refused("ports.eventuate.cancel_order"):

    class CancelOrder(Saga, name="ports.eventuate.cancel_order"):
        """An order and its ticket are put on hold, the money is given back, the hold becomes final."""

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

        @step(timeout=None)
        async def reverse_authorization(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("reverse authorization", ctx)

        @step(timeout=None)
        async def confirm_ticket_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("confirm ticket cancel", ctx)

        @step(timeout=None)
        async def confirm_order_cancel(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("confirm order cancel", ctx)


with refused("ports.eventuate.revise_order"):

    class ReviseOrder(Saga, name="ports.eventuate.revise_order"):
        """The same for an order that becomes another: the total that the first step replies is what is authorized."""

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

        @step(timeout=None)
        async def revise_authorization(
            self, begin_revise_order: BeginReviseOrderReply, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.do(f"authorize {begin_revise_order.revised_order_total}", ctx)

        @step(timeout=None)
        async def confirm_ticket_revision(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("confirm ticket revision", ctx)

        @step(timeout=None)
        async def confirm_order_revision(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("confirm order revision", ctx)
