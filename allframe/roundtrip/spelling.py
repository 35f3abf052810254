"""The type that a core schema is of, as a person writes it."""

from __future__ import annotations

from typing import Final

from allframe.roundtrip.schemas import Definitions, Schema, members_of

__all__ = ["spell"]

_NAMES: Final = {
    "uuid": "UUID",
    "decimal": "Decimal",
    "none": "None",
    "any": "Any",
    "url": "a URL",
    "fraction": "Fraction",
}
_PLAIN: Final = {"str", "int", "float", "bool", "bytes", "date", "datetime", "time", "timedelta", "complex"}
#: How deep. What lies deeper is left out.
_DEEP: Final = 4


def spell(schema: Schema, definitions: Definitions | None = None, depth: int = 0) -> str:
    """The type, such as ``dict[str, UUID | str]``; ``...`` for what has no name there."""
    kind = schema["type"]

    def inner(part: Schema | None) -> str:
        return "Any" if part is None else spell(part, definitions, depth + 1)

    if kind in _PLAIN:
        return str(kind)
    if kind in _NAMES:
        return _NAMES[kind]
    if depth > _DEEP:
        return "..."
    match kind:
        case "model" | "dataclass" | "enum" | "typed-dict" | "named-tuple" | "is-instance" | "is-subclass":
            cls = schema.get("cls")
            return getattr(cls, "__name__", str(cls))
        case "literal":
            return f"Literal[{', '.join(map(repr, schema['expected']))}]"
        case "nullable":
            return f"{inner(schema['schema'])} | None"
        case "union" | "tagged-union":
            return " | ".join(map(inner, members_of(schema)))
        case "definition-ref":
            target = (definitions or {}).get(schema["schema_ref"])
            return "..." if target is None else inner(target)
        case "list" | "set" | "frozenset" | "deque":
            return f"{kind}[{inner(schema.get('items_schema'))}]"
        case "tuple":
            items = [inner(item) for item in schema["items_schema"]]
            return f"tuple[{', '.join(items)}{', ...' if 'variadic_item_index' in schema else ''}]"
        case "dict" | "ordered-dict":
            return f"dict[{inner(schema.get('keys_schema'))}, {inner(schema.get('values_schema'))}]"
        case "lax-or-strict":
            return inner(schema["strict_schema"])
        case "json-or-python":
            python = schema["python_schema"]
            if python["type"] == "union" and python["choices"][0]["type"] == "is-instance":
                return inner(python["choices"][0])
            return inner(python)
        case "chain":
            return inner(schema["steps"][0])
        case "default" | "custom-error" | "function-after" | "function-before" | "function-wrap" | "definitions":
            return inner(schema["schema"])
    return "..."
