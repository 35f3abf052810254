"""What is wrong with a command or a query is told at once, by field, and quotes no secret."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

import pytest
from pydantic import (
    Base64Bytes,
    BaseModel,
    Field,
    Json,
    PrivateAttr,
    RootModel,
    SecretStr,
    field_validator,
    model_validator,
)

from allframe import (
    Command,
    CommandBus,
    CommandInvalid,
    CommandNotFound,
    EventStore,
    FieldError,
    Query,
    QueryBus,
    QueryInvalid,
    QueryNotFound,
)
from tests.cqrs.world import A5, BalanceOf, Withdraw

pytestmark = pytest.mark.anyio


class Line(BaseModel):
    sku: str
    quantity: int = Field(gt=0)


class Order(Command, name="validation.order"):
    customer: str = Field(alias="for")
    lines: list[Line] = Field(default_factory=list)
    _seen: list[str] = PrivateAttr(default_factory=list)

    @cached_property
    def total(self) -> int:
        return sum(line.quantity for line in self.lines)


class Kind(StrEnum):
    CARD = "card"


class Pay(Command, name="validation.pay"):
    pin: SecretStr = Field(min_length=4)
    kind: Kind = Kind.CARD
    note: str = ""

    @field_validator("pin")
    @classmethod
    def _not_the_usual(cls, pin: SecretStr) -> SecretStr:
        if pin.get_secret_value() == "0000hunter2":
            raise ValueError(f"{pin.get_secret_value()} is everybody's")
        return pin

    @field_validator("note")
    @classmethod
    def _no_shouting(cls, note: str) -> str:
        if note.isupper():
            raise ValueError(f"{note} is shouted")
        return note

    @model_validator(mode="after")
    def _no_pin_in_the_note(self) -> Pay:
        if self.pin.get_secret_value() in self.note:
            raise ValueError(f"{self.pin.get_secret_value()} stands in the note")
        return self


@pytest.fixture
def bus() -> CommandBus:
    return CommandBus(EventStore())


def errors_of(bus: CommandBus, command: Any, payload: Any) -> list[FieldError]:
    with pytest.raises(CommandInvalid) as refusal:
        bus.parse(command, payload)
    assert refusal.value.command is not None
    return list(refusal.value.errors)


def test_a_payload_becomes_the_command(bus: CommandBus) -> None:
    assert bus.parse(Withdraw, {"account": "A", "amount": "5"}) == A5
    assert bus.parse("commands.withdraw", '{"account": "A", "amount": 5}') == A5
    assert bus.parse(Withdraw, b'{"account": "A", "amount": "5"}') == A5
    assert (
        bus.parse(Order, {"for": "ada"})
        == bus.parse(Order, {"customer": "ada"})
        == Order.model_validate({"for": "ada"})
    )


def test_every_error_is_told_with_field_message_and_code(bus: CommandBus) -> None:
    payload = {"for": 7, "lines": [{"sku": "a", "quantity": 1}, {"quantity": 0}]}

    with pytest.raises(CommandInvalid) as refusal:
        bus.parse("validation.order", payload)

    assert refusal.value.errors == (
        FieldError("for", "Input should be a valid string", "string_type"),
        FieldError("lines.1.sku", "Field required", "missing"),
        FieldError("lines.1.quantity", "Input should be greater than 0", "greater_than"),
    )
    assert str(refusal.value) == (
        "Command 'validation.order' has 3 errors:\n"
        "  for: Input should be a valid string [string_type]\n"
        "  lines.1.sku: Field required [missing]\n"
        "  lines.1.quantity: Input should be greater than 0 [greater_than]"
    )


def test_what_is_no_json_is_told(bus: CommandBus) -> None:
    (error,) = errors_of(bus, Withdraw, "{")

    assert (error.field, error.code) == ("", "json_invalid")
    assert str(error).startswith("(all of it): Invalid JSON")


def test_an_unknown_name_is_told(bus: CommandBus) -> None:
    with pytest.raises(CommandNotFound, match=r"no command 'nope'\. The bus has handlers for: none\."):
        bus.parse("nope", {})
    with pytest.raises(QueryNotFound, match=r"no query 'nope'\. The bus has handlers for: none\."):
        QueryBus().parse("nope", {})


def test_no_error_quotes_a_secret(bus: CommandBus) -> None:
    hidden = "The value is refused; what was said of it is not shown, as it may hold secrets"

    assert errors_of(bus, Pay, {"pin": "0000hunter2"}) == [FieldError("pin", hidden, "value_error")]
    assert errors_of(bus, Pay, {"pin": "hunter2", "note": "hunter2"}) == [FieldError("", hidden, "value_error")]
    # What is said of a field that cannot be one is shown.
    assert errors_of(bus, Pay, {"pin": "hunter2", "note": "HEY"}) == [
        FieldError("note", "HEY is shouted", "value_error")
    ]
    (error,) = errors_of(bus, Pay, {"pin": "x"})
    assert "x" not in error.message.replace("**********", "")


def test_a_traceback_does_not_quote_the_payload(bus: CommandBus) -> None:
    with pytest.raises(CommandInvalid) as refusal:
        bus.parse(Pay, {"pin": "0000hunter2"})

    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__
    assert "hunter2" not in repr(refusal.value.__context__)


# --- what exists already ---------------------------------------------------------------------------------------------


async def dispatched(command: Command) -> Command:
    """What the handler was given."""
    given: list[Command] = []
    async with EventStore() as store:
        bus = CommandBus(store)

        async def handle(command: Command) -> None:
            given.append(command)

        bus.register(type(command), handle)
        await bus.dispatch(command)
    return given[0]


async def test_a_command_that_was_made_without_a_check_is_checked() -> None:
    with pytest.raises(CommandInvalid) as refusal:
        await dispatched(Withdraw.model_construct(account=7, amount=Decimal(-1)))

    assert [error.field for error in refusal.value.errors] == ["account", "amount"]
    with pytest.raises(CommandInvalid, match="account: Field required"):
        await dispatched(Withdraw.model_construct(amount=Decimal(1)))


async def test_what_was_changed_within_a_command_is_checked() -> None:
    order = Order.model_validate({"for": "ada", "lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 1}]})
    order.lines[0].quantity = -1
    order.lines[1].quantity = 0

    with pytest.raises(CommandInvalid) as refusal:
        await dispatched(order)

    assert [error.field for error in refusal.value.errors] == ["lines.0.quantity", "lines.1.quantity"]

    empty = Order.model_validate({"for": "ada"})
    empty.lines.append("no line")  # type: ignore[arg-type]
    with pytest.raises(CommandInvalid, match=r"lines\.0: Input should be a valid dictionary"):
        await dispatched(empty)


class Plain(BaseModel):
    sku: str
    quantity: int


class Sizes(RootModel[list[int]]): ...


class Mixed(Command, name="validation.mixed"):
    item: Line | Plain
    sizes: Sizes
    by_name: dict[str, Line]
    secret: SecretStr


async def test_what_is_right_stays_what_it_is() -> None:
    command = Mixed(
        item=Plain(sku="a", quantity=1),
        sizes=Sizes([1, 2]),
        by_name={"x": Line(sku="b", quantity=2)},
        secret=SecretStr("hunter2"),
    )
    order = Order.model_validate({"for": "ada"})
    order._seen.append("x")
    assert order.total == 0

    assert await dispatched(command) == command
    assert type((await dispatched(command)).item) is Plain  # type: ignore[attr-defined]
    assert await dispatched(order) == order
    assert (await dispatched(order)).model_fields_set == {"customer"}


class Encoded(Command, name="validation.encoded"):
    data: Base64Bytes
    numbers: Json[list[int]]
    key: SecretStr = SecretStr("hunter2")


async def test_a_type_that_reads_another_form_than_it_gives_is_no_error(bus: CommandBus) -> None:
    command = bus.parse(Encoded, {"data": b"aGVsbG8=", "numbers": "[1, 2]"})

    assert (command.data, command.numbers) == (b"hello", [1, 2])
    assert await dispatched(command) == command


class InCents(Command, name="validation.in-cents"):
    cents: int

    @field_validator("cents")
    @classmethod
    def _from_euros(cls, euros: int) -> int:
        return euros * 100


async def test_a_validator_is_not_applied_twice() -> None:
    with pytest.raises(CommandInvalid) as refusal:
        await dispatched(InCents(cents=5))

    assert refusal.value.errors == (
        FieldError(
            "cents",
            "The class makes another value of this one. Its validators must leave their own result as it is",
            "not_stable",
        ),
    )


async def test_what_is_equal_becomes_what_the_field_says() -> None:
    command = await dispatched(Withdraw.model_construct(account="A", amount=5))

    assert command == A5
    assert isinstance(command, Withdraw)
    assert type(command.amount) is Decimal


async def test_a_query_is_checked_as_well() -> None:
    queries = QueryBus()

    @queries.handler
    def balance_of(query: BalanceOf) -> Decimal:
        return Decimal(1)

    with pytest.raises(QueryInvalid, match="Query 'commands.balance-of' has 1 error") as refusal:
        await queries.dispatch(BalanceOf.model_construct(account=7))
    assert refusal.value.errors == (FieldError("account", "Input should be a valid string", "string_type"),)
    with pytest.raises(QueryInvalid):
        queries.parse(BalanceOf, {})
    assert queries.parse("commands.balance-of", {"account": "A"}) == BalanceOf(account="A")
    assert refusal.value.query == "commands.balance-of"


class Secretive(Query[int], name="validation.secretive"):
    token: SecretStr


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr(Secretive(token=SecretStr("hunter2")))


@pytest.mark.parametrize("payload", [None, [], [("account", "A")], 5, object()])
async def test_a_body_that_is_no_object_is_invalid_like_any_other(payload: Any) -> None:
    with pytest.raises(CommandInvalid) as invalid:
        CommandBus(EventStore()).parse(Withdraw, payload)

    assert [(error.field, error.code) for error in invalid.value.errors] == [("", "model_type")]
