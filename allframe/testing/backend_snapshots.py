"""What a backend does with snapshots: `allframe.testing.backends` has the whole contract."""

from __future__ import annotations

import anyio

from allframe.errors import ConcurrencyError, PayloadError
from allframe.events.backend import Commit, EventStoreBackend, StoredSnapshot
from allframe.testing.backend_rows import snapshot, write
from allframe.testing.extra import needs

with needs("pytest"):
    import pytest

__all__ = ["SnapshotContract"]


class SnapshotContract:
    """Saving snapshots, and which one is kept."""

    async def test_a_snapshot_comes_back_as_it_was_saved(self, backend: EventStoreBackend) -> None:
        saved = StoredSnapshot("account-Ä", "bank.Balance", 3, 2, b'{"cents":"\xc3\xa4"}', 1_767_225_600_123_456)
        await backend.commit(Commit((write("account-Ä", count=2),)))

        await backend.save_snapshot(saved)

        assert await backend.get_snapshot("account-Ä", "bank.Balance") == saved

    async def test_a_stream_keeps_one_snapshot_of_each_type(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=2), write("b"))))

        for saved in (snapshot("a", 1), snapshot("a", 2), snapshot("a", 1, type="Other"), snapshot("b", 1)):
            await backend.save_snapshot(saved)

        assert await backend.get_snapshot("a", "State") == snapshot("a", 2)
        assert await backend.get_snapshot("a", "Other") == snapshot("a", 1, type="Other")
        assert await backend.get_snapshot("b", "State") == snapshot("b", 1)
        assert await backend.get_snapshot("b", "Other") is None
        assert await backend.get_snapshot("nobody", "State") is None
        assert (await backend.stats()).total_snapshots == 3

    async def test_an_older_snapshot_never_replaces_a_newer_one(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=9),)))
        await backend.save_snapshot(snapshot("a", 5, schema_version=2))

        await backend.save_snapshot(snapshot("a", 4, schema_version=3, recorded_at=9))

        assert await backend.get_snapshot("a", "State") == snapshot("a", 5, schema_version=2)

    async def test_at_one_revision_an_older_schema_never_replaces_a_newer_one(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=9),)))
        for version in (2, 3, 1):
            await backend.save_snapshot(snapshot("a", 5, schema_version=version))

        assert await backend.get_snapshot("a", "State") == snapshot("a", 5, schema_version=3)

    async def test_a_snapshot_that_was_made_anew_replaces_its_like(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a"),)))
        await backend.save_snapshot(snapshot("a", 1, data=b'{"wrong":1}'))

        await backend.save_snapshot(snapshot("a", 1, data=b'{"right":1}'))

        assert await backend.get_snapshot("a", "State") == snapshot("a", 1, data=b'{"right":1}')

    async def test_of_many_that_are_saved_at_once_the_newest_is_kept(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=20),)))

        async with anyio.create_task_group() as tasks:
            for revision in (3, 20, 7, 1, 19, 12):
                tasks.start_soon(backend.save_snapshot, snapshot("a", revision))

        assert await backend.get_snapshot("a", "State") == snapshot("a", 20)

    async def test_a_snapshot_of_events_that_are_not_there_is_refused(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a", count=2),)))

        with pytest.raises(PayloadError, match="Stream 'a' is at version 2, and a snapshot of it at version 3"):
            await backend.save_snapshot(snapshot("a", 3))
        with pytest.raises(PayloadError, match="Stream 'b' is at version 0"):
            await backend.save_snapshot(snapshot("b", 1))

        assert (await backend.stats()).total_snapshots == 0

    async def test_a_snapshot_sees_what_was_handed_in_before_it(self, backend: EventStoreBackend) -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backend.commit(Commit((write("a", count=3),)))

        await backend.save_snapshot(snapshot("a", 3))

        assert await backend.get_snapshot("a", "State") == snapshot("a", 3)

    async def test_a_refused_snapshot_and_a_refused_commit_are_alone_in_that(self, backend: EventStoreBackend) -> None:
        refused: list[type[Exception]] = []

        async def save(revision: int) -> None:
            try:
                await backend.save_snapshot(snapshot("a", revision))
            except PayloadError as error:
                refused.append(type(error))

        async def commit(expected: int) -> None:
            try:
                await backend.commit(Commit((write("a", expected=expected),)))
            except ConcurrencyError as error:
                refused.append(type(error))

        await backend.commit(Commit((write("a"),)))
        async with anyio.create_task_group() as tasks:
            for number in (1, 9):
                tasks.start_soon(save, number)
                tasks.start_soon(commit, number)

        assert sorted(error.__name__ for error in refused) == ["ConcurrencyError", "PayloadError"]
        assert await backend.get_snapshot("a", "State") == snapshot("a", 1)
        assert len(await backend.read_stream("a")) == 2

    @pytest.mark.parametrize("name", ["", "a\0b", "a\ud800"])
    async def test_names_of_snapshots_that_no_database_can_hold_are_refused(
        self, backend: EventStoreBackend, name: str
    ) -> None:
        await backend.commit(Commit((write("a"),)))

        for saved in (snapshot(name, 1), snapshot("a", 1, type=name)):
            with pytest.raises(
                PayloadError, match="Expected Unicode text that is not empty and holds no NUL character"
            ):
                await backend.save_snapshot(saved)

    async def test_numbers_of_snapshots_that_no_database_can_hold_are_refused(self, backend: EventStoreBackend) -> None:
        await backend.commit(Commit((write("a"),)))

        for saved in (snapshot("a", 0), snapshot("a", -1), snapshot("a", 1, schema_version=1 << 63)):
            with pytest.raises(PayloadError, match="whole numbers of up to 63 bits, and revisions from 1"):
                await backend.save_snapshot(saved)
