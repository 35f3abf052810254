"""Trying again: what is, when, how often, and what an unknown attempt leaves behind."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from allframe import EffectUnknown, Refused, Retry, SagaStatus, StepFailed, StepRefused, StepTimedOut, StepUnknown
from allframe.clock import from_microseconds
from tests.saga import world
from tests.saga.world import Home, trip

pytestmark = pytest.mark.anyio
home = world.home

TRIED_TWICE = ["do first", "do second", "do second"]
UNDONE_ALL = ["undo second", "undo first"]


def waits(home: Home, entry: str) -> list[float]:
    """Seconds from one attempt to the next."""
    times = [time for note, time in zip(home.world.journal, home.world.times, strict=True) if note == entry]
    return [later - earlier for earlier, later in pairwise(times)]


async def test_without_a_retry_there_is_one_attempt(home: Home) -> None:
    Trip = trip()
    home.world.tell("second", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed):
            await orchestrator.execute(Trip())

    assert home.world.journal == ["do first", "do second", "undo first"]


async def test_tries_again_until_it_succeeds(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=3))
    home.world.tell("second", *[home.world.raises(ValueError("no"))] * 2)

    async with home.orchestrator() as orchestrator:
        outcome = await orchestrator.execute(Trip(), id="third-time")

    assert home.world.effects == ["first", "second", "third"]
    assert outcome.outputs["second"] == "second done"
    assert await home.told("third-time") == [
        "started",
        "first succeeded",
        "second failed, again",
        "second failed, again",
        "second succeeded",
        "third succeeded",
        "completed",
    ]


async def test_gives_up_after_the_last_attempt(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=3))
    home.world.tell("second", *[home.world.raises(ValueError(f"no {n}")) for n in (1, 2, 3)])

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed, match=r"failed: ValueError: no 3\. Rolled back: first\.") as raised:
            await orchestrator.execute(Trip(), id="thrice")

    assert home.world.journal == ["do first", *["do second"] * 3, "undo first"]
    assert isinstance(raised.value.__cause__, ValueError)
    assert raised.value.__cause__.args == ("no 3",)


async def test_waits_longer_each_time_up_to_the_longest(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=6, wait=2, factor=3, max_wait=30, jitter=0))
    home.world.tell("second", *[home.world.raises(ValueError("no"))] * 5)

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    assert waits(home, "do second") == pytest.approx([2, 6, 18, 30, 30], abs=1e-4)


async def test_the_time_of_the_next_attempt_is_recorded(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=3, wait=100, factor=2, max_wait=1000, jitter=0))
    home.world.tell("second", home.world.raises(ValueError("no")), home.world.raises(TimeoutError("hm")))

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="planned")

    timeline = await home.timeline("planned")
    ended: list[Any] = [timeline[2], timeline[3]]
    planned = [(from_microseconds(entry.record.next_at) - entry.at).total_seconds() for entry in ended]
    assert planned == [100, 200]
    assert [entry.record.attempt for entry in ended] == [1, 2]


async def test_jitter_stays_in_its_share(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=20, wait=10, factor=1, jitter=0.5))
    home.world.tell("second", *[home.world.raises(ValueError("no"))] * 19)

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip())

    found = waits(home, "do second")
    assert all(5 <= wait <= 15.001 for wait in found)
    assert len({round(wait, 3) for wait in found}) > 10


async def test_attempts_count_and_their_key_stays(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=3))
    home.world.tell("second", *[home.world.raises(ValueError("no"))] * 2)

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="keyed")

    attempts = [ctx for ctx in home.world.contexts if ctx.step == "second"]
    assert [ctx.attempt for ctx in attempts] == [1, 2, 3]
    assert {ctx.idempotency_key for ctx in attempts} == {"keyed/second/do"}


# --- which errors ----------------------------------------------------------------------------------------------------


class Busy(Exception):
    pass


class VeryBusy(Busy):
    pass


ADMITTED = [
    (Retry(attempts=2), ValueError("x"), True),
    (Retry(attempts=2, on=Busy), Busy(), True),
    (Retry(attempts=2, on=Busy), VeryBusy(), True),
    (Retry(attempts=2, on=Busy), ValueError("x"), False),
    (Retry(attempts=2, on=(Busy, ValueError)), ValueError("x"), True),
    (Retry(attempts=2, on=Busy, give_up_on=VeryBusy), VeryBusy(), False),
    (Retry(attempts=2, give_up_on=(VeryBusy, KeyError)), Busy(), True),
    (Retry(attempts=2), Refused("no"), False),
    (Retry(attempts=2, on=Refused), Refused("no"), False),
    (Retry(attempts=2), EffectUnknown("hm"), True),
    (Retry(attempts=2), MemoryError(), True),
    (Retry(attempts=2, on=ConnectionError), ConnectionResetError(), True),
    (Retry(attempts=2), SystemExit(1), False),
]


@pytest.mark.parametrize(("retry", "error", "again"), ADMITTED, ids=lambda value: repr(value)[:60])
async def test_tries_again_what_it_admits(home: Home, retry: Retry, error: BaseException, again: bool) -> None:
    Trip = trip(retry=retry)
    home.world.tell("second", home.world.raises(error))

    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(Trip())).outcome()

    assert home.world.journal.count("do second") == (2 if again else 1)
    assert outcome.status is (SagaStatus.COMPLETED if again else SagaStatus.COMPENSATED)
    assert home.world.effects == (["first", "second", "third"] if again else [])


@pytest.mark.parametrize("value", [7, object], ids=["wrong type", "unstorable"])
async def test_a_lost_output_is_never_tried_again(home: Home, value: Any) -> None:
    Trip = trip(retry=Retry(attempts=5))
    home.world.tell("second", home.world.returns(value))

    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(Trip())).outcome()

    assert home.world.journal == ["do first", "do second", *UNDONE_ALL]


async def test_a_late_return_is_never_tried_again(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=5))
    home.world.tell("second", home.world.never_yields(20))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Trip())

    assert home.world.journal == ["do first", "do second", *UNDONE_ALL]


# --- unknown is sticky -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [Refused("already booked"), ValueError("no")], ids=["refused", "ordinary error"])
async def test_a_later_answer_says_nothing_of_an_unknown_attempt(home: Home, last: Exception) -> None:
    Trip = trip(retry=Retry(attempts=2))
    home.world.tell("second", home.world.hangs(), home.world.raises(last))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepUnknown) as raised:
            await orchestrator.execute(Trip(), id="sticky")

    assert home.world.journal == [*TRIED_TWICE, *UNDONE_ALL]
    assert home.world.effects == []
    given = home.world.given["second"]
    assert (given.reason, given.attempts) == ("deadline", 2)
    assert given.error.message == str(last)
    assert raised.value.error is not None
    assert raised.value.error.message == str(last)
    assert raised.value.__cause__ is last
    # the record says what happened, and the fold what it means
    refused = isinstance(last, Refused)
    assert (await home.told("sticky"))[2:4] == [
        "second unknown (deadline), again",
        "second was refused" if refused else "second failed",
    ]

    await home.reopen()
    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepUnknown) as again:
            await orchestrator.execute(Trip(), id="sticky")
    assert world.facts(again.value) == world.facts(raised.value)


@pytest.mark.parametrize(
    ("last", "kind"),
    [(Refused("no such booking"), StepRefused), (ValueError("no"), StepFailed)],
    ids=["refused", "error"],
)
async def test_the_last_answer_speaks_for_all_attempts_of_an_idempotent_step(
    home: Home, last: Exception, kind: type[StepFailed]
) -> None:
    Trip = trip(retry=Retry(attempts=2), idempotent=True)
    home.world.tell("second", home.world.raises(TimeoutError("1")), home.world.raises(last))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(kind) as raised:
            await orchestrator.execute(Trip())

    assert type(raised.value) is kind
    assert home.world.journal == [*TRIED_TWICE, "undo first"]


async def test_an_idempotent_step_whose_last_attempt_is_silent_is_undone(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=2), idempotent=True)
    home.world.tell("second", home.world.raises(ValueError("busy")), home.world.hangs())

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Trip())

    assert home.world.journal == [*TRIED_TWICE, *UNDONE_ALL]
    assert home.world.effects == []


async def test_success_after_an_unknown_attempt_is_success(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=2))
    home.world.tell("second", home.world.raises(ConnectionResetError()))
    home.world.tell("third", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepFailed) as raised:
            await orchestrator.execute(Trip())

    assert raised.value.step_name == "third"
    assert home.world.given["second"] == "second done"
    assert home.world.effects == []


async def test_the_first_reason_stays_when_several_attempts_are_unknown(home: Home) -> None:
    Trip = trip(retry=Retry(attempts=3, jitter=0))
    home.world.tell(
        "second", home.world.raises_after(ConnectionResetError("1")), home.world.hangs(), home.world.hangs()
    )

    async with home.orchestrator() as orchestrator:
        with pytest.raises(StepTimedOut):
            await orchestrator.execute(Trip())

    assert (home.world.given["second"].reason, home.world.given["second"].attempts) == ("silence", 3)
    assert home.world.effects == []


async def test_a_saga_that_waits_shows_the_step_as_running(home: Home) -> None:
    Trip = trip(timeout=None, retry=Retry(attempts=2, wait=50, jitter=0))
    home.world.tell("second", home.world.raises(ValueError("no")))

    async with home.orchestrator() as orchestrator:
        handle = await orchestrator.start(Trip())
        await home.world.until("do second")
        await anyio.sleep(25)
        metadata = await handle.metadata()
        assert (metadata.status, metadata.running, metadata.steps_executed) == (SagaStatus.EXECUTING, ("second",), 1)
        assert home.world.journal == ["do first", "do second"]
        await handle.outcome()

    assert home.world.effects == ["first", "second", "third"]


async def test_recovery_keeps_the_retries_of_a_step(home: Home) -> None:
    """An orchestrator that left while a step waited is followed by one that tries as often as is declared."""
    Trip = trip(retry=Retry(attempts=4, wait=60, factor=1, max_wait=60, jitter=0))
    home.world.tell("second", *[home.world.raises(ValueError("no"))] * 3)
    async with home.orchestrator() as orchestrator:
        await orchestrator.start(Trip(), id="moved")
        await home.world.until("do second")
    assert home.world.journal.count("do second") == 1

    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(Trip(), id="moved")

    assert home.world.effects == ["first", "second", "third"]
    assert waits(home, "do second") == pytest.approx([60, 60, 60], abs=1e-3)
