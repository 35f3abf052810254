"""`Payload`: what is stored is read back equal, or is refused in words that help."""

from __future__ import annotations

import dataclasses
import json
import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    JsonValue,
    RootModel,
    SecretStr,
    computed_field,
    field_validator,
)
from typing_extensions import TypedDict

from allframe.errors import PayloadError
from allframe.payload import MAX_BYTES, MAX_DEPTH, Payload, canonical, check_size
from tests.naming import steady

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    TWO = 2


class Size(StrEnum):
    SMALL = "small"


class Level(IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclasses.dataclass
class TaxedMoney(Money):
    tax: int = 0


class Row(TypedDict):
    id: int
    blob: bytes


class Point(NamedTuple):
    x: int
    blob: bytes


class Address(BaseModel):
    street: str


class Person(BaseModel):
    name: str
    home: Address
    born: date | None = None


class Employee(Person):
    salary: int = 0


class Aliased(BaseModel):
    model_config = ConfigDict(frozen=True)
    number: int = Field(alias="no")


class Blob(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


class Shift(BaseModel):
    begins: datetime


@dataclasses.dataclass
class Plan:
    shifts: dict[str, list[Shift]]
    moments: tuple[datetime, ...]
    free: frozenset[datetime]


class Box(BaseModel, Generic[T]):
    content: T


ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Decimal, Decimal("1.10")),
    (Decimal, Decimal("1E+50")),
    (Decimal, Decimal("-0.000000000000000000000000000001")),
    (UUID, UUID("12345678-1234-5678-1234-567812345678")),
    (datetime, datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    (datetime, datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)),
    (datetime, datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))),
    (datetime, datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the case
    (date, date(1, 1, 1)),
    (time, time(23, 59, 59, 999999)),
    (timedelta, timedelta(days=-3, microseconds=1)),
    (timedelta, timedelta.max),
    (Colour, Colour.RED),
    (Colour, Colour.TWO),
    (Size, Size.SMALL),
    (Level, Level.HIGH),
    (bytes, b"\xff\x00\xfe not utf-8"),
    (dict[bytes, int], {b"\xff": 1}),
    (set[int], {1, 2}),
    (set[tuple[int, bytes]], {(1, b"\xff")}),
    (frozenset[str], frozenset("ab")),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[int, str], (1, "a")),
    (deque[int], deque([1, 2])),
    (int | str, "1"),
    (int | str, 1),
    (bytes | None, b"\xff"),
    (Optional[Decimal], None),  # noqa: UP045 - that is the case
    (Person | Aliased, Aliased(no=1)),
    (Annotated[int, Field(gt=0)], 5),
    (Money, Money(Decimal("1.0"))),
    (Row, {"id": 1, "blob": b"\xff"}),
    (Point, Point(1, b"\xff")),
    (Person, Person(name="Ada", home=Address(street="x"), born=date(1815, 12, 10))),
    (dict[str, list[Person]], {"a": [Person(name="Ada", home=Address(street="x"))]}),
    (Aliased, Aliased(no=7)),
    (Blob, Blob(data=b"\xff")),
    (Box[Decimal], Box[Decimal](content=Decimal("1.10"))),
    (Literal["a", 1, None], "a"),
    (None, None),
    (int, 2**200),
    (int, -(10**400)),
    (bool, True),
    (float, 0.1 + 0.2),
    (float, 5e-324),
    (float, 1.7976931348623157e308),
    (dict[int, str], {1: "a"}),
    (dict[Decimal, int], {Decimal("1.10"): 1}),
    (dict[date, UUID], {date(2026, 1, 1): UUID(int=0)}),
    (JsonValue, {"a": [1, 1.5, None, True, "\u2028 ümläut 🙂 \x00"]}),
    (Any, [1, "x", None]),
]


@pytest.mark.parametrize(("annotation", "value"), ROUND_TRIPS, ids=steady)
def test_what_is_stored_comes_back_with_its_type_and_value(annotation: Any, value: Any) -> None:
    data, loaded = Payload(annotation).store(value, "It")

    again = Payload(annotation).load(data, "It")
    assert loaded == value == again
    assert type(loaded) is type(value) is type(again)
    json.loads(data)


