"""Typed value <-> JSON bytes: strict, sized, and with no fallback.

What is stored must be read back equal, for a saga that goes on after a crash has only what was stored. So a value makes
the round trip before it is recorded: dumped with warnings as errors, loaded strictly, compared. The loaded copy is what
later steps are given, live as after a crash: type and value are the same in both. Equal sets are written in one order.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from decimal import Decimal
from itertools import accumulate
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypeAliasType

from allframe.errors import PayloadError
from allframe.masking import has_secrets, reveal, shown
from allframe.plain import LARGEST, Plain, holds, plain
from allframe.roundtrip.places import deepest, difference, largest, place_of_loc, unwritable
from allframe.roundtrip.reasons import first_of, reason_of
from allframe.roundtrip.sameness import comparable
from allframe.sets import has_sets, sort_sets

__all__ = ["MAX_BYTES", "MAX_DEPTH", "PLAIN", "Payload", "adapter_of", "canonical", "check_size"]

#: The most bytes that one stored value may have as JSON: 1 MiB.
MAX_BYTES = 1 << 20
#: The most levels of lists and objects. Pydantic's JSON parser reads 200; the rest is for the record around the value.
MAX_DEPTH = 190


class Payload:
    """The stored form of one annotated type.

    Args:
        annotation: The type.
        names: What the text of annotations inside of it may mean besides, as in `adapter_of`.

    Raises:
        PayloadError: when made of an annotation that has no JSON form (an open file, a lock).
    """

    __slots__ = ("_adapter", "_is_plain_known", "_plain", "_traits", "annotation")

    def __init__(self, annotation: Any, names: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.annotation = annotation
        #: `hides` and `has_sets`, once somebody has asked.
        self._traits: tuple[bool, bool] | None = None
        self._plain: Plain | None = None
        self._is_plain_known = False
        try:
            self._adapter = adapter_of(annotation, names)
        except Exception as error:
            raise PayloadError(
                f"{self.name} cannot be stored: {reason_of(error)}. Return a type that pydantic can write as "
                "JSON: a model, a dataclass, or plain values."
            ) from error

    @property
    def name(self) -> str:
        """The annotation as a person writes it."""
        if isinstance(self.annotation, type) and not hasattr(self.annotation, "__args__"):
            return self.annotation.__qualname__
        return str(self.annotation).replace("typing.", "")

    @property
    def hides(self) -> bool:
        """Whether its values can have secrets. Then errors do not show them."""
        return (self._traits or self._look())[0]

    @property
    def has_sets(self) -> bool:
        """Whether its values can have sets, whose order says nothing."""
        return (self._traits or self._look())[1]

    def _look(self) -> tuple[bool, bool]:
        """What its schema says of `hides` and `has_sets`: made once, for both."""
        try:
            schema = self.schema()
            self._traits = has_secrets(schema), has_sets(schema)
        except PayloadError:  # nobody can say what is in it
            self._traits = True, True
        return self._traits

    def dump(self, value: Any, what: str) -> bytes:
        """The JSON of ``value``, which is read back equal: as `store`, for whoever needs no copy.

        Raises:
            PayloadError: as `store`.
        """
        fields = self._plain if self._is_plain_known else self._find_plain()
        if fields is not None and type(value) is self.annotation and holds(fields, value.__dict__):
            try:
                data = self._adapter.serializer.to_json(value)
            except ValueError:  # a lone surrogate; `store` has the words for it
                return self.store(value, what)[0]
            if len(data) <= LARGEST:
                return data
        return self.store(value, what)[0]

    def store(self, value: Any, what: str) -> tuple[bytes, Any]:
        """The JSON of ``value`` and the value that reading it gives, which equals it.

        ``what`` names the value in errors: ``"the output of step 'debit'"``.

        Raises:
            PayloadError: if it is not of the annotated type, does not come back equal, or is too large or too deep.
        """
        try:
            # By field names and with round_trip: aliases may differ for reading and writing, computed fields are made
            # anew, and JSON within JSON stays text.
            data = self._adapter.serializer.to_json(value, warnings="error", by_alias=False, round_trip=True)
            self._check_depth(data, value, what)
            if self.hides:
                data = to_json(reveal(value, from_json(data), PLAIN))
            if self.has_sets:
                data = to_json(sort_sets(value, from_json(data)))
            check_size(data, what, self, value)
            loaded = self._adapter.validator.validate_json(data, strict=True, by_alias=False, by_name=True)
            # is_instance, for True == 1 == 1.0.
            same = (loaded == value and self.is_instance(value)) or comparable(loaded) == comparable(value)
        except PayloadError:
            raise
        except Exception as error:  # noqa: BLE001 - of pydantic, or of a serializer, a validator or an __eq__ of the value
            raise PayloadError(f"{self._mismatch(value, what)} ({self._why(value, error)}).") from self._cause(error)
        if not same:
            raise PayloadError(
                self._unequal(value, loaded, what) if self.is_instance(value) else f"{self._mismatch(value, what)}."
            )
        return data, loaded

    def load(self, data: bytes, what: str) -> Any:
        """The value that ``data`` holds.

        Raises:
            PayloadError: if it does not hold one of this type.
        """
        try:
            return self._adapter.validator.validate_json(data, strict=True, by_alias=False, by_name=True)
        except Exception as error:  # noqa: BLE001 - as above
            raise PayloadError(f"{what} cannot be read as {self.name}: {self._reason(error)}.") from self._cause(error)

    def is_instance(self, value: Any) -> bool:
        """Whether ``value`` is of the annotated type, without converting anything."""
        try:
            self._adapter.validator.validate_python(value, strict=True, by_alias=False, by_name=True)
        except Exception:  # noqa: BLE001 - a validator of the user's says no in its own way
            return False
        return True

    def schema(self, *, by_alias: bool = False) -> dict[str, Any]:
        """The JSON schema of the stored form; ``by_alias``: of what pydantic writes by aliases.

        Raises:
            PayloadError: if the type has none.
        """
        try:
            return self._adapter.json_schema(by_alias=by_alias, mode="serialization")
        except Exception as error:
            raise PayloadError(f"{self.name} has no JSON schema: {reason_of(error)}.") from error

    def _find_plain(self) -> Plain | None:
        if isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel) and not self.hides:
            self._plain = plain(self.annotation, self._adapter.core_schema)
        self._is_plain_known = True
        return self._plain

    def _mismatch(self, value: Any, what: str) -> str:
        return f"{what} cannot be stored: expected {self.name}, found {self._describe(value)}"

    def _unequal(self, value: Any, loaded: Any, what: str) -> str:
        path, part, became = difference(value, loaded, discreet=self.hides)
        if path:
            told = f"{self._describe(part)} at {path} was read back as {self._describe(became)}."
        else:
            told = f"{self._describe(value)} was stored as {self.name} and read back as {self._describe(loaded)}."
        cls, base = type(part), type(became)
        if cls is not base and issubclass(cls, base) and base in _BASES:
            hint = f"In JSON it is a {base.__name__} like any other. Annotate {cls.__qualname__}."
        elif cls is not base and issubclass(cls, base):
            hint = (
                f"{cls.__qualname__} is a subclass, and it is stored as the {base.__qualname__} of the annotation (with "
                f"SerializeAsAny it is written whole, and still read as that): annotate {cls.__qualname__}, or a union of "
                "the classes told apart by a Literal field."
            )
        elif isinstance(part, float) and not math.isfinite(part):
            hint = "JSON has no such number."
        elif isinstance(part, dict) and isinstance(became, dict) and part.keys() != became.keys():
            hint = self._lost_key(part, became)
        else:
            hint = f"Annotate the type that is {'meant' if path else 'returned'}."
        return f"{what} does not come back equal: {told} {hint}"

    def _lost_key(self, part: dict[Any, Any], became: dict[Any, Any]) -> str:
        key = next((key for key in part if key not in became), "")
        name = f"a key of {type(key).__qualname__}" if self.hides else f"the key {_describe(key)}"
        if isinstance(key, str):
            return f"In it {name} is no Unicode text."
        return f"JSON has only texts as keys, and {name} is not read back: annotate the type of the keys, or use texts."

    def _why(self, value: Any, error: Exception) -> str:
        """What an error says, and of which part of the value."""
        try:
            path, part = self._offending(value, error)
        except Exception:  # noqa: BLE001 - the value may be anything; that it is refused stands already
            return self._reason(error)
        if not (part.is_finite() if isinstance(part, Decimal) else not isinstance(part, float) or math.isfinite(part)):
            return f"JSON has no {'such number' if self.hides else part}{f' at {path}' if path else ''}"
        return reason_of(error, discreet=self.hides, at=path)

    def _offending(self, value: Any, error: Exception) -> tuple[str, Any]:
        """The path of the part that an error is about, and the part."""
        if not isinstance(error, ValidationError):
            # What was written with a warning may be read, or not; that tells the place.
            try:
                data = self._adapter.serializer.to_json(value, warnings="none", by_alias=False, round_trip=True)
                loaded = self._adapter.validator.validate_json(data, strict=True, by_alias=False, by_name=True)
            except ValidationError as unread:
                error = unread
            except ValueError:
                return unwritable(value, discreet=self.hides) or ("", None)
            else:
                return difference(value, loaded, discreet=self.hides)[:2]
        return place_of_loc(value, first_of(error)["loc"], discreet=self.hides)

    def _check_depth(self, data: bytes, value: Any, what: str) -> None:
        # Counting is cheap, and rarely are there enough of them.
        if len(data) <= 2 * MAX_DEPTH or data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
            return
        brackets = _TEXTS.sub(b"", data).translate(None, _NO_BRACKETS)
        depth = max(accumulate(map(_LEVELS.__getitem__, brackets)), default=0)
        if depth > MAX_DEPTH:
            raise PayloadError(
                f"{what} has {depth:,} levels of lists and objects, more than the {MAX_DEPTH} that a record may hold, the "
                f"last of them at {deepest(value, discreet=self.hides)}. Make it flatter: a list whose items name each "
                "other, say."
            )

    def _describe(self, value: Any) -> str:
        return f"{type(value).__qualname__}, not shown as it may hold secrets" if self.hides else _describe(value)

    def _reason(self, error: Exception) -> str:
        return reason_of(error, discreet=self.hides)

    def _cause(self, error: Exception) -> Exception | None:
        """``error``, unless it quotes the value where a traceback shows it; what it says stands in `_reason`."""
        return None if self.hides or isinstance(error, PydanticSerializationError) else error


def adapter_of(annotation: Any, names: Mapping[str, Any] = MappingProxyType({})) -> TypeAdapter[Any]:
    """What writes and reads values of a type: by the config of a model, and by `PLAIN` for anything else.

    ``names``: what the text of annotations inside of it may mean besides, as those of a dataclass in a function.
    """
    try:
        return _adapter_of(annotation, names)
    except Warning:
        # Of words that mean nothing here, such as a Field(alias=...) in what is returned. Where warnings are made errors
        # they say nothing of what can be stored.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _adapter_of(annotation, names)


def _adapter_of(annotation: Any, names: Mapping[str, Any]) -> TypeAdapter[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return TypeAdapter(annotation)  # it has a config of its own, and pydantic would note the alias in its schema
    adapter: TypeAdapter[Any] = TypeAdapter(_alias("_", annotation), config=PLAIN)
    if names and not adapter.pydantic_complete:
        adapter.rebuild(_types_namespace=names)
    return adapter


def check_size(data: bytes, what: str, payload: Payload | None = None, value: Any = None) -> None:
    """Refuse what is larger than `MAX_BYTES`. ``payload`` and ``value``: what ``data`` was made of, for the largest part.

    Raises:
        PayloadError: naming the size, the limit and what to do.
    """
    if len(data) > MAX_BYTES:
        path, size = ("", 0) if payload is None else largest(value, data, discreet=payload.hides)
        most = f", {size:,} of them at {path}" if path else ""
        raise PayloadError(
            f"{what} is {len(data):,} bytes of JSON{most}, more than the {MAX_BYTES:,} that a record may hold. Store it "
            "where large things live and return its key."
        )


def canonical(data: bytes) -> bytes:
    """JSON with sorted keys and no spaces: equal documents give equal bytes."""
    value = from_json(data)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


#: Bytes need not be text, and pydantic's default would write them as UTF-8.
PLAIN = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

#: A TypedDict or a dataclass takes our config only through an alias. Models keep to their own.
_alias: Any = TypeAliasType

_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_LEVELS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - _LEVELS.keys())


#: Types that have a form of their own in JSON, which is also that of their subclasses.
_BASES = {bool, int, float, str, dict, list}


def _describe(value: Any) -> str:
    try:
        text = shown(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__; too deep; more digits than Python prints
        text = f"(its repr fails: {type(error).__qualname__})"
    return f"{type(value).__qualname__} {text if len(text) <= 80 else text[:77] + '...'}"
