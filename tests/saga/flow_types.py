# ruff: noqa: F401, UP035 - what the pairs are written with
"""The types that `tests.saga.flow_corpus` is made of, as the authors of sagas write them."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, MutableMapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Number
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Dict,
    Final,
    Generic,
    List,
    Literal,
    NamedTuple,
    Never,
    NewType,
    NoReturn,
    Optional,
    Protocol,
    SupportsInt,
    Tuple,
    TypeVar,
    Union,
    runtime_checkable,
)
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    HttpUrl,
    JsonValue,
    PositiveInt,
    RootModel,
    SecretStr,
    model_validator,
)
from typing_extensions import NotRequired, TypeAliasType, TypedDict

from allframe import Event, Unknown

T = TypeVar("T")
K = TypeVar("K")
PaymentT = TypeVar("PaymentT", bound="Payment")
IntOrStr = TypeVar("IntOrStr", int, str)


class Payment(BaseModel):
    amount: Decimal
    note: str = ""

    def describe(self) -> str:
        return self.note


class Refund(Payment):
    reason: str


class Receipt(BaseModel):
    number: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Checked(BaseModel):
    kind: str

    @model_validator(mode="after")
    def is_right(self) -> Checked:
        return self


class CheckedCard(Checked):
    number: str


class Tags(RootModel[list[str]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]


class Receipts(Page[Receipt]):
    pass


class Sorted(Page[T], Generic[T]):
    by: str


@dataclasses.dataclass(frozen=True)
class Address:
    city: str


@dataclasses.dataclass(frozen=True)
class Office(Address):
    floor: int


@dataclasses.dataclass(frozen=True)
class Pair(Generic[T, K]):
    first: T
    second: K


@dataclasses.dataclass(frozen=True)
class Named(Pair[str, T]):
    pass


class Debited(Event):
    amount: Decimal


class DebitedAgain(Event):
    amount: Decimal
    currency: str


class Point(NamedTuple):
    x: int
    y: int


class Coordinates(tuple[int, int]):
    pass


class Label(NamedTuple):
    text: str


class Row(TypedDict):
    id: int
    name: str


class Wide(TypedDict):
    id: int
    name: str
    price: Decimal


class Loose(TypedDict):
    id: int
    name: NotRequired[str]


class Texts(TypedDict):
    id: str
    name: str


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Size(enum.Enum):
    BIG = 1


class HasAmount(Protocol):
    @property
    def amount(self) -> Decimal: ...


class HasCount(Protocol):
    @property
    def amount(self) -> int: ...


class HasNumber(Protocol):
    number: int


@runtime_checkable
class Describes(Protocol):
    def describe(self) -> str: ...


class Holds(Protocol[T]):
    @property
    def items(self) -> list[T]: ...


class Billable(abc.ABC):
    @abc.abstractmethod
    def bill(self) -> Decimal: ...


class Invoice(BaseModel, Billable):
    number: int

    def bill(self) -> Decimal:
        return Decimal(0)


class Ints(list[int]):
    pass


UserId = NewType("UserId", int)
OrderId = NewType("OrderId", int)
AdminId = NewType("AdminId", UserId)
Email = NewType("Email", str)

Ids = TypeAliasType("Ids", list[UserId])
IdOrName = TypeAliasType("IdOrName", int | str)
Named2 = TypeAliasType("Named2", dict[str, T], type_params=(T,))
Tree = TypeAliasType("Tree", dict[str, "Tree"] | list["Tree"] | str)  # type: ignore[misc]
Money = Annotated[Decimal, Field(ge=0)]
Upper = Annotated[str, AfterValidator(str.upper)]
Length = Annotated[str, AfterValidator(len)]
