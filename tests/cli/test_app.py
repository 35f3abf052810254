"""The program as a whole: its version, its help, its completion, and what it says without its extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("show", "a")])
def test_output_that_cannot_be_written_is_told_in_a_line(shop: Shop, arguments: tuple[str, ...]) -> None:
    store = ("--store", "sqlite:///sagas.db")
    shop.run("run", "shop.py:Order", '{"$id": "a", "item": "tea"}', *store)

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "allframe", *arguments, *store],
            cwd=shop.folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == (
        "allframe: The output cannot be written: No space left on device. What was recorded stands.\n"
    )
