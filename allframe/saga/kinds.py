"""What is known of the values of an annotated type, once they were read from what is stored.

A step's output makes the round trip through its annotation before another step takes it. So a value of ``int`` is an int
and nothing below it, never a bool or a member of an IntEnum; one of a model is of that very class.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from re import Pattern
from typing import Any, Final, get_type_hints
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr
from pydantic._internal._generics import replace_types
from typing_extensions import get_protocol_members, is_typeddict

from allframe.events.event import Event

__all__ = [
    "as_stored",
    "attributes",
    "field_type",
    "is_closed",
    "is_data",
    "is_exact",
    "is_undecided",
    "may_convert",
    "parts_of_protocol",
    "share_values",
    "substitute",
    "type_hints",
]

#: What is read as just this class.
_EXACT: Final[frozenset[type]] = frozenset(
    {
        *(int, str, float, complex, bool, bytes, bytearray, type(None)),
        *(list, dict, set, frozenset, tuple, collections.deque),
        *(collections.OrderedDict, collections.defaultdict, collections.Counter),
        *(Decimal, UUID, date, datetime, time, timedelta),
    }
)
#: What an abstract type is read as.
_STORED: Final[Mapping[Any, type]] = {
    Sequence: list,
    MutableSequence: list,
    Mapping: dict,
    MutableMapping: dict,
    MutableSet: set,
}
#: Classes that make a schema of their own, whose values are instances of them all the same.
_PLAIN_SCHEMA: Final = (AnyUrl, SecretStr, SecretBytes)

#: They, and all below them, are values as well.
_DATA: Final[tuple[type, ...]] = (
    *_EXACT,
    *_PLAIN_SCHEMA,
    Enum,
    AbstractSet,
    PurePath,
    Pattern,
    IPv4Address,
    IPv6Address,
    ZoneInfo,
)

_SCHEMA: Final = "__get_pydantic_core_schema__"


def as_stored(origin: Any) -> Any:
    """The class of the values that are read as ``origin``; of most types, itself."""
    return dict if is_typeddict(origin) else _STORED.get(origin, origin)


def is_exact(cls: Any) -> bool:
    """Whether every value that is read as ``cls`` is of this very class, and none of one below it."""
    if cls in _EXACT or is_typeddict(cls):
        return True
    if issubclass(cls, Event):
        return False  # stored by its own class, and perhaps read as a later version
    decorators = getattr(cls, "__pydantic_decorators__", None)
    if decorators is not None and (decorators.model_validators or decorators.root_validators):
        return False  # code of the user's, which may answer with one of a class below
    return (_has_fields(cls) or issubclass(cls, Enum) or issubclass(cls, _PLAIN_SCHEMA)) and not inspect.isabstract(cls)


def is_data(cls: Any) -> bool:
    """Whether a class says what its values hold: nothing is another such class by chance."""
    return is_typeddict(cls) or _has_fields(cls) or issubclass(cls, _DATA)


def _has_fields(cls: Any) -> bool:
    named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    return issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls) or named_tuple


def share_values(cls: Any, above: Any) -> bool:
    """Whether a value might be of both of two classes that are not one below the other."""
    if issubclass(cls, Event) and issubclass(above, Event):
        return True  # it may be read as a later version
    return not (is_data(cls) and is_data(above))


def is_undecided(cls: Any) -> bool:
    """Whether a class may stand for values that are no instances of it, as pydantic's ``EmailStr`` stands for a str."""
    asked = inspect.getattr_static(type(cls), "__instancecheck__", None)
    if inspect.isfunction(asked) and asked.__module__.split(".")[0] not in _KNOWN:
        return True
    if issubclass(cls, _PLAIN_SCHEMA):
        return False
    schema = getattr(cls, _SCHEMA, None)
    return schema is not None and getattr(schema, "__func__", schema) is not BaseModel.__dict__[_SCHEMA].__func__


_KNOWN: Final = frozenset({"abc", "_py_abc", "enum", "typing", "typing_extensions", "pydantic"})


