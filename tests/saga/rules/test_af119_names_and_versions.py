"""AF119: a saga's name or version makes no sense, or two sagas share them."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Saga, step
from allframe.saga.declare import SAGAS
from tests.saga.refusal import refused

NAME_RULE = "Expected 1 to 100 printable characters without '/' and not beginning with '$'."


@pytest.mark.parametrize("name", ["", "a/b", "$a", "a\nb", "x" * 101, 5])
def test_af119_a_saga_with_a_name_that_cannot_be_stored(name: Any) -> None:
    def declare() -> None:
        class Bad(Saga, name=name):
            @step
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF119") == f"Its name is {name!r}. {NAME_RULE}"


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_af119_a_saga_with_a_version_that_makes_no_sense(version: Any) -> None:
    def declare() -> None:
        class Bad(Saga, version=version):
            @step
            async def only(self) -> int:
                return 1

    assert refused(declare, "AF119") == f"Its version is {version!r}. Expected a whole number from 1."


def test_af119_accepts_printable_names_of_any_script() -> None:
    class Good(Saga, name="Überweisung 送金", version=12):
        @step(name="money out")
        async def only(self) -> int:
            return 1

    assert (Good.graph.saga, Good.graph.plan.nodes[0].name) == ("Überweisung 送金", "money out")


def test_af119_accepts_two_versions_of_one_name() -> None:
    class One(Saga, name="af119.aged"):
        @step
        async def only(self) -> None: ...

    class Two(Saga, name="af119.aged", version=2):
        @step
        async def only(self) -> None: ...

    assert (SAGAS.find("af119.aged", 1), SAGAS.find("af119.aged", 2)) == (One, Two)


def test_af119_accepts_a_child_which_has_its_own_name() -> None:
    class Base(Saga, name="af119.base", version=7):
        @step
        async def only(self) -> None: ...

    class Child(Base):
        pass

    assert (Base.saga_name, Base.saga_version) == ("af119.base", 7)
    assert (Child.saga_name, Child.saga_version) == ("Child", 1)
