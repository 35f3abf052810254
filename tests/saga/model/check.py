"""One play, checked: against the reference, and against what always holds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from tests.saga.model.invariants import broken
from tests.saga.model.plain import Plot, Script
from tests.saga.model.reference import Reference
from tests.saga.model.theatre import Played, run
from tests.saga.model.timeline import Ambiguous

__all__ = ["Wrong", "check", "is_clear"]


class Wrong(AssertionError):
    """The engine did not do what the reference does."""


def is_clear(plot: Plot, script: Script) -> bool:
    """Whether the script says what comes first, so far as can be told before it is played."""
    try:
        Reference(plot, script).run()
    except Ambiguous:
        return False
    return True


def check(plot: Plot, script: Script, backend: str, url: str) -> Played:
    """Play it.

    Raises:
        Ambiguous: if it does not say what comes first.
        Wrong: with the play and all that was not as it should have been.
    """
    try:
        played = run(plot, script, backend, url)
    except Exception as error:
        raise Wrong(f"{describe(plot, script)}\n\n{error!r}") from error
    reference = Reference(plot, script, played.told)
    reference.run()
    wrong = [
        *broken(plot, played),
        *_differences("records", played.told, reference.told),
        *_differences("attempts", *_lines(played.calls, reference.calls)),
        *_differences("answers", played.replies, reference.replies),
        *_differences("status", [played.status], [reference.status]),
    ]
    if wrong:
        raise Wrong("\n".join([describe(plot, script), "", *wrong]))
    return played


def describe(plot: Plot, script: Script) -> str:
    """A play as it can be written into a test."""
    steps = "".join(f"\n        {name!r}: {step!r}," for name, step in plot.steps.items())
    timeout = f", timeout={plot.timeout}" if plot.timeout else ""
    return f"plot = Plot({{{steps}\n    }}{timeout})\nscript = {script!r}"


Calls: TypeAlias = Mapping[str, Sequence[tuple[float, int]]]


def _lines(found: Calls, expected: Calls) -> tuple[list[str], list[str]]:
    """Both a line an attempt. Times that are nearly as expected, for clocks count microseconds, read as expected."""
    near = {
        part: [
            (next((then for then, _ in expected.get(part, ()) if abs(then - when) < 0.01), when), number)
            for when, number in calls
        ]
        for part, calls in found.items()
    }
    texts = [
        [f"{part}: {number} at {when:.3f}" for part in sorted(calls) for when, number in calls[part]]
        for calls in (near, expected)
    ]
    return texts[0], texts[1]


def _differences(what: str, found: list[str], expected: list[str]) -> list[str]:
    if found == expected:
        return []
    return [f"{what} (- was to be, + is):", *(line for line in difflib.ndiff(expected, found) if line[0] != "?")]
