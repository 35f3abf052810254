"""A graph as a picture made of text: a tree for the terminal, a Mermaid flowchart, a Graphviz digraph.

In each a name is data: whatever is written in it stays inside of its label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from allframe.saga.shape import Shape
from allframe.saga.wording import listed, printable, quoted

if TYPE_CHECKING:
    from allframe.saga.graph import Plan, SagaGraph

__all__ = ["Branch", "branches", "dot", "mermaid", "remark", "tree"]


def remark(plan: Plan, step: int) -> str:
    """What is special about a step, in a few words; empty if nothing is."""
    words = ["readonly"] if plan.nodes[step].readonly else []
    if step == plan.pivot:
        words.append("pivot")
    elif step in plan.forward_only:
        words.append("only forward")
    return ", ".join(words)


# --- a tree ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Branch:
    """One line of the tree."""

    #: The lines that lead to it.
    guide: str
    #: The name of the step, or how the branches below it run.
    title: str
    #: What is said of a step, each with what goes before it.
    notes: str = ""
    #: The index of the step.
    step: int | None = None


def tree(graph: SagaGraph) -> str:
    """The graph as a tree: what is on one level runs from top to bottom, unless it says otherwise."""
    return "\n".join(f"{branch.guide}{branch.title}{branch.notes}" for branch in branches(graph))


#: How the branches below a line run.
_SERIES, _PARALLEL, _WOVEN = "one after the other", "side by side", "each as soon as it can"


@dataclass(frozen=True, slots=True)
class _Block:
    how: str
    steps: Sequence[int]


def branches(graph: SagaGraph) -> Iterator[Branch]:
    """The lines of the tree, from the top; the first is the saga."""
    shape = Shape(graph.plan)
    yield Branch("", quoted(graph.saga))
    # Not by recursion: a saga of a thousand steps may be as deep as it is long.
    todo = _below(shape, _Block(_SERIES, shape.order), "", explain_edges=False)
    while todo:
        indent, last, thing, with_edges = todo.pop()
        guide = indent + ("└── " if last else "├── ")
        if isinstance(thing, int):
            yield Branch(guide, quoted(graph.plan.nodes[thing].name), _notes(graph, thing, with_edges), thing)
        else:
            yield Branch(guide, thing.how)
            todo += _below(shape, thing, indent + ("    " if last else "│   "), explain_edges=thing.how == _WOVEN)


_Todo = list[tuple[str, bool, "int | _Block", bool]]


def _below(shape: Shape, block: _Block, indent: str, *, explain_edges: bool) -> _Todo:
    """What is drawn below a block, the last first."""
    parts = list(_parts(shape, block))
    return [(indent, i == len(parts) - 1, part, explain_edges) for i, part in enumerate(parts)][::-1]


def _parts(shape: Shape, block: _Block) -> Iterator[int | _Block]:
    if block.how == _WOVEN:
        yield from block.steps
    elif block.how == _PARALLEL:
        for group in shape.parallel(block.steps):
            in_series = len(shape.series(group)) > 1
            yield group[0] if len(group) == 1 else _Block(_SERIES if in_series else _WOVEN, group)
    else:
        for group in shape.series(block.steps):
            apart = len(shape.parallel(group)) > 1
            yield group[0] if len(group) == 1 else _Block(_PARALLEL if apart else _WOVEN, group)


def _notes(graph: SagaGraph, step: int, with_edges: bool) -> str:
    node, undo = graph.plan.nodes[step], graph.steps[step].compensation
    notes = [f" ({word})"] if (word := remark(graph.plan, step)) else []
    if with_edges and node.after:
        notes.append(f", after {listed(quoted(graph.plan.nodes[before].name) for before in node.after)}")
    if undo:
        notes.append(f", undone by {quoted(undo.attribute)}")
    return "".join(notes)


# --- Mermaid ---------------------------------------------------------------------------------------------------------


def mermaid(graph: SagaGraph) -> str:
    """The graph as a Mermaid flowchart, which GitHub, GitLab and many editors draw.

    A step is a box with what undoes it below its name, a readonly one is round, the pivot is a hexagon.
    """
    lines = ["flowchart TD", f'    saga(["{_mermaid(graph.saga)}"])']
    for step, node in enumerate(graph.plan.nodes):
        label = "<br/>".join([_mermaid(node.name), *(_mermaid(text) for text in _captions(graph, step))])
        opened, closed = _mermaid_shape(graph.plan, step)
        lines.append(f'    s{step + 1}{opened}"{label}"{closed}')
    lines += [f"    {before} --> {after}" for before, after in _edges(graph.plan)]
    return "\n".join(lines)


def _mermaid_shape(plan: Plan, step: int) -> tuple[str, str]:
    if step == plan.pivot:
        return "{{", "}}"
    return ("(", ")") if plan.nodes[step].readonly else ("[", "]")


#: Elsewhere these begin a list, or turn letters slanted.
_MERMAID_PLAIN = re.compile(r"[^\W_]|[ ]|(?<=[^\W_])[_.-](?=[^\W_])")


def _mermaid(text: str) -> str:
    """Letters and digits stand for themselves, everything else is written as the number of its character."""
    text = printable(text)
    plain = {found.start() for found in _MERMAID_PLAIN.finditer(text)}
    return "".join(char if i in plain else f"#{ord(char)};" for i, char in enumerate(text))


# --- Graphviz --------------------------------------------------------------------------------------------------------


def dot(graph: SagaGraph) -> str:
    """The graph in Graphviz's language, with the same shapes."""
    lines = [
        "digraph saga {",
        '    node [shape=box, fontname="Helvetica,Arial,sans-serif"];',
        f'    saga [shape=plaintext, label="{_dot(graph.saga)}"];',
    ]
    for step, node in enumerate(graph.plan.nodes):
        label = "\\n".join([_dot(node.name), *(_dot(text) for text in _captions(graph, step))])
        lines.append(f'    s{step + 1} [label="{label}"{_dot_shape(graph.plan, step)}];')
    lines += [f"    {before} -> {after};" for before, after in _edges(graph.plan)]
    return "\n".join([*lines, "}"])


def _dot_shape(plan: Plan, step: int) -> str:
    if step == plan.pivot:
        return ", shape=hexagon, penwidth=2"
    return ", style=rounded" if plan.nodes[step].readonly else ""


def _dot(text: str) -> str:
    """A backslash begins a command in a label, and an ampersand a character's name."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


# --- both ------------------------------------------------------------------------------------------------------------


def _captions(graph: SagaGraph, step: int) -> Iterator[str]:
    if word := remark(graph.plan, step):
        yield word
    if undo := graph.steps[step].compensation:
        yield f"undone by {undo.attribute}"


def _edges(plan: Plan) -> Iterator[tuple[str, str]]:
    for step, node in enumerate(plan.nodes):
        yield from ((f"s{before + 1}", f"s{step + 1}") for before in node.after)
        if not node.after:
            yield "saga", f"s{step + 1}"
