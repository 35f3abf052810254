"""What can flow from a step to whoever takes its output, and what cannot: the specification of AF107's question.

Each pair is ``produced -> consumed``, both written as in a saga. ``differs`` says why mypy, asked whether the one can be
assigned to the other, answers otherwise; where nothing is said it agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_type_hints

from tests.saga import flow_types

__all__ = ["FITS", "REFUSED", "Flow", "hints_of"]


@dataclass(frozen=True)
class Flow:
    """A pair, and why mypy differs."""

    pair: str
    differs: str = ""

    @property
    def produced(self) -> str:
        return self.pair.split(" -> ")[0]

    @property
    def consumed(self) -> str:
        return self.pair.split(" -> ")[1]


def hints_of(flow: Flow) -> tuple[Any, Any]:
    """The two annotations as allframe gets them."""

    def pair() -> None: ...

    pair.__annotations__ = {"produced": flow.produced, "consumed": flow.consumed}
    hints = get_type_hints(pair, globalns=vars(flow_types), include_extras=True)
    return hints["produced"], hints["consumed"]


COPY = "containers are copies of their own: nobody else writes to them, so the items may be below"
VALUE = "the annotation does not name the values; which it is, the value decides"
NEW_TYPE = "a NewType is no type at run time: whoever reads an id from outside has a plain int"
BELOW = "an abstract type is read as a class below it"
DICT = "at run time a TypedDict is a dict"
EVENT = "an event is stored by its own class, and may be read as a later version of it"
UNKNOWN = "Unknown is for the output that nobody has, and is taken beside it"
CHECKED = "a validator of its own may answer with an object of a class below"
REGISTERED = "it is registered where mypy does not look"
CONVERTS = "a validator may make it another type"
ANY_JSON = "it may be any JSON, so the value decides"

FITS = [
    # The same, and what says no more.
    Flow("int -> int"),
    Flow("None -> None"),
    Flow("Payment -> Payment"),
    Flow("list[Payment] -> list[Payment]"),
    Flow("int -> object"),
    Flow("int -> Any"),
    Flow("Any -> Payment"),
    Flow("object -> Payment", VALUE),
    Flow("list[Any] -> list[int]"),
    Flow("list[int] -> list[Any]"),
    Flow("list[int] -> list"),
    Flow("list -> list[int]"),
    Flow("Never -> int"),
    Flow("NoReturn -> Payment"),
    # Plain values.
    Flow("bool -> int"),
    Flow("bool -> float"),
    Flow("int -> float"),
    Flow("int -> complex"),
    Flow("float -> complex"),
    Flow("datetime -> date"),
    Flow("int -> SupportsInt"),
    Flow("Decimal -> Hashable"),
    Flow("int -> Number", REGISTERED),
    Flow("Colour -> str"),
    Flow("Level -> int"),
    Flow("Level -> float"),
    # Unions.
    Flow("int -> int | None"),
    Flow("int -> Optional[int]"),
    Flow("None -> int | None"),
    Flow("int | None -> int | None"),
    Flow("int | str -> Union[str, int, None]"),
    Flow("bool | None -> float | None"),
    Flow("Refund | Receipt -> Payment | Receipt"),
    Flow("Payment | None -> BaseModel | None"),
    Flow("UUID -> UUID | str"),
    Flow("list[int | str] -> Sequence[int | str | None]"),
    Flow("tuple[int | str, int] -> tuple[int, int] | tuple[str, int]", "the two take every value between them"),
    Flow("IdOrName -> int | str"),
    Flow("int -> IdOrName"),
    Flow("IdOrName -> IdOrName | None"),
    # Unknown.
    Flow("Payment -> Payment | Unknown"),
    Flow("Payment | None -> Payment | Unknown | None"),
    Flow("list[Refund] -> Unknown | Sequence[Payment]"),
    # Annotated, aliases.
    Flow("Money -> Decimal"),
    Flow("Decimal -> Money"),
    Flow("PositiveInt -> int"),
    Flow("int -> PositiveInt"),
    Flow("Annotated[int | None, 'x'] -> Annotated[int, 'y'] | None"),
    Flow("Ids -> list[UserId]"),
    Flow("list[UserId] -> Ids"),
    Flow("Named2[int] -> dict[str, int]"),
    Flow("dict[str, bool] -> Named2[int]", COPY),
    Flow("Upper -> str"),
    Flow("Length -> int", CONVERTS),
    # Literal.
    Flow("Literal['a'] -> str"),
    Flow("Literal['a'] -> Literal['a', 'b']"),
    Flow("Literal['a', 1] -> str | int"),
    Flow("Literal[1] -> float"),
    Flow("Literal[None] -> None"),
    Flow("Literal[Colour.RED] -> Colour"),
    Flow("Literal[Colour.RED] -> str"),
    Flow("bool -> Literal[True, False]"),
    Flow("str -> Literal['a', 'b']", VALUE),
    Flow("int -> Literal[1]", VALUE),
    Flow("bool -> Literal[True]", VALUE),
    Flow("Colour -> Literal[Colour.RED]", VALUE),
    # Containers.
    Flow("list[int] -> Sequence[int]"),
    Flow("list[int] -> Iterable[float]"),
    Flow("list[int] -> Collection[int]"),
    Flow("List[int] -> list[int]"),
    Flow("list[int] -> Sized"),
    Flow("str -> Sequence[str]"),
    Flow("bytes -> Sequence[int]"),
    Flow("dict[str, int] -> Mapping[str, float]"),
    Flow("dict[str, int] -> Iterable[str]"),
    Flow("Dict[str, int] -> MutableMapping[str, int]"),
    Flow("collections.OrderedDict[str, int] -> dict[str, int]"),
    Flow("collections.Counter[str] -> Mapping[str, int]"),
    Flow("set[int] -> AbstractSet[int]"),
    Flow("Ints -> Sequence[int]"),
    Flow("list[bool] -> list[int]", COPY),
    Flow("list[int] -> list[float]", COPY),
    Flow("list[Refund] -> list[Payment]", COPY),
    Flow("list[int] -> list[int | None]", COPY),
    Flow("dict[str, Refund] -> dict[str, Payment]", COPY),
    Flow("set[Literal['a']] -> set[str]", COPY),
    Flow("Sequence[int] -> list[int]", BELOW),
    Flow("Mapping[str, int] -> dict[str, int]", BELOW),
    Flow("AbstractSet[int] -> frozenset[int]", BELOW),
    # Tuples.
    Flow("tuple[int, str] -> tuple[int, str]"),
    Flow("tuple[int, str] -> tuple[float, str | None]"),
    Flow("tuple[int, str] -> tuple[int | str, ...]"),
    Flow("tuple[int, int] -> Sequence[int]"),
    Flow("Tuple[int, ...] -> tuple[float, ...]"),
    Flow("tuple[()] -> tuple[int, ...]"),
    Flow("tuple[int, ...] -> tuple[int, int]", VALUE),
    Flow("Point -> tuple[int, int]"),
    Flow("Coordinates -> tuple[float, int]"),
    Flow("Point -> Sequence[float]"),
    Flow("Point -> tuple[Any, ...]"),
    # Typed dictionaries.
    Flow("Row -> Row"),
    Flow("Row -> Loose", "mypy minds that name could be deleted; it is a copy of its own"),
    Flow("Wide -> Row"),
    Flow("Row -> Mapping[str, object]"),
    Flow("Row -> dict[str, Any]", DICT),
    Flow("Row -> dict[str, int | str]", DICT),
    Flow("dict[str, Any] -> Row", DICT),
    Flow("dict[str, int | str] -> Row", DICT),
    # Models and dataclasses.
    Flow("Refund -> Payment"),
    Flow("Payment -> BaseModel"),
    Flow("Office -> Address"),
    Flow("Invoice -> Billable"),
    Flow("Tags -> RootModel[list[str]]"),
    Flow("Checked -> CheckedCard", CHECKED),
    Flow("Debited -> Event"),
    Flow("Event -> Debited", EVENT),
    Flow("Debited -> DebitedAgain", EVENT),
    Flow("list[Event] -> list[Debited]", EVENT),
    Flow("EmailStr -> str"),
    Flow("str -> EmailStr"),
    Flow("AwareDatetime -> datetime"),
    Flow("datetime -> AwareDatetime"),
    # Generics.
    Flow("Page[int] -> Page[int]"),
    Flow("Page[int] -> Page"),
    Flow("Page -> Page[int]"),
    Flow("Page[Refund] -> Page[Payment]", COPY),
    Flow("Receipts -> Page[Receipt]"),
    Flow("Sorted[int] -> Page[int]"),
    Flow("Pair[int, str] -> Pair[int, str]"),
    Flow("Pair[int, str] -> Pair[float, Any]", COPY),
    Flow("Named[int] -> Pair[str, int]"),
    # Protocols.
    Flow("Payment -> HasAmount"),
    Flow("Refund -> HasAmount"),
    Flow("Debited -> HasAmount"),
    Flow("Payment -> Describes"),
    Flow("Receipt -> HasNumber"),
    Flow("Page[int] -> Holds[int]"),
    Flow("Open -> HasAmount", "it takes fields that it does not name"),
    # NewType.
    Flow("UserId -> int"),
    Flow("UserId -> UserId | None"),
    Flow("AdminId -> UserId"),
    Flow("UserId -> float"),
    Flow("list[UserId] -> list[int]", COPY),
    Flow("int -> UserId", NEW_TYPE),
    Flow("UserId -> AdminId", NEW_TYPE),
    Flow("list[int] -> list[UserId]", NEW_TYPE),
    Flow("str -> Email", NEW_TYPE),
    # JSON.
    Flow("JsonValue -> JsonValue"),
    Flow("JsonValue -> str", ANY_JSON),
    Flow("JsonValue -> dict[str, Any]", ANY_JSON),
    Flow("dict[str, JsonValue] -> dict[str, int]", ANY_JSON),
    Flow("str -> JsonValue"),
    Flow("list -> JsonValue"),
    Flow("Tree -> str", "it refers to itself, so it names data of any shape: the value decides"),
    Flow("str -> Tree"),
]

REFUSED = [
    # Plain values.
    Flow("int -> str"),
    Flow("str -> int"),
    Flow("str -> bytes"),
    Flow("float -> int"),
    Flow("int -> bool"),
    Flow("Decimal -> float"),
    Flow("float -> Decimal"),
    Flow("int -> Decimal"),
    Flow("date -> datetime"),
    Flow("UUID -> str"),
    Flow("datetime -> timedelta"),
    Flow("Path -> str"),
    Flow("None -> int"),
    Flow("int -> None"),
    Flow("int -> Never"),
    Flow("str -> Colour"),
    Flow("int -> Level"),
    Flow("Size -> int"),
    Flow("Colour -> Size"),
    Flow("str -> Number"),
    Flow("HttpUrl -> str"),
    Flow("SecretStr -> str"),
    Flow("str -> HttpUrl"),
    # Unions: each member arrives.
    Flow("int | None -> int"),
    Flow("Optional[Payment] -> Payment"),
    Flow("int | str -> str"),
    Flow("int | str -> str | bytes"),
    Flow("Payment | Receipt -> Payment"),
    Flow("IdOrName -> int"),
    Flow("int | None -> str | Unknown"),
    Flow("Payment | None -> Payment | Unknown"),
    Flow("int -> Unknown"),
    Flow("Annotated[int | None, 'x'] -> Annotated[int, 'y']"),
    Flow("tuple[int | str, int] -> tuple[int, int] | None"),
    # Literal.
    Flow("Literal['a'] -> int"),
    Flow("Literal['a', 'b'] -> Literal['a']"),
    Flow("Literal['c'] -> Literal['a', 'b']"),
    Flow("Literal[1] -> Literal[True]"),
    Flow("int -> Literal['a']"),
    Flow("str -> Literal[Colour.RED]"),
    Flow("Literal[Colour.RED] -> Literal[Colour.BLUE]"),
    # Containers.
    Flow("list[str] -> list[int]"),
    Flow("list[str] -> Sequence[int]"),
    Flow("list[int | None] -> list[int]"),
    Flow("list[int] -> set[int]"),
    Flow("list[int] -> tuple[int, ...]"),
    Flow("Sequence[int] -> tuple[int, ...]"),
    Flow("tuple[int, ...] -> list[int]"),
    Flow("set[int] -> list[int]"),
    Flow("frozenset[int] -> set[int]"),
    Flow("list[int] -> Mapping[int, int]"),
    Flow("list[int] -> Hashable"),
    Flow("Payment -> Hashable", "a model that is not frozen has no hash, which mypy does not see"),
    Flow("Sequence[int] -> Literal['a']"),
    Flow("Ints -> dict[str, int]"),
    Flow("str -> Sequence[int]"),
    Flow("dict[str, int] -> dict[str, str]"),
    Flow("dict[int, str] -> Mapping[str, str]"),
    Flow("dict[str, int] -> Iterable[int]"),
    Flow("dict[str, list[str]] -> dict[str, list[int]]"),
    Flow("dict[str, int] -> collections.OrderedDict[str, int]"),
    Flow("Ints -> Sequence[str]"),
    Flow("Named2[int] -> dict[str, str]"),
    # Tuples.
    Flow("tuple[int, str] -> tuple[int, int]"),
    Flow("tuple[int, str] -> tuple[int]"),
    Flow("tuple[int, str] -> tuple[int, ...]"),
    Flow("tuple[int, str] -> Sequence[int]"),
    Flow("tuple[str, ...] -> tuple[int, int]"),
    Flow("tuple[int, int] -> Point"),
    Flow("Point -> tuple[str, str]"),
    Flow("Point -> Label"),
    Flow("Coordinates -> tuple[int, str]"),
    # Typed dictionaries.
    Flow("Row -> Wide"),
    Flow("Loose -> Row"),
    Flow("Row -> Texts"),
    Flow("Row -> Mapping[str, int]"),
    Flow("Row -> dict[int, Any]"),
    Flow("dict[int, Any] -> Row"),
    Flow("dict[str, Decimal] -> Row"),
    Flow("Row -> Payment"),
    # Models and dataclasses.
    Flow("Payment -> Receipt"),
    Flow("Payment -> Refund"),
    Flow("Payment -> dict[str, Any]"),
    Flow("dict[str, Any] -> Payment"),
    Flow("Payment -> Address"),
    Flow("Address -> Office"),
    Flow("Checked -> Receipt"),
    Flow("Checked -> Debited"),
    Flow("Debited -> Payment"),
    Flow("Payment -> Event"),
    Flow("Payment -> Billable"),
    Flow("Tags -> list[str]"),
    Flow("int -> type[Payment]"),
    Flow("Payment -> Callable[[], None]"),
    # Generics.
    Flow("Page[int] -> Page[str]"),
    Flow("Page[Payment] -> Page[Refund]"),
    Flow("Receipts -> Page[Payment]"),
    Flow("Sorted[int] -> Page[str]"),
    Flow("Pair[int, str] -> Pair[str, str]"),
    Flow("Named[int] -> Pair[int, int]"),
    Flow("list[Page[int]] -> list[Page[str]]"),
    # Protocols.
    Flow("Receipt -> HasAmount"),
    Flow("Payment -> HasCount"),
    Flow("Receipt -> Describes"),
    Flow("Address -> HasAmount"),
    Flow("str -> HasAmount"),
    Flow("dict[str, int] -> HasAmount"),
    Flow("Page[int] -> Holds[str]"),
    # NewType.
    Flow("UserId -> OrderId"),
    Flow("UserId -> str"),
    Flow("str -> UserId"),
    Flow("list[UserId] -> list[OrderId]"),
    # JSON.
    Flow("JsonValue -> Payment"),
    Flow("Decimal -> JsonValue"),
    Flow("Tree -> int"),
]
