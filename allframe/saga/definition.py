"""A saga class as it was written: what the rules look at, before anything is compiled.

What its annotations mean is for `allframe.saga.resolving`. Names that are not there yet put off the rules that need types,
not the others.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import (
    Any,
    ClassVar,
    Generic,
    Never,
    NoReturn,
    TypeVar,
    get_origin,
)

from pydantic import BaseModel, JsonValue
from pydantic._internal._generics import replace_types

from allframe.saga.annotations import MISSING
from allframe.saga.marks import (
    CompensationMark,
    Misplaced,
    SagaOptions,
    StepMark,
    function_of,
    is_same,
    mark_of,
    place_of_function,
)
from allframe.saga.ordering import Order, order_of
from allframe.saga.surroundings import Surroundings
from allframe.source import place_of

__all__ = [
    "Declared",
    "Definition",
    "Nameless",
    "arguments_of",
    "declare",
    "fields_of",
    "seconds",
]

M = TypeVar("M", StepMark, CompensationMark)


@dataclass(frozen=True, slots=True)
class Nameless:
    """A function that is compensated and has no name in the class, or several."""

    function: str
    names: tuple[str, ...]


@dataclass(slots=True, eq=False)
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
    def is_plain(self) -> bool:
        """Whether it is a plain function, which has no ``self``."""
        return self.signature is not None and next(iter(self.signature.parameters), None) != "self"

    @property
    def is_async(self) -> bool:
        """Whether calling it gives something to await."""
        return inspect.iscoroutinefunction(self.value) or bool(_flags(self.value) & inspect.CO_ITERABLE_COROUTINE)

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Without ``self``."""
        return list(self.signature.parameters.values())[not self.is_plain :] if self.signature else []

    @property
    def returns(self) -> Any:
        return (self.hints or {}).get("return", MISSING)

    @property
    def output(self) -> Any:
        """The type that is stored of what it returns."""
        if self.returns in (NoReturn, Never):
            return None
        return JsonValue if self.returns is MISSING else self.returns

    def hint(self, parameter: str) -> Any:
        return (self.hints or {}).get(parameter, MISSING)


@dataclass(slots=True)
class Definition:
    """A saga class as it was written."""

    cls: Any
    steps: list[Declared[StepMark]]
    compensations: list[Declared[CompensationMark]]
    #: Names assigned twice in the body, with both places.
    doubled: Sequence[tuple[str, str, str]]
    #: The names of its fields, inherited ones as well.
    fields: set[str]
    where: str
    #: The functions around the class, until its annotations are resolved.
    around: Surroundings = field(default_factory=Surroundings)
    #: Which step runs before which; names in ``after=`` that no step has are left out.
    order: Order = field(init=False)
    _places: dict[str, int] = field(init=False)
    _undoing: dict[Any, Declared[CompensationMark]] = field(init=False)

    def __post_init__(self) -> None:
        self._places = {step.attribute: i for i, step in enumerate(self.steps)}
        self._undoing = {undo.mark.step: undo for undo in reversed(self.compensations)}
        self.order = order_of([step.mark.after and self._known(step.mark.after) for step in self.steps])

    def _known(self, names: Sequence[Any]) -> list[int]:
        return [index for name in names if isinstance(name, str) and (index := self.step_index(name)) is not None]

    @classmethod
    def of(cls, saga: type[BaseModel], namespace: Mapping[str, Any], around: Surroundings) -> Definition:
        where = place_of(saga)
        steps: list[Declared[StepMark]] = []
        compensations: list[Declared[CompensationMark]] = []
        for name, given, mark in _marked(saga, namespace):
            value = function_of(given)
            place, signature, hints = (
                place_of_function(value) or where,
                _signature(value),
                _known_hints(saga, name, value),
            )
            if isinstance(mark, StepMark):
                steps.append(Declared(name, value, mark, place, signature, hints))
            else:
                compensations.append(Declared(name, value, mark, place, signature, hints))
        for undo in compensations:
            undo.mark = _by_name(undo, saga, namespace, [step.attribute for step in steps])
        doubled = getattr(namespace, "doubled", ())
        return cls(saga, steps, compensations, doubled, set(fields_of(saga)), where, around)

    @property
    def kind(self) -> str:
        return "saga"

    @property
    def abstract(self) -> bool:
        """Whether it is a base for other sagas, which need not be whole."""
        return bool(self.cls.__allframe_abstract__)

    @property
    def options(self) -> SagaOptions:
        """What was said of the saga as a whole."""
        options: SagaOptions = self.cls.__allframe_options__
        return options

    @property
    def title(self) -> str:
        return f"{self.kind.capitalize()} {self.cls.__qualname__}"

    @property
    def name(self) -> Any:
        """What it is stored under, as it was given."""
        return self.cls.saga_name

    @property
    def version(self) -> Any:
        return self.cls.saga_version

    @property
    def functions(self) -> list[Declared[Any]]:
        return [*self.steps, *self.compensations]

    @property
    def is_ordered(self) -> bool:
        """Whether it is known which step runs before which: without a circle, and without a name that no step has."""
        known = {step.attribute for step in self.steps}
        named = (name for step in self.steps for name in step.mark.after or ())
        return not self.order.cycle and all(isinstance(name, str) and name in known for name in named)

    def step_index(self, attribute: str | Callable[..., Any]) -> int | None:
        return self._places.get(attribute) if isinstance(attribute, str) else None

    def taken_by_name(self, available: int) -> list[str]:
        """The names under which a parameter can take an output, of the steps in ``available``, a bit each."""
        return [step.attribute for i, step in enumerate(self.steps) if available >> i & 1]

    def what_fills(self, declared: Declared[Any], available: int) -> str:
        """What a parameter may be, in a sentence, where the steps in ``available`` have an output to give."""
        earlier = ", ".join(self.taken_by_name(available)) or "there is none"
        field = f" or of a field ({', '.join(sorted(self.fields)) or 'there is none'})" if declared.is_plain else ""
        return f"A parameter is the name of an earlier step ({earlier}){field}, or is annotated StepContext or Inject[...]."

    def compensation_of(self, attribute: str) -> Declared[CompensationMark] | None:
        return self._undoing.get(attribute)

    @property
    def pivot(self) -> int | None:
        """The marked pivot, or the one step that comes after all others, where nothing can undo it."""
        marked = next((i for i, step in enumerate(self.steps) if step.mark.pivot), None)
        if marked is not None:
            return marked
        everything = (1 << len(self.steps)) - 1
        for i, step in enumerate(self.steps):
            comes_last = self.order.before[i] == everything & ~(1 << i)
            if comes_last and not step.mark.readonly and self.compensation_of(step.attribute) is None:
                return i
        return None

    def available_to(self, declared: Declared[Any]) -> int | None:
        """The steps whose output a function may take, a bit each; None for what undoes a step that does not exist."""
        if isinstance(declared.mark, StepMark):
            return self.order.before[self._places[declared.attribute]]
        index = self.step_index(declared.mark.step)
        return None if index is None else self.order.before[index] | 1 << index


