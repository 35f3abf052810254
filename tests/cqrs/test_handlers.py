"""What cannot be a handler, a command or a query is refused where it is written, with everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from allframe import Command, CommandBus, CommandContext, DefinitionError, EventStore, Inject, Query, QueryBus
from allframe.cqrs.command import COMMANDS
from tests.cqrs.world import BalanceOf, Deposit, Withdraw, Withdrawn, withdrawn

pytestmark = pytest.mark.anyio


class Bank: ...


def refused(make: Callable[[], object]) -> list[str]:
    """The texts of the problems that ``make()`` is refused for."""
    with pytest.raises(DefinitionError) as refusal:
        make()
    assert {problem.rule for problem in refusal.value.problems} == {"AF120"}
    return [problem.text for problem in refusal.value.problems]


@pytest.fixture
def bus() -> CommandBus:
    return CommandBus(EventStore())


# --- handlers of commands --------------------------------------------------------------------------------------------


def test_af120_a_first_parameter_that_does_not_say_which_command(bus: CommandBus) -> None:
    def bare(command) -> None: ...  # type: ignore[no-untyped-def]

    def none() -> None: ...

    def text(command: str) -> None: ...

    def any_command(command: Command) -> None: ...

    assert refused(lambda: bus.handler(bare)) == [
        "Its first parameter 'command' has no annotation, which says the command that it handles."
    ]
    assert refused(lambda: bus.handler(none)) == [
        "It takes no command. Its first parameter must be the command, annotated with its class."
    ]
    assert refused(lambda: bus.handler(text)) == [
        "Its first parameter 'command' is annotated str. Expected a class derived from Command."
    ]
    assert refused(lambda: bus.handler(any_command)) == [
        "Its first parameter 'command' is annotated Command. Expected a class derived from Command."
    ]


def test_af120_everything_that_is_wrong_is_told_at_once_with_its_place(bus: CommandBus) -> None:
    def withdraw(
        command: Withdraw,
        other: Deposit,
        amount: int,
        context: CommandContext,
        again: CommandContext,
        /,
        bank: Inject[Bank],
        note: str = "",
    ) -> None: ...

    with pytest.raises(DefinitionError) as refusal:
        bus.handler(attempts=0)(withdraw)

    assert [problem.text for problem in refusal.value.problems] == [
        "It takes two messages: the parameter 'other' is a Deposit. A handler handles one.",
        "Nothing fills the parameter 'amount'. A handler's parameters are the command, then any of: Inject[...], "
        "CommandContext, or with a default.",
        "It takes its context twice: 'again' is one too many.",
        "attempts is 0. Expected a whole number from 1.",
    ]
    assert {problem.where for problem in refusal.value.problems} == {
        f"{__file__}:{withdraw.__code__.co_firstlineno} ({withdraw.__qualname__})"
    }


def test_af120_a_parameter_that_is_filled_by_its_name_and_positional_only(bus: CommandBus) -> None:
    def withdraw(command: Withdraw, bank: Inject[Bank], /) -> None: ...

    assert refused(lambda: bus.handler(withdraw)) == [
        "The parameter 'bank' is positional only, and is filled by its name. Take the '/' away."
    ]


def test_af120_an_annotation_that_cannot_be_resolved(bus: CommandBus) -> None:
    def withdraw(command: Withdrawal) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    (text,) = refused(lambda: bus.handler(withdraw))

    assert text == (
        "Its annotations cannot be resolved (NameError: name 'Withdrawal' is not defined). Import or define what they name."
    )


def test_af120_two_handlers_of_a_command_with_both_places(bus: CommandBus) -> None:
    def first(command: Withdraw) -> None: ...

    def second(command: Withdraw) -> None: ...

    bus.handler(first)
    (text,) = refused(lambda: bus.handler(second))

    assert text == (
        f"It has two handlers: {__file__}:{first.__code__.co_firstlineno} ({first.__qualname__}) and "
        f"{__file__}:{second.__code__.co_firstlineno} ({second.__qualname__}). One command or query has one handler: register "
        "only one of them."
    )
    assert bus.handlers_count() == 1


def test_af120_a_handler_that_does_not_take_what_it_is_registered_for(bus: CommandBus) -> None:
    def deposit(command: Deposit) -> None: ...

    assert refused(lambda: bus.register(Withdraw, deposit)) == [  # type: ignore[arg-type]
        "It is registered for Withdraw, and its parameter 'command' takes a Deposit."
    ]


def test_af120_a_class_or_a_value_that_is_no_handler(bus: CommandBus) -> None:
    class Cashier:
        def handle(self, command: Withdraw) -> None: ...

    assert refused(lambda: bus.register(Withdraw, Cashier)) == [  # type: ignore[arg-type]
        "It is a class. Hand in an object of it, so that it is known how it is made."
    ]
    assert refused(lambda: bus.register(Withdraw, 7)) == [  # type: ignore[arg-type]
        "It is no handler of command classes. Expected a function, or an object with a method handle() or __call__()."
    ]


async def test_af120_accepts_a_function_that_was_given_some_of_its_parameters_before() -> None:
    async with EventStore() as store:
        bus = CommandBus(store)

        async def withdraw(command: Withdraw, *, factor: int) -> Withdrawn:
            return Withdrawn(account=command.account, amount=command.amount * factor)

        bus.register(Withdraw, partial(withdraw, factor=2))

        assert await bus.dispatch(Withdraw(account="A", amount=Decimal(2))) == [
            Withdrawn(account="A", amount=Decimal(4))
        ]


async def test_af120_accepts_a_registered_function_without_an_annotation_of_its_command() -> None:
    async with EventStore() as store:
        bus = CommandBus(store)

        def handle(command):  # type: ignore[no-untyped-def]
            return withdrawn(command)

        bus.register(Withdraw, handle)

        assert len(await bus.dispatch(Withdraw(account="A", amount=Decimal(2)))) == 1


def test_af120_accepts_a_function_and_gives_it_back(bus: CommandBus) -> None:
    def withdraw(command: Withdraw) -> None: ...

    assert bus.handler(withdraw) is withdraw
    assert CommandBus(EventStore()).handler(attempts=2)(withdraw) is withdraw


# --- commands and queries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "$x", "a/b", "a\n", "x" * 101, 7])
def test_af120_a_name_of_a_command_that_cannot_be_one(name: Any) -> None:
    def declare() -> None:
        class Bad(Command, name=name): ...

    assert refused(declare) == [
        f"Its name is {name!r}. Expected 1 to 100 printable characters without '/' and not beginning with '$'."
    ]


def test_af120_a_class_keyword_that_is_unknown() -> None:
    def declare() -> None:
        class Bad(Query[int], version=2): ...

    assert refused(declare) == ["It has no class keyword 'version'. It has: name."]


def test_af120_two_commands_of_one_name_when_one_gets_a_handler(bus: CommandBus) -> None:
    class First(Command, name="handlers.twice"): ...

    class Second(Command, name="handlers.twice"): ...

    def handle(command: First) -> None: ...

    with pytest.raises(DefinitionError, match="The command name 'handlers.twice', version 1, has 1 problem"):
        bus.handler(handle)
    assert Second.message_name == First.message_name


def test_af120_accepts_a_command_without_a_name_which_has_its_classs() -> None:
    class Nameless(Command): ...

    class Child(Nameless): ...

    assert (Nameless.message_name, Child.message_name) == ("Nameless", "Child")
    assert COMMANDS.find("Nameless", 1) is Nameless


@pytest.mark.filterwarnings("ignore:Field name")
def test_af120_a_field_that_hides_the_name() -> None:
    def declare() -> None:
        class Bad(Command):
            message_name: str  # type: ignore[misc]

    assert refused(declare) == ["The field 'message_name' hides what every message has. Give the field another name."]


# --- handlers of queries ---------------------------------------------------------------------------------------------


def test_af120_a_query_handler_that_does_not_return_what_its_query_says() -> None:
    queries = QueryBus()

    def text(query: BalanceOf) -> str: ...  # type: ignore[empty-body]

    def bare(query: BalanceOf): ...  # type: ignore[no-untyped-def]

    assert refused(lambda: queries.handler(text)) == [
        "It answers BalanceOf, whose result is Decimal, and is annotated to return str. Annotate what it returns: -> Decimal."
    ]
    assert refused(lambda: queries.handler(bare)) == [
        "It answers BalanceOf, whose result is Decimal, and is annotated to return nothing. Annotate what it returns: -> "
        "Decimal."
    ]


class Maybe(Query[Decimal | None], name="handlers.maybe"): ...


class Many(Query[list[str]], name="handlers.many"): ...


class Whatever(Query[Any], name="handlers.whatever"): ...


class Precise(Decimal): ...


@pytest.mark.parametrize(
    ("query", "returns", "fits"),
    [
        (BalanceOf, Precise, True),
        (BalanceOf, Any, True),
        (BalanceOf, Decimal | None, False),
        (Maybe, Decimal, True),
        (Maybe, None, True),
        (Maybe, Precise | None, True),
        (Maybe, int, False),
        (Many, list[str], True),
        (Many, list[int], False),
        (Many, list, False),
        (Whatever, dict[str, int], True),
    ],
)
def test_a_narrower_result_is_fine_and_a_wider_one_is_not(query: type[Query[Any]], returns: Any, fits: bool) -> None:
    def handle(query: Any) -> Any: ...

    handle.__annotations__ = {"query": query, "return": returns}

    if fits:
        QueryBus().handler(handle)
    else:
        assert "whose result is" in refused(lambda: QueryBus().handler(handle))[0]


def test_af120_a_query_handler_that_wants_a_command_context() -> None:
    def handle(query: BalanceOf, context: CommandContext) -> Decimal: ...  # type: ignore[empty-body]

    assert refused(lambda: QueryBus().handler(handle)) == [
        "Nothing fills the parameter 'context'. A handler's parameters are the query, then any of: Inject[...], or with a "
        "default."
    ]
