"""`repeatable`, `unknown_on`, `known_on`, and exceptions that ask to be waited for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from allframe import EffectUnknown, Refused, Retry, SagaStatus, SagaTimedOut
from tests.saga import world
from tests.saga.refusal import refused
from tests.saga.shapes import shaped
from tests.saga.world import Home

pytestmark = pytest.mark.anyio
home = world.home

ONE = {"one": None, "end": None}


class GatewayError(Exception):
    """A client's own word."""


class GatewayDown(GatewayError):
    pass


async def told(home: Home, saga: Any) -> list[str]:
    async with home.orchestrator() as orchestrator:
        await (await orchestrator.start(saga(), id="s-1")).outcome()
    return await home.told("s-1")


# --- unknown_on and known_on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["step", "saga"])
async def test_unknown_on_makes_an_error_say_nothing(home: Home, where: str) -> None:
    home.world.tell("one", home.world.raises_after(GatewayDown()))
    options = {"one": {"unknown_on": GatewayError}} if where == "step" else {}
    keywords = {"unknown_on": (GatewayError,)} if where == "saga" else {}
    assert (await told(home, shaped(ONE, options=options, **keywords)))[1] == "one unknown (silence)"
    assert home.world.effects == [], "so it was undone"


@pytest.mark.parametrize("where", ["step", "saga"])
async def test_known_on_makes_an_error_an_answer(home: Home, where: str) -> None:
    class Busy(ConnectionError):
        pass

    home.world.tell("one", home.world.raises(Busy()))
    options = {"one": {"known_on": Busy}} if where == "step" else {}
    keywords = {"known_on": Busy} if where == "saga" else {}
    assert (await told(home, shaped(ONE, options=options, **keywords)))[1] == "one failed"
    assert home.world.journal == ["do one"]


async def test_those_of_step_and_saga_add_up(home: Home) -> None:
    class Other(Exception):
        pass

    saga = shaped(ONE, options={"one": {"unknown_on": GatewayError}}, unknown_on=Other)
    home.world.tell("one", home.world.raises(Other()))
    assert (await told(home, saga))[1] == "one unknown (silence)"
    assert saga.graph.steps[0].unknown_on == (GatewayError, Other)


async def test_they_are_inherited_by_sagas(home: Home) -> None:
    base = shaped(ONE, unknown_on=GatewayError, known_on=KeyError)

    class Inherits(base, name="test_step_options.inherits"):  # type: ignore[misc]
        pass

    step = Inherits.graph.steps[0]
    assert (step.unknown_on, step.known_on) == ((GatewayError,), (KeyError,))


@pytest.mark.parametrize("error", [EffectUnknown("?"), MemoryError(), Refused("no")], ids=lambda e: type(e).__name__)
async def test_what_speaks_for_itself_is_not_overruled(home: Home, error: Exception) -> None:
    home.world.tell("one", home.world.raises(error))
    saga = shaped(ONE, options={"one": {"known_on": (EffectUnknown, MemoryError), "unknown_on": Refused}})
    expected = "one was refused" if isinstance(error, Refused) else "one unknown (silence)"
    assert (await told(home, saga))[1] == expected


@pytest.mark.parametrize("option", ["unknown_on", "known_on"])
@pytest.mark.parametrize("given", [BaseException, "TimeoutError", (ValueError, 3), SystemExit])
def test_af109_something_that_is_no_exception_class(option: str, given: Any) -> None:
    wrong = given[-1] if isinstance(given, tuple) else given
    text = f"{option}={wrong!r}. Expected exception classes below Exception, one or a tuple of them."
    assert refused(lambda: shaped(ONE, options={"one": {option: given}}), "AF109") == f"'one' has {text}"
    assert refused(lambda: shaped(ONE, **{option: given}), "AF109") == f"The saga has {text}"


# --- repeatable ------------------------------------------------------------------------------------------------------

ONCE = {"one": {"repeatable": False, "retry": Retry(attempts=5, wait=0), "timeout": 5}}


@pytest.mark.parametrize("how", ["deadline", "silence"])
async def test_what_is_not_repeatable_is_undone_where_nobody_knows(home: Home, how: str) -> None:
    behaviour = home.world.hangs() if how == "deadline" else home.world.raises_after(ConnectionError())
    home.world.tell("one", behaviour)
    assert (await told(home, shaped(ONE, options=ONCE)))[1] == f"one unknown ({how})"
    assert home.world.journal == ["do one", "undo one"]


async def test_what_is_not_repeatable_is_tried_again_after_an_answer(home: Home) -> None:
    home.world.tell("one", home.world.raises(ValueError("no")))
    assert (await told(home, shaped(ONE, options=ONCE)))[-1] == "completed"
    assert home.world.journal == ["do one", "do one", "do end"]


