"""AF110: whether what a saga takes and what its steps return can be stored as JSON and read back.

Only what certainly cannot is refused. The rest shows itself when a value makes the round trip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from allframe.errors import Problem
from allframe.inject import type_name
from allframe.saga.definition import Definition

__all__ = ["check_storage"]

Schema = Mapping[str, Any]


def check_storage(definition: Definition) -> list[Problem]:
    """The problems of the input and of each output; every annotation is resolved."""
    found = [("The input ", definition.cls, definition.where)]
    found += [(f"What {step.attribute!r} returns: ", step.output, step.where) for step in definition.steps]
    return [
        Problem("AF110", what + text, where) for what, annotation, where in found if (text := _obstacle(annotation))
    ]


def _obstacle(annotation: Any) -> str | None:
    """Why values of this type cannot be stored."""
    try:
        found = _unreadable(_schema(annotation))
    except Exception as error:  # noqa: BLE001 - pydantic asks the type, which may answer anything
        # The first sentence: pydantic goes on to say how to make it accept any type.
        found = (str(error) or type(error).__name__).splitlines()[0].split(". ", 1)[0].rstrip(".")
    return found and (
        f"{type_name(annotation)} cannot be stored: {found}. Use types that pydantic can write as JSON and read again: "
        "models, dataclasses, plain values."
    )


def _schema(annotation: Any) -> Schema:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        annotation.model_rebuild()
        schema: Schema = annotation.__pydantic_core_schema__
        return schema
    return TypeAdapter(annotation).core_schema


def _unreadable(schema: Schema) -> str | None:
    """What pydantic refuses to read from JSON, whatever is written there; None if there is no such part.

    A union can be read if one of its members can. Behind a validator of the user's own anything can be.
    """
    match schema.get("type"):
        case "callable":
            return "a callable cannot be read from JSON"
        case "generator":
            return "an iterator does not come back equal"
        case "is-instance" | "is-subclass":
            return f"{type_name(schema['cls'])} cannot be read from JSON"
        case "union" | "tagged-union":
            choices = schema["choices"]
            members = choices.values() if isinstance(choices, dict) else choices
            found = [_unreadable(member[0] if isinstance(member, tuple) else member) for member in members]
            return found[0] if all(found) else None
        case "function-before" | "function-wrap" | "function-plain" | "json":
            return None
    return next((text for part in _parts(schema) if (text := _unreadable(part))), None)


#: Where a schema has others inside it, of which each must be readable.
_INSIDE = ("schema", "json_schema", "strict_schema", "items_schema", "keys_schema", "values_schema", "arguments_schema")


def _parts(schema: Schema) -> Iterator[Schema]:
    for key in _INSIDE:
        part = schema.get(key, ())
        yield from part if isinstance(part, list | tuple) else (part,)
    yield from schema.get("definitions", ())
    yield from schema.get("steps", ())[:1]  # the others read what the first has made
    fields = schema.get("fields", ())
    for field in fields.values() if isinstance(fields, dict) else fields:
        if isinstance(field, Mapping) and not field.get("serialization_exclude"):
            yield field
