"""What somebody knows better: advice that does not hold of a step, a compensation or a class, and why not.

::

    @compensates("pay", if_unknown="fail", waive={"AF201": "the gateway has no keys: a person asks it"})

Only advice can be waived. What breaks a rule cannot work, or could leave an effect behind: no reason changes that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from allframe.errors import Problem
from allframe.naming import nearest
from allframe.saga.definition import Declared, Definition

__all__ = ["ADVICE", "NONE", "WAIVABLE", "check_waivers", "kept", "reasons"]

#: All advice in one line each.
ADVICE: Final[dict[str, str]] = {
    "AF201": "a compensation does not work where the effect is unknown",
    "AF202": "a step that cannot be interrupted has a timeout",
    "AF203": "a step does not say what it returns",
    "AF204": "the pivot can end unknown and is tried once",
    "AF205": "a waiver waives nothing",
    "AF206": "a parameter is named like a field and always gets its default",
}

#: What can be waived: a waiver too many can be taken away.
WAIVABLE: Final = tuple(sorted(ADVICE.keys() - {"AF205"}))

#: Nothing is waived.
NONE: Final[Mapping[str, str]] = MappingProxyType({})


def kept(waive: Any) -> Any:
    """A copy, which nobody else changes; what is no mapping is for AF109 to tell."""
    return dict(waive) if isinstance(waive, Mapping) else waive


def reasons(waive: Any) -> Mapping[str, str]:
    """What was given as ``waive=``: the reasons by code; none where AF109 tells that it is something else."""
    return waive if isinstance(waive, Mapping) else NONE


def check_waivers(definition: Definition) -> Iterator[Problem]:
    """AF109: waivers that make no sense."""
    for text, near in _troubles(definition.options.waive):
        yield Problem("AF109", f"It has {text}", definition.where, near=near)
    for declared in definition.functions:
        yield from _of_function(declared)


def _of_function(declared: Declared[Any]) -> Iterator[Problem]:
    for text, near in _troubles(declared.mark.waive):
        yield Problem("AF109", f"{declared.attribute!r} has {text}", declared.where, declared.attribute, near)


def _troubles(waive: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is wrong with one ``waive=``, and what is spelled nearly so."""
    if waive is None:
        return
    if not isinstance(waive, Mapping):
        yield f'waive={waive!r}. Expected reasons by code, such as waive={{"AF201": "the gateway refunds by key"}}.', ()
        return
    for code, reason in waive.items():
        if code not in WAIVABLE:
            near = nearest(code, WAIVABLE)
            yield f"a waiver for {code!r}, {_why_not(code)} What can be waived: {', '.join(WAIVABLE)}.", near
        elif not isinstance(reason, str) or not reason.strip():
            yield f"a waiver for {code} with the reason {reason!r}. Expected a text: say why it does not hold here.", ()


def _why_not(code: Any) -> str:
    if isinstance(code, str) and code in ADVICE:
        return "which tells of a waiver too many: take that one away."
    if isinstance(code, str) and code[:3] == "AF1" and code[3:].isdigit():
        return "which is no advice: what breaks a rule cannot work. Mend it."
    return "and there is no such advice."
