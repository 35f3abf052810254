"""A graph as an SVG image, in layers from top to bottom.

A step stands in the layer below the last step that it waits for, beside those that may run with it; what undoes it is the
dashed box on its right. An edge over several layers has a lane of its own through them, so that it crosses no box. Lines and
letters have the colour of the text around the image; as a document of its own it asks for light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from allframe.saga.drawing import remark
from allframe.saga.shape import Shape
from allframe.saga.wording import printable

if TYPE_CHECKING:
    from allframe.saga.graph import SagaGraph

__all__ = ["svg"]

#: Pixels. A letter of a font of fixed width is 0.6 of its height wide.
LETTER, LINE, PADDING, MARGIN = 7.8, 17.0, 14.0, 20.0
#: Between boxes of a layer, between layers, between a step and what undoes it; half of the width of a lane.
GAP, DROP, TIE, LANE = 28.0, 44.0, 16.0, 6.0
#: A longer name is cut, and stands in full where the pointer rests on the box.
MOST_LETTERS = 40
#: How often the boxes of each layer are put in the order of what they hang on.
SWEEPS = 3

_STYLE = "svg:root{color:#1f2328}@media (prefers-color-scheme:dark){svg:root{color:#e6edf3;background:#0d1117}}"


def svg(graph: SagaGraph) -> str:
    """The graph as SVG: one element, well-formed XML, the same for the same graph."""
    layout = _Layout(graph)
    left, right, bottom = layout.extent()
    title_width = _width(_cut(graph.saga)) / 2
    left, right = min(left, -title_width) - MARGIN, max(right, title_width) + MARGIN
    top = -2 * LINE - MARGIN
    size = f"{right - left:.0f} {bottom + MARGIN - top:.0f}"
    width, height = size.split()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="{left:.0f} {top:.0f} {size}" role="img" font-family="ui-monospace,Menlo,Consolas,monospace" '
        f'font-size="13" fill="none" stroke="currentColor">',
        f"<title>{_text(f'The saga {graph.saga}')}</title>",
        f"<style>{_STYLE}</style>",
        _label(0, -2 * LINE, graph.saga, extra=' font-weight="bold"'),
        *layout.lines(),
        *layout.boxes(),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(slots=True)
class _Item:
    """What has a place in a layer: a step, or the lane of a step's long edges."""

    step: int
    is_lane: bool
    #: How far it reaches from its middle.
    left: float
    right: float
    #: The middle.
    x: float = 0.0


