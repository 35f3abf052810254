"""`Inject` and `Provider`: what a parameter asks for, and who has it."""

from __future__ import annotations

from typing import Annotated, Any, Optional, TypeVar, get_type_hints

import pytest

from allframe.inject import Inject, Provider, injected_type, type_name

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
    [(Bank, "Bank"), (Optional[int], "Optional[int]"), (list[int], "list[int]"), (Bank | None, None)],  # noqa: UP045
)
def test_a_type_is_named_as_a_person_writes_it(wanted: Any, name: str | None) -> None:
    assert type_name(wanted) == name if name else "Bank | None" in type_name(wanted)