def test_a_datetime_in_the_hour_that_happens_twice_is_stored_like_any_other() -> None:
    """PEP 495 calls such a time unequal to every time of another zone, even to its own instant."""
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))

    _, loaded = Payload(datetime).store(twice, "It")

    assert loaded.astimezone(UTC) == twice.astimezone(UTC)


def test_such_a_datetime_is_stored_wherever_it_stands() -> None:
    twice = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    plan = Plan({"a": [Shift(begins=twice)]}, (twice,), frozenset({twice}))

    _, loaded = Payload(Plan).store(plan, "It")

    assert type(loaded.shifts["a"][0]) is Shift
    moments = [loaded.shifts["a"][0].begins, *loaded.moments, *loaded.free]
    assert [moment.astimezone(UTC) for moment in moments] == [datetime(2026, 10, 25, 1, 30, tzinfo=UTC)] * 3


def test_a_value_whose_validator_reads_only_the_stored_form_comes_back() -> None:
    """Base64Bytes decodes what it is given, so the value itself does not pass it."""
    assert Payload(list[Base64Bytes]).store([b"hello!"], "It")[1] == [b"hello!"]


def test_a_computed_field_does_not_stand_in_the_way() -> None:
    class Square(BaseModel):
        model_config = ConfigDict(extra="forbid")
        side: int

        @computed_field  # type: ignore[prop-decorator]
        @property
        def area(self) -> int:
            return self.side**2

    _, loaded = Payload(Square).store(Square(side=3), "It")

    assert loaded == Square(side=3)
    assert loaded.area == 9


def test_a_field_that_is_read_and_written_by_two_aliases_comes_back() -> None:
    class Sent(BaseModel):
        number: int = Field(validation_alias="in", serialization_alias="out")

    _, loaded = Payload(Sent).store(Sent.model_validate({"in": 1}), "It")

    assert loaded.number == 1


def test_json_in_json_comes_back() -> None:
    class Parsed(BaseModel):
        items: Json[list[int]]

    value = Parsed.model_validate({"items": "[1, 2]"})

    assert Payload(Parsed).store(value, "It")[1] == value


# --- refused ---------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, Any, str]] = [
    (float, math.nan, "nan"),
    (float, math.inf, "inf"),
    (list[float], [1.0, -math.inf], "-inf"),
    (JsonValue, {"a": math.nan}, "nan"),
    (Decimal, Decimal("NaN"), "NaN"),
    (Decimal, Decimal("Infinity"), "Infinity"),
    (str, "a\ud800", "surrogates not allowed"),
    (dict[str, int], {"\ud800": 1}, "does not come back equal"),
    (JsonValue, ["\udfff"], "surrogates not allowed"),
    (Any, threading.Lock(), "lock"),
    (Any, (number for number in range(3)), "generator"),
    (list[int], [1, "x"], "expected list[int], found list [1, 'x']"),
    (list[int], (1,), "expected list[int], found tuple (1,)"),
    (int, True, "expected int, found bool True"),
    (list[int], [1, True], "expected list[int], found list [1, True]"),
    (dict[str, int], {"a": False}, "expected dict[str, int], found dict {'a': False}"),
    (float, True, "expected float, found bool True"),
    (bool, 1, "expected bool, found int 1"),
    (int, 1.0, "expected int, found float 1.0"),
    (int, "1", "expected int, found str '1'"),
    (int, None, "expected int, found NoneType None"),
    (None, 1, "expected None, found int 1"),
    (date, datetime(2026, 1, 1, tzinfo=UTC), "expected date, found datetime"),
    (Person, {"name": "Ada"}, "expected Person, found dict"),
    (Address, Person(name="Ada", home=Address(street="x")), "expected Address, found Person"),
    (Person, Employee(name="Ada", home=Address(street="x"), salary=3), "Employee"),
    (list[Person], [Employee(name="Ada", home=Address(street="x"))], "Employee"),
    (Money, TaxedMoney(Decimal(1), tax=3), "TaxedMoney"),
    (Any, Decimal(1), "does not come back equal: Decimal Decimal('1') was stored as Any and read back as str '1'"),
    (Any, (1, 2), "does not come back equal: tuple (1, 2) was stored as Any and read back as list [1, 2]"),
    (Any, {1, 2}, "does not come back equal"),
    (JsonValue, {1: 2}, "dict {1: 2}"),
    (Any, Address(street="x"), "does not come back equal"),
    (dict[int | str, int], {1: 1, "1": 2}, "does not come back equal"),
    (UUID | str, str(UUID(int=0)), "does not come back equal"),
    (Literal["a"], "b", "found str 'b'"),
]


