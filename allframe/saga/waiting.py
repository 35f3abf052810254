"""Classes whose annotations name what is not there yet, and when they are looked at again.

A class of a module that waits is checked as soon as its names are there: when the next saga or step class of that module
is created, or when it is used. So most of what is wrong with it is still said while the module is imported.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TypeAlias

from allframe.errors import DefinitionError
from allframe.refusing import refuse

__all__ = ["check_or_wait", "look_again"]

#: Applies the rules that can be applied now; says whether those were all.
Check: TypeAlias = Callable[[type], bool]

#: By module and qualified name, so that a class that a reload defines again takes the place of the first.
_WAITING: dict[tuple[str, str], tuple[weakref.ref[type], Check]] = {}


def check_or_wait(cls: type, check: Check, again: Check | None = None) -> bool:
    """Check ``cls``, and have `look_again` call ``again``, or ``check``, until everything could be checked.

    Only classes of a module wait: those of a function are their own matter. Returns whether it may be used.

    Raises:
        DefinitionError: if it breaks a rule. Where refusals are noted, whoever uses the class is told.
    """
    try:
        is_whole = check(cls)
    except DefinitionError as error:
        type.__setattr__(cls, "__allframe_refused__", error)
        refuse(error)
        return False
    if not is_whole and "<locals>" not in cls.__qualname__:
        _WAITING[cls.__module__, cls.__qualname__] = weakref.ref(cls), again or check
    return True


def look_again(next_class: type) -> None:
    """Check what waits in the module of ``next_class``, and is not made anew by it.

    Raises:
        DefinitionError: if one turns out to break a rule. It is told once here, and again when the class is used.
    """
    if "<locals>" in next_class.__qualname__:
        return
    _WAITING.pop((next_class.__module__, next_class.__qualname__), None)
    for key, (ref, check) in list(_WAITING.items()):
        if key[0] == next_class.__module__:
            del _WAITING[key]
            if (cls := ref()) is not None:
                check_or_wait(cls, check)
