"""What a backend tells of its commits: who waits for news hears of what can be read, and of nothing else."""

from __future__ import annotations

from allframe.errors import ConcurrencyError
from allframe.events.backend import Commit, EventStoreBackend
from allframe.testing.backend_rows import write
from allframe.testing.extra import needs

with needs("pytest"):
    import pytest

__all__ = ["ChangesContract"]


class ChangesContract:
    """Telling of changes."""

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
