"""AF108, and what `after=` changes in AF104, AF106 and AF112."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Retry, Saga, compensates, step
from allframe.saga.ordering import order_of
from tests.saga.refusal import refused, rules_of
from tests.saga.shapes import DIAMOND, shaped

AGAIN = {"retry": Retry()}


# --- AF108 -----------------------------------------------------------------------------------------------------------


def test_af108_after_names_no_step() -> None:
    assert refused(lambda: shaped({"book": (), "pay": ("bok",)}), "AF108") == (
        "'pay' runs after 'bok', but there is no such step. Expected names of other steps: book; or after=() to begin at "
        "once. Did you mean 'book'?"
    )


def test_af108_after_is_no_name() -> None:
    text = refused(lambda: shaped({"book": (), "pay": 3}), "AF108")  # type: ignore[dict-item]
    assert text.startswith("'pay' runs after 3, but there is no such step.")


def test_af108_a_step_names_itself() -> None:
    assert refused(lambda: shaped({"book": ("book",), "pay": ()}), "AF108") == (
        "'book' runs after itself. Name other steps in its after=."
    )


def test_af108_steps_wait_for_each_other() -> None:
    assert refused(lambda: shaped({"a": ("c",), "b": ("a",), "c": ("b",), "d": ()}), "AF108") == (
        "These steps wait for each other: 'a' after 'c', 'c' after 'b', 'b' after 'a'. Change an after=, or move a step."
    )


def test_af108_a_step_without_after_waits_for_all_above_it() -> None:
    assert refused(lambda: shaped({"a": ("b",), "b": None}), "AF108") == (
        "These steps wait for each other: 'a' after 'b', 'b' after 'a' (it has no after=, and stands below it). Change an "
        "after=, or move a step."
    )


@pytest.mark.parametrize(
    "shape",
    [
        DIAMOND,
        {"late": ("early",), "early": ()},
        {"a": (), "b": "a", "c": ["a", "b", "a"]},
        {"a": (), "b": (name for name in ["a"])},
        {"only": ()},
    ],
)
def test_af108_accepts_any_order_without_a_circle(shape: Any) -> None:
    assert len(shaped(shape).graph.steps) == len(shape)


def test_af108_a_circle_hides_no_rule_that_does_not_need_the_order() -> None:
    assert rules_of(lambda: shaped({"a": ("b",), "b": ("a",)}, options={"a": {"timeout": 0}}, irreversible=("a",))) == [
        "AF108",
        "AF109",
    ]


# --- AF104 -----------------------------------------------------------------------------------------------------------


def test_af104_what_runs_beside_a_step_can_fail_too() -> None:
    text = refused(lambda: shaped({"a": (), "b": (), "c": ("a",)}, irreversible=("a",)), "AF104")
    assert text.startswith(
        "'a' has no compensation, and c can fail after it and b can fail beside it: its effect would"
    )


def test_af104_of_two_that_end_side_by_side_neither_is_the_pivot() -> None:
    assert rules_of(lambda: shaped({"a": (), "b": ()}, irreversible=("a", "b"))) == ["AF104", "AF104"]


def test_af104_accepts_the_one_step_that_comes_after_all_others() -> None:
    shaped({"a": (), "b": (), "pay": None}, irreversible=("pay",))


def test_af104_accepts_a_readonly_step_anywhere() -> None:
    shaped({"a": (), "look": ()}, irreversible=("look",), options={"look": {"readonly": True}})


# --- AF112 -----------------------------------------------------------------------------------------------------------


def test_af112_a_step_beside_the_pivot() -> None:
    shape = {"a": (), "pay": ("a",), "mail": ("a",)}
    text = refused(lambda: shaped(shape, irreversible=("pay",), options={"pay": {"pivot": True}}), "AF112")
    assert text == (
        "'mail' runs beside the pivot 'pay': when the pivot succeeds, nobody knows whether 'mail' can still fail. Let one "
        "of them wait for the other by after=."
    )


def test_af112_a_step_after_the_pivot_by_name_has_no_retry() -> None:
    shape = {"mail": ("pay",), "pay": ()}
    text = refused(lambda: shaped(shape, irreversible=("mail", "pay"), options={"pay": {"pivot": True}}), "AF112")
    assert text.startswith("'mail' comes after the pivot 'pay' and has no retry")


def test_af112_accepts_branches_after_the_pivot() -> None:
    shape = {"a": (), "pay": ("a",), "mail": ("pay",), "ship": ("pay",)}
    shaped(shape, irreversible=("pay", "mail", "ship"), options={"pay": {"pivot": True}, "mail": AGAIN, "ship": AGAIN})


# --- AF106 -----------------------------------------------------------------------------------------------------------


def test_af106_the_output_of_a_step_beside_it() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True, after=())
            async def one(self) -> int:
                return 1

            @step(readonly=True, after=())
            async def two(self, one: int) -> int:
                return one

    assert refused(declare, "AF106") == (
        "'two' takes the output of 'one', which runs beside it. Let it wait: name 'one' in its after=, or rename the "
        "parameter."
    )


def test_af106_a_compensation_takes_the_output_of_a_step_beside_its_own() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True, after=())
            async def one(self) -> int:
                return 1

            @step(after=())
            async def two(self) -> int:
                return 2

            @compensates("two")
            async def undo(self, one: int) -> None: ...

    assert refused(declare, "AF106").startswith(
        "'undo' takes the output of 'one', which runs beside 'two', the step that it undoes: by then"
    )


def test_af106_accepts_the_output_of_a_step_that_stands_below_and_runs_before() -> None:
    class Good(Saga):
        @step(readonly=True, after="two")
        async def one(self, two: int) -> int:
            return two

        @step(readonly=True, after=())
        async def two(self) -> int:
            return 2

    assert [node.takes for node in Good.graph.plan.nodes] == [(1,), ()]


# --- the order itself ------------------------------------------------------------------------------------------------


def test_the_order_keeps_only_edges_that_no_others_imply() -> None:
    order = order_of([(), (0,), (0, 1), (2, 0), (1,)])
    assert order.after == ((), (0,), (1,), (2,), (1,))
    assert order.beside(2, 4)
    assert order.precedes(0, 3)
    assert not order.beside(0, 4)


def test_the_order_of_a_class_does_not_depend_on_how_it_is_written() -> None:
    forward = order_of([(), (0,), (0,), (1, 2)])
    backward = order_of([(1, 2), (3,), (3,), ()])
    assert backward.after == ((1, 2), (3,), (3,), ())
    assert [bin(bits).count("1") for bits in forward.before] == [0, 1, 1, 3]
    assert [bin(bits).count("1") for bits in backward.before] == [3, 1, 1, 0]
