"""AF109: a timeout, a retry or an option makes no sense."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from allframe import DefinitionError, Retry, Saga, compensates, step
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
