"""AF104: a step that others follow, or run beside, cannot be undone."""

from __future__ import annotations

from allframe import Saga, step
from tests.saga.refusal import refused, rules_of
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
        "forward after it."
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

    assert "'debit' has no compensation, and look can fail after it" in refused(declare, "AF104")


def test_af104_holds_before_a_pivot() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @step(pivot=True)
            async def commit(self) -> int:
                return 1

    assert "'debit' has no compensation, and commit can fail after it" in refused(declare, "AF104")


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
