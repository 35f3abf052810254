"""AF117: `@compensates` names a function that has two names in the body."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Saga, compensates, step
from tests.saga.refusal import refused


@step
async def reserve() -> None: ...


@step(timeout=5)
async def charge() -> None: ...


@pytest.mark.parametrize("names", [("first", "second"), ("first", "second", "third")], ids=len)
def test_af117_a_function_of_several_names(names: tuple[str, ...]) -> None:
    def declare() -> None:
        body: dict[str, Any] = dict.fromkeys(names, reserve)
        body["undo"] = compensates(reserve)(_undo)
        type(Saga)("Bad", (Saga,), {"__module__": __name__, "__qualname__": "Bad", **body})

    assert refused(declare, "AF117") == (
        f"'undo' compensates the function 'reserve', which is {len(names)} steps here: {', '.join(names)}. Say which: "
        '@compensates("first").'
    )


def test_af117_a_function_that_gets_a_second_name_below() -> None:
    def declare() -> None:
        class Bad(Saga):
            first = reserve
            undo = compensates(reserve)(_undo)
            second = reserve

    assert "which is 2 steps here: first, second." in refused(declare, "AF117")


def test_af117_accepts_a_function_of_one_name() -> None:
    class Good(Saga):
        hold = reserve
        undo = compensates(reserve)(_undo)
        pay = charge

    assert [node.compensated for node in Good.graph.plan.nodes] == [True, False]


def test_af117_accepts_names_for_a_function_that_has_two() -> None:
    class Good(Saga):
        first = reserve
        second = reserve
        undo_first = compensates("first")(_undo)
        undo_second = compensates("second")(_undo)

    assert [node.compensated for node in Good.graph.plan.nodes] == [True, True]


def test_af117_accepts_functions_that_only_look_alike() -> None:
    class Good(Saga):
        hold = reserve
        pay = charge
        undo_hold = compensates(reserve)(_undo)
        undo_pay = compensates(charge)(_undo)

    assert [node.compensated for node in Good.graph.plan.nodes] == [True, True]


async def _undo(self: Any) -> None: ...