def may_convert(mark: Any) -> bool:
    """Whether what stands in an ``Annotated`` may make a value another type than the annotated one."""
    if not hasattr(mark, _SCHEMA):
        return False
    return not (type(mark).__module__.split(".")[0] == "pydantic" and type(mark).__name__ in _ONLY_CHECK)


#: Marks of pydantic's that check a value, or write it.
_ONLY_CHECK: Final = frozenset(
    {
        *("AllowInfNan", "Discriminator", "EncodedBytes", "EncodedStr", "FailFast", "PathType", "PlainSerializer"),
        *("SerializeAsAny", "Strict", "Tag", "UrlConstraints", "UuidVersion", "WithJsonSchema", "WrapSerializer"),
    }
)


# --- what a class has inside -----------------------------------------------------------------------------------------


def is_closed(cls: Any) -> bool:
    """Whether its values have no attributes but those that can be seen in the class."""
    if cls in _EXACT:
        return True
    if not is_exact(cls) or issubclass(cls, Enum) or any(map(_answers_itself, cls.__mro__)):
        return False
    if issubclass(cls, BaseModel):
        return bool(cls.model_config.get("extra") != "allow")
    return not dataclasses.is_dataclass(cls) or not hasattr(cls, "__post_init__")


def _answers_itself(cls: type) -> bool:
    """Whether a class gives attributes that it does not have."""
    own = cls is not BaseModel and cls.__module__ != "builtins"
    return own and ("__getattr__" in vars(cls) or "__getattribute__" in vars(cls))


def attributes(cls: Any, arguments: Mapping[Any, Any]) -> Mapping[str, Any]:
    """The attributes that values of ``cls`` have, with their types; Any where nobody says which."""
    values = {name: inspect.getattr_static(cls, name, None) for name in dir(cls)}
    found = {name: _returned(value) for name, value in values.items() if value is not None}
    if issubclass(cls, BaseModel):
        found |= dict.fromkeys(cls.__private_attributes__, Any) | _field_types(cls)
    else:
        found |= dict.fromkeys((name for base in cls.__mro__ for name in base.__dict__.get("__annotations__", ())), Any)
        found |= type_hints(cls)
    return {name: substitute(annotation, arguments) for name, annotation in found.items()}


def field_type(model: type[BaseModel], name: str) -> Any:
    """The type of the values of a field; Any where a validator of the user's may have made it another one."""
    field = model.model_fields[name]
    validators = model.__pydantic_decorators__.field_validators.values()
    converted = any({name, "*"} & set(validator.info.fields) for validator in validators)
    return Any if converted or any(map(may_convert, field.metadata)) else field.annotation


def _field_types(model: type[BaseModel]) -> dict[str, Any]:
    return {name: field_type(model, name) for name in model.model_fields}


def parts_of_protocol(protocol: Any, arguments: Mapping[Any, Any]) -> Mapping[str, Any]:
    """What a protocol asks for, with the types; Any where nobody says which, as for methods."""
    hints = type_hints(protocol)
    found = {
        name: hints[name] if name in hints else _returned(inspect.getattr_static(protocol, name, None))
        for name in get_protocol_members(protocol)
    }
    return {name: substitute(annotation, arguments) for name, annotation in found.items()}


def _returned(value: Any) -> Any:
    """The type of a property, where it says one."""
    getter = getattr(getattr(value, "wrapped", value), "fget", None)  # pydantic wraps those that it writes
    return type_hints(getter).get("return", Any) if getter is not None else Any


def type_hints(annotated: Any) -> dict[str, Any]:
    """The resolved annotations of a class or a function; none, where one of them cannot be resolved."""
    try:
        return get_type_hints(annotated, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is any expression
        return {}


def substitute(annotation: Any, arguments: Mapping[Any, Any]) -> Any:
    """``annotation`` with each type variable replaced by what stands for it."""
    return replace_types(annotation, arguments) if arguments else annotation
