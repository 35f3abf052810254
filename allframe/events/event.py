"""`Event`: something that happened, and how it is found again by the name and version that it was stored under."""

from __future__ import annotations

import string
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from allframe.errors import DefinitionError, PayloadError, Problem, StoreFormatError
from allframe.masking import hidden_args, hide_inputs
from allframe.naming import Names, is_parametrised, naming_problems
from allframe.payload import Payload
from allframe.refusing import refuse
from allframe.source import note_place, place_of

__all__ = [
    "Event",
    "Placed",
    "Versions",
    "class_of",
    "decode",
    "event_classes",
    "event_payload",
    "is_stream_name",
    "known_versions",
    "stream_of",
]

_NAMES: Names[type[Event]]


class Event(BaseModel):
    """Something that happened: a frozen pydantic model, stored by its name and version.

    ::

        class Debited(Event, name="bank.debited", version=2):
            __stream__ = "account-{account}"
            account: str
            amount: Decimal

    ``name`` defaults to the class's name and ``version`` to 1. ``__stream__`` is a template over the fields: the stream
    that the event goes to when nobody names another.

    Raises:
        DefinitionError: (AF118) for a name that is empty or begins with ``$``, a version below 1, a template with a
            field that the event does not have, a field called ``event_name`` or ``event_version``, or another class
            keyword.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    __stream__: ClassVar[str]
    event_name: ClassVar[str]
    event_version: ClassVar[int]

    def __repr_args__(self) -> Any:
        return hidden_args(self, super().__repr_args__())

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__()
        note_place(cls)
        # What pydantic knows, such as extra="forbid", does not come here.
        _refuse(cls, [f"It has no class keyword {keyword!r}. It has: name, version." for keyword in kwargs])
        cls.event_name = cls.__name__ if name is None else name
        cls.event_version = version

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        hide_inputs(cls)
        if is_parametrised(cls):
            return
        texts = _hidden(cls) or _problems(cls)
        _refuse(cls, texts)
        if not texts:
            _NAMES.add(cls.event_name, cls.event_version, cls)


_NAMES = Names("event", "AF118")


class Versions(Protocol):
    """How what was stored in the past is read: a `VersionRegistry`."""

    def upcast(self, type: str, version: int, data: bytes, *, where: str = "") -> tuple[str, int, bytes]:  # noqa: A002 - the word of the whole API
        """The name, version and payload that it is read as."""
        ...

    def has_upcaster(self, type: str, from_version: int) -> bool:  # noqa: A002 - the word of the whole API
        """Whether what is stored so is upcast."""
        ...

    def describe(self, type: str, version: int) -> str:  # noqa: A002 - the word of the whole API
        """What is done to what is stored so: ``", upcast to version 2 by add_currency (bank.py:12),"``, or nothing."""
        ...


class Placed(Protocol):
    """Something with a place in the store: a backend's row."""

    @property
    def position(self) -> int: ...
    @property
    def stream(self) -> str: ...
    @property
    def revision(self) -> int: ...


def _where(place: Placed | str) -> str:
    if isinstance(place, str):
        return place
    return f"position {place.position}, revision {place.revision} of stream {place.stream!r}"


def decode(name: str, version: int, data: bytes, versions: Versions | None = None, place: Placed | str = "") -> Event:
    """The event that was stored under ``name`` and ``version``, upcast by ``versions``.

    ``place``: where it is stored, for errors.

    Raises:
        StoreFormatError: if this program has no class for them, an upcaster fails, or the class cannot read it.
    """
    before = name, version
    if versions is not None and versions.has_upcaster(name, version):
        name, version, data = versions.upcast(name, version, data, where=_where(place))
    try:
        payload = _NAMES.memo.get((name, version)) or _payload_named(name, version)
        if payload is None:
            stored = _stored(before, _where(place), versions).rstrip(",")
            raise StoreFormatError(
                f"The store holds an event {stored}, and this program cannot read it: {_have(name, version)}"
            )
        event: Event = payload.load(data, "It")
    except PayloadError as error:
        said = str(error).removeprefix("It ")
        remedy = "The class has changed since it was stored: give it a new version."
        if (name, version) != before:
            remedy = "Mend the upcaster, or the class. What is stored was not touched."
        raise StoreFormatError(
            f"The stored event {_stored(before, _where(place), versions)} {said} {remedy}"
        ) from error
    return event


def _payload_named(name: str, version: int) -> Payload | None:
    cls = _NAMES.find(name, version)
    if cls is None:
        return None
    payload = _NAMES.memo[name, version] = event_payload(cls)
    return payload


def _stored(form: tuple[str, int], where: str, versions: Versions | None) -> str:
    """What is stored, where, and what was done to it, for errors."""
    upcast = "" if versions is None else versions.describe(*form)
    return f"{form[0]!r} of version {form[1]}{f' ({where})' if where else ''}{upcast}"


