"""Random plots and scripts: every graph of up to eight steps that a saga may have, and whatever can happen to it.

Times that must not coincide have fractions of their own. Simple things come first, so that what shrinks is simple.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

from tests.saga.model.plain import EVERYTHING, Act, Plot, Script, Step, Stop, Undo

__all__ = ["plays"]


def _often_none(strategy: st.SearchStrategy[Any], none: int) -> st.SearchStrategy[Any]:
    """None, ``none`` times of four."""
    return st.integers(0, 3).flatmap(lambda n: st.none() if n < none else strategy)


_ADMITTED = st.sampled_from([EVERYTHING, frozenset({"fail"}), frozenset({"silent", "deadline"})])
_RARELY = st.integers(0, 4).map(lambda n: n == 4)
_MAYBE = st.integers(0, 3).map(lambda n: n == 3)


@st.composite
def plays(draw: st.DrawFn) -> tuple[Plot, Script]:
    """A plot, and a script for it."""
    plot = draw(plots())
    return plot, draw(scripts(plot))


@st.composite
def plots(draw: st.DrawFn) -> Plot:
    names = "abcdefgh"[: draw(st.integers(1, 8))]
    pivot = draw(_often_none(st.sampled_from(names), 2))
    steps: dict[str, Step] = {}
    for i, name in enumerate(names):
        earlier = names[:i]
        after: tuple[str, ...] | None = None
        if name != pivot:
            after = draw(_often_none(st.lists(st.sampled_from(earlier), unique=True).map(tuple), 1)) if earlier else ()
        if pivot is not None and name > pivot and after is not None:
            after = tuple(sorted({*after, pivot}))  # nothing runs beside the pivot
        steps[name] = draw(_steps(after, earlier if after is None else after, _role(name, pivot, names)))
    if draw(_MAYBE):
        steps = _upside_down(steps)
    return Plot(steps, draw(_often_none(st.integers(2, 40).map(lambda n: n + 0.83), 3)))


def _role(name: str, pivot: str | None, names: str) -> str:
    if pivot is None or name < pivot:
        return "reversible"
    if name > pivot:
        return "forward"
    return "last" if name == names[-1] else "pivot"


@st.composite
def _steps(draw: st.DrawFn, after: tuple[str, ...] | None, before: Any, role: str) -> Step:
    readonly = role in ("reversible", "forward") and draw(_RARELY)
    return Step(
        after=after,
        undo=draw(_undos) if role == "reversible" and not readonly else None,
        readonly=readonly,
        pivot=role in ("pivot", "last"),
        implied=role == "last" and draw(st.booleans()),
        attempts=draw(st.integers(1, 3)),
        wait=draw(st.sampled_from([0.05, 2.11])),
        admits=draw(_ADMITTED),
        timeout=draw(_often_none(st.sampled_from([3.27, 6.71]), 2)),
        idempotent=draw(_MAYBE),
        repeatable=not draw(_RARELY),
        sync=draw(_RARELY),
        takes=draw(_often_none(st.sampled_from(sorted(before)), 2)) if before else None,
    )


_undos = st.builds(
    Undo,
    attempts=st.integers(1, 3),
    wait=st.sampled_from([0.05, 3.17]),
    timeout=_often_none(st.just(4.39), 2),
    if_unknown_fail=_RARELY,
    sync=_RARELY,
)


def _upside_down(steps: dict[str, Step]) -> dict[str, Step]:
    """The body in another order, which means the same where every step says what it runs after."""
    first, *others = steps.items()
    if any(step.after is None for _, step in others):
        return steps
    return dict([*reversed(others), (first[0], dataclasses.replace(first[1], after=()))])


@st.composite
def scripts(draw: st.DrawFn, plot: Plot) -> Script:
    acts: dict[str, tuple[Act, ...]] = {}
    for i, (name, step) in enumerate(plot.steps.items()):
        parts = [name, *([f"undo {name}"] if step.undo else [])]
        for j, part in enumerate(parts):
            many = draw(st.integers(0, 3))
            if many:
                acts[part] = tuple(draw(_acts(j, (i * 7 + k * 3 + j * 5) % 37)) for k in range(many))
    stops = [
        Stop(at + 0.779, draw(st.sampled_from([0, 0, 2.93])), draw(st.sampled_from([0.101, 15.303])))
        for at in sorted(draw(st.lists(st.integers(0, 30), max_size=3, unique=True)))
    ]
    return Script(
        acts,
        cancels=draw(st.one_of(st.just(()), st.just(()), _cancels)),
        stops=tuple(stops),
        queue=draw(_often_none(st.just(3.523), 3)) or 0.0,
        verbs=("retry",) * draw(st.integers(0, 2)),
    )


_cancels = st.lists(st.integers(0, 20), min_size=1, max_size=2, unique=True).map(
    lambda moments: tuple(n + 0.613 for n in sorted(moments))
)


@st.composite
def _acts(draw: st.DrawFn, undoing: int, fraction: int) -> Act:
    if undoing:
        how = draw(st.sampled_from(["ok", "fail", "fail", "silent", "refuse", "loud"]))
    else:
        how = draw(st.sampled_from(["ok", "ok", "fail", "fail", "silent", "refuse", "lost", "loud"]))
    lasts = draw(st.integers(1, 9)) + round(fraction / 38, 3)
    return Act(how, lasts, stubborn=draw(_MAYBE), early=draw(st.booleans()))
