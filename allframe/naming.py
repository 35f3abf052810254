"""Stored name and version -> class, without ever importing by name.

Sagas and events are stored by a name and a version that their class declares. To read them back, the class is looked up
among those that this process has imported. A class that was garbage-collected is forgotten; one that a reload defined
again, in the same place, takes its predecessor's place.
"""

from __future__ import annotations

import difflib
import gc
import re
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeGuard, TypeVar

from pydantic import BaseModel

from allframe.errors import DefinitionError, Problem
from allframe.source import place_of

__all__ = ["Names", "did_you_mean", "is_parametrised", "is_version", "naming_problems", "nearest", "snake_case"]

C = TypeVar("C", bound=type)

_NEXT_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Names(Generic[C]):
    """The classes of one kind, by stored name and version."""

    def __init__(self, kind: str, rule: str) -> None:
        self._kind = kind
        self._rule = rule
        self._classes: dict[tuple[str, int], list[weakref.ref[C]]] = {}
        #: Grows with each class that is added: what `find` said holds until then.
        self.changes = 0
        #: What was found out of them by name and version; empty again when one is added.
        self.memo: dict[tuple[str, int], Any] = {}

    def add(self, name: str, version: int, cls: C) -> None:
        """Make ``cls`` known; a class of the same module and qualified name is replaced."""
        known = self._classes.setdefault((name, version), [])
        same = (cls.__module__, cls.__qualname__)
        known[:] = [ref for ref in known if (old := ref()) and (old.__module__, old.__qualname__) != same]
        known.append(weakref.ref(cls))
        self.changes += 1
        self.memo.clear()

    def find(self, name: str, version: int) -> C | None:
        """The class with this name and version, or None.

        Raises:
            DefinitionError: if two different classes have it.
        """
        known = self._classes.get((name, version), ())
        if len(known) == 1:
            return known[0]()
        found = self._living(name, version)
        if len(found) > 1:
            # A class is a reference cycle: one that went out of use lives until the collector comes by. We hold it too.
            del found
            gc.collect()
            found = self._living(name, version)
        if len(found) > 1:
            where = " and ".join(place_of(cls) for cls in found)
            raise DefinitionError(
                f"The {self._kind} name {name!r}, version {version},",
                [
                    Problem(
                        self._rule,
                        f"Two classes are stored under it: {where}. Stored records could not be told apart: give one of "
                        f'them a name of its own, class {found[-1].__name__}(..., name="...").',
                        place_of(found[-1]),
                    )
                ],
            )
        return found[0] if found else None

    def versions(self, name: str) -> list[int]:
        """The versions known of ``name``, in ascending order."""
        return sorted(version for known, version in self._classes if known == name and self._living(known, version))

    def known(self) -> dict[str, list[int]]:
        """The versions that are known, in ascending order, by name."""
        found: dict[str, list[int]] = {}
        for name, version in sorted(self._classes):
            if self._living(name, version):
                found.setdefault(name, []).append(version)
        return found

    def all(self) -> list[C]:
        """Every known class, in the order of definition."""
        return [cls for refs in list(self._classes.values()) for ref in refs if (cls := ref()) is not None]

    def _living(self, name: str, version: int) -> list[C]:
        return [cls for ref in self._classes.get((name, version), ()) if (cls := ref()) is not None]


def naming_problems(name: object, version: object) -> list[str]:
    """What is wrong with the stored name and version that a class says, as sentences."""
    problems = []
    if not isinstance(name, str) or not name or name.startswith("$") or not name.isprintable():
        problems.append(
            f"Its name is {name!r}. Expected printable text that does not begin with '$', which is allframe's own."
        )
    if not is_version(version):
        problems.append(f"Its version is {version!r}. Expected a whole number from 1.")
    return problems


def is_version(version: object) -> TypeGuard[int]:
    """Whether it can be the version of something: a whole number from 1."""
    return isinstance(version, int) and not isinstance(version, bool) and version >= 1


def nearest(name: object, names: Iterable[str], *, likeness: float = 0.6) -> tuple[str, ...]:
    """Those of ``names`` that are spelled nearly like ``name``, the nearest first; at most three.

    ``likeness``: how nearly at the least, from 0 to 1.
    """
    return tuple(difflib.get_close_matches(str(name), list(names), n=3, cutoff=likeness))


def did_you_mean(near: Sequence[str]) -> str:
    """The nearest name as a question, to stand behind a sentence; nothing where there is none."""
    return f" Did you mean {near[0]!r}?" if near else ""


def is_parametrised(cls: type[BaseModel]) -> bool:
    """Whether a model is made by ``Content[Decimal]``, and by no ``class`` statement."""
    return cls.__pydantic_generic_metadata__["origin"] is not None


def snake_case(name: str) -> str:
    """``DebitStep`` as ``debit_step``."""
    return _NEXT_WORD.sub("_", name).lower()
