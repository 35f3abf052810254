"""Random sagas, with random things happening to them, do what a second, much simpler engine says that they do.

What fails is printed so that it can be written into `tests.saga.model.corpus`. `check` tells what was to be and what is.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.saga.model import reference
from tests.saga.model.check import check, is_clear
from tests.saga.model.drawing import plays
from tests.saga.model.plain import Plot, Script
from tests.saga.model.timeline import Ambiguous

pytestmark = pytest.mark.threads_take_time

#: For each loop and store, how many plays are tried in a push.
LANES = {("asyncio", "memory"): 100, ("trio", "memory"): 100, ("asyncio", "sqlite"): 30, ("trio", "sqlite"): 30}
#: So many times more in a soak.
SOAK = 50

lanes = pytest.mark.parametrize(("backend", "store"), list(LANES))
_numbers = itertools.count()


def trying(examples: int, backend: str, store: str, folder: Path) -> Callable[[], None]:
    """A test of so many random plays."""

    @settings(max_examples=examples, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(plays())
    def play(drawn: tuple[Plot, Script]) -> None:
        plot, script = drawn
        url = f"sqlite:///{folder}/{next(_numbers)}.db?durability=process" if store == "sqlite" else "memory://"
        assume(is_clear(plot, script))
        try:
            check(plot, script, backend, url)
        except Ambiguous:
            assume(False)

    return play


@pytest.mark.timeout(600)  # what fails is made small first
@lanes
def test_a_random_saga_does_what_the_reference_says(backend: str, store: str, tmp_path: Path) -> None:
    trying(LANES[backend, store], backend, store, tmp_path)()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@lanes
def test_thousands_of_random_sagas_do(backend: str, store: str, tmp_path: Path) -> None:
    trying(SOAK * LANES[backend, store], backend, store, tmp_path)()


def test_the_reference_is_short_and_knows_nothing_of_the_engine() -> None:
    folder = Path(reference.__file__).parent
    assert len((folder / "reference.py").read_text().splitlines()) < 150
    for name in ("reference", "timeline", "plain"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        found = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [module for module in found if module and module.startswith("allframe")]
