"""Ctrl-C in the middle of a step: the program ends, nothing is written of a step that was cut, the next start goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from allframe import EventStore, SagaOrchestrator
from allframe.saga.monitor import Monitor
from tests.saga import interrupted

LOOPS = ["asyncio", "uvloop", "trio"]


@pytest.fixture(autouse=True)
def _steps_are_quick_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupted, "BUSY", 0.0)
    monkeypatch.setattr(interrupted, "ASLEEP", 0.0)


def interrupt(loop: str, how: str, url: str, log: Path) -> tuple[int, float, str]:
    """Run the program, press Ctrl-C in its second step; returns its exit code, seconds until it ended, and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.saga.interrupted", loop, how, url, str(log)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        # Whoever runs these tests in the background has SIGINT ignored, and what it starts inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 30
    while not log.exists() or "second" not in log.read_text():
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.02)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, time.monotonic() - began, stderr


def recorded(url: str) -> list[str]:
    async def read() -> list[str]:
        async with EventStore(url) as store:
            return [entry.record.type for entry in await Monitor(store).timeline("program")]

    return anyio.run(read)


def go_on(url: str, log: Path) -> str:
    """Open the store again, in a process where the step is quick, and wait for the saga."""

    async def run() -> str:
        async with SagaOrchestrator(url) as orchestrator:
            while await orchestrator.running_count():
                await anyio.sleep(0.01)
            metadata = await orchestrator.get_saga("program")
            assert metadata is not None
            return metadata.status

    return anyio.run(run)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_sleeping_step_is_cut_and_runs_again_at_the_next_start(loop: str, tmp_path: Path) -> None:
    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"

    code, seconds, stderr = interrupt(loop, "sleeping", url, log)

    assert (code, stderr.splitlines()[-1:]) in ((-signal.SIGINT, ["KeyboardInterrupt"]), (1, ["KeyboardInterrupt"]))
    assert seconds < 10
    assert recorded(url) == ["$saga.started", "$saga.step_succeeded"]
    assert log.read_text().splitlines() == ["first", "second"]
    assert go_on(url, log) == "completed"
    assert log.read_text().splitlines() == ["first", "second", "second", "second ended"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_busy_step_that_is_cut_leaves_no_record_and_one_that_ends_in_time_is_recorded(
    loop: str, tmp_path: Path
) -> None:
    url, log = f"sqlite:///{tmp_path}/store.db", tmp_path / "log"

    _, seconds, _ = interrupt(loop, "busy", url, log)

    assert seconds < 10
    ended = "second ended" in log.read_text()
    # asyncio's first SIGINT only cancels the main task: the step goes on to its end.
    assert ended == (loop != "trio")
    done = ["$saga.step_succeeded", "$saga.completed"] if ended else []
    assert recorded(url) == ["$saga.started", "$saga.step_succeeded", *done]
    assert go_on(url, log) == "completed"
    assert log.read_text().count("first") == 1
    assert "undo" not in log.read_text()
