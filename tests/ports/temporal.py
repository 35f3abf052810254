"""Five samples of Temporal: a trip, three ways to move money, an account that is opened.

Temporal tries an activity again until it succeeds, waiting 1 s and at most 100 s, unless the sample says otherwise; what must
not be tried again is a `Refused` here.
"""

from __future__ import annotations

from pydantic import BaseModel

from allframe import Inject, Retry, Saga, StepContext, compensates, step
from tests.forty import Far

__all__ = ["BookTrip", "MoveMoney", "OpenAccount", "Transfer", "TransferMoney"]

#: "The default is unlimited": there is no such word here, so it is very many.
UNTIL_IT_SUCCEEDS = Retry(attempts=1_000_000, wait=1.0, max_wait=100.0)


class Booking(BaseModel):
    car: str
    hotel: str
    flight: str


class BookTrip(Saga, name="ports.temporal.book_trip"):
    """A car, a hotel, a flight.

    temporalio/samples-java, core/src/main/java/io/temporal/samples/bookingsaga/TripBookingWorkflowImpl.java. Each compensation
    is registered before the call that it undoes, and works by a request id that was made for it. There they run side by side.
    """

    name: str

    @step(timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def reserve_car(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("reserve car", ctx)

    @compensates("reserve_car", timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def cancel_car(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve car", ctx)

    @step(timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def book_hotel(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("book hotel", ctx)

    @compensates("book_hotel", timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def cancel_hotel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("book hotel", ctx)

    @step(timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def book_flight(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("book flight", ctx)

    @compensates("book_flight", timeout=10, retry=UNTIL_IT_SUCCEEDS)
    async def cancel_flight(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("book flight", ctx)

    @step(readonly=True)
    async def booking(self, reserve_car: str, book_hotel: str, book_flight: str) -> Booking:
        return Booking(car=reserve_car, hotel=book_hotel, flight=book_flight)


class MoveMoney(Saga, name="ports.temporal.move_money"):
    """Out of one account, into another.

    temporalio/samples-java, core/src/main/java/io/temporal/samples/moneytransfer/AccountTransferWorkflowImpl.java.
    """

    from_account: str
    to_account: str
    reference: str
    amount_cents: int

    @step(timeout=5, retry=UNTIL_IT_SUCCEEDS)
    async def withdraw(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("withdraw", ctx)

    @compensates("withdraw", timeout=5, retry=UNTIL_IT_SUCCEEDS)
    async def give_back(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("withdraw", ctx)

    @step(timeout=5, retry=UNTIL_IT_SUCCEEDS)
    async def deposit(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("deposit", ctx)


THREE_TIMES = Retry(attempts=3, wait=1.0, factor=2.0, max_wait=60.0)


class TransferMoney(Saga, name="ports.temporal.transfer_money"):
    """Out, in, and a step that fails to show what happens then.

    temporalio/samples-go, saga/workflow.go. Compensations are given the details of the transfer, which have a reference id.
    """

    amount: float
    from_account: str
    to_account: str
    reference_id: str

    @step(timeout=60, retry=THREE_TIMES)
    async def withdraw(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("withdraw", ctx)

    @compensates("withdraw", timeout=60, retry=THREE_TIMES)
    async def withdraw_compensation(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("withdraw", ctx)

    @step(timeout=60, retry=THREE_TIMES)
    async def deposit(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("deposit", ctx)

    @compensates("deposit", timeout=60, retry=THREE_TIMES)
    async def deposit_compensation(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("deposit", ctx)

    @step(timeout=60, retry=THREE_TIMES)
    async def step_with_error(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("step with error", ctx)


class Address(BaseModel):
    address1: str
    postal_code: str


class BankDetails(BaseModel):
    account_number: str
    routing_number: str


#: 2 s for a try and 3 s for all of them; 4 s and 8 s where it takes long.
TWICE = Retry(attempts=2, wait=1.0)


class OpenAccount(Saga, name="ports.temporal.open_account"):
    """An account, its address, its client, its bank.

    temporalio/samples-typescript, saga/src/workflows.ts. Compensations clear, remove and disconnect by the account's id; one
    that fails is logged, and the others go on.
    """

    account_id: str
    address: Address
    client_email: str
    bank_details: BankDetails

    @step(timeout=2, retry=TWICE)
    async def create_account(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("create account", ctx)

    @compensates("create_account", timeout=2, retry=TWICE)
    async def close_account(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create account", ctx)

    @step(timeout=2, retry=TWICE)
    async def add_address(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("add address", ctx)

    @compensates("add_address", timeout=2, retry=TWICE)
    async def clear_postal_addresses(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("add address", ctx)

    @step(timeout=2, retry=TWICE)
    async def add_client(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("add client", ctx)

    @compensates("add_client", timeout=2, retry=TWICE)
    async def remove_client(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("add client", ctx)

    @step(timeout=4, retry=TWICE)
    async def add_bank_account(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("add bank account", ctx)

    @compensates("add_bank_account", timeout=2, retry=TWICE)
    async def disconnect_bank_accounts(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("add bank account", ctx)


class InvalidAccountError(Exception):
    """The bank knows no such account."""


class InsufficientFundsError(Exception):
    """There is not so much money in the account."""


BANKING = Retry(attempts=3, wait=1.0, max_wait=2.0, give_up_on=(InvalidAccountError, InsufficientFundsError))


class Transfer(Saga, name="ports.temporal.transfer"):
    """Out, in, or the money back.

    temporalio/money-transfer-project-template-python, workflows.py. A refund is a deposit to the account that the money came
    from, under a reference of its own.
    """

    source_account: str
    target_account: str
    amount: int
    reference_id: str

    @step(timeout=5, retry=BANKING)
    async def withdraw(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("withdraw", ctx)

    @compensates("withdraw", timeout=5, retry=BANKING)
    async def refund(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("withdraw", ctx)

    @step(timeout=5, retry=BANKING)
    async def deposit(self, withdraw: str, far: Inject[Far], ctx: StepContext) -> str:
        deposited = await far.do("deposit", ctx)
        return f"Transfer complete (transaction IDs: {withdraw}, {deposited})"
