"""A saga and what happens to it, as plain data: what the reference reads, what is drawn, and what a failure prints.

::

    Plot({"a": Step(), "b": Step(undo=Undo(attempts=2))}, timeout=20.83)
    Script({"b": (Act("fail", 2),), "undo a": (Act("fail", 1), Act("ok", 1))}, cancels=(7.61,))

All times are in seconds, those of a `Script` from the start of the saga.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

__all__ = ["EVERYTHING", "Act", "How", "Kind", "Plot", "Script", "Step", "Stop", "Undo"]

#: What an attempt does: returns, returns what cannot be stored, raises an answer, refuses, raises silence, leaves.
How: TypeAlias = Literal["ok", "lost", "fail", "refuse", "silent", "loud"]
#: Endings that a retry may admit.
Kind: TypeAlias = Literal["fail", "silent", "deadline"]
EVERYTHING: Final[frozenset[Kind]] = frozenset({"fail", "silent", "deadline"})


class _Short:
    """Its repr says what is not as usual."""

    def __repr__(self) -> str:
        said = [
            repr(getattr(self, f.name))
            if place == 0 and isinstance(self, Act)
            else f"{f.name}={getattr(self, f.name)!r}"
            for place, f in enumerate(dataclasses.fields(self))  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis prints."""
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Act(_Short):
    """What one attempt of a step or a compensation does. A stubborn one does not let itself be cut."""

    how: How = "ok"
    lasts: float = 1.0
    stubborn: bool = False
    #: It takes effect when it begins, and not when it ends.
    early: bool = False


@dataclass(frozen=True, repr=False)
class Undo(_Short):
    """How a step is undone."""

    attempts: int = 1
    wait: float = 0
    timeout: float | None = None
    #: A person must step in where there is no output.
    if_unknown_fail: bool = False
    sync: bool = False


@dataclass(frozen=True, repr=False)
class Step(_Short):
    """One step. ``after``: None for all that stand above it. ``takes``: the step whose output it is given."""

    after: tuple[str, ...] | None = None
    undo: Undo | None = field(default=Undo())
    readonly: bool = False
    pivot: bool = False
    #: The pivot because it stands last and cannot be undone.
    implied: bool = False
    attempts: int = 1
    wait: float = 0
    admits: frozenset[Kind] = EVERYTHING
    timeout: float | None = None
    idempotent: bool = False
    repeatable: bool = True
    sync: bool = False
    takes: str | None = None


@dataclass(frozen=True, repr=False)
class Plot(_Short):
    """A saga: its steps in the order of the body."""

    steps: Mapping[str, Step]
    timeout: float | None = None

    @cached_property
    def before(self) -> dict[str, set[str]]:
        """For each step, all that have ended before it begins."""
        before = {k: set[str]() for k in self.steps}
        for _ in self.steps:
            for i, (k, step) in enumerate(self.steps.items()):
                direct = list(self.steps)[:i] if step.after is None else step.after
                before[k] = {*direct}.union(*(before[b] for b in direct))
        return before

    def undo(self, k: str) -> Undo:
        """How ``k`` is undone, which can be."""
        undo = self.steps[k].undo
        assert undo is not None
        return undo

    @cached_property
    def pivot(self) -> str | None:
        return next((k for k, step in self.steps.items() if step.pivot), None)

    @cached_property
    def forward(self) -> set[str]:
        """The pivot and what comes after it."""
        return {k for k in self.steps if self.pivot in (k, *self.before[k])}

    def retried(self, k: str) -> bool:
        """Whether ``k`` is declared with a retry, which what follows the pivot must have."""
        return self.steps[k].attempts > 1 or (k in self.forward and k != self.pivot)

    @cached_property
    def taken(self) -> set[str | None]:
        """The steps whose output another takes."""
        return {step.takes for step in self.steps.values()}


@dataclass(frozen=True, repr=False)
class Stop(_Short):
    """The process ends. Without ``grace`` it dies; else it leaves, and drops what has not ended in time."""

    at: float = 0.0
    grace: float = 0.0
    #: From its end to the next opening.
    gap: float = 10.0


@dataclass(frozen=True, repr=False)
class Script(_Short):
    """What happens. What no act is told of succeeds after a second."""

    #: For each step ``"a"`` and compensation ``"undo a"``, what its attempts do, one after the other.
    acts: Mapping[str, tuple[Act, ...]]
    #: When somebody asks for it to be undone.
    cancels: tuple[float, ...] = ()
    stops: tuple[Stop, ...] = ()
    #: So long others keep it from its turn.
    queue: float = 0.0
    #: What is asked of it each time that it rests `PAUSE` seconds FAILED or BLOCKED.
    verbs: tuple[str, ...] = ()


#: So long somebody looks at a saga that stopped before asking something of it.
PAUSE: Final = 5.5
