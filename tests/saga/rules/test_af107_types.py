"""AF107: a parameter cannot be what the step returns. What cannot be decided is accepted."""

from __future__ import annotations

import abc
import collections
import inspect
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Never,
    NewType,
    NoReturn,
    Optional,
    Protocol,
    TypeVar,
    Union,
    runtime_checkable,
)
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, JsonValue, PositiveInt
from typing_extensions import TypeAliasType, TypedDict

from allframe import DefinitionError, Event, Saga, Unknown, compensates, step
from tests.saga.refusal import refused

T = TypeVar("T")


ModelT = TypeVar("ModelT", bound=BaseModel)


Account = NewType("Account", int)


IntOrText = TypeAliasType("IntOrText", int | str)


class Model(BaseModel):
    number: int = 0

    def greet(self) -> str:
        return "hello"


class Derived(Model):
    more: int = 0


class Other(BaseModel):
    text: str = ""


class Box(BaseModel, Generic[T]):
    content: T


class Row(TypedDict):
    id: int


class Point(NamedTuple):
    x: int


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 1


class Size(Enum):
    BIG = 1


class Greets(Protocol):
    def greet(self) -> str: ...


@runtime_checkable
class GreetsAtRuntime(Protocol):
    def greet(self) -> str: ...


@runtime_checkable
class HasNumber(Protocol):
    number: int


class Abstract(abc.ABC):
    @abc.abstractmethod
    def greet(self) -> str: ...


Abstract.register(Model)


class Happened(Event, name="test_rules.happened"):
    pass


class HappenedToo(Happened, name="test_rules.happened_too"):
    pass


def pair(produced: Any, consumed: Any) -> list[str]:
    """The texts of AF107 for a step that returns the one and one that takes the other."""

    async def first(self: Any) -> Any: ...

    async def second(self: Any, one: Any) -> None: ...

    first.__annotations__ = {} if produced is inspect.Parameter.empty else {"return": produced}
    second.__annotations__ = {"return": None} | ({} if consumed is inspect.Parameter.empty else {"one": consumed})

    try:

        class Pair(Saga):
            one = step(readonly=True)(first)
            two = step(readonly=True)(second)

        assert Pair.graph is not None
    except DefinitionError as error:
        return [problem.text for problem in error.problems if problem.rule == "AF107"]
    return []


FIT: list[tuple[Any, Any]] = [
    (int, int),
    (bool, int),
    (int, float),
    (int, complex),
    (float, complex),
    (int, Optional[int]),  # noqa: UP045
    (Union[int, str], str | int | None),  # noqa: UP007
    (None, None),
    (None, int | None),
    (type(None), None),
    (int, Any),
    (Any, int),
    (int, object),
    (object, int),
    (int, inspect.Parameter.empty),
    (inspect.Parameter.empty, int),
    (int, T),
    (T, int),
    (Model, ModelT),
    (Account, int),
    (int, Account),
    (Account, Account),
    (Derived, Model),
    (Model, BaseModel),
    (Model, Greets),
    (Model, GreetsAtRuntime),
    (Model, HasNumber),
    (Model, Abstract),
    (Happened, Event),
    (Event, Happened),
    (HappenedToo, Happened),
    (list[Event], list[Happened]),
    (Row, Row),
    (Row, dict[str, Any]),
    (Row, Mapping[str, int]),
    (Row, dict),
    (dict, Row),
    (Point, tuple),
    (Point, tuple[int]),
    (tuple[int, str], tuple),
    (list[int], Sequence[int]),
    (list[int], list),
    (list, list[int]),
    (list[int], Iterable[int]),
    (str, Sequence[str]),
    (dict[str, int], Mapping[str, int]),
    (collections.OrderedDict[str, int], dict),
    (Literal["a"], str),
    (str, Literal["a", "b"]),
    (Literal[1], int),
    (Colour, str),
    (Level, int),
    (Size, Size),
    (Annotated[int, Field(gt=0)], int),
    (int, Annotated[int, "x"]),
    (PositiveInt, int),
    (int, PositiveInt),
    (Box[int], Box),
    (Box, Box[int]),
    (Box[int], Box[int]),
    (Box[int], BaseModel),
    (Box[int], Box[T]),  # type: ignore[valid-type]
    (int, IntOrText),
    (IntOrText, IntOrText),
    (JsonValue, dict[str, Any]),
    (JsonValue, str),
    (dict, JsonValue),
    (datetime, date),
    (UUID, UUID | str),
    (Decimal, Decimal | float),
    ("int", "int | None"),
    ("Derived", "Model"),
    (int, "Unknown | int"),
    (int, int | Unknown),
]


@pytest.mark.parametrize(("produced", "consumed"), FIT, ids=lambda part: str(part)[:40])
def test_af107_accepts_what_can_fit(produced: Any, consumed: Any) -> None:
    assert pair(produced, consumed) == []


MISFIT: list[tuple[Any, Any, str, str]] = [
    (int, str, "str", "int"),
    (str, bytes, "bytes", "str"),
    (float, int, "int", "float"),
    (Decimal, float, "float", "Decimal"),
    (None, int, "int", "None"),
    (int, None, "None", "int"),
    (Model, Other, "Other", "Model"),
    (Model, dict, "dict", "Model"),
    (list, tuple, "tuple", "list"),
    (Size, int, "int", "Size"),
    (Happened, Model, "Model", "Happened"),
    (int | None, str, "str", "int | None"),
    (int, str | bytes, "str | bytes", "int"),
    (Annotated[int, "x"], str, "str", "int"),
    (Model, Derived, "Derived", "Model"),
    (str, Colour, "Colour", "str"),
    ("int", "str", "str", "int"),
]


@pytest.mark.parametrize(("produced", "consumed", "taken", "made"), MISFIT, ids=lambda part: str(part)[:40])
def test_af107_what_cannot_fit(produced: Any, consumed: Any, taken: str, made: str) -> None:
    assert pair(produced, consumed) == [f"'two' takes 'one' as {taken}, but 'one' returns {made}. Annotate both alike."]


def test_af107_holds_for_compensations() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            async def refund(self, debit: str | Unknown) -> None: ...

    assert refused(declare, "AF107").startswith("'refund' takes 'debit' as str | ")


@pytest.mark.parametrize("annotation", [NoReturn, Never], ids=str)
def test_af107_accepts_a_step_that_always_raises(annotation: Any) -> None:
    assert pair(annotation, int) == []

    async def only(self: Any) -> Any: ...

    only.__annotations__ = {"return": annotation}

    class Good(Saga):
        one = step(readonly=True)(only)

    assert Good.graph.steps[0].output.annotation is None
