"""Names, lists and durations as people read them in texts and pictures of a saga, and in its log.

A step's name is whatever its author wrote: nothing in it may change what stands around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

__all__ = ["duration", "elapsed", "listed", "printable", "quoted", "some"]

#: A list names as many, and counts the rest.
MOST = 6

_PLAIN = re.compile(r"(?!(and|then)$)[\w.-]+")


def printable(name: str) -> str:
    """``name`` with everything escaped that is no visible character: control characters, marks that turn the direction."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def quoted(name: str) -> str:
    """``name`` as it stands in a sentence: in quotation marks unless it is one word that joins no others."""
    return name if name.isprintable() and _PLAIN.fullmatch(name) else repr(name)


def listed(words: Iterable[str], *, most: int = MOST) -> str:
    """``a, b and c``; of more than ``most`` words, the first ones and how many others there are."""
    words = list(words)
    if len(words) > most:
        words[most - 1 :] = [f"{len(words) - most + 1} others"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def some(words: Sequence[str]) -> str:
    """``a, b, c``; of more than three words, the first ones and how many there are besides: ``a, b, c and 7 more``."""
    shown = ", ".join(words[:3])
    return f"{shown} and {len(words) - 3} more" if len(words) > 3 else shown


def duration(seconds: float) -> str:
    """At least ``seconds``, in two units at most: ``330 ms``, ``30.4 s``, ``5 min 2 s``, ``3 h 20 min``, ``2 d``."""
    # What is above a rounded number only because 0.1 is no binary fraction is not rounded up.
    if (milliseconds := _up(seconds * 1000)) < 1000:
        return f"{milliseconds} ms"
    if (tenths := _up(seconds * 10)) < 600:
        return f"{tenths / 10:g} s"
    if (whole := _up(seconds)) < 3600:
        return _two(whole, 60, ("min", "s"))
    if (minutes := -(-whole // 60)) < 24 * 60:
        return _two(minutes, 60, ("h", "min"))
    return _two(-(-minutes // 60), 24, ("d", "h"))


def elapsed(seconds: float) -> str:
    """About ``seconds``, as it was measured: ``12 ms``, ``3.4 s``, ``5 min 6 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _up(number: float) -> int:
    return math.ceil(round(number, 6))


def _two(count: int, size: int, units: Sequence[str]) -> str:
    return " ".join(f"{number} {unit}" for number, unit in zip(divmod(count, size), units, strict=True) if number)
