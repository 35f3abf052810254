"""A saga class as it was written: what the rules look at, before anything is compiled.

Names in annotations that cannot be resolved yet, a class further down or one of a function around, put off the rules that
need types, not the others.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from allframe.errors import Problem
from allframe.naming import place_of
from allframe.saga.context import StepContext, Unknown
from allframe.saga.marks import CompensationMark, StepMark, mark_of, place_of_function

__all__ = [
    "MISSING",
    "Declared",
    "Definition",
    "accepts_unknown",
    "is_context",
    "members",
    "seconds",
    "strip",
    "unresolved_names",
]

M = TypeVar("M", StepMark, CompensationMark)
#: What a parameter or a return without an annotation has.
MISSING: Any = inspect.Parameter.empty


@dataclass(slots=True)
class Declared(Generic[M]):
    """One marked function in its class."""

    attribute: str
    value: Any
    mark: M
    where: str
    #: None where it has no signature that can be read.
    signature: inspect.Signature | None
    #: Annotations, resolved; None until they can be.
    hints: dict[str, Any] | None = None

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Without ``self``."""
        return list(self.signature.parameters.values())[1:] if self.signature else []

    @property
    def returns(self) -> Any:
        return (self.hints or {}).get("return", MISSING)

    def hint(self, parameter: str) -> Any:
        return (self.hints or {}).get(parameter, MISSING)


@dataclass(slots=True)
class Definition:
    """A saga class as it was written."""

    cls: Any
    steps: list[Declared[StepMark]]
    compensations: list[Declared[CompensationMark]]
    #: Names assigned twice in the body, with both values.
    doubled: list[tuple[str, Any, Any]]
    #: Annotated names of the body and its bases.
    fields: set[str]
    where: str
    #: Names of the function around the class.
    names: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, saga: Any, namespace: Mapping[str, Any], names: Mapping[str, Any]) -> Definition:
        marked: dict[str, Any] = {}
        for base in reversed(saga.__mro__[1:]):
            inherited = base.__dict__.get("__allframe_definition__")
            if inherited is not None:
                marked |= {d.attribute: d.value for d in [*inherited.steps, *inherited.compensations]}
        marked |= {name: value for name, value in namespace.items() if mark_of(value) is not None}
        fields = {name for base in saga.__mro__ for name in base.__dict__.get("__annotations__", {})}
        steps: list[Declared[StepMark]] = []
        compensations: list[Declared[CompensationMark]] = []
        for name, value in marked.items():
            mark = mark_of(value)
            if isinstance(mark, StepMark):
                steps.append(Declared(name, value, mark, place_of_function(value), _signature(value)))
            elif isinstance(mark, CompensationMark):
                compensations.append(Declared(name, value, mark, place_of_function(value), _signature(value)))
        doubled = list(getattr(namespace, "doubled", ()))
        first = steps[0].where if steps else place_of(saga)
        return cls(saga, steps, compensations, doubled, fields, first, dict(names))

    @property
    def title(self) -> str:
        return f"Saga {self.cls.__qualname__}"

    @property
    def functions(self) -> list[Declared[Any]]:
        return [*self.steps, *self.compensations]

    def step_index(self, attribute: str) -> int | None:
        return next((i for i, step in enumerate(self.steps) if step.attribute == attribute), None)

    def compensation_of(self, attribute: str) -> Declared[CompensationMark] | None:
        return next((undo for undo in self.compensations if undo.mark.step == attribute), None)

    @property
    def pivot(self) -> int | None:
        """The marked pivot, or the last step where nothing can undo it."""
        marked = next((i for i, step in enumerate(self.steps) if step.mark.pivot), None)
        if marked is not None or not self.steps:
            return marked
        last = self.steps[-1]
        irreversible = not last.mark.readonly and self.compensation_of(last.attribute) is None
        return len(self.steps) - 1 if irreversible else None

    def forget_names(self) -> None:
        """Let go of the function around the class: its names were only for resolving."""
        self.names = {}


def unresolved_names(definition: Definition) -> list[Problem]:
    """Resolve what is still text in annotations; returns what could not be."""
    problems = []
    for declared in definition.functions:
        if declared.hints is not None or declared.signature is None:
            continue
        try:
            declared.hints = get_type_hints(
                declared.value,
                localns={**definition.names, definition.cls.__name__: definition.cls},
                include_extras=True,
            )
        except Exception as error:  # noqa: BLE001 - an annotation is any expression
            text = (
                f"An annotation of {declared.attribute!r} cannot be resolved: {error}. Define it in the module, or above "
                "the class."
            )
            problems.append(Problem("AF105", text, declared.where))
    return problems


def is_context(annotation: Any) -> bool:
    return strip(annotation) is StepContext


def strip(annotation: Any) -> Any:
    """An annotation without ``Annotated``."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def members(annotation: Any) -> list[Any]:
    """The members of a union, flat; of anything else, itself."""
    annotation = strip(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in members(member)]
    return [type(None) if annotation is None else annotation]


def accepts_unknown(annotation: Any) -> bool:
    """Whether a parameter of this annotation can be given an `Unknown`; what cannot be decided, can."""
    return any(
        member in (Any, object, MISSING, Unknown) or isinstance(member, TypeVar | str) for member in members(annotation)
    )


def seconds(timeout: float | timedelta | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def _signature(value: Any) -> inspect.Signature | None:
    if not isinstance(value, types.FunctionType):
        return None
    return inspect.signature(value)
