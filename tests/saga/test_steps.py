"""A class of steps is checked when it is created, and says everything that is wrong with it."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest
from pydantic import Field, ValidationError

from allframe import (
    DefinitionError,
    Inject,
    Retry,
    Saga,
    SagaDefinition,
    SagaStep,
    StepContext,
    Unknown,
    compensates,
    step,
)
from allframe.saga.graph import Source
from allframe.saga.steps import STEPS, parts_of
from tests.saga.refusal import problems, refused

T = TypeVar("T")


class Bank:
    pass


class Pay(SagaStep):
    """Does it, and can undo it."""

    account: str
    amount: Decimal = Field(gt=0)

    async def execute(self) -> str:
        return f"{self.amount} of {self.account}"

    async def compensate(self) -> None: ...


# --- what it is --------------------------------------------------------------------------------------------------------


def test_it_is_a_validated_model_that_never_changes() -> None:
    pay = Pay(account="A", amount="1.50")  # type: ignore[arg-type]

    assert pay.amount == Decimal("1.50")
    with pytest.raises(ValidationError, match="frozen"):
        pay.amount = Decimal(2)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="greater than 0"):
        Pay(account="A", amount=Decimal(0))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Pay(account="A", amount=Decimal(1), currency="EUR")  # type: ignore[call-arg]


@pytest.mark.anyio
async def test_its_functions_are_ordinary_methods() -> None:
    assert await Pay(account="A", amount=Decimal(1)).execute() == "1 of A"


def test_its_keywords_are_the_options_of_a_step_and_its_compensation() -> None:
    class Careful(
        SagaStep,
        name="test_steps.careful",
        version=3,
        timeout=5,
        retry=Retry(attempts=4),
        idempotent=True,
        compensation_timeout=7,
        compensation_retry=Retry(attempts=2),
        if_unknown="fail",
    ):
        async def execute(self) -> int:
            return 1

        async def compensate(self, output: int) -> None: ...

    node, made = parts_of(Careful)

    assert (Careful.step_name, Careful.step_version) == ("test_steps.careful", 3)
    assert (made.timeout, made.retry, node.idempotent, node.attempts) == (5, Retry(attempts=4), True, 4)
    assert made.compensation is not None
    assert (made.compensation.timeout, made.compensation.retry) == (7, Retry(attempts=2))
    assert (made.compensation.if_unknown, node.compensation_attempts) == ("fail", 2)


def test_without_keywords_it_has_the_defaults_of_a_step_and_its_compensation() -> None:
    node, made = parts_of(Pay)

    assert (made.timeout, made.retry, node.readonly, node.pivot, node.idempotent) == (30, None, False, False, False)
    assert made.compensation is not None
    assert (made.compensation.timeout, made.compensation.retry) == (60, Retry(attempts=5))
    assert made.compensation.if_unknown == "call"


def test_a_subclass_inherits_the_functions_the_fields_and_the_options_but_not_the_name() -> None:
    class Slow(Pay, name="test_steps.slow", version=2, timeout=100, compensation_timeout=200):
        pass

    class Slower(Slow, timeout=1000):
        note: str = ""

    node, made = parts_of(Slower)

    assert (Slower.step_name, Slower.step_version, made.timeout, node.compensated) == ("Slower", 1, 1000, True)
    assert made.compensation is not None
    assert made.compensation.timeout == 200
    assert Slower(account="A", amount=Decimal(1), note="x").amount == 1


def test_an_abstract_class_is_a_base_and_no_step() -> None:
    class OfBank(SagaStep, abstract=True, timeout=3):
        account: str

    class Withdraw(OfBank):
        async def execute(self) -> None: ...

    assert parts_of(Withdraw)[1].timeout == 3
    text = refused(lambda: SagaDefinition("x").add_step(OfBank(account="A")).check(), "AF111")
    assert text == "OfBank is a base for others, and no step itself: subclass it."


def test_a_generic_class_is_a_step_for_each_of_its_types() -> None:
    class Store(SagaStep, Generic[T], timeout=3):
        value: T

        async def execute(self) -> T:
            return self.value

        async def compensate(self, output: T | Unknown) -> None: ...

    node, made = parts_of(Store[int])

    assert (Store[int].step_name, made.output.annotation, made.timeout) == ("Store[int]", int, 3)
    assert node.compensated


def test_parameters_are_filled_with_what_is_injected_the_context_and_the_output() -> None:
    class Fee(SagaStep):
        async def execute(self, bank: Inject[Bank], ctx: StepContext) -> int:
            return 1

        async def compensate(self, output: int | Unknown, ctx: StepContext, bank: Inject[Bank]) -> None: ...

    _, made = parts_of(Fee)

    assert [(p.name, p.source) for p in made.parameters] == [("bank", Source.INJECT), ("ctx", Source.CONTEXT)]
    assert made.compensation is not None
    filled = [(p.name, p.source, p.step) for p in made.compensation.parameters]
    assert filled == [("output", Source.OUTPUT, 0), ("ctx", Source.CONTEXT, -1), ("bank", Source.INJECT, -1)]


def test_a_name_that_is_not_there_yet_is_resolved_when_the_step_is_first_used() -> None:
    class Early(SagaStep):
        async def execute(self, later: Inject[Later]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DefinitionError, match=r"An annotation of 'execute' cannot be resolved: name 'Later'"):
        SagaDefinition("x").add_step(Early()).check()

    globals()["Later"] = type("Later", (), {})
    try:
        SagaDefinition("x").add_step(Early()).check()
    finally:
        del globals()["Later"]


def test_a_class_that_went_out_of_use_is_forgotten() -> None:
    def use() -> weakref.ref[type]:
        class Forgotten(SagaStep, name="test_steps.forgotten"):
            async def execute(self) -> None: ...

        _ = SagaDefinition("x").add_step(Forgotten()).graph.description
        assert STEPS.find("test_steps.forgotten", 1) is Forgotten
        return weakref.ref(Forgotten)

    made = use()
    gc.collect()

    assert made() is None
    assert STEPS.find("test_steps.forgotten", 1) is None


# --- what it may not say ---------------------------------------------------------------------------------------------


def test_every_problem_of_a_class_is_told_at_once_with_its_place() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Broken(SagaStep, version=0, timeout=-1):
            callback: Callable[[], None]

            async def execute(self, nobody) -> int:  # type: ignore[no-untyped-def]
                return 1

            async def compensate(self, output: str) -> None: ...

    error = refusal.value
    assert str(error).startswith(
        "Step test_every_problem_of_a_class_is_told_at_once_with_its_place.<locals>.Broken has"
    )
    assert sorted(problem.rule for problem in error.problems) == [
        "AF105",
        "AF107",
        "AF109",
        "AF110",
        "AF116",
        "AF119",
    ]
    start = test_every_problem_of_a_class_is_told_at_once_with_its_place.__code__.co_firstlineno
    places = {problem.rule: problem.where for problem in error.problems}
    assert places["AF105"] == f"{__file__}:{start + 6}"
    assert places["AF107"] == f"{__file__}:{start + 9}"
    assert places["AF119"].startswith(f"{__file__}:{start + 3} (")


def test_af103_execute_written_twice() -> None:
    def declare() -> None:
        class Twice(SagaStep):
            async def execute(self) -> int:
                return 1

            async def execute(self) -> int:  # type: ignore[no-redef]  # noqa: F811
                return 2

    start = declare.__code__.co_firstlineno
    assert refused(declare, "AF103") == (
        f"'execute' is assigned twice, at {__file__}:{start + 2} and here, and Python keeps only the second. Rename one."
    )


def test_af105_a_parameter_that_nothing_fills() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            account: str

            async def execute(self, bank: Bank) -> None: ...

            async def compensate(self, account: str, outputs: Any) -> None: ...

    assert [text for _, text in problems(declare)] == [
        "Nothing fills the parameter 'bank' of 'execute'. A parameter is annotated StepContext or Inject[...]. To be given "
        "an object, annotate it Inject[Bank].",
        "Nothing fills the parameter 'account' of 'compensate'. A parameter is called `output`, for what `execute` "
        "returned, or is annotated StepContext or Inject[...]. It is a field of the step: read self.account.",
        "Nothing fills the parameter 'outputs' of 'compensate'. A parameter is called `output`, for what `execute` "
        "returned, or is annotated StepContext or Inject[...]. Did you mean 'output'?",
    ]


def test_af106_its_own_output() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def execute(self, output: int) -> int:
                return output

    assert refused(declare, "AF106") == "'execute' takes its own output. Rename the parameter."


def test_af107_an_output_that_it_cannot_be() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def execute(self) -> int:
                return 1

            async def compensate(self, output: str | Unknown) -> None: ...

    text = refused(declare, "AF107")
    assert text == ("'compensate' takes 'output' as str | Unknown, but 'execute' returns int. Annotate both alike.")


def test_af109_options_of_a_compensation_that_is_not_there() -> None:
    def declare() -> None:
        class Fee(SagaStep, if_unknown="fail", compensation_timeout=5):
            async def execute(self) -> None: ...

    assert refused(declare, "AF109") == (
        "It has compensation_timeout, if_unknown and no `compensate`. Write `async def compensate(self) -> ...`, or take it "
        "away."
    )


def test_af109_accepts_options_of_a_compensation_that_is_there_and_only_misses_what_it_undoes() -> None:
    def declare() -> None:
        class Fee(SagaStep, if_unknown="fail"):
            async def compensate(self) -> None: ...

    assert "execute" in refused(declare, "AF111")


def test_af110_a_field_that_cannot_be_stored() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            callback: Callable[[], None]

            async def execute(self) -> None: ...

    assert "Fee cannot be stored: 'callback' is a callable, which cannot be read from JSON." in refused(
        declare, "AF110"
    )


def test_af111_nothing_to_do() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def compensate(self) -> None: ...

    assert refused(declare, "AF111") == (
        "It has no `execute`, so it would do nothing. Write `async def execute(self) -> ...`."
    )


def test_af112_a_pivot_that_is_undone() -> None:
    def declare() -> None:
        class Fee(SagaStep, pivot=True):
            async def execute(self) -> None: ...

            async def compensate(self) -> None: ...

    assert refused(declare, "AF112").startswith("'compensate' compensates 'execute', which is the pivot")


async def _free(self: Any) -> None: ...


class _Callable:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("execute", "text"),
    [
        (staticmethod(_free), "'execute' is a staticmethod."),
        (classmethod(_free), "'execute' is a classmethod."),
        (functools.partial(_free, None), "'execute' is a partial."),
        (_Callable(), "'execute' is _Callable"),
        (7, "'execute' is int 7. Expected"),
    ],
)
def test_af113_what_cannot_be_a_step(execute: Any, text: str) -> None:
    given = execute

    def declare() -> None:
        class Odd(SagaStep):
            execute = given

    assert refused(declare, "AF113").startswith(text)


def test_af113_functions_that_cannot_be_steps() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def execute(self, *args: int) -> Any:
                yield 1

            async def compensate(self, ctx: StepContext, /) -> None: ...

    assert [text for _, text in problems(declare)] == [
        "'execute' is a generator. A step gives one value: return it instead of yielding.",
        "'compensate' takes 'ctx' by position only, and parameters are filled by name. Remove the `/`.",
    ]


def test_af113_a_function_without_self() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            account: str

            async def execute(account: str) -> None: ...

    assert refused(declare, "AF113") == "'execute' has no first parameter `self`: it is a method of its step."


def test_every_option_of_a_step_is_a_keyword() -> None:
    class Once(SagaStep, repeatable=False, unknown_on=KeyError, known_on=(TimeoutError,)):
        def execute(self) -> None: ...

        def compensate(self) -> None: ...

    node, made = parts_of(Once)

    assert (node.repeatable, made.unknown_on, made.known_on) == (False, (KeyError,), (TimeoutError,))
    assert (made.is_async, made.timeout) == (False, None)


def test_af113_a_method_that_is_marked_as_in_a_saga() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            @step
            async def execute(self) -> None: ...

            @compensates("execute")
            async def undo(self) -> None: ...

    assert [text.partition(". ")[0] for _, text in problems(declare)] == [
        "'execute' is marked with @step",
        "'undo' is marked with @compensates",
    ]


def test_af114_a_readonly_step_that_is_undone() -> None:
    def declare() -> None:
        class Fee(SagaStep, readonly=True):
            async def execute(self) -> None: ...

            async def compensate(self) -> None: ...

    assert refused(declare, "AF114").startswith("'compensate' compensates 'execute', which is readonly")


@pytest.mark.parametrize("field", ["json", "execute", "compensate", "step_name"])
def test_af115_a_field_that_hides_what_every_step_has(field: str) -> None:
    body = {"__annotations__": {field: "str"}, "__module__": __name__, "__qualname__": "Fee"}

    text = refused(lambda: type(SagaStep)("Fee", (SagaStep,), body), "AF115")

    assert text == (f"The field {field!r} hides SagaStep.{field}, which every step has. Give the field another name.")


def test_af116_an_output_that_may_not_be_there() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def execute(self) -> int:
                return 1

            async def compensate(self, output: int) -> None: ...

    assert "Write `output: int | Unknown`" in refused(declare, "AF116")


def test_af119_two_classes_of_one_name() -> None:
    class One(SagaStep, name="test_steps.twin"):
        async def execute(self) -> None: ...

    class Two(SagaStep, name="test_steps.twin"):
        async def execute(self) -> None: ...

    with pytest.raises(DefinitionError) as refusal:
        STEPS.find("test_steps.twin", 1)

    text = str(refusal.value)
    assert text.startswith("The step name 'test_steps.twin', version 1, has 1 problem:")
    assert "(test_af119_two_classes_of_one_name.<locals>.One) and " in text
    del One, Two


def test_a_saga_may_have_the_name_of_a_step() -> None:
    class Fee(SagaStep, name="test_steps.fee"):
        async def execute(self) -> None: ...

    class FeeSaga(Saga, name="test_steps.fee"):
        @step
        async def pay(self) -> None: ...

    assert STEPS.find("test_steps.fee", 1) is Fee


def test_af109_a_keyword_that_no_step_takes() -> None:
    def declare() -> None:
        class Fee(SagaStep, timout=5, after="x"):
            async def execute(self) -> None: ...

    (_, text), (_, other) = problems(declare)

    assert text.startswith(
        "It has the class keyword 'timout', which no step takes. It takes: name, version, abstract, compensation_retry, "
    )
    assert text.endswith(" Did you mean 'timeout'?")
    assert other.startswith("It has the class keyword 'after', which no step takes.")
