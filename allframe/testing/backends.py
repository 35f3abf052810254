"""`BackendContract`: what every backend of an event store must do, as tests. allframe's own pass it, and so must yours.

Subclass it in a test module, and give it the fixture ``make_backend``: a function that makes a backend over a place that
is fresh for this test, and not open yet::

    class TestMine(BackendContract):
        @pytest.fixture
        def make_backend(self, tmp_path):
            return lambda: MyBackend(tmp_path / "store")

It runs under anyio's pytest plugin, on every event loop that the fixture ``anyio_backend`` names. Of a backend that is
``durable``, one that ``make_backend`` makes after another was closed finds what that one committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

import anyio

from allframe.errors import StoreInUse, StoreUnavailable
from allframe.events.backend import Commit, EventStoreBackend
from allframe.testing.backend_changes import ChangesContract
from allframe.testing.backend_commits import CommitContract
from allframe.testing.backend_reads import ReadContract
from allframe.testing.backend_rows import head, snapshot, write
from allframe.testing.backend_snapshots import SnapshotContract
from allframe.testing.backend_tables import TablesContract
from allframe.testing.extra import needs

with needs("pytest"):
    import pytest

__all__ = ["BackendContract", "MakeBackend"]

#: Makes a backend that is not open yet; each over the same place.
MakeBackend: TypeAlias = Callable[[], EventStoreBackend]


class BackendContract(CommitContract, ReadContract, SnapshotContract, ChangesContract, TablesContract):
    """Commits, reading, snapshots, news, the tables of projections, the claim, opening and closing."""

    pytestmark: Any = pytest.mark.anyio

    @pytest.fixture
    def make_backend(self) -> MakeBackend:
        """How a backend is made: yours to override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say how its backend is made. Override the fixture make_backend, so that it "
            "returns a function that makes one, not open yet, over a place that is fresh for this test."
        )

    @pytest.fixture
    async def backend(self, make_backend: MakeBackend) -> AsyncIterator[EventStoreBackend]:
        """One that is open, and empty."""
        backend = make_backend()
        await backend.open()
        yield backend
        await backend.close()

    # --- the claim

    async def test_who_holds_it_keeps_others_from_claiming_it(self, backend: EventStoreBackend) -> None:
        await backend.claim("first")
        let_go = backend.hold()
        other = backend.hold()
        await backend.release()
        with pytest.raises(StoreInUse, match="still in use in this process"):
            await backend.claim("second")
        let_go()
        with pytest.raises(StoreInUse):
            await backend.claim("second")
        other()
        await backend.claim("second")

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
            lambda: backend.save_snapshot(snapshot("a", 1)),
            lambda: backend.get_snapshot("a", "State"),
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
        await backend.save_snapshot(snapshot("a", 2))
        await backend.claim("here")
        await backend.close()

        await backend.open()

        assert len(await backend.read_stream("a")) == 2
        assert await backend.get_head("a") == head("a")
        assert await backend.get_snapshot("a", "State") == snapshot("a", 2)
        assert await backend.commit(Commit((write("a", expected=2),))) == (3,)
        assert [each.position for each in await backend.read_all()] == [1, 2, 3]
        claim = await backend.claim("here again")
        assert (claim.epoch, claim.clean) == (2, False)

    async def test_another_backend_of_the_same_place_finds_what_was_committed(
        self, backend: EventStoreBackend, make_backend: MakeBackend
    ) -> None:
        if not backend.durable:
            pytest.skip("it ends with its process")
        await backend.commit(Commit((write("a", count=2),), head("a")))
        await backend.close()
        other = make_backend()

        await other.open()

        try:
            assert len(await other.read_stream("a")) == 2
            assert await other.get_head("a") == head("a")
        finally:
            await other.close()

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
