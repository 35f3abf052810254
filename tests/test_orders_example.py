"""The shop in `examples/orders`, which the docs point to, does what it says."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.sources import ROOT

FOLDER = ROOT / "examples" / "orders"


def test_the_shop_prints_what_it_says() -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.orders"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        timeout=60,
    )

    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == _promised(FOLDER / "__main__.py")


def test_its_readme_names_every_file_and_the_command() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert sorted(re.findall(r"^\| `(\w+\.py)` \|", page, flags=re.MULTILINE)) == sorted(
        path.name for path in FOLDER.glob("*.py") if path.name != "__init__.py"
    )
    assert ".venv/bin/python -m examples.orders" in page


def _promised(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return inspect.cleandoc(docstring.partition("It prints::\n\n")[2]) + "\n"
