"""From steps that were put together to the `SagaGraph` that runs, and from what is stored of them back to it.

The stored input of such a saga says what it is made of::

    {"steps": [{"name": "debit", "step": "DebitStep", "version": 1, "after": [], "fields": {"account": "A"}}]}

so a process that has imported the classes of its steps can go on with it. The graph depends on the names, the classes and
the order of the steps and not on their fields: sagas that are built alike share one.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import GenericAlias
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, create_model
from pydantic_core import from_json

from allframe.errors import DefinitionError, PayloadError, Problem
from allframe.payload import Payload
from allframe.saga.graph import Compensation, Node, Parameter, Plan, SagaGraph, Source, Step
from allframe.saga.steps import SagaStep, parts_of, pivot_advice_of, step_advice
from allframe.saga.undoing import Follower, left_behind
from allframe.saga.wording import some

__all__ = ["BuiltGraph", "Place", "graph_of", "input_of", "places_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a saga, and the class of the step that stands there."""

    name: str
    step: type[SagaStep]
    #: The names of the steps that it waits for; none of them is implied by another.
    after: tuple[str, ...]
    #: ``path:line`` where it was added.
    where: str = field(default="", compare=False)


class BuiltGraph(SagaGraph):
    """The graph of a saga whose steps are part of its input."""

    built = True

    def self_of(self, saga: Any, step: int) -> Any:
        return saga.steps[step].fields


# --- what is stored --------------------------------------------------------------------------------------------------

_FROZEN: Final = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class _Stored(BaseModel):
    """One step as it stands in the input; the class of each `SagaStep` has a class of these."""

    model_config = _FROZEN
    name: str


class _Built(BaseModel):
    """The input of a saga that was built; what is built alike has a class of these."""

    model_config = _FROZEN

    def __eq__(self, other: object) -> bool:
        # The class is made anew now and then, and says no more than the steps do.
        return isinstance(other, _Built) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def _stored_class(cls: type[SagaStep]) -> type[BaseModel]:
    made: type[BaseModel] | None = cls.__dict__.get("__allframe_stored__")
    if made is None:
        fields: Any = {
            "step": (Literal[cls.step_name], ...),
            "version": (Literal[cls.step_version], ...),
            "after": (tuple[str, ...], ...),
            "fields": (cls, ...),
        }
        made = create_model(f"Placed{cls.__name__}", __base__=_Stored, __module__=cls.__module__, **fields)
        type.__setattr__(cls, "__allframe_stored__", made)
    return made


def input_of(graph: BuiltGraph, places: Sequence[Place], steps: Iterable[SagaStep]) -> Any:
    """The input of a saga that is built of ``steps``, each in its place."""
    stored = [
        _stored_class(place.step)(
            name=place.name, step=place.step.step_name, version=place.step.step_version, after=place.after, fields=step
        )
        for place, step in zip(places, steps, strict=True)
    ]
    model: type[BaseModel] = graph.model.annotation
    return model(steps=tuple(stored))


def places_of(data: bytes, find: Callable[[str, int], type[SagaStep] | None]) -> tuple[Place, ...]:
    """The places in a stored input.

    Raises:
        PayloadError: if ``find`` does not know the class of a step, or this is no such input.
        DefinitionError: if two classes are stored under one name.
    """
    try:
        stored = [(each["name"], each["step"], each["version"], each["after"]) for each in from_json(data)["steps"]]
    except (ValueError, KeyError, TypeError) as error:
        raise PayloadError(f"The stored steps of the saga cannot be read: {error!r}.") from error
    if not stored:
        raise PayloadError("The stored saga is built of no steps.")
    lacking: dict[tuple[str, int], list[str]] = {}
    for name, step, version, _ in stored:
        if find(step, version) is None:
            lacking.setdefault((step, version), []).append(name)
    if lacking:
        raise PayloadError(
            "This program lacks what the saga is built of: "
            + "; ".join(f"the step class {step!r} of version {v}, for {some(of)}" for (step, v), of in lacking.items())
            + ". Import the modules that define it, before the orchestrator is entered."
        )
    return tuple(
        Place(name, cls, tuple(after))
        for name, step, version, after in stored
        if (cls := find(step, version)) is not None
    )


