"""Plain models: those whose JSON is read back equal, whatever they hold, so that nobody has to read it to know.

A model is plain if pydantic's schema of it says nothing but: these fields, each of one of `_KINDS`, which may be None or
have a default. A constraint, a validator, a serializer, an alias, an excluded or computed field, a private attribute, an
``__eq__`` of its own: any of them is a word that is not among those here, and it is not plain.

A value of it comes back equal if each field holds an object of exactly that type: neither of a subclass, as ``True`` is
for ``int``, nor another that was put there past the validation. So says the form of each of these types:

*   ``str``: text as a JSON string. A lone surrogate is refused when it is written.
*   ``int``: its digits, of which a reader takes 4,300: more than `LARGEST` bytes hold.
*   ``bool`` and ``None``: words of JSON's own.
*   ``UUID``: 32 hexadecimal digits, all of it. ``date``: year, month and day in ISO 8601, all of it.
*   ``Decimal``: sign, digits and exponent as Python writes and reads them, which is one to one for finite numbers.

``float``, ``datetime`` and ``bytes`` are not among them: NaN, the hour that a clock shows twice, and their options.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import BaseModel

__all__ = ["LARGEST", "Plain", "holds", "plain"]

#: The most bytes of JSON for which all of this holds.
LARGEST = 4_000

#: The fields of a plain model, and of which types a value of each may be.
Plain: TypeAlias = dict[str, frozenset[type]]

_KINDS = {"str": str, "int": int, "bool": bool, "uuid": UUID, "date": date, "decimal": Decimal}
_MODEL = {"type", "cls", "schema", "config", "ref", "metadata", "custom_init", "root_model", "frozen"}
_CONFIG = {"title", "ser_json_bytes", "val_json_bytes", "frozen", "hide_input_in_errors"}
_FIELDS = {"type", "fields", "model_name", "computed_fields"}
_FIELD = {"type", "schema", "metadata", "frozen"}
_DEFAULT = {"type", "schema", "default", "default_factory", "default_factory_takes_data"}


def plain(cls: type[BaseModel], schema: Any) -> Plain | None:
    """The fields of ``cls``, of which pydantic has this core schema; None if it is not plain."""
    if not _says(schema, "model", _MODEL) or schema["cls"] is not cls or cls.__eq__ is not BaseModel.__eq__:
        return None
    if schema.get("custom_init") or schema.get("root_model") or cls.__private_attributes__:
        return None
    fields = schema["schema"]
    if not _CONFIG.issuperset(schema.get("config", ())) or not _says(fields, "model-fields", _FIELDS):
        return None
    if fields.get("computed_fields"):
        return None
    found = {name: _kinds(field) for name, field in fields["fields"].items()}
    return None if None in found.values() else {name: kinds for name, kinds in found.items() if kinds}


def holds(fields: Plain, values: Mapping[str, Any]) -> bool:
    """Whether ``values``, the ``__dict__`` of a model, are what comes back equal."""
    if len(values) != len(fields):
        return False
    for name, kinds in fields.items():
        value = values.get(name, fields)  # what is no value of any kind
        kind = type(value)
        if kind not in kinds or (kind is Decimal and not value.is_finite()):
            return False
    return True


def _kinds(field: Mapping[str, Any]) -> frozenset[type] | None:
    if not _says(field, "model-field", _FIELD):
        return None
    schema = field["schema"]
    if _says(schema, "default", _DEFAULT):
        schema = schema["schema"]
    if not _says(schema, "nullable", {"type", "schema"}):
        return _kind(schema)
    kinds = _kind(schema["schema"])
    return None if kinds is None else kinds | {type(None)}


def _kind(schema: Mapping[str, Any]) -> frozenset[type] | None:
    kind = _KINDS.get(schema["type"])
    return frozenset({kind}) if kind is not None and schema.keys() <= {"type", "metadata"} else None


def _says(schema: Any, kind: str, words: set[str]) -> bool:
    """Whether it is a schema of this kind, and says nothing else than these."""
    return isinstance(schema, Mapping) and schema.get("type") == kind and schema.keys() <= words
