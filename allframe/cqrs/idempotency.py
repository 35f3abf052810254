"""Idempotency keys: what was dispatched under one is done once.

A key is a stream, ``$command/<command>/<key>``, and its record is written in the commit that has the handler's events,
first: so they follow it in the order of the store. Whoever finds the record has them; whoever writes it beside somebody
else loses, for the stream is not at the version that it was found at. A rejection is a record with no events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from pydantic_core import from_json, to_json

from allframe.cqrs.command import Command
from allframe.cqrs.message import payload_of
from allframe.errors import CommandRejected, IdempotencyConflict, PayloadError, StoreFormatError
from allframe.events.backend import Row, StoredRow, Write, new_id
from allframe.events.event import Event
from allframe.events.recorded import to_recorded
from allframe.events.store import EventStore
from allframe.masking import shown
from allframe.payload import Payload, canonical

__all__ = ["Found", "KeyRecord", "check_key", "digest_of", "find", "key_stream", "rejection_of", "seconds_to_keep"]

#: The type of its row.
RECORD: Final = "CommandSettled"


@dataclass(frozen=True)
class Rejection:
    """A `CommandRejected`, as it is stored: found again by the name of its class, among those that are imported."""

    kind: str
    message: str
    reason: str | None
    details: dict[str, Any]
    #: Whose it is: a command's that was dispatched within this one, it may be. None: this one's.
    command: str | None = None


@dataclass(frozen=True)
class KeyRecord:
    """What became of a command that was dispatched under a key."""

    command_id: str
    #: SHA-256 of the command's payload, as hexadecimal digits.
    digest: str
    #: How many events follow right after it.
    events: int
    #: Microseconds since 1970, UTC: from then on the key is as good as new. None: never.
    expires_at: int | None = None
    rejection: Rejection | None = None

    def write(self, stream: str, expected: int, *, recorded_at: int, metadata: bytes | None) -> Write:
        """It as the first write of a commit.

        Raises:
            PayloadError: if the details of a rejection cannot be stored.
        """
        data, _ = _RECORD.store(self, f"The record of {stream!r}")
        return Write(stream, (Row(new_id(), RECORD, 1, data, recorded_at, metadata),), expected)


_RECORD = Payload(KeyRecord)
_REJECTION = Payload(Rejection)


@dataclass(frozen=True)
class Found:
    """What a key's stream says."""

    #: The version of the stream: what the next record has to expect.
    version: int
    row: StoredRow | None = None
    record: KeyRecord | None = None

    def holds(self, now: int) -> bool:
        """Whether the key was used, and has not expired. ``now``: microseconds since 1970, UTC."""
        record = self.record
        return record is not None and (record.expires_at is None or now < record.expires_at)

    async def answer(self, store: EventStore, command: str, key: str, digest: str) -> list[Event]:
        """What was recorded: the events, read from the store as any are.

        Raises:
            CommandRejected: that was the answer.
            IdempotencyConflict: it was another payload.
            StoreFormatError: this program cannot read one of the events.
        """
        assert self.record is not None
        assert self.row is not None
        if self.record.digest != digest:
            raise IdempotencyConflict(
                f"The idempotency key {key!r} was given to a command {command!r} with another payload, and "
                "answers for that one. Nothing was done: give each payload a key of its own.",
                key=key,
                command=command,
            )
        if self.record.rejection is not None:
            raise _revive(self.record.rejection, self.record.rejection.command or command)
        return await _events_after(store, self.row.position, self.record.events)


async def find(store: EventStore, stream: str) -> Found:
    """The newest record of a key; none in a stream that does not exist."""
    backend, last = store.opened(), None
    while rows := await backend.read_stream(stream, after=0 if last is None else last.revision, limit=100):
        last = rows[-1]
    if last is None:
        return Found(0)
    try:
        record = _RECORD.load(last.data, f"The record of {stream!r}")
    except PayloadError as error:
        raise StoreFormatError(f"{error} It was written by a newer allframe, or is damaged.") from error
    return Found(last.revision, last, record)


async def _events_after(store: EventStore, position: int, count: int) -> list[Event]:
    """The events at the next ``count`` positions, as any reader of the store gets them."""
    events, start = list[Event](), position
    while len(events) < count:
        rows = await store.opened().read_all(after=position, limit=count - len(events), system=True)
        if not rows:
            raise StoreFormatError(
                f"{count} events belong to the idempotency key whose record is at position {start}, and the store holds "
                f"{len(events)} after it. It is damaged."
            )
        events += [to_recorded(row, store.versions).event for row in rows]
        position = rows[-1].position
    return events


def key_stream(command: str, key: str) -> str:
    """The stream of a key, which belongs to the name of a command."""
    return f"$command/{command}/{key}"


def check_key(key: object) -> None:
    """
    Raises:
        ValueError: if it cannot be a key.
    """
    if not isinstance(key, str) or not 0 < len(key) <= 200 or not key.isprintable():
        raise ValueError(f"An idempotency key is 1 to 200 printable characters. Found {key!r}.")


def seconds_to_keep(given: float | timedelta | None) -> float | None:
    """
    Raises:
        ValueError: if it is no time above 0.
    """
    seconds: object = given.total_seconds() if isinstance(given, timedelta) else given
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < 1e9:
        raise ValueError(f"keep_keys is seconds above 0 and below 1e9, a timedelta, or None for ever. Found {given!r}.")
    return seconds


def digest_of(command: Command) -> str:
    """SHA-256 of the command's fields; those that have their default do not count, so that one can be added.

    Raises:
        PayloadError: if the command cannot be written as JSON and read back equal.
    """
    data, _ = payload_of(type(command)).store(command, f"The command {command.message_name!r}")
    usual = set(_defaults(command))
    fields = {name: value for name, value in from_json(data).items() if name not in usual}
    return sha256(canonical(to_json(fields))).hexdigest()


def _defaults(command: Command) -> Iterator[str]:
    """The fields that have the default that their class gives."""
    for name, field in type(command).__pydantic_fields__.items():
        if not field.is_required() and field.default_factory is None and getattr(command, name) == field.default:
            yield name


def rejection_of(error: CommandRejected) -> Rejection:
    """``error``, to be stored.

    Raises:
        PayloadError: if it cannot be, and given back as it is.
    """
    rejection = Rejection(type(error).__name__, str(error), error.reason, dict(error.details), error.command)
    try:
        _REJECTION.store(rejection, "It")
    except PayloadError:
        raise PayloadError(
            f"The command {error.command!r} was rejected by {rejection.kind}, which an idempotency key cannot remember, and "
            "nothing was recorded. Expected a message and a reason of Unicode text, and details of plain JSON values. Found: "
            f"reason={shown(rejection.reason)}, details={shown(rejection.details)}."
        ) from error
    return rejection


def _revive(rejection: Rejection, command: str) -> CommandRejected:
    """The rejection of the class that it had; of the base, where that is not imported or there are two of its name."""
    known = {
        cls.__module__ + cls.__qualname__: cls for cls in _below(CommandRejected) if cls.__name__ == rejection.kind
    }
    cls = next(iter(known.values())) if len(known) == 1 else CommandRejected
    try:
        error = cls.__new__(cls)  # without its own __init__, which may ask for anything
    except Exception:  # noqa: BLE001 - and so may this
        error = CommandRejected()
    CommandRejected.__init__(
        error, rejection.message, reason=rejection.reason, details=rejection.details, command=command
    )
    return error


def _below(cls: type[CommandRejected]) -> Iterator[type[CommandRejected]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _below(child)
