"""Who knows better says so with a reason; what nobody gets cannot be waived, and what breaks a rule neither."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Saga, SagaDefinition, SagaStep, compensates, step
from allframe.errors import Problem
from allframe.saga.steps import step_advice
from tests.saga.refusal import problems, refused


def advice(problems: tuple[Problem, ...]) -> dict[tuple[str, str | None], str | None]:
    return {(problem.rule, problem.member): problem.waived for problem in problems}


# --- what is waived --------------------------------------------------------------------------------------------------


def test_af205_accepts_what_a_step_and_a_compensation_get() -> None:
    class Book(Saga):
        @step(waive={"AF203": "it returns nothing"})
        async def book(self): ...  # type: ignore[no-untyped-def]

        @compensates("book", if_unknown="fail", waive={"AF201": "the hotel is called"})
        async def cancel(self) -> None: ...

        @step
        async def mail(self): ...  # type: ignore[no-untyped-def]

    assert advice(Book.graph.advice) == {
        ("AF203", "book"): "it returns nothing",
        ("AF201", "cancel"): "the hotel is called",
        ("AF203", "mail"): None,
        ("AF204", "mail"): None,
    }


def test_a_class_waives_it_for_all_and_what_stands_at_the_step_goes_first() -> None:
    class Book(Saga, waive={"AF203": "untyped, all of it"}):
        @step(readonly=True, waive={"AF203": "it returns nothing"})
        async def look(self): ...  # type: ignore[no-untyped-def]

        @step(readonly=True)
        async def see(self): ...  # type: ignore[no-untyped-def]

    assert advice(Book.graph.advice) == {
        ("AF203", "look"): "it returns nothing",
        ("AF203", "see"): "untyped, all of it",
    }


def test_a_subclass_inherits_waivers_and_adds_to_them() -> None:
    class Base(Saga, abstract=True, waive={"AF203": "old code", "AF204": "the bank is asked"}):
        @step(readonly=True)
        async def look(self): ...  # type: ignore[no-untyped-def]

    class Pay(Base, waive={"AF204": "a person sees to it", "AF202": "the driver has a timeout"}):
        @step(timeout=3)
        def pay(self) -> None: ...

    class Look(Base): ...

    assert advice(Pay.graph.advice) == {
        ("AF203", "look"): "old code",
        ("AF202", "pay"): "the driver has a timeout",
        ("AF204", "pay"): "a person sees to it",
    }
    assert advice(Look.graph.advice) == {("AF203", "look"): "old code"}, "what it inherits may waive nothing"


def test_an_override_keeps_the_waivers_of_the_mark_that_it_keeps() -> None:
    class Base(Saga):
        @step(readonly=True, waive={"AF203": "it returns nothing"})
        async def look(self): ...  # type: ignore[no-untyped-def]

    class Typed(Base):
        async def look(self) -> None: ...

    class Again(Base):
        async def look(self): ...  # type: ignore[no-untyped-def]

    class Anew(Base):
        @step(readonly=True)
        async def look(self): ...  # type: ignore[no-untyped-def]

    assert advice(Typed.graph.advice) == {}
    assert advice(Again.graph.advice) == {("AF203", "look"): "it returns nothing"}
    assert advice(Anew.graph.advice) == {("AF203", "look"): None}


def test_a_class_of_steps_waives_for_both_of_its_functions_and_where_it_comes_last() -> None:
    class Hold(SagaStep, if_unknown="fail", waive={"AF201": "by hand"}):
        async def execute(self) -> None: ...

        async def compensate(self) -> None: ...

    class Send(SagaStep, waive={"AF204": "the post knows"}):
        async def execute(self) -> None: ...

    class Sent(Send, waive={"AF203": "nothing"}):
        async def execute(self): ...  # type: ignore[no-untyped-def]

    assert advice(step_advice(Hold)) == {("AF201", "compensate"): "by hand"}
    assert advice(step_advice(Send)) == {}, "it may come last"
    built = SagaDefinition("s-1").add_step(Hold()).add_step(Sent())
    assert advice(built.graph.advice) == {
        ("AF201", "compensate"): "by hand",
        ("AF203", "execute"): "nothing",
        ("AF204", "sent"): "the post knows",
    }


def test_a_waiver_changes_nothing_of_what_is_stored() -> None:
    class Plain(Saga, name="same"):
        @step
        async def go(self) -> None: ...

    class Waived(Saga, name="same", waive={"AF204": "it is only a mail"}):
        @step
        async def go(self) -> None: ...

    assert Plain.graph.fingerprint == Waived.graph.fingerprint


def test_what_was_given_can_be_changed_afterwards() -> None:
    given = {"AF204": "it is only a mail"}

    class Mail(Saga):
        @step(waive=given)
        async def go(self) -> None: ...

    given.clear()

    assert advice(Mail.graph.advice) == {("AF204", "go"): "it is only a mail"}


# --- AF205 -----------------------------------------------------------------------------------------------------------


def test_af205_a_waiver_that_waives_nothing() -> None:
    class Book(Saga, waive={"AF202": "the driver has a timeout"}):
        @step(readonly=True, waive={"AF203": "it returns nothing"})
        async def look(self) -> None: ...

    assert [(problem.rule, problem.member, problem.text) for problem in Book.graph.advice] == [
        (
            "AF205",
            None,
            "It waives AF202, and there is nothing to waive: a step that cannot be interrupted has a timeout, and here that "
            "is not so. Take it away.",
        ),
        (
            "AF205",
            "look",
            "'look' waives AF203, and there is nothing to waive: a step does not say what it returns, and here that is not "
            "so. Take it away.",
        ),
    ]


def test_af205_a_waiver_of_the_class_that_every_step_has_already() -> None:
    class Book(Saga, waive={"AF203": "untyped"}):
        @step(readonly=True, waive={"AF203": "it returns nothing"})
        async def look(self): ...  # type: ignore[no-untyped-def]

    assert advice(Book.graph.advice) == {("AF205", None): None, ("AF203", "look"): "it returns nothing"}


def test_af205_is_told_of_a_class_of_steps() -> None:
    class Hold(SagaStep, waive={"AF201": "by hand", "AF204": "it never comes last"}):
        async def execute(self) -> None: ...

        async def compensate(self) -> None: ...

    texts = sorted(problem.text[:15] for problem in step_advice(Hold))
    assert texts == ["It waives AF201", "It waives AF204"], "it is undone, so it is no pivot anywhere"


@step(readonly=True, waive={"AF203": "it returns nothing", "AF204": "never mind"})
async def look():  # type: ignore[no-untyped-def]
    """For many sagas."""


def test_af205_accepts_one_that_comes_with_a_function_and_may_have_nothing_to_waive_in_one_saga() -> None:
    class Book(Saga):
        first = look
        second = look

    assert advice(Book.graph.advice) == {
        ("AF203", "first"): "it returns nothing",
        ("AF203", "second"): "it returns nothing",
    }


def test_af205_accepts_one_that_is_inherited_and_is_told_of_where_it_stands() -> None:
    class Base(Saga, waive={"AF202": "no"}):
        @step(readonly=True, waive={"AF203": "no"})
        async def look(self) -> None: ...

    class Sub(Base): ...

    assert len(Base.graph.advice) == 2
    assert Sub.graph.advice == ()


# --- what cannot be waived -------------------------------------------------------------------------------------------

CAN_BE = "What can be waived: AF201, AF202, AF203, AF204, AF206."


def waives(waive: Any) -> Any:
    class Look(Saga):
        @step(readonly=True, waive=waive)
        async def look(self) -> None: ...


def waives_above(waive: Any) -> Any:
    class Look(Saga, waive=waive):
        @step(readonly=True)
        async def look(self) -> None: ...


@pytest.mark.parametrize(
    ("waive", "text"),
    [
        (
            {"AF104": "it is fine"},
            f"a waiver for 'AF104', which is no advice: what breaks a rule cannot work. Mend it. {CAN_BE}",
        ),
        ({"AF210": "it is fine"}, f"a waiver for 'AF210', and there is no such advice. {CAN_BE}"),
        ({"AF205": "it is"}, f"a waiver for 'AF205', which tells of a waiver too many: take that one away. {CAN_BE}"),
        ({3: "it is fine"}, f"a waiver for 3, and there is no such advice. {CAN_BE}"),
        ({"AF203": ""}, "a waiver for AF203 with the reason ''. Expected a text: say why it does not hold here."),
        (
            {"AF203": " \n"},
            "a waiver for AF203 with the reason ' \\n'. Expected a text: say why it does not hold here.",
        ),
        ({"AF203": None}, "a waiver for AF203 with the reason None. Expected a text: say why it does not hold here."),
        (
            ["AF203"],
            'waive=[\'AF203\']. Expected reasons by code, such as waive={"AF201": "the gateway refunds by key"}.',
        ),
        ("AF203", 'waive=\'AF203\'. Expected reasons by code, such as waive={"AF201": "the gateway refunds by key"}.'),
    ],
)
def test_af109_a_waiver_that_makes_no_sense(waive: Any, text: str) -> None:
    assert refused(lambda: waives(waive), "AF109") == f"'look' has {text}"
    assert refused(lambda: waives_above(waive), "AF109") == f"It has {text}"


def test_af109_a_waiver_on_a_compensation_and_on_a_class_of_steps() -> None:
    def both() -> None:
        class Book(Saga):
            @step
            async def book(self) -> None: ...

            @compensates("book", waive={"AF21": "x"})
            async def undo(self) -> None: ...

    def of_steps() -> None:
        class Hold(SagaStep, waive={"AF2O1": "x"}):
            async def execute(self) -> None: ...

    assert refused(both, "AF109").startswith("'undo' has a waiver for 'AF21', and there is no such advice.")
    assert refused(of_steps, "AF109").startswith("It has a waiver for 'AF2O1', and there is no such advice.")


def test_a_rule_is_told_whatever_is_waived() -> None:
    def stranded() -> None:
        class Stranded(Saga):
            @step(waive={"AF104": "it is only a mail"})
            async def mail(self) -> None: ...

            @step
            async def pay(self) -> None: ...

    assert [rule for rule, _ in problems(stranded)] == ["AF104", "AF109"]


def test_a_base_is_told_of_what_makes_no_sense_at_once() -> None:
    def base() -> None:
        class Base(Saga, abstract=True, waive={"AF300": "x"}): ...

    assert "'AF300'" in refused(base, "AF109")
