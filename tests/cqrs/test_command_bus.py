"""A command goes to its one handler, and what that decides goes into the store in one commit."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import dishka
import pytest
from anyio import from_thread

from allframe import (
    Command,
    CommandBus,
    CommandContext,
    CommandNotFound,
    CommandRejected,
    ConcurrencyError,
    DependencyMissing,
    Event,
    EventStore,
    Inject,
    PayloadError,
    StoreUnavailable,
    correlated,
)
from allframe.cqrs.command_bus import Next
from allframe.cqrs.context import short
from allframe.events.backend import Commit, Versions
from tests.cqrs.world import A5, Deposit, Deposited, Homeless, Withdraw, Withdrawn, logged, streams, withdrawn

pytestmark = pytest.mark.anyio


class Limits:
    def __init__(self, most: int = 100) -> None:
        self.most = most


# --- what a handler returns is appended ------------------------------------------------------------------------------


async def test_the_returned_event_is_appended_to_its_stream(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        return withdrawn(command)

    events = await bus.dispatch(A5)

    assert events == [Withdrawn(account="A", amount=Decimal(5))]
    assert await store.get_events("account-A") == events


async def test_a_handler_may_decide_on_nothing(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> None: ...

    assert await bus.dispatch(A5) == []
    assert await logged(store, system=True) == []


async def test_events_for_several_streams_are_one_commit_in_their_order(bus: CommandBus, store: EventStore) -> None:
    decided = [
        Withdrawn(account="A", amount=Decimal(1)),
        Deposited(account="B", amount=Decimal(1)),
        Withdrawn(account="A", amount=Decimal(2)),
    ]

    @bus.handler
    async def withdraw(command: Withdraw) -> list[Event]:
        return list(decided)

    assert await bus.dispatch(A5) == decided
    assert [recorded.event for recorded in await logged(store)] == decided
    assert [version async for version in _revisions(store, "account-A")] == [1, 2]


async def test_a_handler_may_name_streams_and_the_version_that_they_must_have(
    bus: CommandBus, store: EventStore
) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        return [("journal", [Homeless(), Homeless(what="y")], 0), ("other", [Homeless()], None)]

    await bus.dispatch(A5)
    with pytest.raises(ConcurrencyError, match="'journal' is at version 2, not at the expected version 0"):
        await bus.dispatch(A5)

    assert await streams(store) == [
        ("journal", "commands.homeless"),
        ("journal", "commands.homeless"),
        ("other", "commands.homeless"),
    ]


@pytest.mark.parametrize(
    ("decided", "text"),
    [
        (
            [Withdrawn(account="A", amount=Decimal(1)), Homeless()],
            "Homeless goes to no stream: name one, or give the class",
        ),
        ("done", "returned 'done', and nothing was appended. Expected an event, a list of events, None, or a list of"),
        ([("journal", [], None)], "Expected each item to be an event, or each to be"),
        ([("journal", [Homeless()], -1)], "Expected each item to be an event, or each to be"),
        ([("journal", [Homeless()])], "Expected each item to be an event, or each to be"),
        ([Homeless(), "x"], "Expected each item to be an event, or each to be"),
        ([("$saga/x", [Homeless()], None)], r"appends to the stream '\$saga/x'.*begin with '\$' are allframe's own"),
    ],
)
async def test_what_cannot_be_appended_is_refused_before_anything_is(
    bus: CommandBus, store: EventStore, decided: Any, text: str
) -> None:
    async def withdraw(command: Withdraw) -> Any:
        return decided

    bus.register(Withdraw, withdraw)

    with pytest.raises(PayloadError, match=text):
        await bus.dispatch(A5)
    assert await logged(store, system=True) == []


async def test_events_say_which_command_they_came_of(bus: CommandBus, store: EventStore) -> None:
    seen: list[CommandContext] = []

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        seen.append(context)
        return withdrawn(command)

    with correlated("request-1"):
        await bus.dispatch(A5)
    await bus.dispatch(A5)

    first, second = await logged(store)
    assert first.metadata == {
        "correlation_id": "request-1",
        "causation_id": seen[0].command_id,
        "command": "commands.withdraw",
        "command_id": seen[0].command_id,
    }
    assert seen[0].correlation_id == "request-1"
    assert second.metadata["correlation_id"] == seen[1].correlation_id == seen[1].command_id
    assert seen[0].command_id != seen[1].command_id
    assert seen[0].idempotency_key is None


# --- handlers --------------------------------------------------------------------------------------------------------


async def test_a_plain_function_runs_in_a_thread(bus: CommandBus, store: EventStore) -> None:
    threads: list[threading.Thread] = []

    @bus.handler
    def withdraw(command: Withdraw) -> Withdrawn:
        threads.append(threading.current_thread())
        return withdrawn(command)

    assert len(await bus.dispatch(A5)) == 1
    assert threads != [threading.current_thread()]


async def test_a_clock_of_tests_does_not_jump_while_a_plain_function_runs(bus: CommandBus) -> None:
    @bus.handler
    def withdraw(command: Withdraw) -> None:
        threading.Event().wait(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 1000)
        begun = anyio.current_time()
        await bus.dispatch(A5)
        took = anyio.current_time() - begun
        tasks.cancel_scope.cancel()

    assert took < 500


async def test_what_a_plain_function_raises_comes_out(bus: CommandBus) -> None:
    def withdraw(command: Withdraw) -> None:
        raise LookupError("no such account")

    bus.register(Withdraw, withdraw)

    with pytest.raises(LookupError, match="no such account"):
        await bus.dispatch(A5)


async def test_a_plain_function_may_dispatch_from_its_thread(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        from_thread.run(context.dispatch, Deposit(account="B", amount=command.amount))
        return withdrawn(command)

    @bus.handler
    def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    with correlated("request-1"):
        await bus.dispatch(A5)

    first, second = await logged(store)
    assert (first.stream, second.stream) == ("account-B", "account-A")
    assert first.metadata["correlation_id"] == second.metadata["correlation_id"] == "request-1"


async def test_nested_plain_functions_do_not_wait_for_each_others_threads(
    bus: CommandBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allframe.cqrs.calling._shared_limiter", _one_limiter())

    @bus.handler
    def withdraw(command: Withdraw, context: CommandContext) -> None:
        from_thread.run(context.dispatch, Deposit(account="B", amount=command.amount))

    @bus.handler
    def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    with anyio.move_on_after(5) as limit:
        await bus.dispatch(A5)

    assert not limit.cancelled_caught


class Cashier:
    async def handle(self, command: Withdraw, limits: Inject[Limits]) -> Withdrawn:
        assert limits.most == 7
        return withdrawn(command)


class CallableCashier:
    def __call__(self, command: Withdraw) -> Withdrawn:
        return withdrawn(command)


@pytest.mark.parametrize("cashier", [Cashier(), Cashier().handle, CallableCashier()])
async def test_an_object_may_be_a_handler(store: EventStore, cashier: Any) -> None:
    bus = CommandBus(store, provide={Limits: Limits(7)})

    bus.register(Withdraw, cashier)

    assert await bus.dispatch(A5) == [Withdrawn(account="A", amount=Decimal(5))]
    assert bus.handlers_count() == 1


async def test_a_handler_may_be_registered_while_another_runs(bus: CommandBus, store: EventStore) -> None:
    async def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        bus.register(Deposit, deposit)
        await context.dispatch(Deposit(account="B", amount=Decimal(1)))
        return withdrawn(command)

    with anyio.fail_after(5):
        await bus.dispatch(A5)

    assert [stream for stream, _ in await streams(store)] == ["account-B", "account-A"]


async def test_a_command_without_a_handler_says_what_to_do(bus: CommandBus) -> None:
    @bus.handler
    async def deposit(command: Deposit) -> None: ...

    with pytest.raises(CommandNotFound) as refusal:
        await bus.dispatch(A5)

    assert str(refusal.value) == (
        "The bus has no handler for Withdraw, the command 'commands.withdraw'. It has handlers for: 'commands.deposit'. "
        "Register one: @bus.handler, or bus.register(Withdraw, ...)."
    )
    assert refusal.value.command == "commands.withdraw"


async def test_what_is_no_command_is_refused(bus: CommandBus) -> None:
    with pytest.raises(TypeError, match="Expected an instance of a Command class, found an object of str"):
        await bus.dispatch("withdraw")  # type: ignore[arg-type]


# --- rejections ------------------------------------------------------------------------------------------------------


class TooPoor(CommandRejected):
    """There is not enough."""


async def test_a_handler_rejects_with_a_class_of_its_own_and_nothing_is_appended(
    bus: CommandBus, store: EventStore
) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        raise TooPoor("There are only 3.", reason="balance", details={"balance": 3})

    with pytest.raises(TooPoor, match=r"There are only 3\.") as rejection:
        await bus.dispatch(A5)

    assert (rejection.value.reason, rejection.value.details) == ("balance", {"balance": 3})
    assert (rejection.value.command, rejection.value.code) == ("commands.withdraw", "AF503")
    assert await logged(store, system=True) == []


# --- what is injected ------------------------------------------------------------------------------------------------


async def test_a_missing_object_is_told_before_the_handler_runs(bus: CommandBus) -> None:
    called: list[Command] = []

    @bus.handler
    async def withdraw(command: Withdraw, limits: Inject[Limits]) -> None:
        called.append(command)

    with pytest.raises(DependencyMissing) as refusal:
        await bus.dispatch(A5)

    assert "cannot be called: nothing provides Limits (parameter 'limits')." in str(refusal.value)
    assert "Hand it to the bus: CommandBus(..., provide={...}). It has nothing." in str(refusal.value)
    assert called == []


@asynccontextmanager
async def _container(*providers: dishka.Provider) -> AsyncIterator[Any]:
    container = dishka.make_async_container(*providers, lock_factory=anyio.Lock)
    yield container
    await container.close()


async def test_what_a_container_makes_closes_after_the_commit_and_knows_the_command(store: EventStore) -> None:
    told: list[tuple[str, int]] = []

    async def session(context: CommandContext) -> AsyncIterator[Limits]:
        told.append((context.command_id, len(await logged(store))))
        yield Limits(3)
        told.append((context.command_id, len(await logged(store))))

    session.__annotations__ = {"context": CommandContext, "return": AsyncIterator[Limits]}
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.from_context(CommandContext, scope=dishka.Scope.REQUEST)
    provider.provide(session)

    async with _container(provider) as container:
        bus = CommandBus(store, container=container)

        @bus.handler
        async def withdraw(command: Withdraw, limits: Inject[Limits], context: CommandContext) -> Withdrawn:
            told.append((context.command_id, limits.most))
            return withdrawn(command)

        await bus.dispatch(A5)

    ((first, before), (second, most), (third, after)) = told
    assert first == second == third
    assert (before, most, after) == (0, 3, 1)


async def test_factories_are_told_how_it_ended(store: EventStore) -> None:
    ended: list[BaseException | None] = []

    async def session() -> AsyncIterator[Limits]:
        ended.append((yield Limits()))

    session.__annotations__ = {"return": AsyncIterator[Limits]}
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(session)

    async with _container(provider) as container:
        bus = CommandBus(store, container=container)

        @bus.handler
        async def withdraw(command: Withdraw, limits: Inject[Limits]) -> None:
            raise TooPoor("no")

        with pytest.raises(TooPoor):
            await bus.dispatch(A5)

    assert [type(error) for error in ended] == [TooPoor]


# --- attempts --------------------------------------------------------------------------------------------------------


async def test_a_handler_is_called_again_when_its_stream_has_moved_on(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    @bus.handler(attempts=3)
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        version = len(await store.get_events("account-A"))
        calls.append(version)
        if len(calls) < 3:
            await store.append("account-A", [Deposited(account="A", amount=Decimal(1))])
        return [("account-A", [withdrawn(command)], version)]

    await bus.dispatch(A5)

    assert calls == [0, 1, 2]
    assert [kind for _, kind in await streams(store)] == [
        "commands.deposited",
        "commands.deposited",
        "commands.withdrawn",
    ]


async def test_it_is_not_called_more_often_than_said(bus: CommandBus, store: EventStore) -> None:
    calls: list[int] = []

    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        calls.append(1)
        return [("account-A", [withdrawn(command)], 9)]

    bus.register(Withdraw, withdraw, attempts=2)

    with pytest.raises(ConcurrencyError, match="'account-A' is at version 0, not at the expected version 9"):
        await bus.dispatch(A5)
    assert len(calls) == 2


async def test_a_conflict_that_is_not_of_the_buss_own_commit_is_not_repeated(
    bus: CommandBus, store: EventStore
) -> None:
    calls: list[int] = []

    @bus.handler(attempts=3)
    async def withdraw(command: Withdraw) -> None:
        calls.append(1)
        await store.append("x", [Homeless()], expected_version=7)

    with pytest.raises(ConcurrencyError):
        await bus.dispatch(A5)
    assert len(calls) == 1


# --- middleware ------------------------------------------------------------------------------------------------------


async def test_middleware_is_around_every_command_the_first_outermost(bus: CommandBus, store: EventStore) -> None:
    told: list[str] = []

    def telling(name: str) -> Any:
        async def middleware(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
            told.append(f"{name} {command.message_name}")
            events = await call_next(command)
            told.append(f"{name} after {len(events)}, {len(await logged(store))} in the store")
            return events

        return middleware

    bus.use(telling("outer"))
    bus.use(telling("inner"))

    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        told.append("handler")
        return withdrawn(command)

    await bus.dispatch(A5)

    assert told == [
        "outer commands.withdraw",
        "inner commands.withdraw",
        "handler",
        "inner after 1, 1 in the store",
        "outer after 1, 1 in the store",
    ]


async def test_middleware_sees_rejections_and_errors_and_may_answer_itself(bus: CommandBus, store: EventStore) -> None:
    seen: list[BaseException] = []

    @bus.use
    async def calm(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
        try:
            return await call_next(command)
        except (CommandRejected, LookupError) as error:
            seen.append(error)
            return []

    @bus.handler
    async def withdraw(command: Withdraw) -> None:
        raise TooPoor("no")

    @bus.handler
    async def deposit(command: Deposit) -> None:
        raise LookupError

    assert await bus.dispatch(A5) == []
    assert await bus.dispatch(Deposit(account="A", amount=Decimal(1))) == []
    assert [type(error) for error in seen] == [TooPoor, LookupError]


async def test_middleware_may_hand_on_another_command_of_the_same_class_only(
    bus: CommandBus, store: EventStore
) -> None:
    @bus.use
    async def double(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
        if isinstance(command, Withdraw):
            return await call_next(command.model_copy(update={"amount": command.amount * 2}))
        return await call_next(A5)

    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        return withdrawn(command)

    @bus.handler
    async def deposit(command: Deposit) -> None: ...

    assert await bus.dispatch(A5) == [Withdrawn(account="A", amount=Decimal(10))]
    with pytest.raises(TypeError, match="handed on an object of Withdraw in place of a Deposit"):
        await bus.dispatch(Deposit(account="A", amount=Decimal(1)))


async def test_nested_commands_pass_through_the_middleware_and_keep_the_correlation(
    bus: CommandBus, store: EventStore
) -> None:
    passed: list[str] = []

    @bus.use
    async def note(command: Command, context: CommandContext, call_next: Next) -> list[Event]:
        passed.append(command.message_name)
        return await call_next(command)

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> Withdrawn:
        nested = await context.dispatch(Deposit(account="B", amount=command.amount))
        assert len(nested) == 1
        return withdrawn(command)

    @bus.handler
    async def deposit(command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount=command.amount)

    await bus.dispatch(A5)

    first, second = await logged(store)
    assert passed == ["commands.withdraw", "commands.deposit"]
    assert [first.metadata["command"], second.metadata["command"]] == ["commands.deposit", "commands.withdraw"]
    assert first.metadata["correlation_id"] == second.metadata["correlation_id"] == second.metadata["command_id"]
    assert first.metadata["command_id"] != second.metadata["command_id"]


# --- sagas -----------------------------------------------------------------------------------------------------------


async def test_without_a_starter_no_saga_can_be_started(bus: CommandBus) -> None:
    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> None:
        await context.start(A5)

    with pytest.raises(DependencyMissing, match=r"sagas with: CommandBus\(\.\.\., starter=orchestrator\.start\)"):
        await bus.dispatch(A5)


async def test_the_id_of_a_saga_is_the_commands_unless_one_is_given(store: EventStore) -> None:
    ids: list[str | None] = []

    async def starter(saga: Any, *, id: str | None = None) -> None:  # noqa: A002
        ids.append(id)

    bus = CommandBus(store, starter=starter)
    contexts: list[CommandContext] = []

    @bus.handler
    async def withdraw(command: Withdraw, context: CommandContext) -> None:
        contexts.append(context)
        await context.start(A5)
        await context.start(A5)
        await context.start(A5, id="mine")
        await context.start(object())  # it has an id of its own

    await bus.dispatch(A5)
    (context,) = contexts

    assert ids == [context.command_id, f"{context.command_id}/2", "mine", None]


def test_a_long_id_is_cut_and_stays_its_own() -> None:
    long, other = "x" * 201, "x" * 200 + "y"

    assert short("x" * 200) == "x" * 200
    assert len(short(long)) <= 200
    assert short(long) == short("x" * 201)
    assert short(long) != short(other)


# --- the store in trouble --------------------------------------------------------------------------------------------


async def test_a_commit_in_doubt_is_settled_by_writing_it_again(
    bus: CommandBus, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> list[tuple[str, list[Event], int | None]]:
        return [("account-A", [withdrawn(command)], 0)]

    _doubtful(store, monkeypatch, times=2, before=False)

    assert await bus.dispatch(A5) == [recorded.event for recorded in await logged(store)]
    assert len(await logged(store)) == 1


async def test_a_commit_that_stays_in_doubt_says_so(
    bus: CommandBus, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        return withdrawn(command)

    _doubtful(store, monkeypatch, times=99, before=True)

    with pytest.raises(StoreUnavailable) as trouble:
        await bus.dispatch(A5)
    assert trouble.value.in_doubt


async def test_a_cancelled_commit_is_not_torn(
    bus: CommandBus, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing = anyio.Event()
    real = store.backend.commit

    async def slow(commit: Commit) -> Versions:
        committing.set()
        await anyio.sleep(1)
        return await real(commit)

    @bus.handler
    async def withdraw(command: Withdraw) -> Withdrawn:
        return withdrawn(command)

    monkeypatch.setattr(store.backend, "commit", slow)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bus.dispatch, A5)
        await committing.wait()
        tasks.cancel_scope.cancel()

    assert len(await logged(store)) == 1


# --- helpers ---------------------------------------------------------------------------------------------------------


async def _revisions(store: EventStore, stream: str) -> AsyncIterator[int]:
    async for recorded in store.read(stream):
        yield recorded.revision


def _one_limiter() -> Any:
    found: list[anyio.CapacityLimiter] = []

    def limiter() -> anyio.CapacityLimiter:
        if not found:
            found.append(anyio.CapacityLimiter(1))
        return found[0]

    return limiter


def _doubtful(store: EventStore, monkeypatch: pytest.MonkeyPatch, *, times: int, before: bool) -> None:
    """Have so many commits end in doubt: ``before`` or after they were made."""
    real = store.backend.commit
    left = [times]

    async def commit(commit: Commit) -> Versions:
        if left[0] == 0:
            return await real(commit)
        left[0] -= 1
        if not before and left[0] == 0:
            await real(commit)
        raise StoreUnavailable("The disk is gone.", in_doubt=True)

    monkeypatch.setattr(store.backend, "commit", commit)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"store": "sqlite:///bank.db"}, "CommandBus takes an EventStore, found 'sqlite:///bank.db'. Open one: "),
        (
            {"starter": "orchestrator"},
            "starter= takes what starts a saga, such as orchestrator.start, found 'orchestrator'.",
        ),
    ],
)
def test_a_bus_says_at_once_what_it_takes(given: Any, says: str) -> None:
    with pytest.raises(TypeError, match=re.escape(says)):
        CommandBus(**{"store": EventStore(), **given})


async def test_what_is_no_middleware_is_refused(bus: CommandBus) -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match=r"Expected async def middleware\(command, context, call_next\), found None\."):
        bus.use(nothing)


async def test_a_list_with_something_else_in_it_says_what(bus: CommandBus, store: EventStore) -> None:
    @bus.handler
    async def withdraw(command: Withdraw) -> Any:
        return [("account-A", [], None)]

    with pytest.raises(PayloadError) as refusal:
        await bus.dispatch(A5)

    assert str(refusal.value).endswith(
        "returned a list with ('account-A', [], None) in it, and nothing was appended. Expected each item to be an event, or "
        'each to be ("stream", [one event or more], expected_version), the version a whole number from 0 or None.'
    )
