"""All problems of a class are told at once, each with its rule, its place and its remedy."""

from __future__ import annotations

import pytest

from allframe import DefinitionError, Saga, compensates, step
from allframe.saga.rules import RULES
from tests.saga.refusal import line_of


def test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Broken(Saga, version=0):
            @step
            async def first(self, nobody) -> int:  # type: ignore[no-untyped-def]
                return 1

            @step(timeout=0)
            async def second(self, first: str) -> int:
                return 1

            @compensates("third")
            async def undo(self) -> None: ...

    error = refusal.value
    start = line_of(test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy)
    places = {problem.rule: problem.where for problem in error.problems}
    assert sorted(places) == ["AF101", "AF104", "AF105", "AF107", "AF109", "AF119"]
    assert places["AF104"] == places["AF105"] == f"{__file__}:{start + 4}"
    assert places["AF109"] == places["AF107"] == f"{__file__}:{start + 8}"
    assert places["AF101"] == f"{__file__}:{start + 12}"
    assert str(error).startswith(
        "Saga test_every_problem_of_a_class_is_told_at_once_with_its_place_and_remedy.<locals>.Broken has 6 problems:\n"
    )
    for problem in error.problems:
        assert f"  {problem.rule} {problem.where}\n    {problem.text}" in str(error)


def test_each_rule_is_listed_in_one_line() -> None:
    assert list(RULES) == sorted(RULES)
    assert all("\n" not in text and text for text in RULES.values())


def test_a_problem_of_the_class_points_at_the_class() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Empty(Saga):
            pass

    line = line_of(test_a_problem_of_the_class_points_at_the_class) + 3
    assert refusal.value.problems[0].where.startswith(f"{__file__}:{line}")


def test_a_problem_of_a_field_points_at_the_class() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Saga, name="a/b"):
            saga_name: str  # type: ignore[misc]

    line = line_of(test_a_problem_of_a_field_points_at_the_class) + 3
    assert refusal.value.problems[0].where.startswith(f"{__file__}:{line} (")
