"""Plain models: what they hold is stored without being read back, and the full round trip would say the same."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from allframe import Event
from allframe.errors import PayloadError
from allframe.payload import Payload
from allframe.plain import LARGEST, Plain, holds, plain


class Everything(Event, name="plain.all"):
    text: str
    number: int
    flag: bool = True
    id: UUID | None = None
    day: date | None = None
    amount: Decimal | None = Field(default=None, description="of money")


class Shadow(str):
    __slots__ = ()


class Size(StrEnum):
    SMALL = "small"


class Level(IntEnum):
    HIGH = 3


def fields_of(cls: type[BaseModel]) -> Any:
    return plain(cls, TypeAdapter(cls).core_schema)


# --- which models ----------------------------------------------------------------------------------------------------


def test_a_model_of_plain_fields_is_plain() -> None:
    none = type(None)

    assert fields_of(Everything) == {
        "text": {str},
        "number": {int},
        "flag": {bool},
        "id": {UUID, none},
        "day": {date, none},
        "amount": {Decimal, none},
    }


class Constrained(BaseModel):
    number: int = Field(gt=0)


class Aliased(BaseModel):
    number: int = Field(alias="no")


class WrittenByAlias(BaseModel):
    number: int = Field(serialization_alias="no")


class Excluded(BaseModel):
    number: int = Field(default=0, exclude=True)


class Validated(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def halve(cls, number: int) -> int:
        return number // 2


class Checked(BaseModel):
    number: Annotated[int, AfterValidator(abs)]


class Written(BaseModel):
    number: Annotated[int, PlainSerializer(str)]


class FieldWritten(BaseModel):
    number: int

    @field_serializer("number")
    def double(self, number: int) -> int:
        return number * 2


class WholeWritten(BaseModel):
    number: int

    @model_serializer
    def nothing(self) -> dict[str, Any]:
        return {}


class WholeValidated(BaseModel):
    number: int

    @model_validator(mode="after")
    def same(self) -> WholeValidated:
        return self


class Computed(BaseModel):
    number: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.number * 2


class Private(BaseModel):
    number: int
    _hidden: int = PrivateAttr(default=0)


class AfterInit(BaseModel):
    number: int

    def model_post_init(self, context: Any) -> None:
        object.__setattr__(self, "number", 0)


class OwnInit(BaseModel):
    number: int

    def __init__(self, **values: Any) -> None:
        super().__init__(number=values["number"] + 1)


class OwnEquality(BaseModel):
    number: int

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    text: str


class Secret(BaseModel):
    key: SecretStr


class Fraction(BaseModel):
    number: float


class Moment(BaseModel):
    at: datetime


class Blob(BaseModel):
    data: bytes


class Word(BaseModel):
    word: Literal["a"]


class Several(BaseModel):
    words: list[str]


class Either(BaseModel):
    value: int | str


class Anything(BaseModel):
    value: Any


class Nested(BaseModel):
    inner: Constrained


class OwnSchema(BaseModel):
    number: int

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return {"type": "function-after", "function": {"type": "no-info", "function": id}, "schema": handler(source)}


NOT_PLAIN = [
    Constrained,
    Aliased,
    WrittenByAlias,
    Excluded,
    Validated,
    Checked,
    Written,
    FieldWritten,
    WholeWritten,
    WholeValidated,
    Computed,
    Private,
    AfterInit,
    OwnInit,
    OwnEquality,
    Extra,
    Stripped,
    Secret,
    Fraction,
    Moment,
    Blob,
    Word,
    Several,
    Either,
    Anything,
    Nested,
    OwnSchema,
]


@pytest.mark.parametrize("cls", NOT_PLAIN)
def test_a_model_that_says_anything_else_is_not(cls: type[BaseModel]) -> None:
    assert fields_of(cls) is None


def test_a_field_that_is_secret_is_stored_in_full_and_not_as_plain() -> None:
    class Keyed(BaseModel):
        key: str = Field(json_schema_extra={"secret": True})

    payload = Payload(Keyed)

    assert payload.dump(Keyed(key="k"), "It") == b'{"key":"k"}'
    with pytest.raises(PayloadError, match="not shown as it may hold secrets"):
        payload.dump(Keyed.model_construct(key="\ud800"), "It")


# --- which values ----------------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.text(),
    st.integers(),
    st.booleans(),
    st.none(),
    st.uuids(),
    st.dates(),
    st.decimals(),
    st.floats(),
    st.binary(),
    st.datetimes(),
    st.sampled_from(
        [
            Shadow("a"),
            Size.SMALL,
            Level.HIGH,
            "\ud800",
            "\0",
            "x" * LARGEST,
            10**4300,
            -(10**5000),
            math.nan,
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("-Infinity"),
            Decimal("-0E+6144"),
            Decimal("1E-999999"),
            date.max,
            datetime(2026, 1, 1),  # noqa: DTZ001 - that is the case
            [],
            {},
        ]
    ),
)
NAMES = st.sampled_from([*Everything.model_fields, "other"])


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text waits for the table of all letters
@given(st.dictionaries(NAMES, VALUES))
@example({"text": "a", "number": 1, "flag": True, "id": None, "day": None, "amount": Decimal("1.10")})
@example({"text": "a", "number": True, "flag": True, "id": None, "day": None, "amount": None})
@example({"text": "a", "number": 1, "flag": True, "id": None, "day": None, "amount": Decimal("Infinity")})
@example({"text": "a", "number": 1, "flag": True, "id": None, "day": None, "other": None})
def test_whatever_was_put_in_is_stored_as_by_the_full_round_trip(values: dict[str, Any]) -> None:
    event = Everything.model_construct(**values)
    object.__setattr__(event, "__dict__", {**event.__dict__, **values})  # also what is no field

    assert dumped(event) == stored(event)


@given(st.builds(Everything))
def test_what_was_validated_is_stored_as_by_the_full_round_trip(event: Everything) -> None:
    assert dumped(event) == stored(event)


def test_a_field_that_is_missing_or_too_much_makes_it_not_hold() -> None:
    fields: Plain = {"number": frozenset({int})}

    assert holds(fields, {"number": 1})
    assert not holds(fields, {})
    assert not holds(fields, {"number": 1, "other": 2})
    assert not holds(fields, {"other": 2})


def test_an_instance_of_a_subclass_is_not_taken_for_one_of_the_class() -> None:
    class Wider(Everything, name="plain.wider"):
        more: int = 1

        @cached_property
        def twice(self) -> int:
            return self.number * 2

    with pytest.raises(PayloadError):
        Payload(Everything).dump(Wider(text="a", number=1), "It")


def dumped(event: Everything) -> bytes | str:
    try:
        return Payload(Everything).dump(event, "It")
    except PayloadError as error:
        return str(error)


def stored(event: Everything) -> bytes | str:
    try:
        return Payload(Everything).store(event, "It")[0]
    except PayloadError as error:
        return str(error)
