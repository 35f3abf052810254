"""`Event`: something that happened. `RecordedEvent`: an event as it stands in the store."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from allframe.errors import DefinitionError, PayloadError, Problem, StoreFormatError
from allframe.naming import Names, place_of
from allframe.payload import Payload

__all__ = ["Event", "RecordedEvent", "decode", "event_payload", "stream_of"]

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
        DefinitionError: (AF118) for a name that is empty or begins with ``$``, a version below 1, or a template with a
            field that the event does not have.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    __stream__: ClassVar[str]
    event_name: ClassVar[str]
    event_version: ClassVar[int]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.event_name = cls.__name__ if name is None else name
        cls.event_version = version

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        if "[" in cls.__name__:
            return  # a parametrised generic: its origin is the event
        problems = [Problem("AF118", text, place_of(cls)) for text in _problems(cls)]
        if problems:
            raise DefinitionError(f"Event {cls.__qualname__}", problems)
        _NAMES.add(cls.event_name, cls.event_version, cls)


_NAMES = Names("event", "AF118")


@dataclass(frozen=True)
class RecordedEvent:
    """An event as it stands in the store."""

    #: Unique over all stores: 32 hexadecimal digits, a UUID of version 7.
    id: str
    #: Its place in the order of the whole store, from 1.
    position: int
    stream: str
    #: Its place in its stream, from 1; the stream's version after it was appended.
    revision: int
    #: The stored name of its class.
    type: str
    #: The version of its class when it was stored.
    schema_version: int
    #: The payload as JSON, as it was stored.
    data: bytes = field(repr=False)
    #: UTC. For people only: order is ``position``, never time.
    recorded_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def event(self) -> Event:
        """The event itself, read when first asked for.

        Raises:
            StoreFormatError: if this program has no class for its type and version, or the class cannot read it.
        """
        return decode(self.type, self.schema_version, self.data)


def decode(name: str, version: int, data: bytes) -> Event:
    """The event that was stored under ``name`` and ``version``.

    Raises:
        StoreFormatError: if this program has no class for them, or the class cannot read it.
    """
    cls = _NAMES.find(name, version)
    if cls is None:
        known = _NAMES.versions(name)
        have = f"it has version {', '.join(map(str, known))}" if known else "it has no event of that name"
        raise StoreFormatError(
            f"The store holds an event {name!r} of version {version}, and this program cannot read it: {have}. Import "
            "the module that defines it before reading."
        )
    try:
        event: Event = event_payload(cls).load(data, f"the stored event {name!r}")
    except PayloadError as error:
        raise StoreFormatError(f"{error} The class has changed since it was stored: give it a new version.") from error
    return event


def event_payload(cls: type[Event]) -> Payload:
    """The stored form of an event class, made once a class."""
    payload: Payload | None = cls.__dict__.get("__allframe_payload__")
    if payload is None:
        payload = Payload(cls)
        type.__setattr__(cls, "__allframe_payload__", payload)
    return payload


def stream_of(event: Event, default: str | None) -> str:
    """The stream that ``event`` goes to: its template filled in, or ``default``.

    Raises:
        PayloadError: if the event has no template and there is no default, or its template fills to a reserved name.
    """
    template: str | None = getattr(type(event), "__stream__", None)
    if template is None:
        if default is None:
            raise PayloadError(
                f"{type(event).__qualname__} goes to no stream: name one, or give the class a template such as "
                '__stream__ = "account-{account}".'
            )
        return default
    stream = template.format_map(dict(event))
    if not stream or stream.startswith("$"):
        raise PayloadError(
            f"{type(event).__qualname__} goes to stream {stream!r}, as its template {template!r} fills in. A stream "
            "needs a name, and names that begin with '$' are allframe's own."
        )
    return stream


def _problems(cls: type[Event]) -> list[str]:
    problems = []
    name: object = cls.event_name
    version: object = cls.event_version
    if not isinstance(name, str) or not name or name.startswith("$") or not name.isprintable():
        problems.append(
            f"Its name is {name!r}. Expected printable text that does not begin with '$', which is allframe's own."
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        problems.append(f"Its version is {version!r}. Expected a whole number from 1.")
    template: object = getattr(cls, "__stream__", None)
    if template is not None:
        problems += _template_problems(cls, template)
    return problems


def _template_problems(cls: type[Event], template: object) -> list[str]:
    if not isinstance(template, str):
        return [f"__stream__ is {template!r}. Expected a text such as 'account-{{account}}'."]
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return [f"__stream__ is {template!r}, which is no template: {error}."]
    fields = [name for _, name, _, _ in parts if name is not None]
    # Only plain names: {a.b} and {a[b]} would reach into objects.
    unknown = [name for name in fields if name not in cls.model_fields]
    have = ", ".join(cls.model_fields) or "none"
    return [f"__stream__ names the field {name!r}, which it does not have. Its fields are: {have}." for name in unknown]
