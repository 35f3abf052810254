"""AF105, AF106, AF107, AF116: what fills each parameter, and whether its type can be right.

What cannot be decided is accepted: a false alarm would keep a good saga from being imported.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from allframe.errors import Problem
from allframe.inject import injected_type
from allframe.naming import did_you_mean, nearest
from allframe.saga.annotations import MISSING, accepts_unknown, injected, is_context, strip
from allframe.saga.context import Unknown
from allframe.saga.definition import Declared, Definition
from allframe.saga.flow import Misfit, misfit
from allframe.saga.kinds import field_type
from allframe.saga.marks import CompensationMark
from allframe.saga.spelling import show, show_both

__all__ = ["check_types"]


def check_types(definition: Definition) -> list[Problem]:
    """The problems of parameters and their types; every annotation is resolved."""
    return [problem for rule in _TYPES for problem in rule(definition)]


def _parameters_can_be_filled(definition: Definition) -> Iterator[Problem]:
    if definition.abstract:
        return  # who subclasses it may add the steps
    for declared, available in _with_available(definition):
        for parameter in declared.parameters:
            if declared.is_plain and parameter.name in definition.fields:
                continue
            index = definition.step_index(parameter.name)
            annotation = declared.hint(parameter.name)
            filled = injected(annotation) is not None or is_context(annotation) or parameter.default is not MISSING
            in_vain = isinstance(injected_type(annotation), TypeVar)
            if index is None and _hides_inject(annotation):
                yield Problem("AF105", _hidden_inject(declared, parameter), declared.where, declared.attribute)
            elif index is not None and not available >> index & 1 and not filled and definition.is_ordered:
                yield Problem("AF106", _too_early(definition, declared, index), declared.where, declared.attribute)
            elif index is None and (in_vain or not filled) and parameter.kind not in _REPORTED_ELSEWHERE:
                near = nearest(parameter.name, definition.taken_by_name(available))
                text = _unfillable(definition, declared, parameter, available, near)
                yield Problem("AF105", text, declared.where, declared.attribute, near)


_REPORTED_ELSEWHERE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _hides_inject(annotation: Any) -> bool:
    """Whether ``Inject`` stands in a union, where it is not seen and a default would always win."""
    return get_origin(annotation) in (Union, types.UnionType) and any(
        injected_type(member) is not None for member in get_args(annotation)
    )


def _hidden_inject(declared: Declared[Any], parameter: inspect.Parameter) -> str:
    inside = " | ".join(
        show(member if (found := injected_type(member)) is None else found)
        for member in get_args(declared.hint(parameter.name))
    )
    return (
        f"The parameter {parameter.name!r} of {declared.attribute!r} has Inject inside a union, where nothing fills it. "
        f"Write Inject[{inside}]."
    )


def _with_available(definition: Definition) -> Iterator[tuple[Declared[Any], int]]:
    """Each function with the steps whose output it may take, a bit each."""
    for declared in definition.functions:
        available = definition.available_to(declared)
        if available is not None:
            yield declared, available


def _too_early(definition: Definition, declared: Declared[Any], index: int) -> str:
    wanted = definition.steps[index].attribute
    if wanted == declared.attribute:
        return f"{declared.attribute!r} takes its own output. Rename the parameter."
    if isinstance(declared.mark, CompensationMark):
        return (
            f"{declared.attribute!r} takes the output of {wanted!r}, which {_runs(definition, index, declared.mark.step)} "
            f"{declared.mark.step!r}, the step that it undoes: by then {wanted!r} is undone, or never ran. Take outputs of "
            f"{declared.mark.step!r} or of steps before it."
        )
    if definition.order.beside(index, definition.steps.index(declared)):
        return (
            f"{declared.attribute!r} takes the output of {wanted!r}, which runs beside it. Let it wait: name {wanted!r} in "
            "its after=, or rename the parameter."
        )
    return (
        f"{declared.attribute!r} takes the output of {wanted!r}, which runs after it. Move {wanted!r} above it, or "
        "rename the parameter."
    )


def _runs(definition: Definition, index: int, step: str | Callable[..., Any]) -> str:
    undone = definition.step_index(step)
    return "runs beside" if undone is not None and definition.order.beside(index, undone) else "runs after"


def _unfillable(
    definition: Definition,
    declared: Declared[Any],
    parameter: inspect.Parameter,
    available: int,
    near: tuple[str, ...],
) -> str:
    hint = did_you_mean(near)
    annotation = declared.hint(parameter.name)
    if declared.is_plain and parameter is declared.parameters[0] and annotation is MISSING:
        hint = " If this is a method, call its first parameter self."
    elif parameter.name in definition.fields:
        hint = f" It is a field of the {definition.kind}: read self.{parameter.name}."
    elif injected_type(annotation) is not None:
        hint = " Say what to inject, such as Inject[Bank]."
    elif not near and isinstance(strip(annotation), type) and annotation is not MISSING:
        hint = _by_type(definition, declared, parameter.name, strip(annotation))
    filled = definition.what_fills(declared, available)
    return f"Nothing fills the parameter {parameter.name!r} of {declared.attribute!r}. {filled}{hint}"


def _by_type(definition: Definition, declared: Declared[Any], name: str, wanted: type) -> str:
    """Where a parameter of this type may come from: nobody injects an amount, and an object is no field."""
    if definition.kind == "step" and (issubclass(wanted, (*_VALUES, BaseModel)) or is_dataclass(wanted)):
        return f" A step of this kind is given no output of others: make it a field, and read self.{name}."
    if issubclass(wanted, _VALUES):
        return f" If the saga is given it, make it a field{'' if declared.is_plain else f', and read self.{name}'}."
    return f" To be given an object, annotate it Inject[{wanted.__name__}]."


#: What is part of an input or an output, and no object to work with.
_VALUES = (
    str,
    bytes,
    int,
    float,
    complex,
    Decimal,
    UUID,
    date,
    time,
    timedelta,
    Enum,
    list,
    tuple,
    dict,
    set,
    frozenset,
)


def _types_fit(definition: Definition) -> Iterator[Problem]:
    for declared, available in _with_available(definition):
        for parameter in declared.parameters:
            index = definition.step_index(parameter.name)
            if index is None or not available >> index & 1:
                continue
            step = definition.steps[index]
            wrong = misfit(step.returns, _taken(declared, parameter))
            if wrong is not None:
                yield _does_not_fit(definition, step, declared, parameter.name, wrong)


def _taken(declared: Declared[Any], parameter: inspect.Parameter) -> Any:
    """What a parameter can be given; ``= None`` says that None is, too."""
    annotation = declared.hint(parameter.name)
    if parameter.default is not None or annotation is MISSING:
        return annotation
    return Union[annotation, None]  # noqa: UP007 - an annotation may be anything


def _does_not_fit(
    definition: Definition, step: Declared[Any], taker: Declared[Any], name: str, wrong: Misfit
) -> Problem:
    """Told of the one of the two that the class has of its own: what it inherits was right for another one."""
    at = step if _is_own(definition, step) and not _is_own(definition, taker) else taker
    other = taker if at is step else step
    apart = _is_own(definition, at) != _is_own(definition, other) or _file(at) != _file(other)
    made, taken = show_both(step.returns, taker.hint(name))
    taking, making = (
        f"{each.attribute!r} ({each.where})" if apart and each is other else f"{each.attribute!r}"
        for each in (taker, step)
    )
    text = f"{taking} takes {name!r} as {taken}, but {making} returns {made}{_why(name, taken, wrong, 'never return')}"
    if strip(taker.hint(name)) is Unknown:
        text = f"{taking} takes {name!r} as Unknown, but {making} returns {made}. Write `{name}: {made} | Unknown`."
    if step.returns is MISSING:
        text = (
            f"{taking} takes {name!r} as {taken}, but {making} has no return annotation: what it returns is stored as plain "
            "JSON, and comes back as such. Annotate what it returns."
        )
    return Problem("AF107", text, at.where, at.attribute)


def _is_own(definition: Definition, declared: Declared[Any]) -> bool:
    return declared.attribute in vars(definition.cls)


def _file(declared: Declared[Any]) -> str:
    return declared.where.rpartition(":")[0]


def _why(name: str, taken: str, wrong: Misfit, instead: str) -> str:
    """The end of the sentence: which part cannot be, and what to do."""
    place = " of ".join(wrong.path) or "it"
    if wrong.lacks is not None:
        return f": {place} {wrong.lacks}. Annotate both alike."
    if wrong.whole and not wrong.path:
        return ". Annotate both alike."
    found, wanted = show_both(wrong.made, wrong.taken)
    why = f": {place} {'is' if wrong.whole else 'may be'} {found}, which cannot be {wanted}."
    if wrong.path:
        return f"{why} Annotate both alike."
    return f"{why} Write `{name}: {taken} | {found}`, or {instead} {found}."


def _fields_fit(definition: Definition) -> Iterator[Problem]:
    """What a plain function takes from the saga's fields."""
    for declared in definition.functions:
        for parameter in declared.parameters if declared.is_plain else ():
            name = parameter.name
            if name not in definition.cls.model_fields:
                continue
            produced, consumed = field_type(definition.cls, name), declared.hint(name)
            wrong = misfit(produced, _taken(declared, parameter))
            if wrong is not None:
                made, taken = show_both(produced, consumed)
                why = _why(name, taken, wrong, "never let the field be")
                text = f"{declared.attribute!r} takes {name!r} as {taken}, but the field is {made}{why}"
                yield Problem("AF107", text, declared.where, declared.attribute)