async def test_what_is_not_repeatable_is_undone_after_a_crash(home: Home) -> None:
    saga = shaped(ONE, options={"one": {"repeatable": False}})
    home.world.tell("one", home.world.hangs())
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do one")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(saga(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.COMPENSATED
    assert home.world.journal == ["do one", "undo one"]
    assert home.world.given["one"].reason == "crash"


async def test_a_pivot_that_is_not_repeatable_waits_for_a_person_at_once(home: Home) -> None:
    home.world.tell("end", home.world.raises_after(ConnectionError()))
    saga = shaped(
        ONE,
        irreversible=("end",),
        options={"end": {"repeatable": False, "pivot": True, "retry": Retry(attempts=5, wait=0)}},
    )
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(saga(), id="s-1")).outcome()
    assert outcome.status is SagaStatus.BLOCKED
    assert home.world.journal == ["do one", "do end"]


async def test_a_pivot_that_is_not_repeatable_waits_for_a_person_after_a_crash(home: Home) -> None:
    home.world.tell("end", home.world.hangs())
    saga = shaped(ONE, irreversible=("end",), options={"end": {"repeatable": False, "pivot": True}})
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        await home.world.until("do end")
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        outcome = await (await orchestrator.start(saga(), id="s-1")).outcome()
        assert outcome.status is SagaStatus.BLOCKED
        metadata = await orchestrator.get_saga("s-1")
    assert metadata is not None
    assert metadata.reason == "Step 'end' can only go forward, and ended unknown (crash) after 1 attempt."
    assert home.world.journal == ["do one", "do end"]


# --- retry_after -----------------------------------------------------------------------------------------------------


class SlowDown(Exception):
    def __init__(self, retry_after: Any) -> None:
        super().__init__("too many requests")
        self.retry_after = retry_after


@pytest.mark.parametrize("asked", [120, 120.0, timedelta(minutes=2)], ids=str)
async def test_an_exception_is_waited_for_as_long_as_it_asks(home: Home, asked: Any) -> None:
    home.world.tell("one", home.world.raises(SlowDown(asked)))
    await told(home, shaped(ONE, options={"one": {"retry": Retry(attempts=2, wait=1, max_wait=30, jitter=0)}}))
    assert home.world.times[1] - home.world.times[0] == pytest.approx(120, abs=0.5)


async def test_a_compensation_waits_as_long_as_it_is_asked_to(home: Home) -> None:
    home.world.tell("end", home.world.raises(ValueError("no")))
    home.world.tell("undo one", home.world.raises(SlowDown(300)))
    await told(home, shaped(ONE))
    assert home.world.times[-1] - home.world.times[-2] == pytest.approx(300, abs=0.5)


async def test_how_long_it_asked_survives_a_crash(home: Home) -> None:
    home.world.tell("one", home.world.raises(SlowDown(500)))
    saga = shaped(ONE, options={"one": {"retry": Retry(attempts=2, wait=1, max_wait=30, jitter=0)}})
    async with home.orchestrator(grace=0) as orchestrator:
        await orchestrator.start(saga(), id="s-1")
        while "one failed, again" not in await home.told("s-1"):
            await world.anyio.lowlevel.checkpoint()
    await home.reopen()
    async with home.orchestrator() as orchestrator:
        await orchestrator.execute(saga(), id="s-1")
    assert home.world.times[1] - home.world.times[0] == pytest.approx(500, abs=1)


class Odd(Exception):
    @property
    def retry_after(self) -> float:
        raise RuntimeError("nobody knows")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SlowDown(1), 5),
        (SlowDown(-3), 5),
        (SlowDown(float("nan")), 5),
        (SlowDown("soon"), 5),
        (SlowDown(True), 5),
        (SlowDown(None), 5),
        (Odd(), 5),
        (ValueError(), 5),
        (SlowDown(10**9), 86_400),
        (SlowDown(float("inf")), 86_400),
        (SlowDown(10**400), 86_400),
    ],
    ids=lambda part: str(getattr(part, "__dict__", part))[:40],
)
def test_what_it_asks_is_taken_if_it_makes_sense_and_is_longer(error: Exception, expected: float) -> None:
    assert Retry(wait=5, jitter=0).delay(1, error) == expected


async def test_the_saga_s_timeout_ends_a_long_wait(home: Home) -> None:
    home.world.tell("one", home.world.raises(SlowDown(5000)))
    saga = shaped(ONE, timeout=60, options={"one": {"retry": Retry(attempts=2)}})
    async with home.orchestrator() as orchestrator:
        with pytest.raises(SagaTimedOut):
            await orchestrator.execute(saga(), id="s-1")
