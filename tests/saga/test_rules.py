"""AF101…: what a definition may not say, and what looks like it and may be said."""

from __future__ import annotations

import abc
import collections
import dataclasses
import functools
import importlib
import inspect
import itertools
import math
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import ModuleType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Never,
    NewType,
    NoReturn,
    Optional,
    Protocol,
    TypeVar,
    Union,
    runtime_checkable,
)
from uuid import UUID

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PositiveInt,
    WrapValidator,
)
from typing_extensions import TypeAliasType, TypedDict

from allframe import DefinitionError, Event, Inject, Retry, Saga, StepContext, Unknown, compensates, step
from allframe.saga.rules import RULES
from tests.naming import steady
from tests.saga.refusal import refused, rules_of

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)
Account = NewType("Account", int)
IntOrText = TypeAliasType("IntOrText", int | str)
IntOrUnknown = TypeAliasType("IntOrUnknown", int | Unknown)


class Bank:
    pass


class Model(BaseModel):
    number: int = 0

    def greet(self) -> str:
        return "hello"


class Derived(Model):
    more: int = 0


class Other(BaseModel):
    text: str = ""


class Box(BaseModel, Generic[T]):
    content: T


class Row(TypedDict):
    id: int


class Point(NamedTuple):
    x: int


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 1


class Size(Enum):
    BIG = 1


class Greets(Protocol):
    def greet(self) -> str: ...


@runtime_checkable
class GreetsAtRuntime(Protocol):
    def greet(self) -> str: ...


@runtime_checkable
class HasNumber(Protocol):
    number: int


class Abstract(abc.ABC):
    @abc.abstractmethod
    def greet(self) -> str: ...


Abstract.register(Model)


class Happened(Event, name="test_rules.happened"):
    pass


class HappenedToo(Happened, name="test_rules.happened_too"):
    pass


def line_of(function: Any) -> int:
    """Where ``function`` is written, its decorators included."""
    return int(inspect.unwrap(function).__code__.co_firstlineno)


# --- all of them -----------------------------------------------------------------------------------------------------


def test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Broken(Saga, version=0):
            @step
            async def first(self, nobody) -> int:  # type: ignore[no-untyped-def]
                return 1

            @step(timeout=0)
            async def second(self, first: str) -> int:
                return 1

            @compensates("third")
            async def undo(self) -> None: ...

    error = refusal.value
    start = line_of(test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy)
    places = {problem.rule: problem.where for problem in error.problems}
    assert sorted(places) == ["AF101", "AF104", "AF105", "AF107", "AF109", "AF119"]
    assert places["AF104"] == places["AF105"] == f"{__file__}:{start + 4}"
    assert places["AF109"] == places["AF107"] == f"{__file__}:{start + 8}"
    assert places["AF101"] == f"{__file__}:{start + 12}"
    assert str(error).startswith(
        "Saga test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy.<locals>.Broken has 6 problems:\n"
    )
    for problem in error.problems:
        assert f"  {problem.rule} {problem.where}\n    {problem.text}" in str(error)


def test_each_rule_is_listed_in_one_line() -> None:
    assert list(RULES) == sorted(RULES)
    assert all("\n" not in text and text for text in RULES.values())


def test_a_problem_of_the_class_points_at_the_class() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Empty(Saga):
            pass

    line = line_of(test_a_problem_of_the_class_points_at_the_class) + 3
    assert refusal.value.problems[0].where.startswith(f"{__file__}:{line}")


# --- AF101 and AF102: what compensates what --------------------------------------------------------------------------


def test_af101_a_compensation_names_a_step_that_does_not_exist() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debt")
            async def refund(self) -> None: ...

    assert refused(declare, "AF101") == (
        "'refund' compensates 'debt', but there is no such step. The steps are: debit. Did you mean 'debit'?"
    )


def test_af101_a_step_is_compensated_by_its_name_in_the_class_and_not_by_the_stored_one() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(name="debit-money")
            async def debit(self) -> int:
                return 1

            @compensates("debit-money")
            async def refund(self) -> None: ...

    assert "there is no such step. The steps are: debit." in refused(declare, "AF101")


def test_af101_a_compensation_of_a_compensation_does_not_exist() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

            @compensates("refund")
            async def undo_refund(self) -> None: ...

    assert "'undo_refund' compensates 'refund', but there is no such step" in refused(declare, "AF101")


def test_af101_compensates_without_the_name_of_a_step_is_never_lost() -> None:
    """Were it ignored, the last step would silently become the point of no return."""

    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates  # type: ignore[arg-type]
            async def refund(self, debit: int | Unknown) -> None: ...  # type: ignore[misc]

    with pytest.raises((DefinitionError, TypeError), match="compensates"):
        declare()


