"""The shape of a graph: what comes before what, what may run side by side, what is undone after what.

Sets of steps are whole numbers with a bit for each step, the first step's being the lowest: so a saga of a thousand steps
costs milliseconds, whatever its edges are.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allframe.saga.graph import Plan

__all__ = ["Shape", "Undoing"]


@dataclass(frozen=True, slots=True)
class Undoing:
    """What is undone once a step has decided against its saga."""

    #: In this order; within a group the step that ended last goes first.
    groups: tuple[tuple[int, ...], ...]
    #: Those that ran side by side with the step: undone only if they took effect.
    perhaps: frozenset[int] = frozenset()
    #: Those that stay in effect, for a person, the newest first.
    left: tuple[int, ...] = ()


class Shape:
    """A plan, and what follows from its edges."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        #: The indices of the steps so that each stands after what it waits for; otherwise as they are written.
        self.order = tuple(_sorted(plan))
        #: The place of each step in the order.
        self.place = [0] * len(self.order)
        #: For each step, how many layers of steps are before it.
        self.layer = [0] * len(self.order)
        self._before = [0] * len(self.order)
        self._after = [0] * len(self.order)
        for place, step in enumerate(self.order):
            self.place[step] = place
            for before in plan.nodes[step].after:
                self.layer[step] = max(self.layer[step], self.layer[before] + 1)
                self._before[step] |= self._before[before] | self._bit(before)
        for step in reversed(self.order):
            for follower in plan.followers[step]:
                self._after[step] |= self._after[follower] | self._bit(follower)
        self._all = (1 << len(self.order)) - 1
        self._compensated = sum(self._bit(step) for step in self.order if plan.nodes[step].compensated)

    def beside(self, step: int) -> list[int]:
        """Every step that may run, or have run, while ``step`` does: neither waits for the other."""
        return self._steps(self._beside(step))

    def series(self, steps: Sequence[int]) -> list[list[int]]:
        """``steps``, which stand in order, as the most groups of which each wholly follows the one before it."""
        common, common_after = -1, [0] * len(steps)
        for i in range(len(steps) - 1, -1, -1):
            common &= self._before[steps[i]]
            common_after[i] = common
        groups: list[list[int]] = []
        seen = 0
        for step, common in zip(steps, common_after, strict=True):
            if not seen & ~common:
                groups.append([])
            groups[-1].append(step)
            seen |= self._bit(step)
        return groups

    def parallel(self, steps: Sequence[int]) -> list[list[int]]:
        """``steps``, which stand in order and include whatever is between two of them, as the most groups of which none
        has to do with another."""
        inside, seen = set(steps), set[int]()
        groups = []
        for start in steps:
            if start in seen:
                continue
            group, todo = {start}, [start]
            while todo:
                step = todo.pop()
                near = (inside & {*self.plan.nodes[step].after, *self.plan.followers[step]}) - group
                group |= near
                todo += near
            seen |= group
            groups.append(sorted(group, key=self.place.__getitem__))
        return groups

    def undoing(self, step: int, *, in_effect: bool, with_output: bool = False) -> Undoing:
        """What is undone when ``step`` ends without success for good.

        Going back is in the reverse order of the edges, ties by the latest end. A step ends after everything that it
        waited for has ended, so that means: whatever ended last is undone first. The groups are what is certain of that.

        ``in_effect``: whether it took effect, or may have. ``with_output``: whether its output is there all the same.
        """
        beside, before = self._beside(step) & self._compensated, self._before[step] & self._compensated
        own = self._bit(step) & self._compensated if in_effect else 0
        left = 0
        if own and self.plan.nodes[step].needs_output and not with_output:
            left, own, before = own | before, 0, 0
        groups = self.series(self._steps(beside | before | own))
        backwards = tuple(tuple(reversed(group)) for group in reversed(groups))
        return Undoing(backwards, frozenset(self._steps(beside)), tuple(reversed(self._steps(left))))

    def longest(self, times: Sequence[float]) -> tuple[float, list[int]]:
        """The longest way through the graph, where each step takes its of ``times``: the sum, and the steps on it."""
        ends = [0.0] * len(self.order)
        came_from = [-1] * len(self.order)
        for step in self.order:
            latest = max(self.plan.nodes[step].after, key=ends.__getitem__, default=-1)
            came_from[step] = latest
            ends[step] = times[step] + (ends[latest] if latest >= 0 else 0.0)
        way = [max(self.order, key=ends.__getitem__)]
        while came_from[way[-1]] >= 0:
            way.append(came_from[way[-1]])
        return ends[way[0]], way[::-1]

    def _bit(self, step: int) -> int:
        return 1 << self.place[step]

    def _beside(self, step: int) -> int:
        return self._all & ~(self._before[step] | self._after[step] | self._bit(step))

    def _steps(self, bits: int) -> list[int]:
        """The steps of a set, in order."""
        return [self.order[place] for place, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _sorted(plan: Plan) -> Iterator[int]:
    waiting = [len(node.after) for node in plan.nodes]
    ready = [step for step, count in enumerate(waiting) if not count]
    while ready:
        step = heapq.heappop(ready)
        yield step
        for follower in plan.followers[step]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
