"""`Aggregate`: what the events of one stream come to, as a model that they are applied to one by one."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from allframe.errors import DefinitionError, PayloadError, Problem
from allframe.events.event import Event, is_stream_name
from allframe.masking import hidden_args, hide_inputs, shown
from allframe.naming import Names, is_parametrised, naming_problems, snake_case
from allframe.refusing import refuse
from allframe.source import note_place, place_of

__all__ = ["Aggregate", "apply_next", "check_usable", "stream_named"]

_NAMES: Names[type[Aggregate]]


class Aggregate(BaseModel):
    """What happened to one thing so far, and what may happen to it next: the fold of the events in its stream.

    ::

        class Account(Aggregate, name="bank.account", version=2, stream="account-{id}"):
            balance: Decimal = Decimal(0)

            def apply(self, event: Event) -> None:
                match event:
                    case Deposited(amount=amount):
                        self.balance += amount

    ``name`` and ``version`` are what its snapshots are stored under: a new version, for another meaning of the fields or
    another `apply`, has the old ones ignored. ``name`` defaults to the class's name and ``version`` to 1. ``stream`` is
    the name of the stream of the one with this id, by default ``<snake_case_class>-{id}``. None of them is inherited.

    An aggregate without events is ``Account(id=id)``, so every other field needs a default.

    Raises:
        DefinitionError: (AF122) for a name that is empty or begins with ``$``, a version below 1, a stream that does not
            tell ids apart, another class keyword, a field without a default, a model that is frozen, or an `apply` that
            cannot be called with an event.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    __stream__: ClassVar[str]
    snapshot_name: ClassVar[str]
    snapshot_version: ClassVar[int]

    id: str = Field(frozen=True)
    #: The number of events that it is made of. A repository counts them; `apply` does not.
    version: int = Field(default=0, ge=0, frozen=True)

    def apply(self, event: Event) -> None:
        """Change the fields as ``event`` says. It happened: there is nothing to refuse, and nothing to do but this."""
        raise NotImplementedError(f"{type(self).__qualname__} has no apply(self, event).")

    def __repr_args__(self) -> Any:
        return hidden_args(self, super().__repr_args__())

    def __init_subclass__(
        cls, *, name: str | None = None, version: int = 1, stream: str | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__()
        note_place(cls)
        # What pydantic knows, such as extra="forbid", does not come here.
        _refuse(cls, [f"It has no class keyword {keyword!r}. It has: name, version, stream." for keyword in kwargs])
        cls.snapshot_name = cls.__name__ if name is None else name
        cls.snapshot_version = version
        cls.__stream__ = f"{snake_case(cls.__name__)}-{{id}}" if stream is None else stream

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        hide_inputs(cls)
        if is_parametrised(cls):
            return
        texts = _hidden(cls) or _problems(cls)
        _refuse(cls, texts)
        if not texts:
            _NAMES.add(cls.snapshot_name, cls.snapshot_version, cls)


_NAMES = Names("aggregate", "AF122")


# --- for whoever loads them ------------------------------------------------------------------------------------------


def check_usable(cls: type[Aggregate]) -> None:
    """Refuse a class that is no more than a base for others.

    Raises:
        TypeError: if it is no class of aggregates.
        DefinitionError: (AF122) if it has no `apply`, no name of its own, or one that another class has as well.
    """
    given: object = cls
    if not isinstance(given, type) or not issubclass(given, Aggregate):
        raise TypeError(f"Expected a class derived from Aggregate, found {shown(given)}.")
    if is_parametrised(cls):
        raise _error(
            cls, [f"It has no name that its snapshots could be found by. Give it a class of its own: {_own(cls)}."]
        )
    if cls.apply is Aggregate.apply:
        raise _error(
            cls, ["It has no apply. Write one, which changes the fields as an event says: apply(self, event)."]
        )
    _NAMES.find(cls.snapshot_name, cls.snapshot_version)


def stream_named(cls: type[Aggregate], id: str) -> str:  # noqa: A002 - the aggregate's own word
    """The stream of the aggregate with this id.

    Raises:
        PayloadError: for what can be no id.
    """
    given: object = id
    if not isinstance(given, str) or not given or given.startswith("$") or not given.isprintable():
        raise PayloadError(
            f"{shown(given)} can be no id of {cls.__qualname__}. Expected printable text that does not begin with '$'."
        )
    return cls.__stream__.format(id=given)


def apply_next(aggregate: Aggregate, event: Event) -> None:
    """Apply ``event`` and count it.

    Raises:
        TypeError: if `apply` returned something, as if the change were in that.
    """
    apply: Callable[[Event], object] = aggregate.apply
    returned = apply(event)
    if returned is not None:
        raise TypeError(
            f"apply returned {shown(returned)}. Expected nothing: it changes the fields of the aggregate itself."
        )
    # Nobody else may set it: the field is frozen.
    vars(aggregate)["version"] += 1


# --- AF122 -----------------------------------------------------------------------------------------------------------


def _own(cls: type[Aggregate]) -> str:
    return f"class X({cls.__qualname__})"


def _refuse(cls: type[Aggregate], texts: list[str]) -> None:
    if texts:
        refuse(_error(cls, texts))


def _error(cls: type[Aggregate], texts: list[str]) -> DefinitionError:
    return DefinitionError(f"Aggregate {cls.__qualname__}", [Problem("AF122", text, place_of(cls)) for text in texts])


def _hidden(cls: type[Aggregate]) -> list[str]:
    own = Aggregate.model_fields
    hidden: list[str] = [name for name in ("snapshot_name", "snapshot_version") if name in cls.model_fields]
    hidden += [name for name, field in own.items() if _is_another(cls.model_fields[name], field)]
    return [
        f"The field {name!r} hides Aggregate.{name}, which every aggregate has. Give the field another name."
        for name in hidden
    ]


def _is_another(field: FieldInfo, own: FieldInfo) -> bool:
    return field.annotation is not own.annotation or not field.frozen


def _problems(cls: type[Aggregate]) -> list[str]:
    return [
        *naming_problems(cls.snapshot_name, cls.snapshot_version),
        *_stream(cls.__stream__),
        *_fields(cls),
        *_apply(cls),
    ]


def _stream(template: object) -> list[str]:
    expected = "Expected a text with {id} in it, such as 'account-{id}', that does not begin with '$'."
    if not isinstance(template, str):
        return [f"Its stream is {template!r}. {expected}"]
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return [f"Its stream is {template!r}, which is no template: {error}."]
    fields = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    # As it is: a format could cut two ids to one stream.
    if not fields or any(field != ("id", "", None) for field in fields) or not is_stream_name(template):
        return [f"Its stream is {template!r}. {expected}"]
    return []


def _fields(cls: type[Aggregate]) -> list[str]:
    problems = [
        f"The field {name!r} has no default, and an aggregate without events has only its id. Give it a default."
        for name, field in cls.model_fields.items()
        if field.is_required() and name not in Aggregate.model_fields
    ]
    if cls.model_config.get("frozen"):
        problems.append("It is frozen, and apply changes its fields. Leave frozen=True out.")
    return problems


def _apply(cls: type[Aggregate]) -> list[str]:
    apply: Any = cls.apply
    if inspect.iscoroutinefunction(apply) or inspect.isgeneratorfunction(apply) or inspect.isasyncgenfunction(apply):
        return [
            "Its apply is async or a generator. Expected a plain function: it changes fields, and waits for nothing."
        ]
    try:
        inspect.signature(apply).bind(None, None)
    except TypeError:
        return [f"Its apply takes {inspect.signature(apply)}. Expected (self, event)."]
    return []
