"""`SagaStep`: a step as an object of its own, for a `SagaDefinition` to be built of.

A class of steps is checked when it is created, like a saga of one step. What belongs to a place in one saga, the step's
name there and what it comes after, is said where it is added.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, cast, dataclass_transform

from pydantic import BaseModel, Field, PrivateAttr
from pydantic._internal._model_construction import ModelMetaclass

from allframe.errors import DefinitionError, Problem
from allframe.naming import Names
from allframe.refusing import refuse_fields
from allframe.saga.advice import advice_of, may_stay_unknown, pivot_advice
from allframe.saga.bodies import PydanticBody
from allframe.saga.compiling import check, compile_graph
from allframe.saga.declare import Errors, compensates, step
from allframe.saga.definition import Declared, Definition, declare, fields_of
from allframe.saga.graph import Node, Step
from allframe.saga.keywords import unknown_keywords, untyped_fields
from allframe.saga.marks import FROZEN, CompensationMark, Misplaced, SagaOptions, StepMark, mark_of, place_of_function
from allframe.saga.owners import fields_hide_nothing
from allframe.saga.resolving import resolve_bases, shadowed_types, unresolved_names
from allframe.saga.retry import Retry
from allframe.saga.surroundings import Surroundings
from allframe.saga.waiting import check_or_wait, look_again
from allframe.saga.waivers import kept, reasons
from allframe.saga.whole import Whole
from allframe.source import note_place, place_in, place_of

__all__ = ["STEPS", "SagaStep", "parts_of", "pivot_advice_of", "step_advice"]

#: Every class of steps that this process has imported, by stored name and version.
STEPS: Names[type[SagaStep]]

#: Stands for an option that is as in the class above.
_INHERITED: Any = object()
#: What every class of steps has.
_OURS: Final = frozenset({"execute", "compensate", "step_name", "step_version"})
_FUNCTIONS: Final = ("execute", "compensate")


class StepDefinition(Definition):
    """A class of steps as it was written: a saga of one step, whose compensation takes the output as ``output``."""

    @property
    def kind(self) -> str:
        return "step"

    @property
    def name(self) -> Any:
        return self.cls.step_name

    @property
    def version(self) -> Any:
        return self.cls.step_version

    @property
    def options(self) -> SagaOptions:
        waived: list[Any] = [base.__dict__.get("__allframe_waive__") for base in self.cls.__mro__]
        above = {code: reason for waive in reversed(waived[1:]) for code, reason in reasons(waive).items()}
        return SagaOptions(waive=waived[0], waived_above=above)

    def step_index(self, attribute: str | Callable[..., Any]) -> int | None:
        return 0 if self.steps and attribute in ("execute", "output") else None

    def taken_by_name(self, available: int) -> list[str]:
        return ["output"] if available else []

    def what_fills(self, declared: Declared[Any], available: int) -> str:
        output = "is called `output`, for what `execute` returned, or " if available else ""
        return f"A parameter {output}is annotated StepContext or Inject[...]."


class _Body(PydanticBody):  # type: ignore[misc]
    """A class body that remembers if ``execute`` or ``compensate`` was assigned twice."""

    def __init__(self) -> None:
        super().__init__()
        #: Names assigned twice, with both places.
        self.doubled: list[tuple[str, str, str]] = []
        self._places: dict[str, str] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        if name in _FUNCTIONS:
            frame = sys._getframe(1)  # noqa: SLF001 - the body that is being run
            place = place_of_function(value) or place_in(frame)
            if name in self:
                self.doubled.append((name, self._places[name], place))
            self._places[name] = place
            if not isinstance(value, types.FunctionType):
                value = Misplaced(value, _STEP)  # pydantic would not have it
        super().__setitem__(name, value)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
class StepMeta(ModelMetaclass):
    """Checks and compiles the class when it is created, or when its annotations can first be resolved."""

    @classmethod
    def __prepare__(  # type: ignore[override]
        metacls, name: str, bases: tuple[type, ...], /, **kwargs: Any
    ) -> MutableMapping[str, object]:
        return _Body()

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any) -> None:
        super().__init__(name, bases, namespace)
        if not any(isinstance(base, StepMeta) for base in bases):
            return  # SagaStep itself
        made = cast("type[SagaStep]", cls)
        # The names of the function that the class is written in, for annotations that are still text.
        around = Surroundings(sys._getframe(1))  # noqa: SLF001 - pydantic does the same for its fields
        origin: Any = made.__pydantic_generic_metadata__["origin"]
        if origin is not None:  # pydantic makes Pay[int]: it is Pay, of other types
            around = origin.__allframe_definition__.around
            made.step_name = origin.step_name + made.__name__.removeprefix(origin.__name__)
            made.step_version, made.__allframe_abstract__ = origin.step_version, origin.__allframe_abstract__
        definition = _definition_of(made, namespace, around)
        type.__setattr__(cls, "__allframe_definition__", definition)
        type.__setattr__(cls, "__allframe_parts__", None)
        if made.__allframe_abstract__:
            return
        look_again(cls)
        if not check_or_wait(cls, lambda _: _check(definition, namespace, kwargs), _is_whole):
            return
        STEPS.add(made.step_name, made.step_version, made)


class SagaStep(Whole, BaseModel, metaclass=StepMeta):
    """A step that a `SagaDefinition` can be built of: a frozen model with ``execute`` and, to undo it, ``compensate``.

    ::

        class DebitStep(SagaStep, timeout=5):
            account: str
            amount: Decimal

            async def execute(self, bank: Inject[Bank], ctx: StepContext) -> Debited: ...

            async def compensate(self, output: Debited | Unknown, bank: Inject[Bank], ctx: StepContext) -> None: ...

    Both may take injected objects and the `StepContext`; ``compensate`` also what ``execute`` returned, as ``output``.

    The class keywords are the options of `step` and of `compensates`: ``timeout``, ``retry``, ``readonly``, ``pivot``,
    ``repeatable``, ``idempotent``, ``unknown_on``, ``known_on`` and, for ``compensate``, ``compensation_timeout``,
    ``compensation_retry`` and ``if_unknown``. A subclass inherits them. ``waive`` is as for `Saga`: advice that does not hold
    of either function, with the reasons. ``name`` (the class's name, if not given) and
    ``version`` are what the class is stored under. With ``abstract=True`` a class is a base for others, and may lack
    ``execute``.

    Raises:
        DefinitionError: when the class is created, with everything that is wrong with it.
    """

    model_config = FROZEN

    step_name: ClassVar[str]
    step_version: ClassVar[int]
    __allframe_abstract__: ClassVar[bool] = True
    __allframe_keywords__: ClassVar[Mapping[str, Any]] = {}
    __allframe_waive__: ClassVar[Any] = None

    if not TYPE_CHECKING:  # type checkers go by the fields

        @classmethod
        def __allframe_resolve__(cls):
            if cls.__dict__.get("__allframe_parts__") is None and not cls.__allframe_abstract__:
                parts_of(cls)

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        timeout: float | timedelta | None = _INHERITED,
        retry: Retry | None = _INHERITED,
        readonly: bool = _INHERITED,
        pivot: bool = _INHERITED,
        repeatable: bool = _INHERITED,
        idempotent: bool = _INHERITED,
        unknown_on: Errors = _INHERITED,
        known_on: Errors = _INHERITED,
        compensation_timeout: float | timedelta | None = _INHERITED,
        compensation_retry: Retry = _INHERITED,
        if_unknown: Literal["call", "fail"] = _INHERITED,
        waive: Mapping[str, str] | None = None,
        abstract: bool = False,
        **options: Any,
    ) -> None:
        note_place(cls)
        problems = untyped_fields(cls)  # before a base sets something of its own
        super().__init_subclass__()
        problems += unknown_keywords(cls, "step", options, _KEYWORDS)
        resolve_bases(cls)
        # Before pydantic would warn of the same, less clearly.
        problems += [*fields_hide_nothing(cls, SagaStep, _OURS, "step"), *shadowed_types(cls, place_of(cls))]
        if problems:
            refuse_fields(cls, DefinitionError(f"Step {cls.__qualname__}", problems))
        options = {"timeout": timeout, "retry": retry, "readonly": readonly, "pivot": pivot, "idempotent": idempotent}
        options |= {"repeatable": repeatable, "unknown_on": unknown_on, "known_on": known_on}
        options |= {"compensation_timeout": compensation_timeout, "compensation_retry": compensation_retry}
        options |= {"if_unknown": if_unknown}
        given = {option: value for option, value in options.items() if value is not _INHERITED}
        cls.__allframe_keywords__ = {**cls.__allframe_keywords__, **given}
        cls.__allframe_waive__ = kept(waive)
        cls.__allframe_abstract__ = abstract
        cls.step_name = cls.__name__ if name is None else name
        cls.step_version = version


def parts_of(cls: type[SagaStep]) -> tuple[Node, Step]:
    """What a class of steps was compiled to: the structure and the functions of its one step.

    Raises:
        DefinitionError: for annotations that could not be resolved when the class was created, and still cannot, or
            that turn out to break a rule; for a class that is a base for others.
    """
    parts: tuple[Node, Step] | None = cls.__dict__.get("__allframe_parts__")
    if parts is None:
        if cls.__allframe_abstract__:
            text = f"{cls.__name__} is a base for others, and no step itself: subclass it."
            raise DefinitionError(f"Step {cls.__qualname__}", [Problem("AF111", text, place_of(cls))])
        if refused := cls.__dict__.get("__allframe_refused__"):
            raise refused
        parts = _compiled(cls.__dict__["__allframe_definition__"])
    return parts


def _compiled(definition: StepDefinition, *, is_checked: bool = False) -> tuple[Node, Step]:
    """The parts, which the class keeps. ``is_checked``, Raises: as `compile_graph`."""
    graph = compile_graph(definition, is_checked=is_checked)
    # A lone step that nothing can undo would be the pivot.
    parts = dataclasses.replace(graph.plan.nodes[0], pivot=definition.steps[0].mark.pivot), graph.steps[0]
    type.__setattr__(definition.cls, "__allframe_parts__", parts)
    definition.around.forget()
    return parts


def step_advice(cls: type[SagaStep]) -> tuple[Problem, ...]:
    """What ``allframe check`` advises on a class of steps that breaks no rule.

    Raises:
        DefinitionError: as `parts_of`.
    """
    parts_of(cls)
    return advice_of(cls.__dict__["__allframe_definition__"])


def pivot_advice_of(cls: type[SagaStep], name: str, where: str) -> Iterator[Problem]:
    """AF204, where an object of ``cls`` comes last, as ``name``, in a saga that was built; it was added at ``where``."""
    definition: StepDefinition = cls.__dict__["__allframe_definition__"]
    if may_stay_unknown(definition.steps[0]):
        how = "is the pivot, for it comes last and nothing undoes it"
        advice = pivot_advice(name, how, where, f"Give {cls.__name__} retry=Retry(...)")
        options = definition.options
        waived = {**options.waived_above, **reasons(options.waive)}.get(advice.rule)
        yield dataclasses.replace(advice, waived=waived)


def _definition_of(cls: type[SagaStep], body: Mapping[str, Any], around: Surroundings) -> StepDefinition:
    execute, compensate = (inspect.getattr_static(cls, name, None) for name in _FUNCTIONS)
    marks = _marks(cls.__allframe_keywords__)
    return StepDefinition(
        cls=cls,
        steps=[] if execute is None else [declare(cls, "execute", _value(execute, marks[0]), marks[0])],
        compensations=(
            []
            if execute is None or compensate is None
            else [declare(cls, "compensate", _value(compensate, marks[1]), marks[1])]
        ),
        doubled=getattr(body, "doubled", ()),
        fields=set(fields_of(cls)),
        where=place_of(cls),
        around=around,
    )


def _check(definition: StepDefinition, body: Mapping[str, Any], keywords: Mapping[str, Any]) -> bool:
    """Apply the rules that can be applied now, and compile the class if that was all of them; returns whether it was."""
    if not check(definition, list(_own_rules(definition, body, keywords))):
        return False
    _compiled(definition, is_checked=True)
    return True


def _is_whole(cls: Any) -> bool:
    """Compile a class, if the names that it waited for are there; returns whether they are."""
    if unresolved_names(cls.__allframe_definition__):
        return False
    parts_of(cls)
    return True


def _own_rules(definition: StepDefinition, body: Mapping[str, Any], keywords: Mapping[str, Any]) -> Iterator[Problem]:
    if not definition.steps:
        text = "It has no `execute`, so it would do nothing. Write `async def execute(self) -> ...`."
        yield Problem("AF111", text, definition.where, "execute")
    for name, value in body.items():
        if name[:2] != "__" and mark_of(value) is not None and not isinstance(value, Misplaced):
            decorator = "compensates" if isinstance(mark_of(value), CompensationMark) else "step"
            text = (
                f"{name!r} is marked with @{decorator}. A SagaStep is one step: what it does is called `execute`, what "
                "undoes it `compensate`, and their options are keywords of the class."
            )
            yield Problem("AF113", text, place_of_function(value) or definition.where, name)
    for declared in definition.functions:
        if declared.is_plain:
            text = f"{declared.attribute!r} has no first parameter `self`: it is a method of its step."
            yield Problem("AF113", text, declared.where, declared.attribute)
    idle = [option for option in _UNDO_OPTIONS if option in keywords]
    if idle and definition.steps and not definition.compensations:
        text = (
            f"It has {', '.join(idle)} and no `compensate`. Write `async def compensate(self) -> ...`, or take it away."
        )
        yield Problem("AF109", text, definition.where, "compensate")


def _value(found: Any, mark: StepMark | CompensationMark) -> Any:
    if isinstance(found, types.FunctionType | Misplaced):
        return found
    return Misplaced(found, mark)


def _marks(options: Mapping[str, Any]) -> tuple[StepMark, CompensationMark]:
    """What these class keywords say of ``execute``, and of ``compensate``."""
    forward = {option: value for option, value in options.items() if option in _OPTIONS}
    back = {_UNDO_OPTIONS[option]: value for option, value in options.items() if option in _UNDO_OPTIONS}
    execute = mark_of(step(**forward)(_stand_in))
    compensate = mark_of(compensates("execute", **back)(_stand_in))
    assert isinstance(execute, StepMark)
    assert isinstance(compensate, CompensationMark)
    return execute, compensate


async def _stand_in(self: Any) -> None: ...


#: The options of `step` that are said of a class; the others belong to a place in one saga.
_OPTIONS: Final = frozenset(inspect.signature(step).parameters) - {"function", "name", "after", "waive"}
#: Those of `compensates`, as class keywords.
_UNDO_OPTIONS: Final = {"compensation_timeout": "timeout", "compensation_retry": "retry", "if_unknown": "if_unknown"}
#: All class keywords of `SagaStep`.
_KEYWORDS: Final = ("name", "version", "abstract", *sorted({*_OPTIONS, *_UNDO_OPTIONS, "waive"}))
_STEP: Final = _marks({})[0]
STEPS = Names("step", "AF119")
