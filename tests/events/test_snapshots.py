"""Snapshots of streams: what is kept, what is refused, and what a model can read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel, SecretStr

from allframe.errors import PayloadError, StoreFormatError, StoreUnavailable
from allframe.events import Event, EventStore, Snapshot
from allframe.events.backend import StoredSnapshot
from allframe.events.snapshots import snapshot_type

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Deposited(Event, name="test_snapshots.deposited"):
    cents: int


class Balance(BaseModel):
    snapshot_name: ClassVar[str] = "bank.balance"
    snapshot_version: ClassVar[int] = 3
    cents: int = 0


class Plain(BaseModel):
    cents: int = 0


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


async def deposit(store: EventStore, stream: str, count: int) -> int:
    return await store.append(stream, [Deposited(cents=n) for n in range(count)])


async def test_the_newest_snapshot_comes_back_as_its_model(store: EventStore) -> None:
    before = datetime.now(UTC)
    await deposit(store, "a", 5)

    await store.save_snapshot("a", Balance(cents=1), version=2)
    await store.save_snapshot("a", Balance(cents=6), version=4)
    await store.save_snapshot("a", Balance(cents=3), version=3)

    found = await store.get_latest_snapshot("a", Balance)
    assert found is not None
    assert found == Snapshot("a", 4, Balance(cents=6), 3, found.recorded_at)
    assert before.replace(microsecond=0) <= found.recorded_at <= datetime.now(UTC)


async def test_a_stream_without_a_snapshot_has_none(store: EventStore) -> None:
    await deposit(store, "a", 1)
    await store.save_snapshot("a", Plain(), version=1)

    assert await store.get_latest_snapshot("a", Balance) is None
    assert await store.get_latest_snapshot("nobody", Plain) is None


async def test_a_snapshot_of_events_that_are_not_there_is_refused(store: EventStore) -> None:
    await deposit(store, "a", 2)

    with pytest.raises(
        PayloadError, match=r"at version 2, and a snapshot of it at version 3 would hold events.*Append"
    ):
        await store.save_snapshot("a", Plain(), version=3)
    for version in (0, -1):
        with pytest.raises(
            PayloadError, match=f"at version {version} would hold nothing: version 1 is the first event"
        ):
            await store.save_snapshot("a", Plain(), version=version)

    assert (await store.stats()).total_snapshots == 0


async def test_our_own_streams_have_no_snapshots_of_yours(store: EventStore) -> None:
    with pytest.raises(PayloadError, match=r"No snapshot of the stream '\$saga/1' can be saved.*allframe's own"):
        await store.save_snapshot("$saga/1", Plain(), version=1)


async def test_what_is_no_model_is_refused(store: EventStore) -> None:
    await deposit(store, "a", 1)

    with pytest.raises(PayloadError, match=r"\{'cents': 1\} is not a pydantic model"):
        await store.save_snapshot("a", {"cents": 1}, version=1)  # type: ignore[arg-type]


async def test_what_does_not_come_back_equal_is_refused(store: EventStore) -> None:
    class Loose(BaseModel):
        anything: Any

    await deposit(store, "a", 1)

    with pytest.raises(PayloadError, match="The snapshot 'Loose' does not come back equal"):
        await store.save_snapshot("a", Loose(anything=(1, 2)), version=1)


async def test_secrets_are_kept_and_never_shown(store: EventStore) -> None:
    class Vault(BaseModel):
        code: SecretStr

    await deposit(store, "a", 1)

    await store.save_snapshot("a", Vault(code=SecretStr("s3cret")), version=1)

    found = await store.get_latest_snapshot("a", Vault)
    assert found is not None
    assert found.state.code.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(found)


# --- types and versions ----------------------------------------------------------------------------------------------


async def test_a_snapshot_of_another_schema_version_says_so(store: EventStore) -> None:
    await deposit(store, "a", 1)
    await store.backend.save_snapshot(StoredSnapshot("a", "bank.balance", 2, 1, b'{"cents":1}', 0))

    with pytest.raises(
        StoreFormatError,
        match=r"The snapshot 'bank\.balance' of stream 'a' was stored with version 2 of its model, and Balance has version "
        "3. Read the events",
    ):
        await store.get_latest_snapshot("a", Balance)


async def test_a_snapshot_that_the_model_cannot_read_says_so(store: EventStore) -> None:
    await deposit(store, "a", 1)
    await store.backend.save_snapshot(StoredSnapshot("a", "bank.balance", 3, 1, b'{"cents":"many"}', 0))

    with pytest.raises(StoreFormatError, match=r"cannot be read as Balance: .* give it a new snapshot_version"):
        await store.get_latest_snapshot("a", Balance)


def test_a_model_is_stored_by_its_own_name_and_version_or_by_its_class() -> None:
    class Small(Balance):
        """Names and versions are not inherited."""

    class Box(BaseModel, Generic[T]):
        value: T

    assert snapshot_type(Balance) == ("bank.balance", 3)
    assert snapshot_type(Plain) == ("Plain", 1)
    assert snapshot_type(Small) == ("Small", 1)
    assert snapshot_type(Box[int]) == ("Box[int]", 1)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"snapshot_name": ""}, "snapshot_name is ''. Expected printable text"),
        ({"snapshot_name": "a\n"}, "snapshot_name is 'a\\\\n'"),
        ({"snapshot_name": 7}, "snapshot_name is 7"),
        ({"snapshot_version": 0}, "snapshot_version is 0. Expected a whole number from 1"),
        ({"snapshot_version": True}, "snapshot_version is True"),
    ],
)
def test_a_name_or_version_that_cannot_be_one_is_refused(names: dict[str, object], text: str) -> None:
    class Odd(BaseModel):
        snapshot_name: ClassVar[Any] = names.get("snapshot_name", "odd")
        snapshot_version: ClassVar[Any] = names.get("snapshot_version", 1)

    with pytest.raises(PayloadError, match=f"Odd cannot be a snapshot: its {text}"):
        snapshot_type(Odd)


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def old_file(tmp_path: Path) -> Path:
    """A store with two events, as an allframe made it that had no snapshots."""
    path = tmp_path / "old.db"
    async with EventStore(f"sqlite:///{path}") as store:
        await deposit(store, "a", 2)
    with closing(sqlite3.connect(path)) as shell:
        shell.execute("DROP TABLE snapshots")
    return path


async def test_an_older_file_gets_its_table_from_its_owner(old_file: Path) -> None:
    async with EventStore(f"sqlite:///{old_file}") as store:
        assert await store.get_latest_snapshot("a", Plain) is None
        await store.save_snapshot("a", Plain(cents=1), version=2)
    async with EventStore(f"sqlite:///{old_file}") as store:
        found = await store.get_latest_snapshot("a", Plain)

    assert found is not None
    assert (found.version, found.state) == (2, Plain(cents=1))


async def test_who_only_reads_an_older_file_finds_none_and_leaves_it_as_it_is(old_file: Path) -> None:
    before = old_file.read_bytes()

    async with EventStore(f"sqlite:///{old_file}?mode=ro") as store:
        assert await store.get_latest_snapshot("a", Plain) is None
        assert (await store.stats()).total_snapshots == 0
        with pytest.raises(StoreUnavailable, match="mode=ro"):
            await store.save_snapshot("a", Plain(), version=1)

    assert old_file.read_bytes() == before


async def test_a_snapshot_is_there_for_readers_beside_the_owner(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url) as store, EventStore(f"{url}?mode=ro") as reader:
        await deposit(store, "a", 1)
        await store.save_snapshot("a", Plain(cents=7), version=1)

        found = await reader.get_latest_snapshot("a", Plain)

    assert found is not None
    assert found.state == Plain(cents=7)
