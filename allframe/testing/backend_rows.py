"""Rows, writes, heads and snapshots, made up for the tests of a backend."""

from __future__ import annotations

from allframe.events.backend import Commit, EventStoreBackend, Head, Row, StoredSnapshot, Write, new_id

__all__ = ["head", "names", "put_heads", "row", "snapshot", "write"]


def row(data: bytes = b"{}") -> Row:
    return Row(new_id(), "Happened", 1, data, 1_767_225_600_000_000)


def write(stream: str, *, count: int = 1, expected: int | None = None) -> Write:
    return Write(stream, tuple(row(b'{"n":%d}' % n) for n in range(count)), expected)


def snapshot(
    stream: str,
    revision: int,
    *,
    type: str = "State",  # noqa: A002 - the row's own word
    schema_version: int = 1,
    data: bytes = b"{}",
    recorded_at: int = 1,
) -> StoredSnapshot:
    return StoredSnapshot(stream, type, schema_version, revision, data, recorded_at)


def head(stream: str, **fields: object) -> Head:
    known = {
        "category": "saga",
        "name": "Transfer",
        "version": 1,
        "started_at": 1,
        "status": "executing",
        "since": 1,
        "blocked": None,
        "epoch": 1,
        "digest": b"\0" * 32,
        "attention": False,
    }
    return Head(stream=stream, **{**known, **fields})  # type: ignore[arg-type]


def names(found: list[Head]) -> list[str]:
    return [each.stream for each in found]


async def put_heads(backend: EventStoreBackend, *heads: Head) -> None:
    for each in heads:
        await backend.commit(Commit((write(each.stream),), each))
