"""What belongs together, and what came of what: carried by context into the metadata of every event.

``correlation_id`` is the same for everything that one request set off; ``causation_id`` is the id of what came right
before: an event, a command, a saga. Both go by context variables, so tasks and worker threads inherit them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from allframe.events.recorded import RecordedEvent
from allframe.masking import shown

__all__ = ["Correlation", "caused_by", "correlated", "correlation_in", "current_correlation", "with_correlation"]


@dataclass(frozen=True, slots=True)
class Correlation:
    """What goes into the metadata of the events that are appended meanwhile."""

    correlation_id: str
    causation_id: str | None = None

    def as_metadata(self) -> dict[str, str]:
        """What of it stands in the metadata of an event."""
        found = {"correlation_id": self.correlation_id}
        if self.causation_id is not None:
            found["causation_id"] = self.causation_id
        return found


_current: ContextVar[Correlation | None] = ContextVar("allframe_correlation", default=None)


def current_correlation() -> Correlation | None:
    """The correlation that holds here, or None."""
    return _current.get()


@contextmanager
def correlated(by: str | RecordedEvent) -> Iterator[Correlation]:
    """Within the block, what is appended, dispatched and started belongs to ``by``.

    ``by`` is the id of a request, or an event that is being handled: then what comes of it has the event's correlation,
    or the event's id where it has none, and the event as its cause. A record of a saga has that of the saga.

    Raises:
        TypeError: if it is neither.
    """
    given: object = by
    if isinstance(given, RecordedEvent):
        correlation = Correlation(str(given.metadata.get("correlation_id") or _begun_by(given)), given.id)
    elif not isinstance(given, str) or not given:
        raise TypeError(f"Expected the id of a request, which is a text, or a RecordedEvent. Found {shown(given)}.")
    else:
        correlation = Correlation(given)
    with _holding(correlation):
        yield correlation


@contextmanager
def caused_by(causation_id: str, correlation_id: str | None = None) -> Iterator[Correlation]:
    """Within the block, ``causation_id`` is the cause.

    The correlation is ``correlation_id``, else the one that holds here; where there is none, the cause begins one.
    """
    around = _current.get()
    inherited = None if around is None else around.correlation_id
    correlation = Correlation(correlation_id or inherited or causation_id, causation_id)
    with _holding(correlation):
        yield correlation


def with_correlation(metadata: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """``metadata`` and the correlation that holds here; what it says itself stays."""
    correlation = _current.get()
    if correlation is None:
        return metadata
    return {**correlation.as_metadata(), **(metadata or {})}


def correlation_in(metadata: Mapping[str, Any]) -> Correlation | None:
    """The correlation that is in the metadata of an event, or None."""
    correlation_id, causation_id = metadata.get("correlation_id"), metadata.get("causation_id")
    if not isinstance(correlation_id, str):
        return None
    return Correlation(correlation_id, causation_id if isinstance(causation_id, str) else None)


def _begun_by(recorded: RecordedEvent) -> str:
    """The correlation that begins with it: a saga that was started in none begins one, which its records belong to."""
    category, _, saga_id = recorded.stream.partition("/")
    return saga_id if category == "$saga" else recorded.id


@contextmanager
def _holding(correlation: Correlation) -> Iterator[None]:
    token = _current.set(correlation)
    try:
        yield
    finally:
        _current.reset(token)
