"""Pydantic's core schemas, read: what they have in more than one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Definitions", "Schema", "fields_of", "members_of"]

#: A node of a core schema.
Schema: TypeAlias = Mapping[str, Any]
#: What a ``definition-ref`` refers to, by its ``schema_ref``.
Definitions: TypeAlias = Mapping[str, Schema]


def members_of(schema: Schema) -> list[Schema]:
    """The members of a union, tagged or not."""
    choices = schema["choices"]
    members = choices.values() if isinstance(choices, dict) else choices
    return [member[0] if isinstance(member, tuple) else member for member in members]


def fields_of(schema: Schema) -> dict[str, Schema]:
    """The fields of a model, a dataclass, a typed dictionary or a named tuple, by name."""
    fields = schema["fields"]
    return dict(fields) if isinstance(fields, dict) else {field["name"]: field for field in fields}
