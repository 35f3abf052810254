"""Projections in memory and in tables: followed, read, waited for, stopped."""

from __future__ import annotations

import logging

import anyio
import pytest

from allframe import (
    Event,
    EventStore,
    Projection,
    ProjectionFailed,
    ProjectionRefused,
    ProjectionRegistry,
    ProjectionState,
    RecordedEvent,
    Saga,
    SagaOrchestrator,
    SqlProjection,
    Transaction,
    step,
)
from tests.cqrs.accounts import (
    SCHEMA,
    Balances,
    BalancesTable,
    Broken,
    Deposited,
    Noted,
    Trap,
    balances,
    deposit,
)

pytestmark = pytest.mark.anyio


async def test_has_what_was_there_before_it_was_registered(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store:
        await deposit(store, "A", 1, 2)

        async with ProjectionRegistry(store) as registry:
            await registry.register("mine", kind)
            await registry.caught_up()

            assert await balances(registry, "mine") == {"A": 3}


async def test_takes_in_what_comes_while_it_is_followed(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register(kind)
        name = kind.projection_name
        for round_ in range(1, 6):
            await deposit(store, "A", 1)
            await deposit(store, "B", 10)
            await registry.caught_up()

            assert await balances(registry, name) == {"A": round_, "B": 10 * round_}


async def test_position_is_the_stores_and_not_a_count(store_url: str) -> None:
    class Deposits(Balances, name="deposits"):
        handles = (Deposited,)

    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Deposits)
        await store.append("notes", [Noted(text="a"), Noted(text="b")])
        await deposit(store, "A", 5)
        await store.append("notes", [Noted(text="c")])
        await registry.caught_up(4)

        found = await registry.get_metadata("deposits")

        assert (found.position, found.lag, found.state) == (4, 0, ProjectionState.LIVE)
        assert found.updated_at is not None
        assert registry.get("deposits", Deposits).by_account == {"A": 5}


async def test_what_it_does_not_handle_is_not_even_decoded(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    class Deposits(kind):  # type: ignore[misc, valid-type]
        handles = (Deposited,)

    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await _append_unknown(store)
        await deposit(store, "A", 5)
        await registry.register("deposits", Deposits)
        await registry.caught_up()

        assert await balances(registry, "deposits") == {"A": 5}


async def test_an_event_of_a_type_that_nobody_knows_stops_it_until_that_is_imported(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await deposit(store, "A", 5)
        await _append_unknown(store)
        await registry.register("mine", kind)

        with pytest.raises(ProjectionFailed) as failure:
            await registry.caught_up()

        assert failure.value.position == 2
        assert "it has no event of that name" in str(failure.value)
        assert "(at position 2, 'accounts.gone' of the stream 'gone')" in str(failure.value)


async def test_the_records_of_sagas_move_it_on_and_are_not_given_to_it(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    class Give(Saga, name="give_in_projections"):
        @step
        async def give(self) -> Deposited:
            return Deposited(account="A", amount=7)

    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        async with SagaOrchestrator(store) as orchestrator:
            await orchestrator.execute(Give(), id="one")
        await registry.caught_up()

        found = await registry.get_metadata("mine")

        assert await balances(registry, "mine") == {"A": 7}
        assert (found.position, found.lag) == (await store.backend.last_position(), 0)


async def test_a_poison_event_stops_one_projection_and_nobody_else(
    store_url: str,
    kind: type[Balances] | type[BalancesTable],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Sturdy(Projection, name="sturdy"):
        def __init__(self) -> None:
            self.count = 0

        def apply(self, event: Event, recorded: RecordedEvent) -> None:
            self.count += 1

        def reset(self) -> None:
            self.count = 0

    monkeypatch.setattr(Trap, "amount", 13)
    async with EventStore(store_url) as store:
        await deposit(store, "A", 1, 2, 13, 4)
        async with ProjectionRegistry(store) as registry:
            await registry.register("mine", kind)
            await registry.register(Sturdy)
            with pytest.raises(ProjectionFailed) as failure:
                await registry.caught_up(name="mine")
            await deposit(store, "B", 1)
            await registry.caught_up(name="sturdy")

            found = await registry.get_metadata("mine")

            assert str(failure.value) == (
                "The projection 'mine' stopped: tests.cqrs.accounts.Broken: 13 is too much for me (at position 3, "
                "'accounts.deposited' of the stream 'account-A'). Everything before is in it, and nothing after. Mend it, and "
                "call resume('mine') or start again."
            )
            assert isinstance(failure.value.__cause__, Broken)
            assert (failure.value.projection, failure.value.position) == ("mine", 3)
            assert (found.state, found.position, found.lag) == (ProjectionState.FAILED, 2, 3)
            assert found.error == failure.value.error
            assert await balances(registry, "mine") == {"A": 3}
            assert registry.get("sturdy", Sturdy).count == 5
            logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert [record.getMessage() for record in logged] == [str(failure.value)]


async def test_goes_on_at_the_poison_event_once_it_is_mended(
    store_url: str, kind: type[Balances] | type[BalancesTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trap, "amount", 13)
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", 1, 13, 4)
        with pytest.raises(ProjectionFailed):
            await registry.caught_up()
        monkeypatch.setattr(Trap, "amount", None)

        await registry.resume("mine")
        await registry.caught_up()

        found = await registry.get_metadata("mine")
        assert await balances(registry, "mine") == {"A": 18}
        assert (found.state is not ProjectionState.FAILED, found.error) == (True, None)


async def test_half_of_a_poison_event_is_not_counted_twice_after_resuming(store_url: str) -> None:
    class Hasty(Balances, name="hasty"):
        """It writes first, and looks then."""

        def apply(self, event: Event, recorded: RecordedEvent) -> None:
            assert isinstance(event, Deposited)
            self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount
            Trap.check(event)

    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Hasty)
        Trap.amount = 13
        await deposit(store, "A", 1, 13, 4)
        with pytest.raises(ProjectionFailed):
            await registry.caught_up()
        with pytest.raises(ProjectionFailed):  # it is not mended yet
            await registry.resume("hasty")
        Trap.amount = None

        await registry.resume("hasty")
        await registry.caught_up()

        assert registry.get("hasty", Hasty).by_account == {"A": 18}


async def test_half_of_a_poison_event_is_not_counted_twice_at_the_next_start(store_url: str) -> None:
    class Rash(Balances, name="rash"):
        def apply(self, event: Event, recorded: RecordedEvent) -> None:
            assert isinstance(event, Deposited)
            self.by_account[event.account] = self.by_account.get(event.account, 0) + event.amount
            Trap.check(event)

    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register(Rash)
        async with registry:
            Trap.amount = 13
            await deposit(store, "A", 1, 13, 4)
            with pytest.raises(ProjectionFailed):
                await registry.caught_up()
        Trap.amount = None

        async with registry:
            await registry.caught_up()

            assert registry.get("rash", Rash).by_account == {"A": 18}


async def test_who_waits_hears_at_once_that_it_failed(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        await registry.caught_up()
        heard: list[str] = []

        async def wait() -> None:
            try:
                await registry.caught_up(2)
            except ProjectionFailed as failure:
                heard.append(failure.projection)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            Trap.amount = 13
            await deposit(store, "A", 13)

        assert heard == ["mine"]


async def test_waiting_ends_with_its_timeout(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register("mine", kind)
        await deposit(store, "A", 1)
        await registry.caught_up()

        with pytest.raises(TimeoutError, match=r"^Not at position 5 within 3 s: 'mine' is at 1\.$"):
            await registry.caught_up(5, timeout=3)


async def test_goes_on_where_it_stood_after_the_registry_was_left(
    store_url: str, kind: type[Balances] | type[BalancesTable]
) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register("mine", kind)
        async with registry:
            await deposit(store, "A", 1)
            await registry.caught_up()
        await deposit(store, "A", 2)
        assert (await registry.get_metadata("mine")).state is ProjectionState.STOPPED

        async with registry:
            await registry.caught_up()

            assert await balances(registry, "mine") == {"A": 3}


async def test_starts_anew_what_was_filled_by_another_registry(store_url: str) -> None:
    filled = Balances()
    async with EventStore(store_url) as store:
        await deposit(store, "A", 1)
        for _ in range(2):
            async with ProjectionRegistry(store) as registry:
                await registry.register("mine", filled)
                await registry.caught_up()

                assert filled.by_account == {"A": 1}


async def test_can_be_started_and_stopped_without_a_block(store_url: str) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.start_subscription()
        await registry.register(Balances)
        with pytest.raises(ProjectionRefused, match=r"^This registry is started already: use it as it is\.$"):
            await registry.start_subscription()
        await deposit(store, "A", 1)
        await registry.caught_up()
        await registry.stop()
        await registry.stop()

        assert registry.count() == 1
        assert registry.get("balances", Balances).by_account == {"A": 1}


async def test_who_waits_where_nobody_follows_is_told(store_url: str) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register(Balances)
        await deposit(store, "A", 1)

        with pytest.raises(ProjectionRefused) as refusal:
            await registry.caught_up()

        assert str(refusal.value) == (
            "The projection 'balances' is at position 0 and is not followed now, so it will not come to 1. Wait for it inside "
            "`async with registry:`."
        )


async def test_an_error_of_the_block_comes_out_as_it_is(store_url: str) -> None:
    async with EventStore(store_url) as store:
        with pytest.raises(KeyError):
            async with ProjectionRegistry(store) as registry:
                await registry.register(Balances)
                raise KeyError("mine")


async def test_a_cancelled_block_stops_it(store_url: str, kind: type[Balances] | type[BalancesTable]) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register("mine", kind)
        with anyio.move_on_after(1):
            async with registry:
                await deposit(store, "A", 1)
                await anyio.sleep_forever()

        assert (await registry.get_metadata("mine")).state is ProjectionState.STOPPED
        async with registry:
            await registry.caught_up()
            assert await balances(registry, "mine") == {"A": 1}


# --- what is refused


async def test_a_name_is_given_once(store_url: str) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register("Mine", Balances)

        with pytest.raises(ProjectionRefused) as refusal:
            await registry.register("mine", Balances)

        assert str(refusal.value) == (
            "There is a projection 'Mine' already. Register 'mine' once, or give one of them another name."
        )


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a.b", "ä", "x" * 61, "a\n", 5])
async def test_what_cannot_be_a_file_cannot_be_a_name(store_url: str, name: str) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)

        with pytest.raises(ProjectionRefused, match="^A projection cannot have the name "):
            await registry.register(name, Balances)
        with pytest.raises(ProjectionRefused, match="^A projection cannot have the name "):
            store.backend.tables(name)


async def test_get_says_what_is_not_there(store_url: str) -> None:
    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)
        await registry.register(Balances)

        with pytest.raises(ProjectionRefused, match=r"^There is no projection 'x'\. Registered are: 'balances'\.$"):
            registry.get("x")
        with pytest.raises(
            ProjectionRefused, match=r"^The projection 'balances' is a Balances, not a BalancesTable\.$"
        ):
            registry.get("balances", BalancesTable)
        with pytest.raises(ProjectionRefused, match=r"^The projection 'balances' is in memory and has no tables: "):
            await registry.query("balances", "SELECT 1")
        with pytest.raises(ProjectionRefused, match=r"^The projection 'balances' is stopped, not failed: "):
            await registry.resume("balances")


async def test_what_is_no_projection_is_refused(store_url: str) -> None:
    class Waiting(Balances, name="waiting"):
        async def apply(self, event: Event, recorded: RecordedEvent) -> None:  # type: ignore[override]
            pass

    async with EventStore(store_url) as store:
        registry = ProjectionRegistry(store)

        with pytest.raises(ProjectionRefused, match=r"\.Waiting\.apply is async def\. "):
            await registry.register(Waiting)
        with pytest.raises(ProjectionRefused, match=r"^\{\} is no projection\. "):
            await registry.register("x", dict)  # type: ignore[arg-type]
        with pytest.raises(ProjectionRefused, match=r"^5 is no projection\. "):
            await registry.register(5)  # type: ignore[call-overload]


def test_a_class_that_cannot_work_is_refused_where_it_stands() -> None:
    with pytest.raises(ProjectionRefused, match=r'^NoSchema has no schema\. Expected schema = "CREATE TABLE …"'):
        type("NoSchema", (SqlProjection,), {})
    with pytest.raises(ProjectionRefused, match=r"^The version of Zero is 0\. Expected a whole number from 1\.$"):
        type("Zero", (SqlProjection,), {"schema": SCHEMA}, version=0)
    with pytest.raises(ProjectionRefused, match=r"^Odd has no class keyword 'colour'\. "):
        type("Odd", (Projection,), {}, colour="red")
    with pytest.raises(ProjectionRefused, match=r"^One has handles = .*\. Expected a tuple of event classes"):
        type("One", (Projection,), {"handles": Deposited})


async def test_a_slow_projection_holds_up_neither_a_writer_nor_another(store_url: str) -> None:
    go = anyio.Event()

    class Slow(SqlProjection, name="slow"):
        schema = SCHEMA

        def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
            anyio.from_thread.run(go.wait)

    async with EventStore(store_url) as store, ProjectionRegistry(store) as registry:
        await registry.register(Slow)
        await registry.register(BalancesTable)
        await deposit(store, "A", 1)
        await deposit(store, "A", 2)
        await registry.caught_up(name="balances_table")
        assert await balances(registry, "balances_table") == {"A": 3}
        assert (await registry.get_metadata("slow")).lag > 0
        go.set()


async def _append_unknown(store: EventStore) -> None:
    class Gone(Event, name="accounts.gone"):
        pass

    await store.append("gone", [Gone()])
    # Nobody has the class any more.
    from allframe.events import event

    event._NAMES._classes.pop(("accounts.gone", 1))
