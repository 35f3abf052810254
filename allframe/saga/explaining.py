"""A graph in words: what runs when, what is undone when something fails, how long it may take, what may stay unknown.

What it says of going back is what `allframe.saga.execution` does; a test drives one against the other.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from allframe.saga.shape import Shape, Undoing
from allframe.saga.wording import duration, listed, quoted

if TYPE_CHECKING:
    from allframe.saga.graph import Compensation, Node, SagaGraph, Step

__all__ = ["explain"]

T = TypeVar("T")

WIDTH = 100
#: A way back, or through the saga, is told in full up to so many stations.
STATIONS = 12

_INTRODUCTION = (
    "A step that failed left no effect; one that ends unknown, too late or with its output lost is undone too. One "
    "compensation runs at a time."
)
_SIDE_BY_SIDE = (
    "What runs side by side with the step ends first, and nothing new begins. A name in parentheses is such a step's: it is "
    "undone if it took effect, or may have."
)
_BLOCKED = "nothing is undone, and the saga is blocked, for a person"
_EXHAUSTED = (
    "A compensation that uses up its attempts leaves its step, and what ran before it, in effect: the saga ends failed, "
    "for a person."
)
_UNKNOWN = (
    "Nobody can say whether a step took effect when its time is over, its connection breaks off, or it is cancelled. "
    "After a crash it is run again first, if it is repeatable."
)


def explain(graph: SagaGraph) -> str:
    """The graph in words, in lines of about 100 characters, without a line end at the end."""
    teller = _Teller(graph)
    count = len(graph.steps)
    lines = [f"{quoted(graph.saga)}, version {graph.version}: {count} step{'' if count == 1 else 's'}."]
    for title, part in (("Forward", teller.forward), ("Back", teller.back), ("Unknown", teller.unknown)):
        lines += ["", title]
        for indent, text in part():
            lines += textwrap.wrap(
                text,
                WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines).replace(_SPACE, " ")


#: Stands for a blank where a line must not end.
_SPACE = "\0"
#: A paragraph: how far its lines after the first are indented, and its text.
_Paragraph = tuple[int, str]


class _Teller:
    def __init__(self, graph: SagaGraph) -> None:
        self.steps, self.timeout = graph.steps, graph.timeout
        self.plan = graph.plan
        self.nodes = graph.plan.nodes
        self.shape = Shape(graph.plan)
        self.names = [quoted(node.name).replace(" ", _SPACE) for node in self.nodes]

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self) -> Iterator[_Paragraph]:
        margin = len(f"  {len(self.steps)}. ")
        for number, step in enumerate(self.shape.order, 1):
            parts = "; ".join(self._of_step(step))
            yield margin, f"{number}.".ljust(margin - 2, _SPACE) + f"{self.names[step]}: {parts}."
        yield 2, self._longest_run()
        if self.timeout is not None:
            yield 2, self._own_timeout(self.timeout)

    def _own_timeout(self, timeout: float) -> str:
        pivot = (
            "" if self.plan.pivot is None else f", unless {self.names[self.plan.pivot]} has succeeded, or runs and does"
        )
        return f"{_span(timeout)} after its start what runs is cut, and everything is undone{pivot}."

    def _of_step(self, step: int) -> Iterator[str]:
        after, beside = self.nodes[step].after, self.shape.beside(step)
        yield f"after {self._listed(after)}" if after else "at once"
        if beside:
            yield f"side by side with {self._listed(beside)}"
        if self.nodes[step].readonly:
            yield "readonly"
        if step == self.plan.pivot:
            yield "the pivot"
        elif step in self.plan.forward_only:
            yield "only goes forward"
        yield _time(self.steps[step])
        if undo := self.steps[step].compensation:
            yield f"undone by {quoted(undo.attribute)}, {_time(undo)}"

    def _longest_run(self) -> str:
        times = [_worst(step) for step in self.steps]
        total, way = self.shape.longest(times)
        if unlimited := [step for step in self.shape.order if times[step] == math.inf]:
            return f"The whole run has no time limit, for {self._listed(unlimited)} {_has(unlimited)} none."
        alone = "" if len(way) == len(self.steps) else f", for {_told(way, self.names.__getitem__)}"
        return (
            f"The whole run takes at most {_span(total)}{alone}. Waiting for its turn, waits that an error asks for, and "
            "what a crash costs, are not counted."
        )

    # --- back ----------------------------------------------------------------------------------------------------

    def back(self) -> Iterator[_Paragraph]:
        side_by_side = any(self.shape.beside(step) for step in self.shape.order)
        yield 2, f"{_INTRODUCTION} {_SIDE_BY_SIDE}" if side_by_side else _INTRODUCTION
        for step in self.shape.order:
            for how, what in self._ends(step):
                yield 4, f"-{_SPACE}{self.names[step]} {how}: {what}."
        if later := [step for step in self.shape.order if self._comes_after_the_pivot(step)]:
            fails = "fails or ends unknown" if len(later) == 1 else "fail or end unknown"
            yield 4, f"-{_SPACE}{self._all(later)} {fails}: {_BLOCKED}."
        undone = [step for step in self.shape.order if self.nodes[step].compensated]
        if undone:
            yield 2, self._longest_rollback(undone)
            yield 2, _EXHAUSTED

    def _ends(self, step: int) -> Iterator[tuple[str, str]]:
        """Each way in which a step can end without success, and what is undone then."""
        node, pivot = self.nodes[step], step == self.plan.pivot
        failed = self._undone(self.shape.undoing(step, in_effect=False))
        if self._comes_after_the_pivot(step):
            return
        if pivot:
            yield "fails", failed
            yield "ends unknown", _BLOCKED
        elif not node.compensated:
            yield "fails or ends unknown", failed
        elif not node.needs_output:
            yield "fails", failed
            yield "ends unknown", self._undone(self.shape.undoing(step, in_effect=True))
        else:
            yield "fails", failed
            yield "ends too late", self._undone(self.shape.undoing(step, in_effect=True, with_output=True))
            yield "ends unknown or with its output lost", self._undone(self.shape.undoing(step, in_effect=True))

    def _undone(self, undoing: Undoing) -> str:
        text = _told(undoing.groups, lambda group: self._group(group, undoing)) or "nothing is undone"
        if undoing.left:
            text += f"; {self._listed(undoing.left)} {'is' if len(undoing.left) == 1 else 'are'} left, for a person"
        return text

    def _group(self, group: Sequence[int], undoing: Undoing) -> str:
        """Steps of which the one that ended last is undone first."""
        names = (f"({self.names[step]})" if step in undoing.perhaps else self.names[step] for step in group)
        return listed(names) + (", the one that ended last first" if len(group) > 1 else "")

    def _longest_rollback(self, undone: Sequence[int]) -> str:
        times = {step: _worst(undo) for step in undone if (undo := self.steps[step].compensation)}
        if unlimited := [step for step in undone if times[step] == math.inf]:
            names = listed(self._undo_name(step) for step in unlimited)
            return f"Undoing everything has no time limit, for {names} {_has(unlimited)} none."
        return f"Undoing everything takes at most {_span(sum(times.values()))}."

    def _undo_name(self, step: int) -> str:
        undo = self.steps[step].compensation
        assert undo is not None
        return quoted(undo.attribute)

    # --- unknown -------------------------------------------------------------------------------------------------

    def unknown(self) -> Iterator[_Paragraph]:
        yield 2, _UNKNOWN
        forward, taken = self.plan.forward_only, self.plan.taken
        for text, belongs in _TREATMENTS:
            if steps := [i for i in self.shape.order if belongs(self.nodes[i], i in forward, i in taken)]:
                yield 4, f"-{_SPACE}{self._all(steps)}: {text}."

    # --- names ---------------------------------------------------------------------------------------------------

    def _comes_after_the_pivot(self, step: int) -> bool:
        return step in self.plan.forward_only and step != self.plan.pivot

    def _all(self, steps: Sequence[int]) -> str:
        return listed((self.names[step] for step in steps), most=len(steps))

    def _listed(self, steps: Iterable[int]) -> str:
        return listed(self.names[step] for step in steps)


#: What happens where a step ends unknown, and to which steps: asked of its node, whether it only goes forward, and whether a
#: later step takes its output.
_TREATMENTS: tuple[tuple[str, Callable[[Node, bool, bool], bool]], ...] = (
    (
        "undone; the compensation gets an Unknown in place of the output",
        lambda node, *_: node.compensated and not node.needs_output,
    ),
    (
        "not undone, for the compensation needs the output (if_unknown='fail'): the step, and what ran before it, stays "
        "in effect, and the saga ends failed, for a person",
        lambda node, *_: node.compensated and node.needs_output,
    ),
    (
        "readonly, so there is nothing to undo",
        lambda node, forward, _: node.readonly and not forward,
    ),
    (
        "the saga only goes forward, and is blocked, for a person; a success that is late counts",
        lambda _, forward, __: forward,
    ),
    (
        "the saga is blocked too if the output is lost, for a later step takes it",
        lambda _, forward, taken: forward and taken,
    ),
    (
        "an error after an attempt that ended unknown leaves it unknown",
        lambda node, *_: node.attempts > 1 and node.repeatable and not node.idempotent and not node.readonly,
    ),
    (
        "not repeatable, so it is not run again once an attempt ended unknown, nor after a crash",
        lambda node, *_: not node.repeatable,
    ),
    (
        "idempotent, so the last attempt's answer speaks for all",
        lambda node, *_: node.idempotent,
    ),
)


# --- times -----------------------------------------------------------------------------------------------------------


def _worst(part: Step | Compensation) -> float:
    """Seconds that all attempts and the waits between them can take; infinite without a timeout, and for a thread."""
    if part.timeout is None or not part.is_async:
        return math.inf
    retry = part.retry
    return part.timeout if retry is None else part.timeout * retry.attempts + retry.longest_waits


def _time(part: Step | Compensation) -> str:
    worst, retry = _worst(part), part.retry
    total = "without a time limit" if worst == math.inf else f"at most {_span(worst)}"
    if not part.is_async:
        asked = "" if part.timeout is None else f", asked to end after {_span(part.timeout)}"
        total = f"on a thread{asked}, {total}"
    if retry is None or retry.attempts == 1:
        return total
    if part.timeout is None or not part.is_async:
        return f"{total} ({retry.attempts} attempts)"
    waits = f" and {_span(retry.longest_waits)} of waits" if retry.longest_waits else ""
    return f"{total} ({retry.attempts} attempts of {_span(part.timeout)}{waits})"


def _span(seconds: float) -> str:
    return duration(seconds).replace(" ", _SPACE)


def _told(stations: Sequence[T], tell: Callable[[T], str]) -> str:
    """What comes one after the other: its beginning and its end, if it is long."""
    if len(stations) <= STATIONS:
        return ", then ".join(map(tell, stations))
    beginning, end = map(tell, stations[:5]), map(tell, stations[-2:])
    return ", then ".join([*beginning, f"{len(stations) - 7} more", *end])


def _has(things: Sequence[object]) -> str:
    return "has" if len(things) == 1 else "have"
