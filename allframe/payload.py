"""Typed value <-> JSON bytes: strict, sized, and with no fallback.

What is stored must be read back equal, for a saga that goes on after a crash has only what was stored. So a value makes
the round trip before it is recorded: dumped with warnings as errors, loaded strictly, compared. The loaded copy is what
later steps are given, live as after a crash: type and value are the same in both.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json

from allframe.errors import PayloadError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Payload", "canonical", "check_size"]

#: The most bytes that one stored value may have as JSON: 1 MiB.
MAX_BYTES = 1 << 20
#: The most levels of lists and objects: where pydantic's JSON parser stops reading.
MAX_DEPTH = 200


class Payload:
    """The stored form of one annotated type.

    Raises:
        PayloadError: when made of an annotation that has no JSON form (an open file, a lock).
    """

    __slots__ = ("_adapter", "annotation")

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        try:
            self._adapter: TypeAdapter[Any] = _adapter(annotation)
        except Exception as error:
            raise PayloadError(
                f"{_name(annotation)} cannot be stored: {_first_line(error)}. Return a type that pydantic can write as "
                "JSON: a model, a dataclass, or plain values."
            ) from error

    def store(self, value: Any, what: str) -> tuple[bytes, Any]:
        """The JSON of ``value`` and the value that reading it gives, which equals it.

        ``what`` names the value in errors: ``"the output of step 'debit'"``.

        Raises:
            PayloadError: if it is not of the annotated type, does not come back equal, or is too large or too deep.
        """
        try:
            data = self._adapter.dump_json(value, warnings="error", by_alias=True)
        except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
            raise PayloadError(
                f"{what} cannot be stored: expected {_name(self.annotation)}, found {_describe(value)} "
                f"({_first_line(error)})."
            ) from error
        check_size(data, what)
        loaded = self.load(data, what)
        if loaded != value:
            raise PayloadError(
                f"{what} does not come back equal: {_describe(value)} was stored as {_name(self.annotation)} and read "
                f"back as {_describe(loaded)}. Annotate the type that is returned."
            )
        return data, loaded

    def load(self, data: bytes, what: str) -> Any:
        """The value that ``data`` holds.

        Raises:
            PayloadError: if it does not hold one of this type.
        """
        try:
            return self._adapter.validate_json(data, strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise PayloadError(
                f"{what} cannot be read as {_name(self.annotation)}: {first['msg']}{f' at {place}' if place else ''}."
            ) from error

    def is_instance(self, value: Any) -> bool:
        """Whether ``value`` is of the annotated type, without converting anything."""
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError:
            return False
        return True

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the stored form.

        Raises:
            PayloadError: if the type has none.
        """
        try:
            return self._adapter.json_schema(mode="serialization")
        except Exception as error:
            raise PayloadError(f"{_name(self.annotation)} has no JSON schema: {_first_line(error)}.") from error


def check_size(data: bytes, what: str) -> None:
    """Refuse what is larger than `MAX_BYTES`.

    Raises:
        PayloadError: naming the size, the limit and what to do.
    """
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"{what} is {len(data):,} bytes of JSON, more than the {MAX_BYTES:,} that a record may hold. Store it where "
            "large things live and return its key."
        )


def canonical(data: bytes) -> bytes:
    """JSON with sorted keys and no spaces: equal documents give equal bytes."""
    value = from_json(data)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


#: Bytes need not be text, and pydantic's default would write them as UTF-8.
_PLAIN = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@lru_cache(maxsize=1024)
def _cached_adapter(annotation: Any) -> TypeAdapter[Any]:
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or hasattr(annotation, "__pydantic_config__")
    ):
        return TypeAdapter(annotation)  # it brings its own config, and pydantic refuses a second one
    try:
        return TypeAdapter(annotation, config=_PLAIN)
    except Exception:  # noqa: BLE001 - e.g. a TypedDict or dataclass with a config of its own
        return TypeAdapter(annotation)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return TypeAdapter(annotation)


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _describe(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__qualname__} {text if len(text) <= 80 else text[:77] + '...'}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
