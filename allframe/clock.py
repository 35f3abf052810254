"""Wall time, from one place, so that a test can bring its own.

Records carry wall time for people, and what must survive a restart (when a retry is due) is stored as wall time. How
long something takes inside one process is the event loop's clock alone, which nobody can set back.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "SystemClock", "from_microseconds", "to_microseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Something that knows what time it is."""

    def now(self) -> datetime:
        """The time, with a time zone."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970, UTC: the stored form of a time."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
