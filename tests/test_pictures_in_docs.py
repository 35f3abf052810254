"""The texts and graphs on the pages are what their programs print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT

_BLOCK = re.compile(r"^```(python|text|mermaid)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
#: Stands between what one block of Python prints and the next.
_MARK = "\f"


@pytest.mark.parametrize(("page", "shown"), [("README.md", 3), ("docs/pictures.md", 4)])
def test_a_page_shows_what_its_program_prints(page: str, shown: int, tmp_path: Path) -> None:
    blocks = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    pairs = [(i, text) for i, (kind, text) in enumerate(blocks) if kind != "python" and blocks[i - 1][0] == "python"]

    printed = _run([text for kind, text in blocks if kind == "python"], tmp_path)

    assert len(pairs) == shown
    assert [printed[_programs_before(blocks, i) - 1] for i, _ in pairs] == [text for _, text in pairs]


def _programs_before(blocks: list[tuple[str, str]], place: int) -> int:
    return sum(kind == "python" for kind, _ in blocks[:place])


def _run(programs: list[str], folder: Path) -> list[str]:
    """What each of them prints, one after the other in one program."""
    program = "".join(f"{text}\nprint({_MARK!r}, end='')\n" for text in programs)
    (folder / "page.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout.split(_MARK)
