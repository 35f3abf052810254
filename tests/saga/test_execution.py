"""`Execution`: a fold over records that says where a saga stands and what comes next."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allframe.errors import ErrorInfo
from allframe.saga.context import UnknownReason
from allframe.saga.encoding import decode, encode
from allframe.saga.execution import Execution
from allframe.saga.graph import Node, Plan
from allframe.saga.records import (
    BlockedKind,
    CancelRequested,
    DeadlinePassed,
    Record,
    RetryRequested,
    RollbackBegun,
    SagaAdmitted,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaRecovered,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepOutputLost,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import (
    RUNNING,
    TERMINAL,
    Block,
    CauseKind,
    Compensate,
    End,
    Move,
    Phase,
    Run,
    SagaStatus,
    Strand,
    TurnBack,
    Undo,
)

BOOM = ErrorInfo("Boom", "boom")
STARTED = SagaStarted(saga="S", version=1, definition="d1", input=b"{}", epoch=1)


# --- plans -----------------------------------------------------------------------------------------------------------


def node(name: str, *after: int, **promises: Any) -> Node:
    return Node(name, after, **({"compensated": True} | promises))


def line(*names: str, **promises: dict[str, Any]) -> Plan:
    """``line("a", "b", b={"attempts": 3})``: one after the other."""
    return Plan(tuple(node(name, *((i - 1,) if i else ()), **promises.get(name, {})) for i, name in enumerate(names)))


def diamond(**promises: dict[str, Any]) -> Plan:
    shape: dict[str, tuple[int, ...]] = {"top": (), "left": (0,), "right": (0,), "bottom": (1, 2)}
    return Plan(tuple(node(name, *after, **promises.get(name, {})) for name, after in shape.items()))


def two_branches(**promises: dict[str, Any]) -> Plan:
    """``a1 -> a2`` beside ``b1 -> b2``."""
    shape: dict[str, tuple[int, ...]] = {"a1": (), "a2": (0,), "b1": (), "b2": (2,)}
    return Plan(tuple(node(name, *after, **promises.get(name, {})) for name, after in shape.items()))


def fan(count: int) -> Plan:
    """A root, ``count`` steps beside each other, and a join."""
    leaves = tuple(node(f"leaf{i}", 0) for i in range(1, count + 1))
    return Plan((node("root"), *leaves, node("join", *range(1, count + 1))))


# --- a saga on paper -------------------------------------------------------------------------------------------------


def ok(step: str, attempt: int = 1, **more: Any) -> StepSucceeded:
    return StepSucceeded(step=step, attempt=attempt, output=b"1", **more)


def lost(step: str) -> StepOutputLost:
    return StepOutputLost(step=step, attempt=1, error=BOOM)


def failed(step: str, attempt: int = 1, **more: Any) -> StepFailed:
    return StepFailed(step=step, attempt=attempt, error=BOOM, **more)


def unknown(step: str, attempt: int = 1, reason: UnknownReason = UnknownReason.SILENCE, **more: Any) -> StepUnknown:
    return StepUnknown(step=step, attempt=attempt, reason=reason, **more)


def undone(step: str, attempt: int = 1) -> StepCompensated:
    return StepCompensated(step=step, attempt=attempt)


def not_undone(step: str, attempt: int = 1, **more: Any) -> StepNotCompensated:
    return StepNotCompensated(step=step, attempt=attempt, error=BOOM, **more)


CANCEL = CancelRequested(reason="changed my mind", actor="ada")
RETRY = RetryRequested(reason="mended", actor="ada")


class Paper:
    """One saga whose attempts end as the test says. Every record makes the stored round trip."""

    def __init__(self, plan: Plan, *, begin: bool = True) -> None:
        self.plan = plan
        self.execution = Execution(plan)
        self.log: list[tuple[Record, int]] = []
        self.commits: list[list[Record]] = []
        #: What was announced last.
        self.moves: list[Move] = []
        self.now = 0
        if begin:
            self.ended(STARTED)
        else:
            self.now = 1
            self.execution.apply(STARTED, 1)
            self._note([STARTED])

    def ended(self, *records: Record | None, at: int | None = None, leaving: bool = False) -> Paper:
        """Decide after each of ``records``, a microsecond apart."""
        for record in records:
            self.now = self.now + 1 if at is None else at
            written, self.moves = self.execution.decide(record, self.now, leaving=leaving)
            self._note(written)
        return self

    def crash(self, *, at: int | None = None, recoveries: int = 0) -> Paper:
        """Another opening takes it over from what is stored."""
        self.execution = Execution.replay(self.plan, self.log)
        epoch = self.execution.epoch + 1
        return self.ended(SagaRecovered(epoch=epoch, recoveries=recoveries), at=at)

    def _note(self, written: list[Record]) -> None:
        for record in written:
            assert decode(record.type, 1, encode(record)) == record
        self.log += [(record, self.now) for record in written]
        self.commits.append(written)

    @property
    def last(self) -> list[Record]:
        return self.commits[-1]

    @property
    def status(self) -> str:
        return self.execution.status

    @property
    def running(self) -> list[str]:
        return [self.plan.nodes[move.step].name for move in self.moves if isinstance(move, Run)]

    @property
    def undoing(self) -> list[str]:
        return [self.plan.nodes[move.step].name for move in self.moves if isinstance(move, Compensate)]

    def phase(self, step: str) -> Phase:
        return self.execution.steps[self.plan.index[step]].phase

    def undo(self, step: str) -> Undo:
        return self.execution.steps[self.plan.index[step]].undo

    def undo_all(self) -> list[str]:
        """Let every compensation succeed; the order in which they ran."""
        order = []
        while self.undoing:
            (step,) = self.undoing
            order.append(step)
            self.ended(undone(step))
        return order


def types(records: Sequence[Record]) -> list[str]:
    return [type(record).__name__ for record in records]


def image(execution: Execution) -> dict[str, Any]:
    """Everything that an execution knows, the order of its dictionaries included."""
    known = {name: value for name, value in vars(execution).items() if name not in ("plan", "rollback")}
    known |= {f"rollback.{name}": value for name, value in vars(execution.rollback).items() if name != "plan"}
    if execution.started is not None:
        known["started"] = dataclasses.replace(execution.started, starts=())  # said later, in the same record
    return {name: list(value.items()) if isinstance(value, dict) else value for name, value in known.items()}


# --- forward ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_line_of_n_steps_costs_n_plus_one_commits(count: int) -> None:
    names = [f"s{i}" for i in range(count)]
    paper = Paper(line(*names)).ended(*map(ok, names))

    assert paper.status is SagaStatus.COMPLETED
    assert len(paper.commits) == count + 1
    assert types(paper.last) == ["StepSucceeded", "SagaCompleted"]
    assert paper.moves == []
    assert {state.phase for state in paper.execution.steps} == {Phase.SUCCEEDED}


def test_what_ended_and_what_begins_share_one_record() -> None:
    paper = Paper(line("a", "b"))
    assert paper.last == [dataclasses.replace(STARTED, starts=("a",))]

    paper.ended(ok("a"))

    assert paper.last == [ok("a", starts=("b",))]
    assert paper.running == ["b"]
    assert paper.phase("a") is Phase.SUCCEEDED
    assert paper.phase("b") is Phase.RUNNING


def test_a_join_begins_in_the_row_of_its_last_predecessor() -> None:
    paper = Paper(diamond())
    assert paper.running == ["top"]

    paper.ended(ok("top"))
    assert paper.last == [ok("top", starts=("left", "right"))]

    paper.ended(ok("right"))
    assert paper.last == [ok("right")]
    assert paper.moves == []

    paper.ended(ok("left"))
    assert paper.last == [ok("left", starts=("bottom",))]

    assert types(paper.ended(ok("bottom")).last) == ["StepSucceeded", "SagaCompleted"]
    assert len(paper.commits) == 5


def test_all_roots_begin_in_the_first_commit() -> None:
    paper = Paper(two_branches())

    assert paper.last == [dataclasses.replace(STARTED, starts=("a1", "b1"))]


def test_branches_go_on_without_each_other() -> None:
    paper = Paper(two_branches()).ended(ok("b1"), ok("b2"))

    assert paper.status is SagaStatus.EXECUTING
    assert paper.ended(ok("a1")).running == ["a2"]
    assert paper.ended(ok("a2")).status is SagaStatus.COMPLETED


def test_a_queued_saga_begins_with_a_record_of_its_own() -> None:
    paper = Paper(line("a"), begin=False)
    assert paper.status == "not_started"

    paper.ended(None)

    assert paper.last == [SagaAdmitted(starts=("a",))]
    assert paper.status is SagaStatus.EXECUTING
    assert paper.execution.revision == 2


def test_times_are_those_of_the_records() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), at=10)
    assert (paper.execution.started_at, paper.execution.updated_at, paper.execution.since) == (1, 10, 1)

    paper.ended(ok("b"), at=20)

    assert (paper.execution.started_at, paper.execution.updated_at, paper.execution.since) == (1, 20, 20)


def test_an_admitted_saga_is_executing_since_it_was_admitted() -> None:
    paper = Paper(line("a"), begin=False).ended(None, at=50)

    assert (paper.execution.since, paper.execution.updated_at) == (50, 50)


def test_a_step_that_the_plan_does_not_have_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Paper(line("a")).ended(ok("nobody"))


# --- retries ---------------------------------------------------------------------------------------------------------


def test_a_retry_is_announced_in_the_record_of_the_attempt_before() -> None:
    paper = Paper(line("a", a={"attempts": 3})).ended(failed("a", next_at=500))

    assert paper.last == [failed("a", next_at=500, starts=("a",))]
    assert paper.moves == [Run(0, 500)]
    assert paper.execution.steps[0].attempts == 2
    assert paper.ended(ok("a", 2)).status is SagaStatus.COMPLETED


def test_attempts_are_counted_up_to_those_declared() -> None:
    paper = Paper(line("a", a={"attempts": 2}))
    assert paper.execution.may_retry(failed("a"))

    paper.ended(failed("a", next_at=5))

    assert not paper.execution.may_retry(failed("a", 2))


def test_nothing_is_retried_once_the_saga_turns_back() -> None:
    paper = Paper(two_branches(b1={"attempts": 5})).ended(failed("a1"))

    assert not paper.execution.may_retry(failed("b1"))


def test_a_pivot_in_doubt_is_retried_all_the_same() -> None:
    """Going back is no way out once it may have taken effect."""
    paper = Paper(line("a", a={"attempts": 5, "pivot": True, "compensated": False})).ended(CANCEL)

    assert paper.execution.may_retry(unknown("a"))
    assert not paper.execution.may_retry(failed("a"))


@pytest.mark.parametrize("wish", [CANCEL, DeadlinePassed(timeout=60.0)], ids=["cancelled", "timed out"])
def test_a_pivot_that_answers_is_not_retried_where_its_doubt_was_all_that_kept_the_saga_from_going_back(
    wish: Record,
) -> None:
    promises = {"attempts": 5, "pivot": True, "compensated": False, "idempotent": True}
    paper = Paper(line("a", a=promises)).ended(wish, unknown("a", next_at=5))
    assert paper.running == ["a"]

    assert not paper.execution.may_retry(failed("a", 2))
    assert paper.execution.may_retry(failed("a", 2, begun=False)), "the far side said nothing"
    assert paper.execution.may_retry(unknown("a", 2))

    paper.ended(failed("a", 2))
    assert paper.last == [failed("a", 2), RollbackBegun(), SagaCompensated()]
    assert paper.phase("a") is Phase.NO_EFFECT
    assert paper.execution.suppressed == [BOOM]


@pytest.mark.parametrize("wish", [CANCEL, DeadlinePassed(timeout=60.0)], ids=["cancelled", "timed out"])
def test_a_pivot_whose_doubt_no_answer_ends_is_retried(wish: Record) -> None:
    promises = {"attempts": 5, "pivot": True, "compensated": False}
    paper = Paper(line("a", a=promises)).ended(wish, unknown("a", next_at=5))

    assert paper.execution.may_retry(failed("a", 2))


def test_compensations_count_their_own_attempts() -> None:
    paper = Paper(line("a", "b", a={"compensation_attempts": 2})).ended(ok("a"), failed("b"))
    assert paper.execution.may_retry(not_undone("a"))

    paper.ended(not_undone("a", next_at=900))

    assert paper.last == [not_undone("a", next_at=900, compensates="a")]
    assert paper.moves == [Compensate(0, 900)]
    assert not paper.execution.may_retry(not_undone("a", 2))


# --- back ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(4))
def test_a_failure_undoes_what_came_before_it_newest_first(position: int) -> None:
    names = ["a", "b", "c", "d"]
    paper = Paper(line(*names)).ended(*map(ok, names[:position]), failed(names[position]))

    assert types(paper.commits[position + 1])[:2] == ["StepFailed", "RollbackBegun"]
    assert paper.undo_all() == names[:position][::-1]
    assert paper.status is SagaStatus.COMPENSATED
    assert paper.execution.cause is not None
    assert (paper.execution.cause.step, paper.execution.cause.kind) == (position, CauseKind.FAILED)


def test_a_failure_and_the_first_compensation_are_one_commit() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b"))

    assert paper.last == [failed("b"), RollbackBegun(compensates="a")]
    assert paper.status is SagaStatus.COMPENSATING


def test_the_last_compensation_and_the_end_are_one_commit() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b"), undone("a"))

    assert paper.last == [undone("a"), SagaCompensated()]


def test_with_nothing_to_undo_a_failure_is_the_end() -> None:
    paper = Paper(line("a", "b")).ended(failed("a"))

    assert paper.last == [failed("a"), RollbackBegun(), SagaCompensated()]


@pytest.mark.parametrize("ending", [unknown("b"), lost("b"), ok("b", late=True, timeout=1.0)], ids=lambda r: r.type)
def test_what_may_have_taken_effect_is_undone_with_the_others(ending: Record) -> None:
    paper = Paper(line("a", "b", "c")).ended(ok("a"), ending)

    assert paper.undo_all() == ["b", "a"]
    assert paper.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (failed("a"), CauseKind.FAILED),
        (failed("a", refused=True), CauseKind.REFUSED),
        (unknown("a"), CauseKind.UNKNOWN),
        (unknown("a", reason=UnknownReason.DEADLINE, timeout=3.0), CauseKind.TIMED_OUT),
        (lost("a"), CauseKind.OUTPUT_LOST),
        (ok("a", late=True, timeout=3.0), CauseKind.TIMED_OUT),
    ],
)
def test_the_cause_says_how_the_step_ended(ending: Record, kind: CauseKind) -> None:
    cause = Paper(line("a")).ended(ending).execution.cause

    assert cause is not None
    assert (cause.step, cause.kind) == (0, kind)
    assert cause.timeout == (3.0 if kind is CauseKind.TIMED_OUT else None)


def test_steps_that_never_began_are_never_compensated() -> None:
    paper = Paper(diamond()).ended(ok("top"), failed("left"))
    assert paper.undoing == [], "its sibling runs"

    paper.ended(ok("right"))

    assert paper.undo_all() == ["right", "top"]


def test_a_readonly_step_is_passed_over() -> None:
    readonly = {"readonly": True, "compensated": False}
    paper = Paper(line("a", "b", "c", b=readonly)).ended(ok("a"), ok("b"), failed("c"))

    assert paper.undo_all() == ["a"]
    assert paper.status is SagaStatus.COMPENSATED


def test_siblings_end_first_and_the_last_of_them_carries_the_rollback() -> None:
    paper = Paper(fan(3)).ended(ok("root"), failed("leaf2"))
    assert paper.last == [failed("leaf2")]
    assert paper.status is SagaStatus.EXECUTING

    paper.ended(ok("leaf3"))
    assert paper.last == [ok("leaf3")]

    paper.ended(ok("leaf1"))
    assert paper.last == [ok("leaf1"), RollbackBegun(compensates="leaf1")]
    assert paper.undo_all() == ["leaf1", "leaf3", "root"]


def test_nothing_new_begins_once_a_branch_failed() -> None:
    paper = Paper(two_branches()).ended(failed("a1"), ok("b1"))

    assert paper.running == []
    assert paper.undo_all() == ["b1"]


def test_undoing_goes_from_the_leaves_up_and_takes_the_latest_end_first() -> None:
    paper = Paper(two_branches()).ended(ok("b1"), ok("a1"), ok("b2"), failed("a2"))

    assert paper.undo_all() == ["b2", "a1", "b1"]


def test_of_steps_that_are_free_the_one_that_ended_last_is_undone_first() -> None:
    paper = Paper(fan(3)).ended(ok("root"), ok("leaf2"), ok("leaf3"), ok("leaf1"), failed("join"))

    assert paper.undo_all() == ["leaf1", "leaf3", "leaf2", "root"]


def test_a_step_is_not_undone_before_all_that_was_built_on_it() -> None:
    paper = Paper(diamond()).ended(ok("top"), ok("left"), ok("right"), unknown("bottom"))

    assert paper.undo_all() == ["bottom", "right", "left", "top"]


def test_the_first_failure_is_the_cause_and_the_rest_is_suppressed() -> None:
    other = ErrorInfo("Other", "other")
    second = StepFailed(step="leaf2", attempt=1, error=other)
    paper = Paper(fan(3)).ended(ok("root"), failed("leaf1"), second, ok("leaf3"))

    assert paper.execution.cause is not None
    assert paper.execution.cause.error == BOOM
    assert paper.execution.suppressed == [other]


def test_an_exhausted_compensation_leaves_its_ancestors_and_not_the_other_branches() -> None:
    paper = Paper(two_branches()).ended(ok("a1"), ok("b1"), ok("b2"), failed("a2"))
    assert paper.undoing == ["b2"]

    paper.ended(not_undone("b2"))

    assert paper.undoing == ["a1"], "b1 stays, for b2 stands on it"
    paper.ended(undone("a1"))
    assert paper.last == [undone("a1"), SagaFailed(uncompensated=("b1", "b2"))]
    assert paper.status is SagaStatus.FAILED
    assert paper.execution.uncompensated == ("b1", "b2")
    assert paper.undo("b2") is Undo.EXHAUSTED


def test_a_line_whose_last_compensation_fails_keeps_everything_above() -> None:
    paper = Paper(line("a", "b", "c")).ended(ok("a"), ok("b"), failed("c"), not_undone("b"))

    assert paper.last == [not_undone("b"), SagaFailed(uncompensated=("a", "b"))]
    assert paper.moves == []
    assert list(paper.execution.next_moves()) == []


# --- unknown is sticky -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [failed("b", 2), failed("b", 2, refused=True)])
def test_after_an_unknown_attempt_an_error_says_nothing_about_the_first(second: StepFailed) -> None:
    paper = Paper(line("a", "b", b={"attempts": 3})).ended(ok("a"), unknown("b", next_at=9), second)

    assert paper.phase("b") is Phase.UNKNOWN
    assert paper.undo_all() == ["b", "a"]
    assert paper.execution.cause is not None
    assert paper.execution.cause.kind is CauseKind.UNKNOWN


def test_where_the_far_side_honours_the_key_the_last_answer_speaks_for_all() -> None:
    promises = {"attempts": 3, "idempotent": True}
    paper = Paper(line("a", "b", b=promises)).ended(ok("a"), unknown("b", next_at=9), failed("b", 2))

    assert paper.phase("b") is Phase.NO_EFFECT
    assert paper.undo_all() == ["a"]


def test_an_attempt_that_never_began_is_no_answer_of_the_far_side() -> None:
    promises = {"attempts": 3, "idempotent": True}
    paper = Paper(line("a", "b", b=promises)).ended(ok("a"), unknown("b", next_at=9), failed("b", 2, begun=False))

    assert paper.phase("b") is Phase.UNKNOWN
    assert paper.undo_all() == ["b", "a"]


def test_a_success_after_an_unknown_attempt_is_a_success() -> None:
    paper = Paper(line("a", "b", a={"attempts": 3})).ended(unknown("a", next_at=9), ok("a", 2), ok("b"))

    assert paper.status is SagaStatus.COMPLETED


def test_a_crash_is_as_sticky_as_any_unknown() -> None:
    paper = Paper(line("a", "b")).ended(ok("a")).crash()
    assert paper.running == ["b"]

    paper.ended(failed("b", 2))

    assert paper.undo_all() == ["b", "a"]
    assert paper.execution.steps[1].as_unknown().reason is UnknownReason.CRASH
    assert paper.execution.steps[1].as_unknown().attempts == 2


def test_the_first_reason_to_doubt_stays() -> None:
    paper = Paper(line("a", a={"attempts": 3})).ended(
        unknown("a", reason=UnknownReason.DEADLINE, next_at=9), unknown("a", 2, reason=UnknownReason.SILENCE)
    )

    assert paper.execution.steps[0].as_unknown().reason is UnknownReason.DEADLINE


def test_a_lost_output_is_what_the_compensation_is_told() -> None:
    paper = Paper(line("a")).ended(lost("a"))

    assert paper.execution.steps[0].as_unknown().reason is UnknownReason.OUTPUT_LOST
    assert paper.execution.steps[0].as_unknown().error == BOOM


# --- a compensation that needs the output ----------------------------------------------------------------------------


def test_a_compensation_that_needs_what_nobody_has_is_not_tried() -> None:
    paper = Paper(line("a", "b", "c", b={"needs_output": True})).ended(ok("a"), unknown("b"))

    assert types(paper.last) == ["StepUnknown", "RollbackBegun", "StepNotCompensated", "SagaFailed"]
    stranded, end = paper.last[2:]
    assert isinstance(stranded, StepNotCompensated)
    assert stranded.attempt == 0
    assert stranded.error.message == (
        "The compensation of 'b' needs the step's output, and nobody has it: silence. It is declared if_unknown='fail'."
    )
    assert end == SagaFailed(uncompensated=("a", "b"))
    assert paper.execution.steps[1].undo_attempts == 0


def test_a_compensation_that_needs_the_output_is_tried_where_it_is_there() -> None:
    paper = Paper(line("a", "b", a={"needs_output": True})).ended(ok("a"), failed("b"))

    assert paper.undo_all() == ["a"]


def test_a_stranded_step_leaves_the_other_branches_to_be_undone() -> None:
    promises = {"b1": {"needs_output": True}}
    paper = Paper(two_branches(**promises)).ended(ok("a1"), lost("b1"), ok("a2"))

    assert paper.undo_all() == ["a2", "a1"]
    assert paper.execution.uncompensated == ("b1",)


def test_the_move_that_strands_a_step_is_never_handed_out() -> None:
    execution = Execution(line("a", a={"needs_output": True}))
    for record in (dataclasses.replace(STARTED, starts=("a",)), unknown("a"), RollbackBegun()):
        execution.apply(record, 1)

    assert list(execution.next_moves()) == [Strand(0)]
    assert execution.decide(None, 2)[1] == []


# --- the pivot -------------------------------------------------------------------------------------------------------

PIVOT = {"pivot": True, "compensated": False}
AFTER = {"compensated": False, "attempts": 2}


def past_pivot(*names: str, **promises: dict[str, Any]) -> Plan:
    """``a``, the pivot ``p``, and ``names``."""
    defaults: dict[str, dict[str, Any]] = {"p": PIVOT, **dict.fromkeys(names, AFTER)}
    return line(
        "a", "p", *names, **{name: defaults.get(name, {}) | promises.get(name, {}) for name in ("a", "p", *names)}
    )


def test_a_pivot_that_left_no_effect_is_rolled_back_past() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), failed("p"))

    assert paper.undo_all() == ["a"]
    assert paper.status is SagaStatus.COMPENSATED


def test_a_late_pivot_counts() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), ok("p", late=True, timeout=1.0))

    assert paper.running == ["z"]
    assert paper.execution.cause is None


def test_a_pivot_whose_output_is_lost_goes_on_if_nobody_takes_it() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), lost("p"))

    assert paper.running == ["z"]
    assert paper.ended(ok("z")).status is SagaStatus.COMPLETED


def test_a_pivot_whose_output_is_lost_and_taken_waits_for_a_person() -> None:
    paper = Paper(past_pivot("z", z={"takes": (1,)})).ended(ok("a"), lost("p"))

    blocked = paper.last[-1]
    assert isinstance(blocked, SagaBlocked)
    assert (blocked.kind, blocked.step) == (BlockedKind.OUTPUT, "p")
    assert blocked.reason == "The output of step 'p' is lost, and a later step takes it (Boom: boom)."
    assert paper.status is SagaStatus.BLOCKED


def test_a_pivot_in_doubt_waits_for_a_person() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), unknown("p"))

    blocked = paper.last[-1]
    assert isinstance(blocked, SagaBlocked)
    assert (blocked.kind, blocked.step, blocked.epoch) == (BlockedKind.STEP, "p", 1)
    assert blocked.reason == "Step 'p' can only go forward, and ended unknown (silence) after 1 attempt."
    assert paper.execution.committed


def test_a_pivot_in_doubt_that_then_fails_is_still_in_doubt() -> None:
    plan = past_pivot("z", p={"attempts": 2})
    paper = Paper(plan).ended(ok("a"), unknown("p", next_at=9), failed("p", 2))

    assert paper.status is SagaStatus.BLOCKED


def test_an_idempotent_pivot_that_then_fails_left_no_effect() -> None:
    plan = past_pivot("z", p={"attempts": 2, "idempotent": True})
    paper = Paper(plan).ended(ok("a"), unknown("p", next_at=9), failed("p", 2))

    assert paper.undo_all() == ["a"]
    assert paper.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("ending", [failed("z"), failed("z", refused=True), unknown("z")])
def test_after_the_pivot_a_step_that_is_out_of_attempts_waits_for_a_person(ending: Record) -> None:
    paper = Paper(past_pivot("z", "y")).ended(ok("a"), ok("p"), ending)

    assert types(paper.last)[-1] == "SagaBlocked"
    assert paper.execution.blocked is not None
    assert paper.execution.blocked.step == "z"
    assert paper.execution.cause is None


def test_what_is_stuck_is_tried_again_with_fresh_attempts() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), ok("p"), failed("z", next_at=5), failed("z", 2))
    assert paper.status == "blocked"

    paper.ended(RETRY)

    assert paper.last == [dataclasses.replace(RETRY, starts=("z",))]
    assert paper.status is SagaStatus.EXECUTING
    assert paper.execution.blocked is None
    assert paper.execution.steps[2].attempts == 3
    assert paper.execution.may_retry(failed("z", 3))
    assert paper.ended(ok("z", 3)).status is SagaStatus.COMPLETED


def test_a_lost_output_is_not_tried_again() -> None:
    paper = Paper(past_pivot("z", z={"takes": (1,)})).ended(ok("a"), lost("p"), RETRY)

    assert paper.status is SagaStatus.BLOCKED
    assert paper.running == []


def test_a_cancel_lets_a_running_pivot_end_and_a_success_wins() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), CANCEL)
    assert paper.last == [CANCEL]
    assert paper.moves == []

    paper.ended(ok("p"))

    assert paper.running == ["z"]
    assert paper.ended(ok("z")).status is SagaStatus.COMPLETED


def test_a_cancel_undoes_where_the_running_pivot_left_no_effect() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a"), CANCEL, failed("p"))

    assert paper.undo_all() == ["a"]


def test_a_crash_in_the_pivot_runs_it_again() -> None:
    paper = Paper(past_pivot("z")).ended(ok("a")).crash()
    assert paper.running == ["p"]
    assert paper.execution.committed

    assert paper.ended(failed("p", 2)).status is SagaStatus.BLOCKED


def test_a_branch_after_the_pivot_goes_on_beside_one_that_is_stuck() -> None:
    plan = Plan((node("p", **PIVOT), node("z", 0, **AFTER), node("y", 0, **AFTER), node("x", 2, **AFTER)))
    paper = Paper(plan).ended(ok("p"), failed("z"), ok("y"))
    assert paper.running == ["x"]

    paper.ended(ok("x"))

    assert paper.status is SagaStatus.BLOCKED
    assert paper.ended(RETRY).running == ["z"]


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_a_queued_saga_that_is_cancelled_leaves_nothing() -> None:
    paper = Paper(line("a"), begin=False).ended(CANCEL)

    assert paper.last == [CANCEL, RollbackBegun(), SagaCompensated()]
    assert paper.execution.steps[0].attempts == 0


def test_a_cancel_waits_for_what_runs_and_undoes_it_too() -> None:
    paper = Paper(line("a", "b", "c")).ended(ok("a"), CANCEL)
    assert paper.last == [CANCEL]
    assert paper.status is SagaStatus.EXECUTING

    paper.ended(unknown("b", reason=UnknownReason.CANCELLED))

    assert paper.undo_all() == ["b", "a"]
    assert paper.execution.cancel == CANCEL
    assert paper.execution.cause is None


def test_a_step_that_succeeds_after_a_cancel_is_undone() -> None:
    paper = Paper(line("a", "b")).ended(CANCEL, ok("a"))

    assert paper.last == [ok("a"), RollbackBegun(compensates="a")]


def test_a_failure_after_a_cancel_is_suppressed() -> None:
    paper = Paper(line("a", "b")).ended(CANCEL, failed("a"))

    assert paper.execution.cause is None
    assert paper.execution.suppressed == [BOOM]
    assert paper.status is SagaStatus.COMPENSATED


def test_an_attempt_that_never_began_is_no_effect_after_a_cancel() -> None:
    paper = Paper(line("a", "b", b={"attempts": 3})).ended(ok("a"), failed("b", next_at=99), CANCEL)

    paper.ended(StepNotBegun(step="b", attempt=2))

    assert paper.phase("b") is Phase.NO_EFFECT
    assert paper.undo_all() == ["a"]


def test_an_attempt_that_never_began_leaves_the_doubt_of_the_one_before() -> None:
    paper = Paper(line("a", "b", b={"attempts": 3})).ended(ok("a"), unknown("b", next_at=99), CANCEL)

    paper.ended(StepNotBegun(step="b", attempt=2))

    assert paper.undo_all() == ["b", "a"]


def test_a_saga_blocked_for_its_code_can_be_cancelled() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b", next_at=9), leaving=True)
    paper.ended(SagaBlocked(kind=BlockedKind.CODE, reason="gone", epoch=2))
    assert paper.status is SagaStatus.BLOCKED

    paper.ended(CANCEL)

    assert paper.undo_all() == ["a"]
    assert paper.execution.blocked is None


# --- leaving, crashing, recovering -----------------------------------------------------------------------------------


def test_a_result_recorded_while_leaving_carries_no_intent() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), leaving=True)

    assert paper.last == [ok("a")]
    assert paper.moves == []
    assert paper.crash().last == [SagaRecovered(epoch=2, recoveries=0, starts=("b",))]


def test_a_failure_recorded_while_leaving_begins_no_rollback() -> None:
    paper = Paper(line("a", "b")).ended(ok("a")).ended(failed("b"), leaving=True)
    assert paper.last == [failed("b")]

    paper.crash()

    assert types(paper.last) == ["SagaRecovered", "RollbackBegun"]
    assert paper.undo_all() == ["a"]


def test_an_end_is_written_also_while_leaving() -> None:
    assert Paper(line("a")).ended(ok("a"), leaving=True).last == [ok("a"), SagaCompleted()]


def test_an_attempt_that_never_began_is_announced_again_with_its_number() -> None:
    paper = Paper(line("a", "b")).ended(ok("a")).ended(StepNotBegun(step="b", attempt=1), leaving=True)
    assert paper.phase("b") is Phase.RETRYING

    paper.crash()

    assert paper.running == ["b"]
    assert paper.execution.steps[1].attempts == 1
    assert paper.execution.steps[1].unknown is None


def test_a_wait_goes_on_after_an_attempt_that_never_began() -> None:
    paper = Paper(line("a", a={"attempts": 3})).ended(failed("a", next_at=500))
    paper.ended(StepNotBegun(step="a", attempt=2), leaving=True)

    assert paper.crash().moves == [Run(0, 500)]
    assert paper.execution.steps[0].attempts == 2


def test_an_open_attempt_is_run_again_after_a_crash_outside_its_attempts() -> None:
    paper = Paper(line("a", a={"attempts": 2})).crash(recoveries=1).crash(recoveries=2)

    assert paper.last == [SagaRecovered(epoch=3, recoveries=2, starts=("a",))]
    state = paper.execution.steps[0]
    assert (state.attempts, state.spent, state.unknown) == (3, 0, UnknownReason.CRASH)
    assert paper.execution.may_retry(failed("a", 3))
    assert paper.execution.epoch == 3


@pytest.mark.parametrize("at", [499, 500, 501])
def test_an_attempt_that_waited_when_the_process_died_may_have_begun_and_the_wait_goes_on(at: int) -> None:
    """Only a clock could tell that it had not begun, and clocks go wrong."""
    paper = Paper(line("a", a={"attempts": 2})).ended(failed("a", next_at=500))

    paper.crash(at=at)

    assert paper.moves == [Run(0, 500)]
    state = paper.execution.steps[0]
    assert (state.attempts, state.unknown) == (3, UnknownReason.CRASH)


def test_an_open_attempt_of_a_saga_that_turns_back_is_undone_after_a_crash() -> None:
    paper = Paper(two_branches()).ended(failed("a1")).crash()

    assert types(paper.last) == ["SagaRecovered", "RollbackBegun"]
    assert paper.undo_all() == ["b1"]


def test_a_waiting_attempt_of_a_cancelled_saga_may_have_begun_before_a_crash() -> None:
    paper = Paper(line("a", "b", b={"attempts": 3})).ended(ok("a"), failed("b", next_at=500), CANCEL).crash(at=400)

    assert paper.undo_all() == ["b", "a"]


def test_a_compensation_is_tried_again_after_a_crash() -> None:
    paper = Paper(line("a", "b", "c")).ended(ok("a"), ok("b"), failed("c")).crash()

    assert paper.last == [SagaRecovered(epoch=2, recoveries=0, compensates="b")]
    assert paper.execution.steps[1].undo_attempts == 2
    assert paper.undo_all() == ["b", "a"]


def test_a_compensation_waits_on_after_a_crash() -> None:
    plan = line("a", "b", a={"compensation_attempts": 3})
    paper = Paper(plan).ended(ok("a"), failed("b"), not_undone("a", next_at=500)).crash(at=400)

    assert paper.moves == [Compensate(0, 500)]


@pytest.mark.parametrize(
    ("ending", "plan"),
    [
        (ok("a"), line("a", "b")),
        (failed("a"), line("a", "b")),
        (unknown("a"), line("a", "b")),
        (lost("a"), line("a", "b")),
    ],
)
def test_the_next_result_sets_the_recoveries_to_zero(ending: Record, plan: Plan) -> None:
    paper = Paper(plan).crash(recoveries=4)
    assert paper.execution.recoveries == 4

    assert paper.ended(ending).execution.recoveries == 0


@pytest.mark.parametrize("ending", [undone("a"), not_undone("a")])
def test_the_end_of_a_compensation_sets_the_recoveries_to_zero(ending: Record) -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b")).crash(recoveries=4)

    assert paper.ended(ending).execution.recoveries == 0


def test_recovery_can_go_on_with_another_definition() -> None:
    paper = Paper(line("a"))
    assert paper.execution.definition == "d1"

    paper.ended(SagaRecovered(epoch=2, recoveries=0, definition="d2"))

    assert paper.execution.definition == "d2"
    assert paper.ended(SagaRecovered(epoch=3, recoveries=0)).execution.definition == "d2"


@pytest.mark.parametrize("kind", [BlockedKind.CODE, BlockedKind.DEPENDENCY])
def test_what_was_blocked_for_code_or_a_dependency_goes_on_when_it_is_recovered(kind: str) -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), leaving=True)
    paper.ended(SagaBlocked(kind=kind, reason="gone", epoch=2))
    assert (paper.status, paper.moves) == (SagaStatus.BLOCKED, [])

    paper.crash()

    assert paper.running == ["b"]
    assert paper.status is SagaStatus.EXECUTING


def test_a_rollback_that_was_blocked_for_code_goes_on_as_a_rollback() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b"))
    paper.ended(SagaBlocked(kind=BlockedKind.CODE, reason="gone", epoch=2)).crash()

    assert paper.status is SagaStatus.COMPENSATING
    assert paper.undo_all() == ["a"]


def test_a_queued_saga_that_was_blocked_for_code_begins_when_it_is_recovered() -> None:
    paper = Paper(line("a"), begin=False)
    paper.ended(SagaBlocked(kind=BlockedKind.CODE, reason="gone", epoch=2)).crash()

    assert paper.running == ["a"]


@pytest.mark.parametrize("ending", [unknown("p"), lost("p")])
def test_what_waits_for_a_person_waits_on_when_it_is_recovered(ending: Record) -> None:
    paper = Paper(past_pivot("z", z={"takes": (1,)})).ended(ok("a"), ending).crash()

    assert paper.status is SagaStatus.BLOCKED
    assert paper.last == [SagaRecovered(epoch=2, recoveries=0)]


# --- an operator -----------------------------------------------------------------------------------------------------


def test_a_failed_rollback_is_tried_again_with_fresh_attempts() -> None:
    plan = line("a", "b", "c", b={"compensation_attempts": 2})
    paper = Paper(plan).ended(ok("a"), ok("b"), failed("c"), not_undone("b", next_at=9), not_undone("b", 2))
    assert paper.status == "failed"

    paper.ended(RETRY)

    assert paper.last == [dataclasses.replace(RETRY, compensates="b")]
    assert paper.status == "compensating"
    assert paper.execution.uncompensated == ()
    assert paper.execution.may_retry(not_undone("b", 3))
    assert paper.undo_all() == ["b", "a"]
    assert paper.status is SagaStatus.COMPENSATED


def test_only_what_is_left_is_undone_when_a_rollback_is_tried_again() -> None:
    paper = Paper(two_branches()).ended(ok("a1"), ok("b1"), ok("b2"), failed("a2"), not_undone("b2"), undone("a1"))

    paper.ended(RETRY)

    assert paper.undo_all() == ["b2", "b1"]
    assert paper.status is SagaStatus.COMPENSATED


def test_a_rollback_that_needs_a_lost_output_fails_again() -> None:
    paper = Paper(line("a", a={"needs_output": True})).ended(unknown("a"), RETRY)

    assert types(paper.last) == ["RetryRequested", "StepNotCompensated", "SagaFailed"]
    assert paper.status is SagaStatus.FAILED


def test_a_failed_rollback_fails_again_and_is_tried_again() -> None:
    paper = Paper(line("a", "b")).ended(ok("a"), failed("b"), not_undone("a"), RETRY, not_undone("a", 2), RETRY)

    assert paper.undoing == ["a"]
    assert paper.execution.steps[0].undo_attempts == 3


# --- the picture -----------------------------------------------------------------------------------------------------

ARROWS: list[tuple[SagaStatus, SagaStatus, Callable[[], Paper], list[Record]]] = [
    (
        SagaStatus.NOT_STARTED,
        SagaStatus.EXECUTING,
        lambda: Paper(line("a"), begin=False),
        [SagaAdmitted(starts=("a",))],
    ),
    (SagaStatus.NOT_STARTED, SagaStatus.COMPENSATED, lambda: Paper(line("a"), begin=False), [CANCEL]),
    (SagaStatus.EXECUTING, SagaStatus.COMPLETED, lambda: Paper(line("a")), [ok("a")]),
    (SagaStatus.EXECUTING, SagaStatus.COMPENSATING, lambda: Paper(line("a", "b")).ended(ok("a")), [failed("b")]),
    (
        SagaStatus.EXECUTING,
        SagaStatus.COMPENSATING,
        lambda: Paper(line("a", "b")).ended(ok("a"), CANCEL),
        [failed("b")],
    ),
    (SagaStatus.EXECUTING, SagaStatus.BLOCKED, lambda: Paper(past_pivot("z")).ended(ok("a"), ok("p")), [failed("z")]),
    (
        SagaStatus.BLOCKED,
        SagaStatus.EXECUTING,
        lambda: Paper(past_pivot("z")).ended(ok("a"), ok("p"), failed("z")),
        [RETRY],
    ),
    (
        SagaStatus.BLOCKED,
        SagaStatus.COMPENSATING,
        lambda: (
            Paper(line("a", "b")).ended(ok("a"), leaving=True).ended(SagaBlocked(kind="code", reason="gone", epoch=2))
        ),
        [CANCEL],
    ),
    (
        SagaStatus.COMPENSATING,
        SagaStatus.COMPENSATED,
        lambda: Paper(line("a", "b")).ended(ok("a"), failed("b")),
        [undone("a")],
    ),
    (
        SagaStatus.COMPENSATING,
        SagaStatus.FAILED,
        lambda: Paper(line("a", "b")).ended(ok("a"), failed("b")),
        [not_undone("a")],
    ),
    (
        SagaStatus.FAILED,
        SagaStatus.COMPENSATING,
        lambda: Paper(line("a", "b")).ended(ok("a"), failed("b"), not_undone("a")),
        [RETRY],
    ),
]


@pytest.mark.parametrize(
    ("before", "after", "make", "records"), ARROWS, ids=[f"{before}-{after}" for before, after, _, _ in ARROWS]
)
def test_every_arrow_of_the_picture(
    before: SagaStatus, after: SagaStatus, make: Callable[[], Paper], records: list[Record]
) -> None:
    paper = make()
    assert paper.status is before

    paper.ended(*records)

    assert paper.status is after


@pytest.mark.parametrize("end", [SagaCompleted(), SagaCompensated()])
def test_nothing_follows_the_end(end: Record) -> None:
    execution = Execution(line("a"))
    execution.apply(STARTED, 1)
    execution.apply(end, 2)

    assert execution.status in TERMINAL
    assert list(execution.next_moves()) == []
    assert execution.decide(None, 3) == ([], [])


def test_moves_that_need_no_doing_are_turned_into_records_at_once() -> None:
    paper = Paper(line("a"))
    for move in paper.moves:
        assert isinstance(move, Run | Compensate)
    execution = Execution.replay(paper.plan, [*paper.log, (failed("a"), 2)])

    assert list(execution.next_moves()) == [TurnBack()]
    execution.apply(RollbackBegun(), 3)
    assert list(execution.next_moves()) == [End(SagaStatus.COMPENSATED)]


def test_a_step_that_is_stuck_is_a_block() -> None:
    plan = past_pivot("z")
    paper = Paper(plan).ended(ok("a"), ok("p"))
    execution = Execution.replay(plan, [*paper.log, (failed("z"), 9)])

    assert list(execution.next_moves()) == [Block(2, BlockedKind.STEP)]


# --- live and replayed are one ---------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Graphs of up to six steps, in any shape, with any promises that the rules admit."""
    count = draw(st.integers(1, 6))
    nodes: list[Node] = []
    pivot = draw(st.none() | st.integers(0, count - 1))
    past: set[int] = set()
    for i in range(count):
        linear = draw(st.booleans())
        candidates = st.lists(st.integers(0, i - 1), max_size=2, unique=True) if i else st.just([])
        after = tuple(sorted(draw(candidates))) if not linear else ((i - 1,) if i else ())
        if pivot is not None and i != pivot:
            after = tuple(range(i)) if i < pivot and linear else after
            if i > pivot and not past & set(after):
                after = (pivot,)
        elif i == pivot:
            after = tuple(range(i))
        if i == pivot or past & set(after):
            past.add(i)
        readonly = draw(st.integers(0, 4)) == 0
        nodes.append(
            Node(
                f"s{i}",
                after,
                readonly=readonly,
                pivot=i == pivot,
                idempotent=draw(st.booleans()),
                compensated=not readonly and i not in past,
                needs_output=not readonly and i not in past and draw(st.integers(0, 4)) == 0,
                attempts=draw(st.integers(1, 3)),
                compensation_attempts=draw(st.integers(1, 3)),
                takes=tuple(j for j in after if draw(st.booleans())),
            )
        )
    return Plan(tuple(nodes))