# --- the graph -------------------------------------------------------------------------------------------------------

#: So many graphs are kept; for what is built in ever new ways, all are made anew from time to time.
_KEPT: Final = 100


def graph_of(saga: str, places: tuple[Place, ...], timeout: float | None = None) -> BuiltGraph:
    """The graph of what is built like this, of one step or more, under the stored name ``saga``.

    ``timeout``: the seconds that the whole saga may take; one that is recovered has its deadline in its records.

    Raises:
        DefinitionError: with every problem that was found.
    """
    # With the class that it begins with: it must not outlive the classes.
    kept: dict[Any, BuiltGraph] | None = places[0].step.__dict__.get("__allframe_graphs__")
    if kept is None:
        kept = {}
        type.__setattr__(places[0].step, "__allframe_graphs__", kept)
    graph = kept.get((saga, places))
    if graph is None:
        _check(saga, places)
        if len(kept) >= _KEPT:
            kept.clear()
        graph = kept[saga, places] = _compile(saga, places)
    return graph if timeout is None else _limited(graph, timeout)


def _limited(graph: BuiltGraph, timeout: float) -> BuiltGraph:
    """The same with a timeout, which is no part of what it was compiled of: there may be as many as sagas."""
    _ = graph.fingerprint, graph.hides  # computed once for all of them
    limited = copy.copy(graph)
    limited.timeout = timeout
    return limited


def _compile(saga: str, places: tuple[Place, ...]) -> BuiltGraph:
    shape = _Shape(places)
    index = {place.name: i for i, place in enumerate(places)}
    nodes, steps = [], []
    for i, place in enumerate(places):
        node, step = parts_of(place.step)
        after = tuple(index[name] for name in place.after)
        nodes.append(dataclasses.replace(node, name=place.name, after=after, pivot=i == shape.pivot))
        steps.append(_placed(step, place.name, i))
    stored: Any = GenericAlias(tuple, tuple(_stored_class(place.step) for place in places))
    model = create_model("Steps", __base__=_Built, __module__=__name__, steps=(stored, ...))
    advise = functools.partial(_advice, shape)
    return BuiltGraph(saga, 1, Plan(tuple(nodes)), tuple(steps), Payload(model), advise=advise)


def _placed(step: Step, name: str, index: int) -> Step:
    """The step of a class, in its place in one saga."""
    undo = step.compensation and dataclasses.replace(
        step.compensation,
        attribute=f"{name}.{step.compensation.attribute}",
        parameters=_own_output(step.compensation, index),
    )
    return dataclasses.replace(step, name=name, attribute=name, compensation=undo)


def _own_output(undo: Compensation, index: int) -> tuple[Parameter, ...]:
    return tuple(
        dataclasses.replace(parameter, step=index) if parameter.source is Source.OUTPUT else parameter
        for parameter in undo.parameters
    )


# --- the rules -------------------------------------------------------------------------------------------------------


