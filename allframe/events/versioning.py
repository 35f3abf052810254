"""`VersionRegistry`: how events that were stored in the past are read as those of today.

Upcasters are chained on each read, over the stored payload. What is stored never changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from allframe.errors import DefinitionError, Problem, StoreFormatError
from allframe.events.event import Event, Versions, class_of, decode, event_payload, known_versions
from allframe.events.lineage import Form, form_after, form_before, problems_at_once, problems_of_chains, way_from
from allframe.events.upcasting import RULE, AutoUpcaster, Upcaster, identity_of
from allframe.masking import may_hold_secrets, shown

__all__ = ["MigrationPath", "VersionRegistry", "as_read"]

T = TypeVar("T")

_A_PATH = 'Expected one such as MigrationPath("bank.debited", 1, 3).'


@dataclass(frozen=True)
class MigrationPath:
    """The way from a stored version to the one that it is read as, and the upcasters on it, in order.

    ::

        MigrationPath("bank.debited", 1, 3)
    """

    type: str
    from_version: int
    to_version: int
    #: The same as ``type`` but for an event that was renamed.
    to_type: str = ""
    upcasters: tuple[Upcaster, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.to_type:
            object.__setattr__(self, "to_type", self.type)

    def __str__(self) -> str:
        forms = [f"{self.type} {self.from_version}"]
        for upcaster in self.upcasters or (None,):
            name, version = (self.to_type, self.to_version) if upcaster is None else form_after(upcaster)
            forms.append(f"{name} {version}")
        return " -> ".join(forms)

    def upcast(self, data: bytes, where: str = "") -> bytes:
        """The payload of the version that it leads to. ``where`` says in errors where ``data`` is stored.

        Raises:
            StoreFormatError: if an upcaster raises, or returns no dict, or what cannot be written as JSON.
        """
        if not self.upcasters:
            return data
        content = self._content(data, where)
        upcaster = self.upcasters[0]
        try:
            for i, upcaster in enumerate(self.upcasters):
                content = _checked(upcaster.upcast(_own(content) if i else content))
            return to_json(content, by_alias=False, bytes_mode="base64")
        except Exception as error:  # noqa: BLE001 - of the user's function, or of what it returned
            raise self._failed(upcaster, error, where) from (None if self._hides else error)

    def _content(self, data: bytes, where: str) -> dict[str, Any]:
        try:
            content: Any = from_json(data)
        except ValueError as error:
            raise StoreFormatError(f"{self._what(where)} is damaged: {error}.") from error
        if not isinstance(content, dict):
            raise StoreFormatError(
                f"{self._what(where)} cannot be upcast: it is a JSON {type(content).__name__}, no object."
            )
        return content

    def _what(self, where: str) -> str:
        return f"What is stored as {self.type!r} of version {self.from_version}{f', {where},' if where else ''}"

    def _failed(self, upcaster: Upcaster, error: Exception, where: str) -> StoreFormatError:
        name, version = form_after(upcaster)
        to = f"version {version}" if name == upcaster.type else f"{name!r} of version {version}"
        said = type(error).__qualname__ if self._hides else f"{type(error).__qualname__}: {error}"
        return StoreFormatError(
            f"{self._what(where)} cannot be upcast: {upcaster}, from version {upcaster.from_version} to {to}, failed with "
            f"{said.rstrip('.')}. What is stored was not touched: mend the upcaster, and read it again."
        )

    @property
    def _hides(self) -> bool:
        """Whether what is upcast may hold secrets, which an exception might quote."""
        last = self.upcasters[-1]
        model = last.new if isinstance(last, AutoUpcaster) else class_of(self.to_type, self.to_version)
        return model is not None and (
            event_payload(model).hides if issubclass(model, Event) else may_hold_secrets(model)
        )


class VersionRegistry:
    """The upcasters of a program; an `EventStore` that is given one reads every event by it.

    ::

        versions = VersionRegistry([add_currency, AutoUpcaster(DebitedV2, Debited)])
        store = EventStore("sqlite:///bank.db", versions=versions)

    ``models``: the models of snapshots that functions upcast; those of an `AutoUpcaster` need not be named.

    Raises:
        DefinitionError: (AF121) with all that is wrong: two upcasters for one version, one that leads to a lower version,
            circles, a version that nothing leads on from, one beyond the newest class, a name that no class has.
    """

    def __init__(self, upcasters: Iterable[Upcaster] = (), *, models: Iterable[type[BaseModel]] = ()) -> None:
        #: The models of snapshots that it was told.
        self.models = _models(models)
        self._upcasters: tuple[Upcaster, ...] = ()
        self._paths: dict[Form, MigrationPath] = {}
        self._add(_listed("upcasters", upcasters, "VersionRegistry([upcaster, ...])"))
        self.check()

    def register_upcaster(self, upcaster: Upcaster) -> None:
        """Add one. Whether all are there is asked by `check`, which an `EventStore` calls when it is made.

        Raises:
            DefinitionError: (AF121) if no other could mend it: its version has one already, or it leads back. Nothing
                was added.
        """
        self._add((upcaster,))

    def register_migration(self, path: MigrationPath) -> None:
        """Add the upcasters of ``path``; of one without any, hold that those which are registered lead along it.

        Raises:
            DefinitionError: (AF121) if they do not, or cannot be added. Nothing was added.
        """
        given: object = path
        if not isinstance(given, MigrationPath):
            _refuse([Problem(RULE, f"{shown(given)} is no MigrationPath. {_A_PATH}", "(declared)")])
        before = self._upcasters, self._paths
        listed = _listed("upcasters", path.upcasters, "MigrationPath(..., upcasters=(upcaster,))")
        self._add(tuple(new for new in listed if not any(new is known for known in self._upcasters)))
        passed = [form_after(upcaster) for upcaster in way_from((path.type, path.from_version), self._onward())]
        if (path.to_type, path.to_version) not in passed:
            self._upcasters, self._paths = before
            found = " -> ".join(f"{name} {version}" for name, version in [(path.type, path.from_version), *passed])
            text = (
                f"The path {path.type} {path.from_version} -> {path.to_type} {path.to_version} needs upcasters that lead along "
                f"it. They lead: {found if passed else 'nowhere from there'}. Register them first, or give them with the path."
            )
            where = path.upcasters[0].where if path.upcasters else "(declared)"
            raise DefinitionError("The version registry", [Problem(RULE, text, where)])

    def get_migrations(self) -> list[MigrationPath]:
        """The path of every stored version that is upcast, by name and version."""
        return [path for _, path in sorted(self._paths.items())]

    def get_migrations_for(self, type: str) -> list[MigrationPath]:  # noqa: A002 - the word of the whole API
        """The paths that begin at an event stored as ``type``, or end at one."""
        return [path for path in self.get_migrations() if type in (path.type, path.to_type)]

    def has_upcaster(self, type: str, from_version: int) -> bool:  # noqa: A002 - the word of the whole API
        """Whether what is stored as ``type`` of that version is upcast."""
        return (type, from_version) in self._paths

    def upcaster_count(self) -> int:
        """How many upcasters it has."""
        return len(self._upcasters)

    def migration_count(self) -> int:
        """How many stored versions are upcast."""
        return len(self._paths)

    def upcast(self, type: str, version: int, data: bytes, *, where: str = "") -> tuple[str, int, bytes]:  # noqa: A002 - the word of the whole API
        """The name, version and payload that it is read as; the same where nothing is to be done.

        ``where`` says in errors where it is stored: ``"position 7 of the store"``.

        Raises:
            StoreFormatError: if an upcaster fails.
        """
        path = self._paths.get((type, version))
        return (type, version, data) if path is None else (path.to_type, path.to_version, path.upcast(data, where))

    def describe(self, type: str, version: int) -> str:  # noqa: A002 - the word of the whole API
        """What is done to what is stored so, for errors: ``", upcast to version 2 by add (bank.py:12),"``, or nothing."""
        path = self._paths.get((type, version))
        if path is None:
            return ""
        name = "" if path.to_type == type else f"{path.to_type!r} of "
        return f", upcast to {name}version {path.to_version} by {' and '.join(map(str, path.upcasters))},"

    def check(self) -> None:
        """See that every path leads to the newest class of its name, among those that were imported.

        Raises:
            DefinitionError: (AF121) with all that is wrong.
        """
        _refuse(problems_of_chains(self._upcasters, self._classes()))

    def _classes(self) -> dict[str, set[int]]:
        found = {name: set(versions) for name, versions in known_versions().items()}
        filled = [upcaster for upcaster in self._upcasters if isinstance(upcaster, AutoUpcaster)]
        models = [model for upcaster in filled for model in (upcaster.old, upcaster.new)]
        for name, version in map(identity_of, (*self.models, *models)):
            found.setdefault(name, set()).add(version)
        return found

    def _add(self, new: tuple[Upcaster, ...]) -> None:
        upcasters = (*self._upcasters, *new)
        _refuse(problems_at_once(upcasters))
        self._upcasters = upcasters
        onward = self._onward()
        self._paths = {form: _path(form, way_from(form, onward)) for form in onward}

    def _onward(self) -> dict[Form, Upcaster]:
        return {form_before(upcaster): upcaster for upcaster in self._upcasters}

    def __repr__(self) -> str:
        return f"VersionRegistry([{', '.join(map(str, self.get_migrations()))}])"


def as_read(event: Event, versions: Versions | None) -> Event:
    """``event`` as it is when it is read from a store: of the class that it has today.

    Raises:
        PayloadError: if it cannot be stored.
        StoreFormatError: if it cannot be upcast.
    """
    if versions is None:
        return event
    cls = type(event)
    payload = event_payload(cls)
    if not versions.has_upcaster(cls.event_name, cls.event_version):
        return event
    data, _ = payload.store(event, f"The event {cls.event_name!r}")
    return decode(cls.event_name, cls.event_version, data, versions)


def _own(value: Any) -> Any:
    """A copy that the next upcaster may change: what the one before returned may be in its hands still, such as a default."""
    if type(value) is dict:
        return {key: _own(item) for key, item in value.items()}
    return [_own(item) for item in value] if type(value) is list else value


def _checked(content: object) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"it returned {type(content).__name__}, not a dict")
    return content


def _path(form: Form, way: list[Upcaster]) -> MigrationPath:
    name, version = form_after(way[-1])
    return MigrationPath(*form, version, name, tuple(way))


def _models(given: Iterable[type[BaseModel]]) -> tuple[type[BaseModel], ...]:
    models = _listed("models", given, "models=[Account, ...]")
    given_models: tuple[object, ...] = models
    wrong = [one for one in given_models if not isinstance(one, type) or not issubclass(one, BaseModel)]
    _refuse(
        [
            Problem(RULE, f"{shown(one)} is no model of snapshots. Give its class in models=[...].", "(declared)")
            for one in wrong
        ]
    )
    return models


def _listed(name: str, given: Iterable[T], example: str) -> tuple[T, ...]:
    # A class of models is iterable to type checkers, and a text is one of letters.
    found: object = given
    if isinstance(found, str | type) or not isinstance(found, Iterable):
        _refuse([Problem(RULE, f"Its {name} are {shown(given)}. Give a list: {example}.", "(declared)")])
    return tuple(given)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DefinitionError("The version registry", problems)
