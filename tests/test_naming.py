"""`Names`: which class is meant by a stored name and version."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from allframe.errors import DefinitionError
from allframe.naming import Names
from allframe.source import place_here, place_of


class Thing:
    pass


@pytest.fixture
def names() -> Names[type]:
    return Names("thing", "AF119")


def make(qualname: str) -> type:
    """A class that the collector alone can remove: it is a reference cycle."""
    return type("Made", (), {"__qualname__": qualname, "__module__": __name__})


def test_a_class_is_found_by_name_and_version(names: Names[type]) -> None:
    names.add("thing", 1, Thing)

    assert names.find("thing", 1) is Thing
    assert names.find("thing", 2) is None
    assert names.find("Thing", 1) is None


def test_the_versions_of_a_name_are_listed_in_order(names: Names[type]) -> None:
    one, three = make("One"), make("Three")
    names.add("thing", 3, three)
    names.add("thing", 1, one)
    names.add("other", 2, Thing)

    assert names.versions("thing") == [1, 3]
    assert names.versions("nothing") == []


def test_all_are_listed_in_the_order_of_definition(names: Names[type]) -> None:
    first, second = make("First"), make("Second")
    names.add("b", 1, first)
    names.add("a", 1, second)

    assert names.all() == [first, second]


def test_two_classes_with_one_name_are_refused_with_both_places_when_they_are_looked_up(names: Names[type]) -> None:
    one, two = make("One"), make("Two")
    names.add("thing", 1, one)
    names.add("thing", 1, two)

    with pytest.raises(DefinitionError) as refusal:
        names.find("thing", 1)

    assert "The thing name 'thing', version 1, has 1 problem:" in str(refusal.value)
    assert f"{__file__} (One) and {__file__} (Two)" in str(refusal.value)
    assert 'name="..."' in str(refusal.value)
    assert [problem.rule for problem in refusal.value.problems] == ["AF119"]


def test_classes_with_one_name_and_two_versions_are_two(names: Names[type]) -> None:
    one, two = make("One"), make("Two")
    names.add("thing", 1, one)
    names.add("thing", 2, two)

    assert (names.find("thing", 1), names.find("thing", 2)) == (one, two)


def test_a_class_that_went_out_of_use_does_not_conflict(names: Names[type]) -> None:
    names.add("thing", 1, make("Gone"))
    names.add("thing", 1, Thing)

    assert names.find("thing", 1) is Thing


def test_a_class_that_went_out_of_use_is_forgotten(names: Names[type]) -> None:
    names.add("thing", 1, make("Gone"))
    gc.collect()

    assert names.find("thing", 1) is None
    assert names.all() == []
    assert names.versions("thing") == []


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "reloaded_by_a_test.py").write_text("class Thing:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("reloaded_by_a_test")
    del sys.modules["reloaded_by_a_test"]


def test_a_reloaded_class_takes_the_place_of_its_predecessor(names: Names[type], module: ModuleType) -> None:
    before = module.Thing
    names.add("thing", 1, before)

    after = importlib.reload(module).Thing
    names.add("thing", 1, after)

    assert after is not before
    assert names.find("thing", 1) is after
    assert names.all() == [after]


def test_a_place_is_the_file_and_the_name(module: ModuleType) -> None:
    assert place_of(module.Thing).startswith(str(module.__file__))
    assert place_of(module.Thing).endswith("(Thing)")


def test_a_class_may_note_its_own_place() -> None:
    assert place_of(type("Made", (), {"__allframe_place__": "bank.py:7"})) == "bank.py:7 (Made)"


def test_here_is_the_code_of_the_module_that_runs() -> None:
    line = test_here_is_the_code_of_the_module_that_runs.__code__.co_firstlineno + 1

    assert place_here(__name__) == f"{__file__}:{line + 2}"
    assert place_here("nowhere") is None


def test_a_class_of_no_module_still_has_a_place() -> None:
    assert place_of(type("Made", (), {"__module__": "nowhere"})) == "nowhere (Made)"