class Story:
    """Any sequence of outcomes, as an orchestrator could meet them."""

    def __init__(self, plan: Plan, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.paper = Paper(plan, begin=draw(st.booleans()))
        self.open: list[Move] = list(self.paper.moves)
        self.began: list[tuple[str, int]] = []
        self.undone_steps: list[int] = []

    def step(self) -> bool:
        """One more thing happens; False where nothing can."""
        execution, choices = self.paper.execution, ["crash"]
        if self.open:
            choices += ["end"] * 8
        if execution.status is SagaStatus.NOT_STARTED and execution.cancel is None:
            choices.append("admit")
        cancellable = execution.status in (SagaStatus.NOT_STARTED, SagaStatus.EXECUTING)
        if cancellable and not execution.committed and execution.cancel is None:
            choices.append("cancel")
        stuck = execution.blocked is not None and execution.blocked.kind == BlockedKind.STEP
        if execution.status is SagaStatus.FAILED or stuck:
            choices += ["retry"] * 4
        if execution.status in TERMINAL:
            return False
        getattr(self, f"_{self.draw(st.sampled_from(choices))}")()
        return True

    def _admit(self) -> None:
        self._take(None)

    def _cancel(self) -> None:
        self._take(CANCEL)

    def _retry(self) -> None:
        self._take(RETRY)

    def _crash(self) -> None:
        if self.paper.status not in RUNNING:
            return
        self.open.clear()
        self.paper.crash(at=self.paper.now + self.draw(st.integers(0, 3)), recoveries=self.draw(st.integers(0, 3)))
        self.open = list(self.paper.moves)

    def _end(self) -> None:
        move = self.open.pop(self.draw(st.integers(0, len(self.open) - 1)))
        assert isinstance(move, Run | Compensate)
        record = self._run_ended(move.step) if isinstance(move, Run) else self._undo_ended(move.step)
        self._take(record)

    def _take(self, record: Record | None) -> None:
        if record is not None and self.draw(st.integers(0, 9)) == 0 and not isinstance(record, CancelRequested):
            # The orchestrator leaves: what else is open ends with it, then the next one takes over.
            self.paper.ended(record, leaving=True)
            self.paper.now += 1
            self._crash()
            return
        self.paper.ended(record)
        self.open += self.paper.moves
        if getattr(record, "next_at", None) is not None:
            last: Any = self.paper.last[-1]
            assert getattr(record, "step") in (*last.starts, last.compensates), "a retry was told, and is not to come"  # noqa: B009

    def _again(self, record: Any) -> Any:
        if self.paper.execution.may_retry(record) and self.draw(st.booleans()):
            return dataclasses.replace(record, next_at=self.paper.now + self.draw(st.integers(0, 4)))
        return record

    def _run_ended(self, step: int) -> Record:
        execution = self.paper.execution
        name, attempt = execution.plan.nodes[step].name, execution.steps[step].attempts
        endings: list[Callable[[], Record]] = [
            lambda: ok(name, attempt),
            lambda: ok(name, attempt),
            lambda: ok(name, attempt, late=True, timeout=1.0),
            lambda: StepOutputLost(step=name, attempt=attempt, error=BOOM),
            lambda: self._again(failed(name, attempt)),
            lambda: failed(name, attempt, refused=True),
            lambda: self._again(failed(name, attempt, begun=False)),
            lambda: self._again(unknown(name, attempt, self.draw(st.sampled_from(UnknownReason)))),
        ]
        if execution.turning_back:
            endings.append(lambda: StepNotBegun(step=name, attempt=attempt))
        ending: Callable[[], Record] = self.draw(st.sampled_from(endings))
        return ending()

    def _undo_ended(self, step: int) -> Record:
        execution = self.paper.execution
        name, attempt = execution.plan.nodes[step].name, execution.steps[step].undo_attempts
        if self.draw(st.booleans()):
            return undone(name, attempt)
        record: Record = self._again(not_undone(name, attempt))
        return record


def check_replay(paper: Paper) -> None:
    """Replaying any prefix that ends with a commit gives what was known live, whatever the process had seen."""
    replayed = Execution.replay(paper.plan, paper.log)
    assert image(replayed) == image(paper.execution)
    assert replayed.revision == len(paper.log)
    assert list(replayed.next_moves()) == list(paper.execution.next_moves())


def check_sense(paper: Paper) -> None:
    """What must hold of any saga at any time."""
    execution, plan = paper.execution, paper.plan
    effects = {Phase.SUCCEEDED, Phase.LOST, Phase.UNKNOWN}
    for i, (each, state) in enumerate(zip(plan.nodes, execution.steps, strict=True)):
        if state.phase is not Phase.WAITING:
            done = all(execution.steps[j].phase in (Phase.SUCCEEDED, Phase.LOST) for j in each.after)
            assert done, f"{each.name} began before what it waits for"
        if state.undo is Undo.DONE:
            for j in plan.followers[i]:
                later = execution.steps[j]
                left = later.phase in effects and plan.nodes[j].compensated and later.undo is not Undo.DONE
                assert not left, f"{each.name} was undone before {plan.nodes[j].name}, which stands on it"
            assert i not in plan.forward_only
        assert (i in execution.running) == (state.phase is Phase.RUNNING)
    left_over = [
        i
        for i, state in enumerate(execution.steps)
        if state.phase in effects and plan.nodes[i].compensated and state.undo is not Undo.DONE
    ]
    if execution.status is SagaStatus.COMPENSATED:
        assert left_over == []
    if execution.status is SagaStatus.FAILED:
        assert execution.uncompensated == tuple(plan.nodes[i].name for i in left_over) != ()
    if execution.status is SagaStatus.COMPLETED:
        assert all(state.phase in (Phase.SUCCEEDED, Phase.LOST) for state in execution.steps)
    if execution.status not in RUNNING:
        assert not execution.running
        assert execution.undoing is None
    if execution.committed and plan.pivot is not None and execution.steps[plan.pivot].phase is Phase.SUCCEEDED:
        assert not execution.turning_back


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_sequence_of_outcomes_replays_to_what_was_known_live(data: st.DataObject) -> None:
    story = Story(data.draw(plans()), data.draw)

    for _ in range(30):
        check_replay(story.paper)
        check_sense(story.paper)
        if not story.step():
            break


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_prefix_of_the_records_says_the_same_whether_folded_at_once_or_one_by_one(data: st.DataObject) -> None:
    story = Story(data.draw(plans()), data.draw)
    for _ in range(20):
        if not story.step():
            break

    one_by_one = Execution(story.paper.plan)
    for count, (record, at) in enumerate(story.paper.log, 1):
        one_by_one.apply(record, at)
        at_once = Execution.replay(story.paper.plan, story.paper.log[:count])
        assert image(at_once) == image(one_by_one)
        assert list(at_once.next_moves()) == list(one_by_one.next_moves())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_saga_whose_attempts_all_end_comes_to_rest(data: st.DataObject) -> None:
    story = Story(data.draw(plans()), data.draw)
    for _ in range(10):
        if not story.step():
            return

    if story.paper.status is SagaStatus.NOT_STARTED:
        story.paper.ended(None)
        story.open += story.paper.moves
    for _ in range(200):
        if not story.open:
            break
        move = story.open.pop(0)
        assert isinstance(move, Run | Compensate)
        name = story.paper.plan.nodes[move.step].name
        state = story.paper.execution.steps[move.step]
        record: Record = ok(name, state.attempts) if isinstance(move, Run) else undone(name, state.undo_attempts)
        story.paper.ended(record)
        story.open += story.paper.moves

    assert story.paper.status not in RUNNING, "nothing is open, and nothing will ever happen again"


# --- what begins is announced, once ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_begins_stands_in_the_last_record_of_its_commit_and_nowhere_else(data: st.DataObject) -> None:
    story = Story(data.draw(plans()), data.draw)

    for _ in range(25):
        *before, last = story.paper.last or [SagaCompleted()]
        assert all(not getattr(record, "starts", ()) for record in before)
        assert all(getattr(record, "compensates", None) is None for record in before)
        assert list(getattr(last, "starts", ())) == story.paper.running
        assert [undo for undo in [getattr(last, "compensates", None)] if undo] == story.paper.undoing
        assert len(story.paper.undoing) <= 1, "compensations run one at a time"
        if not story.step():
            break


# --- the price of a record -------------------------------------------------------------------------------------------


def price_of(work: Callable[[], Any]) -> int:
    """How many calls and lines ``work`` runs, each turn of a loop counted: no other process can disturb that."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def long_line(count: int) -> Plan:
    return line(*(f"s{i}" for i in range(count)))


def forward(plan: Plan) -> Paper:
    paper = Paper.__new__(Paper)
    paper.plan, paper.execution, paper.log, paper.commits, paper.now = plan, Execution(plan), [], [], 0
    execute(paper, STARTED, (ok(each.name) for each in plan.nodes))
    return paper


def back(plan: Plan) -> Paper:
    """Everything succeeds but the last step; then all is undone."""
    paper = Paper.__new__(Paper)
    paper.plan, paper.execution, paper.log, paper.commits, paper.now = plan, Execution(plan), [], [], 0
    execute(paper, STARTED, (ok(each.name) for each in plan.nodes[:-1]))
    execute(paper, failed(plan.nodes[-1].name), ())
    while paper.undoing:
        execute(paper, undone(paper.undoing[0]), ())
    return paper


def execute(paper: Paper, first: Record, rest: Iterable[Record]) -> None:
    for record in (first, *rest):
        paper.now += 1
        written, paper.moves = paper.execution.decide(record, paper.now)
        paper.log += [(each, paper.now) for each in written]


@pytest.mark.parametrize("shape", [long_line, fan])
@pytest.mark.parametrize(("story", "end"), [(forward, SagaStatus.COMPLETED), (back, SagaStatus.COMPENSATED)])
def test_a_record_costs_the_same_in_a_saga_of_any_size(
    shape: Callable[[int], Plan], story: Callable[[Plan], Paper], end: SagaStatus
) -> None:
    small, large = shape(1000), shape(4000)
    papers: list[Paper] = []

    live = [price_of(lambda plan=plan: papers.append(story(plan))) for plan in (small, large)]  # type: ignore[misc]
    assert [paper.status for paper in papers] == [end, end]
    replayed = [price_of(lambda paper=paper: Execution.replay(paper.plan, paper.log)) for paper in papers]  # type: ignore[misc]

    assert live[1] < live[0] * 4 * 1.1
    assert replayed[1] < replayed[0] * 4 * 1.1


def test_a_line_of_a_thousand_steps_is_undone_in_order() -> None:
    order = [record.step for record, _ in back(long_line(1000)).log if isinstance(record, StepCompensated)]

    assert order == [f"s{i}" for i in reversed(range(999))]


def test_a_fan_of_a_thousand_steps_begins_in_one_record() -> None:
    starts = [record.starts for record, _ in forward(fan(1000)).log if isinstance(record, StepSucceeded)]

    assert starts[0] == tuple(f"leaf{i}" for i in range(1, 1001))
    assert starts[1:] == [()] * 999 + [("join",), ()]


def test_a_step_to_be_retried_that_may_have_taken_effect_is_undone_when_the_saga_turns_back() -> None:
    """The retry was not announced, for the orchestrator left; then somebody cancelled the saga."""
    paper = Paper(line("a", "b", b={"attempts": 3})).ended(ok("a"))
    paper.ended(unknown("b", next_at=500), leaving=True)

    assert paper.ended(CANCEL).undo_all() == ["b", "a"]
