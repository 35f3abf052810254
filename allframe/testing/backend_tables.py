"""What a backend does with the tables of projections: they and how far they have come are one, and a swap is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
from anyio import from_thread
from anyio.lowlevel import checkpoint

from allframe.errors import ProjectionRefused, StoreInUse, StoreUnavailable
from allframe.events.backend import EventStoreBackend
from allframe.events.tables import Mark, OpenTransaction, StoredTables, Tables
from allframe.testing.extra import needs

with needs("pytest"):
    import pytest

__all__ = ["TablesContract"]

_SCHEMA = """
    CREATE TABLE sums (account VARCHAR(20) PRIMARY KEY, amount INTEGER NOT NULL); -- a comment; with a semicolon
    CREATE TABLE seen (n INTEGER)
"""
_SUMS = "SELECT account, amount FROM sums ORDER BY account"


def _mark(position: int) -> Mark:
    return Mark(position, position.to_bytes(16))


async def _put(tables: Tables, account: str, amount: int, mark: Mark | None) -> StoredTables:
    def work(tx: OpenTransaction, stored: StoredTables) -> Mark | None:
        assert tx.execute("INSERT INTO sums VALUES (:account, :amount)", {"account": account, "amount": amount}) == []
        return mark

    return await tables.transaction(work)


class TablesContract:
    """Keeping the tables of projections."""

    @pytest.fixture
    async def opened(self, backend: EventStoreBackend) -> AsyncIterator[Tables]:
        """The tables ``sums``, open and empty."""
        tables = backend.tables("sums")
        await tables.open(_SCHEMA, "first")
        yield tables
        await tables.close()

    # --- made, and found again

    async def test_tables_begin_empty_at_position_0(self, backend: EventStoreBackend) -> None:
        assert await backend.list_tables() == []
        tables = backend.tables("sums")

        stored = await tables.open(_SCHEMA, "first")

        assert (stored.name, stored.mark, stored.digest, stored.error) == ("sums", Mark(0, b""), "first", None)
        assert await tables.query(_SUMS) == []
        assert await tables.open(_SCHEMA, "first") == stored
        await tables.close()
        await tables.close()

    async def test_tables_are_found_as_they_were_left_also_with_another_digest(
        self, backend: EventStoreBackend, opened: Tables
    ) -> None:
        left = await _put(opened, "A", 1, _mark(7))
        await opened.close()
        again = backend.tables("sums")

        stored = await again.open("CREATE TABLE other (x INTEGER)", "second")

        assert stored == left
        assert (stored.digest, stored.mark) == ("first", _mark(7))
        assert await again.query(_SUMS) == [("A", 1)]
        await again.close()

    async def test_tables_whose_schema_fails_are_not_made(self, backend: EventStoreBackend) -> None:
        tables = backend.tables("sums")
        with pytest.raises(Exception, match="CREAT"):
            await tables.open(f"{_SCHEMA}; CREAT TABLE typo (x)", "first")
        assert await backend.list_tables() == []

        assert (await tables.open(_SCHEMA, "second")).digest == "second"

        await tables.close()

    async def test_tables_that_are_not_open_say_so(self, backend: EventStoreBackend) -> None:
        tables = backend.tables("sums")
        with pytest.raises(StoreUnavailable, match="is not open"):
            await tables.transaction(lambda tx, stored: None)
        with pytest.raises(StoreUnavailable):
            await tables.query("SELECT 1")
        await tables.close()

    @pytest.mark.parametrize("name", ["", "a.b", "a/b", "../a", "-a", "a b", "ä", "a\n", "a" * 61, 7, None])
    async def test_what_cannot_be_the_name_of_tables_is_refused(self, backend: EventStoreBackend, name: Any) -> None:
        with pytest.raises(ProjectionRefused, match="A projection cannot have the name"):
            backend.tables(name)
        await checkpoint()

    async def test_tables_of_two_projections_do_not_meet(self, backend: EventStoreBackend) -> None:
        async with AsyncExitStack() as stack:
            one, other = backend.tables("sums"), backend.tables("Sums-2_b")
            for tables in (one, other):
                await tables.open(_SCHEMA, "first")
                stack.push_async_callback(tables.close)
            await _put(one, "A", 1, _mark(1))
            await _put(other, "B", 2, _mark(2))

            assert await one.query(_SUMS) == [("A", 1)]
            assert await other.query(_SUMS) == [("B", 2)]
            listed = {each.name: each.mark.position for each in await backend.list_tables()}
            assert listed == {"sums": 1, "Sums-2_b": 2}

    # --- transactions

    async def test_what_is_written_and_the_mark_are_committed_together(
        self, backend: EventStoreBackend, opened: Tables
    ) -> None:
        stored = await _put(opened, "A", 1, _mark(3))

        assert stored.mark == _mark(3)
        assert await opened.query(_SUMS) == [("A", 1)]
        assert await backend.list_tables() == [stored]
        assert (await opened.transaction(lambda tx, stored: None)).mark == _mark(3)

    async def test_what_a_transaction_raises_takes_all_of_it_back(self, opened: Tables) -> None:
        await _put(opened, "A", 1, _mark(1))

        def fail(tx: OpenTransaction, stored: StoredTables) -> Mark | None:
            tx.execute("INSERT INTO sums VALUES ('B', 2)")
            tx.execute("CREATE TABLE more (x INTEGER)")
            raise ZeroDivisionError("so it is")

        with pytest.raises(ZeroDivisionError, match="so it is"):
            await opened.transaction(fail)

        assert await opened.query(_SUMS) == [("A", 1)]
        assert (await opened.transaction(lambda tx, stored: None)).mark == _mark(1)
        await _put(opened, "B", 2, _mark(2))

    async def test_a_transaction_sees_what_it_wrote_and_knows_the_mark(self, opened: Tables) -> None:
        await _put(opened, "A", 1, _mark(1))
        found: list[Any] = []

        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            found.append(stored.mark)
            tx.executemany("INSERT INTO sums VALUES (:a, :n)", [{"a": "B", "n": 2}, {"a": "C", "n": 3}])
            tx.executemany("INSERT INTO sums VALUES (:a, :n)", [])
            found.append(tx.execute(_SUMS))
            return _mark(2)

        await opened.transaction(work)

        assert found == [_mark(1), [("A", 1), ("B", 2), ("C", 3)]]

    async def test_a_statement_that_only_fails_takes_back_only_itself(self, opened: Tables) -> None:
        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            tx.execute("INSERT INTO sums VALUES ('A', 1)")
            with suppress(Exception):
                tx.execute("INSERT INTO sums VALUES ('A', 2)")
            assert tx.trouble is None
            tx.execute("INSERT INTO sums VALUES ('B', 3)")
            return _mark(1)

        await opened.transaction(work)

        assert await opened.query(_SUMS) == [("A", 1), ("B", 3)]

    @pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "BEGIN"])
    async def test_what_ends_the_transaction_is_refused(self, opened: Tables, statement: str) -> None:
        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            tx.execute("INSERT INTO sums VALUES ('A', 1)")
            tx.execute(statement)
            return _mark(1)

        with pytest.raises(ProjectionRefused, match="may not begin or end transactions"):
            await opened.transaction(work)

        assert await opened.query(_SUMS) == []

    async def test_a_transaction_that_is_over_runs_nothing(self, opened: Tables) -> None:
        kept: list[OpenTransaction] = []

        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            kept.append(tx)
            return _mark(1)

        await opened.transaction(work)

        with pytest.raises(ProjectionRefused, match="is over"):
            kept[0].execute("INSERT INTO sums VALUES ('A', 1)")
        assert await opened.query(_SUMS) == []

    async def test_transactions_of_two_who_have_the_tables_open_come_one_after_the_other(
        self, backend: EventStoreBackend, opened: Tables
    ) -> None:
        other = backend.tables("sums")
        await other.open(_SCHEMA, "first")
        await opened.transaction(lambda tx, stored: (tx.execute("INSERT INTO sums VALUES ('A', 0)"), _mark(0))[1])

        def add(tx: OpenTransaction, stored: StoredTables) -> Mark:
            ((amount,),) = tx.execute("SELECT amount FROM sums")
            assert amount == stored.mark.position
            tx.execute("UPDATE sums SET amount = :amount", {"amount": amount + 1})
            return _mark(amount + 1)

        async def repeat(tables: Tables) -> None:
            for _ in range(20):
                await tables.transaction(add)

        async with anyio.create_task_group() as tasks:
            for tables in (opened, other, opened, other):
                tasks.start_soon(repeat, tables)

        assert await opened.query(_SUMS) == await other.query(_SUMS) == [("A", 80)]
        await other.close()

    async def test_a_cancelled_wait_does_not_cut_a_transaction(self, opened: Tables) -> None:
        begun = anyio.Event()

        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            tx.execute("INSERT INTO sums VALUES ('A', 1)")
            from_thread.run_sync(begun.set)
            return _mark(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.transaction, work)
            await begun.wait()
            tasks.cancel_scope.cancel()

        assert await opened.query(_SUMS) == [("A", 1)]
        assert (await opened.transaction(lambda tx, stored: None)).mark == _mark(1)

    # --- errors, and reading

    async def test_why_tables_do_not_go_on_is_kept_until_they_do(
        self, backend: EventStoreBackend, opened: Tables
    ) -> None:
        await _put(opened, "A", 1, _mark(1))
        await opened.set_error('{"type": "ValueError"}')
        (listed,) = await backend.list_tables()
        assert (listed.error, listed.mark) == ('{"type": "ValueError"}', _mark(1))

        await opened.transaction(lambda tx, stored: None)
        assert (await backend.list_tables())[0].error is not None
        await opened.transaction(lambda tx, stored: _mark(2))

        assert (await backend.list_tables())[0].error is None

    async def test_a_query_reads_what_is_committed_and_cannot_write(self, opened: Tables) -> None:
        await _put(opened, "A", 1, _mark(1))
        with pytest.raises(ProjectionRefused, match="A query only reads"):
            await opened.query("INSERT INTO sums VALUES ('B', 2)")
        with pytest.raises(StoreUnavailable):
            await opened.query("SELECT nothing FROM nowhere")

        begun, go_on = anyio.Event(), anyio.Event()

        def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
            tx.execute("UPDATE sums SET amount = 2")
            from_thread.run_sync(begun.set)
            from_thread.run(go_on.wait)
            return _mark(2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.transaction, work)
            await begun.wait()
            assert await opened.query(_SUMS) == [("A", 1)], "it neither waits nor sees what is not committed"
            go_on.set()
        assert await opened.query("SELECT amount FROM sums WHERE account = :a", {"a": "A"}) == [(2,)]

    # --- a successor

    async def test_what_is_built_is_seen_by_nobody_until_it_is_swapped(
        self, backend: EventStoreBackend, opened: Tables
    ) -> None:
        await _put(opened, "A", 1, _mark(1))

        built = await opened.build(_SCHEMA.replace("INTEGER NOT NULL", "INTEGER NOT NULL DEFAULT 5"), "second")
        await _put(built, "B", 2, _mark(9))

        assert await opened.query(_SUMS) == [("A", 1)]
        (listed,) = await backend.list_tables()
        assert (listed.mark, listed.digest, listed.rebuilding) == (_mark(1), "first", True)

        stored = await opened.swap(built)
        await built.close()

        assert (stored.mark, stored.digest) == (_mark(9), "second")
        assert await opened.query(_SUMS) == [("B", 2)]
        (listed,) = await backend.list_tables()
        assert (listed.mark, listed.rebuilding) == (_mark(9), False)
        await _put(opened, "C", 3, _mark(10))
        await opened.transaction(
            lambda tx, stored: (tx.execute("INSERT INTO sums (account) VALUES ('D')"), _mark(11))[1]
        )
        assert await opened.query(_SUMS) == [("B", 2), ("C", 3), ("D", 5)]

    async def test_a_build_that_is_given_up_leaves_nothing(self, backend: EventStoreBackend, opened: Tables) -> None:
        await _put(opened, "A", 1, _mark(1))
        built = await opened.build(_SCHEMA, "second")
        await _put(built, "B", 2, _mark(9))
        await built.close()

        again = await opened.build(_SCHEMA, "third")

        assert await again.query(_SUMS) == []
        await again.close()
        (listed,) = await backend.list_tables()
        assert (listed.mark, listed.digest, listed.rebuilding) == (_mark(1), "first", False)

    async def test_one_builds_at_a_time(self, backend: EventStoreBackend, opened: Tables) -> None:
        built = await opened.build(_SCHEMA, "second")
        other = backend.tables("sums")
        await other.open(_SCHEMA, "first")

        with pytest.raises(StoreInUse, match="is being rebuilt by somebody else already"):
            await other.build(_SCHEMA, "second")

        await built.close()
        await (await other.build(_SCHEMA, "second")).close()
        await other.close()

    async def test_a_swap_is_whole_to_whoever_reads_meanwhile(self, backend: EventStoreBackend, opened: Tables) -> None:
        def fill(number: int) -> Any:
            def work(tx: OpenTransaction, stored: StoredTables) -> Mark:
                tx.executemany("INSERT INTO sums VALUES (:a, :n)", [{"a": f"a{n}", "n": number} for n in range(500)])
                return _mark(number)

            return work

        await opened.transaction(fill(1))
        reader = backend.tables("sums")
        await reader.open(_SCHEMA, "first")
        seen: list[Any] = []
        is_over = False

        async def look() -> None:
            while not is_over:
                seen.append(await reader.query("SELECT DISTINCT amount, (SELECT count(*) FROM sums) FROM sums"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            for number in range(2, 8):
                built = await opened.build(_SCHEMA, "first")
                await built.transaction(fill(number))
                await opened.swap(built)
                await built.close()
            is_over = True

        assert all(len(rows) == 1 and rows[0][1] == 500 for rows in seen)
        assert [rows[0][0] for rows in seen] == sorted(rows[0][0] for rows in seen)
        await reader.close()

    # --- holding

    async def test_who_holds_tables_writes_and_others_wait(self, backend: EventStoreBackend, opened: Tables) -> None:
        other = backend.tables("sums")
        await other.open(_SCHEMA, "first")
        release = await opened.hold()
        done: list[str] = []

        async def write() -> None:
            await _put(other, "B", 2, _mark(2))
            done.append("other")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            await _put(opened, "A", 1, _mark(1))
            assert await other.query(_SUMS) == [("A", 1)]
            done.append("holder")
            release()
            release()

        assert done == ["holder", "other"]
        await other.close()

    async def test_who_waits_to_hold_tables_can_be_cancelled(self, backend: EventStoreBackend, opened: Tables) -> None:
        other = backend.tables("sums")
        await other.open(_SCHEMA, "first")
        release = await opened.hold()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.hold)
            for _ in range(5):
                await checkpoint()
            tasks.cancel_scope.cancel()

        release()
        (await other.hold())()
        await other.close()
