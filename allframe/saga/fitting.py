"""AF105, AF106, AF107, AF116: what fills each parameter, and whether its type can be right.

What cannot be decided is accepted: a false alarm would keep a good saga from being imported.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, Never, NoReturn, TypeVar, Union, get_args, get_origin

from allframe.errors import Problem
from allframe.inject import injected_type
from allframe.saga.annotations import MISSING, accepts_unknown, injected, is_context, members, strip
from allframe.saga.context import Unknown
from allframe.saga.definition import Declared, Definition
from allframe.saga.marks import CompensationMark

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
                yield Problem("AF105", _hidden_inject(declared, parameter), declared.where)
            elif index is not None and not available >> index & 1 and not filled and not definition.order.cycle:
                yield Problem("AF106", _too_early(definition, declared, index), declared.where)
            elif index is None and (in_vain or not filled) and parameter.kind not in _REPORTED_ELSEWHERE:
                yield Problem("AF105", _unfillable(definition, declared, parameter, available), declared.where)


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


def _unfillable(definition: Definition, declared: Declared[Any], parameter: inspect.Parameter, available: int) -> str:
    near = difflib.get_close_matches(parameter.name, definition.taken_by_name(available), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    annotation = declared.hint(parameter.name)
    if declared.is_plain and parameter is declared.parameters[0] and annotation is MISSING:
        hint = " If this is a method, call its first parameter self."
    elif parameter.name in definition.fields:
        hint = f" It is a field of the {definition.kind}: read self.{parameter.name}."
    elif injected_type(annotation) is not None:
        hint = " Say what to inject, such as Inject[Bank]."
    elif not near and isinstance(strip(annotation), type) and annotation is not MISSING:
        hint = f" To be given an object, annotate it Inject[{strip(annotation).__name__}]."
    filled = definition.what_fills(declared, available)
    return f"Nothing fills the parameter {parameter.name!r} of {declared.attribute!r}. {filled}{hint}"


def _types_fit(definition: Definition) -> Iterator[Problem]:
    for declared, available in _with_available(definition):
        for parameter in declared.parameters:
            index = definition.step_index(parameter.name)
            if index is None or not available >> index & 1:
                continue
            step = definition.steps[index]
            consumed = declared.hint(parameter.name)
            if can_be(step.returns, consumed):
                continue
            yield Problem(
                "AF107",
                f"{declared.attribute!r} takes {parameter.name!r} as {show(consumed)}, but {step.attribute!r} returns "
                f"{show(step.returns)}. Annotate both alike.",
                declared.where,
            )


def _fields_fit(definition: Definition) -> Iterator[Problem]:
    """What a plain function takes from the saga's fields."""
    for declared in definition.functions:
        for parameter in declared.parameters if declared.is_plain else ():
            field = definition.cls.model_fields.get(parameter.name)
            consumed = declared.hint(parameter.name)
            if field is not None and not can_be(field.annotation, consumed):
                yield Problem(
                    "AF107",
                    f"{declared.attribute!r} takes {parameter.name!r} as {show(consumed)}, but the field is "
                    f"{show(field.annotation)}. Annotate both alike.",
                    declared.where,
                )


def can_be(produced: Any, consumed: Any) -> bool:
    """Whether a value of ``produced`` can be one of ``consumed``; what cannot be decided, can."""
    consumers = [member for member in members(consumed) if member is not Unknown]
    return any(_may_be(made, taken) for made in members(produced) for taken in consumers)


def _may_be(made: Any, taken: Any) -> bool:
    if made in (NoReturn, Never) or any(
        side in (Any, object, MISSING) or isinstance(side, TypeVar) for side in (made, taken)
    ):
        return True
    if made == taken:
        return True
    if not all(isinstance(side, type) and get_origin(side) is None for side in (made, taken)):
        return True
    if (made, taken) in ((int, float), (bool, float), (int, complex), (float, complex)):
        return True
    try:
        return issubclass(made, taken) or issubclass(taken, made)
    except TypeError:  # a Protocol that cannot be asked
        return True


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
            )


def show(annotation: Any) -> str:
    if annotation is MISSING:
        return "something without an annotation"
    if annotation in (None, type(None)):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


_TYPES: tuple[Callable[[Definition], Iterator[Problem]], ...] = (
    _parameters_can_be_filled,
    _types_fit,
    _fields_fit,
    _unknown_is_accepted,
)
