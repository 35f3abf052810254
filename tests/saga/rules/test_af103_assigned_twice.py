"""AF103: a step or compensation is assigned twice in one body."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import DefinitionError, Saga, compensates, step
from allframe.saga.rules import RULES
from tests.saga.refusal import line_of, problems, refused


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


@pytest.mark.parametrize("name", ["debit", "refund"])
def test_af103_an_override_without_a_mark_is_written_twice(name: str) -> None:
    """It has the mark of what it overrides, so one of the two is lost."""

    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

    async def first(self: Any) -> int:
        return 2

    async def second(self: Any) -> int:
        return 3

    def declare() -> None:
        class Bad(Base):
            if name == "debit":
                debit = first
                debit = second
            else:
                refund = first
                refund = second

    above = line_of(declare) + (3 if name == "debit" else 6)
    assert refused(declare, "AF103") == (
        f"{name!r} is assigned twice, at {__file__}:{above} and here, and Python keeps only the second. Rename one."
    )


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


class Hotel(Saga, abstract=True):
    @step
    async def book(self) -> int:
        return 1

    @compensates("book")
    async def cancel(self) -> None: ...


class Flight(Saga, abstract=True):
    @step
    async def book(self) -> int:
        return 2

    @compensates("book")
    async def cancel(self) -> None: ...


def test_af103_of_two_bases_with_one_name_only_the_first_would_be_run() -> None:
    def declare() -> None:
        class Bad(Hotel, Flight): ...

    assert problems(declare) == [
        (
            "AF103",
            f"{name!r} is inherited twice, from Hotel and from Flight, and Python keeps only the first. Rename one, or write "
            "the one that is meant in Bad.",
        )
        for name in ("book", "cancel")
    ]


def test_af103_a_step_of_one_base_hides_a_compensation_of_another() -> None:
    """Without a word, what the other undoes would never be undone."""

    class Parking(Saga, abstract=True):
        @step
        async def park(self) -> None: ...

        @compensates("park")
        async def book(self) -> None: ...

    def declare() -> None:
        class Bad(Hotel, Parking): ...

    assert refused(declare, "AF103").startswith("'book' is inherited twice, from Hotel and from Parking")


def test_af103_accepts_that_a_class_says_which_of_two_bases_is_meant() -> None:
    class Good(Hotel, Flight):
        book = Flight.book
        cancel = Flight.cancel

    assert [each.attribute for each in Good.graph.steps] == ["book"]


def test_af103_accepts_two_bases_that_override_the_same_step() -> None:
    class Cheap(Hotel, abstract=True):
        @step(timeout=1)
        async def book(self) -> int:
            return 3

    class Quick(Hotel, abstract=True):
        @step(timeout=2)
        async def book(self) -> int:
            return 4

    class Good(Cheap, Quick): ...

    assert [each.timeout for each in Good.graph.steps] == [1]
