"""`SagaGraph.explain`: what it says of the way back is what an execution does."""

from __future__ import annotations

import dataclasses
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allframe import Event, Retry, Saga, Unknown, compensates, step
from allframe.errors import ErrorInfo
from allframe.saga.context import UnknownReason
from allframe.saga.execution import Execution
from allframe.saga.graph import Node, Plan, SagaGraph
from allframe.saga.records import (
    Record,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepOutputLost,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.states import SagaStatus
from allframe.saga.wording import duration, listed, quoted
from tests.saga.graphs import NASTY, caterpillar, diamond, fan, free, graph_of, line, node, trip, woven

BOOM = ErrorInfo("Boom", "boom")


# --- the whole text --------------------------------------------------------------------------------------------------


class Debited(Event):
    account: str


class Transfer(Saga, name="transfer", version=2):
    """Only here to be told."""

    account: str

    @step(timeout=10)
    async def debit(self) -> Debited:
        return Debited(account=self.account)

    @compensates("debit", timeout=5, retry=Retry(attempts=2, wait=0.5, jitter=0))
    async def refund(self, debit: Debited | Unknown) -> None: ...

    @step(timeout=20, retry=Retry(attempts=3, wait=1, jitter=0))
    async def credit(self) -> None: ...


def test_tells_a_saga() -> None:
    assert Transfer.graph.explain() == (
        "transfer, version 2: 2 steps.\n"
        "\n"
        "Forward\n"
        "  1. debit: at once; at most 10 s; undone by refund, at most 10.5 s (2 attempts of 5 s and 500 ms of\n"
        "     waits).\n"
        "  2. credit: after debit; the pivot; at most 1 min 3 s (3 attempts of 20 s and 3 s of waits).\n"
        "  The whole run takes at most 1 min 13 s. Waiting for its turn, waits that an error asks for, and\n"
        "  what a crash costs, are not counted.\n"
        "\n"
        "Back\n"
        "  A step that failed left no effect; one that ends unknown, too late or with its output lost is\n"
        "  undone too. One compensation runs at a time.\n"
        "  - debit fails: nothing is undone.\n"
        "  - debit ends unknown: debit.\n"
        "  - credit fails: debit.\n"
        "  - credit ends unknown: nothing is undone, and the saga is blocked, for a person.\n"
        "  Undoing everything takes at most 10.5 s.\n"
        "  A compensation that uses up its attempts leaves its step, and what ran before it, in effect: the\n"
        "  saga ends failed, for a person.\n"
        "\n"
        "Unknown\n"
        "  Nobody can say whether a step took effect when its time is over, its connection breaks off, or it\n"
        "  is cancelled. After a crash it is run again first, if it is repeatable.\n"
        "  - debit: undone; the compensation gets an Unknown in place of the output.\n"
        "  - credit: the saga only goes forward, and is blocked, for a person; a success that is late counts.\n"
        "  - credit: an error after an attempt that ended unknown leaves it unknown."
    )


def test_tells_of_threads_of_what_is_not_repeatable_and_of_the_saga_s_own_timeout() -> None:
    class Nightly(Saga, name="nightly", timeout=3600):
        @step(timeout=60, retry=Retry(attempts=2))
        def dump(self) -> str:
            return "dump"

        @compensates("dump")
        def delete(self) -> None: ...

        @step(timeout=10, repeatable=False, pivot=True)
        async def publish(self) -> None: ...

    told = Nightly.graph.explain()

    assert "1. dump: at once; on a thread, asked to end after 1 min, without a time limit (2 attempts);" in told
    assert "undone by delete, on a thread, asked to end after 1 min, without a time" in " ".join(told.split())
    assert "The whole run has no time limit, for dump has none." in told
    assert "1 h after its start what runs is cut, and everything is undone, unless publish has succeeded, or" in told
    assert "- publish: not repeatable, so it is not run again once an attempt ended unknown, nor after a" in told


def test_tells_what_runs_side_by_side() -> None:
    told = forward(trip())

    assert told["hotel"].startswith("after quote; side by side with car, train and seat; at most 10 s; undone by")
    assert told["seat"].startswith("after train; side by side with hotel and car; ")
    assert told["charge"].startswith("after hotel, car and seat; the pivot; ")
    assert told["send"].startswith("after charge; side by side with mail; only goes forward; ")
    assert told["quote"] == "at once; readonly; at most 10 s"


def test_steps_are_told_in_an_order_in_which_they_can_run() -> None:
    graph = graph_of(node("last", 1), node("first"))

    assert list(forward(graph)) == ["first", "last"]


def test_tells_what_is_left_to_a_person() -> None:
    told = trip().explain()

    assert "- car: not undone, for the compensation needs the output (if_unknown='fail')" in told
    assert "- quote: readonly, so there is nothing to undo" in told
    assert "- charge, send and mail: the saga only goes forward, and is blocked" in told
    assert "- charge: the saga is blocked too if the output is lost, for a later step takes it." in told
    assert "- send and mail: an error after an attempt that ended unknown leaves it unknown." in told
    assert "- charge: idempotent, so the last attempt's answer speaks for all." in told


def test_tells_that_what_a_stranded_step_stood_on_is_left_too() -> None:
    graph = graph_of(node("a"), node("b", 0, needs_output=True), node("beside", 0))

    assert back(graph)["b", "ends unknown or with its output lost"] == "(beside); b and a are left, for a person"


def test_no_line_is_wide_and_no_name_is_broken() -> None:
    names = [f"step {i} of many" for i in range(30)]
    graph = graph_of(*(node(name, *([i - 1] if i else [])) for i, name in enumerate(names)))

    lines = graph.explain().splitlines()

    assert max(len(text) for text in lines) <= 100
    assert all(any(f"'{name}'" in text for text in lines) for name in names)
    assert not [text for text in lines if text.count("'") % 2]


@pytest.mark.parametrize("name", NASTY)
def test_a_name_stays_in_its_place(name: str) -> None:
    graph = graph_of(node("a"), node(name, 0), saga=name)

    assert all(char.isprintable() for text in graph.explain().splitlines() for char in text)
    shown = quoted(name)
    assert graph.explain().startswith(f"{shown}, version 1: 2 steps.\n")
    assert f" - {shown} fails: a. - {shown} ends unknown: {shown}, then a. " in flat(graph)
    assert shown == name if re.fullmatch(r"\w+", name) and name != "then" else shown == repr(name) or name == "--"


# --- how long --------------------------------------------------------------------------------------------------------


def test_the_whole_run_takes_as_long_as_the_longest_way() -> None:
    told = flat(trip())

    # 10 + 10 + 10, charge: 3 attempts and 2 waits, send: 4 attempts and 3 waits.
    assert f"The whole run takes at most {duration(30 + 32 + 43)}, for quote, then train, then seat, then " in told
    assert "then charge, then send. Waiting" in told


def test_undoing_everything_takes_one_compensation_after_the_other() -> None:
    graph = graph_of(node("a", compensation_attempts=2), node("b"), node("c", 0, 1, readonly=True, compensated=False))

    assert "Undoing everything takes at most 3 min 1 s." in flat(graph)


def test_says_what_has_no_limit() -> None:
    told = flat(graph_of(node("a", attempts=2), node("b"), timeout=None, undo_timeout=None))

    assert "a: at once; side by side with b; without a time limit (2 attempts); undone by undo_a, without a " in told
    assert "The whole run has no time limit, for a and b have none." in told
    assert "Undoing everything has no time limit, for undo_a and undo_b have none." in told
    assert "The whole run has no time limit, for a has none." in flat(graph_of(node("a"), timeout=None))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_longest_way_is_the_longest_of_all(data: st.DataObject) -> None:
    plan = data.draw(plans())
    attempts = [data.draw(st.integers(1, 9)) for _ in plan.nodes]
    graph = graph_of(
        *(Node(n.name, n.after, compensated=True, attempts=a) for n, a in zip(plan.nodes, attempts, strict=True))
    )

    longest = max(sum(attempts[i] * 10 + attempts[i] - 1 for i in way) for way in ways(plan))

    assert f"The whole run takes at most {duration(longest)}" in flat(graph)


def ways(plan: Plan) -> Iterator[tuple[int, ...]]:
    """Every way from a step to one that it waits for, and on."""

    def up(step: int) -> Iterator[tuple[int, ...]]:
        yield (step,)
        for before in plan.nodes[step].after:
            yield from ((*way, step) for way in up(before))

    return itertools.chain.from_iterable(up(step) for step in range(len(plan.nodes)))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.33, "330 ms"),
        (0.0001, "1 ms"),
        (0.9999, "1 s"),
        (0.1 * 0.05, "5 ms"),  # in binary a little more
        (10, "10 s"),
        (30.33, "30.4 s"),
        (59.99, "1 min"),
        (301.65, "5 min 2 s"),
        (3599.5, "1 h"),
        (7261, "2 h 2 min"),
        (86_399, "1 d"),
        (100_000, "1 d 4 h"),
    ],
)
def test_a_duration_is_rounded_up(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_long_list_is_counted() -> None:
    assert [listed("a"), listed("ab"), listed("abc"), listed("abcdefgh")] == [
        "a",
        "a and b",
        "a, b and c",
        "a, b, c, d, e and 3 others",
    ]


# --- the way back, against an execution ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """What the text says is undone."""

    #: In this order; within a group whichever ended last goes first.
    groups: tuple[frozenset[str], ...]
    #: Those in parentheses.
    perhaps: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*self.groups)

    @classmethod
    def told(cls, text: str) -> Way:
        text = text.partition("; ")[0]
        if text == "nothing is undone":
            return cls((), frozenset())
        groups, perhaps = [], set()
        for group in text.split(", then "):
            names = re.split(r", | and ", group.removesuffix(", the one that ended last first"))
            assert (len(names) > 1) == group.endswith("first")
            perhaps |= {name.strip("()") for name in names if name.startswith("(")}
            groups.append(frozenset(name.strip("()") for name in names))
        return cls(tuple(groups), frozenset(perhaps))


