"""Verbs on paper: whatever is asked whenever, what is known live is what the records tell, and nothing is lost sight of."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from allframe.errors import ErrorInfo, OperationRefused
from allframe.saga.context import UnknownReason
from allframe.saga.encoding import decode, encode
from allframe.saga.execution import Execution
from allframe.saga.forecast import forecast
from allframe.saga.graph import Node, Plan
from allframe.saga.ordered import record_of
from allframe.saga.orders import Order, Verb, check
from allframe.saga.outputs import StoredOutput
from allframe.saga.records import (
    Record,
    SagaRecovered,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepNotCompensated,
    StepOutputLost,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import RUNNING, TERMINAL, Compensate, Move, Phase, Run, SagaStatus, Undo

BOOM = ErrorInfo("Boom", "boom")
STARTED = SagaStarted(saga="S", version=1, definition="d", input=b"{}", epoch=1)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to six steps with any edges; perhaps a pivot, with everything before or after it."""
    count = draw(st.integers(1, 6))
    pivot = draw(st.none() | st.integers(0, count - 1))
    nodes: list[Node] = []
    for i in range(count):
        after = set(draw(st.sets(st.integers(0, i - 1), max_size=2))) if i else set()
        if pivot is not None and i == pivot:
            after = set(range(i))
        if pivot is not None and i > pivot:
            after = {j for j in after if j >= pivot} or {pivot}
        forward_only = pivot is not None and i >= pivot
        takes = tuple(j for j in sorted(after) if draw(st.booleans()))
        nodes.append(
            Node(
                name=f"s{i}",
                after=tuple(sorted(after)),
                pivot=i == pivot,
                compensated=not forward_only,
                needs_output=not forward_only and draw(st.integers(0, 3)) == 0,
                takes=takes,
            )
        )
    return Plan(tuple(nodes))


def orders(plan: Plan) -> st.SearchStrategy[Order]:
    """Anything that somebody might ask of it."""

    def make(verb: Verb, step: str, outcome: Any, told: bool) -> Order:
        named = step if verb in ("skip", "resolve") else None
        said = outcome if verb == "resolve" else None
        output = {"output": 1} if told and said == "done" else {}
        return Order(verb, "because", "ada", None, named, said, **output)

    names = st.sampled_from([node.name for node in plan.nodes])
    return st.builds(make, st.sampled_from(get_args(Verb)), names, st.sampled_from(["done", "not_done"]), st.booleans())


def endings(move: Move, plan: Plan, attempts: int) -> list[Record]:
    """How what is performed may end."""
    assert isinstance(move, Run | Compensate)
    step = plan.nodes[move.step].name
    if isinstance(move, Compensate):
        return [
            StepCompensated(step=step, attempt=attempts),
            StepNotCompensated(step=step, attempt=attempts, error=BOOM),
        ]
    return [
        StepSucceeded(step=step, attempt=attempts, output=b"1"),
        StepFailed(step=step, attempt=attempts, error=BOOM),
        StepUnknown(step=step, attempt=attempts, reason=UnknownReason.SILENCE),
        StepOutputLost(step=step, attempt=attempts, error=BOOM),
    ]