class _Shape:
    """Which step comes before which. Sets of steps are the bits of a number: a thousand of them cost nothing."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = places
        self.nodes: list[Node] = [parts_of(place.step)[0] for place in places]
        index = {place.name: i for i, place in enumerate(places)}
        #: For each step, those that run before it.
        self.before: list[int] = []
        for place in places:
            earlier = [index[name] for name in place.after]
            self.before.append(_union(self.before[i] | 1 << i for i in earlier))

    @cached_property
    def pivot(self) -> int | None:
        """The step that is marked as the pivot, or the one that all lead to where nothing can undo that."""
        marked = next((i for i, node in enumerate(self.nodes) if node.pivot), None)
        if marked is not None:
            return marked
        last = len(self.nodes) - 1
        others = (1 << last) - 1
        return last if self.before[last] == others and not self.is_reversible(last) else None

    def is_reversible(self, step: int) -> bool:
        return self.nodes[step].readonly or self.nodes[step].compensated

    def is_after(self, step: int, other: int) -> bool:
        return bool(self.before[step] >> other & 1)

    def is_beside(self, step: int, other: int) -> bool:
        return step != other and not self.is_after(step, other) and not self.is_after(other, step)

    def follower(self, step: int) -> Follower:
        node, place = self.nodes[step], self.places[step]
        retried = parts_of(place.step)[1].retry is not None
        return Follower(place.name, node.readonly, node.compensated, retried)


def _union(sets: Iterable[int]) -> int:
    total = 0
    for each in sets:
        total |= each
    return total


def _check(saga: str, places: Sequence[Place]) -> None:
    """Apply the rules of a saga that is built of these.

    Raises:
        DefinitionError: with every problem that was found.
    """
    shape = _Shape(places)
    if problems := [*_every_effect_can_be_undone(shape), *_one_pivot(shape)]:
        raise DefinitionError(f"Saga {saga}", problems)


def _every_effect_can_be_undone(shape: _Shape) -> Iterator[Problem]:
    pivot = shape.pivot
    for i, place in enumerate(shape.places):
        forward_only = pivot is not None and (i == pivot or shape.is_after(i, pivot))
        if shape.is_reversible(i) or shape.nodes[i].pivot or forward_only:
            continue
        text = left_behind(
            place.name,
            [shape.follower(j) for j in range(len(shape.places)) if shape.is_after(j, i)],
            [other.name for j, other in enumerate(shape.places) if shape.is_beside(i, j)],
            f"Give {place.step.__name__} a `compensate`, or declare it",
            undone=[
                other.name
                for j, other in enumerate(shape.places)
                if shape.is_after(i, j) and shape.nodes[j].compensated
            ],
            has_pivot=any(node.pivot for node in shape.nodes),
        )
        yield Problem("AF104", text, place.where, place.name)


def _one_pivot(shape: _Shape) -> Iterator[Problem]:
    marked = [i for i, node in enumerate(shape.nodes) if node.pivot]
    if not marked:
        return
    pivot = marked[0]
    name = shape.places[pivot].name
    for i, (place, node) in enumerate(zip(shape.places, shape.nodes, strict=True)):
        kind = place.step.__name__
        if node.pivot and i != pivot:
            yield Problem(
                "AF112",
                f"{name!r} and {place.name!r} are both a pivot. A saga has one point of no return: keep the first that "
                "cannot be undone.",
                place.where,
                place.name,
            )
        if shape.is_beside(i, pivot):
            yield Problem(
                "AF112",
                f"{place.name!r} runs beside the pivot {name!r}: whether it must be undone could not be said. Put one "
                "after the other.",
                place.where,
                place.name,
            )
        if shape.is_after(i, pivot) and node.compensated:
            yield Problem(
                "AF112",
                f"{place.name!r} comes after the pivot {name!r}, and {kind} has a `compensate`: the saga never rolls back "
                "past its pivot. Take a step without one, or move the pivot.",
                place.where,
                place.name,
            )
        if shape.is_after(i, pivot) and parts_of(place.step)[1].retry is None:
            yield Problem(
                "AF112",
                f"{place.name!r} comes after the pivot {name!r}, and {kind} has no retry: the saga can only go forward, so "
                "one error would block it. Declare it with retry=Retry(...).",
                place.where,
                place.name,
            )


def _advice(shape: _Shape) -> tuple[Problem, ...]:
    """On each class of steps, and on the step that is the pivot by coming last."""
    classes = dict.fromkeys(place.step for place in shape.places)
    advice = [problem for cls in classes for problem in step_advice(cls)]
    pivot = shape.pivot
    if pivot is not None and not shape.nodes[pivot].pivot:
        place = shape.places[pivot]
        advice += pivot_advice_of(place.step, place.name, place.where)
    return tuple(advice)
