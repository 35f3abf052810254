"""The category of a stream, and reading the streams of one."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from allframe.events import Event, EventStore
from allframe.events.backend import Commit, Row, Write, new_id
from allframe.events.category import category_of

pytestmark = pytest.mark.anyio


class Happened(Event, name="test_category.happened"):
    n: int = 0


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as store:
        yield store


@pytest.mark.parametrize(
    ("stream", "category"),
    [
        ("account-123", "account"),
        ("account-123-a", "account"),
        ("account", "account"),
        ("account-", "account"),
        ("-1", ""),
        ("bank/account-1", "bank/account"),
        ("$saga/transfer-100", "$saga"),
        ("$saga", "$saga"),
    ],
)
def test_a_category_is_what_stands_before_the_first_dash(stream: str, category: str) -> None:
    assert category_of(stream) == category


async def test_the_events_of_a_category_are_read_in_their_order(store: EventStore) -> None:
    for stream in ("account-1", "order-1", "account-2", "account-1"):
        await store.append(stream, [Happened()])

    found = [recorded async for recorded in store.read_all(category="account")]

    assert [(each.position, each.stream, each.category) for each in found] == [
        (1, "account-1", "account"),
        (3, "account-2", "account"),
        (4, "account-1", "account"),
    ]
    assert [each.position async for each in store.read_all(after=1, category="account")] == [3, 4]
    assert [each.position async for each in store.read_all(category="order", system=True)] == [2]


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
async def test_a_category_is_read_in_pages(store: EventStore, count: int) -> None:
    rows = [tuple(Row(new_id(), "Happened", 1, b"{}", 0) for _ in range(count)) for _ in range(2)]
    await store.backend.commit(Commit((Write("a-1", rows[0]), Write("b-1", rows[1]))))

    assert [each.revision async for each in store.read_all(category="b")] == list(range(1, count + 1))


def test_what_can_be_no_category_is_refused() -> None:
    store = EventStore()

    for choose in (store.read_all, store.subscribe):
        with pytest.raises(
            ValueError, match=r"'account-1' is no category: .* here 'account'. To read one stream, use read"
        ):
            choose(category="account-1")
        with pytest.raises(ValueError, match=r"'\$saga/a' is no category: .*'/' of a stream's name, here '\$saga'"):
            choose(category="$saga/a", system=True)
        with pytest.raises(ValueError, match=r"The streams of '\$saga' are allframe's own.* with system=True"):
            choose(category="$saga")


async def test_the_file_is_read_in_its_own_order_and_never_sorted(tmp_path: Path) -> None:
    """Sorting would read the whole category for each page."""
    statements: list[str] = []
    async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
        await store.append("account-1", [Happened()])
        await store.get_all_events()
        reader = store.backend._reader.connection  # type: ignore[attr-defined]
        reader.set_trace_callback(statements.append)
        assert [each.position async for each in store.read_all(category="account")] == [1]
        reader.set_trace_callback(None)

    (statement,) = [each for each in statements if "events" in each and "max(position)" not in each]
    with closing(sqlite3.connect(tmp_path / "store.db")) as shell:
        plan = [row[-1] for row in shell.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert plan == ["SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]
