"""The pictures of a graph: what is in them, that they are well-formed, and that a name cannot break out of its label."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allframe.saga.graph import Plan, SagaGraph
from allframe.saga.wording import printable
from tests.saga.graphs import NASTY, caterpillar, diamond, fan, free, graph_of, line, node, shelf, trip, woven
from tests.saga.test_explain import plans

SHAPES = [trip(), diamond(), woven(), line(1), line(6), free(5), fan(5), caterpillar(4), shelf(20)]


# --- the tree --------------------------------------------------------------------------------------------------------


def test_a_tree_shows_what_runs_side_by_side() -> None:
    assert trip().tree() == (
        "trip\n"
        "├── quote (readonly)\n"
        "├── side by side\n"
        "│   ├── hotel, undone by undo_hotel\n"
        "│   ├── car, undone by undo_car\n"
        "│   └── one after the other\n"
        "│       ├── train, undone by undo_train\n"
        "│       └── seat, undone by undo_seat\n"
        "├── charge (pivot)\n"
        "└── side by side\n"
        "    ├── send (only forward)\n"
        "    └── mail (only forward)"
    )


def test_a_tree_names_the_edges_of_what_is_no_tree() -> None:
    assert woven().tree() == (
        "trip\n"
        "├── each as soon as it can\n"
        "│   ├── a, undone by undo_a\n"
        "│   ├── b, undone by undo_b\n"
        "│   ├── c, after a, undone by undo_c\n"
        "│   └── d, after a and b, undone by undo_d\n"
        "└── e, undone by undo_e"
    )


@given(plans())
@settings(max_examples=100, deadline=None)
def test_a_tree_has_every_step_once(plan: Plan) -> None:
    drawn = graph_of(*plan.nodes).tree()

    assert sorted(re.findall(r"── ([a-f])\b(?! )", drawn) + re.findall(r"── ([a-f]) \(", drawn)) == sorted(
        node.name for node in plan.nodes
    )


@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_a_tree_stays_on_its_line(name: str) -> None:
    drawn = graph_of(node("a"), node(name, 0), saga=name).tree()

    assert len(drawn.splitlines()) == 3
    assert all(char.isprintable() for text in drawn.splitlines() for char in text)


# --- Mermaid ---------------------------------------------------------------------------------------------------------


def test_draws_a_mermaid_flowchart() -> None:
    assert trip().mermaid() == (
        "flowchart TD\n"
        '    saga(["trip"])\n'
        '    s1("quote<br/>readonly")\n'
        '    s2["hotel<br/>undone by undo_hotel"]\n'
        '    s3["car<br/>undone by undo_car"]\n'
        '    s4["train<br/>undone by undo_train"]\n'
        '    s5["seat<br/>undone by undo_seat"]\n'
        '    s6{{"charge<br/>pivot"}}\n'
        '    s7["send<br/>only forward"]\n'
        '    s8["mail<br/>only forward"]\n'
        "    saga --> s1\n"
        "    s1 --> s2\n"
        "    s1 --> s3\n"
        "    s1 --> s4\n"
        "    s4 --> s5\n"
        "    s2 --> s6\n"
        "    s3 --> s6\n"
        "    s5 --> s6\n"
        "    s6 --> s7\n"
        "    s6 --> s8"
    )


#: The whole of the language that is used: a box of four shapes with a quoted label, and an arrow.
_MERMAID_BOX = re.compile(r' {4}(saga|s\d+)(\(\[|\(|\[|\{\{)"((?:[\w .-]|#\d+;|<br/>)+)"(\]\)|\)|\]|\}\})')
_MERMAID_ARROW = re.compile(r" {4}(saga|s\d+) --> (s\d+)")
_CLOSED = {"([": "])", "(": ")", "[": "]", "{{": "}}"}


def mermaid_labels(drawn: str) -> dict[str, str]:
    """The labels by their boxes, as Mermaid shows them; fails for anything else than boxes and arrows."""
    first, *lines = drawn.split("\n")
    assert first == "flowchart TD"
    labels = {}
    for text in lines:
        if found := _MERMAID_BOX.fullmatch(text):
            assert _CLOSED[found[2]] == found[4]
            labels[found[1]] = "\n".join(
                re.sub(r"#(\d+);", lambda number: chr(int(number[1])), part) for part in found[3].split("<br/>")
            )
        else:
            arrow = _MERMAID_ARROW.fullmatch(text)
            assert arrow, text
            assert {arrow[1], arrow[2]} <= labels.keys()
    return labels


@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_mermaid_stays_in_its_label(name: str) -> None:
    labels = mermaid_labels(graph_of(node(name), node("b", 0), saga=name).mermaid())

    shown = printable(name)
    assert labels == {"saga": shown, "s1": f"{shown}\nundone by undo_{shown}", "s2": "b\nundone by undo_b"}


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_text_breaks_out_of_mermaid_or_graphviz(name: str) -> None:
    graph = graph_of(node(name), node("b", 0), saga=name)

    assert mermaid_labels(graph.mermaid())["saga"] == printable(name)
    assert dot_labels(graph.dot())["saga"] == printable(name)
    assert printable(name) in texts(graph.svg())


@pytest.mark.parametrize("name", ["1. item", "- item", "_x_", "fa:fa-car", "`a`", "$$a$$"])
def test_nothing_that_mermaid_would_read_as_markdown_is_left(name: str) -> None:
    label = graph_of(node(name, compensated=False)).mermaid().splitlines()[2]

    assert not re.search(r'"(\d+\.|-|_|`|\$)|fa:', label)


# --- Graphviz --------------------------------------------------------------------------------------------------------


def test_draws_a_digraph() -> None:
    graph = graph_of(
        node("a", readonly=True, compensated=False), node("b", 0), node("c", 1, pivot=True, compensated=False)
    )

    assert graph.dot() == (
        "digraph saga {\n"
        '    node [shape=box, fontname="Helvetica,Arial,sans-serif"];\n'
        '    saga [shape=plaintext, label="trip"];\n'
        '    s1 [label="a\\nreadonly", style=rounded];\n'
        '    s2 [label="b\\nundone by undo_b"];\n'
        '    s3 [label="c\\npivot", shape=hexagon, penwidth=2];\n'
        "    saga -> s1;\n"
        "    s1 -> s2;\n"
        "    s2 -> s3;\n"
        "}"
    )


#: A quoted text of the language: a quotation mark in it stands behind a backslash, and so does a backslash.
_DOT_BOX = re.compile(r' {4}(saga|s\d+) \[(?:shape=plaintext, )?label="((?:[^"\\]|\\.)*)"[\w, =]*\];')


def dot_labels(drawn: str) -> dict[str, str]:
    first, second, *lines, last = drawn.split("\n")
    assert (first, second.split()[0], last) == ("digraph saga {", "node", "}")
    labels = {}
    for text in lines:
        if found := _DOT_BOX.fullmatch(text):
            plain = re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], found[2])
            labels[found[1]] = html.unescape(plain)
        else:
            assert re.fullmatch(r" {4}(saga|s\d+) -> s\d+;", text), text
    return labels


@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_graphviz_stays_in_its_label(name: str) -> None:
    labels = dot_labels(graph_of(node(name), node("b", 0), saga=name).dot())

    shown = printable(name)
    assert labels == {"saga": shown, "s1": f"{shown}\nundone by undo_{shown}", "s2": "b\nundone by undo_b"}


# --- SVG -------------------------------------------------------------------------------------------------------------

_SVG = "{http://www.w3.org/2000/svg}"


def texts(drawn: str) -> list[str]:
    """What is written in an image, in titles and as letters."""
    found = ET.fromstring(drawn)
    return [element.text or "" for kind in ("text", "title") for element in found.iter(f"{_SVG}{kind}")]


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        return self.left + 0.5 < x < self.right - 0.5 and self.top + 0.5 < y < self.bottom - 0.5

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def boxes(drawn: str) -> list[Box]:
    found = []
    for rect in ET.fromstring(drawn).iter(f"{_SVG}rect"):
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        found.append(Box(x, y, x + width, y + height))
    return found


def line_points(drawn: str) -> Iterator[tuple[float, float]]:
    """Points along every edge."""
    for path in ET.fromstring(drawn).iter(f"{_SVG}path"):
        if "stroke" in path.attrib or "stroke-dasharray" in path.attrib:
            continue  # an arrowhead, or what ties a compensation to its step
        x = y = 0.0
        for command, numbers in re.findall(r"([MVC])([^MVC]*)", path.attrib["d"]):
            to = [float(number) for number in numbers.split()]
            to = [x, to[0]] if command == "V" else to
            curve = [x, y, *to] if command == "C" else [x, y, x, (y + to[-1]) / 2, to[-2], (y + to[-1]) / 2, *to[-2:]]
            if command != "M":
                yield from (bezier(curve, i / 20) for i in range(21))
            x, y = to[-2:]


def bezier(curve: list[float], t: float) -> tuple[float, float]:
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x, y = (sum(weight * curve[2 * i + axis] for i, weight in enumerate(weights)) for axis in (0, 1))
    return x, y


@pytest.mark.parametrize("graph", SHAPES, ids=repr)
def test_an_image_has_every_step_and_what_undoes_it(graph: SagaGraph) -> None:
    found = texts(graph.svg())

    names = [node.name for node in graph.plan.nodes]
    undone = [node.name for node in graph.plan.nodes if node.compensated]
    assert found.count("trip") == 1
    assert all(found.count(name) == 2 for name in names), "in the box, and where the pointer rests on it"
    assert all({f"undo_{name}", f"undo_{name} undoes {name}"} <= set(found) for name in undone)
    assert len(boxes(graph.svg())) == len(names) + len(undone)


def test_an_image_marks_what_is_special() -> None:
    found = texts(trip().svg())

    assert [found.count(word) for word in ("pivot", "readonly", "only forward")] == [1, 1, 2]


def hangs_together(graph: SagaGraph) -> None:
    """Nothing overlaps, nothing is cut off, and no edge crosses a box."""
    drawn = graph.svg()
    found = boxes(drawn)
    left, top, width, height = map(float, ET.fromstring(drawn).attrib["viewBox"].split())
    assert all(left <= box.left and box.right <= left + width for box in found)
    assert all(top <= box.top and box.bottom <= top + height for box in found)
    assert not [(a, b) for i, a in enumerate(found) for b in found[:i] if a.meets(b)]
    assert not [(x, y) for x, y in line_points(drawn) if any(box.holds(x, y) for box in found)]


@pytest.mark.parametrize("graph", SHAPES, ids=repr)
def test_an_image_hangs_together(graph: SagaGraph) -> None:
    hangs_together(graph)


@given(plans())
@settings(max_examples=60, deadline=None)
def test_any_image_hangs_together(plan: Plan) -> None:
    hangs_together(graph_of(*plan.nodes))


@pytest.mark.parametrize("graph", SHAPES, ids=repr)
def test_an_edge_goes_down_from_its_step_to_its_follower(graph: SagaGraph) -> None:
    arrows = re.findall(r'd="M([-\d.]+) ([-\d.]+)l-4 -8h8z"', graph.svg())
    tops = {(round((box.left + box.right) / 2, 1), box.top) for box in boxes(graph.svg())}

    assert len(arrows) == sum(len(node.after) for node in graph.plan.nodes)
    assert all(any(abs(float(x) - middle) < 0.2 and float(y) == top for middle, top in tops) for x, y in arrows)


@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_an_image_is_text(name: str) -> None:
    drawn = graph_of(node(name), node("b", 0), saga=name).svg()

    shown = printable(name)
    assert f"The saga {shown}" in texts(drawn)
    assert f"undo_{shown} undoes {shown}" in texts(drawn)
    assert {element.tag.removeprefix(_SVG) for element in ET.fromstring(drawn).iter()} == {
        "svg", "title", "style", "text", "path", "g", "rect"
    }  # fmt: skip
    hangs_together(graph_of(node(name), node("b", 0), saga=name))


def test_a_long_name_is_cut_and_told_in_full() -> None:
    found = texts(graph_of(node("x" * 100, compensated=False)).svg())

    assert "x" * 39 + "…" in found
    assert "x" * 100 in found


def test_a_box_is_as_wide_as_its_letters() -> None:
    latin, chinese = (boxes(graph_of(node(name, compensated=False)).svg())[0] for name in ("tea" * 4, "茶" * 12))

    assert chinese.right - chinese.left > 1.5 * (latin.right - latin.left)


def test_an_image_takes_the_colour_of_the_text_around_it() -> None:
    drawn = trip().svg()

    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn))
    assert colours == {"currentColor", "none"}
    # Only where it is a document of its own: `:root` is the page where it is an element of one.
    assert re.findall(r"<style>(.*)</style>", drawn)[0].startswith("svg:root{color:")
    assert "prefers-color-scheme:dark" in drawn


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [SagaGraph.tree, SagaGraph.mermaid, SagaGraph.dot, SagaGraph.svg, SagaGraph.explain])
def test_the_same_graph_is_drawn_the_same(draw: Callable[[SagaGraph], str]) -> None:
    assert draw(trip()) == draw(trip())


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "graph", [line(1000), free(1000), fan(998), caterpillar(499)], ids=["line", "free", "fan", "tree"]
)
def test_a_thousand_steps_are_drawn(graph: SagaGraph) -> None:
    assert len(graph.tree().splitlines()) >= 1000
    assert len(mermaid_labels(graph.mermaid())) == len(graph.steps) + 1
    assert len(dot_labels(graph.dot())) == len(graph.steps) + 1
    assert len(boxes(graph.svg())) == 2 * len(graph.steps)
