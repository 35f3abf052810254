"""`Inject` and `Provider`: what a parameter asks for, and who has it."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any, Generic, Optional, TypeVar, get_type_hints

import dishka
import pytest
from dishka import FromComponent, FromDishka

from allframe import SagaOrchestrator
from allframe.inject import Container, Inject, Provider, injected_type, type_name

T = TypeVar("T")


class Bank:
    pass


class BigBank(Bank):
    pass


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (Inject[Bank], Bank),
        (Inject[Bank | None], Bank | None),  # type: ignore[misc]
        (Inject[list[int]], list[int]),
        (Annotated[Inject[Bank], "more"], Bank),
        (Inject[Annotated[Bank, "more"]], Bank),
        (FromDishka[Bank], Bank),
        (Annotated[Bank, FromComponent()], Bank),
        (Annotated[FromDishka[Bank], "more"], Bank),
        (Annotated[Bank, FromComponent("far")], Annotated[Bank, FromComponent("far")]),
        (Inject[Annotated[Bank, "more", FromComponent("far")]], Annotated[Bank, FromComponent("far")]),
        (Annotated[Inject[Bank], FromComponent("far")], Annotated[Bank, FromComponent("far")]),
    ],
)
def test_inject_names_the_type_that_is_asked_for(annotation: Any, wanted: Any) -> None:
    assert injected_type(annotation) == wanted


@pytest.mark.parametrize("annotation", [Bank, Annotated[Bank, "more"], Optional[Bank], None, Any, "Inject[Bank]", T])  # noqa: UP045
def test_everything_else_asks_for_nothing(annotation: Any) -> None:
    assert injected_type(annotation) is None


def test_inject_is_found_in_annotations_that_are_text() -> None:
    def step(bank: Inject[Bank]) -> None: ...

    assert injected_type(get_type_hints(step, include_extras=True)["bank"]) is Bank


def test_what_was_provided_is_given_under_the_type_that_it_was_provided_for() -> None:
    bank = BigBank()
    provider = Provider({Bank: bank, "text": 1})

    assert provider.get(Bank) is bank
    assert Bank in provider
    assert BigBank not in provider, "a plain look-up, no subclasses"


def test_a_type_that_was_not_provided_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Provider().get(Bank)


def test_none_and_false_are_provided_like_anything() -> None:
    provider = Provider({Bank: None, int: 0})

    assert Bank in provider
    assert provider.get(Bank) is None
    assert provider.missing({Bank: "step 'a'", int: "step 'a'"}) == ""


def test_what_is_missing_is_named_with_who_asks() -> None:
    provider = Provider({Bank: Bank()})
    wanted = {Bank: "step 'debit', parameter 'bank'", BigBank: "step 'credit', parameter 'bank'", list[int]: "step 'x'"}

    assert provider.missing(wanted) == "BigBank (step 'credit', parameter 'bank'), list[int] (step 'x')"


def test_a_provider_says_what_it_has() -> None:
    assert Provider({BigBank: 1, Bank: 2}).names() == "Bank, BigBank"
    assert Provider().names() == "nothing"


def test_what_is_provided_later_into_the_same_mapping_does_not_change_a_provider() -> None:
    objects: dict[Any, object] = {}
    provider = Provider(objects)
    objects[Bank] = Bank()

    assert Bank not in provider


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (Bank, "Bank"),
        (Optional[int], "Optional[int]"),  # noqa: UP045
        (list[int], "list[int]"),
        (Bank | None, None),
        (Annotated[Bank, FromComponent("far")], "Bank of component 'far'"),
        (Annotated[list[int], FromComponent("far")], "list[int] of component 'far'"),
    ],
)
def test_a_type_is_named_as_a_person_writes_it(wanted: Any, name: str | None) -> None:
    assert type_name(wanted) == name if name else "Bank | None" in type_name(wanted)


# --- with a container --------------------------------------------------------------------------------------------------


class Account:
    def __init__(self, bank: Bank) -> None:
        self.bank = bank


class Ledger:
    def __init__(self, account: Account) -> None:
        self.account = account


class Box(Generic[T]):
    """Something generic."""


def container_of(*providers: dishka.Provider, **options: Any) -> Container:
    return Container(dishka.make_async_container(*providers, **options))


def provider_of(*kinds: Any, scope: dishka.BaseScope = dishka.Scope.REQUEST) -> dishka.Provider:
    provider = dishka.Provider(scope=scope)
    for kind in kinds:
        provider.provide(kind)
    return provider


def test_a_container_is_asked_for_what_was_not_provided() -> None:
    provider = Provider({Bank: Bank()}, container_of(provider_of(Bank, Account)))

    assert provider.holds(Bank)
    assert not provider.makes(Bank)
    assert provider.makes(Account)
    assert not provider.holds(Account)
    assert Account in provider
    assert Ledger not in provider
    assert provider.names() == "Bank and a container that makes Account, Bank"


def test_a_container_makes_what_is_in_the_scopes_around() -> None:
    container = container_of(provider_of(Bank, scope=dishka.Scope.APP), provider_of(Account), context={int: 7})

    assert [container.lack(kind) for kind in (Bank, Account, int, dishka.AsyncContainer)] == [None] * 4


def test_a_container_says_what_it_lacks_for_what_it_needs() -> None:
    container = container_of(provider_of(Account), provider_of(Ledger), skip_validation=True)

    assert container.lack(Bank) == ""
    assert container.lack(Account) == "needs Bank, which nothing makes"
    assert container.lack(Ledger) == "needs Account, which needs Bank, which nothing makes"
    assert container.makes() == []


def test_factories_that_need_one_another_in_a_circle_are_not_followed_for_ever() -> None:
    class Hen: ...

    class Egg: ...

    def hen(egg: Egg) -> Hen:
        return Hen()

    def egg(hen: Hen) -> Egg:
        return Egg()

    for factory in (hen, egg):
        factory.__annotations__ = {
            name: {"Hen": Hen, "Egg": Egg}[kind] for name, kind in factory.__annotations__.items()
        }

    assert container_of(provider_of(hen, egg), skip_validation=True).lack(Hen) is None


def test_generic_and_decorated_and_aliased_types_are_found() -> None:
    def gild(bank: Bank) -> Bank:
        return bank

    provider = provider_of(Box[T], BigBank)  # type: ignore[valid-type]
    provider.alias(BigBank, provides=Bank)
    provider.decorate(gild)

    found = container_of(provider)

    assert found.lack(Box[int]) is None
    assert found.lack(Bank) is None
    assert found.lack(list[int]) == ""
    assert "Bank" in Provider({}, found).names()


def test_what_a_long_list_has_is_counted() -> None:
    kinds = [type(f"Kind{number:02}", (), {}) for number in range(33)]

    assert Provider(dict.fromkeys(kinds)).names().endswith("Kind28, Kind29 and 3 more")


def test_what_a_container_lacks_is_said_where_it_is_missing() -> None:
    inner = provider_of(Bank, scope=dishka.Scope.ACTION)

    assert Provider({}, container_of(inner)).missing({Bank: "step 'debit', parameter 'bank'", int: "step 'x'"}) == (
        "Bank (step 'debit', parameter 'bank': in the container it is made in scope ACTION, within an attempt's REQUEST), "
        "int (step 'x')"
    )


def test_the_remedy_names_what_there_is() -> None:
    assert Provider().remedy() == "Hand it to the orchestrator: SagaOrchestrator(..., provide={...})."
    assert Provider({}, container_of()).remedy() == (
        "Add it to a provider of the container, or hand it in: SagaOrchestrator(..., provide={...})."
    )
    assert Provider().remedy("bus", "CommandBus") == "Hand it to the bus: CommandBus(..., provide={...})."


def test_the_orchestrators_annotations_can_be_read() -> None:
    assert "container" in get_type_hints(SagaOrchestrator.__init__)


def test_a_program_without_dishka_can_use_everything_else() -> None:
    program = """
import sys
sys.modules["dishka"] = None
import anyio
from allframe import Inject, Saga, SagaOrchestrator, step

class Bank: ...

class Look(Saga):
    @step
    async def look(self, bank: Inject[Bank]) -> str:
        return type(bank).__name__

async def main():
    async with SagaOrchestrator(provide={Bank: Bank()}) as orchestrator:
        print((await orchestrator.execute(Look())).output)
    try:
        SagaOrchestrator(container=Bank())
    except TypeError as error:
        print(error)

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["Bank", "container= takes a dishka AsyncContainer, found an object of Bank."]