def _unknown_is_accepted(definition: Definition) -> Iterator[Problem]:
    for undo in definition.compensations:
        index = definition.step_index(undo.mark.step)
        if index is None or undo.mark.if_unknown == "fail" or definition.steps[index].mark.readonly:
            continue
        step = definition.steps[index]
        for parameter in undo.parameters:
            annotation = undo.hint(parameter.name)
            if definition.step_index(parameter.name) != index or accepts_unknown(annotation):
                continue
            yield Problem(
                "AF116",
                f"{undo.attribute!r} demands the output of {step.attribute!r}, but after a timeout or a crash nobody has "
                f"it. Write `{parameter.name}: {show(annotation)} | Unknown` and undo by ctx.forward_key, or accept "
                'that a person must step in with if_unknown="fail".',
                undo.where,
                undo.attribute,
            )


def _compensations_are_awaited(definition: Definition) -> Iterator[Problem]:
    for undo in definition.compensations:
        returned = undo.hint("return")
        kind = get_origin(strip(returned)) or strip(returned)
        # What is wrapped may well be awaited by its wrapper.
        is_its_own = not hasattr(undo.value, "__wrapped__")
        if is_its_own and isinstance(kind, type) and issubclass(kind, Awaitable):
            yield Problem(
                "AF113",
                f"{undo.attribute!r} returns {show(returned)}, which nobody awaits, so nothing would be undone. Make it an "
                "`async def`, and await it there.",
                undo.where,
                undo.attribute,
            )


_TYPES: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    _parameters_can_be_filled,
    _types_fit,
    _fields_fit,
    _unknown_is_accepted,
    _compensations_are_awaited,
)
