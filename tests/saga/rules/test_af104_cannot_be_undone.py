"""AF104: a step that others follow, or run beside, cannot be undone."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Retry, Saga, step
from tests.saga.refusal import problems, refused, rules_of
from tests.saga.shapes import shaped


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
        "forward after it, with retry=Retry(...) on credit."
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

    assert refused(declare, "AF104") == (
        "'debit' has no compensation, and look can fail after it: its effect would be left behind. Write "
        "@compensates(\"debit\"), or mark it readonly=True if it has no effect. look only reads: do that in 'debit', or "
        "before it."
    )


def test_af104_holds_before_a_pivot() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step(pivot=True)
            async def commit(self) -> int:
                return 1

    assert refused(declare, "AF104") == (
        "'debit' has no compensation, and commit can fail after it: its effect would be left behind. Write "
        '@compensates("debit"), or mark it readonly=True if it has no effect.'
    )


def test_af104_what_only_reads_its_output_can_be_done_in_it() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step(readonly=True)
            async def look(self) -> int:
                return 1

            @step(readonly=True)
            async def summary(self, debit: int) -> str:
                return f"{debit} EUR"

    assert refused(declare, "AF104").endswith(
        "or mark it readonly=True if it has no effect. look, summary only read: do that in 'debit'."
    )


@pytest.mark.parametrize(
    ("options", "offer"),
    [
        ({}, ", with retry=Retry(...) on b, c, d and 2 more."),
        ({"b": {"retry": Retry()}}, ", with retry=Retry(...) on c, d, e and 1 more."),
        ({name: {"retry": Retry()} for name in "bcdef"}, "."),
    ],
)
def test_af104_a_pivot_is_offered_with_what_it_demands(options: dict[str, Any], offer: str) -> None:
    def declare() -> None:
        shaped(dict.fromkeys("abcdef"), irreversible=tuple("abcdef"), options=options)

    (rule, text) = problems(declare)[0]

    assert rule == "AF104"
    assert text == (
        "'a' has no compensation, and b, c, d and 2 more can fail after it: its effect would be left behind. Write "
        '@compensates("a"), or mark it readonly=True if it has no effect, or pivot=True if the saga must only go forward '
        f"after it{offer}"
    )
    if offer == ".":
        shaped(dict.fromkeys("abcdef"), irreversible=tuple("abcdef"), options={**options, "a": {"pivot": True}})


@pytest.mark.parametrize(
    ("after", "irreversible", "options"),
    [
        ({"a": None, "b": None, "c": None}, ("a", "c"), {}),  # a compensation after it
        ({"a": None, "b": None, "c": None}, ("a", "b", "c"), {"c": {"pivot": True}}),  # there is one
        ({"a": (), "b": (), "c": ("a",)}, ("a", "c"), {}),  # something beside it
    ],
)
def test_af104_no_pivot_is_offered_that_would_be_refused(
    after: dict[str, Any], irreversible: tuple[str, ...], options: dict[str, Any]
) -> None:
    first = problems(lambda: shaped(after, irreversible=irreversible, options=options))[0]
    marked = {**options, "a": {"pivot": True}}

    assert first[0] == "AF104"
    assert "pivot" not in first[1]
    assert "AF112" in rules_of(lambda: shaped(after, irreversible=irreversible, options=marked))


def test_af104_another_compensation_may_undo_it_as_well() -> None:
    text = refused(lambda: shaped({"a": None, "b": None, "c": None}, irreversible=("b",)), "AF104")

    assert text == (
        "'b' has no compensation, and c can fail after it: its effect would be left behind. Write @compensates(\"b\"), or "
        "mark it readonly=True if it has no effect. If what undoes a undoes this effect as well, an empty compensation "
        "says so."
    )


def test_af104_what_runs_beside_a_step_can_fail_too() -> None:
    text = refused(lambda: shaped({"a": (), "b": (), "c": ("a",)}, irreversible=("a",)), "AF104")
    assert text.startswith(
        "'a' has no compensation, and c can fail after it and b can fail beside it: its effect would"
    )


def test_af104_of_two_that_end_side_by_side_neither_is_the_pivot() -> None:
    assert rules_of(lambda: shaped({"a": (), "b": ()}, irreversible=("a", "b"))) == ["AF104", "AF104"]


def test_af104_accepts_the_last_step_and_readonly_ones_without_a_compensation() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

        @step
        async def send(self) -> int:
            return 1

    assert Good.graph.plan.pivot == 1


def test_af104_accepts_a_saga_of_readonly_steps_which_has_no_pivot() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

    assert Good.graph.plan.pivot is None


def test_af104_accepts_the_one_step_that_comes_after_all_others() -> None:
    shaped({"a": (), "b": (), "pay": None}, irreversible=("pay",))


def test_af104_accepts_a_readonly_step_anywhere() -> None:
    shaped({"a": (), "look": ()}, irreversible=("look",), options={"look": {"readonly": True}})
