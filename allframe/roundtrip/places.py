"""Where in a value something stands, written as in Python: ``lines[3].price``, ``rates['EUR'].value``.

It is asked only when something is wrong. The items of a set have no place of their own: ``tags[*]`` is one of them, as in
`allframe.roundtrip.obstacles`, where ``[*]`` is any item.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel, RootModel
from pydantic_core import from_json, to_json

from allframe.roundtrip.sameness import is_same

__all__ = ["at_path", "deepest", "difference", "largest", "place_of_loc", "spell_place", "unwritable"]

#: One way from a value to a part of it: the step as it is written, what leads there, and the part.
Child = tuple[str, Any, Any]

_MANY: Final = 200_000
_LONG: Final = 100


def children(value: Any, *, discreet: bool = False) -> Iterator[Child]:
    """The parts of a value. ``discreet``: without the keys of dicts, which may be secrets."""
    if isinstance(value, RootModel):
        yield from children(value.root, discreet=discreet)
    elif isinstance(value, BaseModel):
        yield from ((f".{name}", name, part) for name, part in value.__dict__.items())
        yield from ((f".{name}", name, part) for name, part in (value.__pydantic_extra__ or {}).items())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        yield from ((f".{name}", name, getattr(value, name)) for name in names if hasattr(value, name))
    elif isinstance(value, dict):
        yield from (("[*]" if discreet else f"[{_short(key)}]", key, part) for key, part in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        fields: tuple[str, ...] = getattr(value, "_fields", ())
        yield from ((f".{name}", i, part) for i, (name, part) in enumerate(zip(fields, value, strict=False)))
    elif isinstance(value, list | tuple | deque):
        yield from ((f"[{i}]", i, part) for i, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("[*]", i, part) for i, part in enumerate(value))


def at_path(steps: Sequence[str]) -> str:
    """These steps as one path; of a very long one its beginning."""
    path = "".join(steps).removeprefix(".")
    return path if len(path) <= _LONG else f"{path[: _LONG - 3]}..."


def spell_place(loc: Sequence[str | int]) -> str:
    """The ``loc`` of a pydantic error, where the value is not at hand."""
    return at_path([f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc if step != "[key]"])


def place_of_loc(value: Any, loc: Sequence[str | int], *, discreet: bool = False) -> tuple[str, Any]:
    """The same where it is: the path, and the part there. Members of a union, which a ``loc`` names too, are no parts."""
    steps: list[str] = []
    for name in loc:
        for step, key, part in children(value, discreet=discreet):
            if key == name or (isinstance(name, str) and not isinstance(key, str) and _text(key) == name):
                steps.append(step)
                value = part
                break
    return at_path(steps), value


def difference(value: Any, loaded: Any, *, discreet: bool = False) -> tuple[str, Any, Any]:
    """The first part that is another in ``loaded``: its path, the part, and what it became."""
    steps: list[str] = []
    while type(value) is type(loaded) and not isinstance(value, set | frozenset):
        ours = list(children(value, discreet=discreet))
        theirs = list(children(loaded))
        if [key for _, key, _ in ours] != [key for _, key, _ in theirs]:
            break
        pairs = zip(ours, theirs, strict=True)
        found = next(((one, other) for one, other in pairs if not _is_same_part(one[2], other[2])), None)
        if found is None or len(steps) > _LONG:
            break
        steps.append(found[0][0])
        value, loaded = found[0][2], found[1][2]
    return at_path(steps), value, loaded


def _is_same_part(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and is_same(one, other)
    except Exception:  # noqa: BLE001 - an __eq__ of the user's
        return False


def unwritable(value: Any, *, discreet: bool = False) -> tuple[str, Any] | None:
    """The first part that has no form in JSON at all: its path, and the part. Bytes that are no text come last."""
    raw = None
    for steps, part, is_leaf in _walk(value, discreet=discreet):
        if is_leaf and not _is_writable(part):
            if not isinstance(part, bytes):
                return at_path(steps), part
            raw = raw or (at_path(steps), part)
    return raw


def _is_writable(part: Any) -> bool:
    try:
        to_json(part)
    except Exception:  # noqa: BLE001 - a serializer of the user's
        return False
    return True


def deepest(value: Any, *, discreet: bool = False) -> str:
    """The way to the part that lies deepest."""
    return at_path(max((steps for steps, _, _ in _walk(value, discreet=discreet)), key=len, default=()))


def largest(value: Any, data: bytes, *, discreet: bool = False) -> tuple[str, int]:
    """The smallest part of ``value`` that makes up most of its JSON ``data``: its path, and its bytes."""
    steps: list[str] = []
    written, size = from_json(data), len(data)
    while isinstance(written, dict | list) and written:
        parts = written.items() if isinstance(written, dict) else enumerate(written)
        bytes_of, name, part = max(
            ((len(to_json(part)), name, part) for name, part in parts), key=lambda found: found[0]
        )
        inside = [child for child in children(value, discreet=discreet) if child[1] == name or _text(child[1]) == name]
        if bytes_of < size / 2 or not inside:
            break
        steps.append(inside[0][0])
        value, written, size = inside[0][2], part, bytes_of
    return at_path(steps), size


def _walk(value: Any, *, discreet: bool) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Every part of a value, with the way to it and whether it has no parts itself; not all of one without an end."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), value)]
    for _ in range(_MANY):
        if not todo:
            return
        steps, part = todo.pop()
        inside = list(children(part, discreet=discreet)) if len(steps) < _MANY // 1000 else []
        yield steps, part, not inside
        if isinstance(part, dict) and not discreet:
            todo.extend(((*steps, ".keys()"), key) for key in part if not isinstance(key, str) or not key.isascii())
        todo.extend(((*steps, step), child) for step, _, child in reversed(inside))


def _short(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _text(key: Any) -> str:
    try:
        text = str(getattr(key, "value", key))
    except Exception:  # noqa: BLE001 - a user's __str__
        return ""
    return text
