"""The program as a whole: its version, its help, its completion, and what it says without its extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

import allframe
from tests.cli.shell import Shop, environment


def test_says_its_version(shop: Shop) -> None:
    assert shop.run("--version").stdout == f"allframe {allframe.__version__}\n"


def test_helps_without_colours_when_piped(shop: Shop) -> None:
    text = shop.run("--help").stdout

    assert all(f" {command} " in text for command in ("run", "work", "list", "show", "check", "demo"))
    assert "\x1b" not in text
    assert "\x1b" not in shop.run("run", "--help").stdout


def test_completes(shop: Shop) -> None:
    # What a shell's completion script asks with: which shell this process descends from is not to matter.
    asked = {"_ALLFRAME_COMPLETE": "complete_bash", "COMP_WORDS": "allframe de", "COMP_CWORD": "1"}

    assert shop.run(env=asked).stdout.split() == ["demo"]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_names_the_extra_that_is_missing(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from allframe.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert done.stderr == (
        f"allframe: the command line needs {missing}, which is not installed. Install it with: "
        "pip install 'allframe[cli]'\n"
    )
