"""`Projection` and `SqlProjection`: what the events say, as a program wants to read it.

A projection is a fold: `apply` is given each event once, in the order of their positions, and never two at a time. So what
it holds follows from the events alone, and can be thrown away and made anew whenever its code changes.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

from allframe.errors import ProjectionRefused
from allframe.events.event import Event
from allframe.events.recorded import RecordedEvent
from allframe.events.tables import Transaction, check_name
from allframe.events.versioning import VersionRegistry
from allframe.naming import is_version

__all__ = ["AnyProjection", "Projection", "SqlProjection", "digest_of", "handled_types"]


class _Named(ABC):
    """What both kinds have: a name, and perhaps the types of events that they handle."""

    #: The name that it is registered under, unless another is given there.
    projection_name: ClassVar[str]
    #: The events that it is given, by stored name and of any version; None: every event. The others it only counts.
    handles: ClassVar[tuple[type[Event], ...] | None] = None

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__()
        if kwargs:
            raise ProjectionRefused(
                f"{cls.__qualname__} has no class keyword {next(iter(kwargs))!r}. A projection in memory has: name; one in "
                "tables: name, version."
            )
        cls.projection_name = cls.__name__ if name is None else name
        if name is not None:
            check_name(name)
        handles: object = cls.handles
        if handles is not None and not _are_events(handles):
            raise ProjectionRefused(
                f"{cls.__qualname__} has handles = {handles!r}. Expected a tuple of event classes, such as (Deposited,)."
            )


class Projection(_Named):
    """A projection in memory: plain Python, made anew from the first event at each start.

    ::

        class Balances(Projection, name="balances"):
            def __init__(self) -> None:
                self.by_account: dict[str, int] = {}

            def apply(self, event: Event, recorded: RecordedEvent) -> None:
                match event:
                    case Deposited():
                        self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount

            def reset(self) -> None:
                self.by_account.clear()
    """

    @abstractmethod
    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        """Take one event in. It is called on the event loop, so it must be quick.

        What it raises stops this projection, before this event.
        """

    @abstractmethod
    def reset(self) -> None:
        """Become as if no event had been applied. It is called before the first one is."""


class SqlProjection(_Named):
    """A projection in tables of SQL, which hold what was applied and how far, committed together.

    ::

        class Balances(SqlProjection, name="balances", version=1):
            schema = "CREATE TABLE balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)"

            def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
                match event:
                    case Deposited():
                        tx.execute(
                            "INSERT INTO balances VALUES (:account, :amount) "
                            "ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount",
                            {"account": event.account, "amount": event.amount},
                        )

    ``schema`` makes the tables: any number of statements. When it, or ``version``, is another than the one that they were made
    with, they are rebuilt: so raise ``version`` when `apply` comes to mean something else. An object of it holds nothing that
    follows from events, for they are applied once, and objects come and go.
    """

    #: The statements that make its tables.
    schema: ClassVar[str]
    projection_version: ClassVar[int] = 1

    def __init_subclass__(cls, *, name: str | None = None, version: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(name=name, **kwargs)
        if version is not None:
            cls.projection_version = version
        number: object = cls.projection_version
        if not is_version(number):
            raise ProjectionRefused(f"The version of {cls.__qualname__} is {number!r}. Expected a whole number from 1.")
        if not isinstance(getattr(cls, "schema", None), str):
            raise ProjectionRefused(
                f'{cls.__qualname__} has no schema. Expected schema = "CREATE TABLE …", the statements that make its tables.'
            )

    @abstractmethod
    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        """Write into the tables what follows from one event. It is called on a thread, within a transaction.

        What it raises stops this projection, before this event.
        """


AnyProjection: TypeAlias = Projection | SqlProjection


def digest_of(projection: SqlProjection) -> str:
    """What tables are recognised by: the same for the same schema and version."""
    text = f"{projection.projection_version}\n{projection.schema}"
    return hashlib.sha256(text.encode()).hexdigest()


def handled_types(projection: AnyProjection, versions: VersionRegistry | None) -> frozenset[str] | None:
    """The stored names of the events that it is given, also those that they had before; None: all."""
    handles = projection.handles
    if handles is None:
        return None
    names = {cls.event_name for cls in handles}
    paths = [] if versions is None else versions.get_migrations()
    return frozenset(names | {path.type for path in paths if path.to_type in names})


def _are_events(handles: object) -> bool:
    return isinstance(handles, tuple) and all(isinstance(each, type) and issubclass(each, Event) for each in handles)
