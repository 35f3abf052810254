"""What a saga costs: a linear saga of n steps makes n+1 commits, each one call to ``fdatasync``."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.saga import commits_program

SAGAS = 10
#: Commits of one saga of three steps: n+1; one more for a retry; for a rollback, the failure decides in the commit of
#: the third step, and each of two compensations has one.
COSTS = [("completed", 4), ("retried", 5), ("rolled back", 4 + 2)]


def syncs(folder: Path, count: int, kind: str) -> int:
    """How often a process that runs ``count`` sagas calls ``fdatasync``."""
    trace = folder / f"trace-{count}"
    command = [sys.executable, "-m", "tests.saga.commits_program", f"sqlite:///{folder}/{count}.db", str(count), kind]
    strace = ["strace", "-f", "-e", "trace=fdatasync", "-o", str(trace), *command]
    subprocess.run(strace, check=True, cwd=Path(__file__).parents[2])
    return trace.read_text().count("fdatasync(")


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: the next test counts COMMITs instead"
)
@pytest.mark.parametrize(("kind", "commits"), COSTS)
def test_calls_to_fdatasync_of_a_saga(kind: str, commits: int, tmp_path: Path) -> None:
    # The difference of two runs leaves out what opening and closing cost.
    assert syncs(tmp_path, 1 + SAGAS, kind) - syncs(tmp_path, 1, kind) == commits * SAGAS


@pytest.mark.parametrize(("kind", "commits"), COSTS)
def test_commits_of_a_saga(kind: str, commits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: object, **kwargs: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)  # type: ignore[call-overload]
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)

    def count(sagas: int) -> int:
        statements.clear()
        anyio.run(commits_program.main, f"sqlite:///{tmp_path}/{sagas}.db", sagas, kind)
        return sum(statement.upper().startswith("COMMIT") for statement in statements)

    assert count(1 + SAGAS) - count(1) == commits * SAGAS
