"""Two JSON schemas of stored payloads -> how they differ, and what of it breaks: pure.

What breaks is what was stored by the old one and cannot be read by the new one, or not for the same. Titles, descriptions
and examples are for people, and no difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

__all__ = ["differences", "same_shape"]

Schema: TypeAlias = dict[str, Any]

#: What says nothing about the values.
_FOR_PEOPLE = {"title", "description", "examples", "deprecated", "default", "$defs", "secret", "writeOnly", "readOnly"}


def differences(before: Schema, now: Schema) -> Iterator[tuple[bool, str]]:
    """Whether it breaks, and what it is, field by field; those within a field by their path: ``address.street``."""
    yield from _differences(_whole(before), _whole(now), "")


def same_shape(one: Schema, other: Schema) -> bool:
    """Whether they have the same fields of the same types, whatever they are called."""
    return _text(_whole(one)) == _text(_whole(other))


def _differences(before: Schema, now: Schema, path: str) -> Iterator[tuple[bool, str]]:
    if "properties" in before and "properties" in now:
        yield from _fields(before, now, path)
    elif _is_list(before) and _is_list(now):
        yield from _differences(before["items"], now["items"], f"{path}[]")
    elif _text(before) != _text(now):
        wider = _alternatives(before) <= _alternatives(now)
        what = "takes more than before" if wider else f"was {_short(before)} and is {_short(now)}"
        yield not wider, f"the field {path!r} {what}"


def _fields(before: Schema, now: Schema, path: str) -> Iterator[tuple[bool, str]]:
    old, new = before["properties"], now["properties"]
    needed, was_needed = set(now.get("required", ())), set(before.get("required", ()))
    for name in sorted({*old, *new}):
        place = f"{path}.{name}" if path else name
        if name not in new:
            yield True, f"the field {place!r} was removed"
        elif name not in old:
            default = "without a default" if name in needed else "with a default"
            yield name in needed, f"the field {place!r} was added {default}"
        else:
            yield from _differences(old[name], new[name], place)
            if name in needed - was_needed:
                yield True, f"the field {place!r} had a default and has none any more"
    if now.get("additionalProperties") is False and before.get("additionalProperties") is not False:
        yield (
            True,
            f"{f'the field {path!r}' if path else 'it'} refuses fields that it does not know, which it did not before",
        )


def _is_list(schema: Schema) -> bool:
    return schema.get("type") == "array" and isinstance(schema.get("items"), dict)


def _alternatives(schema: Schema) -> set[str]:
    """What a value may be, each as text."""
    if "anyOf" in schema:
        return {text for part in schema["anyOf"] for text in _alternatives(part)}
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return {f"={json.dumps(value, sort_keys=True)}" for value in values}
    return {_text(schema)}


def _short(schema: Schema) -> str:
    """A schema as people say it: ``integer``, ``string or null``; else its JSON, cut."""
    parts = schema.get("anyOf", [schema])
    if all(set(part) == {"type"} for part in parts):
        return " or ".join(str(part["type"]) for part in parts)
    text = _text(schema)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _text(schema: Any) -> str:
    return json.dumps(schema, sort_keys=True)


def _whole(schema: Schema) -> Schema:
    """With each reference replaced by what it refers to, and without what is for people."""
    definitions = schema.get("$defs", {})
    found: Schema = _resolved(schema, definitions, ())
    return found


def _resolved(part: Any, definitions: Schema, inside: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_resolved(item, definitions, inside) for item in part]
    if not isinstance(part, dict):
        return part
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions:
        if name in inside:  # a type within itself: by how far up it is, whatever it is called
            return {"within": len(inside) - inside.index(name)}
        return _resolved(definitions[name], definitions, (*inside, name))
    return {
        key: _named(value, definitions, inside) if key == "properties" else _resolved(value, definitions, inside)
        for key, value in part.items()
        if key not in _FOR_PEOPLE
    }


def _named(properties: Schema, definitions: Schema, inside: tuple[str, ...]) -> Schema:
    """Fields by their names, of which any may be one of `_FOR_PEOPLE`."""
    return {name: _resolved(value, definitions, inside) for name, value in properties.items()}
