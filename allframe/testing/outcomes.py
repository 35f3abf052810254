"""How an attempt ends, in the words of a test: `Timeout`, `Fail`, `Refuse`, `NoAnswer`, `Late`, `LostOutput`, `Crash`, …

Each says whether the step's effect took place. ``effect=True``: the body runs, and then the attempt ends as it is told.
``effect=False``: it ends so without the body having run. The saga is told the same in both cases, so what a test looks
at is whether its compensation copes with both.

Whatever else is given stands for what an attempt does: an exception, or a class of them, is raised; any other value is
returned; neither runs the body. A list is for consecutive attempts, and after its end the body runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "Crash",
    "Fail",
    "Late",
    "LostOutput",
    "NoAnswer",
    "Ok",
    "Outcomes",
    "Raise",
    "Refuse",
    "Return",
    "Staged",
    "Timeout",
    "as_staged",
]


class Staged:
    """How one attempt ends: the base of all below."""


@dataclass(frozen=True)
class Ok(Staged):
    """The body runs, and the attempt ends as it does."""


@dataclass(frozen=True)
class Timeout(Staged):
    """Its deadline passes. By default the effect took place, and only the answer did not come."""

    effect: bool = True


@dataclass(frozen=True)
class NoAnswer(Staged):
    """It cannot say whether it took effect (`allframe.EffectUnknown`), as when a connection breaks before the answer."""

    effect: bool = True


@dataclass(frozen=True)
class Raise(Staged):
    """It raises ``error``: an exception, or a class of them. In a list, an exception stands for this."""

    error: BaseException | type[BaseException]
    effect: bool = False


@dataclass(frozen=True)
class Fail(Staged):
    """It raises an ordinary error, a ``RuntimeError`` with this text: no effect."""

    text: str = "staged to fail"


@dataclass(frozen=True)
class Refuse(Staged):
    """It raises `allframe.Refused` with this text: no effect, and never tried again."""

    text: str = "staged to be refused"


@dataclass(frozen=True)
class Late(Staged):
    """The body runs, and returns only after the deadline."""


@dataclass(frozen=True)
class LostOutput(Staged):
    """The body runs, and what it returns cannot be stored. Only for steps: a compensation has no output."""


@dataclass(frozen=True)
class Return(Staged):
    """It returns ``value``. Any value that is none of the above stands for this; only a list must be written so."""

    value: Any
    effect: bool = False


@dataclass(frozen=True)
class Crash(Staged):
    """The process dies in it; another opening of the same store recovers the saga.

    Given alone, and not in a list, the process dies in the first attempt only.
    """

    effect: bool = True


#: What ``outcomes=`` takes: by the name of a step, of a compensation, or ``"undo <step>"``.
Outcomes: TypeAlias = Mapping[str, Any]


def as_staged(given: Any) -> Staged:
    """What stands in ``outcomes=`` for one attempt, as an instance."""
    if isinstance(given, Staged):
        return given
    if isinstance(given, type) and issubclass(given, Staged):
        return given()
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        return Raise(given)
    return Return(given)
