"""``allframe explain`` and ``allframe graph`` say and draw what a saga will do."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tests.cli.shell import ROOT, Shop, environment

TREE = "order\n├── reserve, undone by release\n└── pay (readonly)\n"


def test_explains_a_saga(shop: Shop) -> None:
    done = shop.run("explain", "shop.py:Order")

    assert done.stdout.startswith(
        "order, version 1: 2 steps.\n\nForward\n  1. reserve: at once; at most 30 s; undone by "
    )
    assert "\n  - pay fails or ends unknown: reserve.\n" in done.stdout
    assert shop.files == {"shop.py"}, "nothing was opened"


def test_the_saga_of_the_readme_is_explained_before_it_does_anything(shop: Shop) -> None:
    page = (ROOT / "README.md").read_text()
    program, _, rest = page.partition("```python\n")[2].partition("```\n")
    (shop.folder / "transfer.py").write_text(program)

    done = shop.run("explain", "transfer.py:TransferMoney")

    assert done.stdout in rest
    assert shop.files == {"shop.py", "transfer.py"}


def test_draws_a_tree(shop: Shop) -> None:
    assert shop.run("graph", "shop:Order").stdout == TREE
    assert shop.run("graph", "shop:Order", "--format", "tree").stdout == TREE


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("mermaid", "flowchart TD", "    s1 --> s2"), ("dot", "digraph saga {", "}"), ("svg", "<svg ", "</svg>")],
)
def test_draws_in_other_formats(shop: Shop, name: str, first: str, last: str) -> None:
    lines = shop.run("graph", "shop.py", "--format", name).stdout.splitlines()

    assert lines[0].startswith(first)
    assert lines[-1] == last


@pytest.mark.parametrize(
    ("file", "first"),
    [("a.svg", "<svg "), ("a.MMD", "flowchart TD"), ("a.gv", "digraph "), ("a.dot", "digraph "), ("a.txt", "order\n├")],
)
def test_the_name_of_the_file_says_the_format(shop: Shop, file: str, first: str) -> None:
    done = shop.run("graph", "shop.py", "-o", file)

    assert (done.stdout, done.stderr) == ("", "")
    assert (shop.folder / file).read_text(encoding="utf-8").startswith(first)


def test_a_format_that_is_named_wins(shop: Shop) -> None:
    shop.run("graph", "shop.py", "--output", "picture.txt", "--format", "svg")

    assert ET.parse(shop.folder / "picture.txt").getroot().tag.endswith("svg")


def test_what_cannot_be_written_is_usage(shop: Shop) -> None:
    assert shop.run("graph", "shop.py", "-o", "nowhere/a.svg", code=2).stderr == (
        "allframe: nowhere/a.svg cannot be written: No such file or directory. Name a file in a folder that you may "
        "write to.\n"
    )


def test_a_saga_that_is_not_there_is_usage(shop: Shop) -> None:
    for command in ("explain", "graph"):
        assert "Did you mean shop:Order?" in shop.run(command, "shop:Ordr", code=2).stderr


BUILT = """
from allframe import SagaDefinition, SagaStep

class Pack(SagaStep, timeout=5):
    async def execute(self) -> None: ...

    async def compensate(self) -> None: ...

parcel = SagaDefinition("parcel-1", name="parcel", timeout=60).add_step(Pack()).add_step(Pack(), name="label")
"""


def test_explains_and_draws_one_that_was_built(shop: Shop) -> None:
    (shop.folder / "built.py").write_text(BUILT)

    for target in ("built.py:parcel", "built.py"):
        told = shop.run("explain", target).stdout
        assert told.startswith("parcel, version 1: 2 steps.\n\nForward\n  1. pack: at once; at most 5 s; undone by ")
        assert "  1 min after its start what runs is cut, and everything is undone.\n" in told
        assert shop.run("graph", target).stdout == (
            "parcel\n├── pack, undone by pack.compensate\n└── label, undone by label.compensate\n"
        )


def test_one_that_was_built_is_no_target_of_run(shop: Shop) -> None:
    (shop.folder / "built.py").write_text(BUILT)

    done = shop.run("run", "built.py:parcel", "{}", "--store", "sqlite:///sagas.db", code=2)

    assert done.stderr == (
        "allframe: built.py:parcel is a SagaDefinition: the one saga 'parcel-1', whose input is in its steps, so there is "
        "none to give it. Run it in Python, by run(parcel) or orchestrator.execute(parcel). To run a saga for every line of "
        "an input, declare a class of sagas.\n"
    )
    assert shop.files == {"shop.py", "built.py"}
    assert shop.run("run", "built.py", "{}", "--store", "sqlite:///sagas.db", code=2).stderr == (
        "allframe: built.py names no saga. Write built.py:NAME; built.py has no sagas.\n"
    )


def test_a_terminal_gets_the_tree_with_emphasis(shop: Shop) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "allframe", "graph", "shop.py"]
    process = subprocess.Popen(command, cwd=shop.folder, env=environment(TERM="xterm-256color"), stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how a terminal says that nobody is there any more
            break
        if not part:
            break
        shown += part
    os.close(ours)

    assert process.wait(60) == 0
    assert b"\x1b[1mreserve\x1b[0m" in shown
    assert b"\x1b[2m, undone by release\x1b[0m" in shown
