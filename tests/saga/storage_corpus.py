"""Types of which it is said whether their values can be stored: the specification of AF110.

Each refused one has a witness, a value that really does not come back; each accepted one has values that all do.
"""

from __future__ import annotations

import collections
import dataclasses
import fractions
import ipaddress
import pathlib
import re
import zoneinfo
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    ImportString,
    Json,
    JsonValue,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    Tag,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

__all__ = ["ACCEPTED", "REFUSED", "Accepted", "Refused"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Refused:
    annotation: Any
    #: The way to the offending part of it.
    path: str
    #: Said of that part.
    words: str
    #: Makes a value that does not come back; or says itself, with a TypeError, that there can be none.
    witness: Callable[[], Any]
    #: Not as the field of a model, which makes another value of the witness.
    is_output_only: bool = False


@dataclasses.dataclass(frozen=True)
class Accepted:
    annotation: Any
    values: tuple[Any, ...]
    #: Whether Hypothesis knows how to make others.
    is_generated: bool = True


class Colour(Enum):
    RED = "red"
    TWO = 2


class Shade(Enum):
    LIGHT = "light"
    DARK = "dark"


class Size(StrEnum):
    SMALL = "small"


class Level(IntEnum):
    HIGH = 3


class Rights(Flag):
    READ = 1
    WRITE = 2


class Pair(Enum):
    ONE = (1, 2)


class Price(Enum):
    LOW = Decimal("1.10")


class Start(Enum):
    NEW_YEAR = date(2026, 1, 1)


class Half(Enum):
    HALF = 1.5
    NONE = None


class Guessing(Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: object) -> Guessing:
        return cls.RED


# --- models that are refused -----------------------------------------------------------------------------------------


class Raw(BaseModel):
    data: bytes


class HalfRaw(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")
    data: bytes


class Hex(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex")
    data: bytes


class Wrapped(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    inner: list[Raw]


class RawSecret(BaseModel):
    keys: dict[bytes, int]
    pair: tuple[int, bytes]


class Timed(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float")
    took: timedelta


class Excluding(BaseModel):
    name: str
    note: str = Field("", exclude=True)


class ExcludingNeeded(BaseModel):
    note: str = Field(exclude=True)


@dataclasses.dataclass
class Counted:
    name: str
    count: int = dataclasses.field(default=0, init=False)


class Free(BaseModel):
    amount: Decimal = 0  # type: ignore[assignment]


class Untupled(BaseModel):
    items: Sequence[int] = ()


class Validated(BaseModel):
    items: Sequence[int] = Field(default=(), validate_default=True)


class AnyModel(BaseModel):
    content: BaseModel


class Silent(BaseModel):
    note: str = None  # type: ignore[assignment]


class Valued(BaseModel):
    model_config = ConfigDict(use_enum_values=True)
    colour: Colour = Colour.RED


class Approved(BaseModel):
    reference: str


class Declined(BaseModel):
    reference: str
    reason: str = ""


class Loose(BaseModel):
    reference: UUID | str


class Order(BaseModel):
    lines: list[Loose]
    by_day: dict[date, Loose]


class Trouble(BaseModel):
    reference: UUID | str
    place: dict[tuple[int, int], str]
    data: bytes


class Node(BaseModel):
    name: UUID | str
    children: list[Node] = []


class Plain(BaseModel):
    number: int = 0


class Hashed(BaseModel):
    model_config = ConfigDict(frozen=True)
    number: int = 0


class Sorted(TypedDict):
    key: Decimal | str


class Spot(NamedTuple):
    x: int
    name: date | str


class Boxed(BaseModel, Generic[T]):
    content: T


class Rooted(RootModel[list[datetime | str]]):
    pass


@dataclasses.dataclass
class Secretive:
    token: SecretStr | str


class Callback(BaseModel):
    done: Callable[[], None]


class Thing:
    pass


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Thing


# --- models that are accepted ----------------------------------------------------------------------------------------


class Line(BaseModel):
    sku: str
    price: Decimal
    tags: frozenset[str] = frozenset()


class Basket(BaseModel):
    id: UUID
    lines: list[Line]
    placed: datetime | None = None


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Aliased(BaseModel):
    number: int = Field(alias="no")


class OnlyAliased(BaseModel):
    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True, serialize_by_alias=True)
    number: int = Field(validation_alias="in", serialization_alias="out")


class Listed(BaseModel):
    items: Sequence[int] = []


class Made(BaseModel):
    model_config = ConfigDict(validate_default=True)
    amount: Decimal = 0  # type: ignore[assignment]


ModelT = TypeVar("ModelT", bound=BaseModel)


class Reply(BaseModel, Generic[ModelT]):
    content: ModelT


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.side**2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Yes(BaseModel):
    receipt: str


class No(BaseModel):
    reason: str


class More(Yes):
    tip: int


class Constant(BaseModel):
    kind: Literal["x"] = Field("x", exclude=True)


class Private(BaseModel):
    number: int
    _times: int = PrivateAttr(0)


class Unbound(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int


class Guest(BaseModel):
    """It makes a secret of every text."""

    token: SecretStr | str


class Checked(BaseModel):
    reference: UUID | str

    @field_validator("reference")
    @classmethod
    def no_text_like_a_uuid(cls, reference: UUID | str) -> UUID | str:
        if isinstance(reference, str) and len(reference) >= 32:
            raise ValueError("too long")
        return reference


class Summed(BaseModel):
    parts: list[int]
    total: int = Field(0, exclude=True)

    @model_validator(mode="after")
    def add(self) -> Summed:
        self.__dict__["total"] = sum(self.parts)
        return self


class Derived(BaseModel):
    parts: list[int]
    total: int = Field(default_factory=lambda fields: sum(fields["parts"]), exclude=True)


class Counting(BaseModel):
    parts: list[int]
    total: int = Field(0, exclude=True)

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__["total"] = len(self.parts)


class Written(BaseModel):
    data: bytes

    @field_serializer("data")
    def as_hex(self, data: bytes) -> str:
        return data.hex()

    @field_validator("data", mode="before")
    @classmethod
    def of_hex(cls, data: Any) -> Any:
        return bytes.fromhex(data) if isinstance(data, str) else data


class WrittenWhole(BaseModel):
    data: bytes

    @model_serializer
    def as_text(self) -> dict[str, str]:
        return {"data": self.data.hex()}

    @model_validator(mode="before")
    @classmethod
    def of_text(cls, value: Any) -> Any:
        return {"data": bytes.fromhex(value["data"])} if isinstance(value["data"], str) else value


class Money:
    """It says itself what pydantic makes of it."""

    currencies: ClassVar = ("EUR", "USD")

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Money({self.text!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(cls, core_schema.str_schema()),
            ],
            serialization=core_schema.plain_serializer_function_ser_schema(lambda money: money.text),
        )


@dataclasses.dataclass
class Account:
    number: str
    balance: Decimal = Decimal(0)


@dataclasses.dataclass(frozen=True)
class Sealed:
    number: str
    version: int = dataclasses.field(default=1, init=False)


class Row(TypedDict):
    id: int
    note: NotRequired[str]


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Tags(RootModel[list[str]]):
    pass


class Kept(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    data: bytes


@dataclasses.dataclass
class KeptData:
    data: bytes


OrderId = NewType("OrderId", int)
UUID_TEXT = "00000000-0000-0000-0000-000000000001"
SOME_UUID = UUID(UUID_TEXT)
MOMENT = datetime(2026, 1, 1, 12, 30, microsecond=1, tzinfo=UTC)
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Tagged = Annotated[
    Annotated[Yes, Tag("yes")] | Annotated[More, Tag("more")],
    Discriminator(lambda value: "more" if "tip" in (value if isinstance(value, dict) else value.__dict__) else "yes"),
]

ALIKE = "both may look alike in JSON"
KEYS = "JSON has only texts as keys"
HASHED = "which cannot be hashed"
BYTES = "bytes that are no UTF-8 text are refused"


def _refused(annotation: Any, path: str, words: str, value: Any) -> Refused:
    return Refused(annotation, path, words, value if callable(value) else lambda: value)


REFUSED: list[Refused] = [
    # texts that look alike
    _refused(UUID | str, "", f"is UUID | str, and {ALIKE}", UUID_TEXT),
    _refused(str | UUID, "", f"is str | UUID, and {ALIKE}", UUID_TEXT),
    _refused(UUID | str | None, "", ALIKE, UUID_TEXT),
    _refused(UUID | str | int, "", ALIKE, UUID_TEXT),
    _refused(
        datetime | str, "", "the str '2026-01-02T03:04:05Z' would be read back as datetime", "2026-01-01T00:00:00Z"
    ),
    _refused(str | datetime, "", "would be read back as str", MOMENT),
    _refused(date | str, "", ALIKE, "2026-01-01"),
    _refused(str | date, "", ALIKE, date(2026, 1, 1)),
    _refused(time | str, "", ALIKE, "10:00"),
    _refused(timedelta | str, "", ALIKE, "P1D"),
    _refused(str | timedelta, "", ALIKE, timedelta(1)),
    _refused(Decimal | str, "", ALIKE, "1.0"),
    _refused(str | Decimal, "", ALIKE, Decimal("1.0")),
    _refused(datetime | Decimal, "", ALIKE, Decimal("1.5")),
    _refused(bytes | str, "", ALIKE, "YQ=="),
    _refused(str | bytes, "", ALIKE, b"a"),
    _refused(pathlib.Path | str, "", "is Path | str", "a"),
    _refused(str | pathlib.Path, "", ALIKE, pathlib.Path("a")),
    _refused(ipaddress.IPv4Address | str, "", ALIKE, "1.1.1.1"),
    _refused(str | AnyUrl, "", ALIKE, lambda: AnyUrl("http://a/")),
    _refused(AnyUrl | str, "", ALIKE, lambda: AnyUrl("http://a/")),
    Refused(SecretStr | str, "", "is SecretStr | str", lambda: "open", is_output_only=True),
    _refused(str | SecretStr, "", ALIKE, SecretStr("hidden")),
    # enums
    _refused(str | Colour, "", "<Colour.RED: 'red'> would be read back as str 'red'", Colour.RED),
    _refused(Colour | str, "", "<Colour.RED: 'red'> would be read back as str 'red'", Colour.RED),
    _refused(Literal["red"] | Colour, "", ALIKE, Colour.RED),
    _refused(int | Colour, "", ALIKE, Colour.TWO),
    _refused(Pair, "", "can be <Pair.ONE: (1, 2)>, and", Pair.ONE),
    _refused(Price, "", "Give the enum's members values that JSON has", Price.LOW),
    _refused(Start, "", "cannot be read back", Start.NEW_YEAR),
    _refused(list[Pair], "[*]", "cannot be read back", [Pair.ONE]),
    _refused(Literal[Colour.RED], "", "can be <Colour.RED: 'red'>, and", Colour.RED),
    _refused(Literal[Colour.RED, "red"], "", "would be read back as str 'red'", Colour.RED),
    _refused(Literal[b"a"], "", "can be b'a'", b"a"),
    # containers and models that look alike
    _refused(list[int] | tuple[int, ...], "", "tuple (1,) would be read back as list [1]", (1,)),
    _refused(list[int] | set[int], "", ALIKE, {1}),
    _refused(dict[str, str] | Approved, "", ALIKE, Approved(reference="x")),
    _refused(Approved | dict[str, str], "", ALIKE, {"reference": "x"}),
    _refused(Declined | Approved, "", "Field(discriminator='kind')", Approved(reference="x")),
    _refused(Plain | Hashed, "", "Hashed(number=1) would be read back as Plain(number=1)", Hashed(number=1)),
    _refused(list[Plain | Hashed], "[*]", ALIKE, [Hashed(number=1)]),
    _refused(Plain | Hashed | None, "", ALIKE, Hashed(number=1)),
    # keys
    _refused(dict[tuple[int, int], str], "keys()", f"are tuple[int, int], and {KEYS}", {(1, 2): "a"}),
    _refused(dict[tuple[str, ...], str], "keys()", KEYS, {("a",): "a"}),
    _refused(dict[int | str, str], "keys()", "the key 1 would be read back as str '1'", {1: "a"}),
    _refused(dict[str | int, str], "keys()", KEYS, {1: "a"}),
    _refused(dict[str | None, str], "keys()", "the key None would be read back as str 'None'", {None: "a"}),
    _refused(dict[int | None, str], "keys()", "the key None cannot be read back", {None: "a"}),
    _refused(dict[UUID | str, str], "keys()", KEYS, {UUID_TEXT: "a"}),
    _refused(dict[Colour, str], "keys()", "the key <Colour.TWO: 2> cannot be read back", {Colour.TWO: "a"}),
    _refused(dict[Rights, str], "keys()", KEYS, {Rights.READ: "a"}),
    _refused(dict[Half, str], "keys()", KEYS, {Half.HALF: "a"}),
    _refused(dict[Literal[1], str], "keys()", "the key 1 cannot be read back", {1: "a"}),
    _refused(dict[Literal[1, "1"], str], "keys()", KEYS, {1: "a"}),
    _refused(dict[Hashed, str], "keys()", "are Hashed, and", lambda: {Hashed(): "a"}),
    _refused(dict[frozenset[int], str], "keys()", KEYS, {frozenset({1}): "a"}),
    _refused(dict[complex, str], "keys()", KEYS, {1j: "a"}),
    _refused(dict[SecretStr, str], "keys()", "are secrets, and keys are written as asterisks", {SecretStr("a"): "a"}),
    _refused(
        collections.OrderedDict[tuple[int, int], str], "keys()", KEYS, lambda: collections.OrderedDict({(1, 2): "a"})
    ),
    _refused(list[dict[str, dict[tuple[int, int], int]]], "[*][*].keys()", KEYS, [{"a": {(1, 2): 3}}]),
    # what cannot be hashed
    _refused(set[Plain], "", f"is a set of Plain, {HASHED}", lambda: {Plain()}),
    _refused(frozenset[Plain], "", f"is a frozenset of Plain, {HASHED}", lambda: frozenset({Plain()})),
    _refused(set[list[int]], "", f"is a set of list[int], {HASHED}", lambda: {[1]}),  # type: ignore[comparison-overlap]
    _refused(set[dict[str, int]], "", HASHED, lambda: {{"a": 1}}),
    _refused(set[Account], "", HASHED, lambda: {Account("a")}),
    _refused(dict[str, set[tuple[list[int], int]]], "[*]", HASHED, lambda: {"a": {([1], 1)}}),
    _refused(dict[list[int], str], "keys()", f"are list[int], {HASHED}", lambda: {[1]: "a"}),
    # bytes and times by the config of their model
    _refused(Raw, "data", f"is bytes, written as utf8: {BYTES}", lambda: Raw(data=b"\xff")),
    _refused(
        list[Raw],
        "[*].data",
        'ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")',
        lambda: [Raw(data=b"\xff")],
    ),
    _refused(HalfRaw, "data", "is bytes, written as base64: it is read otherwise", lambda: HalfRaw(data=b"a")),
    _refused(Wrapped, "inner[*].data", BYTES, lambda: Wrapped(inner=[Raw(data=b"\xff")])),
    _refused(RawSecret, "pair[1]", BYTES, lambda: RawSecret(keys={}, pair=(1, b"\xff"))),
    _refused(Timed, "took", "Leave ser_json_timedelta out", lambda: Timed(took=timedelta(1))),
    # what is left out
    _refused(Excluding, "note", "has exclude=True, so its value is not stored", lambda: Excluding(name="a", note="b")),
    _refused(ExcludingNeeded, "note", "has exclude=True", lambda: ExcludingNeeded(note="b")),
    _refused(dict[str, Excluding], "[*].note", "has exclude=True", lambda: {"a": Excluding(name="a", note="b")}),
    _refused(Counted, "count", "has init=False, so its value is not read back", lambda: _counted()),
    # defaults of another type
    _refused(Free, "amount", "is Decimal, and its default is of type int", Free),
    _refused(Silent, "note", "is str, and its default is None, which would not come back. Add `| None`", Silent),
    _refused(Valued, "colour", "is Colour, and its default is of type Colour", Valued),
    # deep
    _refused(
        Order, "lines[*].reference", "is UUID | str", lambda: Order(lines=[Loose(reference=UUID_TEXT)], by_day={})
    ),
    _refused(Node, "name", ALIKE, lambda: Node(name=UUID_TEXT)),
    _refused(Sorted, "['key']", "is Decimal | str", {"key": "1"}),
    _refused(Spot, "name", "is date | str", Spot(1, "2026-01-01")),
    _refused(Boxed[UUID | str], "content", ALIKE, lambda: Boxed[UUID | str](content=UUID_TEXT)),
    _refused(Rooted, "[*]", ALIKE, lambda: Rooted(["2026-01-01T00:00:00Z"])),
    _refused(tuple[int, UUID | str], "[1]", ALIKE, (1, UUID_TEXT)),
    _refused(tuple[UUID | str, ...], "[*]", ALIKE, (UUID_TEXT,)),
    _refused(collections.deque[UUID | str], "[*]", ALIKE, lambda: collections.deque([UUID_TEXT])),
    _refused(
        collections.defaultdict[str, list[UUID | str]],
        "[*][*]",
        ALIKE,
        lambda: collections.defaultdict(list, a=[UUID_TEXT]),
    ),
    _refused(Secretive, "token", ALIKE, lambda: Secretive("open")),
    _refused(Annotated[UUID | str, Field(description="x")], "", ALIKE, UUID_TEXT),
    # what nobody reads
    _refused(Secret[int], "", "Write SecretStr, or SecretBytes", lambda: Secret[int](1)),
    _refused(Callback, "done", "is a callable, which cannot be read from JSON", lambda: Callback(done=lambda: None)),
    _refused(Callable[[], int], "", "is a callable", lambda: lambda: 1),
    _refused(Iterable[int], "", "is an iterator", lambda: iter([1])),
    _refused(Holder, "thing", "is Thing, which cannot be read from JSON", lambda: Holder(thing=Thing())),
    _refused(list[Holder], "[*].thing", "is Thing", lambda: [Holder(thing=Thing())]),
    _refused(Holder | int, "thing", "is Thing", lambda: Holder(thing=Thing())),
    _refused(type[int], "", "is a class, int or one below it, which cannot be read from JSON", lambda: int),
    # what names no fields
    _refused(list[BaseModel], "[*]", "is BaseModel, which names no fields", lambda: [Plain()]),
    _refused(AnyModel, "content", "is BaseModel, which names no fields", lambda: AnyModel(content=Plain())),
    # validation leaves it as it is
    _refused(
        Untupled, "items", "its default is of type tuple, which would not come back. Annotate the tuple", Untupled
    ),
    _refused(
        Validated, "items", "its default is of type tuple, which would not come back. Annotate the tuple", Validated
    ),
]


def _counted() -> Counted:
    counted = Counted("a")
    counted.count = 5
    return counted


def _of(annotation: Any, *values: Any, is_generated: bool = True) -> Accepted:
    return Accepted(annotation, values, is_generated)


ACCEPTED: list[Accepted] = [
    # plain
    _of(None, None),
    _of(int, 0, -1, 2**70),
    _of(str, "", "ü", UUID_TEXT),
    _of(bool, True, False),
    _of(float, 0.1, -0.0, 1e300),
    _of(Decimal, Decimal("1.10"), Decimal("1E+5")),
    _of(bytes, b"\xff\x00"),
    _of(UUID, SOME_UUID),
    _of(date, date(2026, 1, 1)),
    _of(datetime, MOMENT, datetime(2026, 1, 1)),  # noqa: DTZ001 - that is the case
    _of(AwareDatetime, MOMENT, is_generated=False),
    _of(time, time(1, 2, 3, 4)),
    _of(timedelta, timedelta(days=-1, microseconds=1)),
    _of(complex, 1 + 2j, is_generated=False),
    _of(fractions.Fraction, fractions.Fraction(1, 3)),
    _of(pathlib.Path, pathlib.Path("/a/b"), is_generated=False),
    _of(ipaddress.IPv4Address, ipaddress.IPv4Address("1.1.1.1")),
    _of(ipaddress.IPv6Network, ipaddress.IPv6Network("::/8"), is_generated=False),
    _of(zoneinfo.ZoneInfo, zoneinfo.ZoneInfo("Europe/Berlin"), is_generated=False),
    _of(AnyUrl, AnyUrl("http://a/b"), is_generated=False),
    _of(HttpUrl, HttpUrl("http://a/"), is_generated=False),
    _of(re.Pattern[str], re.compile("a+"), is_generated=False),
    _of(ByteSize, ByteSize(3), is_generated=False),
    _of(ImportString, Decimal, is_generated=False),
    _of(SecretStr, SecretStr("hidden"), is_generated=False),
    _of(SecretBytes, SecretBytes(b"\xff"), is_generated=False),
    _of(Base64Bytes, b"hello", is_generated=False),
    _of(Json[list[int]], [1, 2], is_generated=False),
    _of(OrderId, OrderId(1)),
    _of(Annotated[int, Field(gt=0)], 1, is_generated=False),
    _of(Annotated[str, Field(pattern="^[A-Z]+$")], "ABC", is_generated=False),
    _of(Any, 1, "a", [None, {"a": 1.5}], is_generated=False),
    _of(object, 1, is_generated=False),
    _of(JsonValue, {"a": [1, None, True]}, is_generated=False),
    _of(Hashable, 1, "a", is_generated=False),
    # enums and literals
    _of(Colour, Colour.RED, Colour.TWO),
    _of(Size, Size.SMALL),
    _of(Level, Level.HIGH),
    _of(Rights, Rights.READ, Rights.READ | Rights.WRITE),
    _of(Half, Half.HALF, Half.NONE),
    _of(Guessing, Guessing.RED),
    _of(Literal["a", 1, None, True], "a", 1, None, is_generated=False),
    _of(Literal[Size.SMALL], Size.SMALL),
    _of(Literal[Level.HIGH], Level.HIGH),
    _of(Literal["a"] | Colour, "a", Colour.RED, Colour.TWO),
    _of(Shade | Level, Shade.DARK, Level.HIGH),
    # unions that are told apart
    _of(int | str, 1, "1"),
    _of(str | int | None, 1, "1", None),
    _of(int | float, 1, 1.0),
    _of(float | int | bool | None, 1.5, 1, True, None),
    _of(bool | int, True, 1),
    _of(Decimal | int, Decimal("1.5"), 1),
    _of(Decimal | float, Decimal("1.5"), 1.5),
    _of(UUID | int, SOME_UUID, 1),
    _of(UUID | datetime, SOME_UUID, MOMENT),
    _of(UUID | bytes, SOME_UUID, b"a"),
    _of(datetime | int | None, MOMENT, 1, None),
    _of(Literal["never"] | UUID, "never", SOME_UUID),
    _of(Literal["never"] | date, "never", date(2026, 1, 1)),
    _of(ipaddress.IPv4Address | ipaddress.IPv6Address, ipaddress.IPv6Address("::1")),
    _of(list[int] | int | None, [1], 1, None),
    _of(list[int] | list[str], [1], ["a"], []),
    _of(Yes | No, Yes(receipt="a"), No(reason="b")),
    _of(Yes | More, Yes(receipt="a"), More(receipt="a", tip=1)),
    _of(More | Yes | None, Yes(receipt="a"), More(receipt="a", tip=1), None),
    _of(Approved | Declined, Approved(reference="x"), Declined(reference="x"), Declined(reference="x", reason="y")),
    _of(Cat | Dog, Cat(name="a"), Dog(name="b")),
    _of(Pet, Cat(name="a"), Dog(name="b"), is_generated=False),
    _of(list[Pet], [Cat(name="a"), Dog(name="b")], is_generated=False),
    _of(Tagged, Yes(receipt="a"), More(receipt="a", tip=1), is_generated=False),
    _of(Yes | int | str, Yes(receipt="a"), 1, "a"),
    _of(Annotated[str, Field(max_length=8)] | UUID, "a", SOME_UUID, is_generated=False),
    _of(Any | int, 1, "a", is_generated=False),
    # containers
    _of(list[int], [1], []),
    _of(list, [1, "a", None], is_generated=False),
    _of(tuple[int, ...], (1, 2), ()),
    _of(tuple[int, str], (1, "a")),
    _of(set[int], {1, 2}),
    _of(set[tuple[int, str]], {(1, "a")}),
    _of(set[Hashed], {Hashed(number=1)}),
    _of(set[Sealed], {Sealed("a")}, is_generated=False),
    _of(frozenset[Decimal], frozenset({Decimal("1.10")}), is_generated=False),
    _of(collections.deque[int], collections.deque([1]), is_generated=False),
    _of(collections.Counter[str], collections.Counter("aab"), is_generated=False),
    _of(collections.OrderedDict[str, int], collections.OrderedDict(a=1), is_generated=False),
    _of(collections.defaultdict[str, int], collections.defaultdict(int, a=1), is_generated=False),
    _of(Sequence[int], [1, 2], is_generated=False),
    _of(Listed, Listed(), Listed(items=[1]), is_generated=False),
    _of(Made, Made(), is_generated=False),
    _of(Reply[Plain], Reply[Plain](content=Plain())),
    _of(Annotated[str, Field(alias="x", repr=False)], "y"),
    _of(Mapping[str, int], {"a": 1}, is_generated=False),
    _of(dict[str, int], {"a": 1}),
    _of(dict, {"a": 1}, is_generated=False),
    _of(dict[int, str], {1: "a", -5: "b"}),
    _of(dict[bool, int], {True: 1}),
    _of(dict[float, int], {0.1: 1, 1e300: 2}),
    _of(dict[Decimal, int], {Decimal("1.10"): 1}, is_generated=False),
    _of(dict[UUID, int], {SOME_UUID: 1}),
    _of(dict[date, int], {date(2026, 1, 1): 1}),
    _of(dict[datetime, int], {MOMENT: 1}),
    _of(dict[time, int], {time(1, 2): 1}),
    _of(dict[timedelta, int], {timedelta(1, 2, 3): 1}),
    _of(dict[bytes, int], {b"\xff": 1}),
    _of(dict[Shade, int], {Shade.DARK: 1}),
    _of(dict[Size, int], {Size.SMALL: 1}),
    _of(dict[Level, int], {Level.HIGH: 1}),
    _of(dict[Literal["a", "b"], int], {"a": 1}),
    _of(dict[UUID | int, str], {SOME_UUID: "a", 1: "b"}),
    _of(dict[pathlib.Path, int], {pathlib.Path("a"): 1}, is_generated=False),
    _of(dict[ipaddress.IPv4Address, int], {ipaddress.IPv4Address("1.1.1.1"): 1}),
    _of(dict[AnyUrl, int], {AnyUrl("http://a/"): 1}, is_generated=False),
    _of(dict[Any, int], {"a": 1}, is_generated=False),
    # models and what is like them
    _of(Line, Line(sku="a", price=Decimal("1.10"), tags=frozenset("ab")), is_generated=False),
    _of(Basket, Basket(id=SOME_UUID, lines=[Line(sku="a", price=Decimal(1))], placed=MOMENT), is_generated=False),
    _of(Tree, Tree(name="a", children=[Tree(name="b")]), is_generated=False),
    _of(Boxed[Decimal], Boxed[Decimal](content=Decimal("1.10")), is_generated=False),
    _of(Boxed, Boxed(content=1), is_generated=False),
    _of(Aliased, Aliased(no=1), is_generated=False),
    _of(OnlyAliased, OnlyAliased.model_validate({"in": 1}), is_generated=False),
    _of(Square, Square(side=3)),
    _of(Account, Account("a", Decimal("1.10"))),
    _of(Sealed, Sealed("a"), is_generated=False),
    _of(Row, {"id": 1}, {"id": 1, "note": "a"}),
    _of(Point, Point(1, 1.5)),
    _of(Tags, Tags(["a"]), is_generated=False),
    _of(Kept, Kept(data=b"\xff")),
    _of(Hex, Hex(data=b"\xff")),
    _of(KeptData, KeptData(b"\xff")),
    _of(Constant, Constant(), is_generated=False),
    _of(Private, Private(number=1), is_generated=False),
    _of(Unbound, Unbound(number=1, other="a"), is_generated=False),  # type: ignore[call-arg]
    _of(Guest, Guest(token="open"), is_generated=False),  # type: ignore[arg-type]
    _of(SerializeAsAny[Plain], Plain(number=1), is_generated=False),
    # the user's own code has a say
    _of(Checked, Checked(reference=SOME_UUID), Checked(reference="a"), is_generated=False),
    _of(Annotated[UUID | str, AfterValidator(lambda value: value)], SOME_UUID, "a", is_generated=False),
    _of(Annotated[UUID | str, BeforeValidator(lambda value: value)], SOME_UUID, "a", is_generated=False),
    _of(Annotated[bytes, PlainSerializer(lambda data: data.decode())], is_generated=False),
    _of(Summed, Summed(parts=[1, 2]), is_generated=False),
    _of(Derived, Derived(parts=[1, 2]), is_generated=False),
    _of(Counting, Counting(parts=[1, 2]), is_generated=False),
    _of(Written, Written(data=b"\xff"), is_generated=False),
    _of(WrittenWhole, WrittenWhole(data=b"\xff"), is_generated=False),
    _of(Money, Money("1.10"), is_generated=False),
    _of(Guessing | int, Guessing.RED, 1, is_generated=False),
    _of(int | Callable[[], int], 1, is_generated=False),
]
