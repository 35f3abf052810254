"""AF101: `@compensates` names a step that does not exist."""

from __future__ import annotations

import pytest

from allframe import DefinitionError, Saga, Unknown, compensates, step
from tests.saga.refusal import refused


def test_af101_a_compensation_names_a_step_that_does_not_exist() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debt")
            async def refund(self) -> None: ...

    assert refused(declare, "AF101") == (
        "'refund' compensates 'debt', but there is no such step. The steps are: debit. Did you mean 'debit'?"
    )


def test_af101_a_step_is_compensated_by_its_name_in_the_class_and_not_by_the_stored_one() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(name="debit-money")
            async def debit(self) -> int:
                return 1

            @compensates("debit-money")
            async def refund(self) -> None: ...

    assert "there is no such step. The steps are: debit." in refused(declare, "AF101")


def test_af101_a_compensation_of_a_compensation_does_not_exist() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

            @compensates("refund")
            async def undo_refund(self) -> None: ...

    assert "'undo_refund' compensates 'refund', but there is no such step" in refused(declare, "AF101")


def test_af101_compensates_without_the_name_of_a_step_is_never_lost() -> None:
    """Were it ignored, the last step would silently become the point of no return."""

    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates  # type: ignore[arg-type]
            async def refund(self, debit: int | Unknown) -> None: ...  # type: ignore[misc]

    with pytest.raises((DefinitionError, TypeError), match="compensates"):
        declare()


def test_af101_accepts_a_compensation_above_its_step() -> None:
    class Good(Saga):
        @compensates("debit")
        async def refund(self, debit: int | Unknown) -> None: ...

        @step
        async def debit(self) -> int:
            return 1

    assert Good.graph.plan.nodes[0].compensated


def test_af101_accepts_the_name_in_the_class_of_a_step_that_is_stored_under_another() -> None:
    class Good(Saga):
        @step(name="debit-money")
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

    assert Good.graph.plan.nodes[0].compensated


def test_af101_accepts_a_compensation_of_an_inherited_step() -> None:
    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> int:
            return 1

    class Good(Base):
        @compensates("debit")
        async def refund(self) -> None: ...

    assert Good.graph.plan.nodes[0].compensated


def test_af101_accepts_a_base_that_leaves_the_step_to_its_children() -> None:
    class Base(Saga, abstract=True):
        @compensates("debit")
        async def refund(self) -> None: ...

    class Good(Base):
        @step
        async def debit(self) -> int:
            return 1

    assert Good.graph.plan.nodes[0].compensated


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("debit-money", "'debit-money' is what 'debit' is stored as: write 'debit'."),
        ("refund", "'refund' is a compensation."),
        ("account", "'account' is a field."),
        ("helper", "'helper' is not marked: write @step above it."),
        ("Debit", "Did you mean 'debit'?"),
        (" debit ", "Did you mean 'debit'?"),
    ],
)
def test_af101_says_what_has_the_name(name: str, said: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            account: str

            async def helper(self) -> None: ...

            @step(name="debit-money")
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

            @compensates(name)
            async def undo(self) -> None: ...

    assert refused(declare, "AF101") == (
        f"'undo' compensates {name!r}, but there is no such step. The steps are: debit. {said}"
    )
