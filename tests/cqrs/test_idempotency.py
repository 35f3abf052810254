"""What was dispatched under a key is done once, whoever repeats it, and from wherever."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import from_thread
from pydantic import SecretStr

from allframe import (
    Command,
    CommandBus,
    CommandContext,
    CommandDeadlock,
    CommandInvalid,
    CommandRejected,
    ConcurrencyError,
    Event,
    EventStore,
    IdempotencyConflict,
    Inject,
    PayloadError,
    Saga,
    SagaOrchestrator,
    StoreFormatError,
    StoreUnavailable,
    VersionRegistry,
    step,
    upcasts,
)
from allframe.cqrs.command_bus import Next
from allframe.cqrs.idempotency import KeyRecord, digest_of, key_stream
from allframe.events.backend import Commit, Row, Versions, Write, new_id
from allframe.testing import VirtualClock
from tests.cqrs.world import A5, Deposit, Deposited, Homeless, Withdraw, Withdrawn, logged, streams, withdrawn
from tests.saga.crash import crash_image

pytestmark = pytest.mark.anyio

DONE = [Withdrawn(account="A", amount=Decimal(5))]


class Counter:
    """A handler that counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def handle(self, command: Withdraw) -> list[Event]:
        self.calls += 1
        await anyio.sleep(0.1)
        return [withdrawn(command)]


@pytest.fixture
def counter(bus: CommandBus) -> Counter:
    counter = Counter()
    bus.register(Withdraw, counter)
    return counter


# --- once ------------------------------------------------------------------------------------------------------------


