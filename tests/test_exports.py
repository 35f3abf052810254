"""What `from allframe import …` gives: complete, sorted by room, documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

import allframe
import allframe.errors
from tests.sources import PACKAGE, ROOT, modules

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", allframe.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    assert hasattr(allframe, name)


def test_no_name_is_listed_twice() -> None:
    assert len(allframe.__all__) == len(set(allframe.__all__))


def test_names_are_sorted_within_their_room() -> None:
    assert [group for group in _groups() if group != sorted(group)] == []


def test_every_error_is_exported() -> None:
    assert set(allframe.errors.__all__) - set(allframe.__all__) == set()


def test_everything_imported_into_the_face_is_exported() -> None:
    """What ``allframe/__init__.py`` imports is there to be seen."""
    tree = modules()["allframe"].tree
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("allframe.")
        for alias in node.names
    }

    assert {name for name in imported if not name.startswith("_")} == set(allframe.__all__) - {"__version__"}


def test_a_name_is_imported_from_where_type_checkers_see_it() -> None:
    seen = {
        alias.name: node.module
        for block in modules()["allframe"].tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert seen == allframe._ROOMS


@pytest.mark.parametrize("name", allframe.__all__)
def test_every_error_goes_by_its_public_name(name: str) -> None:
    value = getattr(allframe, name)

    assert not (isinstance(value, type) and issubclass(value, Exception)) or value.__module__ == "allframe"


def test_importing_allframe_loads_nothing_that_is_not_asked_for() -> None:
    program = """
import sys, allframe
print("pydantic" in sys.modules, "allframe.events.event" in sys.modules)
from allframe import Event
print("allframe.saga.declare" in sys.modules, "Saga" in dir(allframe))
print(allframe.saga.__name__, allframe.step.__name__, hasattr(allframe, "nothing"))
from allframe import *
print(Saga.__name__, Event is allframe.Event)
"""

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stdout.split("\n")[:4] == ["False False", "False True", "allframe.saga step False", "Saga True"]


@pytest.mark.parametrize("name", [name for name in allframe.__all__ if name != "__version__"])
def test_every_name_is_documented(name: str) -> None:
    word = re.compile(rf"\b{name}\b")

    assert [page.name for page in PAGES if word.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", sorted(modules().keys() - {"allframe.__main__"}))
def test_a_modules_public_list_is_true(name: str) -> None:
    __import__(name)
    module = sys.modules[name]

    assert [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)] == []


def _groups() -> list[list[str]]:
    """The names of ``__all__``, parted where a comment stands."""
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    listing = text[text.index("__all__ = [") :].partition("]")[0]
    parts = re.split(r"^\s*#.*$", listing, flags=re.MULTILINE)
    return [names for part in parts if (names := re.findall(r'"(\w+)"', part))]
