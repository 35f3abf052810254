"""AF115: a field, step or compensation hides an attribute that every saga has."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from allframe import Saga, step
from tests.saga.refusal import refused


async def _plain(self: Any) -> int:
    return 1


#: Makes a class from data; a type checker would take it for an instance of `Saga`.
make_class: Any = type(Saga)


HIDDEN = ["copy", "json", "dict", "schema", "graph", "model_dump", "model_fields", "saga_name", "saga_version"]


@pytest.mark.parametrize("name", HIDDEN)
def test_af115_a_field_hides_what_every_saga_has(name: str) -> None:
    namespace = {"__module__": __name__, "__qualname__": "Bad", "__annotations__": {name: int}, "only": step(_plain)}

    assert refused(lambda: make_class("Bad", (Saga,), namespace), "AF115") == (
        f"The field {name!r} hides Saga.{name}, which every saga has. Give the field another name."
    )


@pytest.mark.parametrize("name", HIDDEN)
def test_af115_a_step_hides_what_every_saga_has(name: str) -> None:
    namespace = {"__module__": __name__, "__qualname__": "Bad", name: step(_plain)}

    assert refused(lambda: make_class("Bad", (Saga,), namespace), "AF115") == (
        f"The step {name!r} hides Saga.{name}, which every saga has. Rename it."
    )


def test_af115_a_field_of_a_mixin_hides_what_every_saga_has() -> None:
    class Mixin(BaseModel):
        graph: int = 0

    def declare() -> None:
        class Bad(Mixin, Saga):  # type: ignore[misc]
            @step(readonly=True)
            async def only(self) -> int:
                return 1

    assert "The field 'graph' hides Saga.graph" in refused(declare, "AF115")


def test_af115_accepts_names_that_only_look_taken() -> None:
    class Good(Saga):
        name: str = ""
        version: int = 0
        steps: int = 0
        model_: int = 0
        status: str = ""

        @step(readonly=True)
        async def run(self) -> int:
            return 1

        @step(readonly=True)
        async def execute(self) -> int:
            return 1

    assert len(Good.graph.steps) == 2


@pytest.mark.parametrize("name", ["data", "id", "kind", "model_", "outputs", "store", "where"])
def test_af115_accepts_any_other_name_for_a_field_or_a_step(name: str) -> None:
    fields = {"__module__": __name__, "__qualname__": "Good", "__annotations__": {name: int}, "only": step(_plain)}
    steps = {"__module__": __name__, "__qualname__": "Good", name: step(_plain)}

    assert name in make_class("Good", (Saga,), fields).model_fields
    assert make_class("Good", (Saga,), steps).graph.steps[0].attribute == name


@pytest.mark.parametrize("name", ["__init__", "__eq__", "__repr__"])
def test_af115_a_step_hides_what_python_calls(name: str) -> None:
    namespace = {"__module__": __name__, "__qualname__": "Bad", name: step(_plain)}

    assert refused(lambda: make_class("Bad", (Saga,), namespace), "AF115") == (
        f"The step {name!r} hides Saga.{name}, which every saga has. Rename it."
    )


def test_af115_accepts_a_step_of_a_name_between_underscores_that_no_saga_has() -> None:
    class Good(Saga):
        @step
        async def __call__(self) -> None: ...

    assert [each.attribute for each in Good.graph.steps] == ["__call__"]
