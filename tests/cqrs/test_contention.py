"""Many who decide on one aggregate at once: each has its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from allframe import Command, CommandBus, ConcurrencyError, Event, EventStore, Repository
from allframe.cqrs.contention import PATIENCE
from tests.cqrs.account import Account, Deposited

pytestmark = pytest.mark.anyio

WRITERS = 40


class DepositOne(Command, name="contention.deposit-one"):
    account: str


@pytest.fixture
def accounts(store: EventStore) -> Repository[Account]:
    return Repository(store, Account)


async def test_many_writers_of_one_aggregate_all_come_through(store: EventStore, accounts: Repository[Account]) -> None:
    decided: list[int] = []
    everybody = Everybody(WRITERS)

    async def decide(account: Account) -> list[Event]:
        decided.append(account.version)
        await everybody.is_here()
        return [Deposited(amount=1)]

    async with anyio.create_task_group() as tasks:
        for _ in range(WRITERS):
            tasks.start_soon(change_twice_at_most, accounts, decide)

    assert (await accounts.load("A")).balance == WRITERS
    # All at once, and all but one of them once more, by turns.
    assert decided == [0] * WRITERS + list(range(1, WRITERS))


async def change_twice_at_most(
    accounts: Repository[Account], decide: Callable[[Account], Awaitable[list[Event]]]
) -> None:
    await accounts.change("A", decide, attempts=2)


async def test_who_comes_later_stands_in_line(store: EventStore, accounts: Repository[Account]) -> None:
    """Somebody new would be in the way of all who wait, as often as there is somebody new."""
    decided: list[str] = []

    joined = anyio.Event()

    async def deposit(name: str) -> None:
        async def decide(account: Account) -> list[Event]:
            decided.append(name)
            if name == "first" and decided.count("first") == 1:
                await store.append("account-A", [Deposited(amount=1)])
            elif name == "first":
                joined.set()
                await anyio.wait_all_tasks_blocked()
            return [Deposited(amount=1)]

        await accounts.change("A", decide, attempts=2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deposit, "first")
        await joined.wait()
        tasks.start_soon(deposit, "second")

    assert decided == ["first", "first", "second"]


async def test_many_commands_on_one_aggregate_all_come_through(
    store: EventStore, bus: CommandBus, accounts: Repository[Account]
) -> None:
    everybody = Everybody(WRITERS)

    @bus.handler(attempts=2)
    async def deposit(command: DepositOne) -> list[tuple[str, list[Event], int]]:
        account = await accounts.load(command.account)
        await everybody.is_here()
        return [accounts.write(account, [Deposited(amount=1)])]

    async with anyio.create_task_group() as tasks:
        for _ in range(WRITERS):
            tasks.start_soon(bus.dispatch, DepositOne(account="A"))

    assert (await accounts.load("A")).balance == WRITERS


async def test_a_change_within_a_decision_on_the_same_aggregate_does_not_wait_for_itself(
    store: EventStore, accounts: Repository[Account]
) -> None:
    calls: list[int] = []

    async def decide(account: Account) -> list[Event]:
        calls.append(account.version)
        if len(calls) < 3:
            with anyio.fail_after(PATIENCE / 2):
                await accounts.change("A", lambda _: [Deposited(amount=1)])
        return [Deposited(amount=10)]

    account = await accounts.change("A", decide)

    assert (calls, account.balance) == ([0, 1, 2], 12)


async def test_a_decision_that_waits_for_another_in_its_line_goes_on_after_a_while(
    store: EventStore, accounts: Repository[Account]
) -> None:
    calls: list[int] = []
    other_may_begin, other_is_done = anyio.Event(), anyio.Event()

    async def other() -> None:
        await other_may_begin.wait()
        await accounts.change("A", lambda _: [Deposited(amount=1)])
        other_is_done.set()

    async def decide(account: Account) -> list[Event]:
        calls.append(account.version)
        if len(calls) == 1:
            await store.append("account-A", [Deposited(amount=1)])
        elif len(calls) == 2:
            other_may_begin.set()
            await other_is_done.wait()
        return [Deposited(amount=10)]

    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await accounts.change("A", decide, attempts=3)

    assert (await accounts.load("A")).balance == 12
    assert anyio.current_time() - begun == pytest.approx(PATIENCE)


async def test_one_who_may_try_once_does_not_stand_in_line(store: EventStore, accounts: Repository[Account]) -> None:
    async def decide(account: Account) -> list[Event]:
        await store.append("account-A", [Deposited(amount=1)])
        return [Deposited(amount=10)]

    with pytest.raises(ConcurrencyError):
        await accounts.change("A", decide, attempts=1)


class Everybody:
    """Lets the first ``count`` go on when all of them have come, and those after them at once."""

    def __init__(self, count: int) -> None:
        self._missing, self._all = count, anyio.Event()

    async def is_here(self) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._all.set()
        await self._all.wait()
