"""The oracle's word and allframe's, compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.mutants.faults import Fault
from tests.mutants.modules import Answer, ask
from tests.mutants.operators import Mutant
from tests.mutants.oracle import judge

__all__ = ["Judged", "judged"]


@dataclass(frozen=True)
class Judged:
    """What both say of one mutant."""

    mutant: Mutant
    faults: tuple[Fault, ...]
    answer: Answer

    @property
    def broken(self) -> bool:
        return any(each.certain for each in self.faults)

    @property
    def believed(self) -> bool:
        """Whether all that is wrong with it is what its bodies do beside what is declared of them: no rule can know."""
        return self.broken and not any(each.certain and each.declared for each in self.faults)

    @property
    def difference(self) -> str | None:
        """How allframe's answer differs from the oracle's; None if it does not.

        ``missed``: broken, and imported. ``false alarm``: sound, and refused, or refused for something else as well.
        ``wrong``: broken, and refused for something else only.
        """
        if self.answer.crash:
            return "crashed"
        if not self.answer.refused:
            return "missed" if self.broken else None
        told = [any(each.is_told_by(*problem) for each in self.faults) for problem in self.answer.problems]
        if all(told):
            return None
        return "wrong" if self.broken and not any(told) else "false alarm"

    def __str__(self) -> str:
        faults = [f"{each.kind} {'/'.join(sorted(each.rules)) or '?'} at {sorted(each.lines)}" for each in self.faults]
        told = [f"{rule} at {line}" for rule, line in self.answer.problems]
        return (
            f"{self.mutant.name}: {self.difference}. Oracle: {'; '.join(faults) or 'sound'}. "
            f"allframe: {self.answer.crash or '; '.join(told) or 'imports'}."
        )


def judged(mutants: Iterable[Mutant]) -> Iterator[Judged]:
    """Both verdicts on each mutant that is a program; to be called within `tests.mutants.modules.apart`."""
    for mutant in mutants:
        answer = ask(mutant.unit, mutant.text)
        if answer.stillborn is None:
            yield Judged(mutant, tuple(judge(mutant.unit, mutant.text)), answer)
