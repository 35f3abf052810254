"""What a backend must do with a commit: `allframe.testing.backends` has the whole contract."""

from __future__ import annotations

import anyio

from allframe.errors import ConcurrencyError, PayloadError
from allframe.events.backend import Commit, EventStoreBackend, Row, StoredRow, Write, new_id
from allframe.testing.backend_rows import head, row, write
from allframe.testing.extra import needs

with needs("pytest"):
    import pytest

__all__ = ["CommitContract"]


class CommitContract:
    """Whole, in order, once."""

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