class Life:
    """One saga, and everything that was recorded of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.execution = Execution(plan)
        self.log: list[tuple[Record, int]] = []
        self.open: list[Move] = []
        self.refusals: list[str] = []
        self.take(STARTED)

    def take(self, record: Record, *, leaving: bool = False) -> None:
        at = len(self.log) + 1
        written, moves = self.execution.decide(record, at, leaving=leaving)
        for one in written:
            assert decode(one.type, 1, encode(one)) == one
        self.log += [(one, at) for one in written]
        self.open += moves

    def ask(self, order: Order, *, clerk: bool) -> None:
        """``clerk``: by a process that does not go on with it."""
        try:
            if not check(order, "s", self.execution):
                return
        except OperationRefused as refusal:
            self.refusals.append(str(refusal))
            return
        needs = order.outcome == "done" and (order.has_output or self.execution.status is SagaStatus.BLOCKED)
        self.take(record_of(order, self.execution, StoredOutput(b"1", "value", 1) if needs else None), leaving=clerk)
        if self.execution.status is SagaStatus.ABANDONED:
            self.open.clear()
        if clerk:
            self.crash()

    def crash(self) -> None:
        self.open.clear()
        self.execution = Execution.replay(self.plan, self.log)
        if self.execution.status in RUNNING:
            self.take(SagaRecovered(epoch=self.execution.epoch + 1, recoveries=0))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_whenever_the_records_tell_what_was_known(data: st.DataObject) -> None:
    plan = data.draw(plans())
    life = Life(plan)
    for _ in range(data.draw(st.integers(0, 25))):
        if life.open and data.draw(st.integers(0, 2)):
            move = life.open.pop(data.draw(st.integers(0, len(life.open) - 1)))
            assert isinstance(move, Run | Compensate)
            state = life.execution.steps[move.step]
            number = state.attempts if isinstance(move, Run) else state.undo_attempts
            life.take(data.draw(st.sampled_from(endings(move, plan, number))))
        else:
            life.ask(data.draw(orders(plan)), clerk=data.draw(st.booleans()))
        _assert_sound(life)


def _assert_sound(life: Life) -> None:
    execution = life.execution
    again = Execution.replay(life.plan, life.log)
    assert (again.status, again.uncompensated) == (execution.status, execution.uncompensated)
    for mine, stored in zip(execution.steps, again.steps, strict=True):
        assert mine == stored
    assert again.next_moves() == execution.next_moves() == [] or not execution.next_moves()
    ended = [
        record for record, _ in life.log if record.type in ("$saga.completed", "$saga.compensated", "$saga.abandoned")
    ]
    assert len(ended) == (execution.status in TERMINAL)
    assert not ended or life.log[-1][0] is ended[0], "something follows the end"
    if execution.status in RUNNING:
        assert life.open, "it runs, and nobody goes on with it"
        forecast(execution)
    if execution.status is SagaStatus.COMPENSATED:
        assert not [step for step in range(len(life.plan.nodes)) if _is_left(execution, step)]
    if execution.status is SagaStatus.COMPLETED:
        assert {state.phase for state in execution.steps} <= {Phase.SUCCEEDED, Phase.LOST, Phase.SKIPPED}


def _is_left(execution: Execution, step: int) -> bool:
    """Whether it took effect, or may have, and neither was undone nor was counted so by a person."""
    state = execution.steps[step]
    effect = state.phase in (Phase.SUCCEEDED, Phase.LOST, Phase.UNKNOWN)
    return effect and execution.plan.nodes[step].compensated and state.undo not in (Undo.DONE, Undo.SKIPPED)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_person_can_always_bring_it_to_an_end(data: st.DataObject) -> None:
    """However it got stuck: skipping and resolving what is asked for leads out, without anything being tried again."""
    plan = data.draw(plans())
    life = Life(plan)
    for _ in range(200):
        while life.open:
            move = life.open.pop()
            assert isinstance(move, Run | Compensate)
            state = life.execution.steps[move.step]
            number = state.attempts if isinstance(move, Run) else state.undo_attempts
            life.take(data.draw(st.sampled_from(endings(move, plan, number))))
        _assert_sound(life)
        if life.execution.status in TERMINAL:
            return
        life.ask(_way_out(life.execution), clerk=False)
    raise AssertionError("it never ended")


def _way_out(execution: Execution) -> Order:
    """The first that is possible of skipping, resolving as done, and retrying."""
    for node in execution.plan.nodes:
        for order in (
            Order("skip", "because", "ada", None, node.name),
            Order("resolve", "because", "ada", None, node.name, "done", 1),
        ):
            try:
                check(order, "s", execution)
            except OperationRefused:
                continue
            return order
    return Order("retry", "because", "ada")
