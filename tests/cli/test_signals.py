"""A run that is interrupted leaves cleanly, and the same command continues it."""

from __future__ import annotations

import contextlib
import signal
import subprocess

import pytest

from tests.cli.shell import Shop, end, wait_until

STORE = ("--store", "sqlite:///sagas.db")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_running_steps_end(shop: Shop, number: signal.Signals, code: int) -> None:
    file = shop.orders({"$id": "a", "item": "tea", "wait": 1})
    command = ("run", "shop.py:Order", file, *STORE)
    process = shop.start(*command)
    wait_until(process, lambda: "reserve a" in shop.book)

    ended, output, errors = end(process, number)
    assert ended == code, errors
    assert "Leaving: running steps get 10 s to end. Once more to leave at once." in errors
    assert f"Stopped by {number.name}. What was begun is recorded: the same command continues it." in errors
    assert "1 not ended" in output
    assert shop.book == ["reserve a", "reserved a"]

    shop.run(*command)
    assert shop.book == ["reserve a", "reserved a", "pay a"], "the step that ended was recorded"


def test_a_second_signal_leaves_at_once(shop: Shop) -> None:
    command = ("run", "shop.py:Order", shop.orders({"$id": "a", "item": "tea", "wait": 8}), *STORE)
    process = shop.start(*command)
    wait_until(process, lambda: "reserve a" in shop.book)

    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("Leaving")
    ended, _, _ = end(process, signal.SIGINT)

    assert ended == 130
    assert shop.book == ["reserve a"]


BLOCKS = """
import time
from pathlib import Path
from allframe import Saga, step

class Block(Saga):
    @step
    async def forget_to_await(self) -> None:
        Path("book.txt").write_text("it blocks\\n")
        time.sleep(60)
"""


def test_a_second_signal_ends_a_step_that_blocks_the_loop(shop: Shop) -> None:
    (shop.folder / "blocks.py").write_text(BLOCKS)
    process = shop.start("run", "blocks.py:Block", "{}", *STORE)
    wait_until(process, lambda: shop.book == ["it blocks"])

    for _ in range(10):  # two that come together count as one
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            break
    ended = process.poll()
    process.kill()
    process.communicate()

    assert ended == 143
