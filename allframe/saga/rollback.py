"""`Rollback`: what of a saga must be undone, and in which order. No clock, no I/O.

A step is undone once nothing of what came after it is left; of those that could be undone next, the one that ended last
is. Each step costs O(1) amortised, and O(log n) for its turn: what becomes ready is counted down, never searched for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from allframe.saga.graph import Plan
from allframe.saga.states import Phase, StepState, Undo

__all__ = ["Rollback"]


class Rollback:
    """The way back of one saga, whose ``steps`` stand as its execution says."""

    def __init__(self, plan: Plan, steps: Sequence[StepState]) -> None:
        self.plan, self.steps = plan, steps
        self.begun = False
        #: The step whose compensation failed, and is tried again before anything else.
        self.again: int | None = None
        #: For each step, how many of its followers must still be undone before it.
        self._above: list[int] = []
        #: Steps that can be undone now, as a heap: the one that ended last comes first.
        self._ready: list[tuple[int, int]] = []

    @property
    def next(self) -> int | None:
        """The step that is to be undone next, if any can be now."""
        return self._ready[0][1] if self._ready else None

    @property
    def exhausted(self) -> list[int]:
        """The steps whose compensation was tried as often as it may be."""
        return [step for step, state in enumerate(self.steps) if state.undo is Undo.EXHAUSTED]

    def left_over(self) -> list[int]:
        """The steps that are, or may be, still in effect, and should not be."""
        return [step for step in range(len(self.steps)) if self.is_due(step)]

    def is_due(self, step: int) -> bool:
        """Whether it took, or may have taken, an effect that is still there."""
        state = self.steps[step]
        # A step that was to be tried again, when the saga turned back, may have taken effect in an earlier attempt.
        unknown = state.phase is Phase.UNKNOWN or (state.phase is Phase.RETRYING and state.unknown is not None)
        effect = unknown or state.phase in (Phase.SUCCEEDED, Phase.LOST)
        return effect and self.plan.nodes[step].compensated and state.undo not in (Undo.DONE, Undo.SKIPPED)

    def needs_a_person(self, step: int) -> bool:
        """Whether its compensation cannot be called: nobody has the output that it needs."""
        return self.plan.nodes[step].needs_output and self.steps[step].output is None

    # --- the order ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Find what must be undone, and what of it can be undone first. Also afresh, where it stopped."""
        self.begun = True
        self._above = [0] * len(self.steps)
        self._ready.clear()
        settled = deque[int]()
        for step, followers in enumerate(self.plan.followers):
            self._above[step] = sum(self._has_begun(follower) for follower in followers)
        for step in range(len(self.steps)):
            if self._has_begun(step) and not self._above[step]:
                self._reach(step, settled)
        self._settle(settled)

    def take(self, step: int) -> None:
        """Its turn has come: it is no longer among those that wait for it."""
        self.again = None
        if self.next == step:
            heapq.heappop(self._ready)

    def pass_on(self, step: int) -> None:
        """It is undone, or counted as undone: what came before it may follow."""
        self._settle(deque([step]))

    def reach(self, step: int) -> None:
        """It is to be undone after all."""
        self._reach(step, deque[int]())

    def forgive(self, step: int) -> None:
        """Give an exhausted compensation fresh attempts; `begin` or `reach` gives it its turn."""
        state = self.steps[step]
        state.undo, state.undo_spent, state.undo_next_at = Undo.NONE, 0, None

    def _has_begun(self, step: int) -> bool:
        return self.steps[step].phase is not Phase.WAITING

    def _reach(self, step: int, settled: deque[int]) -> None:
        """Nothing above ``step`` is left: undo it next, or pass on if there is nothing to undo."""
        if self.is_due(step):
            heapq.heappush(self._ready, (-self.steps[step].ended, step))
        else:
            settled.append(step)

    def _settle(self, settled: deque[int]) -> None:
        while settled:
            for before in self.plan.nodes[settled.popleft()].after:
                self._above[before] -= 1
                if not self._above[before]:
                    self._reach(before, settled)
