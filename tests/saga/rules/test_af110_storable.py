"""AF110: an input or output type cannot be stored as JSON."""

from __future__ import annotations

import collections
import dataclasses
import re
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, PlainSerializer, WrapValidator
from typing_extensions import TypedDict

from allframe import Event, Saga, Unknown, step
from tests.saga.refusal import refused

T = TypeVar("T")


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
