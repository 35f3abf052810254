"""Plain functions as steps: what fills their parameters, one function twice, compensation by reference."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from allframe import DefinitionError, Inject, Saga, SagaStatus, StepContext, Unknown, compensates, step
from tests.saga import world
from tests.saga.refusal import refused
from tests.saga.world import Home, World

pytestmark = pytest.mark.anyio
home = world.home


@step(timeout=None)
async def reserve(article: str, ctx: StepContext, world: Inject[World]) -> str:
    return f"{article} by {await world.do(ctx)}"


@compensates(reserve)
async def release(article: str, ctx: StepContext, world: Inject[World]) -> None:
    await world.undo(ctx, f"{article}: {ctx.outcome}")


@step(timeout=None)
async def pay(first: str, amount: Decimal, world: Inject[World], ctx: StepContext) -> str:
    await world.do(ctx)
    return f"{first} for {amount}"


class Buy(Saga, name="test_functions.buy"):
    article: str = "cup"
    amount: Decimal = Decimal(3)

    first = reserve
    undo_first = release
    paid = pay


class BuyTwice(Saga, name="test_functions.buy_twice"):
    article: str = "cup"
    amount: Decimal = Decimal(3)

    first = reserve
    second = reserve
    paid = pay

    @compensates("first")
    async def undo_first(self, ctx: StepContext, world: Inject[World]) -> None:
        await world.undo(ctx)

    undo_second = compensates("second")(release)


# --- running ---------------------------------------------------------------------------------------------------------


async def test_a_function_takes_fields_outputs_context_and_injected_objects_by_name(home: Home) -> None:
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Buy(article="pot"), id="s-1")
    assert outcome.outputs == {"first": "pot by first done", "paid": "pot by first done for 3"}


async def test_one_function_twice_makes_two_steps_with_keys_of_their_own(home: Home) -> None:
    home.world.tell("paid", home.world.raises(ValueError("no")))
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(BuyTwice(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do first", "do second", "do paid", "undo second", "undo first"]
    assert [ctx.idempotency_key for ctx in home.world.contexts[:2]] == ["s-1/first/do", "s-1/second/do"]
    assert home.world.given["second"] == "cup: cup by second done", "the field, and the output of its own step"


async def test_a_function_step_goes_on_after_the_process_is_gone(home: Home) -> None:
    home.world.tell("paid", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(Buy(), id="s-1")
        await home.world.until("do paid")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Buy(), id="s-1")
    assert outcome.output == "cup by first done for 3"
    assert home.world.journal == ["do first", "do paid", "do paid"]


# --- calling it ------------------------------------------------------------------------------------------------------


async def test_a_function_in_a_saga_is_called_without_self() -> None:
    @step(readonly=True)
    async def double(amount: int) -> int:
        return amount * 2

    class Twice(Saga):
        amount: int = 1
        first = double

    class Inherits(Twice):
        pass

    assert await Twice().first(4) == 8
    assert await Twice.first(4) == 8
    assert await Inherits().first(5) == 10


async def test_a_function_from_a_mixin_is_called_without_self() -> None:
    @step(readonly=True)
    async def double(amount: int) -> int:
        return amount * 2

    class Mixin:
        first = double

    class Twice(Mixin, Saga):
        amount: int = 1

    assert await Twice().first(4) == 8
    assert not Twice.graph.steps[0].is_method


# --- compensation by reference ---------------------------------------------------------------------------------------


def test_a_reference_becomes_the_name_that_the_step_has_in_the_body() -> None:
    assert [(s.attribute, s.compensation and s.compensation.attribute) for s in Buy.graph.steps] == [
        ("first", "undo_first"),
        ("paid", None),
    ]


def test_a_method_can_be_named_by_reference_too() -> None:
    class Named(Saga):
        @step
        async def book(self) -> int:
            return 1

        @compensates(book)
        async def unbook(self, book: int | Unknown) -> None: ...

        @step
        async def end(self) -> int:
            return 1

    assert Named.graph.steps[0].compensation is not None


def test_a_reference_means_the_marked_function_also_where_it_was_marked_anew() -> None:
    class Anew(Saga):
        article: str
        first = step(timeout=3)(reserve)
        undo = release

    assert Anew.graph.steps[0].compensation is not None
    assert Anew.graph.steps[0].timeout == 3


def test_a_reference_in_a_base_is_to_the_base_s_own_step() -> None:
    class Base(Saga, abstract=True):
        article: str
        first = reserve
        undo = release

    class Whole(Base):
        second = reserve
        undo_second = compensates("second")(release)

    assert [(s.attribute, s.compensation and s.compensation.attribute) for s in Whole.graph.steps] == [
        ("first", "undo"),
        ("second", "undo_second"),
    ]


def test_af101_a_reference_to_a_function_that_is_no_step_here() -> None:
    def declare() -> None:
        class Bad(Saga):
            article: str
            undo = release

            @step(readonly=True)
            async def look(self) -> int:
                return 1

    assert refused(declare, "AF101") == (
        "'undo' compensates the function 'reserve', which is no step here. The steps are: look. Make it one, such as "
        "`reserve = reserve`, or name one of them."
    )


def test_af117_a_reference_to_a_function_that_is_two_steps() -> None:
    def declare() -> None:
        class Bad(Saga):
            article: str
            first = reserve
            second = reserve
            undo = release
            undo_first = compensates("first")(release)

    with pytest.raises(DefinitionError) as error:
        declare()
    assert [(problem.rule, problem.text) for problem in error.value.problems] == [
        (
            "AF117",
            "'undo' compensates the function 'reserve', which is 2 steps here: first, second. Say which: "
            '@compensates("first").',
        )
    ]


def test_two_functions_of_one_factory_are_told_apart() -> None:
    def make(what: str) -> Any:
        @step(timeout=None)
        async def act(ctx: StepContext) -> str:
            return what

        return act

    one, two = make("one"), make("two")

    class Both(Saga):
        first = one
        second = two

        @compensates(one)
        async def undo_one(self) -> None: ...

        @compensates(two)
        async def undo_two(self) -> None: ...

    assert [s.compensation and s.compensation.attribute for s in Both.graph.steps] == ["undo_one", "undo_two"]


# --- what fills parameters -------------------------------------------------------------------------------------------


def test_af105_a_function_without_what_its_parameter_names() -> None:
    def declare() -> None:
        class Bad(Saga):
            amount: int
            first = reserve
            undo = release

    with pytest.raises(DefinitionError) as error:
        declare()
    assert [problem.rule for problem in error.value.problems] == ["AF105", "AF105"]
    assert error.value.problems[0].text == (
        "Nothing fills the parameter 'article' of 'first'. A parameter is the name of an earlier step (there is none) or "
        "of a field (amount), or is annotated StepContext or Inject[...]. If the saga is given it, make it a field."
    )


def test_af105_a_method_whose_first_parameter_is_not_called_self() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def only(this) -> int:  # type: ignore[no-untyped-def]
                return 1

    assert refused(declare, "AF105").endswith("If this is a method, call its first parameter self.")


def test_af107_a_field_that_cannot_be_what_the_function_takes() -> None:
    def declare() -> None:
        class Bad(Saga):
            article: int
            first = reserve

    assert refused(declare, "AF107") == ("'first' takes 'article' as str, but the field is int. Annotate both alike.")


def test_a_function_without_parameters_is_a_step() -> None:
    @step
    async def tick() -> int:
        return 1

    class Ticks(Saga):
        first = tick

    assert Ticks.graph.steps[0].parameters == ()
