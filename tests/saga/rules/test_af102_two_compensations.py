"""AF102: one step has two compensations."""

from __future__ import annotations

from typing import Any

from allframe import Saga, compensates, step
from tests.saga.refusal import problems, refused


def test_af102_two_compensations_for_one_step() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self) -> None: ...

            @compensates("debit")
            async def refund_again(self) -> None: ...

    assert refused(declare, "AF102") == (
        "'refund' and 'refund_again' both compensate 'debit'. A step is undone once: keep one and let it do all of it."
    )


def test_af102_one_of_the_base_and_one_of_another_name() -> None:
    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

    def declare() -> None:
        class Bad(Base):
            @compensates("debit")
            async def give_back(self) -> None: ...

    assert refused(declare, "AF102").startswith("'refund' and 'give_back' both compensate 'debit'.")


def test_af102_one_by_the_name_and_one_by_the_function() -> None:
    @step
    async def reserve() -> None: ...

    def declare() -> None:
        class Bad(Saga):
            hold = reserve

            @compensates("hold")
            async def release(self) -> None: ...

            @compensates(reserve)
            async def release_again(self) -> None: ...

    assert refused(declare, "AF102").startswith("'release' and 'release_again' both compensate 'hold'.")


def test_af102_each_one_too_many_is_told() -> None:
    async def undo(self: Any) -> None: ...

    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            one = compensates("debit")(undo)
            two = compensates("debit")(undo)
            three = compensates("debit")(undo)

    assert [(rule, text.partition(" both ")[0]) for rule, text in problems(declare)] == [
        ("AF102", "'one' and 'two'"),
        ("AF102", "'one' and 'three'"),
    ]


def test_af102_accepts_one_for_each_step() -> None:
    class Good(Saga):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

        @step
        async def credit(self) -> int:
            return 1

        @compensates("credit")
        async def take_back(self) -> None: ...

    assert [node.compensated for node in Good.graph.plan.nodes] == [True, True]


def test_af102_accepts_one_function_for_two_steps() -> None:
    async def undo(self: Any) -> None: ...

    class Good(Saga):
        @step
        async def debit(self) -> int:
            return 1

        @step
        async def credit(self) -> int:
            return 1

        refund = compensates("debit")(undo)
        take_back = compensates("credit")(undo)

    assert [node.compensated for node in Good.graph.plan.nodes] == [True, True]


def test_af102_accepts_one_that_overrides_the_bases() -> None:
    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self) -> None: ...

    class Good(Base):
        @compensates("debit", timeout=5)
        async def refund(self) -> None: ...

    undo = Good.graph.steps[0].compensation
    assert undo is not None
    assert undo.timeout == 5
