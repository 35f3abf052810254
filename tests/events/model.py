"""What an event store is, in plain lists: the reference that the real ones are compared with. It knows nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stored:
    position: int
    stream: str
    revision: int
    #: Which event it is: no two have the same.
    n: int


@dataclass(frozen=True)
class Write:
    stream: str
    events: tuple[int, ...]
    expected: int | None


@dataclass(frozen=True)
class Refused:
    """A write that expected another version than the stream has."""

    stream: str
    expected: int
    actual: int


@dataclass
class Model:
    rows: list[Stored] = field(default_factory=list)
    #: By stream and type: version, schema version.
    snapshots: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def version(self, stream: str) -> int:
        return sum(row.stream == stream for row in self.rows)

    def append(self, writes: Sequence[Write]) -> list[int] | Refused:
        """The new version of each stream, or the first refusal, and then nothing is written."""
        before = list(self.rows)
        versions = []
        for write in writes:
            version = self.version(write.stream)
            if write.expected is not None and write.expected != version:
                self.rows = before
                return Refused(write.stream, write.expected, version)
            for revision, n in enumerate(write.events, start=version + 1):
                self.rows.append(Stored(len(self.rows) + 1, write.stream, revision, n))
            versions.append(version + len(write.events))
        return versions

    def save(self, stream: str, kind: str, version: int, schema: int) -> None:
        """Keep it, unless what is kept is newer."""
        self.snapshots[stream, kind] = max((version, schema), self.snapshots.get((stream, kind), (0, 0)))

    def read(self, stream: str, after: int) -> list[Stored]:
        return [row for row in self.rows if row.stream == stream and row.revision > after]

    def read_all(self, after: int, *, system: bool, category: str | None) -> list[Stored]:
        return [
            row
            for row in self.rows
            if row.position > after
            and (system or row.stream[0] != "$")
            and category in (None, row.stream.split("/" if row.stream[0] == "$" else "-")[0])
        ]
