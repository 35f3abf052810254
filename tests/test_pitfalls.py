"""What ``docs/cqrs-pitfalls.md`` says is held by a test is held by one that is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.sources import ROOT

PAGE = (ROOT / "docs" / "cqrs-pitfalls.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| the mistake")]
NAMED = sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_every_mistake_names_a_test(row: str) -> None:
    assert re.search(r"`tests/[a-z_/]+\.py(::test_[a-z_0-9]+)?` ?[|,]", row), row


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_is_named_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    assert not function or function in defined