@dataclass
class Journey:
    """One execution in which one step ends badly, and everything else as chance has it."""

    execution: Execution
    #: Names in the order in which they ended, and in which they were undone.
    ended: list[str]
    undone: list[str]


def journey(plan: Plan, bad: int, ending: str, chance: random.Random) -> Journey | None:
    """Until it is over; None if ``bad`` never began."""
    run = Journey(Execution(plan), [], [])
    record: Record = SagaStarted(saga="S", version=1, definition="d", input=b"{}", epoch=1)
    for at in itertools.count(1):
        run.execution.decide(record, at)
        if run.execution.undoing is not None:
            name = plan.nodes[run.execution.undoing].name
            run.undone.append(name)
            record = StepCompensated(step=name, attempt=1)
        elif run.execution.running:
            step = chance.choice(list(run.execution.running))
            name = plan.nodes[step].name
            run.ended.append(name)
            record = end(
                name, ending if step == bad else "succeeds" if not run.execution.turning_back else chance.choice(ENDS)
            )
        else:
            return run
    raise AssertionError


#: How those that run beside the bad one may end.
ENDS = ("succeeds", "fails", "ends unknown")


def end(name: str, how: str) -> Record:
    match how:
        case "succeeds":
            return StepSucceeded(step=name, attempt=1, output=b"1")
        case "ends too late":
            return StepSucceeded(step=name, attempt=1, output=b"1", late=True, timeout=1.0)
        case "fails":
            return StepFailed(step=name, attempt=1, error=BOOM)
        case "output lost":
            return StepOutputLost(step=name, attempt=1, error=BOOM)
        case _:
            return StepUnknown(step=name, attempt=1, reason=UnknownReason.DEADLINE)


