"""Samples of a type as JSON documents: a few for each, of every shape that its schema has.

They are guesses. Whoever takes them asks pydantic which of them the type accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from enum import Enum
from itertools import islice, zip_longest
from typing import Any, Final

from pydantic_core import to_json

from allframe.roundtrip.schemas import Definitions, Schema, fields_of, members_of

__all__ = ["documents"]

#: How many of one type.
_MANY: Final = 24
#: How deep a type may lie in itself.
_DEEP: Final = 12

_LEAVES: Final[dict[str, tuple[Any, ...]]] = {
    "str": ("x", "abc", "ABC", "a-long-name", "127.0.0.1", "10.0.0.0/8", "::1", "UTC"),
    "bool": (True, False),
    "none": (None,),
    "any": (1,),
    "float": (1.5, 1.0, 0.5, 100.5),
    "decimal": ("1.5", "1", "0.5", "100"),
    # Bytes in any of pydantic's spellings.
    "bytes": ("6162", "YWI="),
    "date": ("2026-01-02", "2199-01-02"),
    "datetime": ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "2199-01-02T03:04:05Z", "2026-01-02T00:00:00"),
    "time": ("03:04:05", "03:04:05Z"),
    "timedelta": ("PT5S", "P1DT0.5S"),
    "url": ("https://example.com/a", "https://example.com/"),
    "multi-host-url": ("postgresql://a:b@example.com/c", "https://example.com/"),
    "complex": ("1+2j",),
    "fraction": ("1/3", "2"),
    "function-plain": ("x", "127.0.0.1", "10.0.0.0/8", "::1", "UTC", 1),
}
_UUIDS: Final = tuple(f"6ba7b810-9dad-{version}1d1-80b4-00c04fd430c8" for version in "41356782")


def documents(schema: Schema, definitions: Definitions) -> list[Any]:
    """Samples of what ``schema`` may read, the usual first; none if nobody can guess."""
    return list(islice(_Sampler(definitions).of(schema), _MANY))


class _Sampler:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._depth = 0

    def of(self, schema: Schema) -> Iterator[Any]:
        kind = schema["type"]
        if kind in _LEAVES:
            return iter(_LEAVES[kind])
        make = _KINDS.get(kind)
        return iter(()) if make is None else make(self, schema)

    def some(self, schema: Schema) -> list[Any]:
        """The first few; fewer the deeper it goes."""
        if self._depth > _DEEP:
            return []
        self._depth += 1
        try:
            return list(islice(self.of(schema), 9 if self._depth < 3 else 3))
        finally:
            self._depth -= 1

    def ints(self, schema: Schema) -> Iterator[Any]:
        bounds = [schema[word] for word in ("ge", "gt", "le", "lt", "multiple_of") if isinstance(schema.get(word), int)]
        yield from (1, 0, 2, 100, -1)
        yield from (bound + by for bound in bounds for by in (0, 1, -1))

    def numbers(self, schema: Schema) -> Iterator[Any]:
        kind = schema["type"]
        yield from _LEAVES_OF_NUMBERS[kind]
        for bound in (schema[word] for word in ("ge", "gt", "le", "lt", "multiple_of") if word in schema):
            for by in (0, 1, -1):
                yield str(Decimal(bound) + by) if kind == "decimal" else float(bound) + by

    def uuids(self, schema: Schema) -> Iterator[Any]:
        return iter(_UUIDS)

    def members(self, schema: Schema) -> Iterator[Any]:
        for member in schema.get("members") or schema.get("expected") or ():
            value = member.value if isinstance(member, Enum) else member
            try:
                to_json(value)
            except ValueError:
                continue
            yield value

    def inside(self, schema: Schema) -> Iterator[Any]:
        return self.of(schema["schema"])

    def ref(self, schema: Schema) -> Iterator[Any]:
        target = self._definitions.get(schema["schema_ref"])
        return iter(()) if target is None else iter(self.some(target))

    def optional(self, schema: Schema) -> Iterator[Any]:
        yield from self.some(schema["schema"])
        yield None

    def strict(self, schema: Schema) -> Iterator[Any]:
        return self.of(schema["strict_schema"])

    def json(self, schema: Schema) -> Iterator[Any]:
        return self.of(schema["json_schema"])

    def chain(self, schema: Schema) -> Iterator[Any]:
        return self.of(schema["steps"][0])

    def union(self, schema: Schema) -> Iterator[Any]:
        found = [self.some(member) for member in members_of(schema)]
        for row in zip_longest(*found, fillvalue=_NONE):
            yield from (sample for sample in row if sample is not _NONE)

    def items(self, schema: Schema) -> Iterator[Any]:
        samples = self.some(schema.get("items_schema") or {"type": "any"})
        least = schema.get("min_length") or 1
        if schema["type"] in ("set", "frozenset"):
            if samples[:least]:
                yield samples[:least]
        else:
            yield from ([sample] * least for sample in samples)
        if not schema.get("min_length"):
            yield []

    def tuples(self, schema: Schema) -> Iterator[Any]:
        return self._rows([self.some(item) for item in schema["items_schema"]])

    def named_tuples(self, schema: Schema) -> Iterator[Any]:
        return self._rows([self.some(_bare(field["schema"])) for field in schema["fields"]])

    def _rows(self, columns: Sequence[list[Any]]) -> Iterator[Any]:
        if all(columns):
            for i in range(max(map(len, columns), default=1)):
                yield [column[min(i, len(column) - 1)] for column in columns]

    def objects(self, schema: Schema) -> Iterator[Any]:
        keys = self.some(schema.get("keys_schema") or {"type": "str"})
        values = self.some(schema.get("values_schema") or {"type": "any"})
        if keys and values:
            yield from ({_as_key(keys[0]): value} for value in values)
            yield from ({_as_key(key): values[0]} for key in keys[1:])
        if not schema.get("min_length"):
            yield {}

    def model(self, schema: Schema) -> Iterator[Any]:
        return self.of(schema["schema"])

    def fields(self, schema: Schema) -> Iterator[Any]:
        """All of them, only those that must be, and then each with its other samples."""
        named = fields_of(schema)
        samples = {name: self.some(_bare(field["schema"])) for name, field in named.items()}
        needed = {name for name, field in named.items() if _is_needed(field)}
        first = {name: found[0] for name, found in samples.items() if found}
        if needed <= first.keys():
            yield first
            yield {name: sample for name, sample in first.items() if name in needed}
            yield from ({**first, name: sample} for name, found in samples.items() for sample in found[1:])


_NONE: Final = object()
_LEAVES_OF_NUMBERS: Final = {kind: _LEAVES.pop(kind) for kind in ("float", "decimal")}


def _bare(schema: Schema) -> Schema:
    return schema["schema"] if schema["type"] == "default" else schema


def _is_needed(field: Schema) -> bool:
    return field["schema"]["type"] != "default" and field.get("required", True) is not False


def _as_key(sample: Any) -> str:
    return sample if isinstance(sample, str) else to_json(sample).decode()


_KINDS: Final[dict[str, Callable[[_Sampler, Schema], Iterator[Any]]]] = {
    "int": _Sampler.ints,
    "float": _Sampler.numbers,
    "decimal": _Sampler.numbers,
    "uuid": _Sampler.uuids,
    "enum": _Sampler.members,
    "literal": _Sampler.members,
    **dict.fromkeys(("default", "custom-error", "function-after", "function-before", "function-wrap"), _Sampler.inside),
    "definitions": _Sampler.inside,
    "definition-ref": _Sampler.ref,
    "nullable": _Sampler.optional,
    "lax-or-strict": _Sampler.strict,
    "json-or-python": _Sampler.json,
    "chain": _Sampler.chain,
    **dict.fromkeys(("union", "tagged-union"), _Sampler.union),
    **dict.fromkeys(("list", "set", "frozenset", "deque"), _Sampler.items),
    "tuple": _Sampler.tuples,
    "named-tuple": _Sampler.named_tuples,
    **dict.fromkeys(("dict", "ordered-dict", "counter"), _Sampler.objects),
    **dict.fromkeys(("model", "dataclass"), _Sampler.model),
    **dict.fromkeys(("model-fields", "typed-dict", "dataclass-args"), _Sampler.fields),
}
