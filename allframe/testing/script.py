"""`Script`: which attempt of which step ends how, looked up by the names that a test wrote."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from allframe.saga.graph import SagaGraph
from allframe.testing.outcomes import Crash, Late, LostOutput, Ok, Outcomes, Staged, Timeout, as_staged

__all__ = ["Part", "Script"]

#: A step by its stored name, and whether its compensation is meant.
Part: TypeAlias = tuple[str, bool]


class Script:
    """How the attempts of one saga end.

    Raises:
        ValueError: for a name that is none of the saga's, and for an ending that this part of it cannot have.
    """

    def __init__(self, graph: SagaGraph, outcomes: Outcomes) -> None:
        self._graph = graph
        self._names = _names(graph)
        self._endings = {self._part(name): _endings(given) for name, given in outcomes.items()}
        for name in outcomes:
            self._check(name)

    def ending(self, part: Part, attempt: int) -> Staged:
        """How the attempt with this number, from 1, ends."""
        first, rest = self._endings.get(part, ((), Ok()))
        return first[attempt - 1] if attempt <= len(first) else rest

    def _part(self, name: str) -> Part:
        part = self._names.get(name)
        if part is not None:
            return part
        near = get_close_matches(name, self._names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        steps = ", ".join(step.attribute for step in self._graph.steps)
        undo = ", ".join(step.compensation.attribute for step in self._graph.steps if step.compensation) or "none"
        raise ValueError(
            f"outcomes= names {name!r}, and {self._graph.saga} has no such step or compensation.{hint} Its steps are: "
            f"{steps}; its compensations: {undo} (each also as 'undo <step>')."
        )

    def _check(self, name: str) -> None:
        stored, undo = part = self._names[name]
        step = self._graph.steps[self._graph.plan.index[stored]]
        timeout = step.compensation.timeout if undo and step.compensation else step.timeout
        first, rest = self._endings[part]
        for staged in (*first, rest):
            if isinstance(staged, Timeout | Late) and timeout is None:
                raise ValueError(
                    f"outcomes= says {staged} of {name!r}, which has no timeout and waits for ever. Declare one, or use "
                    "NoAnswer: the step may have taken effect, and does not know."
                )
            if isinstance(staged, LostOutput) and undo:
                raise ValueError(
                    f"outcomes= says {staged} of the compensation {name!r}. What a compensation returns is not kept, so it "
                    "cannot be lost."
                )


def _names(graph: SagaGraph) -> dict[str, Part]:
    """Every name that a test may use. ``"undo <step>"`` is there for compensations that share a method's name."""
    names: dict[str, Part] = {}
    undos = [step.compensation.attribute for step in graph.steps if step.compensation]
    for step in graph.steps:
        if step.compensation is not None:
            names[f"undo {step.attribute}"] = step.name, True
            if undos.count(step.compensation.attribute) == 1:
                names[step.compensation.attribute] = step.name, True
    return names | {step.attribute: (step.name, False) for step in graph.steps}


def _endings(given: Any) -> tuple[Sequence[Staged], Staged]:
    """The endings of the first attempts, and of all that follow."""
    if isinstance(given, list | tuple):
        return [as_staged(each) for each in given], Ok()
    staged = as_staged(given)
    return ([staged], Ok()) if isinstance(staged, Crash) else ((), staged)