@pytest.mark.parametrize("given", ["list", "nothing"])
def test_compensates_with_something_that_is_no_name_says_how_to_name_it(given: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def reserve(self) -> int:
                return 1

            @compensates({"list": ["reserve"], "nothing": ""}[given])  # type: ignore[arg-type]
            async def release(self, reserve: int | Unknown) -> None: ...

            @step(readonly=True)
            async def look(self) -> int:
                return 1

    assert refused(declare, "AF113") == (
        "'release' is marked with @compensates without the name of a step. Write the one that it undoes: "
        '@compensates("debit").'
    )


def test_a_name_of_a_step_by_position_says_how_to_give_it() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step("debit-money")  # type: ignore[call-overload, untyped-decorator]
            async def debit(self) -> int:
                return 1

    assert refused(declare, "AF113") == (
        "'debit' is marked with @step('debit-money'). Options are given by name: @step(name='debit-money')."
    )


def test_a_compensation_may_stand_above_its_step() -> None:
    class Good(Saga):
        @compensates("debit")
        async def refund(self, debit: int | Unknown) -> None: ...

        @step
        async def debit(self) -> int:
            return 1

    assert Good.graph.plan.nodes[0].compensated


def test_af102_two_compensations_for_one_step() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

            @compensates("debit")
            async def refund_again(self) -> None: ...

    assert refused(declare, "AF102") == (
        "'refund' and 'refund_again' both compensate 'debit'. A step is undone once: keep one and let it do all of it."
    )


# --- AF103: assigned twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["step", "compensation", "plain"])
def test_af103_a_step_is_assigned_twice(second: str) -> None:
    async def plain(self: Any) -> int:
        return 2

    again = {"step": step(readonly=True)(plain), "compensation": compensates("other")(plain), "plain": plain}

    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def debit(self) -> int:
                return 1

            debit = again[second]  # noqa: F811

            @step(readonly=True)
            async def other(self) -> int:
                return 1

    with pytest.raises(DefinitionError) as refusal:
        declare()
    (text,) = [problem.text for problem in refusal.value.problems if problem.rule == "AF103"]
    first = line_of(declare) + 2
    assert (
        text
        == f"'debit' is assigned twice, at {__file__}:{first} and here, and Python keeps only the second. Rename one."
    )


@pytest.mark.parametrize("order", ["before", "after"])
def test_af103_a_step_and_something_else_share_a_name(order: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            if order == "before":
                debit = 3

            @step(readonly=True)  # type: ignore[no-redef]
            async def debit(self) -> int:
                return 1

            if order == "after":
                debit = 3

    with pytest.raises(DefinitionError) as refusal:
        declare()
    (problem,) = refusal.value.problems
    assert problem.rule == "AF103"
    assert "'debit' is assigned twice" in problem.text
    start = line_of(declare)
    first, second = (start + 3, start + 5) if order == "before" else (start + 5, start + 10)
    assert f"at {__file__}:{first} and here" in problem.text
    assert problem.where == f"{__file__}:{second}"


def test_plain_methods_may_be_assigned_twice_and_steps_in_branches_once() -> None:
    class Good(Saga):
        def helper(self) -> int:
            return 1

        def helper(self) -> int:  # type: ignore[no-redef]  # noqa: F811
            return 2

        if len(RULES) > 1:

            @step(readonly=True)
            async def only(self) -> int:
                return 1

        else:

            @step(readonly=True)
            async def only(self) -> int:
                return 2

    assert Good.graph is not None


@pytest.mark.parametrize("outer", ["step", "compensation"])
def test_a_function_that_is_marked_as_both_is_refused(outer: str) -> None:
    """Whichever mark was kept, the other would be lost without a word."""

    def declare() -> None:
        class Bad(Saga):
            @step(readonly=outer == "step")
            async def debit(self) -> int:
                return 1

            async def both(self) -> None: ...

            twice = (
                step(compensates("debit")(both)) if outer == "step" else compensates("debit")(step(readonly=True)(both))
            )

    assert "'twice' is marked as a step and as a compensation" in refused(declare, "AF113")


# --- AF104 and AF112: what can be undone, and the pivot --------------------------------------------------------------


def test_af104_a_step_that_others_follow_cannot_be_undone() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step
            async def credit(self) -> int:
                return 1

    assert refused(declare, "AF104") == (
        "'debit' has no compensation, and credit can fail after it: its effect would be left behind. Write "
        '@compensates("debit"), or mark it readonly=True if it has no effect, or pivot=True if the saga must only go '
        "forward after it."
    )


def test_af104_a_readonly_step_at_the_end_can_fail_too() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step(readonly=True)
            async def look(self) -> int:
                return 1

    assert "'debit' has no compensation, and look can fail after it" in refused(declare, "AF104")


def test_af104_holds_before_a_pivot() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step(pivot=True)
            async def commit(self) -> int:
                return 1

    assert "'debit' has no compensation, and commit can fail after it" in refused(declare, "AF104")


def test_the_last_step_needs_no_compensation_and_readonly_ones_never_do() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

        @step
        async def send(self) -> int:
            return 1

    assert Good.graph.plan.pivot == 1


def test_a_saga_of_readonly_steps_has_no_pivot() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

    assert Good.graph.plan.pivot is None


def test_steps_after_the_pivot_need_retries_and_no_compensation() -> None:
    class Good(Saga):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

        @step(pivot=True)
        async def commit(self) -> int:
            return 1

        @step(retry=Retry())
        async def send(self) -> int:
            return 1

        @step(retry=Retry(), readonly=True)
        async def look(self) -> int:
            return 1

    assert Good.graph.plan.pivot == 1


def test_af112_two_pivots() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(pivot=True)
            async def one(self) -> int:
                return 1

            @step(pivot=True, retry=Retry())
            async def two(self) -> int:
                return 1

    assert refused(declare, "AF112") == (
        "'one' and 'two' are both marked pivot=True. A saga has one point of no return: keep the first that cannot be "
        "undone."
    )


def test_af112_a_compensation_of_the_pivot() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(pivot=True)
            async def one(self) -> int:
                return 1

            @compensates("one")
            async def undo(self) -> None: ...

    assert refused(declare, "AF112") == (
        "'undo' compensates 'one', which is the pivot: the saga never rolls back past it. Remove the compensation, or "
        "move the pivot."
    )


def test_af112_a_compensation_after_the_pivot() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(pivot=True)
            async def one(self) -> int:
                return 1

            @step(retry=Retry())
            async def two(self) -> int:
                return 1

            @compensates("two")
            async def undo(self) -> None: ...

    assert "'undo' compensates 'two', which comes after the pivot 'one'" in refused(declare, "AF112")


def test_af112_a_step_after_the_pivot_without_a_retry() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(pivot=True)
            async def one(self) -> int:
                return 1

            @step
            async def two(self) -> int:
                return 1

    assert refused(declare, "AF112") == (
        "'two' comes after the pivot 'one' and has no retry: the saga can only go forward, so one error would block it. "
        "Give it retry=Retry(...)."
    )


# --- AF105 and AF106: parameters -------------------------------------------------------------------------------------


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
        "annotated StepContext or Inject[...]. To be given an object, annotate it Inject[str]."
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


def test_parameters_that_can_be_filled_are_left_in_peace() -> None:
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


def test_af106_a_step_takes_the_output_of_a_later_one() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def first(self, second: int) -> int:
                return 1

            @step(readonly=True)
            async def second(self) -> int:
                return 1

    assert refused(declare, "AF106") == (
        "'first' takes the output of 'second', which runs after it. Move 'second' above it, or rename the parameter."
    )


def test_af106_a_step_takes_its_own_output() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def first(self, first: int) -> int:
                return 1

    assert refused(declare, "AF106") == "'first' takes its own output. Rename the parameter."


def test_af106_a_compensation_takes_the_output_of_a_later_step() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def first(self) -> int:
                return 1

            @compensates("first")
            async def undo(self, second: int) -> None: ...

            @step(readonly=True)
            async def second(self) -> int:
                return 1

    assert refused(declare, "AF106") == (
        "'undo' takes the output of 'second', which runs after 'first', the step that it undoes: by then 'second' is "
        "undone, or never ran. Take outputs of 'first' or of steps before it."
    )


def test_an_injected_parameter_may_have_the_name_of_a_later_step() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def first(self, bank: Inject[Bank]) -> int:
            return 1

        @step(readonly=True)
        async def bank(self) -> int:
            return 1

    assert Good.graph.steps[0].parameters[0].wanted is Bank


# --- AF107: types ----------------------------------------------------------------------------------------------------


def pair(produced: Any, consumed: Any) -> list[str]:
    """The texts of AF107 for a step that returns the one and one that takes the other."""

    async def first(self: Any) -> Any: ...

    async def second(self: Any, one: Any) -> None: ...

    first.__annotations__ = {} if produced is inspect.Parameter.empty else {"return": produced}
    second.__annotations__ = {"return": None} | ({} if consumed is inspect.Parameter.empty else {"one": consumed})

    try:

        class Pair(Saga):
            one = step(readonly=True)(first)
            two = step(readonly=True)(second)

        assert Pair.graph is not None
    except DefinitionError as error:
        return [problem.text for problem in error.problems if problem.rule == "AF107"]
    return []


FIT: list[tuple[Any, Any]] = [
    (int, int),
    (bool, int),
    (int, float),
    (int, complex),
    (float, complex),
    (int, Optional[int]),  # noqa: UP045
    (Optional[int], int),  # noqa: UP045
    (int | None, int),
    (Union[int, str], str),  # noqa: UP007
    (int | str, str | bytes),
    (None, None),
    (None, int | None),
    (type(None), None),
    (int, Any),
    (Any, int),
    (int, object),
    (object, int),
    (int, inspect.Parameter.empty),
    (inspect.Parameter.empty, int),
    (inspect.Parameter.empty, Model),
    (int, T),
    (T, int),
    (Model, ModelT),
    (Account, int),
    (int, Account),
    (Account, Account),
    (Derived, Model),
    (Model, Derived),
    (Model, BaseModel),
    (Model, Greets),
    (Model, GreetsAtRuntime),
    (Model, HasNumber),
    (Model, Abstract),
    (Happened, Event),
    (Event, Happened),
    (HappenedToo, Happened),
    (list[Event], list[Happened]),
    (Row, Row),
    (Row, dict[str, Any]),
    (Row, Mapping[str, int]),
    (Row, dict),
    (dict, Row),
    (Point, tuple),
    (Point, tuple[int]),
    (tuple[int, str], tuple),
    (list[int], Sequence[int]),
    (list[int], list),
    (list, list[int]),
    (list[int], Iterable[int]),
    (str, Sequence[str]),
    (dict[str, int], Mapping[str, int]),
    (collections.OrderedDict[str, int], dict),
    (Literal["a"], str),
    (str, Literal["a", "b"]),
    (Literal[1], int),
    (Colour, str),
    (str, Colour),
    (Level, int),
    (Size, Size),
    (Annotated[int, Field(gt=0)], int),
    (int, Annotated[int, "x"]),
    (Annotated[int | None, "x"], Annotated[int, "y"]),
    (PositiveInt, int),
    (int, PositiveInt),
    (Box[int], Box),
    (Box, Box[int]),
    (Box[int], Box[int]),
    (Box[int], BaseModel),
    (Box[int], Box[T]),  # type: ignore[valid-type]
    (IntOrText, int),
    (int, IntOrText),
    (IntOrText, IntOrText),
    (JsonValue, dict[str, Any]),
    (JsonValue, str),
    (dict, JsonValue),
    (datetime, date),
    (UUID, UUID | str),
    (Decimal, Decimal | float),
    ("int", "int | None"),
    ("Model", "Derived"),
    (int, "Unknown | int"),
    (int, int | Unknown),
]


@pytest.mark.parametrize(("produced", "consumed"), FIT, ids=lambda part: str(part)[:40])
def test_what_can_fit_is_never_reported(produced: Any, consumed: Any) -> None:
    assert pair(produced, consumed) == []


MISFIT: list[tuple[Any, Any, str, str]] = [
    (int, str, "str", "int"),
    (str, bytes, "bytes", "str"),
    (float, int, "int", "float"),
    (Decimal, float, "float", "Decimal"),
    (None, int, "int", "None"),
    (int, None, "None", "int"),
    (Model, Other, "Other", "Model"),
    (Model, dict, "dict", "Model"),
    (list, tuple, "tuple", "list"),
    (Size, int, "int", "Size"),
    (Happened, Model, "Model", "Happened"),
    (int | None, str, "str", "int | None"),
    (int, str | bytes, "str | bytes", "int"),
    (Annotated[int, "x"], str, "str", "Annotated[int, 'x']"),
    (int, Unknown, "Unknown", "int"),
    ("int", "str", "str", "int"),
]


@pytest.mark.parametrize(("produced", "consumed", "taken", "made"), MISFIT, ids=lambda part: str(part)[:40])
def test_af107_what_cannot_fit_is_reported(produced: Any, consumed: Any, taken: str, made: str) -> None:
    assert pair(produced, consumed) == [f"'two' takes 'one' as {taken}, but 'one' returns {made}. Annotate both alike."]


def test_af107_holds_for_compensations() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self, debit: str | Unknown) -> None: ...

    assert refused(declare, "AF107").startswith("'refund' takes 'debit' as str | ")


@pytest.mark.parametrize("annotation", [NoReturn, Never], ids=str)
def test_a_step_that_always_raises_is_left_in_peace(annotation: Any) -> None:
    assert pair(annotation, int) == []

    async def only(self: Any) -> Any: ...

    only.__annotations__ = {"return": annotation}

    class Good(Saga):
        one = step(readonly=True)(only)

    assert Good.graph.steps[0].output.annotation is None


# --- AF109: options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "timeout", [0, -1, 0.0, math.nan, math.inf, True, "5", timedelta(0), timedelta(seconds=-1), [1]]
)
@pytest.mark.parametrize("kind", ["step", "compensation"])
def test_af109_a_timeout_that_makes_no_sense(timeout: Any, kind: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(timeout=timeout if kind == "step" else 1)
            async def debit(self) -> int:
                return 1

            @compensates("debit", timeout=timeout if kind == "compensation" else 1)
            async def refund(self) -> None: ...

    name = "debit" if kind == "step" else "refund"
    text = refused(declare, "AF109")
    assert text == f"{name!r} has timeout={timeout!r}. Expected seconds above 0, or None for no limit."


@pytest.mark.parametrize("timeout", [1, 0.001, None, timedelta(milliseconds=1), 1e9])
def test_a_timeout_that_makes_sense_is_left_in_peace(timeout: Any) -> None:
    class Good(Saga):
        @step(timeout=timeout)
        async def only(self) -> int:
            return 1

    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    assert Good.graph.steps[0].timeout == seconds


def test_af109_a_retry_that_makes_no_sense() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(retry=Retry(attempts=0))
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

    assert refused(declare, "AF109") == "'debit' has a Retry whose attempts is 0; expected a whole number from 1."


@pytest.mark.parametrize("retry", [3, "3", Retry, ValueError])
def test_af109_a_retry_that_is_none(retry: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(retry=retry)
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF109") == f"'only' has retry={retry!r}. Expected a Retry, such as Retry(attempts=3)."


def test_af109_a_compensation_without_a_retry_and_with_a_word_that_does_not_exist() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit", retry=None, if_unknown="cal")  # type: ignore[arg-type]
            async def refund(self) -> None: ...

    with pytest.raises(DefinitionError) as refusal:
        declare()
    assert [problem.text for problem in refusal.value.problems] == [
        "'refund' has retry=None. Expected a Retry, such as Retry(attempts=3).",
        "'refund' has if_unknown='cal'. Expected 'call' or 'fail'.",
    ]


NAME_RULE = "Expected 1 to 100 printable characters without '/' and not beginning with '$'."


@pytest.mark.parametrize("name", ["", "a/b", "$a", "a\nb", "x" * 101, 5])
def test_af109_a_step_with_a_name_that_cannot_be_stored(name: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(name=name)
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF109") == f"Step 'only' has the name {name!r}. {NAME_RULE}"


def test_af109_two_steps_with_one_stored_name() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True, name="second")
            async def first(self) -> int:
                return 1

            @step(readonly=True)
            async def second(self) -> int:
                return 1

    assert refused(declare, "AF109") == "Steps 'first' and 'second' are both stored as 'second'. Give one another name."


# --- AF110: what can be stored ---------------------------------------------------------------------------------------


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    bank: Bank


@pytest.mark.parametrize(
    "annotation",
    [Bank, list[Bank], threading.Thread, Iterator[int], Iterable[int], Callable[[], int], Holder, list[Holder]],
    ids=str,
)
def test_af110_an_output_that_cannot_be_stored(annotation: Any) -> None:
    async def only(self: Any) -> Any: ...

    only.__annotations__ = {"return": annotation}

    def declare() -> None:
        class Bad(Saga):
            only_step = step(readonly=True)(only)

    text = refused(declare, "AF110")
    assert text.startswith("What 'only_step' returns: ")
    assert "cannot be stored" in text


@pytest.mark.parametrize("annotation", [Bank, threading.Thread, Callable[[], int], Iterable[int], Holder], ids=str)
@pytest.mark.parametrize("arbitrary", [False, True])
def test_af110_an_input_that_cannot_be_stored(annotation: Any, arbitrary: bool) -> None:
    def declare() -> None:
        kind = annotation

        class Bad(Saga):
            model_config = ConfigDict(arbitrary_types_allowed=arbitrary)
            thing: kind  # type: ignore[valid-type]

            @step(readonly=True)
            async def only(self) -> int:
                return 1

        assert Bad.graph is not None

    assert "cannot be stored" in refused(declare, "AF110")


def test_af110_says_which_type_it_is() -> None:
    def declare() -> None:
        class Bad(Saga):
            holder: Holder

            @step(readonly=True)
            async def only(self) -> int:
                return 1

    text = refused(declare, "AF110")
    assert text.startswith("The input ")
    assert "Bad cannot be stored: Bank cannot be read from JSON. Use types that pydantic can write as JSON" in text


class Holding(BaseModel):
    """It says itself how a bank is read."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    bank: Annotated[Bank, BeforeValidator(lambda _: Bank()), PlainSerializer(lambda _: "bank")]
    other: Annotated[Bank, WrapValidator(lambda _, __: Bank()), PlainSerializer(lambda _: "bank")]
    helper: Annotated[Callable[[], int] | None, Field(exclude=True)] = None


@dataclasses.dataclass
class Tree:
    children: list[Tree]


@pytest.mark.parametrize(
    "annotation",
    [
        *(None, Any, JsonValue, complex, Path, set[int], Model, list[Event], Event | None, Box[int], "Model"),
        *(
            Holding,
            Tree,
            Unknown | int,
            int | Callable[[], int],
            re.Pattern[str],
            collections.deque[int],
            Row,
            Hashable,
        ),
    ],
    ids=str,
)
def test_what_can_be_stored_is_left_in_peace(annotation: Any) -> None:
    class Good(Saga):
        thing: annotation

        @step(readonly=True)
        async def only(self) -> annotation: ...

    assert Good.graph is not None


# --- AF111, AF113, AF114, AF115 --------------------------------------------------------------------------------------


def test_af111_no_steps() -> None:
    def declare() -> None:
        class Bad(Saga):
            account: str

            async def looks_like_a_step(self) -> None: ...

    assert refused(declare, "AF111") == (
        "It has no steps, so running it would do nothing. Mark at least one method with @step."
    )


async def _plain(self: Any) -> int:
    return 1


async def _stars(self: Any, *args: Any) -> int:
    return 1


async def _double_stars(self: Any, **kwargs: Any) -> int:
    return 1


async def _positional(self: Any, thing: int = 1, /) -> int:
    return 1


async def _async_generator(self: Any) -> Any:
    yield 1


def _generator(self: Any) -> Any:
    yield 1


class Callee:
    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (_stars, "takes *args, which nothing can fill. Name what it needs."),
        (_double_stars, "takes **kwargs, which nothing can fill. Name what it needs."),
        (_positional, "takes 'thing' by position only, and parameters are filled by name. Remove the `/`."),
        (_async_generator, "is a generator. A step gives one value: return it instead of yielding."),
        (_generator, "is a generator. A step gives one value: return it instead of yielding."),
        (
            staticmethod(_plain),
            "is a staticmethod. Make it an ordinary method, or mark a plain function and assign it here.",
        ),
        (
            classmethod(_plain),
            "is a classmethod. Make it an ordinary method, or mark a plain function and assign it here.",
        ),
        (functools.partial(_plain), "is a partial. Write a method that calls it."),
        (Callee().method, "is a bound method. Write a method that calls it."),
        (property(_plain), "is property"),
        (Callee(), "is Callee"),
        (Callee, "is type"),
        (len, "is builtin_function_or_method"),
        (5, "is int 5. Expected a method or a function."),
    ],
    ids=lambda part: getattr(part, "__name__", None) or steady(part),
)
def test_af113_what_cannot_be_a_step(thing: Any, words: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = step(readonly=True)(thing)

    with pytest.raises(DefinitionError) as refusal:
        declare()
    problems = [problem for problem in refusal.value.problems if problem.rule == "AF113"]
    assert [problem.rule for problem in refusal.value.problems] == ["AF113"] * len(problems)
    assert problems[0].text.startswith(f"'only' {words}")
    path, _, line = problems[0].where.partition(":")
    assert path == __file__
    assert line.split(" ")[0].isdigit()


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_af113_a_wrapper_around_a_marked_function(wrapper: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = wrapper(step(readonly=True)(_plain))

    assert f"'only' is a {wrapper.__name__}." in refused(declare, "AF113")


@pytest.mark.parametrize("wrapper", [property, functools.cached_property])
def test_af113_a_property_around_a_marked_function_is_never_lost(wrapper: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = wrapper(step(readonly=True)(_plain))

            @step(readonly=True)
            async def other(self) -> int:
                return 1

    assert "'only' is" in refused(declare, "AF113")


def test_af113_holds_for_compensations() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            def refund(self, *rest: int) -> None: ...

    assert refused(declare, "AF113") == "'refund' takes *rest, which nothing can fill. Name what it needs."


@pytest.mark.parametrize("order", ["field first", "step first"])
def test_af114_a_field_and_a_step_share_a_name(order: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            if order == "field first":
                only: int

            @step(readonly=True)  # type: ignore[no-redef]
            async def only(self) -> int:
                return 1

            if order == "step first":
                only: int  # type: ignore[no-redef]

    assert refused(declare, "AF114") == "'only' is a field and a step, and Python keeps only one of them. Rename one."


def test_af114_a_field_with_a_default_and_a_compensation_share_a_name() -> None:
    def declare() -> None:
        class Bad(Saga):
            undo: int = 0

            @step
            async def only(self) -> int:
                return 1

            @compensates("only")  # type: ignore[no-redef]
            async def undo(self) -> None: ...  # noqa: F811

    with pytest.raises(DefinitionError) as refusal:
        declare()
    assert "'undo' is a field and a compensation, and Python keeps only one of them. Rename one." in str(refusal.value)


def test_af114_a_readonly_step_with_a_compensation() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def look(self) -> int:
                return 1

            @compensates("look")
            async def undo(self) -> None: ...

    assert refused(declare, "AF114") == (
        "'undo' compensates 'look', which is readonly and has nothing to undo. Remove the compensation, or readonly=True "
        "if the step has an effect."
    )


#: Makes a class from data; a type checker would take it for an instance of `Saga`.
make_class: Any = type(Saga)
HIDDEN = ["copy", "json", "dict", "schema", "graph", "model_dump", "model_fields", "saga_name", "saga_version"]


@pytest.mark.parametrize("name", HIDDEN)
def test_af115_a_field_hides_what_every_saga_has(name: str) -> None:
    namespace = {"__module__": __name__, "__qualname__": "Bad", "__annotations__": {name: int}, "only": step(_plain)}

    assert refused(lambda: make_class("Bad", (Saga,), namespace), "AF115") == (
        f"The field {name!r} hides Saga.{name}, which every saga has. Give the field another name."
    )


@pytest.mark.parametrize("name", HIDDEN)
def test_af115_a_step_hides_what_every_saga_has(name: str) -> None:
    namespace = {"__module__": __name__, "__qualname__": "Bad", name: step(_plain)}

    assert refused(lambda: make_class("Bad", (Saga,), namespace), "AF115") == (
        f"The step {name!r} hides Saga.{name}, which every saga has. Rename it."
    )


def test_af115_a_field_of_a_mixin_hides_what_every_saga_has() -> None:
    class Mixin(BaseModel):
        graph: int = 0

    def declare() -> None:
        class Bad(Mixin, Saga):  # type: ignore[misc]
            @step(readonly=True)
            async def only(self) -> int:
                return 1

    assert "The field 'graph' hides Saga.graph" in refused(declare, "AF115")


def test_names_that_only_look_taken_are_left_in_peace() -> None:
    class Good(Saga):
        name: str = ""
        version: int = 0
        steps: int = 0
        model_: int = 0
        status: str = ""

        @step(readonly=True)
        async def run(self) -> int:
            return 1

        @step(readonly=True)
        async def execute(self) -> int:
            return 1

    assert len(Good.graph.steps) == 2


def test_a_problem_of_a_field_points_at_the_class() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Saga, name="a/b"):
            saga_name: str  # type: ignore[misc]

    line = line_of(test_a_problem_of_a_field_points_at_the_class) + 3
    assert refusal.value.problems[0].where.startswith(f"{__file__}:{line} (")


# --- AF116: the output that may not be there -------------------------------------------------------------------------


def demands(annotation: Any, *, default: bool = False, **options: Any) -> list[str]:
    """The texts of AF116 for a compensation that takes its step's output so."""

    async def undo(self: Any, debit: Any) -> None: ...

    async def undo_by_default(self: Any, debit: Any = None) -> None: ...

    function = undo_by_default if default else undo
    function.__annotations__ = {"return": None} | (
        {} if annotation is inspect.Parameter.empty else {"debit": annotation}
    )

    try:

        class Demanding(Saga):
            @step
            async def debit(self) -> int:
                return 1

            refund = compensates("debit", **options)(function)

        assert Demanding.graph is not None
    except DefinitionError as error:
        return [str(problem.text) if problem.rule == "AF116" else str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (int, "int"),
        ("int", "int"),
        (Optional[int], "Optional[int]"),  # noqa: UP045
        (Annotated[int, "x"], "Annotated[int, 'x']"),
        (int | str, "int | str"),
    ],
)
@pytest.mark.parametrize("default", [False, True])
def test_af116_a_compensation_demands_an_output_that_may_not_be_there(
    annotation: Any, shown: str, default: bool
) -> None:
    assert demands(annotation, default=default) == [
        "'refund' demands the output of 'debit', but after a timeout or a crash nobody has it. Write "
        f"`debit: {shown} | Unknown` and undo by ctx.forward_key, or accept that a person must step in with "
        'if_unknown="fail".'
    ]


@pytest.mark.parametrize(
    "annotation",
    [
        int | Unknown,
        Union[int, Unknown],  # noqa: UP007
        Optional[int | Unknown],  # noqa: UP045
        Annotated[int | Unknown, "x"],
        Annotated[int, "x"] | Unknown,
        "int | Unknown",
        Any,
        object,
        T,
        inspect.Parameter.empty,
        IntOrUnknown,
        Hashable,
    ],
    ids=str,
)
def test_a_compensation_that_accepts_an_unknown_is_left_in_peace(annotation: Any) -> None:
    assert demands(annotation) == []


def test_a_person_may_be_asked_to_step_in() -> None:
    assert demands(int, if_unknown="fail") == []


def test_outputs_of_earlier_steps_are_there() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self, look: int, debit: int | Unknown) -> None: ...

    assert Good.graph is not None


