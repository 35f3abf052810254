"""AF101…: what a definition may not say.

The rules of its structure are here, what cannot be called as a step in `allframe.saga.callables`, those of parameters and
types in `allframe.saga.fitting`, AF104 in `allframe.saga.undoing`, AF110 in `allframe.saga.storable`.
Each rule is a function from a `Definition` to its problems, and says what was found, what was expected and what to do.
All of them are applied before anything is raised: whoever mends a saga sees the whole list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import FunctionType
from typing import Any, Final

from pydantic import BaseModel

from allframe.errors import Problem
from allframe.naming import did_you_mean, is_version, nearest
from allframe.saga.callables import defaults_are_values, steps_are_functions
from allframe.saga.definition import Declared, Definition, Nameless
from allframe.saga.keywords import fields_stay_as_they_are
from allframe.saga.marks import CompensationMark, SagaOptions, StepMark
from allframe.saga.owners import bases_share_no_names, what_has_the_name
from allframe.saga.retry import LONGEST, Retry, is_number
from allframe.saga.typechecking import is_installed
from allframe.saga.undoing import every_effect_can_be_undone
from allframe.saga.waivers import check_waivers

__all__ = ["NAME_RULE", "RULES", "check_structure", "is_name", "timeout_problems"]

#: Every rule in one line.
RULES: Final[dict[str, str]] = {
    "AF101": "@compensates names a step that does not exist",
    "AF102": "one step has two compensations",
    "AF103": "a step or compensation is assigned twice in one body, or inherited from two bases",
    "AF104": "a step that others follow, or run beside, cannot be undone",
    "AF105": "nothing can fill a parameter",
    "AF106": "a parameter takes the output of a step that does not run before it",
    "AF107": "a parameter cannot be what the step returns",
    "AF108": "after= names an unknown step, or closes a cycle",
    "AF109": "a timeout, a retry or an option makes no sense",
    "AF110": "an input or output type cannot be stored as JSON",
    "AF111": "a saga has no steps",
    "AF112": "the pivot is not the one point of no return",
    "AF113": "something that cannot be a step is marked as one",
    "AF114": "a field and a step share a name, or a readonly step is compensated",
    "AF115": "a field, step or compensation hides an attribute that every saga has",
    "AF116": "a compensation demands an output that may not be there",
    "AF117": "@compensates names a function that has two names in the body",
    "AF118": "an event's name, version or stream makes no sense",
    "AF119": "a saga's name or version makes no sense, or two sagas share them",
    "AF120": "a command, a query or a handler makes no sense, or there are two of it",
    "AF121": "upcasters that do not lead from what is stored to the classes of today",
    "AF122": "an aggregate cannot be made of events, or found again by its name",
}


def check_structure(definition: Definition) -> list[Problem]:
    """The problems that can be seen without resolving an annotation."""
    rules = _STRUCTURE if definition.abstract else (*_STRUCTURE, *_WHOLE)
    return sorted((problem for rule in rules for problem in rule(definition)), key=lambda problem: problem.rule)


def _has_steps(definition: Definition) -> Iterator[Problem]:
    if not definition.steps and definition.kind == "saga":  # a class of steps says it in words of its own
        yield Problem(
            "AF111",
            "It has no steps, so running it would do nothing. Mark at least one method with @step.",
            definition.where,
        )


def _name_and_version(definition: Definition) -> Iterator[Problem]:
    name, version = definition.name, definition.version
    if not is_name(name):
        yield Problem("AF119", f"Its name is {name!r}. {NAME_RULE}", definition.where)
    if not is_version(version):
        yield Problem("AF119", f"Its version is {version!r}. Expected a whole number from 1.", definition.where)
    seen: dict[str, str] = {}
    for step in definition.steps:
        stored = step.attribute if step.mark.name is None else step.mark.name
        if not is_name(stored):
            text = f"Step {step.attribute!r} has the name {stored!r}. {NAME_RULE}"
            yield Problem("AF109", text, step.where, step.attribute)
        elif stored in seen:
            text = (
                f"Steps {seen[stored]!r} and {step.attribute!r} are both stored as {stored!r}. Give one another name."
            )
            yield Problem("AF109", text, step.where, step.attribute)
        else:
            seen[stored] = step.attribute


NAME_RULE = "Expected 1 to 100 printable characters without '/' and not beginning with '$'."


def is_name(name: object) -> bool:
    """Whether sagas and steps can be stored under it."""
    return isinstance(name, str) and 0 < len(name) <= 100 and name.isprintable() and "/" not in name and name[0] != "$"


def _compensations_have_steps(definition: Definition) -> Iterator[Problem]:
    names = [step.attribute for step in definition.steps]
    for undo in definition.compensations:
        if isinstance(undo.mark.step, Nameless):
            yield _nameless(undo, undo.mark.step, names)
            continue
        if undo.mark.step in names or not undo.mark.step:  # without any name it is AF113
            continue
        near = nearest(undo.mark.step, names)
        yield Problem(
            "AF101",
            f"{undo.attribute!r} compensates {undo.mark.step!r}, but there is no such step. The steps are: "
            f"{', '.join(names) or 'none'}.{what_has_the_name(definition, undo.mark.step) or did_you_mean(near)}",
            undo.where,
            undo.attribute,
            near,
        )


def _nameless(undo: Declared[CompensationMark], given: Nameless, steps: Sequence[str]) -> Problem:
    if given.names:
        text = (
            f"{undo.attribute!r} compensates the function {given.function!r}, which is {len(given.names)} steps here: "
            f'{", ".join(given.names)}. Say which: @compensates("{given.names[0]}").'
        )
        return Problem("AF117", text, undo.where, undo.attribute, given.names)
    text = (
        f"{undo.attribute!r} compensates the function {given.function!r}, which is no step here. The steps are: "
        f"{', '.join(steps) or 'none'}. Make it one, such as `{given.function} = {given.function}`, or name one of them."
    )
    return Problem("AF101", text, undo.where, undo.attribute, nearest(given.function, steps))


def _one_compensation_a_step(definition: Definition) -> Iterator[Problem]:
    first: dict[Any, str] = {}
    for undo in definition.compensations:
        before = first.setdefault(undo.mark.step, undo.attribute)
        if before != undo.attribute and undo.mark.step and not isinstance(undo.mark.step, Nameless):
            yield Problem(
                "AF102",
                f"{before!r} and {undo.attribute!r} both compensate {undo.mark.step!r}. A step is undone once: keep one "
                "and let it do all of it.",
                undo.where,
                undo.attribute,
            )


def _assigned_once(definition: Definition) -> Iterator[Problem]:
    for name, before, after in definition.doubled:
        yield Problem(
            "AF103",
            f"{name!r} is assigned twice, at {before} and here, and Python keeps only the second. Rename one.",
            after,
            name,
        )


def _order_makes_sense(definition: Definition) -> Iterator[Problem]:
    names = [step.attribute for step in definition.steps]
    for step in definition.steps:
        for name in step.mark.after or ():
            if name in names:
                continue
            near = nearest(name, [other for other in names if other != step.attribute])
            hint = what_has_the_name(definition, name) or did_you_mean(near)
            others = ", ".join(other for other in names if other != step.attribute)
            shown = f"the function {name.__name__!r}" if isinstance(name, FunctionType) else repr(name)
            yield Problem(
                "AF108",
                f"{step.attribute!r} runs after {shown}, but there is no such step. Expected names of other steps: "
                f"{others or 'there is none'}; or after=() to begin at once.{hint}",
                step.where,
                step.attribute,
                near,
            )
    if cycle := definition.order.cycle:
        first = definition.steps[cycle[0]]
        yield Problem("AF108", _circle(definition, cycle), first.where, first.attribute)


def _circle(definition: Definition, cycle: Sequence[int]) -> str:
    steps = [definition.steps[i] for i in cycle]
    if len(steps) == 1:
        return f"{steps[0].attribute!r} runs after itself. Name other steps in its after=."
    links = [
        f"{step.attribute!r} after {other.attribute!r}"
        + ("" if step.mark.after is not None else " (it has no after=, and stands below it)")
        for step, other in zip(steps, [*steps[1:], steps[0]], strict=True)
    ]
    if len(links) > _MANY:
        links[_MANY - 1 : -1] = [f"and {len(links) - _MANY} more"]
    return f"These steps wait for each other: {', '.join(links)}. Change an after=, or move a step."


#: Of a circle: who has seen these sees the others.
_MANY: Final = 10


def _options_of_the_saga_make_sense(definition: Definition) -> Iterator[Problem]:
    options = definition.options
    if not isinstance(abstract := getattr(definition.cls, "__allframe_abstract__", False), bool):
        yield Problem("AF109", f"The saga has abstract={abstract!r}. Expected True or False.", definition.where)
    for text in (*timeout_problems(options.timeout), *_error_problems(options), *_typecheck_problems(options)):
        yield Problem("AF109", f"The saga has {text}", definition.where)


def _options_make_sense(definition: Definition) -> Iterator[Problem]:
    for declared in definition.functions:
        for text in _option_problems(declared.mark):
            yield Problem("AF109", f"{declared.attribute!r} has {text}", declared.where, declared.attribute)


def _option_problems(mark: StepMark | CompensationMark) -> Iterator[str]:
    """What is wrong with the options of a step or a compensation."""
    if isinstance(mark, StepMark):
        yield from (*_error_problems(mark), *_flag_problems(mark))
    yield from (*timeout_problems(mark.timeout), *_retry_problems(mark.retry, is_step=isinstance(mark, StepMark)))
    if isinstance(mark, CompensationMark) and mark.if_unknown not in ("call", "fail"):
        yield f"if_unknown={mark.if_unknown!r}. Expected 'call' or 'fail'."


def _retry_problems(retry: object, *, is_step: bool) -> Iterator[str]:
    if isinstance(retry, Retry):
        yield from (f"a Retry whose {problem}." for problem in retry.problems())
    elif retry is not None or not is_step:  # a step may have none
        yield f"retry={retry!r}. Expected a Retry, such as Retry(attempts=3)."


def timeout_problems(timeout: Any) -> Iterator[str]:
    """What is wrong with a timeout."""
    value = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if value is not None and (not is_number(value) or not 0 < value < math.inf):
        yield f"timeout={timeout!r}. Expected seconds above 0, or None for no limit."
    elif value is not None and value > LONGEST:
        yield f"timeout={timeout!r}. Expected at most {LONGEST:g} seconds, some thirty years, or None for no limit."


def _flag_problems(mark: StepMark) -> Iterator[str]:
    for name in ("readonly", "pivot", "repeatable", "idempotent"):
        if not isinstance(flag := getattr(mark, name), bool):
            yield f"{name}={flag!r}. Expected True or False."


def _typecheck_problems(said: SagaOptions) -> Iterator[str]:
    if said.typecheck not in (True, False, None):
        yield f"typecheck={said.typecheck!r}. Expected True, False, or None: as it is by default."
    elif said.typecheck and not is_installed():
        yield "typecheck=True, which needs typeguard, and that is not installed: pip install 'allframe[typecheck]'."


def _error_problems(said: SagaOptions | StepMark) -> Iterator[str]:
    for name in ("unknown_on", "known_on"):
        for kind in getattr(said, name):
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                yield f"{name}={kind!r}. Expected exception classes below Exception, one or a tuple of them."
    for kind in said.unknown_on:
        if isinstance(kind, type) and any(kind is other for other in said.known_on):
            yield (
                f"{kind.__name__} in unknown_on and in known_on. It says that nobody knows whether the step took effect, or "
                "that it certainly did not: take it out of one of them."
            )


def _one_pivot(definition: Definition) -> Iterator[Problem]:
    marked = [step for step in definition.steps if step.mark.pivot]
    for step in marked[1:]:
        yield Problem(
            "AF112",
            f"{marked[0].attribute!r} and {step.attribute!r} are both marked pivot=True. A saga has one point of no "
            "return: keep the first that cannot be undone.",
            step.where,
            step.attribute,
        )
    if not marked or not definition.is_ordered:
        return
    start, order = definition.steps.index(marked[0]), definition.order
    for i, step in enumerate(definition.steps):
        if order.beside(start, i) and not step.mark.pivot:
            yield Problem(
                "AF112",
                f"{step.attribute!r} runs beside the pivot {marked[0].attribute!r}: when the pivot succeeds, nobody knows "
                f"whether {step.attribute!r} can still fail. Let one of them wait for the other by after=.",
                step.where,
                step.attribute,
            )
        if i != start and not order.precedes(start, i):
            continue
        undo = definition.compensation_of(step.attribute)
        if undo is not None:
            place = "is the pivot" if i == start else f"comes after the pivot {marked[0].attribute!r}"
            yield Problem(
                "AF112",
                f"{undo.attribute!r} compensates {step.attribute!r}, which {place}: the saga never rolls back past it. "
                "Remove the compensation, or move the pivot.",
                undo.where,
                undo.attribute,
            )
        if i != start and step.mark.retry is None:
            yield Problem(
                "AF112",
                f"{step.attribute!r} comes after the pivot {marked[0].attribute!r} and has no retry: the saga can only go "
                "forward, so one error would block it. Give it retry=Retry(...).",
                step.where,
                step.attribute,
            )


def _names_are_distinct(definition: Definition) -> Iterator[Problem]:
    for declared in definition.functions:
        if declared.attribute in definition.fields:
            kind = "compensation" if isinstance(declared.mark, CompensationMark) else "step"
            text = f"{declared.attribute!r} is a field and a {kind}, and Python keeps only one of them. Rename one."
            yield Problem("AF114", text, declared.where, declared.attribute)
    readonly = {step.attribute: step for step in definition.steps if step.mark.readonly}
    for undo in definition.compensations:
        step = readonly.get(undo.mark.step) if isinstance(undo.mark.step, str) else None
        if step is not None:
            own: list[Declared[Any]] = [each for each in (undo, step) if each.attribute in vars(definition.cls)]
            at = own[0] if own else undo
            yield Problem(
                "AF114",
                f"{undo.attribute!r} compensates {undo.mark.step!r}, which is readonly and has nothing to undo. Remove "
                "the compensation, or readonly=True if the step has an effect.",
                at.where,
                at.attribute,
            )


def _functions_hide_nothing(definition: Definition) -> Iterator[Problem]:
    taken = {*dir(BaseModel), "graph", "saga_name", "saga_version"}
    for declared in definition.functions:
        if declared.attribute in taken:
            kind = "compensation" if isinstance(declared.mark, CompensationMark) else "step"
            text = (
                f"The {kind} {declared.attribute!r} hides Saga.{declared.attribute}, which every saga has. Rename it."
            )
            yield Problem("AF115", text, declared.where, declared.attribute)


#: What holds of a whole saga, and not of a base for others, which may lack steps and compensations.
_WHOLE: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    _has_steps,
    _compensations_have_steps,
    _order_makes_sense,
    every_effect_can_be_undone,
    _one_pivot,
)

_STRUCTURE: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    _name_and_version,
    _one_compensation_a_step,
    _assigned_once,
    bases_share_no_names,
    _options_of_the_saga_make_sense,
    _options_make_sense,
    fields_stay_as_they_are,
    check_waivers,
    steps_are_functions,
    defaults_are_values,
    _names_are_distinct,
    _functions_hide_nothing,
)