@pytest.mark.parametrize(("annotation", "value", "words"), REFUSED, ids=steady)
def test_what_would_not_come_back_is_refused(annotation: Any, value: Any, words: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(annotation).store(value, "The output of step 'a'")

    assert str(refusal.value).startswith("The output of step 'a' ")
    assert words in str(refusal.value)


@pytest.mark.parametrize("value", [math.nan, [1, "x"], {"a": 1}, "\ud800"], ids=repr)
def test_a_refusal_says_what_was_expected_and_what_was_found(value: Any) -> None:
    annotation = {float: float, list: list[int], dict: Person, str: str}[type(value)]

    with pytest.raises(PayloadError) as refusal:
        Payload(annotation).store(value, "It")

    text = str(refusal.value)
    assert f"found {type(value).__name__} {value!r}" in text
    assert "serializer warnings" not in text, "pydantic's headline says nothing; its next line does"


def test_a_refusal_of_something_large_stays_short() -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(list[int]).store(["x" * 10_000], "It")

    assert len(str(refusal.value)) < 600


class Priced(BaseModel):
    price: float
    name: str = ""
    data: bytes = b""


class Discounted(Priced):
    discount: int = 1


class Cart(BaseModel):
    lines: list[Priced] = []
    rates: dict[str, Any] = {}
    other: Any = None
    tags: set[Any] = set()


@dataclasses.dataclass
class Delivery:
    cart: Cart


def cart(**fields: Any) -> Cart:
    return Cart(**fields)


UNPRICED = Priced.model_construct(price="x", name="", data=b"")

PLACES: list[tuple[Any, Any, str]] = [
    (Cart, cart(lines=[Priced(price=1), Priced(price=math.nan)]), "JSON has no nan at lines[1].price"),
    (
        Cart,
        cart(rates={"EUR": {"x": math.inf}}),
        "float inf at rates['EUR']['x'] was read back as NoneType None. JSON has",
    ),
    (list[Decimal], [Decimal(1), Decimal("sNaN")], "JSON has no sNaN at [1]"),
    (Cart, cart(lines=[Priced(price=1, name="\ud800")]), "surrogates not allowed at lines[0].name"),
    (
        Cart,
        cart(rates={"\ud800": 1}),
        "{'\ufffd\ufffd\ufffd': 1}. In it the key str '\\ud800' is no Unicode text",
    ),
    (
        Cart,
        cart(lines=[Priced(price=1, data=b"\xff")]),
        "invalid utf-8 sequence of 1 bytes from index 0 at lines[0].data",
    ),
    (Cart, cart(other=[1, {"k": threading.Lock()}]), "lock'> at other[1]['k']"),
    (Cart, cart(other=(1, 2)), "tuple (1, 2) at other was read back as list [1, 2]. Annotate the type that is meant."),
    (Cart, cart(other=Address(street="x")), "at other was read back as dict {'street': 'x'}"),
    (
        Cart,
        cart(rates={"a": {1: 2}}),
        "dict {1: 2} at rates['a'] was read back as dict {'1': 2}. JSON has only texts as keys",
    ),
    (Cart, cart(tags={(1, 2)}), "Set items should be hashable at tags[*]"),
    (
        Cart,
        cart(lines=[Discounted(price=1)]),
        "at lines[0] was read back as Priced Priced(price=1.0, name='', data=b'')",
    ),
    (Delivery, Delivery(cart(other=Decimal(1))), "Decimal Decimal('1') at cart.other was read back as str '1'"),
    (list[int], [1, "x"], "input_type=str] at [1])"),
    (dict[int, list[int]], {5: [1, "x"]}, "at [5][1])"),
    (list[int] | dict[str, int], [1, "x"], "at [1])"),
    (list[Cart], [Cart.model_construct(lines=[UNPRICED])], "at [0].lines[0].price)"),
    (tuple[int, Point], (1, Point("x", b"")), "at [1].x)"),  # type: ignore[arg-type]
    (Cart, cart(other="x" * MAX_BYTES), "bytes of JSON, 1,048,578 of them at other, more than the 1,048,576 that"),
    (Cart, cart(lines=[Priced(price=1), Priced(price=1, name="x" * MAX_BYTES)]), "of them at lines[1].name, more than"),
]


@pytest.mark.parametrize(("annotation", "value", "words"), PLACES, ids=steady)
def test_a_refusal_names_the_part_that_it_is_about(annotation: Any, value: Any, words: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(annotation).store(value, "It")

    assert words in str(refusal.value)


def test_a_value_of_a_subclass_is_told_what_to_annotate() -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(Priced).store(Discounted(price=1), "It")

    assert str(refusal.value).endswith(
        "Discounted is a subclass, and it is stored as the Priced of the annotation (with SerializeAsAny it is written "
        "whole, and still read as that): annotate Discounted, or a union of the classes told apart by a Literal field."
    )


class Wallet(BaseModel):
    token: SecretStr
    prices: dict[str, float] = {}
    other: Any = None


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"prices": {"hush": math.nan}}, "JSON has no such number at prices[*]"),
        ({"other": ("hush",)}, "at other was read back as list, not shown"),
        ({"other": "\ud800hush"}, "PydanticSerializationError at other"),
        ({"other": {"hush": {"hush": Decimal(1)}}}, "at other[*][*] was read back as str, not shown"),
        ({"other": {"hush": "x" * MAX_BYTES}}, "of them at other[*], more than"),
    ],
)
def test_the_place_in_what_may_hold_secrets_is_told_without_them(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(Wallet).store(Wallet(token=SecretStr("hush"), **fields), "It")

    assert place in str(refusal.value)
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("annotation", [Cart, Wallet])
def test_what_is_too_deep_is_told_so_wherever_it_stands(annotation: Any) -> None:
    needed = {"token": SecretStr("hush")} if annotation is Wallet else {}

    with pytest.raises(
        PayloadError, match=r"It has 201 levels .* the last of them at other\[0\]\[0\].*\.\.\.\. Make it"
    ):
        Payload(annotation).store(annotation(other=nested(200), **needed), "It")


def test_nobody_looks_for_a_place_while_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any, **__: Any) -> Any:
        raise AssertionError("it costs time")

    monkeypatch.setattr("allframe.roundtrip.places.children", look)

    Payload(Cart).store(cart(lines=[Priced(price=1)], other=nested(60)), "It")


