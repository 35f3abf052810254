"""What every backend must do, as tests. Subclass `BackendContract` and give it the fixture ``backend``::

    class TestMine(BackendContract):
        @pytest.fixture
        async def backend(self):
            backend = MyBackend(...)
            await backend.open()
            yield backend
            await backend.close()

It runs under anyio's pytest plugin. Of a backend that is ``durable``, ``close`` and ``open`` again must give back what
was committed.
"""

from __future__ import annotations

import anyio
import pytest

from allframe.errors import ConcurrencyError, PayloadError, StoreInUse, StoreUnavailable
from allframe.events.backend import Commit, EventStoreBackend, Head, HeadQuery, Row, StoredRow, Write, new_id

pytestmark = pytest.mark.anyio


def row(data: bytes = b"{}") -> Row:
    return Row(new_id(), "Happened", 1, data, 1_767_225_600_000_000)


def write(stream: str, *, count: int = 1, expected: int | None = None) -> Write:
    return Write(stream, tuple(row(b'{"n":%d}' % n) for n in range(count)), expected)


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


class BackendContract:
    # --- commits

    async def test_a_row_comes_back_as_it_was_written(self, backend: EventStoreBackend) -> None:
        written = Row(new_id(), "bank.debited", 3, '{"a":"ü€𝄞\\u0000"}'.encode(), 1_767_225_600_123_456, b'{"by":"me"}')

        await backend.commit(Commit((Write("account-Ä/1?#%'\"", (written,)),)))

        assert await backend.read_stream("account-Ä/1?#%'\"") == [
            StoredRow(
                1,
                "account-Ä/1?#%'\"",
                1,
                written.id,
                "bank.debited",
                3,
                written.data,
                1_767_225_600_123_456,
                b'{"by":"me"}',
            )
        ]

    async def test_a_megabyte_comes_back_as_it_was_written(self, backend: EventStoreBackend) -> None:
        large = row(b'"' + b"x" * (1 << 20) + b'"')

        await backend.commit(Commit((Write("a", (large,)),)))

        assert [found.data for found in await backend.read_stream("a")] == [large.data]

    async def test_versions_count_the_rows_of_a_stream(self, backend: EventStoreBackend) -> None:
        assert await backend.commit(Commit((write("a", count=2, expected=0),))) == (2,)
        assert await backend.commit(Commit((write("a", expected=2), write("b", count=3)))) == (3, 3)
        assert [found.revision for found in await backend.read_stream("a")] == [1, 2, 3]

    async def test_positions_have_no_gaps_and_keep_a_commit_together(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=2), write("b"))))
        await backend.commit(Commit((write("b"), write("a"))))

        found = await backend.read_all()
        assert [(each.position, each.stream, each.revision) for each in found] == [
            (1, "a", 1),
            (2, "a", 2),
            (3, "b", 1),
            (4, "b", 2),
            (5, "a", 3),
        ]
        assert await backend.last_position() == 5

    async def test_large_commits_keep_their_order(self, backend: EventStoreBackend) -> None:
        rows = write("a", count=203)

        await backend.commit(Commit((rows,)))

        assert [each.id for each in await backend.read_stream("a")] == [each.id for each in rows.rows]
        assert [each.position for each in await backend.read_all()] == list(range(1, 204))

    async def test_a_stream_that_is_elsewhere_refuses_the_whole_commit(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=2),)))

        with pytest.raises(ConcurrencyError) as caught:
            await backend.commit(Commit((write("b", expected=0), write("a", expected=1)), head("b")))

        assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("a", 1, 2)
        assert "Stream 'a' is at version 2, not at the expected version 1. Nothing was written" in str(caught.value)
        assert await backend.read_stream("b") == []
        assert await backend.get_head("b") is None
        assert await backend.last_position() == 2

    async def test_an_expected_version_that_was_never_reached_is_refused(self, backend: EventStoreBackend) -> None:
        with pytest.raises(ConcurrencyError) as caught:
            await backend.commit(Commit((write("a", expected=1),)))

        assert (caught.value.expected, caught.value.actual) == (1, 0)

    async def test_a_refused_commit_burns_no_position(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a"),)))
        with pytest.raises(ConcurrencyError):
            await backend.commit(Commit((write("b"), write("a", expected=0))))
        await backend.commit(Commit((write("a"),)))

        assert [each.position for each in await backend.read_all()] == [1, 2]

    async def test_one_stream_may_be_written_twice_in_a_commit(self, backend: EventStoreBackend) -> None:
        versions = await backend.commit(Commit((write("a", count=2, expected=0), write("b"), write("a", expected=2))))

        assert versions == (2, 1, 3)
        assert [each.position for each in await backend.read_stream("a")] == [1, 2, 4]

    async def test_writing_the_same_commit_again_is_harmless(self, backend: EventStoreBackend) -> None:
        commit = Commit((write("a", count=2, expected=0), write("b", count=2)), head("a"))
        await backend.commit(Commit((write("b"),)))
        first = await backend.commit(commit)
        await backend.commit(Commit((write("a"), write("b")), head("a", status="completed")))

        again = await backend.commit(commit)

        assert first == again == (2, 3)
        assert len(await backend.read_all()) == 7
        found = await backend.get_head("a")
        assert found is not None
        assert found.status == "completed"

    async def test_the_same_commit_handed_in_twice_at_once_is_written_once(self, backend: EventStoreBackend) -> None:
        commit = Commit((write("a", expected=0), write("b")))
        answers: list[tuple[int, ...]] = []

        async def hand_in() -> None:
            answers.append(await backend.commit(commit))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hand_in)
            tasks.start_soon(hand_in)

        assert answers == [(1, 1), (1, 1)]
        assert len(await backend.read_all()) == 2

    async def test_of_many_that_expect_one_version_one_is_written(self, backend: EventStoreBackend) -> None:
        won: list[tuple[int, ...]] = []
        lost: list[int] = []

        async def race() -> None:
            try:
                won.append(await backend.commit(Commit((write("a", count=2, expected=0),))))
            except ConcurrencyError as error:
                lost.append(error.actual)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(race)

        assert won == [(2,)]
        assert lost == [2] * 19
        assert await backend.last_position() == 2

    async def test_commits_that_meet_on_one_stream_follow_each_other(self, backend: EventStoreBackend) -> None:
        versions: list[int] = []

        async def append() -> None:
            versions.extend(await backend.commit(Commit((write("a"),))))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(append)

        assert sorted(versions) == list(range(1, 101))
        assert [each.revision for each in await backend.read_stream("a")] == list(range(1, 101))

    async def test_cancelling_the_wait_does_not_take_a_commit_back(self, backend: EventStoreBackend) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.commit(Commit((write("a", expected=0),)))

        assert await backend.commit(Commit((write("a", expected=1),))) == (2,)

    async def test_an_empty_commit_returns_after_what_was_handed_in_before(self, backend: EventStoreBackend) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.commit(Commit((write("a"),)))

        assert await backend.commit(Commit(())) == ()
        assert len(await backend.read_stream("a")) == 1

    @pytest.mark.parametrize("name", ["", "a\0b", "a\ud800"])
    async def test_names_that_no_database_can_hold_are_refused(self, backend: EventStoreBackend, name: str) -> None:
        with pytest.raises(PayloadError, match="Expected Unicode text that is not empty and holds no NUL character"):
            await backend.commit(Commit((write("a"), write(name))))

        assert await backend.read_all() == []

    async def test_numbers_that_no_database_can_hold_are_refused(self, backend: EventStoreBackend) -> None:
        with pytest.raises(PayloadError, match="whole numbers of up to 63 bits"):
            await backend.commit(Commit((Write("a", (Row(new_id(), "Happened", 1 << 63, b"{}", 0),)),)))

    # --- reading

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

    async def test_an_empty_store_reads_as_empty(self, backend: EventStoreBackend) -> None:
        assert await backend.read_all() == []
        assert await backend.last_position() == 0
        assert await backend.get_head("a") is None
        assert await backend.count_heads(HeadQuery("saga")) == 0

    async def test_stats_count_events_and_streams(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=5), write("$saga/1"))))

        stats = await backend.stats()

        assert (stats.total_events, stats.total_streams, stats.total_snapshots) == (6, 2, 0)

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

        assert (first, second, third) == (["e", "b"], ["c", "d"], ["a"])
        assert await backend.newest_heads(HeadQuery("saga"), before="nobody") == []

    # --- the claim

    async def test_each_claim_has_the_next_epoch_and_the_mark_of_the_one_before(
        self, backend: EventStoreBackend
    ) -> None:
        first = await backend.claim("here")
        await backend.release()
        await backend.release()
        second = await backend.claim("there")

        assert (first.epoch, first.clean) == (1, True)
        assert (second.epoch, second.clean) == (2, True)
        assert await backend.commit(Commit((write("a"),))) == (1,)

    async def test_a_second_claim_names_the_first(self, backend: EventStoreBackend) -> None:
        await backend.claim("app.py:7")

        with pytest.raises(StoreInUse, match=r"run by app\.py:7 already") as caught:
            await backend.claim("other.py:8")

        assert caught.value.owner == "app.py:7"

    # --- opening and closing

    async def test_a_closed_backend_says_so(self, backend: EventStoreBackend) -> None:
        await backend.close()
        await backend.close()

        for use in (
            lambda: backend.commit(Commit((write("a"),))),
            lambda: backend.read_all(),
            lambda: backend.claim("here"),
        ):
            with pytest.raises(StoreUnavailable, match="is not open") as caught:
                await use()
            assert not caught.value.in_doubt

    async def test_opening_it_twice_is_refused(self, backend: EventStoreBackend) -> None:
        with pytest.raises(StoreInUse, match="open already"):
            await backend.open()

        assert await backend.commit(Commit((write("a"),))) == (1,)

    async def test_what_was_committed_is_there_when_it_is_opened_again(self, backend: EventStoreBackend) -> None:
        if not backend.durable:
            pytest.skip("it ends with its process")
        await backend.commit(Commit((write("a", count=2),), head("a")))
        await backend.claim("here")
        await backend.close()

        await backend.open()

        assert len(await backend.read_stream("a")) == 2
        assert await backend.get_head("a") == head("a")
        assert await backend.commit(Commit((write("a", expected=2),))) == (3,)
        assert [each.position for each in await backend.read_all()] == [1, 2, 3]
        claim = await backend.claim("here again")
        assert (claim.epoch, claim.clean) == (2, False)

    async def test_closing_finishes_what_was_handed_in(self, backend: EventStoreBackend) -> None:
        if not backend.durable:
            pytest.skip("it ends with its process")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.commit(Commit((write("a"),)))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.close()

        await backend.open()

        assert len(await backend.read_stream("a")) == 1

    # --- telling of changes

    async def test_who_listens_hears_of_what_can_be_read(self, backend: EventStoreBackend) -> None:
        changes = backend.changes
        assert changes is not None
        with changes.listening() as anything, changes.listening("a") as one:
            await backend.commit(Commit((write("a", count=2), write("b"))))
            await anything.wait()
            await one.wait()

        assert changes.position == 3 == await backend.last_position()

    async def test_who_listens_to_a_stream_hears_of_no_other(self, backend: EventStoreBackend) -> None:
        assert backend.changes is not None
        with backend.changes.listening("a") as listener:
            await backend.commit(Commit((write("b"),)))
            assert not listener.is_told
            await backend.commit(Commit((write("a"),)))
            await listener.wait()

    async def test_a_refused_commit_is_no_news(self, backend: EventStoreBackend) -> None:
        assert backend.changes is not None
        with backend.changes.listening() as listener:
            with pytest.raises(ConcurrencyError):
                await backend.commit(Commit((write("a", expected=7),)))
            await backend.commit(Commit(()))
            assert not listener.is_told

    async def test_a_commit_knows_its_position_also_when_repeated(self, backend: EventStoreBackend) -> None:
        first = Commit((write("a", count=2, expected=0), write("b")))
        assert (await backend.commit(first)).position == 3
        assert (await backend.commit(Commit((write("a"),)))).position == 4
        assert (await backend.commit(first)).position == 3

    async def test_closing_wakes_whoever_listens(self, backend: EventStoreBackend) -> None:
        assert backend.changes is not None
        with backend.changes.listening() as listener:
            await backend.close()
            await listener.wait()
