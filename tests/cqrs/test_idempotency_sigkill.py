"""Whatever moment a kill -9 hits, repeating every key leaves the effects of each in the store exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from allframe import EventStore
from tests.cqrs.keys_program import is_rejected
from tests.cqrs.world import Deposited, Withdrawn, logged

COUNT = 120
ROOT = Path(__file__).parents[2]


def start(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cqrs.keys_program", url, str(COUNT)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_and_kill(url: str, after: int) -> int:
    """Kill a run when it has told of ``after`` keys; how many events the store held then."""
    process = start(url)
    with process:
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline(), process.stderr and process.stderr.read()
        process.kill()
    assert process.returncode == -9
    return len(anyio.run(events_of, url))


def run_to_end(url: str) -> None:
    process = start(url)
    told, trouble = process.communicate(timeout=100)
    assert process.returncode == 0, trouble
    assert sorted(map(int, told.split())) == list(range(1, COUNT + 1))


async def events_of(url: str) -> list[tuple[str, Decimal]]:
    """Which account, and how much: of all events."""
    async with EventStore(url) as store:
        found = [recorded.event for recorded in await logged(store)]
    return [(event.account, event.amount) for event in found if isinstance(event, Deposited | Withdrawn)]


def check_rounds(folder: Path, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    left = []
    for number in range(rounds):
        url = f"sqlite:///{folder}/{number}.db"
        for _ in range(dice.choice((1, 2))):
            left.append(run_and_kill(url, dice.randint(1, COUNT // 2)))
        run_to_end(url)

        moved = [Decimal(one) for one in range(1, COUNT + 1) if not is_rejected(one)]
        expected = Counter((account, amount) for account in ("A", "B", "fees") for amount in moved)
        assert Counter(anyio.run(events_of, url)) == expected
    # The kills hit something: not all of it was done by then.
    assert min(left) < 3 * len(moved)


@pytest.mark.timeout(300)
def test_four_kills_do_nothing_twice(tmp_path: Path) -> None:
    check_rounds(tmp_path, 4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundred_kills_do_nothing_twice(tmp_path: Path) -> None:
    check_rounds(tmp_path, 100, seed=2)
