"""AF114: a field and a step share a name, or a readonly step is compensated."""

from __future__ import annotations

import linecache

import pytest
from pydantic import PrivateAttr

from allframe import DefinitionError, Saga, Unknown, compensates, step
from tests.saga.refusal import refused


@pytest.mark.parametrize("order", ["field first", "step first"])
def test_af114_a_field_and_a_step_share_a_name(order: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            if order == "field first":
                only: int

            @step(readonly=True)  # type: ignore[no-redef]
            async def only(self) -> int:
                return 1

            if order == "step first":
                only: int  # type: ignore[no-redef]

    assert refused(declare, "AF114") == "'only' is a field and a step, and Python keeps only one of them. Rename one."


def test_af114_a_field_with_a_default_and_a_compensation_share_a_name() -> None:
    def declare() -> None:
        class Bad(Saga):
            undo: int = 0

            @step
            async def only(self) -> int:
                return 1

            @compensates("only")  # type: ignore[no-redef]
            async def undo(self) -> None: ...  # noqa: F811

    with pytest.raises(DefinitionError) as refusal:
        declare()
    assert "'undo' is a field and a compensation, and Python keeps only one of them. Rename one." in str(refusal.value)


def test_af114_a_field_that_is_a_step_has_no_other_problem_that_only_follows() -> None:
    """It keeps its place in the order, and the function is not taken for a default of the field."""

    def declare() -> None:
        class Bad(Saga):
            reserve: str

            @step  # type: ignore[no-redef]
            async def reserve(self) -> int:
                return 1

            @compensates("reserve")
            async def release(self, reserve: int | Unknown) -> None: ...

            @step
            async def charge(self, reserve: int) -> int:
                return reserve

    assert refused(declare, "AF114") == (
        "'reserve' is a field and a step, and Python keeps only one of them. Rename one."
    )


def test_af114_a_field_that_is_a_compensation_has_no_other_problem_that_only_follows() -> None:
    def declare() -> None:
        class Bad(Saga):
            amount: int

            @step
            async def reserve(self) -> int:
                return 1

            @compensates("reserve")  # type: ignore[no-redef]
            async def amount(self, reserve: int | Unknown) -> None: ...

            @step
            async def charge(self, reserve: int) -> int:
                return reserve

    assert refused(declare, "AF114") == (
        "'amount' is a field and a compensation, and Python keeps only one of them. Rename one."
    )


@pytest.mark.parametrize("name", ["debit", "refund"])
def test_af114_a_field_in_the_place_of_an_inherited_step_or_compensation(name: str) -> None:
    """pydantic would warn that it shadows an attribute, and the tests make warnings errors: this comes first."""

    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self, debit: int | Unknown) -> None: ...

    def declare() -> None:
        type(Base)("Bad", (Base,), {"__annotations__": {name: int}, "__module__": __name__})

    assert refused(declare, "AF114") == (
        f"{name!r} is a field, and an inherited step or compensation, and Python keeps only one of them. Rename one."
    )


def test_af114_a_readonly_step_with_a_compensation() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def look(self) -> int:
                return 1

            @compensates("look")
            async def undo(self) -> None: ...

    assert refused(declare, "AF114") == (
        "'undo' compensates 'look', which is readonly and has nothing to undo. Remove the compensation, or readonly=True "
        "if the step has an effect."
    )


def test_af114_tells_of_the_one_that_the_class_has_of_its_own() -> None:
    class Right(Saga):
        @step
        async def look(self) -> None: ...

        @compensates("look")
        async def undo(self) -> None: ...

        @step(readonly=True)
        async def post(self) -> None: ...

    with pytest.raises(DefinitionError) as refusal:

        class Bad(Right):
            @step(readonly=True)
            async def look(self) -> None: ...

    (problem,) = refusal.value.problems
    assert (problem.rule, problem.member) == ("AF114", "look")
    assert problem.line is not None
    assert linecache.getline(problem.path, problem.line).strip() == "@step(readonly=True)"
    assert linecache.getline(problem.path, problem.line - 1).strip() == "class Bad(Right):"


def test_af114_accepts_a_field_with_the_stored_name_of_a_step() -> None:
    class Good(Saga):
        money: int

        @step(name="money")
        async def debit(self) -> None: ...

    assert Good(money=3).money == 3


def test_af114_accepts_a_readonly_step_beside_one_that_is_compensated() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def quote(self) -> int:
            return 1

        @step
        async def debit(self) -> None: ...

        @compensates("debit")
        async def forget(self, quote: int) -> None: ...

    assert [node.compensated for node in Good.graph.plan.nodes] == [False, True]


def test_af114_accepts_a_private_attribute_that_is_called_like_a_step_with_an_underscore() -> None:
    class Good(Saga):
        _debit: int = PrivateAttr(default=3)

        @step
        async def debit(self) -> None: ...

    assert Good()._debit == 3