class Speechless(BaseModel):
    number: int = 0

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [Speechless(), nested(100_000), 10**5000], ids=["repr raises", "repr too deep", "repr too long"]
)
def test_a_value_that_cannot_even_be_shown_is_refused_like_any_other(value: Any) -> None:
    with pytest.raises(PayloadError, match="^It "):
        Payload(bool).store(value, "It")


def test_a_whole_number_too_long_to_be_read_is_refused() -> None:
    with pytest.raises(PayloadError, match="^It "):
        Payload(int).store(10**5000, "It")


def test_a_cycle_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    with pytest.raises(PayloadError, match="Circular reference"):
        Payload(Any).store(cycle, "It")


def test_a_cycle_through_models_is_refused() -> None:
    class Friend(BaseModel):
        other: Any = None

    one, two = Friend(), Friend()
    one.other, two.other = two, one

    with pytest.raises(PayloadError, match="^It "):
        Payload(Friend).store(one, "It")


@pytest.mark.parametrize("annotation", [Any, JsonValue, list])
def test_depth_has_a_limit_that_is_named(annotation: Any) -> None:
    assert Payload(annotation).store(nested(MAX_DEPTH), "It")[1] == nested(MAX_DEPTH)
    with pytest.raises(PayloadError) as refusal:
        Payload(annotation).store(nested(MAX_DEPTH + 1), "It")

    assert str(refusal.value).startswith(
        "It has 191 levels of lists and objects, more than the 190 that a record may hold"
    )


def test_brackets_side_by_side_or_in_a_text_are_no_depth() -> None:
    wide = [{"a": []}, '"[' * 500, "\\[" * 500] * 100

    assert Payload(JsonValue).store(wide, "It")[1] == wide


