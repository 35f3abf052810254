"""From a definition to the `SagaGraph` that runs: the rules are applied here, and what fills each parameter is decided."""

from __future__ import annotations

import functools
from typing import Any

from allframe.errors import DefinitionError
from allframe.payload import Payload
from allframe.saga.advice import advice_of
from allframe.saga.annotations import MISSING, injected, is_context
from allframe.saga.definition import Declared, Definition, seconds
from allframe.saga.fitting import check_types
from allframe.saga.graph import Compensation, Node, Parameter, Plan, SagaGraph, Source, Step
from allframe.saga.marks import DEFAULT_TIMEOUT
from allframe.saga.resolving import unresolved_names
from allframe.saga.rules import check_structure
from allframe.saga.storable import check_storage

__all__ = ["check", "compile_graph"]


def check(definition: Definition) -> bool:
    """Apply the rules that can be applied now; returns whether all of them could be.

    Raises:
        DefinitionError: with every problem that was found.
    """
    problems = check_structure(definition)
    resolved = not unresolved_names(definition)
    if resolved:
        problems += [*check_types(definition), *check_storage(definition)]
    if problems:
        raise DefinitionError(definition.title, problems)
    return resolved


def compile_graph(definition: Definition, *, is_checked: bool = False) -> SagaGraph:
    """The graph of a definition. ``is_checked``: `check` has just said that all rules could be applied.

    Raises:
        DefinitionError: if annotations cannot be resolved, or the types break a rule.
    """
    problems = [] if is_checked else unresolved_names(definition)
    if not is_checked and not problems:
        problems = [*check_types(definition), *check_storage(definition)]
    if problems:
        raise DefinitionError(definition.title, problems)
    pivot, options = definition.pivot, definition.options
    nodes, steps = [], []
    names = definition.around.names()
    for i, declared in enumerate(definition.steps):
        mark = declared.mark
        undo = definition.compensation_of(declared.attribute)
        parameters = _parameters(definition, declared)
        compensation = undo and Compensation(
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
        nodes.append(
            Node(
                name=declared.attribute if mark.name is None else mark.name,
                after=definition.order.after[i],
                readonly=mark.readonly,
                pivot=i == pivot,
                repeatable=mark.repeatable,
                idempotent=mark.idempotent,
                compensated=undo is not None,
                needs_output=undo is not None and undo.mark.if_unknown == "fail",
                attempts=mark.retry.attempts if mark.retry else 1,
                compensation_attempts=undo.mark.retry.attempts if undo else 1,
                takes=tuple(p.step for p in parameters if p.source is Source.OUTPUT),
            )
        )
        steps.append(
            Step(
                name=nodes[-1].name,
                attribute=declared.attribute,
                function=declared.value,
                parameters=parameters,
                output=Payload(declared.output, names),
                timeout=None if mark.timeout is DEFAULT_TIMEOUT and not declared.is_async else seconds(mark.timeout),
                retry=mark.retry,
                compensation=compensation or None,
                unknown_on=(*mark.unknown_on, *options.unknown_on),
                known_on=(*mark.known_on, *options.known_on),
                is_method=not declared.is_plain,
                is_async=declared.is_async,
                hints=declared.hints or {},
            )
        )
    plan, timeout = Plan(tuple(nodes)), seconds(options.timeout)
    return SagaGraph(
        definition.name,
        definition.version,
        plan,
        tuple(steps),
        Payload(definition.cls),
        timeout,
        typecheck=options.typecheck,
        advise=functools.partial(advice_of, definition),
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
