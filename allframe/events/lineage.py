"""What is wrong with a set of upcasters: pure, and all of it at once.

Each upcaster leads from one stored form, a name and a version, to another. From every form that one begins at, the way
must end at the newest class of some name::

    bank.debit 1 ──► bank.debit 2 ──► bank.debited 1 ──► bank.debited 2      class Debited(Event, version=2)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from allframe.errors import Problem
from allframe.events.upcasting import RULE, Upcaster
from allframe.naming import did_you_mean, is_version, nearest

__all__ = ["Form", "form_after", "form_before", "problems_at_once", "problems_of_chains", "way_from"]

#: What is stored: a name and a version.
Form: TypeAlias = tuple[str, int]


def form_before(upcaster: Upcaster) -> Form:
    """What it reads."""
    return upcaster.type, upcaster.from_version


def form_after(upcaster: Upcaster) -> Form:
    """What it gives."""
    return upcaster.to_type, upcaster.to_version


def way_from(form: Form, onward: Mapping[Form, Upcaster]) -> list[Upcaster]:
    """The upcasters that are applied to what is stored as ``form``, in order."""
    way: list[Upcaster] = []
    while (upcaster := onward.get(form)) is not None and len(way) <= len(onward):
        way.append(upcaster)
        form = form_after(upcaster)
    return way


# --- what is wrong whatever else comes ----------------------------------------------------------------------------------


def problems_at_once(upcasters: Sequence[object]) -> list[Problem]:
    """What no further upcaster can mend: nonsense, two for one form, one that leads back, circles."""
    malformed = [problem for given in upcasters for problem in _nonsense(given)]
    if malformed:
        return malformed
    sound = [given for given in upcasters if isinstance(given, Upcaster)]
    return [*_duplicates(sound), *_backward(sound), *_circles(sound)]


def _nonsense(given: object) -> Iterator[Problem]:
    if not isinstance(given, Upcaster):
        text = f"{given!r} is no upcaster. Decorate the function with @upcasts, or give an Upcaster object."
        yield Problem(RULE, text, getattr(given, "__module__", None) or "(unknown)")
        return
    for attribute in ("type", "to_type"):
        name = getattr(given, attribute, None)
        if not isinstance(name, str) or not name or name.startswith("$"):
            text = f"The {attribute} of {given} is {name!r}. Expected the stored name of an event, which begins without '$'."
            yield Problem(RULE, text, given.where)
            return
    for attribute in ("from_version", "to_version"):
        version = getattr(given, attribute, None)
        if not is_version(version):
            text = f"The {attribute} of {given} is {version!r}. Expected a whole number from 1."
            yield Problem(RULE, text, given.where)
            return


def _duplicates(upcasters: Iterable[Upcaster]) -> Iterator[Problem]:
    by_form: dict[Form, list[Upcaster]] = {}
    for upcaster in upcasters:
        by_form.setdefault(form_before(upcaster), []).append(upcaster)
    for (name, version), found in by_form.items():
        if len(found) > 1:
            text = (
                f"Version {version} of {name!r} has {len(found)} upcasters: {' and '.join(map(str, found))}. "
                "Nobody could say which is meant: keep one."
            )
            yield Problem(RULE, text, found[-1].where)


def _backward(upcasters: Iterable[Upcaster]) -> Iterator[Problem]:
    for upcaster in upcasters:
        if _leads_back(upcaster):
            text = (
                f"{upcaster} leads from version {upcaster.from_version} of {upcaster.type!r} to version "
                f"{upcaster.to_version}. An upcaster leads to a higher version."
            )
            yield Problem(RULE, text, upcaster.where)


def _leads_back(upcaster: Upcaster) -> bool:
    return upcaster.type == upcaster.to_type and upcaster.to_version <= upcaster.from_version


def _circles(upcasters: Sequence[Upcaster]) -> Iterator[Problem]:
    onward: dict[Form, Upcaster] = {}
    for upcaster in upcasters:
        if not _leads_back(upcaster):
            onward.setdefault(form_before(upcaster), upcaster)
    seen: set[Form] = set()
    for start in onward:
        way: list[Form] = []
        form = start
        while form in onward and form not in seen:
            seen.add(form)
            way.append(form)
            form = form_after(onward[form])
        if form in way:
            circle = [*way[way.index(form) :], form]
            names = " -> ".join(f"{name!r} {version}" for name, version in circle)
            text = f"These lead in a circle: {names}. Nothing that is stored so could ever be read: remove one of them."
            yield Problem(RULE, text, onward[form].where)


# --- what is wrong when they are all there -------------------------------------------------------------------------------


def problems_of_chains(upcasters: Sequence[Upcaster], classes: Mapping[str, Collection[int]]) -> list[Problem]:
    """Where a way ends too early, too late, or nowhere. ``classes``: the versions that are there, by stored name."""
    begins = {form_before(upcaster) for upcaster in upcasters}
    ends: dict[Form, Upcaster] = {}
    for upcaster in upcasters:
        if form_after(upcaster) not in begins:
            ends.setdefault(form_after(upcaster), upcaster)
    problems = [problem for form, last in ends.items() for problem in _end(form, last, classes)]
    for name in dict.fromkeys(name for upcaster in upcasters for name in (upcaster.type, upcaster.to_type)):
        problems += [
            _forgotten(name, version, upcasters, classes)
            for version in sorted(classes.get(name, ()))
            if version < max(classes[name]) and (name, version) not in begins | ends.keys()
        ]
    return problems


def _end(form: Form, last: Upcaster, classes: Mapping[str, Collection[int]]) -> Iterator[Problem]:
    """What is wrong with a way that ends at ``form``."""
    name, version = form
    newest = max(classes.get(name, ()), default=None)
    if newest is None:
        text = (
            f"no class of that name was imported.{did_you_mean(nearest(name, classes))} Import the module that defines it "
            "before the registry is made; the model of a snapshot goes into models=[...]."
        )
    elif version > newest:
        text = f"the newest class is of version {newest}. Give the class version={version}, or remove the upcaster."
    elif version < newest:
        text = f"nothing leads on from there to the newest, version {newest}. {_write(name, version)}"
    else:
        return
    yield Problem(RULE, f"{last} leads to version {version} of {name!r}, and {text}", last.where)


def _forgotten(
    name: str, version: int, upcasters: Iterable[Upcaster], classes: Mapping[str, Collection[int]]
) -> Problem:
    touching = next(upcaster for upcaster in upcasters if name in (upcaster.type, upcaster.to_type))
    text = (
        f"There is a class for version {version} of {name!r} and none of the upcasters leads on from it to the newest, "
        f"version {max(classes[name])}: it would be read as it was, and the others would not. {_write(name, version)}"
    )
    return Problem(RULE, text, touching.where)


def _write(name: str, version: int) -> str:
    return f'Write one with @upcasts("{name}", from_version={version}).'
