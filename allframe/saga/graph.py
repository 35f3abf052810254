"""The compiled, immutable step graph.

`Plan` is its structure: names, edges and what is promised of each step. That is all that is needed to know where a saga
stands, and it is stored, so that a program without the saga's class can tell, too. `SagaGraph` adds the functions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Final, Literal

from allframe.errors import PayloadError, Problem, StoreFormatError
from allframe.payload import Payload
from allframe.saga import drawing, explaining, svg, typechecking
from allframe.saga.retry import Retry

__all__ = ["Compensation", "Node", "Parameter", "Plan", "SagaGraph", "Source", "Step"]


@dataclass(frozen=True, slots=True)
class Node:
    """One step, as the structure of its saga has it."""

    #: The stored name.
    name: str
    #: The indices of the steps that it waits for; none of them is implied by another.
    after: tuple[int, ...] = ()
    readonly: bool = False
    pivot: bool = False
    #: Whether it may run again after nobody could say how an attempt ended.
    repeatable: bool = True
    #: Whether the last answer of the far side speaks for all attempts.
    idempotent: bool = False
    compensated: bool = False
    #: Whether a person must step in where the compensation would have to work without the output.
    needs_output: bool = False
    #: How many attempts in all (`Retry.attempts`).
    attempts: int = 1
    compensation_attempts: int = 1
    #: The indices of the steps whose output it takes.
    takes: tuple[int, ...] = ()


class Plan:
    """The structure of a saga."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.index = {node.name: i for i, node in enumerate(nodes)}
        followers: list[list[int]] = [[] for _ in nodes]
        for i, node in enumerate(nodes):
            for before in node.after:
                followers[before].append(i)
        #: For each step, the steps that wait for it.
        self.followers = tuple(map(tuple, followers))
        #: The step after which the saga only goes forward, if there is one.
        self.pivot = next((i for i, node in enumerate(nodes) if node.pivot), None)
        #: The pivot and what follows it: these are never rolled back.
        self.forward_only = frozenset() if self.pivot is None else frozenset(self._reach(self.pivot))
        taken = {taken for node in nodes for taken in node.takes}
        #: The steps whose output some later step takes.
        self.taken = frozenset(taken)

    def _reach(self, start: int) -> set[int]:
        seen, todo = {start}, [start]
        while todo:
            fresh = set(self.followers[todo.pop()]) - seen
            seen |= fresh
            todo += fresh
        return seen

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Plan:
        """The plan that was stored.

        Raises:
            StoreFormatError: if this is none.
        """
        try:
            index = {step["name"]: i for i, step in enumerate(description["steps"])}
            return cls(
                tuple(
                    Node(
                        name=step["name"],
                        after=tuple(index[name] for name in step["after"]),
                        takes=tuple(index[name] for name in step["takes"]),
                        readonly=step["readonly"],
                        pivot=step["pivot"],
                        repeatable=step["repeatable"],
                        idempotent=step["idempotent"],
                        compensated=step["compensation"] is not None,
                        needs_output=bool(step["compensation"]) and step["compensation"]["if_unknown"] == "fail",
                    )
                    for step in description["steps"]
                )
            )
        except (KeyError, TypeError) as error:
            raise StoreFormatError(f"The stored definition of a saga cannot be read: {error!r}.") from error


class Source(Enum):
    """Where a parameter's value comes from."""

    FIELD = "field"
    CONTEXT = "context"
    OUTPUT = "output"
    INJECT = "inject"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a step or compensation, and what fills it."""

    name: str
    source: Source
    #: For an output: the index of the step that gives it.
    step: int = -1
    #: For an injected object: the type that is asked for.
    wanted: Any = None
    #: Whether it may be left to its default when nothing is provided.
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Compensation:
    """What undoes a step."""

    #: Its name in the class body.
    attribute: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    #: Seconds an attempt, or None.
    timeout: float | None
    retry: Retry
    if_unknown: Literal["call", "fail"]
    #: Whether it is called with the saga as ``self``.
    is_method: bool = True
    #: Whether it is awaited; otherwise it runs on a thread.
    is_async: bool = True
    #: Its annotations, resolved.
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its function."""

    #: The stored name.
    name: str
    #: Its name in the class body.
    attribute: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    output: Payload
    #: Seconds an attempt, or None.
    timeout: float | None
    retry: Retry | None
    compensation: Compensation | None
    #: Exceptions that leave open whether it took effect, and those that say that it did not, besides `silence`.
    unknown_on: tuple[type[Exception], ...] = ()
    known_on: tuple[type[Exception], ...] = ()
    #: Whether it is called with the saga as ``self``.
    is_method: bool = True
    #: Whether it is awaited; otherwise it runs on a thread.
    is_async: bool = True
    #: Its annotations, resolved.
    hints: Mapping[str, Any] = field(default_factory=dict)


