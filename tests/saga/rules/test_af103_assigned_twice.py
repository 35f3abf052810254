"""AF103: a step or compensation is assigned twice in one body."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import DefinitionError, Saga, compensates, step
from allframe.saga.rules import RULES
from tests.saga.refusal import line_of


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


def test_af103_accepts_plain_methods_twice_and_steps_in_branches_once() -> None:
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


def test_af103_accepts_a_function_that_is_marked_under_its_own_name() -> None:
    class Good(Saga):
        async def debit(self) -> int:
            return 1

        debit = step(debit)

    assert [each.attribute for each in Good.graph.steps] == ["debit"]


def test_af103_accepts_a_step_that_overrides_the_bases() -> None:
    class Base(Saga, abstract=True):
        @step(timeout=1)
        async def debit(self) -> int:
            return 1

    class Good(Base):
        @step(timeout=2)
        async def debit(self) -> int:
            return 2

    assert [each.timeout for each in Good.graph.steps] == [2]


def test_af103_accepts_one_function_under_two_names() -> None:
    async def act(self: Any) -> None: ...

    class Good(Saga):
        first = step(readonly=True)(act)
        second = step(readonly=True)(act)

    assert [each.attribute for each in Good.graph.steps] == ["first", "second"]
