"""AF111: a saga has no steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from allframe import Saga, compensates, step
from tests.saga.refusal import refused, rules_of


def test_af111_no_steps() -> None:
    def declare() -> None:
        class Bad(Saga):
            account: str

            async def looks_like_a_step(self) -> None: ...

    assert refused(declare, "AF111") == (
        "It has no steps, so running it would do nothing. Mark at least one method with @step."
    )


def test_af111_a_compensation_alone_is_no_step() -> None:
    def declare() -> None:
        class Bad(Saga):
            @compensates("debit")
            async def refund(self) -> None: ...

    assert rules_of(declare) == ["AF111", "AF101"]


@pytest.mark.parametrize("use", [lambda saga: saga.graph, lambda saga: saga().graph], ids=["class", "object"])
def test_af111_a_base_cannot_be_run(use: Callable[[Any], Any]) -> None:
    class Base(Saga, abstract=True):
        pass

    assert refused(lambda: use(Base), "AF111") == (
        "Base is abstract=True: it may lack steps, and cannot be run. Subclass it."
    )


def test_af111_accepts_a_base_without_steps() -> None:
    class Base(Saga, abstract=True):
        account: str

    class Good(Base):
        @step
        async def debit(self) -> None: ...

    assert len(Good.graph.steps) == 1


def test_af111_accepts_a_saga_whose_steps_are_all_inherited() -> None:
    class Base(Saga, abstract=True):
        @step
        async def debit(self) -> None: ...

    class Good(Base):
        pass

    assert len(Good.graph.steps) == 1


def test_af111_accepts_a_plain_function_that_was_marked_elsewhere() -> None:
    @step
    async def reserve() -> None: ...

    class Good(Saga):
        hold = reserve

    assert len(Good.graph.steps) == 1
