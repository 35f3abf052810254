"""From a definition to the `SagaGraph` that runs: the rules are applied here, and what fills each parameter is decided."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from allframe.errors import DefinitionError, Problem
from allframe.payload import Payload
from allframe.saga.advice import advice_of
from allframe.saga.annotations import MISSING, injected, is_context
from allframe.saga.definition import Declared, Definition, seconds
from allframe.saga.fitting import check_types
from allframe.saga.graph import Compensation, Node, Parameter, Plan, SagaGraph, Source, Step
from allframe.saga.marks import DEFAULT_TIMEOUT, CompensationMark, StepMark
from allframe.saga.resolving import unresolved_names
from allframe.saga.rules import check_structure
from allframe.saga.storable import check_storage

__all__ = ["check", "compile_graph"]


def check(definition: Definition, more: Sequence[Problem] = ()) -> bool:
    """Apply the rules that can be applied now; returns whether all of them could be. ``more``: what was found already.

    Raises:
        DefinitionError: with every problem that was found.
    """
    unresolved = unresolved_names(definition)
    found = [*more, *check_structure(definition), *([] if unresolved else _problems_of_types(definition))]
    if found:
        raise DefinitionError(definition.title, found)
    return not unresolved


def compile_graph(definition: Definition, *, is_checked: bool = False) -> SagaGraph:
    """The graph of a definition. ``is_checked``: `check` has just said that all rules could be applied.

    Raises:
        DefinitionError: if annotations cannot be resolved, or the types break a rule.
    """
    if not is_checked and (found := unresolved_names(definition) or _problems_of_types(definition)):
        raise DefinitionError(definition.title, found)
    names = definition.around.names()
    steps = tuple(_step(definition, declared, names) for declared in definition.steps)
    options, pivot = definition.options, definition.pivot
    return SagaGraph(
        definition.name,
        definition.version,
        Plan(tuple(_node(definition, i, step, is_pivot=i == pivot) for i, step in enumerate(steps))),
        steps,
        Payload(definition.cls),
        seconds(options.timeout),
        typecheck=options.typecheck,
        advise=functools.partial(advice_of, definition),
    )


def _problems_of_types(definition: Definition) -> list[Problem]:
    """What can be said once every annotation is resolved."""
    return [*check_types(definition), *check_storage(definition)]


def _node(definition: Definition, index: int, step: Step, *, is_pivot: bool) -> Node:
    mark, undo = definition.steps[index].mark, step.compensation
    return Node(
        name=step.name,
        after=definition.order.after[index],
        readonly=mark.readonly,
        pivot=is_pivot,
        repeatable=mark.repeatable,
        idempotent=mark.idempotent,
        compensated=undo is not None,
        needs_output=undo is not None and undo.if_unknown == "fail",
        attempts=mark.retry.attempts if mark.retry else 1,
        compensation_attempts=undo.retry.attempts if undo else 1,
        takes=tuple(parameter.step for parameter in step.parameters if parameter.source is Source.OUTPUT),
    )


def _step(definition: Definition, declared: Declared[StepMark], names: Mapping[str, Any]) -> Step:
    mark, options = declared.mark, definition.options
    undo = definition.compensation_of(declared.attribute)
    return Step(
        name=declared.attribute if mark.name is None else mark.name,
        attribute=declared.attribute,
        function=declared.value,
        parameters=_parameters(definition, declared),
        output=Payload(declared.output, names),
        timeout=None if mark.timeout is DEFAULT_TIMEOUT and not declared.is_async else seconds(mark.timeout),
        retry=mark.retry,
        compensation=None if undo is None else _compensation(definition, undo),
        unknown_on=(*mark.unknown_on, *options.unknown_on),
        known_on=(*mark.known_on, *options.known_on),
        is_method=not declared.is_plain,
        is_async=declared.is_async,
        hints=declared.hints or {},
    )


def _compensation(definition: Definition, undo: Declared[CompensationMark]) -> Compensation:
    return Compensation(
        attribute=undo.attribute,
        function=undo.value,
        parameters=_parameters(definition, undo),
        timeout=seconds(undo.mark.timeout),
        retry=undo.mark.retry,
        if_unknown=undo.mark.if_unknown,
        is_method=not undo.is_plain,
        is_async=undo.is_async,
        hints=undo.hints or {},
    )


def _parameters(definition: Definition, declared: Declared[Any]) -> tuple[Parameter, ...]:
    """What fills each parameter."""
    found = []
    available = definition.available_to(declared) or 0
    for parameter in declared.parameters:
        index = definition.step_index(parameter.name)
        annotation = declared.hint(parameter.name)
        wanted = injected(annotation)
        if index is not None and available >> index & 1:
            found.append(Parameter(parameter.name, Source.OUTPUT, step=index))
        elif declared.is_plain and parameter.name in definition.fields:
            found.append(Parameter(parameter.name, Source.FIELD))
        elif is_context(annotation):
            found.append(Parameter(parameter.name, Source.CONTEXT))
        elif wanted is not None:
            optional = parameter.default is not MISSING
            found.append(Parameter(parameter.name, Source.INJECT, wanted=wanted, optional=optional))
    return tuple(found)