def holds(way: Way, run: Journey) -> None:
    """The journey went back as it was told."""
    assert len(run.undone) == len(set(run.undone))
    assert way.names - way.perhaps <= set(run.undone) <= way.names
    place = {name: i for i, group in enumerate(way.groups) for name in group}
    assert run.undone == sorted(run.undone, key=lambda name: (place[name], -run.ended.index(name)))


#: What the text calls an ending, and what may stand behind it.
ENDINGS = {
    "fails": ["fails"],
    "ends unknown": ["ends unknown", "ends too late", "output lost"],
    "fails or ends unknown": ["fails", "ends unknown"],
    "ends too late": ["ends too late"],
    "ends unknown or with its output lost": ["ends unknown", "output lost"],
}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """One to six steps, any edges that close no circle; each that is not undone is readonly."""
    nodes = []
    for i in range(draw(st.integers(1, 6))):
        after = draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set[int]()
        readonly = draw(st.booleans())
        nodes.append(node("abcdef"[i], *sorted(after), readonly=readonly, compensated=not readonly))
    return Plan(tuple(nodes))


@given(plans(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_an_execution_goes_back_as_it_is_told(plan: Plan, chance: random.Random) -> None:
    for (name, how), text in back(graph_of(*plan.nodes)).items():
        for ending in ENDINGS[how]:
            if run := journey(plan, plan.index[name], ending, chance):
                holds(Way.told(text), run)
                assert run.execution.status is SagaStatus.COMPENSATED


@pytest.mark.parametrize("graph", [diamond(), woven(), fan(5), caterpillar(2), trip(), free(5)], ids=repr)
def test_whatever_may_be_undone_is_told_and_nothing_else(graph: SagaGraph) -> None:
    """Each name in parentheses is undone in one run and not in another, and orders in a group go both ways."""
    chance = random.Random(7)
    for (name, how), text in back(graph).items():
        if "blocked" in text:
            continue
        way = Way.told(text)
        runs = [journey(graph.plan, graph.plan.index[name], ENDINGS[how][0], chance) for _ in range(120)]
        undone = [frozenset(run.undone) for run in runs if run and not run.execution.uncompensated]
        undone = undone or [frozenset(run.undone) for run in runs if run]
        for run in runs:
            if run and not set(run.execution.uncompensated) - {name}:
                holds(way, run)
        assert frozenset().union(*undone) == way.names
        assert frozenset.intersection(*undone) == way.names - way.perhaps


@pytest.mark.parametrize("ending", ["ends unknown", "output lost"])
def test_the_pivot_and_what_follows_it_is_never_undone(ending: str) -> None:
    graph, chance = trip(), random.Random(3)
    told = flat(graph)
    for name in ("charge", "send", "mail"):
        run = Execution(Plan(tuple(once(n) for n in graph.plan.nodes)))
        blocked = drive(run, run.plan.index[name], ending, chance)
        takes = name == "charge" or ending == "ends unknown"
        assert blocked.status is (SagaStatus.BLOCKED if takes else SagaStatus.COMPLETED)
    assert "- charge ends unknown: nothing is undone, and the saga is blocked, for a person." in told
    assert "- send and mail fail or end unknown: nothing is undone, and the saga is blocked, for a person." in told


def drive(execution: Execution, bad: int, ending: str, chance: random.Random) -> Execution:
    found = journey(execution.plan, bad, ending, chance)
    assert found is not None
    assert found.undone == []
    return found.execution


def once(of: Node) -> Node:
    """The same step with one attempt."""
    return dataclasses.replace(of, attempts=1, compensation_attempts=1)


def test_a_failed_pivot_is_undone_to_the_beginning() -> None:
    graph = trip()
    plan = Plan(tuple(once(n) for n in graph.plan.nodes))
    way = Way.told(back(graph)["charge", "fails"])

    for seed in range(50):
        run = journey(plan, plan.index["charge"], "fails", random.Random(seed))
        assert run is not None
        holds(way, run)
        assert len(run.undone) == 4


# --- a thousand steps ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "graph", [line(1000), free(1000), fan(998), caterpillar(499)], ids=["line", "free", "fan", "tree"]
)
def test_a_thousand_steps_are_told_in_short(graph: SagaGraph) -> None:
    told = graph.explain()

    assert len(told) < 1_000_000
    assert max(len(text) for text in told.splitlines()) <= 100


def test_a_long_way_back_is_told_by_its_beginning_and_its_end() -> None:
    assert back(line(100))["s99", "fails"] == (
        "s98, then s97, then s96, then s95, then s94, then 92 more, then s1, then s0"
    )
    assert back(free(100))["s0", "fails"] == (
        "(s99), (s98), (s97), (s96), (s95) and 94 others, the one that ended last first"
    )


# --- reading the text ------------------------------------------------------------------------------------------------


def flat(graph: SagaGraph) -> str:
    """The text without its line ends."""
    return " ".join(graph.explain().split())


def items(graph: SagaGraph, section: str) -> Iterator[str]:
    """The paragraphs of a section, each on one line."""
    text = graph.explain().partition(f"\n{section}\n")[2].partition("\n\n")[0]
    for paragraph in re.split(r"\n(?=  \S)", text):
        yield " ".join(paragraph.split())


def forward(graph: SagaGraph) -> dict[str, str]:
    found = (re.fullmatch(r"\d+\. (\w+): (.*)\.", item) for item in items(graph, "Forward"))
    return {match[1]: match[2] for match in found if match}


def back(graph: SagaGraph) -> dict[tuple[str, str], str]:
    """What is undone, by the name of a step and how it ends."""
    found = (re.fullmatch(r"- (\w+) (.*?): (.*)\.", item) for item in items(graph, "Back"))
    return {(match[1], match[2]): match[3] for match in found if match}
