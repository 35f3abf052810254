"""What a service tells of itself: how it began, which sagas ended, how it stopped; as text, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Protocol

from allframe.cli.look import detail
from allframe.cli.render import clean, print_json, print_line
from allframe.cli.tail import Told
from allframe.saga.monitor import Monitor
from allframe.saga.states import SagaStatus
from allframe.saga.timeline import Entry, tell
from allframe.saga.wording import elapsed

__all__ = ["Level", "Stopped", "Telling", "telling"]

#: Sagas that a line names before it only counts.
NAMED = 10
#: Characters of what is to be said of a saga.
DETAIL = 300
_BY = {"error": "an error"}


class Level(IntEnum):
    """How much is told."""

    #: How it began and stopped.
    FRAME = 0
    #: Each saga that ended as well.
    SAGAS = 1
    #: Each record as well.
    RECORDS = 2


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a service stopped."""

    #: ``"SIGTERM"``, ``"SIGINT"``, ``"idle"`` if nothing ran any more, or ``"error"``.
    by: str
    #: For how long it had worked.
    seconds: float
    #: How many sagas ended how.
    ended: Mapping[SagaStatus, int]
    #: How many sagas are not at rest, by status.
    unfinished: Mapping[str, int]
    #: The sagas whose running step was cut.
    cut: Sequence[str]


class Telling(Protocol):
    def began(self, store: str, recovering: Mapping[str, int], attention: int) -> None:
        """``recovering``: how many sagas it goes on with, by status. ``attention``: how many wait for a person."""
        ...

    def recorded(self, told: Told) -> None: ...

    async def ended(self, told: Told, monitor: Monitor) -> None: ...

    def stopped(self, how: Stopped) -> None: ...


def telling(level: Level, *, json: bool) -> Telling:
    """On standard output."""
    return _Json(level) if json else _Text(level)


class _Text:
    def __init__(self, level: Level) -> None:
        self._level = level

    def began(self, store: str, recovering: Mapping[str, int], attention: int) -> None:
        waiting = f" {attention:,} wait for a person: allframe list shows them." if attention else ""
        print_line(clean(f"Working on {store}. To go on with: {_counted(recovering)}.{waiting}"))

    def recorded(self, told: Told) -> None:
        if self._level >= Level.RECORDS and told.ending is None:
            entry = _entry(told)
            parts = (entry.step, entry.attempt and f"attempt {entry.attempt}", entry.event, entry.detail)
            print_line(clean(f"  {told.saga_id}: {', '.join(str(part) for part in parts if part)}", DETAIL))

    async def ended(self, told: Told, monitor: Monitor) -> None:
        if self._level >= Level.SAGAS:
            metadata = await monitor.get_saga(told.saga_id)
            assert metadata is not None, "it has records"
            why = "" if told.ending is SagaStatus.COMPLETED else detail(metadata)
            text = f"{told.ending} {metadata.saga} {told.saga_id}{f': {why}' if why else ''}"
            print_line(clean(text, DETAIL))

    def stopped(self, how: Stopped) -> None:
        head = "Nothing runs any more, after" if how.by == "idle" else f"Stopped by {_BY.get(how.by, how.by)} after"
        rest = f" Unfinished: {_counted(how.unfinished)}; the next start goes on." if how.unfinished else ""
        print_line(clean(f"{head} {elapsed(how.seconds)}. Ended: {_counted(how.ended)}.{rest}"))
        if how.cut:
            more = f" and {len(how.cut) - NAMED} more" if len(how.cut) > NAMED else ""
            print_line(clean(f"Cut in the middle of a step: {', '.join(how.cut[:NAMED])}{more}."))


class _Json:
    def __init__(self, level: Level) -> None:
        self._level = level

    def began(self, store: str, recovering: Mapping[str, int], attention: int) -> None:
        print_json({"type": "began", "store": store, "recovering": dict(recovering), "attention": attention})

    def recorded(self, told: Told) -> None:
        if self._level >= Level.RECORDS:
            print_json({"type": "recorded", "id": told.saga_id, **asdict(_entry(told))})

    async def ended(self, told: Told, monitor: Monitor) -> None:
        if self._level >= Level.SAGAS:
            metadata = await monitor.get_saga(told.saga_id)
            assert metadata is not None, "it has records"
            print_json({"type": "ended", **asdict(metadata), "status": told.ending})

    def stopped(self, how: Stopped) -> None:
        print_json({"type": "stopped", **asdict(how), "seconds": round(how.seconds, 3)})


def _entry(told: Told) -> Entry:
    return tell([(told.recorded.recorded_at, told.record)])[0]


def _counted(counts: Mapping[str, int] | Mapping[SagaStatus, int]) -> str:
    return ", ".join(f"{count:,} {status.replace('_', ' ')}" for status, count in counts.items()) or "none"
