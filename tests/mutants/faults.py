"""What the oracle finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Fault", "fault"]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a mutant."""

    #: In a word: ``stranded`` (an effect stays and nobody knows), ``uncallable``, ``lost`` (something written that never
    #: happens), ``stuck`` (one error stops it for good), ``senseless`` (a value that means nothing), ``unstorable``.
    kind: str
    #: The rules that say so.
    rules: frozenset[str]
    #: The lines of the text at which it may be said to be.
    lines: frozenset[int]
    #: Whether it must be refused. What nobody can decide may be refused, and may be accepted.
    certain: bool = True
    #: Whether it shows in what is declared, and not only in what a body does.
    declared: bool = True

    def is_told_by(self, rule: str, line: int) -> bool:
        return rule in self.rules and line in self.lines


#: The kinds of faults, as the summary lists them.
KINDS: Final = ("stranded", "uncallable", "lost", "stuck", "senseless", "unstorable")


def fault(kind: str, rules: str, lines: Iterable[int], *, certain: bool = True, declared: bool = True) -> Fault:
    """``rules``: separated by spaces."""
    assert kind in KINDS
    return Fault(kind, frozenset(rules.split()), frozenset(lines), certain, declared)
