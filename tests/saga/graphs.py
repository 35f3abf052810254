"""Graphs made by hand, for what is drawn and told of them: no function of theirs is ever called."""

from __future__ import annotations

from typing import Any

from allframe import Retry
from allframe.payload import Payload
from allframe.saga.graph import Compensation, Node, Plan, SagaGraph, Step

#: Names that would break out of their place if they could. None of them is out of reach: a step may be stored as any.
NASTY = [
    'say "hi"',
    "<script>alert(1)</script>",
    "it's",
    "a]b[c",
    "a}}b{{c",
    "a)b(c",
    "\\",
    "ends with \\",
    "\\N \\n \\l \\G",
    "user\u202egpj.exe",
    "\x1b[31mred\x07",
    "🚀 take off",
    "é茶שלום",
    "x" * 100,
    "end",
    "subgraph",
    "a-->b",
    "1. item",
    "- item",
    "__init__",
    "**bold** `code`",
    "#35; &amp; &lt; &#60;",
    "%% no comment",
    "a;b|c:::d",
    "]]>",
    "--",
    "then",
    "a, then b and c",
]


def node(name: str, *after: int, **promises: Any) -> Node:
    return Node(name, after, **({"compensated": True} | promises))


def graph_of(
    *nodes: Node, saga: str = "trip", timeout: float | None = 10.0, undo_timeout: float | None = 60.0
) -> SagaGraph:
    """A graph of these nodes: each step is undone by ``undo_<its name>``, and waits a second before it is tried again."""
    return SagaGraph(
        saga, 1, Plan(nodes), tuple(_step(node, timeout, undo_timeout) for node in nodes), Payload(dict[str, int])
    )


def _step(node: Node, timeout: float | None, undo_timeout: float | None) -> Step:
    undo = Compensation(
        attribute=f"undo_{node.name}",
        function=print,
        parameters=(),
        timeout=undo_timeout,
        retry=_retry(node.compensation_attempts),
        if_unknown="fail" if node.needs_output else "call",
    )
    return Step(
        name=node.name,
        attribute=node.name,
        function=print,
        parameters=(),
        output=Payload(int),
        timeout=timeout,
        retry=_retry(node.attempts) if node.attempts > 1 else None,
        compensation=undo if node.compensated else None,
    )


def _retry(attempts: int) -> Retry:
    return Retry(attempts=attempts, wait=1.0, factor=1.0, jitter=0.0)


def trip() -> SagaGraph:
    """A readonly root, three branches of which one is longer, the pivot, and two steps that only go forward."""
    return graph_of(
        node("quote", readonly=True, compensated=False),
        node("hotel", 0),
        node("car", 0, needs_output=True),
        node("train", 0),
        node("seat", 3),
        node("charge", 1, 2, 4, pivot=True, compensated=False, attempts=3, idempotent=True),
        node("send", 5, compensated=False, attempts=4),
        node("mail", 5, compensated=False, attempts=2, takes=(5,)),
    )


def diamond(**promises: Any) -> SagaGraph:
    return graph_of(
        node("top", **promises),
        node("left", 0, **promises),
        node("right", 0, **promises),
        node("bottom", 1, 2, **promises),
    )


def woven() -> SagaGraph:
    """Four steps of which no two groups follow each other, like the strokes of an N, and one after all of them."""
    return graph_of(node("a"), node("b"), node("c", 0), node("d", 0, 1), node("e", 2, 3))


def shelf(count: int) -> SagaGraph:
    """Two roots of different height, and ``count`` steps that wait for both."""
    low, high = node("a", compensated=False), node("b", readonly=True, compensated=False)
    return graph_of(low, high, *(node(f"c{i}", 0, 1, compensated=False) for i in range(count)))


def line(count: int) -> SagaGraph:
    return graph_of(*(node(f"s{i}", *([i - 1] if i else [])) for i in range(count)))


def free(count: int) -> SagaGraph:
    return graph_of(*(node(f"s{i}") for i in range(count)))


def fan(count: int) -> SagaGraph:
    """A root, ``count`` steps beside each other, and a join."""
    leaves = (node(f"leaf{i}", 0) for i in range(count))
    return graph_of(node("root"), *leaves, node("join", *range(1, count + 1)))


def caterpillar(count: int) -> SagaGraph:
    """Each step has a follower that goes on and one that does not: as deep as it is long."""
    nodes = [node("root")]
    for i in range(count):
        last = max(len(nodes) - 1, 0)
        nodes += [node(f"leaf{i}", last), node(f"on{i}", last)]
    return graph_of(*nodes)
