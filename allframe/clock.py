"""Wall time, from one place, so that a test can bring its own.

Records carry wall time for people, and what must survive a restart (when a retry is due) is stored as wall time. How
long something takes inside one process is the event loop's clock alone, which nobody can set back.

A clock of tests that jumps while every task waits (`allframe.testing.clock`) must not jump while one waits for a thread:
whoever waits for a thread says so by ``with waiting_for_thread:``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "SystemClock", "from_microseconds", "threads_at_work", "to_microseconds", "waiting_for_thread"]

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


class _WaitingForThread:
    """``with waiting_for_thread:`` around an await that a thread of ours ends. It may be entered by many at once."""

    def __enter__(self) -> None:
        _AT_WORK.append(None)

    def __exit__(self, *exc_info: object) -> None:
        _AT_WORK.pop()


#: A list, for it grows and shrinks in one step also where several event loops run in threads of their own.
_AT_WORK: list[None] = []

waiting_for_thread = _WaitingForThread()


def threads_at_work() -> int:
    """For how many threads a task waits at this moment, in any event loop of the process."""
    return len(_AT_WORK)
