"""A catalogue says what events look like, and a comparison of two what breaks for what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from allframe import Event, PayloadError, VersionRegistry, upcasts
from allframe.events.catalogue import Catalogue, compare, make_catalogue, read_catalogue


def catalogue(*events: type[Event], versions: VersionRegistry | None = None) -> Catalogue:
    """As it is after it was written to a file and read again."""
    return read_catalogue(json.loads(json.dumps(make_catalogue(events, versions))))


def event(
    name: str = "catalogue.paid", version: int = 1, stream: str | None = None, strict: bool = False, **fields: Any
) -> type[Event]:
    """A class of an event with these fields: an annotation, or one and a default."""
    pairs = {field: what if isinstance(what, tuple) else (what,) for field, what in fields.items()}
    body: dict[str, Any] = {
        "__annotations__": {field: pair[0] for field, pair in pairs.items()},
        "__module__": __name__,
        "__qualname__": f"made_{name}_{version}",
        **{field: pair[1] for field, pair in pairs.items() if len(pair) > 1},
    }
    if strict:
        body["model_config"] = ConfigDict(extra="forbid")
    if stream is not None:
        body["__stream__"] = stream
    make: Callable[..., type[Event]] = type(Event)
    return make("Made", (Event,), body, name=name, version=version)


def changes(before: Catalogue, now: Catalogue) -> list[tuple[bool, str]]:
    return [(change.breaks, str(change)) for change in compare(before, now)]


def altered(before: dict[str, Any], now: dict[str, Any]) -> list[tuple[bool, str]]:
    """What is said of one event whose fields changed, in the same version."""
    found = changes(catalogue(event(**before)), catalogue(event(**now)))
    assert all(text.startswith("catalogue.paid 1: ") for _, text in found)
    return [(breaks, text.removeprefix("catalogue.paid 1: ")) for breaks, text in found]


@upcasts("catalogue.paid", from_version=1)
def lift(data: dict[str, Any]) -> dict[str, Any]:
    return data


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_it_has_each_event_in_the_order_of_names_and_versions() -> None:
    second = event(version=2, stream="account-{account}", account=str)
    other = event("catalogue.aaa", number=(int, 1))

    made = make_catalogue([second, other], VersionRegistry([lift]))

    assert made == make_catalogue([other, second], VersionRegistry([lift]))
    assert [(entry["name"], entry["version"]) for entry in made["events"]] == [
        ("catalogue.aaa", 1),
        ("catalogue.paid", 2),
    ]
    assert made["events"][1]["stream"] == "account-{account}"
    assert made["events"][1]["upcast_from"] == [{"name": "catalogue.paid", "version": 1}]
    assert made["events"][0]["schema"]["properties"] == {"number": {"default": 1, "title": "Number", "type": "integer"}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "It is no catalogue of events. Make one with `allframe events schema -m MODULE`."),
        ({"events": [], "format": 2}, "It is a catalogue of form 2, and this allframe reads form 1."),
        ({"events": [{}], "format": 1}, "It is a damaged catalogue: an event lacks its name"),
    ],
)
def test_what_is_no_catalogue_is_refused(document: Any, said: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        read_catalogue(document)

    assert str(refusal.value).startswith(said)


# --- events that come and go -----------------------------------------------------------------------------------------


def test_the_same_program_has_no_changes() -> None:
    assert changes(catalogue(event(a=int)), catalogue(event(a=int))) == []


def test_a_new_event_fits() -> None:
    assert changes(catalogue(), catalogue(event(a=int))) == [(False, "catalogue.paid 1: a new event")]


def test_an_event_that_is_gone_breaks() -> None:
    assert changes(catalogue(event(a=int)), catalogue()) == [
        (
            True,
            "catalogue.paid 1: it is gone, and no upcaster leads from it to another. Keep the class for as long as such events "
            "are stored.",
        )
    ]


def test_a_new_version_without_an_upcaster_breaks() -> None:
    assert changes(catalogue(event(a=int)), catalogue(event(version=2, a=int))) == [
        (
            True,
            "catalogue.paid 1: it is gone, and no upcaster leads from it to version 2. Write one with "
            '@upcasts("catalogue.paid", from_version=1), or keep the class.',
        ),
        (False, "catalogue.paid 2: a new version"),
    ]


def test_a_new_version_with_an_upcaster_fits() -> None:
    now = event(version=2, b=str)

    assert changes(catalogue(event(a=int)), catalogue(now, versions=VersionRegistry([lift]))) == [
        (False, "catalogue.paid 1: it is upcast to version 2"),
        (False, "catalogue.paid 2: a new version"),
    ]


def test_a_new_version_beside_the_class_of_the_old_one_fits() -> None:
    both = event(a=int), event(version=2, b=str)

    assert changes(catalogue(both[0]), catalogue(*both)) == [(False, "catalogue.paid 2: a new version")]


def test_an_upcaster_that_is_gone_breaks() -> None:
    now = event(version=2, b=str)

    assert changes(catalogue(now, versions=VersionRegistry([lift])), catalogue(now)) == [
        (True, "catalogue.paid 1: it was upcast to version 2, and its upcaster is gone")
    ]


def test_an_event_that_was_renamed_breaks_and_says_how_to_mend_it() -> None:
    assert changes(catalogue(event(a=int)), catalogue(event("catalogue.spent", a=int))) == [
        (
            True,
            "catalogue.paid 1: it is gone, and 'catalogue.spent' looks like it. If it was renamed, write an upcaster with "
            '@upcasts("catalogue.paid", from_version=1, to_type="catalogue.spent", to_version=1), or give the class '
            'name="catalogue.paid".',
        ),
        (False, "catalogue.spent 1: a new event"),
    ]


def test_an_event_that_was_renamed_with_an_upcaster_fits() -> None:
    now = event("catalogue.spent", a=int)
    rename = upcasts("catalogue.paid", from_version=1, to_type="catalogue.spent", to_version=1)(lambda data: data)

    assert changes(catalogue(event(a=int)), catalogue(now, versions=VersionRegistry([rename]))) == [
        (False, "catalogue.paid 1: it is upcast to 'catalogue.spent' 1"),
        (False, "catalogue.spent 1: a new event"),
    ]


def test_another_stream_breaks() -> None:
    ((breaks, text),) = changes(catalogue(event(stream="a-{a}", a=int)), catalogue(event(stream="b-{a}", a=int)))

    assert breaks
    assert text.startswith("catalogue.paid 1: its stream was 'a-{a}' and is 'b-{a}': what is stored stays where it is")


# --- fields, in the same version -------------------------------------------------------------------------------------


def test_a_field_without_a_default_breaks() -> None:
    assert altered({"a": int}, {"a": int, "b": int}) == [
        (True, "in the same version, the field 'b' was added without a default")
    ]


@pytest.mark.parametrize("default", [1, Field(default_factory=int)])
def test_a_field_with_a_default_fits(default: Any) -> None:
    assert altered({"a": int}, {"a": int, "b": (int, default)}) == [(False, "the field 'b' was added with a default")]


def test_a_field_that_was_removed_breaks() -> None:
    assert altered({"a": int, "b": int}, {"a": int}) == [(True, "in the same version, the field 'b' was removed")]


def test_a_field_of_another_type_breaks() -> None:
    assert altered({"a": int}, {"a": str}) == [(True, "in the same version, the field 'a' was integer and is string")]
    assert altered({"a": int | None}, {"a": int}) == [
        (True, "in the same version, the field 'a' was integer or null and is integer")
    ]


@pytest.mark.parametrize(("before", "now"), [(int, int | None), (Literal["a"], Literal["a", "b"]), (int, int | str)])
def test_a_field_that_takes_more_than_before_fits(before: Any, now: Any) -> None:
    assert altered({"a": before}, {"a": now}) == [(False, "the field 'a' takes more than before")]


def test_a_field_that_takes_less_than_before_breaks() -> None:
    ((breaks, _),) = altered({"a": Literal["a", "b"]}, {"a": Literal["a"]})

    assert breaks


def test_a_default_that_is_gone_breaks() -> None:
    assert altered({"a": (int, 1)}, {"a": int}) == [
        (True, "in the same version, the field 'a' had a default and has none any more")
    ]
    assert altered({"a": int}, {"a": (int, 1)}) == []


class Address(BaseModel):
    street: str


class LongerAddress(BaseModel):
    street: str
    city: str
    country: str = "BE"


class Tree(BaseModel):
    children: list[Tree]


class Bush(BaseModel):
    """The same, by another name."""

    children: list[Bush]


def test_fields_within_fields_are_named_by_their_path() -> None:
    assert altered(
        {"home": Address, "others": list[Address]}, {"home": LongerAddress, "others": list[LongerAddress]}
    ) == [
        (True, "in the same version, the field 'home.city' was added without a default"),
        (True, "in the same version, the field 'others[].city' was added without a default"),
        (False, "the field 'home.country' was added with a default"),
        (False, "the field 'others[].country' was added with a default"),
    ]


def test_what_a_type_is_called_is_no_change_also_where_it_holds_itself() -> None:
    assert altered({"tree": Tree}, {"tree": Bush}) == []


def test_what_is_for_people_is_no_change() -> None:
    now = {"a": (int, Field(title="An a", description="It counts.", examples=[1]))}

    assert altered({"a": int}, now) == []


def test_fields_may_be_called_like_what_is_for_people() -> None:
    assert altered({"title": int}, {"title": str}) == [
        (True, "in the same version, the field 'title' was integer and is string")
    ]


def test_to_refuse_what_is_not_known_breaks() -> None:
    before = catalogue(event(a=int))

    ((breaks, text),) = changes(before, catalogue(event(a=int, strict=True)))

    assert breaks
    assert text == (
        "catalogue.paid 1: in the same version, it refuses fields that it does not know, which it did not before"
    )
