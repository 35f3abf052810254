"""A record <-> the row that is stored of it. The stored form is final."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from allframe.errors import ErrorInfo, StoreFormatError
from allframe.events.backend import Row, new_id
from allframe.events.correlation import Correlation
from allframe.saga.records import Record, SagaStarted, StepResolved, StepSucceeded

__all__ = ["SCHEMA_VERSION", "decode", "encode", "row_of", "rows_of"]

#: The version of the stored form of every record.
SCHEMA_VERSION: Final = 1

_CLASSES: Final[dict[str, type[Any]]] = {cls.type: cls for cls in Record.__args__}
#: Fields that are JSON already: they stand in the record as they are.
_RAW: Final = {SagaStarted: "input", StepSucceeded: "output", StepResolved: "output"}
#: In place of such a field that is not there: null is a value.
_ABSENT: Final = object()


def row_of(record: Record, now: int, metadata: bytes | None = None) -> Row:
    """The row that is to be stored. ``now``: microseconds since 1970, UTC."""
    return Row(new_id(), record.type, SCHEMA_VERSION, encode(record), now, metadata)


def rows_of(
    records: Sequence[Record], now: int, correlation: Correlation | None, *, is_first: bool = False
) -> tuple[Row, ...]:
    """The rows of a saga that belongs to ``correlation``: each of them says so. ``is_first``: the first record of the saga is
    among them, which says what was right before the saga, too."""
    if correlation is None:
        return tuple(row_of(record, now) for record in records)
    about = to_json({"correlation_id": correlation.correlation_id})
    first = to_json(correlation.as_metadata()) if is_first else about
    return tuple(row_of(record, now, about if i else first) for i, record in enumerate(records))


def encode(record: Record) -> bytes:
    """The JSON of a record. Fields that have their default are left out; what is no Unicode is spelled ``\\udc80``."""
    cls = type(record)
    content = {name: value for name, default in _defaults(cls.type) if (value := getattr(record, name)) != default}
    try:
        data = to_json(content, exclude_none=True)
    except PydanticSerializationError:  # a lone surrogate, from bytes of a command line, say
        data = to_json({name: _unicode(value) for name, value in content.items()}, exclude_none=True)
    raw = _RAW.get(cls)
    if raw is None or getattr(record, raw) is None:
        return data
    separator = b"," if content else b""
    return b'%s%s"%s":%s}' % (data[:-1], separator, raw.encode(), getattr(record, raw))


@cache
def _defaults(type_name: str) -> tuple[tuple[str, Any], ...]:
    cls = _CLASSES[type_name]
    return tuple((field.name, field.default) for field in dataclasses.fields(cls) if field.name != _RAW.get(cls))


def _unicode(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case tuple():
            return tuple(map(_unicode, value))
        case ErrorInfo():
            return ErrorInfo(_unicode(value.type), _unicode(value.message), _unicode(value.traceback))
        case _:
            return value


def decode(type_name: str, schema_version: int, data: bytes) -> Record:
    """The record that was stored.

    Raises:
        StoreFormatError: if a newer allframe wrote it, or it is damaged.
    """
    cls = _CLASSES.get(type_name)
    if cls is None or schema_version != SCHEMA_VERSION:
        raise StoreFormatError(
            f"The store holds a saga record {type_name!r} of version {schema_version}, which this allframe does not know. "
            "A newer one wrote it: run that."
        )
    try:
        checked = _adapter(type_name).validate_json(data, strict=True)
        values = {field.name: getattr(checked, field.name) for field in dataclasses.fields(cls)}
        if raw := _RAW.get(cls):
            values[raw] = None if values[raw] is _ABSENT else to_json(values[raw])
        record: Record = cls(**values)
        return record
    except ValueError as error:
        raise StoreFormatError(f"A stored saga record {type_name!r} cannot be read: {error}") from error


@cache
def _adapter(type_name: str) -> TypeAdapter[Any]:
    cls = _CLASSES[type_name]
    content: dict[str, Any] = {"__annotations__": {_RAW[cls]: Any} if cls in _RAW else {}}
    if cls is StepResolved:
        content[_RAW[cls]] = _ABSENT
    base = type(cls.__name__, (cls,), content)
    strict: Any = dataclasses.dataclass(frozen=True, kw_only=True)(base)
    # A field that we do not know would change the meaning of those that we do.
    strict.__pydantic_config__ = ConfigDict(extra="forbid")
    return TypeAdapter(strict)
