"""Whether values of a type come back from JSON, found out by trying it with samples: nothing is called but pydantic's own code.

Which of two types a text is read as depends on pydantic's choice in a union, on constraints, on configs. So nobody here
argues about it: every sample that a type of the union takes is written and read, and one that comes back as something
else is the *witness*. Where the user's own code has a say (validators, serializers, ``__init__``), it is not called, and
nothing is decided.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, SchemaSerializer, SchemaValidator, from_json, to_json

from allframe.masking import reveal
from allframe.roundtrip.reasons import reason_of
from allframe.roundtrip.sameness import is_same
from allframe.roundtrip.sampling import documents
from allframe.roundtrip.schemas import Definitions, Schema, members_of

__all__ = ["Prober", "Witness", "has_own_code"]

#: More members, and more samples, than a type has that a person writes.
_MEMBERS: Final = 20
_SAMPLES: Final = 120


@dataclass(frozen=True, slots=True)
class Witness:
    """A value that was written, and is not what was read."""

    value: Any
    #: What was read, if anything was.
    loaded: Any = None
    #: Why nothing was, such as ``cannot be read back (Input should be a valid array)``.
    error: str | None = None


class Prober:
    """Writes and reads values of parts of one schema.

    ``config``: pydantic's core config of what the part stands in. Each question gives None where it cannot be decided,
    and where every sample comes back.
    """

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions

    def part(self, schema: Schema, config: Any) -> Witness | None:
        """A value of this part that does not come back."""
        if not is_harmless(schema, self._definitions):
            return None
        part = _Part(self._whole(schema), config)
        return next(part.failures(part.values(self._samples(schema))), None)

    def value(self, schema: Schema, config: Any, value: Any) -> Witness | None:
        """``value``, if it does not come back as one of this part."""
        if not is_harmless(schema, self._definitions):
            return None
        return next(_Part(self._whole(schema), config).failures([value]), None)

    def keeps(self, schema: Schema, config: Any, value: Any) -> bool:
        """Whether validation leaves ``value`` as it is."""
        return is_harmless(schema, self._definitions) and _Part(self._whole(schema), config).keeps(value)

    def union(self, schema: Schema, config: Any, *, validated: bool, ignores: Callable[[Any], bool]) -> Witness | None:
        """A value that comes back by its own member, and not by the union.

        ``validated``: whether pydantic has seen every value before, as in the fields of a model. It may have made another
        of it then. ``ignores`` says which do not count.
        """
        members = members_of(schema)
        if len(members) > _MEMBERS or not is_harmless(schema, self._definitions):
            return None
        union = _Part(self._whole(schema), config)
        for alone, values in self._by_member(members, config):
            for witness in union.failures(value for value in values if not ignores(value)):
                if validated and not union.keeps(witness.value):
                    continue
                if next(alone.failures([witness.value]), None) is None:
                    return witness
        return None

    def _by_member(self, members: list[Schema], config: Any) -> Iterator[tuple[_Part, Iterator[Any]]]:
        """Each member of a union, with values of it: its own samples first, then those of the others that it takes."""
        samples = [self._samples(member) for member in members]
        for i, member in enumerate(members):
            if member["type"] == "any":  # whatever it holds, somebody may have meant it
                continue
            # Any text is bytes to pydantic. Those that look like a UUID as base64 are nobody's bytes.
            others = [] if member["type"] == "bytes" else [*samples[:i], *samples[i + 1 :]]
            part = _Part(self._whole(member), config)
            yield part, part.values([*samples[i], *chain.from_iterable(others)][:_SAMPLES])

    def keys(self, schema: Schema, config: Any) -> Witness | None:
        """A value of this part that does not come back as the key of an object."""
        if not is_harmless(schema, self._definitions):
            return None
        members = members_of(schema) if schema["type"] == "union" else [schema]
        found = chain.from_iterable(values for _, values in self._by_member(members[:_MEMBERS], config))
        keyed: Schema = {"type": "dict", "keys_schema": schema, "values_schema": {"type": "none"}}
        objects = ({value: None} for value in found if _is_hashable(value))
        for witness in _Part(self._whole(keyed), config).failures(objects):
            loaded = witness.loaded and next(iter(witness.loaded))
            return Witness(next(iter(witness.value)), loaded, witness.error)
        return None

    def _samples(self, schema: Schema) -> list[Any]:
        return documents(schema, self._definitions)

    def _whole(self, schema: Schema) -> Any:
        if not self._definitions:
            return schema
        return {"type": "definitions", "schema": schema, "definitions": list(self._definitions.values())}


class _Part:
    def __init__(self, schema: Any, config: Any) -> None:
        self._config = config
        self._serializer = SchemaSerializer(schema, config)
        self._validator = SchemaValidator(schema, config)

    def values(self, samples: list[Any]) -> Iterator[Any]:
        """What it reads of these JSON documents."""
        for sample in samples:
            try:
                yield self._read(to_json(sample))
            except (ValidationError, TypeError):  # of another type, or against a constraint; no item of a set
                continue

    def keeps(self, value: Any) -> bool:
        """Whether validation leaves this value as it is."""
        try:
            kept = self._validator.validate_python(value, by_alias=False, by_name=True)
        except ValidationError:
            return False
        return type(kept) is type(value) and is_same(kept, value)

    def failures(self, values: Any) -> Iterator[Witness]:
        """Those that do not come back."""
        for value in values:
            try:
                loaded = self._read(self._written(value))
            except ValidationError as error:
                yield Witness(value, error=f"cannot be read back ({reason_of(error, at='')})")
            except (PydanticSerializationError, TypeError, ValueError) as error:
                yield Witness(value, error=f"cannot be written ({reason_of(error)})")
            else:
                if not is_same(loaded, value):
                    yield Witness(value, loaded)

    def _written(self, value: Any) -> bytes:
        data = self._serializer.to_json(value, warnings="error", by_alias=False, round_trip=True)
        # Secrets are written in clear, as `Payload` does it.
        return to_json(reveal(value, from_json(data), self._config or {}))

    def _read(self, data: bytes) -> Any:
        return self._validator.validate_json(data, strict=True, by_alias=False, by_name=True)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


# --- whose code it is ------------------------------------------------------------------------------------------------

_OURS = frozenset({"pydantic", "pydantic_core", "allframe", *sys.stdlib_module_names}) - {"__main__"}
#: Where a schema holds values, and no schemas.
_VALUES = {"cls", "config", "default", "discriminator", "expected", "members", "metadata", "ref", "schema_ref", "type"}


def is_harmless(schema: Any, definitions: Definitions) -> bool:
    """Whether reading and writing values of this schema calls nobody's code but pydantic's and Python's."""
    return _is_harmless(schema, definitions, set())


