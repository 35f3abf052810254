"""AF116: a compensation demands an output that may not be there."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from typing import Annotated, Any, Optional, TypeVar, Union

import pytest
from typing_extensions import TypeAliasType

from allframe import DefinitionError, Saga, Unknown, compensates, step

T = TypeVar("T")


IntOrUnknown = TypeAliasType("IntOrUnknown", int | Unknown)


def demands(annotation: Any, *, default: bool = False, **options: Any) -> list[str]:
    """The texts of AF116 for a compensation that takes its step's output so."""

    async def undo(self: Any, debit: Any) -> None: ...

    async def undo_by_default(self: Any, debit: Any = None) -> None: ...

    function = undo_by_default if default else undo
    function.__annotations__ = {"return": None} | (
        {} if annotation is inspect.Parameter.empty else {"debit": annotation}
    )

    try:

        class Demanding(Saga):
            @step
            async def debit(self) -> int:
                return 1

            refund = compensates("debit", **options)(function)

        assert Demanding.graph is not None
    except DefinitionError as error:
        return [str(problem.text) if problem.rule == "AF116" else str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (int, "int"),
        ("int", "int"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Annotated[int, "x"], "int"),
        (int | str, "int | str"),
    ],
)
@pytest.mark.parametrize("default", [False, True])
def test_af116_a_compensation_demands_an_output_that_may_not_be_there(
    annotation: Any, shown: str, default: bool
) -> None:
    assert demands(annotation, default=default) == [
        "'refund' demands the output of 'debit', but after a timeout or a crash nobody has it. Write "
        f"`debit: {shown} | Unknown` and undo by ctx.forward_key, or accept that a person must step in with "
        'if_unknown="fail".'
    ]


@pytest.mark.parametrize(
    "annotation",
    [
        int | Unknown,
        Union[int, Unknown],  # noqa: UP007
        Optional[int | Unknown],  # noqa: UP045
        Annotated[int | Unknown, "x"],
        Annotated[int, "x"] | Unknown,
        "int | Unknown",
        Any,
        object,
        T,
        inspect.Parameter.empty,
        IntOrUnknown,
        Hashable,
    ],
    ids=str,
)
def test_af116_accepts_a_compensation_that_takes_an_unknown(annotation: Any) -> None:
    assert demands(annotation) == []


def test_af116_accepts_that_a_person_is_asked_to_step_in() -> None:
    assert demands(int, if_unknown="fail") == []


def test_af116_accepts_outputs_of_earlier_steps_which_are_there() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def look(self) -> int:
            return 1

        @step
        async def debit(self) -> int:
            return 1

        @compensates("debit")
        async def refund(self, look: int, debit: int | Unknown) -> None: ...

    assert Good.graph is not None
