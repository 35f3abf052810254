"""What a step returned <-> what is stored of it, and the events that go with it.

An `Event`, or a list of them, is stored by its own class and not by the annotation, so ``-> Event`` and
``-> list[Event]`` read back equal; it is appended to its stream as well. Anything else is stored by the annotation.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from allframe.errors import PayloadError, StoreFormatError
from allframe.events.backend import Write
from allframe.events.correlation import with_correlation
from allframe.events.event import Event, Versions, decode, event_payload, stream_of
from allframe.events.rows import make_rows
from allframe.events.versioning import as_read
from allframe.payload import check_size
from allframe.saga.graph import Step
from allframe.saga.records import Form

__all__ = ["StoredOutput", "event_writes", "load_output", "refuse_awaitable", "store_output", "told_output"]


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output in its stored form."""

    data: bytes
    form: Form
    #: What reading ``data`` gives: later steps get it, live as after a crash.
    value: Any
    #: The events in it.
    events: tuple[Event, ...] = ()


_NONE = StoredOutput(b"null", "value", None)


def store_output(step: Step, value: Any, versions: Versions | None = None) -> StoredOutput:
    """Make the round trip with what ``step`` returned. An event of a version that ``versions`` upcasts is appended as it is,
    and given to later steps as what it is read as.

    Raises:
        PayloadError: if it is not what the annotation says, or cannot be stored and read back equal.
        StoreFormatError: if it cannot be upcast.
    """
    if value is None and step.output.annotation in (None, type(None)):
        return _NONE
    what = f"The output of step {step.attribute!r}"
    refuse_awaitable(value, what)
    if isinstance(value, Event):
        _check_type(step, value, what)
        data, loaded = _store_event(value)
        return StoredOutput(data, "event", as_read(loaded, versions), (loaded,))
    if isinstance(value, list) and value and all(isinstance(item, Event) for item in value):
        _check_type(step, value, what)
        stored = [_store_event(item) for item in value]
        data = b"[" + b",".join(data for data, _ in stored) + b"]"
        check_size(data, what)
        events = [loaded for _, loaded in stored]
        return StoredOutput(data, "events", [as_read(event, versions) for event in events], tuple(events))
    data, loaded = step.output.store(value, what)
    return StoredOutput(data, "value", loaded)


def refuse_awaitable(value: Any, what: str) -> None:
    """Refuse what was returned where an ``await`` is missing: nothing of it has happened.

    Raises:
        PayloadError: if it is one.
    """
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise PayloadError(
            f"{what} is a {type(value).__qualname__}, which nobody awaits. Mark an `async def`, and await it there."
        )


def told_output(step: Step, value: Any, json: bytes | None) -> StoredOutput:
    """What a person says that ``step`` returned: ``value``, or the one that ``json`` holds.

    Raises:
        PayloadError: if it is not what the annotation says.
    """
    if json is not None:
        value = step.output.load(json, f"The output that was given for step {step.attribute!r}")
    return store_output(step, value)


def load_output(step: Step, data: bytes, form: str, versions: Versions | None = None) -> Any:
    """What ``step`` returned; events in it are upcast by ``versions``.

    Raises:
        PayloadError: if the annotation, or the event's class, has changed so that it cannot be read.
        StoreFormatError: if the class of an event is not there, an upcaster fails, or what is stored is damaged.
    """
    what = f"The stored output of step {step.attribute!r}"
    if form == "value":
        return step.output.load(data, what)
    try:
        content = from_json(data)
    except ValueError as error:
        raise StoreFormatError(f"{what} is damaged: {error}.") from error
    if form == "event":
        return _load_event(content, what, versions)
    if form == "events" and isinstance(content, list):
        return [_load_event(item, what, versions) for item in content]
    raise StoreFormatError(f"{what} is damaged: it is of the form {form!r}, and holds {type(content).__name__}.")


def event_writes(
    emitted: Sequence[tuple[Event, str | None]], *, saga_id: str, step: str, recorded_at: int
) -> tuple[Write, ...]:
    """The events of one attempt as writes, in the order in which they were emitted, with the correlation that holds here.

    Raises:
        PayloadError: if one of them cannot be stored, or its stream's template fills to a reserved name.
    """
    metadata = with_correlation({"saga": saga_id, "step": step})
    writes: list[Write] = []
    for event, named in emitted:
        stream = named or stream_of(event, saga_id)
        rows = make_rows([event], recorded_at=recorded_at, metadata=metadata)
        if writes and writes[-1].stream == stream:
            writes[-1] = Write(stream, (*writes[-1].rows, *rows))
        else:
            writes.append(Write(stream, rows))
    return tuple(writes)


def _check_type(step: Step, value: Any, what: str) -> None:
    if not step.output.is_instance(value):
        raise PayloadError(f"{what} is {type(value).__qualname__}, not {step.output.name} as its annotation says.")


def _store_event(event: Event) -> tuple[bytes, Event]:
    cls = type(event)
    data, loaded = event_payload(cls).store(event, f"The event {cls.event_name!r}")
    return b'{"type":%s,"version":%d,"data":%s}' % (to_json(cls.event_name), cls.event_version, data), loaded


def _load_event(content: Any, what: str, versions: Versions | None) -> Event:
    try:
        return decode(
            content["type"],
            content["version"],
            to_json(content["data"]),
            versions,
            f"{what[0].lower()}{what[1:]}",
        )
    except (KeyError, TypeError) as error:
        raise StoreFormatError(f"{what} is no event: {error!r}.") from error
