"""The code of the documentation is run: a page's Python blocks, one after the other, as a reader would paste them."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Region, Sybil
from sybil.parsers.myst import PythonCodeBlockParser

from allframe.cqrs import aggregate as aggregates
from allframe.cqrs.command import COMMANDS
from allframe.cqrs.query import QUERIES
from allframe.events import event as events
from allframe.saga.declare import SAGAS
from allframe.saga.steps import STEPS

#: Pages whose code is a project of several files; `tests/testing/test_plugin.py` makes it and runs it.
ELSEWHERE = ("testing.md",)
#: The pages whose code is run.
PAGES = (
    "README.md",
    *sorted(
        f"docs/{page.name}" for page in (Path(__file__).parent / "docs").glob("*.md") if page.name not in ELSEWHERE
    ),
)


#: Ours, for our own tests also where allframe is not installed; and what runs other projects from a test.
pytest_plugins = ("pytest_allframe", "pytester")


def pytest_configure(config: pytest.Config) -> None:
    """A run of everything has the pages in it."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        config.args += [str(config.rootpath / page) for page in PAGES]


#: What a program's classes are found in by their stored names.
_REGISTRIES = (SAGAS, STEPS, COMMANDS, QUERIES, events._NAMES, aggregates._NAMES)  # noqa: SLF001 - other tests have classes of the pages' names


def _turn_to(namespace: dict[str, Any]) -> None:
    """A reader's program: an empty folder, and no classes but its own."""
    namespace["__name__"] = "__main__"
    folder = tempfile.TemporaryDirectory()
    namespace["_leave"] = (folder, Path.cwd(), [registry._classes for registry in _REGISTRIES])  # noqa: SLF001
    os.chdir(folder.name)
    for registry in _REGISTRIES:
        registry._classes = {}  # noqa: SLF001


def _turn_back(namespace: dict[str, Any]) -> None:
    folder, before, classes = namespace["_leave"]
    for registry, found in zip(_REGISTRIES, classes, strict=True):
        registry._classes = found  # noqa: SLF001
    os.chdir(before)
    logging.getLogger("allframe.saga").handlers.clear()
    folder.cleanup()


@pytest.fixture
def own_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has imported no classes yet."""
    for registry in _REGISTRIES:
        monkeypatch.setattr(registry, "_classes", {})
        monkeypatch.setattr(registry, "memo", {})


class _Examples(PythonCodeBlockParser):
    """All but the wrong and right definitions of a rule: each is a program of its own, in `tests/test_rule_docs.py`."""

    def __call__(self, document: Document) -> Iterable[Region]:
        for region in super().__call__(document):
            if not document.text[: region.start].rstrip().endswith(("**Wrong.**", "**Right.**")):
                yield region


pytest_collect_file = Sybil(
    parsers=[_Examples()],
    patterns=PAGES,
    setup=_turn_to,
    teardown=_turn_back,
).pytest()
