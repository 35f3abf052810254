"""A trip of AWS Step Functions; an order and a transfer of Azure Durable Functions."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from allframe import Inject, Refused, Retry, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far

__all__ = ["BookTravel", "ProcessOrder", "TransferBetweenAccounts"]


class LambdaError(Exception):
    """`Lambda.ServiceException`, `Lambda.AWSLambdaException`, `Lambda.SdkClientException`."""


class Reserved(BaseModel):
    status: str
    booking_id: str


class Paid(BaseModel):
    status: str
    payment_id: str


#: `MaxAttempts: 6` counts what comes after the first.
LAMBDA = Retry(attempts=7, wait=2.0, factor=2.0, on=LambdaError)
#: The same, and three more times for any other error: there is one policy for a compensation here.
CANCEL = Retry(attempts=7, wait=2.0, factor=2.0)


class BookTravel(Saga, name="ports.aws.book_travel"):
    """A flight and a rental are reserved, paid for, confirmed; a message tells so.

    aws-samples/step-functions-workflows-collection, saga-pattern-sam/statemachine/statemachine.asl.json and lambdas/. Whatever
    fails leads to the refund, then to both cancellations, which delete the booking, confirmed or not, by the id that
    reserving it returned; where there is none, they delete nothing.
    """

    trip_id: str
    depart_city: str
    arrive_city: str
    rental: str

    @step(timeout=None, retry=LAMBDA)
    async def reserve_flight(self, far: Inject[Far], ctx: StepContext) -> Reserved:
        return Reserved(status="ok", booking_id=await far.do("reserve flight", ctx))

    @compensates("reserve_flight", timeout=None, retry=CANCEL)
    async def cancel_flight(self, reserve_flight: Reserved | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve flight", ctx)

    @step(timeout=None, retry=LAMBDA)
    async def reserve_rental(self, far: Inject[Far], ctx: StepContext) -> Reserved:
        return Reserved(status="ok", booking_id=await far.do("reserve rental", ctx))

    @compensates("reserve_rental", timeout=None, retry=CANCEL)
    async def cancel_rental(self, reserve_rental: Reserved | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve rental", ctx)

    @step(timeout=None, retry=LAMBDA)
    async def process_payment(
        self, reserve_flight: Reserved, reserve_rental: Reserved, far: Inject[Far], ctx: StepContext
    ) -> Paid:
        return Paid(status="ok", payment_id=await far.do("pay", ctx))

    @compensates("process_payment", timeout=None, retry=CANCEL)
    async def refund_payment(self, process_payment: Paid | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("pay", ctx)

    @step(timeout=None, retry=LAMBDA)
    async def confirm_flight(self, reserve_flight: Reserved, far: Inject[Far], ctx: StepContext) -> Reserved:
        await far.do("confirm flight", ctx)
        return reserve_flight

    @compensates("confirm_flight", timeout=None, retry=CANCEL)
    async def unconfirm_flight(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("confirm flight", ctx)

    @step(timeout=None, retry=LAMBDA)
    async def confirm_rental(self, reserve_rental: Reserved, far: Inject[Far], ctx: StepContext) -> Reserved:
        await far.do("confirm rental", ctx)
        return reserve_rental

    @compensates("confirm_rental", timeout=None, retry=CANCEL)
    async def unconfirm_rental(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("confirm rental", ctx)

    @step(timeout=None)
    async def send_sms(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("send message", ctx)


class Inventory(BaseModel):
    product_id: str
    reserved_quantity: int
    reserved: bool = False
    updated: bool = False


class Approval(BaseModel):
    order_id: str
    is_approved: bool
    approval_id: str


class Payment(BaseModel):
    order_id: str
    amount: Decimal
    transaction_id: str


class Delivery(BaseModel):
    order_id: str
    address: str
    tracking_number: str


class ProcessOrder(Saga, name="ports.azure.process_order"):
    """An order with a person's approval in it.

    Azure-Samples/Durable-Task-Scheduler, samples/durable-functions/dotnet/Saga/Orchestrators/OrderProcessingOrchestrator.cs.
    Each compensation is registered before its call, with what the call is given. Whoever heard that the order is processed
    hears at the end that it failed.
    """

    order_id: str
    customer_id: str
    product_id: str
    quantity: int
    amount: Decimal

    @step
    async def notify_begin(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("notify: processing", ctx)

    @compensates("notify_begin")
    async def notify_failed(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("notify: processing", ctx)

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
            order_id=self.order_id, is_approved=self.amount < 10_000, approval_id=await far.do("request approval", ctx)
        )
        if not approval.is_approved:
            raise Refused("not approved")
        return approval

    @compensates("request_approval")
    async def withdraw_approval(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("request approval", ctx)

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

    @compensates("deliver")
    async def call_delivery_off(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("schedule delivery", ctx)

    @step
    async def notify_end(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("notify: completed", ctx)


class TransferBetweenAccounts(Saga, name="ports.azure.transfer"):
    """A transfer is validated, made, and has a receipt; without the receipt it is cancelled.

    Azure-Samples/saga-orchestration-serverless, src/Saga.Orchestration/Factories/DurableOrchestrator.cs. Each command is
    answered by an event, which is waited for at most so long.
    """

    account_from: str
    account_to: str
    amount: Decimal

    @step(readonly=True, timeout=30)
    async def validate_transfer(self) -> None:
        if self.amount <= 0:
            raise Refused("an invalid amount")

    @step(timeout=30)
    async def transfer(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("transfer", ctx)

    @compensates("transfer", timeout=30)
    async def cancel_transfer(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("transfer", ctx)

    @step(timeout=30)
    async def issue_receipt(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("issue receipt", ctx)