def _have(name: str, version: int) -> str:
    """What this program has of ``name``, and what to do to read ``version``."""
    known = _NAMES.versions(name)
    if known and version > known[-1]:
        return (
            f"it has version {', '.join(map(str, known))}. A newer program wrote it: deploy that one here. What is stored "
            "can be looked at as it is, in .payload()."
        )
    if known:
        return (
            f"it has version {', '.join(map(str, known))}. Import the module that defines it, or give the EventStore "
            "versions=VersionRegistry([...]) with an upcaster from it."
        )
    return "it has no event of that name. Import the module that defines it before reading."


def class_of(name: str, version: int) -> type[Event] | None:
    """The class that was imported under this stored name and version, or None.

    Raises:
        DefinitionError: if two different classes have it.
    """
    return _NAMES.find(name, version)


def event_classes() -> list[type[Event]]:
    """Every event class that was imported, in the order of definition."""
    return _NAMES.all()


def known_versions() -> dict[str, list[int]]:
    """The versions of event classes that were imported, in ascending order, by stored name."""
    return _NAMES.known()


def event_payload(cls: type[Event]) -> Payload:
    """The stored form of an event class, made once a class.

    Raises:
        PayloadError: if events of this class could not be found again by their name: it is `Event` itself, a
            parametrised generic, or one of two classes with that name.
    """
    known: tuple[int, Payload] | None = cls.__dict__.get("__allframe_payload__")
    if known is not None and known[0] == _NAMES.changes:
        return known[1]
    _check_name(cls)
    payload = Payload(cls) if known is None else known[1]
    type.__setattr__(cls, "__allframe_payload__", (_NAMES.changes, payload))
    return payload


def stream_of(event: Event, default: str | None) -> str:
    """The stream that ``event`` goes to: its template filled in, or ``default``.

    Raises:
        PayloadError: if the event has no template and there is no default, or its template cannot be filled, or fills
            to what is no name or a reserved one.
    """
    cls = type(event)
    template: str | None = getattr(cls, "__stream__", None)
    if template is None:
        if default is None:
            raise PayloadError(
                f"{cls.__qualname__} goes to no stream: name one, or give the class a template such as "
                '__stream__ = "account-{account}".'
            )
        return default
    try:
        stream = template.format_map(dict(event))
    except Exception as error:  # a format that does not suit the value, or a __format__ of the user's
        raise PayloadError(
            f"{cls.__qualname__} goes to no stream: its template {template!r} cannot be filled "
            f"({type(error).__qualname__}: {error})."
        ) from error
    if not is_stream_name(stream):
        raise PayloadError(
            f"{cls.__qualname__} goes to stream {stream!r}, as its template {template!r} fills in. A stream needs a name "
            "of Unicode text without a NUL character, and names that begin with '$' are allframe's own."
        )
    return stream


def is_stream_name(name: object) -> bool:
    """Whether events can go to a stream of this name: Unicode text, not empty, without NUL, and not allframe's own."""
    if not isinstance(name, str) or not name or name.startswith("$") or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _check_name(cls: type[Event]) -> None:
    if cls is Event:
        raise PayloadError("A bare Event cannot be stored. Derive a class from it, which gives it a name and fields.")
    if is_parametrised(cls):
        raise PayloadError(
            f"An event of {cls.__qualname__} cannot be stored: its class has no name to be found by. Give it a class of "
            f"its own: class X({cls.__qualname__})."
        )
    try:
        _NAMES.find(cls.event_name, cls.event_version)
    except DefinitionError as error:
        raise PayloadError(str(error)) from error


def _refuse(cls: type[Event], texts: list[str]) -> None:
    if texts:
        refuse(DefinitionError(f"Event {cls.__qualname__}", [Problem("AF118", text, place_of(cls)) for text in texts]))


def _hidden(cls: type[Event]) -> list[str]:
    return [
        f"The field {name!r} hides Event.{name}, which every event has. Give the field another name."
        for name in ("event_name", "event_version")
        if name in cls.model_fields
    ]


def _problems(cls: type[Event]) -> list[str]:
    problems = naming_problems(cls.event_name, cls.event_version)
    template: object = getattr(cls, "__stream__", None)
    if template is not None:
        problems += _template_problems(cls, template)
    return problems


def _template_problems(cls: type[Event], template: object) -> list[str]:
    if not isinstance(template, str):
        return [f"__stream__ is {template!r}. Expected a text such as 'account-{{account}}'."]
    try:
        fields = _fields_of(template)
    except ValueError as error:
        return [f"__stream__ is {template!r}, which is no template: {error}."]
    # Only plain names: {a.b} and {a[b]} would reach into objects.
    unknown = [name for name in fields if name not in cls.model_fields]
    have = ", ".join(cls.model_fields) or "none"
    return [f"__stream__ names the field {name!r}, which it does not have. Its fields are: {have}." for name in unknown]


def _fields_of(template: str) -> list[str]:
    """The fields that a template names, also within a format: ``{amount:{width}}``."""
    fields = []
    for _, name, spec, _ in string.Formatter().parse(template):
        if name is not None:
            fields += [name, *_fields_of(spec or "")]
    return fields
