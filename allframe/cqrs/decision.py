"""What a handler decided, as the writes of one commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias, cast

from allframe.errors import PayloadError
from allframe.events.backend import Write
from allframe.events.event import Event, is_stream_name, stream_of
from allframe.events.rows import make_rows
from allframe.masking import shown

__all__ = ["Decision", "StreamWrite", "read_decision", "writes_of"]

#: A stream, the events for it, and the version that it must have; None for whatever it has.
StreamWrite: TypeAlias = tuple[str, Sequence[Event], int | None]

#: What a handler of commands may return.
Decision: TypeAlias = Event | Sequence[Event] | Sequence[StreamWrite] | None


def read_decision(decided: object, handler: str) -> list[StreamWrite]:
    """The events that a handler returned, by stream, in their order.

    Raises:
        PayloadError: if it returned something else, or an event that goes to no stream.
    """
    if decided is None:
        return []
    items = [decided] if isinstance(decided, Event) else decided
    if not isinstance(items, list | tuple):
        raise _refused(decided, handler)
    if all(isinstance(item, Event) for item in items):
        routed = groupby(cast("Sequence[Event]", items), key=lambda event: stream_of(event, None))
        return [(stream, list(events), None) for stream, events in routed]
    return [_checked(item, handler) for item in items]


def writes_of(
    decided: Sequence[StreamWrite], *, recorded_at: int, metadata: Mapping[str, Any] | None
) -> tuple[Write, ...]:
    """The same as rows for a backend. ``recorded_at``: microseconds since 1970, UTC.

    Raises:
        PayloadError: if an event cannot be stored.
    """
    return tuple(
        Write(stream, make_rows(events, recorded_at=recorded_at, metadata=metadata), expected)
        for stream, events, expected in decided
    )


def _checked(item: object, handler: str) -> StreamWrite:
    match item:
        case (str(stream), [*events], expected) if (
            events and all(isinstance(event, Event) for event in events) and _is_version(expected)
        ):
            if is_stream_name(stream):
                return stream, cast("list[Event]", events), cast("int | None", expected)
            raise PayloadError(
                f"The handler {handler} appends to the stream {stream!r}. A stream needs a name of Unicode text without a "
                "NUL character, and names that begin with '$' are allframe's own."
            )
    raise PayloadError(
        f"The handler {handler} returned a list with {shown(item)} in it, and nothing was appended. Expected each item to "
        'be an event, or each to be ("stream", [one event or more], expected_version), the version a whole number from 0 '
        "or None."
    )


def _is_version(expected: object) -> bool:
    return expected is None or (isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0)


def _refused(found: object, handler: str) -> PayloadError:
    return PayloadError(
        f"The handler {handler} returned {shown(found)}, and nothing was appended. Expected an event, a list of events, "
        'None, or a list of ("stream", [events], expected_version).'
    )
