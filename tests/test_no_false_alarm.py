"""The checker is silent on what is right: every example, every page, the forty sagas and the twenty samples.

They are checked in fresh interpreters that take any warning for an error; each page is a program of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PAGES
from tests.sources import ROOT

#: A page or program that declares a saga, or a step to build one of.
DECLARES = re.compile(r"^class \w+\(\s*(Saga|SagaStep)\b", re.MULTILINE)
#: What a page shows, in order.
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "examples").rglob("*.py")
    if DECLARES.search(path.read_text(encoding="utf-8"))
)
#: In docs/errors.md, what is wrong is refused, and what is right accepted, by `tests/test_rule_docs.py`.
SHOWN = [
    page
    for page in PAGES
    if page != "docs/errors.md"
    and DECLARES.search("\n".join(BLOCKS.findall((ROOT / page).read_text(encoding="utf-8"))))
]

#: Whatever could not be checked when a class was made is checked here, as `allframe check` does.
CHECK = """
from allframe.saga.declare import SAGAS
from allframe.saga.steps import STEPS, parts_of

for saga in SAGAS.all():
    saga.graph.description
for step in STEPS.all():
    parts_of(step)
print("checked:", len(SAGAS.all()) + len(STEPS.all()))
"""


def test_there_is_something_to_check() -> None:
    assert {"examples/transfer_money.py", "examples/orders/saga.py", "examples/seed/basic_saga.py"} <= set(PROGRAMS)
    assert {"README.md", "docs/quickstart.md", "docs/sagas.md", "docs/builder.md"} <= set(SHOWN)


def test_every_example_is_accepted() -> None:
    done = _python("-m", "allframe", "check", *PROGRAMS)

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if "no problems" in line] == PROGRAMS


@pytest.mark.parametrize("page", SHOWN)
def test_every_page_is_accepted(page: str, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text("\n".join(BLOCKS.findall((ROOT / page).read_text(encoding="utf-8"))) + CHECK, encoding="utf-8")

    done = _python(str(program), folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^checked: [1-9]", done.stdout, flags=re.MULTILINE)


def test_the_forty_and_the_twenty_are_declared_without_a_warning() -> None:
    done = _python("-c", f"import tests.forty, tests.ports, tests.ports.published\n{CHECK}")

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"checked: \d\d\n", done.stdout)


def _python(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