class SagaGraph:
    """What a saga class was compiled to. ``TransferMoney.graph`` holds it."""

    #: Whether the steps of the saga are part of its input: a `SagaDefinition`.
    built = False

    def __init__(
        self,
        saga: str,
        version: int,
        plan: Plan,
        steps: tuple[Step, ...],
        model: Payload,
        timeout: float | None = None,
        typecheck: bool | None = None,
        advise: Callable[[], tuple[Problem, ...]] = tuple,
    ) -> None:
        self._advise = advise
        #: The stored name and version of the saga.
        self.saga = saga
        self.version = version
        self.plan = plan
        self.steps = steps
        #: The stored form of the saga's input.
        self.model = model
        #: Seconds that the whole saga may take, or None.
        self.timeout = timeout
        #: Whether types are checked while its steps run; None: if they are by default.
        self.typecheck = typecheck
        self._checked: dict[int, Callable[..., Any]] = {}

    @cached_property
    def advice(self) -> tuple[Problem, ...]:
        """What ``allframe check`` advises, from the top of the file; what was waived has the reason in ``waived``."""
        return self._advise()

    @cached_property
    def description(self) -> dict[str, Any]:
        """The graph as it is stored, and as a person compares two: names, edges, promises, schemas."""
        names = [node.name for node in self.plan.nodes]
        steps = []
        for node, step in zip(self.plan.nodes, self.steps, strict=True):
            undo = step.compensation
            steps.append(
                {
                    "name": node.name,
                    "after": [names[i] for i in node.after],
                    "takes": [names[i] for i in node.takes],
                    "readonly": node.readonly,
                    "pivot": node.pivot,
                    "repeatable": node.repeatable,
                    "idempotent": node.idempotent,
                    "compensation": undo and {"name": undo.attribute, "if_unknown": undo.if_unknown},
                    "output": _schema(step.output),
                }
            )
        return {"saga": self.saga, "version": self.version, "input": _schema(self.model), "steps": steps}

    @cached_property
    def description_json(self) -> bytes:
        return json.dumps(self.description, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: equal for equal descriptions. Source text is not part of it, nor are docstrings."""
        return hashlib.sha256(self.description_json).hexdigest()[:32]

    @cached_property
    def hides(self) -> bool:
        """Whether its input or an output can have secrets."""
        return self.model.hides or any(step.output.hides for step in self.steps)

    def self_of(self, saga: Any, step: int) -> Any:
        """What the functions of a step are given as ``self``."""
        return saga

    def function_of(self, part: Step | Compensation) -> Callable[..., Any]:
        """What is called for it: its function, with the types checked where that is asked for."""
        if not typechecking.is_on(self.typecheck):
            return part.function
        if id(part) not in self._checked:
            self._checked[id(part)] = typechecking.checked(part.function, part.hints)
        return self._checked[id(part)]

    def wanted(self) -> dict[Any, str]:
        """Every injected type that has to be there, and who first asks: ``step 'debit', parameter 'bank'``."""
        found: dict[Any, str] = {}
        for step in self.steps:
            for part in (step, step.compensation):
                for parameter in part.parameters if part else ():
                    if parameter.source is Source.INJECT and not parameter.optional:
                        kind = "step" if part is step else "compensation"
                        place = f"{kind} {part.attribute!r}, parameter {parameter.name!r}" if part else ""
                        found.setdefault(parameter.wanted, place)
        return found

    def explain(self) -> str:
        """It in words: what runs when, what is undone and in which order, how long it may take, what may stay unknown."""
        return explaining.explain(self)

    def tree(self) -> str:
        """It as a tree of text, for a terminal."""
        return drawing.tree(self)

    def mermaid(self) -> str:
        """It as a flowchart in Mermaid's language."""
        return drawing.mermaid(self)

    def dot(self) -> str:
        """It in the language of Graphviz."""
        return drawing.dot(self)

    def svg(self) -> str:
        """It as an SVG image: an XML document, or an element to put into a page, whose colour it takes."""
        return svg.svg(self)

    def __repr__(self) -> str:
        return f"<SagaGraph {self.saga} v{self.version}: {' -> '.join(node.name for node in self.plan.nodes)}>"


#: What a JSON schema says to people and not of values: much of it is taken from docstrings and the names of classes.
_FOR_PEOPLE: Final = frozenset({"title", "description", "examples", "$comment"})
#: Keywords whose value is a schema for each of some names, which may be any; and those whose value is no schema.
_BY_NAME: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_PLAIN: Final = frozenset({"default", "const", "enum", "required", "discriminator"})


def _schema(payload: Payload) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _bare(payload.schema())
    except PayloadError:
        # Some types can be stored but not described: then only their name tells two of them apart.
        return {"python": str(payload.annotation)}
    return found


def _bare(schema: Any) -> Any:
    """A JSON schema without what is only for people: to edit a docstring is no change."""
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _of_keyword(key, value) for key, value in schema.items() if key not in _FOR_PEOPLE}


def _of_keyword(key: str, value: Any) -> Any:
    if key in _PLAIN:
        return value
    if key in _BY_NAME and isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items()}
    return _bare(value)
