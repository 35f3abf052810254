"""AF112: the pivot is not the one point of no return."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Retry, Saga, compensates, step
from tests.saga.refusal import refused
from tests.saga.shapes import shaped

AGAIN = {"retry": Retry()}


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


def test_af112_accepts_steps_after_the_pivot_with_retries_and_no_compensation() -> None:
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


def test_af112_accepts_branches_after_the_pivot() -> None:
    shape = {"a": (), "pay": ("a",), "mail": ("pay",), "ship": ("pay",)}
    shaped(shape, irreversible=("pay", "mail", "ship"), options={"pay": {"pivot": True}, "mail": AGAIN, "ship": AGAIN})


@pytest.mark.parametrize(
    ("shape", "irreversible", "options"),
    [
        ({"book": (), "pay": None}, ("pay",), {}),
        ({"book": (), "pay": None}, ("pay",), {"pay": {"pivot": True}}),
        ({"book": (), "look": (), "pay": None}, ("look", "pay"), {"look": {"readonly": True}, "pay": {"pivot": True}}),
        ({"pay": (), "look": None}, ("pay", "look"), {"pay": {"pivot": True}, "look": {"readonly": True, **AGAIN}}),
    ],
)
def test_af112_accepts_a_point_of_no_return(shape: Any, irreversible: tuple[str, ...], options: Any) -> None:
    plan = shaped(shape, irreversible=irreversible, options=options).graph.plan

    assert plan.nodes[plan.pivot].name == "pay"
