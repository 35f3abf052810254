"""`Aggregate`: what its class may say, checked when it is made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest
from pydantic import Field, PrivateAttr, SecretStr, ValidationError

from allframe import Aggregate, DefinitionError, Event, EventStore, Repository
from allframe.cqrs.aggregate import stream_named
from allframe.errors import PayloadError
from tests.cqrs.account import Account, Deposited, Opened
from tests.saga.refusal import problems, refused

T = TypeVar("T")


class BankAccount(Aggregate):
    balance: Decimal = Decimal(0)

    def apply(self, event: Event) -> None: ...


class Order(Aggregate, name="shop.order", version=3, stream="shop/{id}/order"):
    lines: list[str] = Field(default_factory=list)
    _seen: int = PrivateAttr(default=0)

    def apply(self, event: Event) -> None: ...


# --- what it is ------------------------------------------------------------------------------------------------------


def test_without_events_it_has_its_id_and_its_defaults() -> None:
    account = BankAccount(id="A")

    assert (account.id, account.version, account.balance) == ("A", 0, Decimal(0))
    assert BankAccount(id="A", version=0) == account


def test_name_version_and_stream_come_from_the_class() -> None:
    assert (BankAccount.snapshot_name, BankAccount.snapshot_version) == ("BankAccount", 1)
    assert (Order.snapshot_name, Order.snapshot_version) == ("shop.order", 3)
    assert stream_named(BankAccount, "A") == "bank_account-A"
    assert stream_named(Order, "7") == "shop/7/order"


def test_af122_accepts_a_child_that_has_a_name_of_its_own() -> None:
    class Gift(Order):
        pass

    assert (Gift.snapshot_name, Gift.snapshot_version) == ("Gift", 1)
    assert stream_named(Gift, "7") == "gift-7"


def test_events_are_applied_without_any_store() -> None:
    account = Account(id="A")

    account.apply(Opened(owner="ada"))
    account.apply(Deposited(amount=5))

    assert (account.owner, account.balance, account.amounts) == ("ada", 5, [5])
    assert Account(id="A").amounts == []


@pytest.mark.parametrize(("field", "value"), [("id", "B"), ("version", 1)])
def test_nobody_changes_its_id_or_version(field: str, value: Any) -> None:
    account = Account(id="A")

    with pytest.raises(ValidationError, match="Field is frozen"):
        setattr(account, field, value)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        Account(id="A", version=-1)


def test_a_secret_in_it_is_not_shown() -> None:
    class Vault(Aggregate, name="test_aggregate.vault"):
        code: str = Field(default="", json_schema_extra={"secret": True})
        key: SecretStr = SecretStr("")

        def apply(self, event: Event) -> None: ...

    assert "4711" not in repr(Vault(id="A", code="4711", key=SecretStr("4711")))
    with pytest.raises(ValidationError) as refusal:
        Vault(id="A", code=4711)  # type: ignore[arg-type]
    assert "4711" not in str(refusal.value)


# --- what its class may not say --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "$account", "a\nb", 5])
def test_af122_a_name_that_makes_no_sense(name: Any) -> None:
    def declare() -> None:
        class Bad(Aggregate, name=name):
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122") == (
        f"Its name is {name!r}. Expected printable text that does not begin with '$', which is allframe's own."
    )


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.0])
def test_af122_a_version_that_makes_no_sense(version: Any) -> None:
    def declare() -> None:
        class Bad(Aggregate, version=version):
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122") == f"Its version is {version!r}. Expected a whole number from 1."


@pytest.mark.parametrize(
    "stream",
    ["account", "", "account-{name}", "$account-{id}", "{id:.3}", "{id!r}", "{id.real}", "{}", "{{id}}", "a\0{id}", 5],
)
def test_af122_a_stream_that_does_not_tell_ids_apart(stream: Any) -> None:
    def declare() -> None:
        class Bad(Aggregate, stream=stream):
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122") == (
        f"Its stream is {stream!r}. Expected a text with {{id}} in it, such as 'account-{{id}}', that does not begin "
        "with '$'."
    )


def test_af122_a_stream_that_is_no_template() -> None:
    def declare() -> None:
        class Bad(Aggregate, stream="account-{id"):
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122").startswith("Its stream is 'account-{id', which is no template: ")


def test_af122_another_class_keyword() -> None:
    def declare() -> None:
        class Bad(Aggregate, snapshot_every=5):  # type: ignore[call-arg]
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122") == "It has no class keyword 'snapshot_every'. It has: name, version, stream."


def test_af122_accepts_a_keyword_of_pydantics() -> None:
    class Strict(Aggregate, name="test_aggregate.strict", extra="forbid"):
        def apply(self, event: Event) -> None: ...

    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Strict(id="A", other=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("stream", ["account-{id}", "{id}", "shop/{id}/order", "{id}-{id}", None])
def test_af122_accepts_a_stream_that_is_another_for_each_id(stream: str | None) -> None:
    class Good(Aggregate, name="test_aggregate.streamed", stream=stream):
        def apply(self, event: Event) -> None: ...

    assert stream_named(Good, "A") != stream_named(Good, "B")


def test_af122_every_field_without_a_default() -> None:
    def declare() -> None:
        class Bad(Aggregate):
            owner: str
            balance: int = 0
            limit: int

            def apply(self, event: Event) -> None: ...

    assert problems(declare) == [
        (
            "AF122",
            f"The field {name!r} has no default, and an aggregate without events has only its id. Give it a default.",
        )
        for name in ("owner", "limit")
    ]


@pytest.mark.parametrize("name", ["id", "version", "snapshot_name", "snapshot_version"])
@pytest.mark.filterwarnings("ignore:Field name")
def test_af122_a_field_that_hides_what_every_aggregate_has(name: str) -> None:
    def declare() -> None:
        type(Aggregate)("Bad", (Aggregate,), {"__module__": __name__, "__annotations__": {name: float}, name: 1.0})

    assert refused(declare, "AF122") == (
        f"The field {name!r} hides Aggregate.{name}, which every aggregate has. Give the field another name."
    )


def test_af122_a_frozen_one() -> None:
    def declare() -> None:
        class Bad(Aggregate, frozen=True):
            def apply(self, event: Event) -> None: ...

    assert refused(declare, "AF122") == "It is frozen, and apply changes its fields. Leave frozen=True out."


def test_af122_an_apply_that_would_only_be_waited_for() -> None:
    def later() -> None:
        class Bad(Aggregate):
            async def apply(self, event: Event) -> None: ...  # type: ignore[override]

    def bit_by_bit() -> None:
        class Bad(Aggregate):
            def apply(self, event: Event) -> Any:
                yield event

    for declare in (later, bit_by_bit):
        assert refused(declare, "AF122") == (
            "Its apply is async or a generator. Expected a plain function: it changes fields, and waits for nothing."
        )


def test_af122_an_apply_that_takes_something_else() -> None:
    def declare() -> None:
        class Bad(Aggregate):
            def apply(self) -> None: ...  # type: ignore[override]

    assert refused(declare, "AF122") == "Its apply takes (self) -> 'None'. Expected (self, event)."


def test_a_refusal_says_where_the_class_stands() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Aggregate, version=0):
            pass

    (problem,) = refusal.value.problems
    assert problem.where.startswith(f"{__file__}:")
    assert str(refusal.value).startswith(
        "Aggregate test_a_refusal_says_where_the_class_stands.<locals>.Bad has 1 problem"
    )


# --- what a repository needs of it -----------------------------------------------------------------------------------


def test_af122_a_base_without_an_apply_has_no_repository() -> None:
    class Base(Aggregate, name="test_aggregate.base"):
        pass

    class Derived(Base, name="test_aggregate.derived"):
        def apply(self, event: Event) -> None: ...

    Repository(EventStore(), Derived)
    assert refused(lambda: Repository(EventStore(), Base), "AF122") == (
        "It has no apply. Write one, which changes the fields as an event says: apply(self, event)."
    )
    with pytest.raises(NotImplementedError, match=r"Base has no apply\(self, event\)"):
        Base(id="A").apply(Opened(owner="ada"))


def test_af122_two_classes_of_one_name_have_no_repository() -> None:
    class One(Aggregate, name="test_aggregate.same"):
        def apply(self, event: Event) -> None: ...

    class Two(Aggregate, name="test_aggregate.same"):
        def apply(self, event: Event) -> None: ...

    text = refused(lambda: Repository(EventStore(), One), "AF122")
    assert text.startswith("Two classes are stored under it: ")
    assert 'class Two(..., name="...")' in text


def test_af122_a_parametrised_one_without_a_class_of_its_own() -> None:
    class Cart(Aggregate, Generic[T], name="test_aggregate.cart"):
        items: list[T] = []

        def apply(self, event: Event) -> None: ...

    class Texts(Cart[str], name="test_aggregate.texts"):
        pass

    Repository(EventStore(), Texts)
    text = refused(lambda: Repository(EventStore(), Cart[str]), "AF122")
    assert text.startswith("It has no name that its snapshots could be found by. Give it a class of its own: class X(")
    assert text.endswith("Cart[str]).")


@pytest.mark.parametrize("given", ["", "$A", "A\n", "\ud800", 5, None])
def test_what_can_be_no_id_is_refused(given: Any) -> None:
    with pytest.raises(PayloadError) as refusal:
        stream_named(Account, given)

    assert str(refusal.value) == (
        f"{given!r} can be no id of Account. Expected printable text that does not begin with '$'."
    )


@pytest.mark.parametrize("given", ["A", "ä b", "{id}", "a-b/c", "…"])
def test_any_other_text_is_one(given: str) -> None:
    assert stream_named(Account, given) == f"account-{given}"
