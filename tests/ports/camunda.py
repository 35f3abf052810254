"""The trip of Camunda, which most others were made after."""

from __future__ import annotations

from allframe import Inject, Saga, StepContext, compensates, step
from tests.forty import Far

__all__ = ["BookTrip"]


class BookTrip(Saga, name="ports.camunda.book_trip"):
    """A car, a hotel, a flight, each with the task that cancels it; any error triggers those of what was completed.

    berndruecker/trip-booking-saga-java, src/main/java/io/flowing/trip/saga/camunda/simple/TripBookingSaga.java and
    docs/trip.bpmn. The tasks are classes with an `execute` that blocks, and are given nothing but the process.
    """

    name: str

    @step
    def reserve_car(self, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("reserve car", ctx)

    @compensates("reserve_car")
    def cancel_car(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("reserve car", ctx)

    @step
    def book_hotel(self, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("book hotel", ctx)

    @compensates("book_hotel")
    def cancel_hotel(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("book hotel", ctx)

    @step
    def book_flight(self, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("book flight", ctx)

    @compensates("book_flight")
    def cancel_flight(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("book flight", ctx)
