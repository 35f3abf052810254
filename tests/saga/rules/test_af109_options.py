"""AF109: a timeout, a retry or an option makes no sense."""

from __future__ import annotations

import math
from datetime import timedelta
from types import new_class
from typing import Any

import pytest

from allframe import DefinitionError, Retry, Saga, SagaStep, compensates, step
from allframe.refusing import noting_refusals
from tests.saga.refusal import refused


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
def test_af109_accepts_a_timeout_that_makes_sense(timeout: Any) -> None:
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


@pytest.mark.parametrize("name", ["", "a/b", "$a", "a\nb", "x" * 101, 5, ["a"]])
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


@pytest.mark.parametrize("flag", ["readonly", "pivot", "repeatable", "idempotent"])
@pytest.mark.parametrize("given", ["no", 0, None, ["x"]], ids=repr)
def test_af109_a_flag_that_is_neither_true_nor_false(flag: str, given: Any) -> None:
    """`readonly="no"` would be taken for a yes."""

    def declare() -> None:
        class Bad(Saga):
            @step(**{flag: given})
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF109") == f"'only' has {flag}={given!r}. Expected True or False."


@pytest.mark.parametrize("given", ["no", 1, None], ids=repr)
def test_af109_abstract_that_is_neither_true_nor_false(given: Any) -> None:
    def declare() -> None:
        class Bad(Saga, abstract=given):
            @step
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF109") == f"The saga has abstract={given!r}. Expected True or False."


@pytest.mark.parametrize(
    ("keyword", "near"),
    [("timout", ("timeout",)), ("kown_on", ("known_on", "unknown_on")), ("retries", ())],
)
def test_af109_a_class_keyword_that_no_saga_takes(keyword: str, near: tuple[str, ...]) -> None:
    def fill(body: dict[str, Any]) -> None:
        async def go(self: Any) -> None: ...

        body.update({"go": step(go), "__module__": __name__})

    with pytest.raises(DefinitionError) as refusal:
        new_class("Bad", (Saga,), {keyword: 3}, fill)

    (problem,) = refusal.value.problems
    assert (problem.rule, problem.near, problem.path) == ("AF109", near, __file__)
    assert problem.text == (
        f"It has the class keyword {keyword!r}, which no saga takes. It takes: name, version, timeout, unknown_on, known_on, "
        f"typecheck, waive, abstract.{f' Did you mean {near[0]!r}?' if near else ''}"
    )


def test_af109_accepts_keywords_of_pydantic_and_of_a_base() -> None:
    class Tagged:
        def __init_subclass__(cls, *, tag: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.tag = tag  # type: ignore[attr-defined]

    class Good(Saga, Tagged, tag="x", title="A good one"):
        @step
        async def only(self) -> None: ...

    assert (Good.tag, Good.model_config["title"]) == ("x", "A good one")  # type: ignore[attr-defined]


NOT_FROZEN = " Its fields are stored when the saga begins, and must not change while it runs. Take that away."
OPEN = (
    " What is given besides its fields is checked by nothing, and need not come back as it was. Declare a field for it, such "
    "as `notes: dict[str, str]`, and take that away."
)


@pytest.mark.parametrize(
    ("setting", "why"), [({"frozen": False}, NOT_FROZEN), ({"frozen": None}, NOT_FROZEN), ({"extra": "allow"}, OPEN)]
)
@pytest.mark.parametrize("kind", [Saga, SagaStep])
@pytest.mark.parametrize("is_keyword", [True, False])
def test_af109_a_configuration_with_which_fields_could_change(
    setting: Any, why: str, kind: Any, is_keyword: bool
) -> None:
    def declare() -> Any:
        async def execute(self: Any) -> None: ...

        made = new_class(
            "Bad",
            (kind,),
            setting if is_keyword else {},
            lambda body: body.update(
                {
                    "execute": execute if kind is SagaStep else step(execute),
                    "model_config": {} if is_keyword else setting,
                }
            ),
        )
        with pytest.raises(DefinitionError):
            new_class("Below", (made,))
        return made

    ((name, value),) = setting.items()
    assert refused(declare, "AF109") == f"It is configured with {name}={value!r}.{why}"


@pytest.mark.parametrize(
    "setting",
    [{"extra": "ignore"}, {"extra": "forbid"}, {"frozen": True}, {"title": "x"}, {"str_strip_whitespace": True}],
)
def test_af109_accepts_any_other_configuration(setting: Any) -> None:
    class Good(Saga):
        model_config = setting

        @step
        async def only(self) -> None: ...

    assert Good.graph.steps


def test_af109_a_configuration_is_told_of_the_class_that_has_it() -> None:
    with noting_refusals() as noted:

        class First(Saga):
            model_config = {"extra": "allow"}

            @step
            async def only(self) -> None: ...

        class Second(First):
            @step
            async def more(self) -> None: ...

    assert [error.what.rpartition(".")[2] for error in noted if error.problems[0].rule == "AF109"] == ["First"]


@pytest.mark.parametrize("errors", [OSError, (ValueError, OSError)])
def test_af109_one_error_cannot_be_unknown_and_known(errors: Any) -> None:
    said = (
        "OSError in unknown_on and in known_on. It says that nobody knows whether the step took effect, or that it certainly "
        "did not: take it out of one of them."
    )

    def declare() -> None:
        class Bad(Saga):
            @step(unknown_on=OSError, known_on=errors)
            async def only(self) -> None: ...

    def declare_all() -> None:
        class Bad(Saga, unknown_on=errors, known_on=OSError):
            @step
            async def only(self) -> None: ...

    def declare_step() -> None:
        class Bad(SagaStep, unknown_on=errors, known_on=OSError):
            async def execute(self) -> None: ...

    assert refused(declare, "AF109") == f"'only' has {said}"
    assert refused(declare_all, "AF109") == f"The saga has {said}"
    assert refused(declare_step, "AF109") == f"'execute' has {said}"


def test_af109_accepts_an_error_below_another_and_one_that_a_step_knows_better() -> None:
    class Good(Saga, unknown_on=OSError):
        @step(known_on=OSError)
        async def first(self) -> None: ...

        @compensates("first")
        async def undo(self) -> None: ...

        @step(unknown_on=OSError, known_on=(FileNotFoundError,))
        async def second(self) -> None: ...

    assert len(Good.graph.steps) == 2
