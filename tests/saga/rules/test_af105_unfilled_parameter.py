"""AF105: nothing can fill a parameter."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from types import new_class
from typing import Annotated, Any, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel

from allframe import Inject, Saga, SagaStep, StepContext, Unknown, compensates, step
from tests.saga.refusal import refused


class Bank:
    pass


T = TypeVar("T")


def parameter_problem(annotation: Any, name: str = "thing", **fields: Any) -> str:
    """What AF105 says of a step with one parameter."""

    async def second(self: Any, **_: Any) -> int:
        return 1

    async def written(self: Any) -> int:
        return 1

    parameter = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second.__signature__ = inspect.Signature([own, parameter])  # type: ignore[attr-defined]
    second.__annotations__ = {name: annotation, "return": int}

    def declare() -> None:
        class Bad(Saga):
            account: str = "a"
            reserve = step(readonly=True)(written)
            last = step(readonly=True)(second)

    return refused(declare, "AF105")


def test_af105_a_parameter_that_nothing_can_fill() -> None:
    assert parameter_problem(str) == (
        "Nothing fills the parameter 'thing' of 'last'. A parameter is the name of an earlier step (reserve), or is "
        "annotated StepContext or Inject[...]. If the saga is given it, make it a field, and read self.thing."
    )


class Paid(BaseModel):
    amount: Decimal


@dataclass
class Receipt:
    number: int


@pytest.mark.parametrize("annotation", [str, int, bool, Decimal, date, Annotated[str, "x"], Paid, Receipt])
@pytest.mark.parametrize("function", ["execute", "compensate"])
def test_af105_a_reusable_step_takes_no_output_of_another(annotation: Any, function: str) -> None:
    async def act(self: Any, pay: Any) -> None: ...

    async def nothing(self: Any) -> None: ...

    act.__annotations__ = {"pay": annotation}
    body = {"execute": nothing, function: act}

    assert refused(lambda: new_class("Send", (SagaStep,), {}, lambda space: space.update(body)), "AF105") == (
        f"Nothing fills the parameter 'pay' of {function!r}. A parameter "
        f"{'is called `output`, for what `execute` returned, or ' if function == 'compensate' else ''}is annotated "
        "StepContext or Inject[...]. A step of this kind is given no output of others: make it a field, and read self.pay."
    )


@pytest.mark.parametrize("annotation", [int, Decimal, bytes, timedelta, UUID, Annotated[str, "x"]])
def test_af105_never_offers_to_inject_a_plain_value(annotation: Any) -> None:
    assert "Inject[...]. If the saga is given it, make it a field, and read self.thing." in parameter_problem(
        annotation
    )


def test_af105_suggests_what_was_meant() -> None:
    assert "annotate it Inject[Bank]" in parameter_problem(Bank)
    assert "Did you mean 'reserve'?" in parameter_problem(int, name="resrve")
    assert "It is a field of the saga: read self.account." in parameter_problem(str, name="account")


@pytest.mark.parametrize("annotation", [inspect.Parameter.empty, Any, "int", list[int], T, Inject], ids=str)
def test_af105_holds_for_any_annotation(annotation: Any) -> None:
    assert "Nothing fills the parameter 'thing' of 'last'." in parameter_problem(annotation)


@pytest.mark.parametrize("default", [False, True])
def test_af105_inject_inside_a_union_is_not_seen(default: bool) -> None:
    async def only(self: Any, bank: Any) -> None: ...

    async def only_by_default(self: Any, bank: Any = None) -> None: ...

    function = only_by_default if default else only
    function.__annotations__ = {"bank": Inject[Bank] | None}

    def declare() -> None:
        class Bad(Saga):
            last = step(readonly=True)(function)

    assert refused(declare, "AF105") == (
        "The parameter 'bank' of 'last' has Inject inside a union, where nothing fills it. Write Inject[Bank | None]."
    )


def test_af105_a_bare_inject_with_a_default_would_never_be_given() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def only(self, bank: Inject = None) -> None: ...  # type: ignore[type-arg]

    assert "Say what to inject, such as Inject[Bank]." in refused(declare, "AF105")


def test_af105_a_compensation_gets_no_output_of_another() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> int:
                return 1

            @step
            async def credit(self) -> int:
                return 1

            @compensates("credit")
            async def take_back(self, refund: int) -> None: ...

    assert "Nothing fills the parameter 'refund' of 'take_back'" in refused(declare, "AF105")


def test_af105_an_annotation_that_is_no_name() -> None:
    class Bad(Saga):
        @step(readonly=True)
        async def only(self, bank: Inject[Nowhere]) -> int:  # type: ignore[name-defined]  # noqa: F821
            return 1

    assert refused(lambda: Bad.graph, "AF105") == (
        "An annotation of 'only' cannot be resolved: name 'Nowhere' is not defined. Define it in the module, or above "
        "the class."
    )


def test_af105_accepts_parameters_that_can_be_filled() -> None:
    class Good(Saga):
        limit: int = 3

        @step
        async def debit(self, ctx: StepContext, bank: Inject[Bank], *, more: Annotated[StepContext, "x"]) -> int:
            return 1

        @compensates("debit")
        async def refund(self, debit: int | Unknown, context: StepContext, b: Annotated[Inject[Bank], "x"]) -> None: ...

        @step(readonly=True)
        async def second(self, debit: int, count: int = 3, other: Inject[Bank | None] = None) -> None: ...

        @step
        async def third(self, second: None, *, debit: Any) -> None: ...

        @compensates("third")
        async def undo_third(self, debit: int, second: None, third: Unknown | None = None) -> None: ...

    assert len(Good.graph.steps) == 3


@pytest.mark.parametrize(
    "annotation",
    [StepContext, Annotated[StepContext, "x"], Inject[Bank], Annotated[Inject[Bank], "x"], Inject[Bank | None]],
    ids=str,
)
def test_af105_accepts_what_is_given_by_annotation(annotation: Any) -> None:
    async def act(self: Any, thing: Any) -> None: ...

    act.__annotations__ = {"thing": annotation}

    class Good(Saga):
        only = step(readonly=True)(act)

    assert [parameter.name for parameter in Good.graph.steps[0].parameters] == ["thing"]


@pytest.mark.parametrize(
    ("default", "said"),
    [
        (Inject[Bank], "Inject[Bank]"),
        (Annotated[Inject[int], "x"], "Inject[int]"),
        (StepContext, "StepContext"),
    ],
)
def test_af105_a_marker_as_the_default_would_be_given_itself(default: Any, said: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def only(self, thing: Any = default) -> None: ...

    assert refused(declare, "AF105") == (
        f"The parameter 'thing' of 'only' has {said} as its default, and would get that itself. Make it the annotation: "
        f"thing: {said}."
    )
