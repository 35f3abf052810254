"""Sagas that share steps: abstract bases, overriding, mixins."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest

from allframe import DefinitionError, Retry, Saga, SagaOrchestrator, Unknown, compensates, step
from allframe.saga.declare import SAGAS
from tests.saga.refusal import refused, rules_of

pytestmark = pytest.mark.anyio
T = TypeVar("T")


class Booking(Saga, abstract=True):
    """What every booking has: the steps are somebody else's."""

    traveller: str = "Ada"

    @step(timeout=5, retry=Retry(attempts=2))
    async def book(self) -> str:
        raise NotImplementedError

    @compensates("book")
    async def unbook(self, book: str | Unknown) -> None: ...

    @compensates("confirm")
    async def unconfirm(self) -> None: ...


class Hotel(Booking, name="test_inheritance.hotel"):
    async def book(self) -> str:
        return f"room for {self.traveller}"

    @step
    async def confirm(self, book: str) -> str:
        return f"{book}, confirmed"


# --- a base ----------------------------------------------------------------------------------------------------------


async def test_a_subclass_of_a_base_runs_with_what_both_say() -> None:
    async with SagaOrchestrator() as orchestrator:
        outcome = await orchestrator.execute(Hotel())
    assert outcome.output == "room for Ada, confirmed"
    first, second = Hotel.graph.steps
    assert (first.timeout, first.retry) == (5, Retry(attempts=2)), "an override keeps the mark"
    assert [s.compensation and s.compensation.attribute for s in (first, second)] == ["unbook", "unconfirm"]


async def test_a_base_cannot_be_run() -> None:
    with pytest.raises(DefinitionError, match="Booking is abstract=True: it may lack steps, and cannot be run"):
        _ = Booking.graph
    async with SagaOrchestrator() as orchestrator:
        with pytest.raises(DefinitionError, match="Subclass it"):
            await orchestrator.execute(Booking())


def test_a_base_is_not_among_the_sagas_of_the_program() -> None:
    assert SAGAS.find("Booking", 1) is None
    assert SAGAS.find("test_inheritance.hotel", 1) is Hotel


def test_a_base_may_lack_what_makes_a_saga_whole() -> None:
    def declare() -> None:
        class Base(Saga, abstract=True):
            @step
            async def one(self) -> int:
                return 1

            @step(after="somebody")
            async def two(self, somebody: int) -> int:
                return 1

    assert rules_of(declare) == []


def test_a_base_is_told_what_no_subclass_could_mend() -> None:
    def declare() -> None:
        class Base(Saga, abstract=True):
            @step(timeout=0)
            async def one(self) -> int:
                return 1

            @compensates("one")
            async def undo(self, one: int) -> None: ...

    assert rules_of(declare) == ["AF109", "AF116"]


def test_abstract_is_not_inherited() -> None:
    def declare() -> None:
        class Unfinished(Booking):
            pass

    assert refused(declare, "AF101").startswith("'unconfirm' compensates 'confirm', but there is no such step.")


def test_a_generic_base_stays_one_for_every_type() -> None:
    class Base(Saga, Generic[T], abstract=True):
        value: T

        @step
        async def one(self) -> T:
            return self.value

        @step
        async def two(self, one: T) -> T:
            return one

    with pytest.raises(DefinitionError, match="abstract=True"):
        _ = Base[int].graph

    class Whole(Base[int]):
        @compensates("one")
        async def undo(self, one: int | Unknown) -> None: ...

    assert len(Whole.graph.steps) == 2


# --- order and marks -------------------------------------------------------------------------------------------------


class Left(Saga, abstract=True):
    @step(readonly=True)
    async def left(self) -> int:
        return 1


class Right(Saga, abstract=True):
    @step(readonly=True)
    async def right(self) -> int:
        return 2


def test_inherited_steps_come_first_bases_from_left_to_right() -> None:
    class Both(Left, Right):
        @step
        async def last(self, left: int, right: int) -> int:
            return left + right

        async def left(self) -> int:
            return 3

    assert [s.name for s in Both.graph.steps] == ["left", "right", "last"]
    assert [node.readonly for node in Both.graph.plan.nodes] == [True, True, False]


def test_an_override_with_a_mark_has_that_mark_alone() -> None:
    class Marked(Hotel):
        @step(timeout=7)
        async def book(self) -> str:
            return "attic"

    assert (Marked.graph.steps[0].timeout, Marked.graph.steps[0].retry) == (7, None)
    assert Marked.graph.steps[0].compensation is not None


def test_an_overridden_compensation_still_compensates() -> None:
    class Kind(Hotel):
        async def unbook(self, book: Any) -> None:
            """Somebody else's room now."""

    undo = Kind.graph.steps[0].compensation
    assert undo is not None
    assert undo.function is vars(Kind)["unbook"]


def test_a_mixin_that_is_no_saga_brings_steps() -> None:
    class Audited:
        @step(readonly=True)
        async def audit(self) -> str:
            return "seen"

    class Sale(Audited, Saga):
        @step
        async def sell(self, audit: str) -> str:
            return audit

    assert [s.name for s in Sale.graph.steps] == ["audit", "sell"]


def test_a_subclass_may_change_the_order_of_inherited_steps() -> None:
    class Beside(Left, Right):
        @step(readonly=True, after=())
        async def right(self) -> int:
            return 4

    assert [node.after for node in Beside.graph.plan.nodes] == [(), ()]
