"""The code of the documentation is run: a page's Python blocks, one after the other, as a reader would paste them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

from allframe.saga.declare import SAGAS

#: The pages whose code is run.
PAGES = ("README.md", "docs/quickstart.md", "docs/sagas.md", "docs/service.md")


def pytest_configure(config: pytest.Config) -> None:
    """A run of everything has the pages in it."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        config.args += [str(config.rootpath / page) for page in PAGES]


def _turn_to(namespace: dict[str, Any]) -> None:
    """A reader's program: an empty folder, and no sagas but its own."""
    folder = tempfile.TemporaryDirectory()
    namespace["_leave"] = (folder, Path.cwd(), SAGAS._classes)  # noqa: SLF001 - other tests have sagas of these names
    os.chdir(folder.name)
    SAGAS._classes = {}  # noqa: SLF001


def _turn_back(namespace: dict[str, Any]) -> None:
    folder, before, SAGAS._classes = namespace["_leave"]  # noqa: SLF001
    os.chdir(before)
    folder.cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=PAGES,
    setup=_turn_to,
    teardown=_turn_back,
).pytest()