def _is_harmless(schema: Any, definitions: Definitions, seen: set[str]) -> bool:
    if isinstance(schema, list | tuple):
        return all(_is_harmless(part, definitions, seen) for part in schema)
    if not isinstance(schema, Mapping):
        return not callable(schema) or isinstance(schema, type) or not is_own_code(schema)
    if has_own_code(schema):
        return False
    if schema.get("type") == "definition-ref":
        ref = schema["schema_ref"]
        if ref in seen:
            return True
        seen.add(ref)
        return ref in definitions and _is_harmless(definitions[ref], definitions, seen)
    return all(_is_harmless(part, definitions, seen) for key, part in schema.items() if key not in _VALUES)


def has_own_code(schema: Schema) -> bool:
    """Whether the user's code has a say in this very node of a schema."""
    function = schema.get("function")
    function = function.get("function") if isinstance(function, Mapping) else function
    if function is not None and schema.get("type") != "call" and is_own_code(function):
        return True
    if schema.get("missing") or schema.get("custom_init"):
        return True
    factory = schema.get("default_factory")
    if factory is not None and (schema.get("default_factory_takes_data") or is_own_code(factory)):
        return True
    return bool(schema.get("post_init")) and is_own_code(_post_init(schema["cls"]))


def _post_init(cls: Any) -> Any:
    # With private attributes, pydantic has one of its own.
    return cls.model_post_init if issubclass(cls, BaseModel) else cls.__post_init__


def is_own_code(function: Any) -> bool:
    """Whether a function is the user's, or a library's."""
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or getattr(owner, "__module__", None)
    return not isinstance(module, str) or module.partition(".")[0] not in _OURS
