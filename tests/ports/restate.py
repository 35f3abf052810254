"""Two sagas of Restate, which tries each action again until it succeeds or ends in a terminal error: a `Refused` here."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel

from allframe import Inject, Retry, Saga, SagaDefinition, SagaStep, StepContext, compensates, step
from tests.forty import Far

__all__ = ["BookTrip", "subscribe"]

INFINITELY = Retry(attempts=1_000_000, wait=0.05, max_wait=10.0)


class FlightRequest(BaseModel):
    flight_id: str
    passenger_name: str


class CarRequest(BaseModel):
    pickup_location: str
    rental_date: date


class HotelRequest(BaseModel):
    arrival_date: date
    departure_date: date


class BookTrip(Saga, name="ports.restate.book_trip"):
    """A flight, a car, a hotel; each cancellation is registered before its booking, and works by the customer's id.

    restatedev/examples, python/patterns-use-cases/sagas/app.py.
    """

    customer_id: str
    flight: FlightRequest
    car: CarRequest
    hotel: HotelRequest

    @step(timeout=None, retry=INFINITELY)
    async def book_flight(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("book flight", ctx)

    @compensates("book_flight", timeout=None, retry=INFINITELY)
    async def cancel_flight(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("book flight", ctx)

    @step(timeout=None, retry=INFINITELY)
    async def book_car(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("book car", ctx)

    @compensates("book_car", timeout=None, retry=INFINITELY)
    async def cancel_car(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("book car", ctx)

    @step(timeout=None, retry=INFINITELY)
    async def book_hotel(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("book hotel", ctx)

    @compensates("book_hotel", timeout=None, retry=INFINITELY)
    async def cancel_hotel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("book hotel", ctx)


class Pay(
    SagaStep,
    name="ports.restate.pay",
    timeout=None,
    retry=INFINITELY,
    compensation_timeout=None,
    compensation_retry=INFINITELY,
):
    """A recurring payment, under an id that was made before."""

    credit_card: str
    payment_id: str

    async def execute(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("create recurring payment", ctx)

    async def compensate(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create recurring payment", ctx)


class Subscribe(
    SagaStep,
    name="ports.restate.subscribe",
    timeout=None,
    retry=INFINITELY,
    compensation_timeout=None,
    compensation_retry=INFINITELY,
):
    """One subscription, which is paid by the payment of that id; removed by its user and its name."""

    user_id: str
    subscription: str
    payment_id: str

    async def execute(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do(f"create {self.subscription}", ctx)

    async def compensate(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo(f"create {self.subscription}", ctx)


def subscribe(
    saga_id: str, user_id: str, credit_card: str, payment_id: str, subscriptions: list[str]
) -> SagaDefinition:
    """A payment, and a step for each thing that is subscribed to.

    restatedev/examples, python/tutorials/tour-of-orchestration-python/app/sagas/service.py: `SubscriptionSaga`. There the
    reference of the payment goes to each subscription; here the id under which it was made does.
    """
    saga = SagaDefinition(saga_id, name="ports.restate.subscriptions").add_step(
        Pay(credit_card=credit_card, payment_id=payment_id), name="pay"
    )
    for subscription in subscriptions:
        saga = saga.add_step(
            Subscribe(user_id=user_id, subscription=subscription, payment_id=payment_id), name=f"add-{subscription}"
        )
    return saga
