"""What a program's events look like, as one JSON document; and what a change of it breaks: pure.

A catalogue is made to be committed beside the code. ``compare`` then says whether what was stored by the program of the
committed one can still be read by the program of today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from allframe.errors import PayloadError
from allframe.events.event import Event, class_of, event_payload
from allframe.events.schemas import differences, same_shape
from allframe.events.versioning import VersionRegistry

__all__ = ["FORMAT", "Catalogue", "Change", "compare", "make_catalogue", "read_catalogue"]

Catalogue: TypeAlias = dict[str, Any]
_Form: TypeAlias = tuple[str, int]

#: The version of the document's own form.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs."""

    #: Whether something that is stored cannot be read any more, or is read otherwise.
    breaks: bool
    #: The stored name and version that it is about.
    event: str
    version: int
    text: str

    def __str__(self) -> str:
        return f"{self.event} {self.version}: {self.text}"


def make_catalogue(events: Iterable[type[Event]], versions: VersionRegistry | None = None) -> Catalogue:
    """The catalogue of these events, in the order of names and versions: equal programs give equal documents.

    Of each event: ``name``, ``version``, ``stream`` (its template, or None), ``upcast_from`` (the stored names and versions
    that are read as it) and the ``schema`` of its payload.

    Raises:
        DefinitionError: (AF118) if two classes share a name and version.
        PayloadError: if a class has no JSON schema.
    """
    events = list(events)
    for cls in events:
        class_of(cls.event_name, cls.event_version)
    paths = [] if versions is None else versions.get_migrations()
    entries = [
        {
            "name": cls.event_name,
            "version": cls.event_version,
            "stream": getattr(cls, "__stream__", None),
            "upcast_from": [
                {"name": path.type, "version": path.from_version}
                for path in paths
                if (path.to_type, path.to_version) == (cls.event_name, cls.event_version)
            ],
            "schema": event_payload(cls).schema(),
        }
        for cls in sorted(events, key=lambda cls: (cls.event_name, cls.event_version))
    ]
    return {"format": FORMAT, "events": entries}


def read_catalogue(document: object) -> Catalogue:
    """``document``, if it is a catalogue.

    Raises:
        PayloadError: if it is none, or of a newer form.
    """
    if not isinstance(document, dict) or not isinstance(document.get("events"), list):
        raise PayloadError("It is no catalogue of events. Make one with `allframe events schema -m MODULE`.")
    if document.get("format") != FORMAT:
        raise PayloadError(
            f"It is a catalogue of form {document.get('format')!r}, and this allframe reads form {FORMAT}. Make it anew with "
            "`allframe events schema -m MODULE`, or use the allframe that made it."
        )
    for entry in document["events"]:
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("name"), str)
            and isinstance(entry.get("version"), int)
            and isinstance(entry.get("schema"), dict)
            and isinstance(entry.get("upcast_from"), list)
        ):
            raise PayloadError("It is a damaged catalogue: an event lacks its name, version, schema or upcast_from.")
    return document


def compare(before: Catalogue, now: Catalogue) -> list[Change]:
    """What differs, by the names and versions of events, what breaks first. Both are what `make_catalogue` gives."""
    old, new = _entries(before), _entries(now)
    readers = _readers(new)
    found: list[Change] = []
    for form, entry in old.items():
        if form in readers:
            found += _upcast(form, entry, readers[form])
        elif form in new:
            found += [Change(breaks, *form, text) for breaks, text in _altered(entry, new[form])]
        else:
            found.append(Change(True, *form, _removed(form, entry, old, new)))
    found += [
        _lost(form, reader)
        for form, reader in _readers(old).items()
        if form not in readers and (form not in old or form in new)
    ]
    found += [Change(False, *form, _added(form, old)) for form in new if form not in old]
    return sorted(found, key=lambda change: (change.event, change.version, not change.breaks, change.text))


def _entries(catalogue: Catalogue) -> dict[_Form, Mapping[str, Any]]:
    return {(entry["name"], entry["version"]): entry for entry in catalogue["events"]}


def _readers(entries: Mapping[_Form, Mapping[str, Any]]) -> dict[_Form, _Form]:
    """What is upcast -> what it is read as."""
    return {
        (source["name"], source["version"]): form for form, entry in entries.items() for source in entry["upcast_from"]
    }


def _upcast(form: _Form, entry: Mapping[str, Any], reader: _Form) -> Iterator[Change]:
    if form not in {(source["name"], source["version"]) for source in entry["upcast_from"]}:
        yield Change(False, *form, f"it is upcast to {_said(form, reader)}")


def _removed(
    form: _Form, entry: Mapping[str, Any], old: Mapping[_Form, Any], new: Mapping[_Form, Mapping[str, Any]]
) -> str:
    name, version = form
    later = [known for other, known in new if other == name]
    if later:
        return (
            f"it is gone, and no upcaster leads from it to version {max(later)}. Write one with "
            f'@upcasts("{name}", from_version={version}), or keep the class.'
        )
    alike = [other for other, found in new.items() if other not in old and same_shape(entry["schema"], found["schema"])]
    if alike:
        to, to_version = alike[0]
        return (
            f'it is gone, and {to!r} looks like it. If it was renamed, write an upcaster with @upcasts("{name}", '
            f'from_version={version}, to_type="{to}", to_version={to_version}), or give the class name="{name}".'
        )
    return "it is gone, and no upcaster leads from it to another. Keep the class for as long as such events are stored."


def _lost(form: _Form, reader: _Form) -> Change:
    return Change(True, *form, f"it was upcast to {_said(form, reader)}, and its upcaster is gone")


def _added(form: _Form, old: Mapping[_Form, Any]) -> str:
    return "a new version" if any(name == form[0] for name, _ in old) else "a new event"


def _altered(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """What changed in one version, and whether it breaks."""
    for breaks, text in differences(before["schema"], now["schema"]):
        yield breaks, f"in the same version, {text}" if breaks else text
    if before.get("stream") != now.get("stream"):
        yield True, _moved(before.get("stream"), now.get("stream"))


def _moved(before: object, now: object) -> str:
    return (
        f"its stream was {before!r} and is {now!r}: what is stored stays where it is, and who reads the new streams does not "
        "find it"
    )


def _said(form: _Form, other: _Form) -> str:
    return f"version {other[1]}" if form[0] == other[0] else f"{other[0]!r} {other[1]}"