def test_size_has_a_limit_that_is_named() -> None:
    fits, too_large = "x" * (MAX_BYTES - 2), "x" * (MAX_BYTES - 1)

    assert Payload(str).store(fits, "It")[1] == fits
    with pytest.raises(PayloadError) as refusal:
        Payload(str).store(too_large, "It")

    assert str(refusal.value) == (
        "It is 1,048,577 bytes of JSON, more than the 1,048,576 that a record may hold. Store it where large things live "
        "and return its key."
    )


def test_size_counts_bytes_and_not_letters() -> None:
    with pytest.raises(PayloadError, match="bytes of JSON"):
        Payload(str).store("ü" * (MAX_BYTES // 2), "It")


def test_check_size_takes_what_fits() -> None:
    check_size(b"x" * MAX_BYTES, "It")
    with pytest.raises(PayloadError, match="^It is 1,048,577 bytes"):
        check_size(b"x" * (MAX_BYTES + 1), "It")


def test_an_error_in_the_value_itself_is_a_refusal() -> None:
    class Quarrelsome(BaseModel):
        number: int

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("never equal")

    with pytest.raises(PayloadError, match="^It "):
        Payload(Quarrelsome).store(Quarrelsome(number=1), "It")


# --- types -----------------------------------------------------------------------------------------------------------


class Bank:
    pass


@pytest.mark.parametrize("annotation", [type(threading.Lock()), socket.socket, Bank, list[Bank], Bank | None])
def test_a_type_without_a_json_form_is_refused_when_it_is_declared(annotation: Any) -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(annotation)

    assert "cannot be stored" in str(refusal.value)
    assert "Return a type that pydantic can write as JSON: a model, a dataclass, or plain values." in str(refusal.value)


def test_a_generator_is_refused() -> None:
    with pytest.raises(PayloadError):
        Payload(Generator[int, None, None]).store((number for number in range(3)), "It")


def test_an_annotation_that_cannot_be_hashed_works_too() -> None:
    annotation = Annotated[int, {"un": "hashable"}]

    assert Payload(annotation).store(1, "It") == (b"1", 1)


@pytest.mark.parametrize(
    ("annotation", "value", "answer"),
    [(int, 1, True), (int, True, False), (int, "1", False), (Address, Address(street="x"), True), (Address, {}, False)],
)
def test_is_instance_converts_nothing(annotation: Any, value: Any, answer: bool) -> None:
    assert Payload(annotation).is_instance(value) is answer


def test_the_schema_is_that_of_the_stored_form() -> None:
    assert Payload(Address).schema()["properties"].keys() == {"street"}
    assert Payload(int).schema() == {"type": "integer"}


def test_a_type_that_has_no_schema_says_so() -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        bank: Bank

    with pytest.raises(PayloadError, match="has no JSON schema"):
        Payload(Loose).schema()


# --- reading ---------------------------------------------------------------------------------------------------------

GARBAGE = [b"", b"\xff\xfe", b"{", b"[" * 5000, b"nul", b"1 2", b'{"street": 1}', b'{"street"}', b"\x00", b"NaN"]


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: repr(data[:12]))
@pytest.mark.parametrize("annotation", [Address, Row, Money, list[Decimal], Colour])
def test_garbage_is_refused(annotation: Any, data: bytes) -> None:
    with pytest.raises(PayloadError, match="^The stored thing cannot be read as "):
        Payload(annotation).load(data, "The stored thing")


def test_what_cannot_be_read_names_the_place() -> None:
    with pytest.raises(PayloadError) as refusal:
        Payload(Person).load(b'{"name": "Ada", "home": {"street": 5}}', "It")

    assert str(refusal.value) == "It cannot be read as Person: Input should be a valid string at home.street."


def test_reading_converts_nothing() -> None:
    with pytest.raises(PayloadError, match="valid integer"):
        Payload(int).load(b'"1"', "It")


def test_a_validator_that_breaks_is_a_refusal() -> None:
    """A class has changed between a crash and the recovery: that must not take the recovery down."""

    class Fussy(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def look_up(cls, number: int) -> int:
            return {1: 1}[number]

    with pytest.raises(PayloadError, match="^It cannot be read as .*Fussy"):
        Payload(Fussy).load(b'{"number": 2}', "It")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        loaded = Payload(JsonValue).load(data, "It")
    except PayloadError:
        return
    Payload(JsonValue).is_instance(loaded)


# --- the promise -----------------------------------------------------------------------------------------------------


def _is_told_apart(moment: datetime) -> bool:
    """Whether it equals its own instant: not so in an hour that a clock shows twice or never (PEP 495)."""
    if moment.tzinfo is None:
        return True
    try:
        return moment == moment.astimezone(UTC)
    except OverflowError:
        return False


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=8)
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.timezones()).filter(_is_told_apart)
    | st.timedeltas()
    | st.uuids()
    | st.characters(categories=["Cs"])
    | st.sampled_from([*Colour, *Size, *Level]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Box[Any], content=inner)
    ),
    max_leaves=8,
)
ANNOTATIONS = st.sampled_from(
    [
        Any,
        JsonValue,
        object,
        int,
        float,
        str,
        bytes,
        Decimal,
        datetime,
        timedelta,
        list[int | str],
        list[float],
        dict[str, int],
        dict[int, Any],
        tuple[Any, Any],
        tuple[int | None, Decimal | str],
        set[int],
        Box[Any],
        Box[int | str],
        Colour | Size | None,
        datetime | date | str,
        int | float | bool | None,
    ]
)