def declare(cls: Any, name: str, value: Any, mark: M) -> Declared[M]:
    """The function that ``cls``, or a class above it, has under ``name``, with what was said of it."""
    where = place_of_function(value) or place_of(cls)
    return Declared(name, value, mark, where, _signature(value), _known_hints(cls, name, value))


def fields_of(cls: type) -> list[str]:
    """What is annotated in the body of ``cls`` and its bases, save class variables."""
    annotations: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        annotations |= base.__dict__.get("__annotations__", {})
    return [name for name, annotation in annotations.items() if not _is_class_variable(annotation) and name[:2] != "__"]


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.split("[")[0].rsplit(".", 1)[-1] == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _marked(saga: type, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any, StepMark | CompensationMark]]:
    """Each name that is marked in the saga or above it, with the value that the saga has there and the nearest mark."""
    # Of a name that is also a field, pydantic took the value.
    own = {name: value for name, value in namespace.items() if mark_of(value)}
    own = {**own, **vars(saga), **own}  # in the order in which they are written
    bodies = [own, *(vars(base) for base in saga.__mro__[1:])]
    for name in _marked_names(saga, own):
        values = [body[name] for body in bodies if name in body]
        yield name, values[0], next(mark for value in values if (mark := mark_of(value)))


def _names_of(undo: Declared[CompensationMark], bodies: Sequence[Mapping[str, Any]], steps: Sequence[str]) -> list[str]:
    """The names that the function which ``undo`` compensates has, in the nearest body where it has any."""
    for body in bodies:
        found = {name: value for name, value in body.items() if name in steps}
        exact = [name for name, value in found.items() if function_of(value) is undo.mark.step]
        if names := exact or [name for name, value in found.items() if is_same(value, undo.mark.step)]:
            return names
    return []


def _by_name(
    undo: Declared[CompensationMark], saga: type, namespace: Mapping[str, Any], steps: Sequence[str]
) -> CompensationMark:
    """The mark with the name of the step in place of its function, if it has one name."""
    if isinstance(undo.mark.step, str):
        return undo.mark
    bodies = [namespace, *(vars(base) for base in saga.__mro__[1:])]
    stands_in = next(i for i, body in enumerate(bodies) if mark_of(body.get(undo.attribute)))
    names = _names_of(undo, bodies[stands_in:], steps)
    step: Any = names[0] if len(names) == 1 else Nameless(getattr(undo.mark.step, "__name__", "?"), tuple(names))
    return dataclasses.replace(undo.mark, step=step)


def _marked_names(cls: type, body: Mapping[str, Any]) -> list[str]:
    """Inherited ones first, bases from left to right."""
    names = list(dict.fromkeys(name for base in cls.__bases__ for name in _marked_names(base, vars(base))))
    # Not pydantic's own: what stands there until the class is complete answers to any question by building it.
    own = [
        name for name, value in body.items() if name not in names and (name[:2] != "__" or isinstance(value, _MARKED))
    ]
    return names + [name for name in own if mark_of(body[name])]


_MARKED = (types.FunctionType, Misplaced)


# --- annotations -----------------------------------------------------------------------------------------------------


def _known_hints(saga: type, name: str, value: Any) -> dict[str, Any] | None:
    """The annotations of an inherited function, as they were resolved where it is written."""
    for base in saga.__mro__[1:]:
        above: Definition | None = base.__dict__.get("__allframe_definition__")
        for declared in above.functions if above else ():
            if declared.attribute == name and declared.value is value and declared.hints is not None:
                arguments = arguments_of(saga)
                return {name: replace_types(hint, arguments) for name, hint in declared.hints.items()}
    return None


def arguments_of(saga: Any) -> dict[Any, Any]:
    """What ``Transfer[int]`` puts in the place of each type variable."""
    made = saga.__pydantic_generic_metadata__
    return (
        dict(zip(made["origin"].__pydantic_generic_metadata__["parameters"], made["args"], strict=True))
        if made["origin"]
        else {}
    )


def seconds(timeout: float | timedelta | None) -> float | None:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout


def _signature(value: Any) -> inspect.Signature | None:
    return inspect.signature(value) if isinstance(value, types.FunctionType) else None


def _flags(value: Any) -> int:
    code = getattr(value, "__code__", None)
    return code.co_flags if code is not None else 0
