"""AF108: `after=` names an unknown step, or closes a cycle."""

from __future__ import annotations

from typing import Any

import pytest

from tests.saga.refusal import refused, rules_of
from tests.saga.shapes import DIAMOND, shaped


def test_af108_after_names_no_step() -> None:
    assert refused(lambda: shaped({"book": (), "pay": ("bok",)}), "AF108") == (
        "'pay' runs after 'bok', but there is no such step. Expected names of other steps: book; or after=() to begin at "
        "once. Did you mean 'book'?"
    )


def test_af108_after_is_no_name() -> None:
    text = refused(lambda: shaped({"book": (), "pay": 3}), "AF108")  # type: ignore[dict-item]
    assert text.startswith("'pay' runs after 3, but there is no such step.")


def test_af108_after_is_a_function() -> None:
    async def book(self: Any) -> None: ...

    text = refused(lambda: shaped({"book": (), "pay": (book,)}), "AF108")  # type: ignore[dict-item]
    assert text.startswith("'pay' runs after the function 'book', but there is no such step.")
    assert text.endswith('A step is named by a text: write after="book".')


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


def test_af108_a_long_circle_is_told_in_short() -> None:
    names = [f"s{i}" for i in range(300)]
    text = refused(lambda: shaped({name: (names[i - 1],) for i, name in enumerate(names)}), "AF108")

    assert text.startswith("These steps wait for each other: 's0' after 's299', 's299' after 's298', ")
    assert text.endswith("'s292' after 's291', and 290 more, 's1' after 's0'. Change an after=, or move a step.")


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("take-it", "'take-it' is what 'pay' is stored as: write 'pay'."),
        ("undo_pay", "'undo_pay' is a compensation."),
        ("copy", ""),
        (None, "A step is named by a text."),
        (b"pay", "A step is named by a text."),
        (3.5, "A step is named by a text."),
    ],
)
def test_af108_says_what_has_the_name(name: Any, said: str) -> None:
    shape = {"pay": (), "mail": (name,)}
    text = refused(lambda: shaped(shape, options={"pay": {"name": "take-it"}}), "AF108")

    assert text.startswith(f"'mail' runs after {name!r}, but there is no such step.")
    assert text.endswith(f"or after=() to begin at once. {said}".rstrip())


def test_af108_a_name_that_is_not_there_is_not_told_twice() -> None:
    """Nobody knows what comes after what, so nothing is said of what can be undone."""
    shape = {"book": (), "pay": ("bok",), "mail": None}

    refused(lambda: shaped(shape, irreversible=("pay", "mail"), options={"pay": {"pivot": True}}), "AF108")
