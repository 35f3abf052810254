"""Secrets are stored so that they come back, and masked wherever a person looks."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, Field, RootModel, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import from_json
from typing_extensions import TypedDict

from allframe import Event, PayloadError
from allframe.masking import MASK, has_secrets, mask, may_hold_secrets, redact, secret_texts, shown
from allframe.payload import Payload

KEY = "hunter-2-hunter"
Hidden = Annotated[str, Field(json_schema_extra={"secret": True})]


class Card(BaseModel):
    number: SecretStr
    code: str = Field(default="none", json_schema_extra={"secret": True})
    owner: str = "Ada"


class Pair(NamedTuple):
    name: str
    key: SecretStr


class Tree(BaseModel):
    key: Hidden = KEY
    children: list[Tree] = []


class Table(TypedDict):
    key: SecretStr
    size: int


@dataclasses.dataclass
class Lock:
    key: SecretStr
    card: Card
    code: Hidden = KEY
    size: int = 3


class Bag(RootModel[list[Card]]):
    pass


class Raw(Event, name="test.masking.raw"):
    key: SecretBytes


CARD = Card(number=SecretStr(KEY), code=KEY)
VALUES: list[tuple[Any, Any]] = [
    (SecretStr, SecretStr(KEY)),
    (SecretStr | None, SecretStr(KEY)),
    (SecretStr | None, None),
    (SecretBytes, SecretBytes(KEY.encode())),
    (SecretBytes, SecretBytes(b"\xff\x00\xfe")),
    (Card, CARD),
    (list[Card], [CARD, CARD]),
    (dict[str, SecretStr], {"a": SecretStr(KEY)}),
    (dict[str, list[Card | int]], {"a": [CARD, 1]}),
    (tuple[int, SecretStr], (1, SecretStr(KEY))),
    (set[SecretStr], {SecretStr(KEY), SecretStr(KEY * 2)}),
    (Card | Lock, Lock(SecretStr(KEY), CARD)),
    (Pair, Pair("a", SecretStr(KEY))),
    (Table, {"key": SecretStr(KEY), "size": 2}),
    (Tree, Tree(children=[Tree(children=[Tree()])])),
    (Bag, Bag([CARD])),
    (Raw, Raw(key=SecretBytes(b"\xff\x00"))),
    (list[Hidden], [KEY]),
    (Hidden | None, KEY),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES)
def test_a_secret_comes_back_equal(annotation: Any, value: Any) -> None:
    payload = Payload(annotation)

    data, loaded = payload.store(value, "The value")

    assert payload.hides
    assert loaded == value
    assert MASK.encode() not in data
    assert payload.load(data, "The value") == value


@pytest.mark.parametrize(("annotation", "value"), VALUES)
def test_it_is_masked_by_the_schema_alone(annotation: Any, value: Any) -> None:
    payload = Payload(annotation)
    plain = TypeAdapter(dict[str, Any]).validate_json(b'{"x":%s}' % payload.store(value, "The value")[0])["x"]

    masked = mask(plain, payload.schema())

    assert KEY not in str(masked)
    assert value is None or MASK in str(masked)
    if plain is not None:
        texts = secret_texts(plain, payload.schema())
        assert KEY not in redact(str(plain), texts)


def test_a_secret_that_no_schema_tells_of_is_refused() -> None:
    """It could not be masked without the class."""
    with pytest.raises(PayloadError, match="does not come back equal"):
        Payload(list[Secret[int] | SecretStr]).store([Secret(12345)], "The value")


def test_what_is_no_secret_is_shown() -> None:
    payload = Payload(dict[str, Card | int | None])
    value = {"a": {"number": KEY, "code": KEY, "owner": "Ada"}, "b": 3, "c": None}

    masked = mask(value, payload.schema())

    assert masked == {"a": {"number": MASK, "code": MASK, "owner": "Ada"}, "b": 3, "c": None}


def test_a_union_that_leaves_it_open_is_masked() -> None:
    assert mask({"owner": KEY}, {"anyOf": [{"properties": {"owner": {"secret": True}}}, {"properties": {"owner": {}}}]})
    assert mask(5, {"anyOf": [{"type": "integer"}, {"format": "password", "writeOnly": True}]}) == MASK


def test_a_reference_that_leads_nowhere_and_a_type_that_was_not_described_are_masked() -> None:
    assert mask([1], {"$ref": "#/$defs/Gone", "$defs": {}}) == MASK
    assert mask({"a": 1}, {"python": "Thing"}) == MASK


def test_a_circle_of_references_ends() -> None:
    circle = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "string"}]}}}

    assert mask("x", {**circle, "$ref": "#/$defs/A"}) == "x"


@pytest.mark.parametrize("annotation", [int, list[str], dict[str, int], Event])
def test_a_type_without_secrets_has_none(annotation: Any) -> None:
    assert not has_secrets(Payload(annotation).schema())


def test_a_field_of_the_name_secret_is_none() -> None:
    class Plain(BaseModel):
        secret: bool

    assert mask({"secret": True}, Payload(Plain).schema()) == {"secret": True}


@pytest.mark.parametrize(("annotation", "value"), VALUES)
def test_a_repr_shows_no_secret(annotation: Any, value: Any) -> None:
    if annotation not in (list[Hidden], Hidden | None):  # the values are plain, and know nothing of it
        assert KEY not in shown(value)
        assert KEY not in shown({"a": [(value,)]})


def test_the_repr_of_an_event_masks() -> None:
    class Charged(Event, name="test.masking.charged"):
        token: str = Field(json_schema_extra={"secret": True})
        cards: list[Card]
        amount: int

    charged = Charged(token=KEY, cards=[CARD], amount=3)

    assert KEY not in f"{charged!r} {charged}"
    assert "amount=3" in repr(charged)
    assert "owner='Ada'" in repr(charged)
    with pytest.raises(ValueError) as error:
        Charged(token=[KEY], cards=[], amount=0)  # type: ignore[arg-type]
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Card, {"number": KEY}),
        (Card, [KEY]),
        (list[SecretStr], [KEY]),
        (SecretStr, KEY),
        (str, CARD),
        (list[str], [CARD]),
    ],
)
def test_an_error_does_not_show_what_may_be_secret(annotation: Any, value: Any) -> None:
    with pytest.raises(PayloadError) as error:
        Payload(annotation).store(value, "The value")

    assert KEY not in str(error.value)
    assert KEY not in "".join(traceback.format_exception(error.value)), "which is recorded with a lost output"


def test_what_a_validator_says_of_a_secret_is_not_told() -> None:
    def refuse(value: Any) -> Any:
        raise ValueError(f"bad {value}")

    from pydantic import AfterValidator

    with pytest.raises(PayloadError, match="value_error") as error:
        Payload(Annotated[Hidden, AfterValidator(refuse)]).load(f'"{KEY}"'.encode(), "The value")
    assert KEY not in "".join(traceback.format_exception(error.value))


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("annotation", "may"),
    [
        (Card, True),
        (Lock, True),
        (list[Tree | None], True),
        (Raw, True),
        ("Later", True),
        (Point, False),
        (dict[str, Point], False),
        (Literal["a"], False),
        (Callable[[Point], int], False),
        (Annotated[int, Field(gt=0)], False),
    ],
)
def test_a_type_tells_whether_it_may_hold_secrets(annotation: Any, may: bool) -> None:
    assert may_hold_secrets(annotation) is may


def test_redaction_finds_what_python_and_json_spell_otherwise() -> None:
    secret = 'it\'s "ä"\n'

    assert "ä" not in redact(f"{secret!r} and {secret}", {secret})
    assert redact("abcde abcd", {"abcd", "abcde"}) == f"{MASK} {MASK}"
    assert secret_texts({"a": "abc"}, {"properties": {"a": {"secret": True}}}) == set()


class Ring(BaseModel):
    """A field whose name is a method of every mapping."""

    keys: list[SecretStr]


def test_a_field_may_be_called_keys() -> None:
    assert Payload(Ring).store(Ring(keys=[SecretStr(KEY)]), "The value")[1] == Ring(keys=[SecretStr(KEY)])


@pytest.mark.parametrize("secret", [KEY.encode(), b"\xff\x00\xfe\x07"])
def test_redaction_finds_bytes_that_are_stored_as_base64(secret: bytes) -> None:
    payload = Payload(Raw)
    stored = payload.store(Raw(key=SecretBytes(secret)), "The value")[0]

    secrets = secret_texts(from_json(stored), payload.schema())

    assert redact(f"{secret!r} {secret.hex()}", secrets) == f"b'{MASK}' {MASK}"
