"""What a backend must give back: `allframe.testing.backends` has the whole contract."""

from __future__ import annotations

from typing import Any

from allframe.events.backend import Commit, EventStoreBackend, HeadQuery
from allframe.testing.backend_rows import head, names, put_heads, write

__all__ = ["ReadContract"]


class ReadContract:
    """Streams, everything, and the heads that a query means."""

    async def test_a_stream_is_read_from_a_version_in_pages(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=5), write("b"))))

        assert [each.revision for each in await backend.read_stream("a", after=1, limit=2)] == [2, 3]
        assert [each.revision for each in await backend.read_stream("a", after=3)] == [4, 5]
        assert await backend.read_stream("a", after=5) == []
        assert await backend.read_stream("nobody") == []

    async def test_all_streams_are_read_from_a_position_without_the_system_ones(
        self, backend: EventStoreBackend
    ) -> None:
        await backend.commit(Commit((write("a"), write("$saga/1", count=2), write("b", count=2))))

        assert [each.position for each in await backend.read_all()] == [1, 4, 5]
        assert [each.position for each in await backend.read_all(after=1, limit=1)] == [4]
        assert [each.position for each in await backend.read_all(after=1, system=True)] == [2, 3, 4, 5]
        assert [each.position for each in await backend.read_all(after=1, limit=2, system=True)] == [2, 3]

    async def test_the_streams_of_a_category_are_read_from_a_position(self, backend: EventStoreBackend) -> None:
        streams = (
            "account-1",
            "order-1",
            "account-2",
            "$saga/account-3",
            "account",
            "accounts-4",
            "account-",
            "Account-5",
        )
        await backend.commit(Commit(tuple(write(stream) for stream in (*streams, "account/6", "account-1", "acc"))))

        async def found(category: str, **query: Any) -> list[int]:
            return [each.position for each in await backend.read_all(category=category, **query)]

        assert await found("account") == [1, 3, 5, 7, 10]
        assert await found("account", after=3, limit=2) == [5, 7]
        assert await found("account", system=True) == [1, 3, 5, 7, 10]
        assert await found("accounts") == [6]
        assert await found("nothing") == []
        assert await found("$saga", system=True) == [4]
        assert await found("$saga") == []

    async def test_categories_may_have_any_name(self, backend: EventStoreBackend) -> None:
        streams = ("ä-1", "𝄞-1", "-1", "a%-1", "a_-1", "a*-1", "a?-1", "ab-1", "􏿿-1")
        await backend.commit(Commit(tuple(write(stream) for stream in streams)))

        for position, stream in enumerate(streams, start=1):
            found = await backend.read_all(category=stream.removesuffix("-1"))
            assert [each.position for each in found] == [position]

    async def test_an_empty_store_reads_as_empty(self, backend: EventStoreBackend) -> None:
        assert await backend.read_all() == []
        assert await backend.last_position() == 0
        assert await backend.get_head("a") is None
        assert await backend.count_heads(HeadQuery("saga")) == 0

    async def test_stats_count_events_and_streams(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=5), write("$saga/1"))))

        stats = await backend.stats()

        assert (stats.total_events, stats.total_streams, stats.total_snapshots) == (6, 2, 0)
        assert (stats.system_events, stats.system_streams) == (1, 1)

    async def test_stats_of_an_empty_store_are_zero(self, backend: EventStoreBackend) -> None:
        stats = await backend.stats()

        assert (stats.total_events, stats.total_streams, stats.system_events, stats.system_streams) == (0, 0, 0, 0)

    # --- heads

    async def test_a_head_is_written_with_its_commit(self, backend: EventStoreBackend) -> None:
        written = head("a", status="blocked", blocked="code", since=7, epoch=3, digest=bytes(range(32)), attention=True)

        await backend.commit(Commit((write("a"),), head("a")))
        await backend.commit(Commit((write("a"),), written))

        assert await backend.get_head("a") == written
        assert await backend.list_heads(HeadQuery("saga")) == [written]

    async def test_a_head_can_be_written_alone(self, backend: EventStoreBackend) -> None:
        assert await backend.commit(Commit((), head("a"))) == ()
        assert await backend.get_head("a") == head("a")

    async def test_heads_are_chosen_by_every_field_of_the_query(self, backend: EventStoreBackend) -> None:
        await put_heads(
            backend,
            head("a", status="executing", name="Transfer", since=1, epoch=1),
            head("b", status="blocked", blocked="code", since=2, epoch=2, attention=True),
            head("c", status="blocked", blocked="unknown", since=3, epoch=3, attention=True),
            head("d", status="completed", name="Order", since=4, epoch=3),
            head("e", category="projection", status="executing"),
        )

        async def found(**query: object) -> str:
            asked = HeadQuery("saga", **query)  # type: ignore[arg-type]
            listed = names(await backend.list_heads(asked))
            assert sorted(names(await backend.newest_heads(asked))) == listed
            assert await backend.count_heads(asked) == len(listed)
            return "".join(listed)

        assert await found() == "abcd"
        assert await found(statuses=("executing", "blocked")) == "abc"
        assert await found(statuses=("completed",)) == "d"
        assert await found(statuses=("completed", "executing")) == "ad"
        assert await found(statuses=()) == ""
        assert await found(statuses=("executing", "blocked"), blocked=("code", "dependency")) == "ab"
        assert await found(blocked=()) == "ad"
        assert await found(name="Transfer") == "abc"
        assert await found(since=3) == "cd"
        assert await found(epoch_before=3) == "ab"
        assert await found(attention=True) == "bc"
        assert await found(attention=False, name="Transfer") == "a"
        assert names(await backend.list_heads(HeadQuery("projection"))) == ["e"]

    async def test_heads_are_listed_by_name_in_pages(self, backend: EventStoreBackend) -> None:
        await put_heads(backend, *(head(name) for name in ("b", "é", "a", "𝄞", "ﾚ", "B")))

        first = names(await backend.list_heads(HeadQuery("saga"), limit=4))
        rest = names(await backend.list_heads(HeadQuery("saga"), after=first[-1], limit=4))

        # In the order of their UTF-8, so that every database has the same.
        assert first + rest == ["B", "a", "b", "é", "ﾚ", "𝄞"]

    async def test_heads_are_listed_newest_first_in_pages(self, backend: EventStoreBackend) -> None:
        await put_heads(
            backend, *(head(name, since=since) for name, since in (("a", 1), ("b", 2), ("d", 2), ("c", 2), ("e", 3)))
        )

        first = names(await backend.newest_heads(HeadQuery("saga"), limit=2))
        second = names(await backend.newest_heads(HeadQuery("saga"), before=first[-1], limit=2))
        third = names(await backend.newest_heads(HeadQuery("saga"), before=second[-1], limit=2))

        # Those of one moment are in the order in which their streams were last written.
        assert (first, second, third) == (["e", "c"], ["d", "b"], ["a"])
        assert await backend.newest_heads(HeadQuery("saga"), before="nobody") == []

    async def test_heads_of_one_moment_without_rows_are_listed_by_name(self, backend: EventStoreBackend) -> None:
        for name in ("b", "a", "c"):
            await backend.commit(Commit((), head(name)))

        first = names(await backend.newest_heads(HeadQuery("saga"), limit=2))

        assert first == ["a", "b"]
        assert names(await backend.newest_heads(HeadQuery("saga"), before="b")) == ["c"]
