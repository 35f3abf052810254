"""Messages checked: from what came over the wire, and once more when they are dispatched.

What pydantic says is turned into `FieldError`s, all of them at once, and without quoting a secret. A message that exists
already is checked again, for one can be made without any check (``model_construct``), and what stands in a frozen model may
have been changed since. It must come out as it is: from its own values, or, where a type reads another form than it gives
(``Base64Bytes``, ``Json``), from JSON. A validator that makes something else of its own result is told of; to hand on what it
makes would be to apply it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, RootModel, ValidationError
from pydantic_core import ErrorDetails, core_schema

from allframe.cqrs.message import Message, payload_of
from allframe.errors import FieldError, PayloadError
from allframe.masking import hides, may_hold_secrets, redact

__all__ = ["Invalid", "parse", "revalidate"]

M = TypeVar("M", bound=Message)

#: Errors whose text comes from a validator of the user's, and may say anything.
_FREE_TEXT: Final = frozenset({"value_error", "assertion_error"})
_PYDANTICS: Final = frozenset(get_args(core_schema.ErrorType)) - _FREE_TEXT
_UNSTABLE: Final = "The class makes another value of this one. Its validators must leave their own result as it is"
_HIDDEN: Final = "The value is refused; what was said of it is not shown, as it may hold secrets"


class Invalid(Exception):
    """What is wrong with a message. Each bus has an error of its own for it."""

    def __init__(self, cls: type[Message], errors: tuple[FieldError, ...]) -> None:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        lines = "\n".join(f"  {error}" for error in errors)
        super().__init__(f"{cls.__allframe_kind__.capitalize()} {cls.message_name!r} has {count}:\n{lines}")
        self.errors = errors


def parse(cls: type[M], payload: Mapping[str, Any] | str | bytes) -> M:
    """The message that ``payload`` says: its fields by name or alias, or JSON of that.

    Raises:
        Invalid: if it says none; with everything that is wrong.
    """
    try:
        if isinstance(payload, str | bytes | bytearray):
            return cls.model_validate_json(payload, by_alias=True, by_name=True)
        # What is no mapping, such as a list that came as JSON, is told of like anything else that is wrong.
        given: object = payload
        return cls.model_validate(dict(given) if isinstance(given, Mapping) else given, by_alias=True, by_name=True)
    except ValidationError as error:
        raise _invalid(cls, [_Wrong(error)]) from None  # it quotes the payload where a traceback shows it


def revalidate(message: M) -> M:
    """``message``, checked with every model in it.

    Raises:
        Invalid: if it could not have been made so; with everything that is wrong.
    """
    wrong: list[_Wrong] = []
    checked: M = _checked(message, (), wrong)
    if not wrong and checked == message:
        return checked
    try:
        checked = payload_of(type(message)).store(message, "The message")[1]
    except PayloadError:
        raise (_invalid(type(message), wrong) if wrong else _unstable(message, checked)) from None
    return checked


def _unstable(message: Message, checked: Message) -> Invalid:
    """Its class makes another message of it."""
    other = [name for name in type(message).__pydantic_fields__ if message.__dict__.get(name) != checked.__dict__[name]]
    return Invalid(type(message), tuple(FieldError(name, _UNSTABLE, "not_stable") for name in other or [""]))


class _Wrong(NamedTuple):
    """What pydantic says of a model that stands at ``place`` in a message."""

    error: ValidationError
    place: tuple[str | int, ...] = ()


def _checked(value: Any, place: tuple[str | int, ...], wrong: list[_Wrong]) -> Any:
    """A copy of ``value`` in which every model was made anew, the innermost first. Classes stay what they are."""
    if isinstance(value, BaseModel):
        return _checked_model(value, place, wrong)
    if type(value) is dict:
        return {key: _checked(item, (*place, str(key)), wrong) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_checked(item, (*place, index), wrong) for index, item in enumerate(value))
    return value


def _checked_model(model: BaseModel, place: tuple[str | int, ...], wrong: list[_Wrong]) -> BaseModel:
    given = {**model.__dict__, **(model.__pydantic_extra__ or {})}
    fields = {name: _checked(item, (*place, name), wrong) for name, item in given.items() if name in _known(model)}
    whole: Any = fields["root"] if isinstance(model, RootModel) and "root" in fields else fields
    try:
        made = type(model).model_validate(whole, by_alias=False, by_name=True)
    except ValidationError as error:
        wrong.append(_Wrong(error, place))
        return model
    # What the check cannot know of: which fields were given, and what is nobody's field.
    object.__setattr__(made, "__pydantic_fields_set__", set(model.__pydantic_fields_set__))
    if model.__pydantic_private__ is not None:
        object.__setattr__(made, "__pydantic_private__", dict(model.__pydantic_private__))
    return made


def _known(model: BaseModel) -> set[str]:
    """Its fields; a ``cached_property`` stands among their values, and is none."""
    return {*type(model).__pydantic_fields__, *(model.__pydantic_extra__ or {})}


def _invalid(cls: type[Message], wrong: Iterable[_Wrong]) -> Invalid:
    errors = [
        found
        for error, place in wrong
        for found in _field_errors(cls, error.errors(include_url=False, include_context=False), place)
    ]
    return Invalid(cls, tuple(errors))


def _field_errors(cls: type[Message], found: list[ErrorDetails], place: tuple[str | int, ...]) -> Iterator[FieldError]:
    for each in found:
        where = (*place, *each["loc"])
        message = each["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if _may_be_secret(cls, where):
            message = redact(message, _texts(each["input"])) if each["type"] in _PYDANTICS else _HIDDEN
        yield FieldError(".".join(map(str, where)), message, each["type"])


def _may_be_secret(cls: type[Message], where: tuple[str | int, ...]) -> bool:
    """Whether the value there can be a secret; of what stands in no field, whether any can."""
    for name, field in cls.__pydantic_fields__.items():
        if where and where[0] in (name, field.alias, field.validation_alias):
            return hides(field) or may_hold_secrets(field.annotation)
    return may_hold_secrets(cls)


def _texts(value: Any) -> set[str]:
    """What a message might quote of a value: every text in it that is not too short to be told from others."""
    if isinstance(value, Mapping):
        return set().union(*map(_texts, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return set().union(*map(_texts, value))
    return {text} if value is not None and len(text := str(value)) > 1 else set()
