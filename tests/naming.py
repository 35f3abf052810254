"""Names of parametrised tests that are the same in every process, so that several can share a run."""

from __future__ import annotations

import re

__all__ = ["steady"]


def steady(value: object) -> str:
    """The beginning of its ``repr``, without addresses and with the members of a set in order."""
    text = repr(sorted(value, key=repr)) if isinstance(value, frozenset | set) else repr(value)
    return re.sub(r" at 0x[0-9a-f]+", "", text)[:40]
