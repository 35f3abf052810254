"""`Retry`: how often, how long in between, after which errors."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allframe.saga.context import EffectUnknown, Refused
from allframe.saga.retry import Retry, is_number


class Declined(Refused):
    pass


def test_the_waits_grow_by_the_factor() -> None:
    retry = Retry(wait=0.5, factor=3, jitter=0)

    assert [retry.delay(attempt) for attempt in (1, 2, 3)] == [0.5, 1.5, 4.5]


def test_the_waits_have_a_ceiling() -> None:
    retry = Retry(wait=1, factor=2, max_wait=5, jitter=0)

    assert [retry.delay(attempt) for attempt in (1, 2, 3, 4, 5000)] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize("attempt", [1, 2, 3, 50])
def test_jitter_spreads_a_wait_by_its_share(attempt: int) -> None:
    retry = Retry(wait=1, factor=1, jitter=0.25)
    delays = [retry.delay(attempt) for _ in range(200)]

    assert 0.75 <= min(delays) < 0.9
    assert 1.1 < max(delays) <= 1.25


@given(st.floats(0, 1e9), st.floats(1, 1e300), st.floats(0, 1e9), st.floats(0, 1), st.integers(1, 10_000_000))
def test_a_wait_is_never_negative_nor_endless(
    wait: float, factor: float, max_wait: float, jitter: float, attempt: int
) -> None:
    retry = Retry(wait=wait, factor=factor, max_wait=max_wait, jitter=jitter)
    assert retry.problems() == []

    assert 0 <= retry.delay(attempt) <= max_wait * 2


def test_every_error_is_tried_again_unless_it_says_otherwise() -> None:
    assert Retry().admits(ValueError())
    assert Retry().admits(EffectUnknown())
    assert Retry().admits(TimeoutError())


def test_a_refusal_is_never_tried_again() -> None:
    assert not Retry().admits(Refused("no"))
    assert not Retry(on=(Refused, ValueError)).admits(Declined("no"))


def test_only_the_errors_that_are_named_are_tried_again() -> None:
    retry = Retry(on=(ConnectionError, KeyError))

    assert retry.admits(ConnectionResetError())
    assert retry.admits(KeyError())
    assert not retry.admits(ValueError())
    assert Retry(on=KeyError).admits(KeyError())


def test_errors_can_be_excepted() -> None:
    retry = Retry(on=OSError, give_up_on=ConnectionRefusedError)

    assert retry.admits(ConnectionResetError())
    assert not retry.admits(ConnectionRefusedError())


def test_what_is_no_ordinary_error_is_not_tried_again() -> None:
    assert not Retry().admits(SystemExit())
    assert not Retry().admits(KeyboardInterrupt())
    assert not Retry().admits(BaseExceptionGroup("several", [SystemExit()]))


def test_a_retry_is_a_value() -> None:
    assert Retry(attempts=2) == Retry(attempts=2)
    assert hash(Retry()) == hash(Retry())
    with pytest.raises(FrozenInstanceError):
        Retry().attempts = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("retry", "problem"),
    [
        (Retry(attempts=0), "attempts is 0; expected a whole number from 1"),
        (Retry(attempts=-1), "attempts is -1; expected a whole number from 1"),
        (Retry(attempts=True), "attempts is True; expected a whole number from 1"),
        (Retry(attempts=1.5), "attempts is 1.5; expected a whole number from 1"),  # type: ignore[arg-type]
        (Retry(attempts=None), "attempts is None; expected a whole number from 1"),  # type: ignore[arg-type]
        (Retry(wait=-0.1), "wait is -0.1; expected a number from 0"),
        (Retry(wait=math.nan), "wait is nan; expected a number from 0"),
        (Retry(wait="1"), "wait is '1'; expected a number from 0"),  # type: ignore[arg-type]
        (Retry(factor=0.5), "factor is 0.5; expected a number from 1"),
        (Retry(factor=math.inf), "factor is inf; expected a number from 1"),
        (Retry(max_wait=math.inf), "max_wait is inf; expected a number from 0"),
        (Retry(max_wait=1e308), "max_wait is 1e+308; expected at most 1e+09 seconds, some thirty years"),
        (Retry(wait=10**400), f"wait is {10**400}; expected at most 1e+09 seconds, some thirty years"),
        (Retry(max_wait=-1), "max_wait is -1; expected a number from 0"),
        (Retry(jitter=1.1), "jitter is 1.1; expected a number from 0 to 1"),
        (Retry(jitter=True), "jitter is True; expected a number from 0 to 1"),
        (Retry(on="x"), "on is 'x'; expected exception classes below Exception"),  # type: ignore[arg-type]
        (Retry(on=(BaseException,)), f"on is {(BaseException,)}; expected exception classes below Exception"),  # type: ignore[arg-type]
        (Retry(on=[ValueError]), f"on is {[ValueError]}; expected exception classes below Exception"),  # type: ignore[arg-type]
        (
            Retry(give_up_on=(ValueError, 3)),  # type: ignore[arg-type]
            f"give_up_on is {(ValueError, 3)}; expected exception classes below Exception",
        ),
    ],
)
def test_what_makes_no_sense_is_said(retry: Retry, problem: str) -> None:
    assert retry.problems() == [problem]


def test_every_problem_is_said_at_once() -> None:
    assert len(Retry(attempts=0, wait=-1, factor=0, max_wait=-1, jitter=2).problems()) == 5


@pytest.mark.parametrize(
    "retry", [Retry(), Retry(attempts=1), Retry(wait=0, max_wait=0, factor=1, jitter=0), Retry(on=())]
)
def test_what_makes_sense_is_left_in_peace(retry: Retry) -> None:
    assert retry.problems() == []


@pytest.mark.parametrize(
    ("value", "answer"), [(1, True), (1.5, True), (math.inf, True), (math.nan, False), (True, False), ("1", False)]
)
def test_a_number_is_an_int_or_a_float(value: Any, answer: bool) -> None:
    assert is_number(value) is answer


@given(
    st.integers(1, 40),
    st.just(0.0) | st.floats(0.001, 100),
    st.sampled_from([1.0, 1.1, 2.0, 10.0]),
    st.floats(0, 100),
    st.floats(0, 1),
)
def test_all_waits_together_are_the_longest_of_each(
    attempts: int, wait: float, factor: float, max_wait: float, jitter: float
) -> None:
    retry = Retry(attempts=attempts, wait=wait, factor=factor, max_wait=max_wait, jitter=jitter)

    each = [min(wait * factor**n, max_wait) * (1 + jitter) for n in range(attempts - 1)]

    assert retry.longest_waits == pytest.approx(sum(each), rel=1e-9, abs=1e-9)


def test_all_waits_together_are_known_at_once_and_bounded() -> None:
    assert Retry(attempts=10**12, wait=1, factor=1.5, max_wait=30, jitter=0).longest_waits < 30 * 10**12
    assert Retry(attempts=3, wait=1e-320, factor=1e300, max_wait=1e300).longest_waits == pytest.approx(2.2e300)
