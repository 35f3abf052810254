"""Every rule of definitions, and every advice, and the tests that hold it.

A test says with its name which rule it is about: ``test_af104_accepts_…`` has a definition that the rule lets pass, any other
``test_af104_…`` one that it refuses, or finds fault with. Each set of parameters is a definition.
"""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from allframe.saga.rules import RULES
from allframe.saga.waivers import ADVICE
from tests.sources import ROOT

__all__ = ["LISTED", "accepted", "named_by_tests", "refused"]


#: Every rule and advice in one line.
LISTED: Final[Mapping[str, str]] = {**RULES, **ADVICE}

_NAME: Final = re.compile(r"^(?:async )?def (test_(af\d{3})_\w+)\(", flags=re.MULTILINE)


def refused(rule: str) -> int:
    """How many definitions the tests have that ``rule`` refuses."""
    return _definitions()[rule, False]


def accepted(rule: str) -> int:
    """How many definitions the tests have that ``rule`` accepts, though they look like what it refuses."""
    return _definitions()[rule, True]


def named_by_tests() -> set[str]:
    """The rules that tests are named after."""
    return {rule for rule, _ in _definitions()}


@cache
def _definitions() -> Counter[tuple[str, bool]]:
    found: Counter[tuple[str, bool]] = Counter()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if names := _NAME.findall(path.read_text(encoding="utf-8")):
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for name, rule in names:
                accepts = name.startswith(f"test_{rule}_accepts_")
                found[rule.upper(), accepts] += _cases(getattr(module, name))
    return found


def _cases(test: Any) -> int:
    """How many times a test is run, its event loops aside."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    return math.prod(len(mark.args[1]) for mark in marks)