class _Layout:
    def __init__(self, graph: SagaGraph) -> None:
        self.graph, self.plan = graph, graph.plan
        self.shape = Shape(graph.plan)
        self.half = max(_width(_cut(node.name)) for node in self.plan.nodes) / 2 + PADDING
        self.layers: list[list[_Item]] = [[] for _ in range(max(self.shape.layer) + 1)]
        self.items: dict[tuple[int, int], _Item] = {}
        #: For each item, those that it hangs on in the layer above, and those that hang on it in the layer below.
        self.links: tuple[dict[int, list[_Item]], dict[int, list[_Item]]] = {}, {}
        for step in self.shape.order:
            self._add_step(step)
        for step in self.shape.order:
            self._link(step)
        self._arrange()
        self._place()

    def _add_step(self, step: int) -> None:
        undo = self.graph.steps[step].compensation
        beside = TIE + _width(_cut(undo.attribute)) + 2 * PADDING if undo else 0.0
        first = self.shape.layer[step]
        last = max((self.shape.layer[follower] for follower in self.plan.followers[step]), default=first)
        self._add(first, _Item(step, False, self.half, self.half + beside))
        for layer in range(first + 1, last):
            self._add(layer, _Item(step, True, LANE, LANE))

    def _add(self, layer: int, item: _Item) -> None:
        self.layers[layer].append(item)
        self.items[layer, item.step] = item

    def _link(self, step: int) -> None:
        first = self.shape.layer[step]
        lane = [self.items[first, step]]
        while (first + len(lane), step) in self.items:
            lane.append(self.items[first + len(lane), step])
        pairs = list(pairwise(lane))
        for follower in self.plan.followers[step]:
            layer = self.shape.layer[follower]
            pairs.append((lane[layer - first - 1], self.items[layer, follower]))
        for above, below in pairs:
            self.links[0].setdefault(id(below), []).append(above)
            self.links[1].setdefault(id(above), []).append(below)

    def _arrange(self) -> None:
        """Put each layer in the order of what its items hang on, down and up again: that leaves few crossings."""
        for layer in self.layers:
            _number(layer)
        for _ in range(SWEEPS):
            for links, layers in ((self.links[0], self.layers), (self.links[1], self.layers[::-1])):
                for layer in layers:
                    means = {id(item): _mean(item, links.get(id(item), [])) for item in layer}
                    layer.sort(key=lambda item: means[id(item)])
                    _number(layer)

    def _place(self) -> None:
        """Side by side, with the middles of the boxes around zero."""
        for layer in self.layers:
            x = 0.0
            for item in layer:
                item.x = x + item.left
                x = item.x + item.right + (LANE if item.is_lane else GAP)
            middle = (layer[0].x + layer[-1].x) / 2
            for item in layer:
                item.x -= middle
        self.tops = [0.0]
        for layer in self.layers:
            self.tops.append(self.tops[-1] + self._height(layer) + DROP)

    def _height(self, layer: list[_Item]) -> float:
        return max(self._box_height(item.step) for item in layer if not item.is_lane)

    def _box_height(self, step: int) -> float:
        return LINE * (2 if remark(self.plan, step) else 1) + PADDING

    def extent(self) -> tuple[float, float, float]:
        """How far the picture goes to the left, to the right and down."""
        items = [item for layer in self.layers for item in layer]
        return min(i.x - i.left for i in items), max(i.x + i.right for i in items), self.tops[-1] - DROP

    # --- drawn ---------------------------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        for step in self.shape.order:
            first = self.shape.layer[step]
            lane = [(self.items[first, step].x, self.tops[first] + self._box_height(step)), self._foot(first, step)]
            feet = {first: 0}
            for layer in range(first + 1, len(self.layers)):
                if (layer, step) not in self.items:
                    break
                feet[layer] = len(lane) + 1
                lane += [(self.items[layer, step].x, self.tops[layer]), self._foot(layer, step)]
            if len(feet) > 1:
                yield f'<path d="{_path(lane)}"/>'
            for follower in self.plan.followers[step]:
                layer = self.shape.layer[follower]
                end = (self.items[layer, follower].x, self.tops[layer])
                # From the box itself, or from where it leaves the lane.
                start = lane[feet[layer - 1] : feet[layer - 1] + (2 if layer == first + 1 else 1)]
                yield f'<path d="{_path([*start, end])}"/>{_arrowhead(*end)}'

    def _foot(self, layer: int, step: int) -> tuple[float, float]:
        """Below the step, or its lane, where the layer ends: only from there may a line turn aside."""
        return self.items[layer, step].x, self.tops[layer + 1] - DROP

    def boxes(self) -> Iterator[str]:
        for step, node in enumerate(self.plan.nodes):
            item, top = self.items[self.shape.layer[step], step], self.tops[self.shape.layer[step]]
            height, word = self._box_height(step), remark(self.plan, step)
            look = ' rx="14"' if node.readonly else ' rx="3"'
            look += ' stroke-width="3"' if step == self.plan.pivot else ""
            yield f"<g><title>{_text(node.name)}</title>"
            yield _box(item.x - self.half, top, 2 * self.half, height, look)
            yield _label(item.x, top + (PADDING + LINE) / 2 + 4.5, node.name)
            if word:
                yield _label(item.x, top + PADDING / 2 + LINE + 13, word, extra=' font-size="11" opacity="0.7"')
            yield "</g>"
            if undo := self.graph.steps[step].compensation:
                yield from self._undo(item, top, height, undo.attribute, f"{undo.attribute} undoes {node.name}")

    def _undo(self, item: _Item, top: float, height: float, name: str, title: str) -> Iterator[str]:
        left = item.x + self.half + TIE
        y, dashed = top + height / 2, ' stroke-dasharray="4 3"'
        yield f"<g><title>{_text(title)}</title>"
        yield f'<path d="M{left - TIE:.1f} {y:.1f}h{TIE:.1f}"{dashed}/>'
        yield _box(left, y - (LINE + PADDING) / 2, item.x + item.right - left, LINE + PADDING, f' rx="3"{dashed}')
        yield _label((left + item.x + item.right) / 2, y + 4.5, name)
        yield "</g>"


def _number(layer: list[_Item]) -> None:
    for place, item in enumerate(layer):
        item.x = (place + 0.5) / len(layer)


def _mean(item: _Item, links: list[_Item]) -> float:
    return sum(other.x for other in links) / len(links) if links else item.x


def _path(points: list[tuple[float, float]]) -> str:
    """Through these points downwards: straight where they are above each other, else a curve that leaves and arrives so."""
    text = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        half = (y + to_y) / 2
        if x == to_x:
            text += f"V{to_y:.1f}"
        else:
            text += f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}"
    return text


def _arrowhead(x: float, y: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}l-4 -8h8z" fill="currentColor" stroke="none"/>'


def _box(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{look}/>'


def _label(x: float, y: float, text: str, *, extra: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="currentColor" stroke="none"'
    return f"<text {place}{extra}>{_text(_cut(text))}</text>"


def _text(text: str) -> str:
    return escape(printable(text))


def _cut(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _width(text: str) -> float:
    return LETTER * sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
