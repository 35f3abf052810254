"""AF113, and AF105 of a default: what cannot be called as a step, its parameters filled by name."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from allframe.errors import Problem
from allframe.inject import injected_type, type_name
from allframe.saga.context import StepContext
from allframe.saga.definition import Declared, Definition
from allframe.saga.marks import Misplaced

__all__ = ["defaults_are_values", "steps_are_functions"]


def steps_are_functions(definition: Definition) -> Iterator[Problem]:
    """AF113: what is marked and is no function, or one that cannot be given its parameters by name."""
    for declared in definition.functions:
        for text in _misshapen(declared):
            yield Problem("AF113", f"{declared.attribute!r} {text}", declared.where, declared.attribute)


def defaults_are_values(definition: Definition) -> Iterator[Problem]:
    """AF105: a marker that was written as a default, ``bank=Inject[Bank]``, where it would be the value."""
    for declared in definition.functions:
        for parameter in declared.parameters:
            wanted = injected_type(parameter.default)
            if wanted is None and parameter.default is not StepContext:
                continue
            asked = "StepContext" if wanted is None else f"Inject[{type_name(wanted)}]"
            text = (
                f"The parameter {parameter.name!r} of {declared.attribute!r} has {asked} as its default, and would get that "
                f"itself. Make it the annotation: {parameter.name}: {asked}."
            )
            yield Problem("AF105", text, declared.where, declared.attribute)


def _misshapen(declared: Declared[Any]) -> Iterator[str]:
    value = declared.value
    thing = value.thing if isinstance(value, Misplaced) else value
    if isinstance(value, Misplaced) and value.text:
        yield value.text
    elif isinstance(thing, staticmethod | classmethod):
        yield f"is a {type(thing).__name__}. Make it an ordinary method, or mark a plain function and assign it here."
    elif isinstance(thing, functools.partial | types.MethodType):
        kind = "partial" if isinstance(thing, functools.partial) else "bound method"
        yield f"is a {kind}. Write a method that calls it."
    elif not isinstance(thing, types.FunctionType):
        yield f"is {_told(thing)}. Expected a method or a function."
    elif inspect.isasyncgenfunction(thing) or inspect.isgeneratorfunction(thing):
        yield "is a generator. A step gives one value: return it instead of yielding."
    elif not declared.is_async and inspect.iscoroutinefunction(inspect.unwrap(thing)):
        yield "is async, and the decorator below its mark is not: nobody would await it. Make its wrapper `async def`."
    else:
        yield from _misshapen_parameters(declared)


def _told(thing: Any) -> str:
    """What a value is; as it is written, where that says more than where it lies in memory."""
    if isinstance(thing, type):
        return "a class"
    kind, written = type(thing).__qualname__, repr(thing)
    return kind if " at 0x" in written or len(written) > 60 else f"{kind} {written}"


def _misshapen_parameters(declared: Declared[Any]) -> Iterator[str]:
    assert declared.signature is not None
    parameters = list(declared.signature.parameters.values())
    if not declared.is_plain and parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        yield "takes `self` after a star, where a method is not given it. Write it first: (self, ...)."
    for parameter in parameters if declared.is_plain else parameters[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            yield f"takes {stars}{parameter.name}, which nothing can fill. Name what it needs.{_of_a_wrapper(declared)}"
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            yield f"takes {parameter.name!r} by position only, and parameters are filled by name. Remove the `/`."


def _of_a_wrapper(declared: Declared[Any]) -> str:
    inside = declared.value.__code__.co_flags & inspect.CO_NESTED and declared.value.__name__ != declared.attribute
    return " If a decorator made it, put functools.wraps on its wrapper." if inside else ""