@given(ANNOTATIONS, ANYTHING)
def test_whatever_is_accepted_comes_back_equal_and_whatever_is_not_is_a_payload_error(
    annotation: Any, value: Any
) -> None:
    payload = Payload(annotation)
    try:
        data, loaded = payload.store(value, "It")
    except PayloadError as error:
        refusal = str(error)
    else:
        again = payload.load(data, "It")
        assert value == again == loaded
        assert type(again) is type(loaded)
        assert payload.store(again, "It")[1] == value, "and what was read can be stored again"
        return
    assert refusal.startswith("It ")


# --- sets ------------------------------------------------------------------------------------------------------------


class Tagged(BaseModel):
    model_config = ConfigDict(frozen=True)

    tags: frozenset[int]


@dataclasses.dataclass
class Tags:
    of: dict[str, set[int]]
    secret: SecretStr


# Equal, and Python goes through them in another order; as it does with texts in each process.
ONE, OTHER = [0, 8, 16], [16, 8, 0]
SETS: list[tuple[Any, Callable[[list[int]], Any]]] = [
    (set[int], set),
    (set[str | int] | None, set),
    (Tagged, lambda items: Tagged(tags=frozenset(items))),
    (set[Tagged], lambda items: {Tagged(tags=frozenset(items))}),
    (RootModel[set[int]], lambda items: RootModel[set[int]](set(items))),
    (Tags, lambda items: Tags({"a": set(items)}, SecretStr("s"))),
    (list[tuple[int, set[int]]], lambda items: [(1, set(items))]),
    (set[frozenset[int]], lambda items: {frozenset(items), frozenset({1})}),
]


@pytest.mark.parametrize(("annotation", "made"), SETS, ids=steady)
def test_equal_sets_are_stored_as_equal_bytes(annotation: Any, made: Callable[[list[int]], Any]) -> None:
    assert list(set(ONE)) != list(set(OTHER))

    data, loaded = Payload(annotation).store(made(ONE), "It")

    assert data == Payload(annotation).store(made(OTHER), "It")[0]
    assert loaded == Payload(annotation).load(data, "It") == made(OTHER)


def test_a_list_keeps_its_order_beside_a_set() -> None:
    assert Payload(tuple[list[int], set[int]]).store((OTHER, set(OTHER)), "It")[0] == b"[[16,8,0],[0,16,8]]"


# --- canonical -------------------------------------------------------------------------------------------------------


def test_equal_documents_have_equal_canonical_bytes() -> None:
    assert canonical(b'{"b": 1, "a": [1.0, "\\u00fc"]}') == canonical('{"a":[1.0,"ü"],"b":1}'.encode())
    assert canonical(b'{"b":1,"a":2}') == b'{"a":2,"b":1}'


@pytest.mark.parametrize(("one", "other"), [(b"1", b'"1"'), (b"1", b"true"), (b"[1,2]", b"[2,1]"), (b"null", b"{}")])
def test_different_documents_have_different_canonical_bytes(one: bytes, other: bytes) -> None:
    assert canonical(one) != canonical(other)
