"""`Retry`: attempt number -> seconds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from allframe.saga.context import Refused

__all__ = ["LONGEST", "Retry", "is_number"]

#: The longest time that can be declared, in seconds: some thirty years. A date that far away can be written.
LONGEST: Final = 1e9

#: The longest wait that an exception can ask for, in seconds.
LONGEST_ASKED: Final = 86_400.0


@dataclass(frozen=True)
class Retry:
    """How often to try, how long to wait in between, and after which errors.

    The wait after attempt *n* is ``wait * factor ** (n - 1)`` seconds, at most ``max_wait``, and then up to ``jitter``
    (a share of it, 0 to 1) more or less, so that many sagas do not knock together. An exception with an attribute
    ``retry_after``, seconds or a ``timedelta``, is waited for at least so long, also beyond ``max_wait``, and at most a
    day. The wait is not part of a step's timeout. It is recorded before it begins, and survives a crash.
    """

    #: How many attempts in all, from 1.
    attempts: int = 3
    #: Seconds before the second attempt.
    wait: float = 0.1
    #: What each further wait is multiplied by, from 1.
    factor: float = 2.0
    #: The longest wait, in seconds.
    max_wait: float = 30.0
    #: The random share of a wait, 0 to 1.
    jitter: float = 0.1
    #: Only these errors are tried again. A deadline that passed counts as a ``TimeoutError``.
    on: type[Exception] | tuple[type[Exception], ...] = (Exception,)
    #: These are not, even if ``on`` admits them.
    give_up_on: type[Exception] | tuple[type[Exception], ...] = ()

    def admits(self, error: BaseException) -> bool:
        """Whether an attempt that ended with ``error`` may be followed by another. ``Refused`` never is."""
        return isinstance(error, self.on) and not isinstance(error, self.give_up_on) and not isinstance(error, Refused)

    def delay(self, attempt: int, error: BaseException | None = None) -> float:
        """Seconds to wait after ``attempt`` (from 1) ended; at least the ``retry_after`` of ``error``, if it has one."""
        try:
            delay = min(self.wait * self.factor ** (attempt - 1), self.max_wait)
        except OverflowError:
            delay = self.max_wait
        delay *= 1 + self.jitter * random.uniform(-1, 1)  # noqa: S311 - spreads load, keeps no secret
        return max(delay, _asked_for(error))

    @property
    def longest_waits(self) -> float:
        """The longest that all its waits can take together, in seconds."""
        waits = self.attempts - 1
        if self.factor == 1 or not 0 < self.wait < self.max_wait:
            return waits * min(self.wait, self.max_wait) * (1 + self.jitter)
        try:
            growing = min(waits, math.ceil(math.log(self.max_wait / self.wait, self.factor)))
            total = self.wait * (self.factor**growing - 1) / (self.factor - 1) + (waits - growing) * self.max_wait
        except OverflowError:
            total = waits * self.max_wait
        return total * (1 + self.jitter)

    def problems(self) -> list[str]:
        """What makes no sense in it, for the rule AF109."""
        problems = []
        attempts: object = self.attempts
        if not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1:
            problems.append(f"attempts is {attempts!r}; expected a whole number from 1")
        for name, least, most in (
            ("wait", 0.0, math.inf),
            ("factor", 1.0, math.inf),
            ("max_wait", 0.0, math.inf),
            ("jitter", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not is_number(value) or not least <= value <= most or value == math.inf:
                upper = f" to {most:g}" if most != math.inf else ""
                problems.append(f"{name} is {value!r}; expected a number from {least:g}{upper}")
        for name in ("wait", "max_wait"):
            value = getattr(self, name)
            if is_number(value) and LONGEST < value < math.inf:
                problems.append(f"{name} is {value!r}; expected at most {LONGEST:g} seconds, some thirty years")
        for name in ("on", "give_up_on"):
            kinds = getattr(self, name)
            kinds = kinds if isinstance(kinds, tuple) else (kinds,)
            if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
                problems.append(f"{name} is {getattr(self, name)!r}; expected exception classes below Exception")
        return problems


def _asked_for(error: BaseException | None) -> float:
    """The seconds that an exception asks to wait, in its ``retry_after``; 0 if it does not, or makes no sense."""
    try:
        asked = getattr(error, "retry_after", None)
    except Exception:  # noqa: BLE001 - a stranger's property
        return 0.0
    asked = asked.total_seconds() if isinstance(asked, timedelta) else asked
    if not isinstance(asked, int | float) or isinstance(asked, bool) or asked != asked:
        return 0.0
    return float(min(max(asked, 0), LONGEST_ASKED))


def is_number(value: object) -> bool:
    """Whether it is an int or a float, and not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
