"""Whatever moment a kill -9 hits, the next runs leave each transfer done or undone as a whole."""

from __future__ import annotations

import pytest

from tests.demo.kill_rounds import KINDS, histogram, run_rounds


@pytest.mark.timeout(300)
def test_twenty_kills_lose_nothing() -> None:
    rounds = run_rounds(20)

    assert {this.number: this.wrong for this in rounds if this.wrong} == {}
    assert sum(len(this.kills) for this in rounds) >= 15, histogram(rounds)
    assert set().union(*(this.hit for this in rounds)) == set(KINDS), histogram(rounds)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_kills_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    rounds = run_rounds(200, seed=2)

    with capsys.disabled():
        print(f"\n{histogram(rounds)}")
    assert {this.number: this.wrong for this in rounds if this.wrong} == {}
    for kind in KINDS:
        assert sum(kind in this.hit for this in rounds) >= 0.15 * len(rounds), histogram(rounds)
