"""AF110: an input or output type cannot be stored as JSON."""

from __future__ import annotations

import collections
import dataclasses
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from types import new_class
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer, WrapValidator
from pydantic._internal import _model_construction
from typing_extensions import TypedDict

from allframe import Event, Saga, SagaStep, Unknown, step
from tests.saga.refusal import refused

T = TypeVar("T")
#: Before, pydantic looks at the values of a class body before there is a class.
BEFORE_PYDANTIC = pytest.mark.skipif(
    not hasattr(_model_construction, "ModelNamespaceInfo"), reason="this pydantic refuses it itself"
)


class Bank:
    pass


class Model(BaseModel):
    number: int = 0

    def greet(self) -> str:
        return "hello"


class Box(BaseModel, Generic[T]):
    content: T


class Row(TypedDict):
    id: int


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    bank: Bank


@pytest.mark.parametrize(
    "annotation",
    [Bank, list[Bank], threading.Thread, Iterator[int], Iterable[int], Callable[[], int], Holder, list[Holder]],
    ids=str,
)
def test_af110_an_output_that_cannot_be_stored(annotation: Any) -> None:
    async def only(self: Any) -> Any: ...

    only.__annotations__ = {"return": annotation}

    def declare() -> None:
        class Bad(Saga):
            only_step = step(readonly=True)(only)

    text = refused(declare, "AF110")
    assert text.startswith("What 'only_step' returns: ")
    assert "cannot be stored" in text


@pytest.mark.parametrize("annotation", [Bank, threading.Thread, Callable[[], int], Iterable[int], Holder], ids=str)
@pytest.mark.parametrize("arbitrary", [False, True])
def test_af110_an_input_that_cannot_be_stored(annotation: Any, arbitrary: bool) -> None:
    def declare() -> None:
        kind = annotation

        class Bad(Saga):
            model_config = ConfigDict(arbitrary_types_allowed=arbitrary)
            thing: kind  # type: ignore[valid-type]

            @step(readonly=True)
            async def only(self) -> int:
                return 1

        assert Bad.graph is not None

    assert "cannot be stored" in refused(declare, "AF110")


def test_af110_says_which_type_it_is() -> None:
    def declare() -> None:
        class Bad(Saga):
            holder: Holder

            @step(readonly=True)
            async def only(self) -> int:
                return 1

    text = refused(declare, "AF110")
    assert text.startswith("The input ")
    assert (
        "Bad cannot be stored: 'holder.bank' is Bank, which cannot be read from JSON. Use types that pydantic can write as JSON"
    ) in text


class Holding(BaseModel):
    """It says itself how a bank is read."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    bank: Annotated[Bank, BeforeValidator(lambda _: Bank()), PlainSerializer(lambda _: "bank")]
    other: Annotated[Bank, WrapValidator(lambda _, __: Bank()), PlainSerializer(lambda _: "bank")]


@dataclasses.dataclass
class Tree:
    children: list[Tree]


@pytest.mark.parametrize(
    "annotation",
    [
        *(None, Any, JsonValue, complex, Path, set[int], Model, list[Event], Event | None, Box[int], "Model"),
        *(
            Holding,
            Tree,
            Unknown | int,
            int | Callable[[], int],
            re.Pattern[str],
            collections.deque[int],
            Row,
            Hashable,
        ),
    ],
    ids=str,
)
def test_af110_accepts_what_can_be_stored(annotation: Any) -> None:
    class Good(Saga):
        thing: annotation

        @step(readonly=True)
        async def only(self) -> annotation: ...

    assert Good.graph is not None


@pytest.mark.parametrize(
    ("annotation", "default", "kind"),
    [(int, "x", "str"), (str, 5, "int"), (list[int], (1,), "tuple"), (Model, 3, "int")],
)
def test_af110_a_default_of_another_type_than_its_field(annotation: Any, default: Any, kind: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            given: annotation = default

            @step
            async def only(self) -> None: ...

    name = "list[int]" if annotation == list[int] else annotation.__name__
    assert refused(declare, "AF110").endswith(
        f"'given' is {name}, and its default is of type {kind}, which would not come back. Give it a default of its type, or "
        "validate_default=True."
    )


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (5, "Annotate it, `given: int = ...`; or as `ClassVar[int]` if it is a constant."),
        ("x", "Annotate it, `given: str = ...`; or as `ClassVar[str]` if it is a constant."),
        (None, "Annotate it, such as `given: int | None = None`; as a ClassVar if it is a constant."),
        (Field(gt=0), "Annotate it, such as `given: int = Field(...)`."),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [Saga, SagaStep])
@BEFORE_PYDANTIC
def test_af110_a_field_without_a_type(value: Any, remedy: str, kind: Any) -> None:
    async def execute(self: Any) -> None: ...

    body = {"given": value, "execute": step(execute) if kind is Saga else execute}

    assert refused(lambda: new_class("Bad", (kind,), {}, lambda space: space.update(body)), "AF110") == (
        "'given' has a value and no type. A field is an input, which is checked and stored by its type. " + remedy
    )


def test_af110_accepts_constants_and_what_is_private() -> None:
    class Base(Saga, abstract=True):
        limit: ClassVar[int] = 3

    class Good(Base):
        model_config = ConfigDict(ignored_types=(dict,))
        limit = 4
        names = {"a": 1}
        _seen = 0

        class Inner:
            number = 1

        @step
        async def only(self) -> None: ...

    assert (Good.limit, Good.names) == (4, {"a": 1})
