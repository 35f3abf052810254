"""AF106: a parameter takes the output of a step that does not run before it."""

from __future__ import annotations

from allframe import Inject, Saga, Unknown, compensates, step
from tests.saga.refusal import refused


class Bank:
    pass


def test_af106_a_step_takes_the_output_of_a_later_one() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def first(self, second: int) -> int:
                return 1

            @step(readonly=True)
            async def second(self) -> int:
                return 1

    assert refused(declare, "AF106") == (
        "'first' takes the output of 'second', which runs after it. Move 'second' above it, or rename the parameter."
    )


def test_af106_a_step_takes_its_own_output() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def first(self, first: int) -> int:
                return 1

    assert refused(declare, "AF106") == "'first' takes its own output. Rename the parameter."


def test_af106_a_compensation_takes_the_output_of_a_later_step() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def first(self) -> int:
                return 1

            @compensates("first")
            async def undo(self, second: int) -> None: ...

            @step(readonly=True)
            async def second(self) -> int:
                return 1

    assert refused(declare, "AF106") == (
        "'undo' takes the output of 'second', which runs after 'first', the step that it undoes: by then 'second' is "
        "undone, or never ran. Take outputs of 'first' or of steps before it."
    )


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


def test_af106_accepts_an_injected_parameter_of_the_name_of_a_later_step() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def first(self, bank: Inject[Bank]) -> int:
            return 1

        @step(readonly=True)
        async def bank(self) -> int:
            return 1

    assert Good.graph.steps[0].parameters[0].wanted is Bank


def test_af106_accepts_the_output_of_a_step_that_stands_below_and_runs_before() -> None:
    class Good(Saga):
        @step(readonly=True, after="two")
        async def one(self, two: int) -> int:
            return two

        @step(readonly=True, after=())
        async def two(self) -> int:
            return 2

    assert [node.takes for node in Good.graph.plan.nodes] == [(1,), ()]


def test_af106_accepts_that_a_compensation_takes_what_came_before_its_step() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def quote(self) -> int:
            return 1

        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self, quote: int, debit: int | Unknown) -> None: ...

    undo = Good.graph.steps[1].compensation
    assert undo is not None
    assert [parameter.step for parameter in undo.parameters] == [0, 1]
