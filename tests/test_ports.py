"""The twenty public samples of `tests.ports`: what the checker says of each as it is published, and that all run as mended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from allframe import Inject, SagaOrchestrator, SagaStatus, StepContext, Unknown
from allframe.testing import VirtualClock
from tests import whole
from tests.forty import Far
from tests.ports import EXAMPLES, clouds, temporal
from tests.ports.published import REFUSALS
from tests.sources import ROOT

pytestmark = pytest.mark.anyio

#: What is done where the service that is asked first cannot.
INSTEAD = "reserve inventory elsewhere"

#: What is refused as it is published: the rule and whom it is about, in the order of the rules.
REFUSED = {
    "ports.temporal.move_money": ["AF104 withdraw"],
    "ports.temporal.open_account": ["AF104 create_account"],
    "ports.sage.create_and_subscribe_user": ["AF104 create_user"],
    "ports.sage.by_hand": [
        "AF104 create_user",
        "AF104 send_email_receipt",
        "AF116 refund",
        "AF116 delete_subscription",
        "AF116 delete_delivery_from_schedule",
    ],
    "ports.eventuate.create_order_with_credit": ["AF104 reserve_credit", "AF116 reject"],
    "ports.eventuate.create_order": ["AF104 authorize", "AF104 confirm_create_ticket"],
    "ports.eventuate.cancel_order": ["AF104 reverse_authorization", "AF104 confirm_ticket_cancel"],
    "ports.eventuate.revise_order": ["AF104 revise_authorization", "AF104 confirm_ticket_revision"],
    "ports.cqrs.process_order": ["AF116 release_items", "AF116 refund", "AF116 cancel_shipment"],
    "ports.dbos.checkout": ["AF112 mark_paid", "AF112 start_dispatch", "AF116 cancel_order"],
    "ports.aws.book_travel": ["AF104 confirm_flight", "AF104 confirm_rental"],
    "ports.azure.process_order": ["AF104 notify_begin", "AF104 request_approval", "AF104 deliver"],
}

#: The text of one of each rule, whole.
TEXTS = {
    "ports.temporal.move_money": (
        "'withdraw' has no compensation, and deposit can fail after it: its effect would be left behind. "
        'Write @compensates("withdraw"), or mark it readonly=True if it has no effect, or pivot=True if the saga must '
        "only go forward after it."
    ),
    "ports.dbos.checkout": (
        "'mark_paid' comes after the pivot 'payment' and has no retry: the saga can only go forward, so one error "
        "would block it. Give it retry=Retry(...)."
    ),
    "ports.cqrs.process_order": (
        "'release_items' demands the output of 'reserve_inventory', but after a timeout or a crash nobody has it. "
        "Write `reserve_inventory: ReserveInventoryResponse | Unknown` and undo by ctx.forward_key, or accept that a "
        'person must step in with if_unknown="fail".'
    ),
}


@pytest.fixture(params=sorted(EXAMPLES))
def saga(request: pytest.FixtureRequest) -> Any:
    return EXAMPLES[request.param]


def test_there_are_twenty_from_nine_origins() -> None:
    assert len(EXAMPLES) == 20
    origins = {name.split(".")[1] for name in EXAMPLES}
    assert origins == {"temporal", "sage", "eventuate", "cqrs", "restate", "dbos", "camunda", "aws", "azure"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_published_is_refused_with_the_rule_and_the_step(name: str) -> None:
    told = [f"{problem.rule} {problem.member}" for problem in REFUSALS[name]]

    assert sorted(told) == sorted(REFUSED[name])


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_is_published_is_refused_in_words(name: str) -> None:
    assert TEXTS[name] in {problem.text for problem in REFUSALS[name]}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refusal_points_to_the_line(name: str) -> None:
    for problem in REFUSALS[name]:
        path, _, line = problem.where.rpartition(":")
        lines = Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
        marked = next(text for text in lines if "def " in text)
        assert f"def {problem.member}(" in marked, problem


def test_no_other_is_refused() -> None:
    assert set(REFUSALS) == set(REFUSED)


def test_the_page_says_of_each_what_the_checker_says() -> None:
    page = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| .*? \| (.*) \| .*? \|$", page, flags=re.MULTILINE)
    said = {f"ports.{name}": re.findall(r"`(AF1\d\d \w+)`", text) for name, text in rows}

    assert said == {name: REFUSED.get(name, []) for name in EXAMPLES}
    assert all(text == "accepted" for name, text in rows if f"ports.{name}" not in REFUSED)
    assert f"with {sum(map(len, REFUSED.values()))} problems" in page


async def test_it_completes(saga: Any, clock: VirtualClock) -> None:
    await whole.completes(saga, clock)


async def test_whatever_is_refused_leaves_nothing_behind(saga: Any, clock: VirtualClock) -> None:
    await whole.leaves_nothing_that_is_refused(saga, clock, instead=INSTEAD)


async def test_whatever_reply_is_lost_leaves_nothing_behind(saga: Any, clock: VirtualClock) -> None:
    await whole.leaves_nothing_that_is_lost(saga, clock)


async def test_stopped_anywhere_it_is_finished_by_the_next_opening(
    saga: Any, clock: VirtualClock, tmp_path: Path
) -> None:
    await whole.is_finished_wherever_it_stops(saga, clock, tmp_path)


async def test_money_that_may_have_arrived_is_not_given_back(clock: VirtualClock) -> None:
    """The published one refunds when its third try to deposit timed out, whether or not one of them did."""
    far = Far()
    far.lose("deposit", times=3)
    transfer = EXAMPLES["ports.temporal.transfer"]
    assert isinstance(transfer, temporal.Transfer)
    async with SagaOrchestrator(provide={Far: far}, clock=clock) as orchestrator:
        outcome = await (await orchestrator.start(transfer)).outcome()

    assert outcome.status is SagaStatus.BLOCKED
    assert sorted(far.standing.values()) == ["deposit", "withdraw"]


class CancelByNumber(clouds.BookTravel, name="ports.aws.cancel_by_number"):
    """As it is published: what was booked is cancelled by the number that booking it returned, if there is one."""

    async def cancel_flight(
        self, reserve_flight: clouds.Reserved | Unknown, far: Inject[Far], ctx: StepContext
    ) -> None:
        if isinstance(reserve_flight, clouds.Reserved):
            await far.undo("reserve flight", ctx)


async def test_what_no_checker_sees_is_seen_by_losing_a_reply(clock: VirtualClock) -> None:
    far = Far()
    far.lose("reserve flight")
    travel = CancelByNumber(**EXAMPLES["ports.aws.book_travel"].model_dump())
    async with SagaOrchestrator(provide={Far: far}, clock=clock) as orchestrator:
        outcome = await (await orchestrator.start(travel)).outcome()

    assert outcome.status is SagaStatus.COMPENSATED
    assert list(far.standing.values()) == ["reserve flight"], "it is undone in name only"
