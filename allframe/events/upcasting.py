"""`Upcaster`: the payload of one version of an event -> the payload of a later one.

It works on what is stored, before any class reads it: the class of the old version need not exist any more. Three ways
to have one: decorate a function with `upcasts`, let `AutoUpcaster` fill one model from another, or derive from `Upcaster`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import update_wrapper
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from allframe.errors import DefinitionError, Problem
from allframe.events.event import Event, event_payload
from allframe.masking import shown
from allframe.naming import is_version
from allframe.payload import Payload
from allframe.source import note_place, place_of, place_of_caller

__all__ = ["RULE", "AutoUpcaster", "Upcaster", "UpcasterFunction", "identity_of", "upcasts"]

#: The rule that upcasters keep to.
RULE = "AF121"

_Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class Upcaster(ABC):
    """Makes the payload of one version into that of a later one, and an event into one of another name.

    ::

        class AddCurrency(Upcaster):
            type = "bank.debited"
            from_version = 1

            def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
                return {**data, "currency": "EUR"}
    """

    #: The stored name that it reads.
    type: str
    from_version: int
    #: The version that it gives; the next one if it does not say.
    to_version: int
    #: The stored name that it gives; the same if it does not say. An event that was renamed has another.
    to_type: str

    @abstractmethod
    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        """The payload of `to_version`. ``data`` is a payload of `from_version`, its own to change."""

    @property
    def where(self) -> str:
        """``path:line`` of it, for errors."""
        return place_of(type(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        note_place(cls)

    def __str__(self) -> str:
        return f"{type(self).__qualname__} ({self.where})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Not class attributes: they follow from what a subclass, or an instance, says.
            if name == "to_version":
                return self.from_version + 1
            if name == "to_type":
                return self.type
            raise AttributeError(f"{type(self).__qualname__!r} object has no attribute {name!r}")


class UpcasterFunction(Upcaster):
    """What `upcasts` makes of a function, which can be called as before."""

    def __init__(
        self,
        function: _Upcast,
        type: str,  # noqa: A002 - the word of the whole API
        from_version: int,
        to_version: int | None,
        to_type: str | None,
    ) -> None:
        update_wrapper(self, function)
        self.type = type
        self.from_version = from_version
        self.to_version = from_version + 1 if to_version is None else to_version
        self.to_type = type if to_type is None else to_type
        self._function = function

    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        return self._function(data)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return self._function(data)

    @property
    def where(self) -> str:
        code = getattr(self._function, "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self._function)

    def __str__(self) -> str:
        return f"{getattr(self._function, '__qualname__', 'it')} ({self.where})"


def upcasts(
    type: str,  # noqa: A002 - the word of the whole API
    *,
    from_version: int,
    to_version: int | None = None,
    to_type: str | None = None,
) -> Callable[[_Upcast], UpcasterFunction]:
    """Make an upcaster of a function from payload to payload.

    ::

        @upcasts("bank.debited", from_version=1)
        def add_currency(data: dict[str, Any]) -> dict[str, Any]:
            return {**data, "currency": "EUR"}

    ``type`` is the stored name that it reads. ``to_version``: the next one, if nothing else is said. ``to_type``: the
    name that the event has now, where it was renamed.

    Raises:
        DefinitionError: (AF121) if it is no function or ``async``, for reading a payload waits for nothing, a version is
            no whole number, or a name no text.
    """

    names: tuple[tuple[str, object], ...] = (("type", type), ("to_type", to_type))

    def decorate(function: _Upcast) -> UpcasterFunction:
        given: object = function
        texts = [
            f"{name} is {version!r}. Expected a whole number from 1."
            for name, version in (("from_version", from_version), ("to_version", to_version))
            if not (is_version(version) or (version is None and name == "to_version"))
        ]
        texts += [
            f"{name} is {stored!r}. Expected the stored name of an event."
            for name, stored in names
            if not (isinstance(stored, str) or (stored is None and name == "to_type"))
        ]
        if not callable(given):
            texts.append("It is no function. Decorate one, from payload to payload: (data: dict) -> dict.")
        if bool(iscoroutinefunction(function)):
            texts.append("It is async. Write `def`: it is called wherever an event is read, and waits for nothing.")
        if texts:
            name = getattr(function, "__qualname__", repr(function))
            code = getattr(function, "__code__", None)
            where = f"{code.co_filename}:{code.co_firstlineno}" if code else name
            raise DefinitionError(f"Upcaster {name}", [Problem(RULE, text, where) for text in texts])
        return UpcasterFunction(function, type, from_version, to_version, to_type)

    return decorate


class AutoUpcaster(Upcaster):
    """Fills a model from an older one: its fields by name, and its own defaults for those that are new.

    ::

        AutoUpcaster(DebitedV1, Debited)

    Both are event classes, or models of snapshots. Fields that only the old one has are left out.

    Raises:
        DefinitionError: (AF121) if one is no class of a model, or the new one has a field without default that the old one
            has not, naming all such fields. That both have one name and the version does not rise, is told by the registry.
    """

    def __init__(self, old: type[BaseModel], new: type[BaseModel]) -> None:
        self._where = place_of_caller("allframe.events")
        _check_models(self._where, old, new)
        self.old, self.new = old, new
        self.type, self.from_version = identity_of(old)
        self.to_type, self.to_version = identity_of(new)
        self._kept = [name for name in new.model_fields if name in old.model_fields]
        self._payload: Payload | None = None
        texts = [
            f"{new.__qualname__} needs the field {name!r}, which {old.__qualname__} does not have. Give it a default, or "
            f'write the upcaster as a function: @upcasts("{self.type}", from_version={self.from_version}).'
            for name, field in new.model_fields.items()
            if name not in old.model_fields and field.is_required()
        ]
        if texts:
            raise DefinitionError(str(self), [Problem(RULE, text, self._where) for text in texts])

    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        what = f"what {self.old.__qualname__} has"
        kept = to_json({name: data[name] for name in self._kept if name in data}, by_alias=False, bytes_mode="base64")
        payload = self._payload_of_new()
        content, _ = payload.store(payload.load(kept, what), what)
        found: dict[str, Any] = from_json(content)
        return found

    def _payload_of_new(self) -> Payload:
        if issubclass(self.new, Event):
            return event_payload(self.new)
        if self._payload is None:
            self._payload = Payload(self.new)
        return self._payload

    @property
    def where(self) -> str:
        return self._where

    def __str__(self) -> str:
        return f"AutoUpcaster({self.old.__qualname__}, {self.new.__qualname__}) ({self._where})"


def _check_models(where: str, *models: object) -> None:
    texts = [
        f"{shown(model)} is no class of events or snapshots. Expected AutoUpcaster(OldClass, NewClass), of pydantic models."
        for model in models
        if not isinstance(model, type) or not issubclass(model, BaseModel)
    ]
    if texts:
        raise DefinitionError("AutoUpcaster", [Problem(RULE, text, where) for text in texts])


def identity_of(model: type[BaseModel]) -> tuple[str, int]:
    """The name and version under which values of a model are stored.

    An event class says them itself. The model of a snapshot may, in ``snapshot_name`` and ``snapshot_version``, and is
    stored by its class's name, as version 1, if it does not; neither is inherited.
    """
    if issubclass(model, Event):
        return model.event_name, model.event_version
    own = vars(model)
    return own.get("snapshot_name", model.__name__), own.get("snapshot_version", 1)
