"""AF104: an effect that nothing can undo while something can still fail, and what to do about it.

What helps depends on what comes after: `left_behind` chooses. A saga that is declared and one that is built say it alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from allframe.errors import Problem
from allframe.saga.definition import Declared, Definition, Nameless
from allframe.saga.marks import StepMark
from allframe.saga.wording import some

__all__ = ["Follower", "every_effect_can_be_undone", "left_behind"]


@dataclass(frozen=True, slots=True)
class Follower:
    """A step, as one that can fail once another has taken effect."""

    name: str
    readonly: bool
    compensated: bool
    retried: bool
    #: The names of its parameters, some of them those of steps whose output it needs.
    takes: frozenset[str] = frozenset()


def left_behind(
    name: str, after: Sequence[Follower], beside: Sequence[str], remedy: str, *, undone: Sequence[str], has_pivot: bool
) -> str:
    """That the effect of ``name`` would stay, and what to do.

    Args:
        after: The steps after it. Those ``beside`` it are only named.
        remedy: How a compensation is written, and a step marked: ``Write @compensates("debit"), or mark it``.
        undone: The steps before it that have a compensation.
        has_pivot: Whether the saga has a step with ``pivot=True``.
    """
    names = [each.name for each in after]
    can_fail = " and ".join(
        f"{some(those)} can fail {where} it" for those, where in ((names, "after"), (beside, "beside")) if those
    )
    text = f"{name!r} has no compensation, and {can_fail}: its effect would be left behind. "
    text += f"{remedy} readonly=True if it has no effect{_go_forward(after, may_be=not (beside or has_pivot))}."
    if undone:
        text += f" If what undoes {some(undone)} undoes this effect as well, an empty compensation says so."
    if not beside and all(each.readonly for each in after):
        what = f"{some(names)} only read{'s' if len(names) == 1 else ''}"
        text += f" {what}: do that in {name!r}{'' if any(name in each.takes for each in after) else ', or before it'}."
    return text


def _go_forward(after: Sequence[Follower], *, may_be: bool) -> str:
    """The offer to make it the pivot; none where that would be against AF112, or only a readonly step could fail."""
    if not may_be or any(each.compensated for each in after) or all(each.readonly for each in after):
        return ""
    once = [each.name for each in after if not each.retried]
    offer = ", or pivot=True if the saga must only go forward after it"
    return f"{offer}, with retry=Retry(...) on {some(once)}" if once else offer


def every_effect_can_be_undone(definition: Definition) -> Iterator[Problem]:
    """AF104, of a saga that is declared."""
    if any(not undo.mark.step or isinstance(undo.mark.step, Nameless) for undo in definition.compensations):
        return  # it says no step's name (AF113), and may be the one that is missing
    if not definition.is_ordered:
        return  # nobody knows what comes after what
    pivot, order = definition.pivot, definition.order
    steps = [_as_follower(definition, step) for step in definition.steps]
    undone = [j for j, step in enumerate(steps) if step.compensated]
    has_pivot = any(step.mark.pivot for step in definition.steps)
    for i, (step, written) in enumerate(zip(steps, definition.steps, strict=True)):
        is_forward = pivot is not None and (i == pivot or order.precedes(pivot, i))
        if step.readonly or step.compensated or is_forward:
            continue
        after = [other for other, before in zip(steps, order.before, strict=True) if before >> i & 1]
        is_alone = len(after) + order.before[i].bit_count() == len(steps) - 1
        text = left_behind(
            step.name,
            after,
            [] if is_alone else [other.name for j, other in enumerate(steps) if order.beside(i, j)],
            f'Write @compensates("{step.name}"), or mark it',
            undone=[steps[j].name for j in undone if order.precedes(j, i)],
            has_pivot=has_pivot,
        )
        yield Problem("AF104", text, written.where, written.attribute)


def _as_follower(definition: Definition, step: Declared[StepMark]) -> Follower:
    return Follower(
        step.attribute,
        readonly=step.mark.readonly,
        compensated=definition.compensation_of(step.attribute) is not None,
        retried=step.mark.retry is not None,
        takes=frozenset(parameter.name for parameter in step.parameters),
    )
