"""What the checker refuses of the samples of AWS and Azure, as they are published."""

from __future__ import annotations

from decimal import Decimal

from allframe import Inject, Refused, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far
from tests.ports.clouds import CANCEL, LAMBDA, Approval, Delivery, Inventory, Paid, Payment, Reserved
from tests.ports.published.refusals import refused

with refused("ports.aws.book_travel"):

    class BookTravel(Saga, name="ports.aws.book_travel"):
        """A flight and a rental are reserved, paid for, confirmed; a message tells so."""

        trip_id: str
        depart_city: str
        arrive_city: str
        rental: str

        @step(timeout=None, retry=LAMBDA)
        async def reserve_flight(self, far: Inject[Far], ctx: StepContext) -> Reserved:
            return Reserved(status="ok", booking_id=await far.do("reserve flight", ctx))

        @compensates("reserve_flight", timeout=None, retry=CANCEL)
        async def cancel_flight(self, reserve_flight: Reserved | Unknown, far: Inject[Far], ctx: StepContext) -> None:
            if isinstance(reserve_flight, Reserved):
                await far.undo("reserve flight", ctx)

        @step(timeout=None, retry=LAMBDA)
        async def reserve_rental(self, far: Inject[Far], ctx: StepContext) -> Reserved:
            return Reserved(status="ok", booking_id=await far.do("reserve rental", ctx))

        @compensates("reserve_rental", timeout=None, retry=CANCEL)
        async def cancel_rental(self, reserve_rental: Reserved | Unknown, far: Inject[Far], ctx: StepContext) -> None:
            if isinstance(reserve_rental, Reserved):
                await far.undo("reserve rental", ctx)

        @step(timeout=None, retry=LAMBDA)
        async def process_payment(
            self, reserve_flight: Reserved, reserve_rental: Reserved, far: Inject[Far], ctx: StepContext
        ) -> Paid:
            return Paid(status="ok", payment_id=await far.do("pay", ctx))

        @compensates("process_payment", timeout=None, retry=CANCEL)
        async def refund_payment(self, process_payment: Paid | Unknown, far: Inject[Far], ctx: StepContext) -> None:
            if isinstance(process_payment, Paid):
                await far.undo("pay", ctx)

        @step(timeout=None, retry=LAMBDA)
        async def confirm_flight(self, reserve_flight: Reserved, far: Inject[Far], ctx: StepContext) -> Reserved:
            await far.do("confirm flight", ctx)
            return reserve_flight

        @step(timeout=None, retry=LAMBDA)
        async def confirm_rental(self, reserve_rental: Reserved, far: Inject[Far], ctx: StepContext) -> Reserved:
            await far.do("confirm rental", ctx)
            return reserve_rental

        @step(timeout=None)
        async def send_sms(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("send message", ctx)


with refused("ports.azure.process_order"):

    class ProcessOrder(Saga, name="ports.azure.process_order"):
        """An order with a person's approval in it."""

        order_id: str
        customer_id: str
        product_id: str
        quantity: int
        amount: Decimal

        @step
        async def notify_begin(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("notify: processing", ctx)

        @step
        async def reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> Inventory:
            await far.do("reserve inventory", ctx)
            return Inventory(product_id=self.product_id, reserved_quantity=self.quantity, reserved=True)

        @compensates("reserve_inventory")
        async def release_inventory(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("reserve inventory", ctx)

        @step
        async def request_approval(self, far: Inject[Far], ctx: StepContext) -> Approval:
            approval = Approval(
                order_id=self.order_id,
                is_approved=self.amount < 10_000,
                approval_id=await far.do("request approval", ctx),
            )
            if not approval.is_approved:
                raise Refused("not approved")
            return approval

        @step
        async def process_payment(self, request_approval: Approval, far: Inject[Far], ctx: StepContext) -> Payment:
            transaction = await far.do("pay", ctx)
            return Payment(order_id=self.order_id, amount=self.amount, transaction_id=transaction)

        @compensates("process_payment")
        async def refund_payment(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("pay", ctx)

        @step
        async def update_inventory(self, reserve_inventory: Inventory, far: Inject[Far], ctx: StepContext) -> Inventory:
            await far.do("update inventory", ctx)
            return reserve_inventory.model_copy(update={"updated": True})

        @compensates("update_inventory")
        async def restore_inventory(self, reserve_inventory: Inventory, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("update inventory", ctx)

        @step
        async def deliver(self, far: Inject[Far], ctx: StepContext) -> Delivery:
            tracking = await far.do("schedule delivery", ctx)
            return Delivery(order_id=self.order_id, address=f"of {self.customer_id}", tracking_number=tracking)

        @step
        async def notify_end(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("notify: completed", ctx)