async def test_a_repetition_is_answered_from_the_store(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    first = await bus.dispatch_idempotent(A5, "k1")
    again = await bus.dispatch_idempotent(A5, "k1")

    assert first == again == DONE
    assert counter.calls == 1
    assert await streams(store) == [
        ("$command/commands.withdraw/k1", "CommandSettled"),
        ("account-A", "commands.withdrawn"),
    ]


async def test_equal_sets_are_one_payload_whatever_order_python_has_them_in(bus: CommandBus) -> None:
    class Tag(Command, name="idempotency.tag"):
        tags: frozenset[int]

    calls: list[Tag] = []

    @bus.handler
    async def tag(command: Tag) -> None:
        calls.append(command)

    one, other = Tag(tags=frozenset([0, 8])), Tag(tags=frozenset([8, 0]))
    assert list(one.tags) != list(other.tags), "as for equal texts in two processes"

    await bus.dispatch_idempotent(one, "k1")
    await bus.dispatch_idempotent(other, "k1")

    assert calls == [one]


async def test_it_is_answered_after_a_crash(
    bus: CommandBus, counter: Counter, store: EventStore, tmp_path: Path
) -> None:
    await bus.dispatch_idempotent(A5, "k1")

    (tmp_path / "images").mkdir()
    async with crash_image(store, tmp_path / "images") as image:
        other, calls = CommandBus(image), Counter()
        other.register(Withdraw, calls)

        assert await other.dispatch_idempotent(A5, "k1") == DONE
        assert calls.calls == 0


async def test_events_of_others_between_are_not_mixed_in(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def deposit(command: Deposit) -> list[Event]:
        return [Deposited(account=account, amount=command.amount) for account in ("A", "B", "A")]

    command = Deposit(account="A", amount=Decimal(1))
    await store.append("noise", [Homeless()])
    first = await bus.dispatch_idempotent(command, "k1")
    await store.append("noise", [Homeless()])
    second = await bus.dispatch_idempotent(command, "k2")

    assert [event.account for event in first if isinstance(event, Deposited)] == ["A", "B", "A"]
    assert await bus.dispatch_idempotent(command, "k1") == first
    assert await bus.dispatch_idempotent(command, "k2") == second
    assert len(await logged(store)) == 8


async def test_a_decision_on_nothing_is_remembered(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        calls.append(1)

    assert await bus.dispatch_idempotent(A5, "k1") == await bus.dispatch_idempotent(A5, "k1") == []
    assert len(calls) == 1


async def test_the_record_says_which_command_it_was(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    await bus.dispatch_idempotent(A5, "k1")

    record, event = await logged(store, system=True)
    assert record.metadata == event.metadata
    assert record.metadata["command"] == "commands.withdraw"


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_another_payload_is_a_conflict(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    await bus.dispatch_idempotent(A5, "k1")

    with pytest.raises(IdempotencyConflict) as conflict:
        await bus.dispatch_idempotent(Withdraw(account="A", amount=Decimal(6)), "k1")

    assert str(conflict.value) == (
        "The idempotency key 'k1' was given to a command 'commands.withdraw' with another payload, and answers for that one. "
        "Nothing was done: give each payload a key of its own."
    )
    assert (conflict.value.key, conflict.value.command) == ("k1", "commands.withdraw")
    assert counter.calls == 1
    assert len(await logged(store)) == 1


async def test_another_command_has_keys_of_its_own(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    @bus.handler
    async def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    await bus.dispatch_idempotent(A5, "k1")
    assert await bus.dispatch_idempotent(Deposit(account="A", amount=Decimal(5)), "k1") == [
        Deposited(account="A", amount=Decimal(5))
    ]


@pytest.mark.parametrize("key", ["", "a\n", "x" * 201, 7])
async def test_what_cannot_be_a_key_is_refused(bus: CommandBus, counter: Counter, key: Any) -> None:
    with pytest.raises(ValueError, match="An idempotency key is 1 to 200 printable characters. Found "):
        await bus.dispatch_idempotent(A5, key)
    assert counter.calls == 0


async def test_a_key_of_odd_characters_is_one(bus: CommandBus, counter: Counter) -> None:
    for key in ("a/b", "$x", "ключ %s {0}", "x" * 200):
        assert await bus.dispatch_idempotent(A5, key) == await bus.dispatch_idempotent(A5, key) == DONE
    assert counter.calls == 4


def test_a_field_with_a_default_may_be_added_to_a_command() -> None:
    class Before(Command, name="idempotency.before"):
        account: str

    class After(Command, name="idempotency.after"):
        account: str
        note: str = ""

    assert digest_of(Before(account="A")) == digest_of(After(account="A")) == digest_of(After(account="A", note=""))
    assert digest_of(Before(account="A")) != digest_of(After(account="A", note="x"))


def test_a_secret_belongs_to_the_payload() -> None:
    class Secretive(Command, name="idempotency.secretive"):
        pin: SecretStr

    assert digest_of(Secretive(pin=SecretStr("1"))) != digest_of(Secretive(pin=SecretStr("2")))


async def test_a_command_that_cannot_be_written_has_no_key(bus: CommandBus) -> None:
    class Odd(Command, name="idempotency.odd"):
        value: Any

    async def handle(command: Odd) -> None: ...

    bus.register(Odd, handle)

    with pytest.raises(PayloadError, match=r"The command 'idempotency\.odd'"):
        await bus.dispatch_idempotent(Odd(value=object()), "k1")


async def test_an_invalid_command_is_not_remembered(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    with pytest.raises(CommandInvalid):
        await bus.dispatch_idempotent(Withdraw.model_construct(account="A", amount=Decimal(-5)), "k1")

    assert await bus.dispatch_idempotent(A5, "k1") == DONE


# --- expiring --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [timedelta(hours=1), 3600, 3600.0])
async def test_a_key_that_expired_is_as_good_as_new(store: EventStore, keep: Any, clock: VirtualClock) -> None:
    bus, counter = CommandBus(store, keep_keys=keep, clock=clock), Counter()
    bus.register(Withdraw, counter)

    await bus.dispatch_idempotent(A5, "k1")
    clock.advance(3599)
    await bus.dispatch_idempotent(A5, "k1")
    assert counter.calls == 1

    clock.advance(1)
    other = Withdraw(account="A", amount=Decimal(6))
    first = await bus.dispatch_idempotent(other, "k1")
    assert first == await bus.dispatch_idempotent(other, "k1") == [withdrawn(other)]
    assert counter.calls == 2
    assert len(await logged(store)) == 2


async def test_a_key_is_kept_for_ever_unless_said(store: EventStore, clock: VirtualClock) -> None:
    bus, counter = CommandBus(store, clock=clock), Counter()
    bus.register(Withdraw, counter)

    await bus.dispatch_idempotent(A5, "k1")
    clock.advance(1e8)
    await bus.dispatch_idempotent(A5, "k1")

    assert counter.calls == 1


@pytest.mark.parametrize("keep", [0, -1, float("nan"), timedelta(0), True])
def test_what_is_no_time_to_keep_keys_is_refused(keep: Any) -> None:
    with pytest.raises(ValueError, match="keep_keys is seconds above 0 and below 1e9, a timedelta, or None for ever"):
        CommandBus(EventStore(), keep_keys=keep)


# --- versions --------------------------------------------------------------------------------------------------------


class NotedV1(Event, name="idempotency.noted", version=1):
    __stream__ = "notes"


class Noted(Event, name="idempotency.noted", version=2):
    __stream__ = "notes"
    by: str


@upcasts("idempotency.noted", from_version=1)
def by_nobody(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "by": "nobody"}


async def test_the_first_answer_has_the_events_of_today_as_the_repetition_has(store_url: str) -> None:
    async with EventStore(store_url, versions=VersionRegistry([by_nobody])) as store:
        bus = CommandBus(store)

        @bus.handler
        async def withdraw(command: Withdraw) -> NotedV1:
            return NotedV1()

        first = await bus.dispatch_idempotent(A5, "k1")
        again = await bus.dispatch_idempotent(A5, "k1")

    assert first == again == [Noted(by="nobody")]


# --- rejections and errors -------------------------------------------------------------------------------------------


class Refused(CommandRejected):
    pass


class Overdrawn(CommandRejected):
    """It asks for more than our own errors do."""

    def __init__(self, balance: int) -> None:
        super().__init__(f"There are only {balance}.", reason="balance", details={"balance": balance})


async def test_a_rejection_is_remembered_with_its_class(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        calls.append(1)
        raise Overdrawn(3)

    for _ in range(2):
        with pytest.raises(Overdrawn, match=r"There are only 3\.") as rejection:
            await bus.dispatch_idempotent(A5, "k1")
        assert (rejection.value.reason, rejection.value.details) == ("balance", {"balance": 3})
        assert rejection.value.command == "commands.withdraw"
    assert len(calls) == 1
    assert await streams(store) == [("$command/commands.withdraw/k1", "CommandSettled")]


async def test_a_rejection_whose_class_is_not_imported_is_one_of_the_base(bus: CommandBus) -> None:
    def make() -> type[CommandRejected]:
        class Gone(CommandRejected): ...

        return Gone

    kinds = [make()]

    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        raise kinds[0]("no")

    with pytest.raises(kinds[0]):
        await bus.dispatch_idempotent(A5, "k1")
    kinds[0].__name__ = "Renamed"
    with pytest.raises(CommandRejected, match="no") as rejection:
        await bus.dispatch_idempotent(A5, "k1")
    assert type(rejection.value) is CommandRejected


@pytest.mark.parametrize("details", [{"pin": SecretStr("hunter2")}, {"it": (1, 2)}], ids=["secret", "tuple"])
async def test_a_rejection_that_cannot_be_stored_says_so(bus: CommandBus, store: EventStore, details: Any) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        raise Refused("no", reason="pin", details=details)

    with pytest.raises(PayloadError) as refusal:
        await bus.dispatch_idempotent(A5, "k1")

    assert str(refusal.value) == (
        "The command 'commands.withdraw' was rejected by Refused, which an idempotency key cannot remember, and nothing was "
        "recorded. Expected a message and a reason of Unicode text, and details of plain JSON values. Found: reason='pin', "
        f"details={details!r}."
    )
    assert "hunter2" not in str(refusal.value)
    assert isinstance(refusal.value.__cause__, Refused)
    assert await streams(store) == []


async def test_the_rejection_of_a_command_within_names_that_one_each_time(bus: CommandBus) -> None:
    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> None:
        await context.dispatch(Deposit(account="B", amount=Decimal(1)))

    @bus.handler
    async def deposit(command: Deposit) -> None:
        raise Refused("no")

    for _ in range(2):
        with pytest.raises(Refused) as rejection:
            await bus.dispatch_idempotent(A5, "k1")
        assert rejection.value.command == "commands.deposit"


async def test_an_error_records_nothing_and_the_next_call_tries_again(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("gone")
        return withdrawn(command)

    with pytest.raises(ConnectionError):
        await bus.dispatch_idempotent(A5, "k1")
    assert await streams(store) == []

    assert await bus.dispatch_idempotent(A5, "k1") == DONE
    assert len(calls) == 2


async def test_what_cannot_be_appended_records_nothing(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> list[Event]:
        return [withdrawn(command), Homeless()]

    with pytest.raises(PayloadError):
        await bus.dispatch_idempotent(A5, "k1")
    assert await streams(store) == []


async def test_a_conflict_of_the_handlers_events_records_nothing(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        return [("account-A", [withdrawn(command)], 1)]

    with pytest.raises(ConcurrencyError, match="'account-A'"):
        await bus.dispatch_idempotent(A5, "k1")
    assert await streams(store) == []


async def test_a_handler_is_called_again_on_a_conflict_of_its_events_under_a_key(
    bus: CommandBus, store: EventStore
) -> None:
    calls: list[int] = []

    @bus.handler(attempts=2)
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        calls.append(1)
        return [("account-A", [withdrawn(command)], 2 - len(calls))]

    assert await bus.dispatch_idempotent(A5, "k1") == await bus.dispatch_idempotent(A5, "k1") == DONE
    assert len(calls) == 2


# --- at the same time ------------------------------------------------------------------------------------------------


async def test_many_at_once_are_one(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    answers: list[list[Event]] = []

    async def dispatch() -> None:
        answers.append(await bus.dispatch_idempotent(A5, "k1"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(dispatch)

    assert answers == [DONE] * 20
    assert counter.calls == 1
    assert len(await logged(store)) == 1
    assert len(bus._locks) == 0


async def test_other_keys_do_not_wait(bus: CommandBus, store: EventStore) -> None:
    both = anyio.Event()
    running: list[str] = []

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        running.append(str(context.idempotency_key))
        if len(running) == 2:
            both.set()
        await both.wait()
        return withdrawn(command)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.dispatch_idempotent, A5, "k1")
            tasks.start_soon(bus.dispatch_idempotent, A5, "k2")

    assert sorted(running) == ["k1", "k2"]


async def test_when_the_first_one_fails_the_next_one_runs(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []
    ended: list[object] = []

    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        calls.append(1)
        await anyio.sleep(0.1)
        if len(calls) == 1:
            raise LookupError
        return withdrawn(command)

    async def dispatch() -> None:
        try:
            ended.append(await bus.dispatch_idempotent(A5, "k1"))
        except LookupError as error:
            ended.append(type(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(dispatch)

    assert sorted(ended, key=str) == sorted([LookupError, DONE, DONE], key=str)
    assert len(calls) == 2


async def test_one_that_is_cancelled_lets_the_next_one_run(bus: CommandBus, counter: Counter) -> None:
    answers: list[list[Event]] = []

    async def dispatch() -> None:
        answers.append(await bus.dispatch_idempotent(A5, "k1"))

    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.05):
            await dispatch()
        tasks.start_soon(dispatch)

    assert answers == [DONE]
    assert counter.calls == 2


async def test_of_two_buses_the_slower_one_answers_what_the_faster_one_recorded(store: EventStore) -> None:
    """Two buses know nothing of each other's turns, like two processes."""
    fast, slow, go = CommandBus(store), CommandBus(store), anyio.Event()
    calls: list[str] = []
    answers: list[list[Event]] = []

    async def slowly(command: Withdraw) -> Homeless | list[tuple[str, list[Event], int | None]]:
        calls.append("slow")
        go.set()
        await anyio.sleep(1)
        return [("elsewhere", [Homeless()], None)]

    async def dispatch() -> None:
        answers.append(await slow.dispatch_idempotent(A5, "k1"))

    counter = Counter()
    fast.register(Withdraw, counter)
    slow.register(Withdraw, slowly)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatch)
        await go.wait()
        answers.append(await fast.dispatch_idempotent(A5, "k1"))

    assert answers == [DONE, DONE]
    assert (calls, counter.calls) == (["slow"], 1)
    assert await streams(store) == [
        ("$command/commands.withdraw/k1", "CommandSettled"),
        ("account-A", "commands.withdrawn"),
    ]


async def test_of_two_buses_the_slower_one_with_another_payload_has_a_conflict(store: EventStore) -> None:
    fast, slow, go = CommandBus(store), CommandBus(store), anyio.Event()

    async def slowly(command: Withdraw) -> Withdrawn:
        go.set()
        await anyio.sleep(1)
        raise CommandRejected("no")

    async def dispatch() -> None:
        with pytest.raises(IdempotencyConflict):
            await slow.dispatch_idempotent(Withdraw(account="B", amount=Decimal(1)), "k1")

    fast.register(Withdraw, Counter())
    slow.register(Withdraw, slowly)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dispatch)
        await go.wait()
        await fast.dispatch_idempotent(A5, "k1")

    assert len(await logged(store)) == 1


# --- within one another ----------------------------------------------------------------------------------------------


async def test_a_command_within_itself_is_told_instead_of_waiting_for_ever(bus: CommandBus) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        await bus.dispatch_idempotent(command, "k1")

    with anyio.fail_after(5):
        with pytest.raises(CommandDeadlock) as deadlock:
            await bus.dispatch_idempotent(A5, "k1")

    assert "it would wait for itself. Nothing was done: use another key." in str(deadlock.value)
    assert (deadlock.value.key, deadlock.value.command) == ("k1", "commands.withdraw")


async def test_a_plain_function_is_told_as_well(bus: CommandBus) -> None:
    @bus.handler
    def withdraw(command: Withdraw) -> None:
        from_thread.run(bus.dispatch_idempotent, command, "k1")

    with anyio.fail_after(5):
        with pytest.raises(CommandDeadlock):
            await bus.dispatch_idempotent(A5, "k1")


async def test_a_task_of_the_handlers_is_told_as_well(bus: CommandBus) -> None:
    told: list[type[BaseException]] = []

    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        async def child() -> None:
            try:
                await bus.dispatch_idempotent(command, "k1")
            except CommandDeadlock as error:
                told.append(type(error))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)

    with anyio.fail_after(5):
        await bus.dispatch_idempotent(A5, "k1")
    assert told == [CommandDeadlock]


async def test_two_that_wait_for_each_other_are_told(bus: CommandBus) -> None:
    both, ended = anyio.Event(), list[str]()
    running: list[str] = []

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> None:
        running.append(str(context.idempotency_key))
        if len(running) == 2:
            both.set()
        await both.wait()
        if context.idempotency_key in ("k1", "k2") and len(running) <= 2:
            await bus.dispatch_idempotent(command, "k2" if context.idempotency_key == "k1" else "k1")

    async def dispatch(key: str) -> None:
        try:
            await bus.dispatch_idempotent(A5, key)
            ended.append("done")
        except CommandDeadlock:
            ended.append("told")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dispatch, "k1")
            tasks.start_soon(dispatch, "k2")

    assert "told" in ended


async def test_a_task_that_outlives_the_handler_may_use_its_key(bus: CommandBus, store: EventStore) -> None:
    answers: list[list[Event]] = []
    over = anyio.Event()

    async def later(command: Withdraw) -> None:
        await over.wait()
        answers.append(await bus.dispatch_idempotent(command, "k1"))

    async with anyio.create_task_group() as tasks:

        @bus.handler
        async def withdraw(command: Withdraw) -> Withdrawn:
            tasks.start_soon(later, command)
            return withdrawn(command)

        await bus.dispatch_idempotent(A5, "k1")
        over.set()

    assert answers == [DONE]


async def test_what_is_dispatched_within_a_key_is_done_once_as_well(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    @bus.handler
    async def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        calls.append(1)
        for account in ("B", "B", "C"):  # twice the same are two
            await context.dispatch(Deposit(account=account, amount=Decimal(1)))
        if len(calls) == 1:
            raise ConnectionError("the process might as well have died")
        return withdrawn(command)

    with pytest.raises(ConnectionError):
        await bus.dispatch_idempotent(A5, "k1")
    assert len(await logged(store)) == 3

    await bus.dispatch_idempotent(A5, "k1")
    assert [recorded.stream for recorded in await logged(store)] == ["account-B", "account-B", "account-C", "account-A"]


async def test_what_is_dispatched_within_a_key_is_done_once_over_the_attempts_of_a_handler(store: EventStore) -> None:
    ids: list[str | None] = []

    async def starter(saga: Any, *, id: str | None = None) -> None:  # noqa: A002
        ids.append(id)

    bus, calls = CommandBus(store, starter=starter), list[int]()

    @bus.handler
    async def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    @bus.handler(attempts=3)
    async def withdraw(command: Withdraw, context: CommandContext) -> list[tuple[str, list[Event], int | None]]:
        calls.append(1)
        await context.dispatch(Deposit(account="B", amount=Decimal(1)))
        await context.start(Ship(account="B"))
        return [("account-A", [withdrawn(command)], 3 - len(calls))]

    assert await bus.dispatch_idempotent(A5, "k1") == DONE
    assert len(calls) == 3
    assert [recorded.stream for recorded in await logged(store)] == ["account-B", "account-A"]
    assert ids == ["commands.withdraw/k1"] * 3


@pytest.mark.parametrize("seed", range(8))
async def test_three_buses_with_failures_and_cancellations_do_each_key_at_most_once(
    store: EventStore, seed: int
) -> None:
    dice = random.Random(seed)
    keys = [f"k{number}" for number in range(5)]
    answers: dict[str, list[list[Event]]] = {key: [] for key in keys}

    async def handle(command: Withdraw) -> Withdrawn:
        await anyio.sleep(dice.random())
        if dice.random() < 0.3:
            raise ConnectionError
        return withdrawn(command)

    async def dispatch(bus: CommandBus, key: str, begins: float, patience: float) -> None:
        await anyio.sleep(begins)
        with anyio.move_on_after(patience), suppress(ConnectionError):
            command = Withdraw(account=key, amount=Decimal(1))
            answers[key].append(await bus.dispatch_idempotent(command, key))

    buses = [CommandBus(store) for _ in range(3)]
    for bus in buses:
        bus.register(Withdraw, handle)
    async with anyio.create_task_group() as tasks:
        for _ in range(60):
            patience = dice.choice((0.2, 0.6, 100.0))
            tasks.start_soon(dispatch, dice.choice(buses), dice.choice(keys), dice.random() * 2, patience)

    done = [recorded.event for recorded in await logged(store)]
    for key in keys:
        expected = Withdrawn(account=key, amount=Decimal(1))
        assert done.count(expected) == (1 if answers[key] else done.count(expected)) <= 1
        assert all(answer == [expected] for answer in answers[key])
    assert any(answers.values())


async def test_a_repetition_passes_through_the_middleware(bus: CommandBus, counter: Counter) -> None:
    passed: list[str | None] = []

    @bus.use
    async def note(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
        passed.append(context.idempotency_key)
        return await call_next(command)

    await bus.dispatch_idempotent(A5, "k1")
    await bus.dispatch_idempotent(A5, "k1")

    assert passed == ["k1", "k1"]
    assert counter.calls == 1


# --- sagas -----------------------------------------------------------------------------------------------------------

SHIPPED: list[str] = []


class Ship(Saga, name="idempotency.ship"):
    account: str

    @step
    async def ship(self) -> None:
        SHIPPED.append(self.account)


async def test_a_repeated_command_joins_its_saga(store: EventStore) -> None:
    SHIPPED.clear()
    async with SagaOrchestrator(store) as orchestrator:
        bus, calls = CommandBus(store, starter=orchestrator.start), list[int]()

        @bus.handler
        async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
            calls.append(1)
            await context.start(Ship(account=command.account))
            if len(calls) == 1:
                raise ConnectionError("between the saga's start and the commit")
            return withdrawn(command)

        with pytest.raises(ConnectionError):
            await bus.dispatch_idempotent(A5, "k1")
        assert await bus.dispatch_idempotent(A5, "k1") == DONE
        await orchestrator.idle()

        metadata = await orchestrator.get_saga("commands.withdraw/k1")
        assert metadata is not None
        assert SHIPPED == ["A"]


# --- the store in trouble --------------------------------------------------------------------------------------------


@contextmanager
def _every_commit(store: EventStore, monkeypatch: pytest.MonkeyPatch, *, written: bool) -> Iterator[None]:
    real = store.backend.commit

    async def commit(commit: Commit) -> Versions:
        if written:
            await real(commit)
        raise StoreUnavailable("The disk is gone.", in_doubt=True)

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "commit", commit)
        yield


@pytest.mark.parametrize("written", [True, False])
async def test_what_stayed_in_doubt_is_settled_by_the_next_call(
    bus: CommandBus, counter: Counter, store: EventStore, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    with _every_commit(store, monkeypatch, written=written):
        with pytest.raises(StoreUnavailable) as trouble:
            await bus.dispatch_idempotent(A5, "k1")
    assert trouble.value.in_doubt

    assert await bus.dispatch_idempotent(A5, "k1") == DONE
    assert len(await logged(store)) == 1
    assert counter.calls == (1 if written else 2)


async def test_one_that_is_cancelled_while_it_commits_is_answered_the_next_time(
    bus: CommandBus, counter: Counter, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing = anyio.Event()
    real = store.backend.commit

    async def slow(commit: Commit) -> Versions:
        committing.set()
        await anyio.sleep(1)
        return await real(commit)

    with monkeypatch.context() as patch:
        patch.setattr(store.backend, "commit", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.dispatch_idempotent, A5, "k1")
            await committing.wait()
            tasks.cancel_scope.cancel()

    assert await bus.dispatch_idempotent(A5, "k1") == DONE
    assert counter.calls == 1
    assert len(await logged(store)) == 1


async def test_a_record_that_cannot_be_read_is_told(bus: CommandBus, counter: Counter, store: EventStore) -> None:
    row = Row(new_id(), "CommandSettled", 1, b'{"newer": true}', 0)
    await store.backend.commit(Commit((Write("$command/commands.withdraw/k1", (row,), 0),)))

    with pytest.raises(StoreFormatError, match="It was written by a newer allframe, or is damaged"):
        await bus.dispatch_idempotent(A5, "k1")
    assert counter.calls == 0


async def test_a_record_whose_events_are_not_there_is_told(
    bus: CommandBus, counter: Counter, store: EventStore
) -> None:
    record = KeyRecord(command_id="x", digest=digest_of(A5), events=2)
    stream = key_stream("commands.withdraw", "k1")
    await store.backend.commit(Commit((record.write(stream, 0, recorded_at=0, metadata=None),)))

    with pytest.raises(
        StoreFormatError, match="2 events belong to the .* at position 1, and the store holds 0 after it"
    ):
        await bus.dispatch_idempotent(A5, "k1")
    assert counter.calls == 0


class Limits: ...


async def test_nothing_is_recorded_where_an_object_is_missing(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw, limits: Inject[Limits]) -> None: ...

    with pytest.raises(Exception, match="nothing provides Limits"):
        await bus.dispatch_idempotent(A5, "k1")
    assert await streams(store) == []


async def test_a_key_that_expired_begins_a_saga_of_its_own(store: EventStore, clock: VirtualClock) -> None:
    SHIPPED.clear()
    async with SagaOrchestrator(store) as orchestrator:
        bus = CommandBus(store, starter=orchestrator.start, keep_keys=60, clock=clock)

        @bus.handler
        async def deposit(command: Deposit, context: CommandContext) -> None:
            await context.start(Ship(account=command.account))

        @bus.handler
        async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
            await context.dispatch(Deposit(account=command.account, amount=command.amount))
            await context.start(Ship(account=command.account))
            return withdrawn(command)

        for account in ("A", "A", "B"):  # the last one would be a conflict with the saga of the first
            await bus.dispatch_idempotent(Withdraw(account=account, amount=Decimal(5)), "k1")
            await bus.dispatch_idempotent(Withdraw(account=account, amount=Decimal(5)), "k1")
            clock.advance(60)
        await orchestrator.idle()

    assert SHIPPED == ["A"] * 4 + ["B"] * 2


async def test_no_key_begins_the_second_saga_of_another(store: EventStore) -> None:
    SHIPPED.clear()
    async with SagaOrchestrator(store) as orchestrator:
        bus = CommandBus(store, starter=orchestrator.start)

        @bus.handler
        async def withdraw(command: Withdraw, context: CommandContext) -> None:
            await context.start(Ship(account="A"))
            await context.start(Ship(account="A"))

        for key in ("k", "k/2", "/2/0/k"):
            await bus.dispatch_idempotent(A5, key)
        await orchestrator.idle()

    assert SHIPPED == ["A"] * 6