# --- AF118, AF119: names and versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a/b", "$a", "a\nb", "x" * 101, 5])
def test_af119_a_saga_with_a_name_that_cannot_be_stored(name: Any) -> None:
    def declare() -> None:
        class Bad(Saga, name=name):
            @step
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF119") == f"Its name is {name!r}. {NAME_RULE}"


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_af119_a_saga_with_a_version_that_makes_no_sense(version: Any) -> None:
    def declare() -> None:
        class Bad(Saga, version=version):
            @step
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF119") == f"Its version is {version!r}. Expected a whole number from 1."


def test_af118_is_the_rule_of_events() -> None:
    def declare() -> None:
        class Bad(Event, version=0):
            pass

    assert refused(declare, "AF118") == "Its version is 0. Expected a whole number from 1."


def test_printable_names_of_any_script_are_left_in_peace() -> None:
    class Good(Saga, name="Überweisung 送金", version=12):
        @step(name="money out")
        async def only(self) -> int:
            return 1

    assert (Good.graph.saga, Good.graph.plan.nodes[0].name) == ("Überweisung 送金", "money out")


# --- names that are not there yet ------------------------------------------------------------------------------------


_numbers = itertools.count()


def load(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    name = f"rules_of_a_module_{next(_numbers)}"
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


HEAD = """from __future__ import annotations
from pydantic import BaseModel
from allframe import Saga, Unknown, compensates, step
"""


def test_a_class_further_down_in_the_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Early(Saga):
    receipt: Receipt | None = None
    @step
    async def first(self) -> Receipt:
        return Receipt(number=1)
    @compensates("first")
    async def undo(self, first: Receipt | Unknown) -> None: ...
    @step(readonly=True)
    async def second(self, first: Receipt) -> None: ...

class Receipt(BaseModel):
    number: int
"""
    module = load(tmp_path, source, monkeypatch)

    assert module.Early.graph.steps[0].output.annotation is module.Receipt
    assert module.Early(receipt=module.Receipt(number=1)).receipt.number == 1


def test_what_could_not_be_checked_at_once_is_checked_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step
    async def first(self) -> Receipt: ...
    @compensates("first")
    async def undo(self, first: Receipt) -> None: ...
    @step(readonly=True)
    async def second(self, first: Other, nobody: Other) -> None: ...

class Receipt(BaseModel): ...
class Other(BaseModel): ...
"""
    module = load(tmp_path, source, monkeypatch)

    for _ in range(2):  # and not only once
        assert rules_of(lambda: module.Early.graph) == ["AF116", "AF105", "AF107"]


def test_what_can_be_seen_without_the_types_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step(timeout=0)
    async def first(self) -> Receipt: ...
    @compensates("frist")
    async def undo(self, first: Receipt) -> None: ...

class Receipt(BaseModel): ...
"""
    assert rules_of(lambda: load(tmp_path, source, monkeypatch)) == ["AF109", "AF101"]


def test_a_name_that_only_type_checkers_know_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from decimal import Decimal

class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Decimal: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "An annotation of 'first' cannot be resolved: name 'Decimal' is not defined." in refused(
        lambda: module.Early.graph, "AF105"
    )


def test_a_field_of_a_type_that_nobody_defines_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    thing: Nowhere
    @step(readonly=True)
    async def first(self) -> int: ...
"""
    module = load(tmp_path, source, monkeypatch)

    with pytest.raises(DefinitionError, match="Nowhere"):
        _ = module.Early.graph


def test_a_type_within_an_output_that_nobody_defines_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Receipt(BaseModel):
    thing: Nowhere
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "What 'first' returns cannot be resolved: name 'Nowhere' is not defined." in refused(
        lambda: module.Early.graph, "AF105"
    )


def test_a_step_or_field_is_not_taken_for_the_type_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Named(Saga):
    int: float = 1.0
    @step(readonly=True)
    async def str(self) -> None: ...
    @step(readonly=True)
    async def last(self) -> dict[str, int]: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert module.Named.graph.steps[1].output.annotation == dict[str, int]


def test_a_class_in_the_body_of_the_saga_is_found() -> None:
    class Good(Saga):
        class Receipt(BaseModel):
            number: int

        @step(readonly=True)
        async def first(self) -> Receipt:
            return Good.Receipt(number=1)

        @step(readonly=True)
        async def second(self, first: Receipt) -> None: ...

    assert Good.graph.steps[0].output.annotation is Good.Receipt


def test_the_saga_itself_is_found() -> None:
    class Good(Saga):
        parent: Good | None = None

        @step(readonly=True)
        async def first(self) -> Good:
            return self

    assert Good.graph.steps[0].output.annotation is Good
    assert Good(parent=Good()).parent == Good()


def test_names_of_a_function_two_levels_up_are_found() -> None:
    class Receipt(BaseModel):
        number: int

    def make() -> type[Saga]:
        assert Receipt is not None  # so that it is a name of this function, too

        class Good(Saga):
            @step(readonly=True)
            async def first(self) -> Receipt:
                return Receipt(number=1)

        return Good

    assert make().graph.steps[0].output.annotation is Receipt


def test_a_local_name_goes_before_one_of_the_module() -> None:
    class Model(BaseModel):
        other: int

    class Good(Saga):
        @step(readonly=True)
        async def first(self) -> Model:
            return Model(other=1)

    assert Good.graph.steps[0].output.annotation is Model


def test_an_annotation_that_is_broken_is_told_and_does_not_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> 1 / 0: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "An annotation of 'first' cannot be resolved: division by zero." in refused(
        lambda: module.Early.graph, "AF105"
    )
