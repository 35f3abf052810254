"""Every way in which a saga can end, from the semantics alone: design, not engine.

Each step that is begun succeeds, fails without an effect, or ends unknown, which is taken for done; branches end in any
order; anybody may cancel. The first bad end decides: nothing new begins, what runs ends as it likes, then what has an
effect is undone by its compensation. After the pivot there is no way back: what goes wrong there waits for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Outcomes", "Step", "implied_pivot", "simulate"]


@dataclass(frozen=True)
class Step:
    """A step, as far as its ends go."""

    #: The indices of all steps that must have succeeded before it begins.
    before: frozenset[int]
    effect: bool
    undone: bool
    #: Whether its compensation is left to a person where nobody knows whether there is anything to undo.
    asks: bool = False


@dataclass
class Outcomes:
    """What can happen, over all outcomes; steps by their indices."""

    #: Whose effect stands although the saga ends as one that was rolled back.
    stranded: set[int] = field(default_factory=set)
    #: Whose compensation is called.
    undone: set[int] = field(default_factory=set)
    #: Whose compensation is called where nobody has its output.
    undone_blindly: set[int] = field(default_factory=set)
    #: Which are ever begun.
    begun: set[int] = field(default_factory=set)


def implied_pivot(steps: Sequence[Step]) -> int | None:
    """The one step that comes after all others and that nothing undoes."""
    return next(
        (i for i, step in enumerate(steps) if len(step.before) == len(steps) - 1 and step.effect and not step.undone),
        None,
    )


#: How a step stands: not begun, running, succeeded, failed without an effect, unknown.
_IDLE, _RUNS, _DONE, _FAILED, _UNKNOWN = ".", "r", "s", "f", "u"


def simulate(steps: Sequence[Step], pivot: int | None) -> Outcomes:
    """All that can happen to a saga of these steps; ``pivot``: the one that was marked, or the implied one."""
    found = Outcomes()
    seen: set[tuple[str, bool]] = set()
    todo = [(_begin(steps, _IDLE * len(steps)), False)]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            found.begun |= {i for i, how in enumerate(state[0]) if how != _IDLE}
            todo += _next(steps, pivot, *state, found)
    return found


def _begin(steps: Sequence[Step], state: str) -> str:
    """Whatever is ready begins."""
    return "".join(
        _RUNS if how == _IDLE and all(state[other] == _DONE for other in step.before) else how
        for step, how in zip(steps, state, strict=True)
    )


def _next(
    steps: Sequence[Step], pivot: int | None, state: str, turned: bool, found: Outcomes
) -> list[tuple[str, bool]]:
    running = [i for i, how in enumerate(state) if how == _RUNS]
    if not running:
        if turned:
            _roll_back(steps, state, found)
        return []
    follow = []
    for i in running:
        for end in (_DONE, _FAILED, _UNKNOWN):
            after = state[:i] + end + state[i + 1 :]
            if turned:
                follow.append((after, True))
            elif end == _DONE:
                follow.append((_begin(steps, after), False))
            elif not _waits_for_a_person(pivot, state, i, end):
                follow.append((after, True))
    committed = pivot is not None and state[pivot] in (_DONE, _RUNS)
    if not turned and not committed:
        follow.append((state, True))  # somebody cancels it
    return follow


def _waits_for_a_person(pivot: int | None, state: str, step: int, end: str) -> bool:
    return pivot is not None and (state[pivot] == _DONE or (step == pivot and end == _UNKNOWN))


def _roll_back(steps: Sequence[Step], state: str, found: Outcomes) -> None:
    for i, (step, how) in enumerate(zip(steps, state, strict=True)):
        if how not in (_DONE, _UNKNOWN) or not step.effect:
            continue
        if not step.undone:
            found.stranded.add(i)
        elif how == _DONE:
            found.undone.add(i)
        elif not step.asks:
            found.undone.add(i)
            found.undone_blindly.add(i)
