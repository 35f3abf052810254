"""`Message`: what commands and queries have in common. A frozen model, found by the name that its class declares."""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeGuard, TypeVar

from pydantic import BaseModel, ConfigDict

from allframe.errors import DefinitionError, Problem
from allframe.masking import hidden_args, hide_inputs, shown
from allframe.naming import Names, is_parametrised
from allframe.payload import Payload
from allframe.refusing import refuse
from allframe.source import note_place, place_of

__all__ = ["Message", "class_meant", "is_own_class", "payload_of"]

M = TypeVar("M", bound="Message")

_NAME_RULE: Final = "Expected 1 to 100 printable characters without '/' and not beginning with '$'."


class Message(BaseModel):
    """The base of `Command` and `Query`; nothing else derives from it."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    #: What it is, in errors: ``"command"``.
    __allframe_kind__: ClassVar[str]
    __allframe_names__: ClassVar[Names[Any]]
    #: The name that it is found by.
    message_name: ClassVar[str]

    def __repr_args__(self) -> Any:
        return hidden_args(self, super().__repr_args__())

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__()
        note_place(cls)
        # What pydantic knows, such as extra="forbid", does not come here.
        _refuse(cls, [f"It has no class keyword {keyword!r}. It has: name." for keyword in kwargs])
        cls.message_name = cls.__name__ if name is None else name

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        hide_inputs(cls)
        names: Names[Any] | None = getattr(cls, "__allframe_names__", None)
        if names is None or "__allframe_names__" in cls.__dict__ or is_parametrised(cls):
            return  # Command and Query themselves, and Query[Decimal]
        texts = _problems(cls)
        _refuse(cls, texts)
        if not texts:
            names.add(cls.message_name, 1, cls)


def class_meant(base: type[M], given: object) -> type[M] | None:
    """The class below ``base`` that is given, or has the name that is; None if this program has none of that name.

    Raises:
        TypeError: if it is neither a name nor such a class.
        DefinitionError: if two classes have the name.
    """
    if isinstance(given, str):
        found: type[M] | None = base.__allframe_names__.find(given, 1)
        return found
    if is_own_class(given, base):
        return given
    raise TypeError(f"Expected a class derived from {base.__name__}, or the name of one, found {shown(given)}.")


def is_own_class(given: object, base: type[M]) -> TypeGuard[type[M]]:
    """Whether it is a class derived from ``base``, not ``base`` itself."""
    return isinstance(given, type) and issubclass(given, base) and given is not base


def payload_of(cls: type[Message]) -> Payload:
    """The form in which a message can be stored, made once a class.

    Raises:
        PayloadError: if there is none.
    """
    payload: Payload | None = cls.__dict__.get("__allframe_payload__")
    if payload is None:
        payload = Payload(cls)
        type.__setattr__(cls, "__allframe_payload__", payload)
    return payload


def _refuse(cls: type[Message], texts: list[str]) -> None:
    if texts:
        kind = cls.__allframe_kind__.capitalize()
        refuse(DefinitionError(f"{kind} {cls.__qualname__}", [Problem("AF120", text, place_of(cls)) for text in texts]))


def _problems(cls: type[Message]) -> list[str]:
    problems = []
    name: object = cls.__dict__.get("message_name")
    if "message_name" in cls.__pydantic_fields__:
        problems.append("The field 'message_name' hides what every message has. Give the field another name.")
    elif not _is_name(name):
        problems.append(f"Its name is {name!r}. {_NAME_RULE}")
    return problems


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and "/" not in name and name[0] != "$"
