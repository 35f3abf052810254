"""What pydantic's core schema of a type says of it by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel

from allframe.roundtrip.probing import has_own_code
from allframe.roundtrip.schemas import Definitions, Schema

__all__ = [
    "KEYS",
    "TIMES",
    "TYPES",
    "are_apart",
    "is_fixed",
    "is_secret",
    "is_unreadable",
    "names_no_fields",
    "writes_itself",
]

#: What is a text in JSON and as a key, and comes back from it.
KEYS: Final = {
    "str",
    "int",
    "float",
    "bool",
    "decimal",
    "uuid",
    "date",
    "datetime",
    "time",
    "timedelta",
    "bytes",
    "any",
}
#: The words of a config that say how times are written.
TIMES: Final = {"ser_json_timedelta", "ser_json_temporal", "val_temporal_unit"}
TYPES: Final[dict[str, type]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": float,
    "bytes": bytes,
    "none": type(None),
}


def writes_itself(schema: Schema) -> bool:
    """Whether the user's code writes it."""
    serialization = schema.get("serialization")
    return isinstance(serialization, Mapping) and has_own_code(serialization)


def is_fixed(schema: Schema) -> bool:
    """Whether it can have no other value than its default."""
    if schema["type"] != "default" or "default" not in schema:
        return False
    inner = schema["schema"]
    return bool(inner["type"] == "none" or (inner["type"] == "literal" and inner["expected"] == [schema["default"]]))


def is_secret(schema: Schema, kind: str = "") -> bool:
    """Whether it is one of pydantic's secrets, which are written as asterisks; ``kind``: only ``Secret`` itself."""
    function = (schema.get("serialization") or {}).get("function")
    name = getattr(function, "__name__", "")
    is_one = name == "_serialize_secret" if kind == "Secret" else name.startswith("_serialize_secret")
    return is_one and function.__module__ == "pydantic.types"


def is_unreadable(schema: Schema) -> bool:
    """Whether no reader takes it, in no form."""
    return schema["type"] in ("callable", "generator", "is-instance", "is-subclass")


def names_no_fields(schema: Schema) -> bool:
    """Whether it is `BaseModel` itself. As the bound of a type variable it has a serialization of its own: which model is
    meant then, nobody has said yet.
    """
    return schema["cls"] is BaseModel and "serialization" not in schema


_KINDS_OF_JSON: Final = {
    **dict.fromkeys(("str", "uuid", "date", "datetime", "time", "timedelta", "decimal", "bytes", "url"), "text"),
    **dict.fromkeys(("int", "float"), "number"),
    "bool": "bool",
    "none": "null",
    **dict.fromkeys(("list", "set", "frozenset", "tuple", "deque", "named-tuple"), "array"),
    **dict.fromkeys(("dict", "model", "dataclass", "typed-dict"), "object"),
}


def are_apart(members: Sequence[Schema], definitions: Definitions) -> bool:
    """Whether each has a form of JSON to itself, so that none can be taken for another."""
    kinds = []
    for member in members:
        target = definitions.get(member["schema_ref"], member) if member["type"] == "definition-ref" else member
        kind = _KINDS_OF_JSON.get(target["type"])
        if kind is None or target.get("root_model"):
            return False
        # Numbers are told apart: 1 is an int, and 1.0 a float.
        kinds.append(target["type"] if kind == "number" else kind)
    return len(set(kinds)) == len(kinds)
