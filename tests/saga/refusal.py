"""What a definition that is refused says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from allframe import DefinitionError

__all__ = ["line_of", "problems", "refused", "rules_of"]


def problems(declare: Callable[[], Any]) -> list[tuple[str, str]]:
    """The rules that ``declare`` breaks, with the texts, in the order in which they are told."""
    with pytest.raises(DefinitionError) as refusal:
        declare()
    return [(problem.rule, problem.text) for problem in refusal.value.problems]


def refused(declare: Callable[[], Any], rule: str) -> str:
    """The text of the one problem that ``declare`` has, which is against ``rule``."""
    found = problems(declare)
    assert [name for name, _ in found] == [rule], found
    return found[0][1]


def rules_of(declare: Callable[[], Any]) -> list[str]:
    """The rules that ``declare`` breaks, in the order in which they are told; none where it is accepted."""
    try:
        declare()
    except DefinitionError as error:
        return [problem.rule for problem in error.problems]
    return []


def line_of(function: Callable[..., Any]) -> int:
    """Where ``function`` is written, its decorators included."""
    return int(inspect.unwrap(function).__code__.co_firstlineno)
