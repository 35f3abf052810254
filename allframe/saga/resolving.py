"""What the text of annotations means: the names that a class and its functions can see.

With ``from __future__ import annotations`` every annotation is text, and a name in it may be defined further down, in
the function around the class, or for type checkers only. A function is resolved by what can be seen where it is written,
inner names before outer ones::

    its own type parameters, and what it uses of the functions around
    the bodies of its class and of the bases            without steps and fields: they are no types
    the functions around the class
    its module                                          typing.get_type_hints sees to that

What is not there yet is tried again when the class is used. What is not there then is AF105.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic._internal._generics import replace_types
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from allframe.errors import Problem
from allframe.saga.definition import Declared, Definition, arguments_of
from allframe.saga.marks import Misplaced, function_of
from allframe.saga.undefined import Undefined, words_of

__all__ = ["resolve_bases", "shadowed_types", "unresolved_names"]


def unresolved_names(definition: Definition) -> list[Problem]:
    """Resolve what is still text in annotations; returns what could not be."""
    problems: list[Problem] = []
    for declared in definition.functions:
        if declared.hints is None and declared.signature is not None:
            problems += _resolve(definition, declared)
    problems += _resolve_fields(definition)
    for step in definition.steps:
        if step.hints and (error := _undefined_within(step.output, definition)):
            names = definition.around.names()
            undefined = Undefined(error, names, step.value.__globals__, step.where)
            problems.append(undefined.problem(f"What {step.attribute!r} returns", step.where, step.attribute))
    return problems


# --- functions -------------------------------------------------------------------------------------------------------


def _resolve(definition: Definition, declared: Declared[Any]) -> list[Problem]:
    """Resolve the annotations of one function; returns what could not be."""
    names: Mapping[str, Any] = {}
    for visible in (_names_where_written, _every_name):
        names = visible(definition, declared)
        with contextlib.suppress(Exception):  # an annotation is any expression
            hints = get_type_hints(declared.value, localns=dict(names), include_extras=True)
            _evaluate(hints.values())
            arguments = arguments_of(definition.cls)
            declared.hints = {name: replace_types(hint, arguments) for name, hint in hints.items()}
            return []
    what = f"An annotation of {declared.attribute!r}"
    return [
        Undefined(error, names, declared.value.__globals__, declared.where).problem(
            what, declared.where, declared.attribute
        )
        for error in _errors_in(declared.value, names)
    ]


def _names_where_written(definition: Definition, declared: Declared[Any]) -> dict[str, Any]:
    """What can be seen where the function is written, which may be in another class, or in none."""
    cls, function = definition.cls, declared.value
    own = _closure(function) | {each.__name__: each for each in getattr(function, "__type_params__", ())}
    owner = next((base for base in cls.__mro__ if function_of(vars(base).get(declared.attribute)) is function), cls)
    written_in = vars(owner).get("__allframe_definition__")
    if written_in is not None and function.__qualname__.rpartition(".")[0] == _written_name(owner):
        return {**written_in.around.names(), **_names_of_bodies(written_in), **own}
    around = cls.__qualname__.rpartition("<locals>.")[0]
    is_beside = around and function.__module__ == cls.__module__ and function.__qualname__.startswith(around)
    return {**(definition.around.names() if is_beside else {}), **own}


def _every_name(definition: Definition, declared: Declared[Any]) -> dict[str, Any]:
    """Whatever might be meant: a decorator may have given the function another name and place."""
    seen = _names_where_written(definition, declared)
    return {**definition.around.names(), **_names_of_bodies(definition), **seen}


def _written_name(cls: type) -> str:
    """The qualified name without the arguments of ``Transfer[int]``."""
    return cls.__qualname__.partition("[")[0]


def _closure(function: Any) -> dict[str, Any]:
    """The names of functions around that it uses itself."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    return found


def _names_of_bodies(definition: Definition) -> dict[str, Any]:
    """The names that stand in the class and its bases, such as a nested class."""
    cls = definition.cls
    bases = cls.__mro__[::-1]
    found = {each.__name__: each for base in bases for each in getattr(base, "__type_params__", ())}
    for base in bases:
        found |= {
            name: value
            for name, value in vars(base).items()
            if name[:2] != "__" and name not in definition.fields and not isinstance(value, _METHODS)
        }
    return {**found, cls.__name__: cls}


_METHODS = (types.FunctionType, property, functools.cached_property, classmethod, staticmethod, Misplaced)


def _evaluate(hints: Any, seen: tuple[Any, ...] = ()) -> None:
    """Have evaluated what stands behind names made with ``type``: Python does so when it is first asked for.

    Raises:
        NameError: for a name in it that is not there.
    """
    for hint in hints:
        if any(each is hint for each in seen):
            continue  # such a type may hold itself
        if hasattr(hint, "__value__"):
            _evaluate((hint.__value__,), (*seen, hint))
        if arguments := get_args(hint):
            _evaluate(arguments, seen)


def _errors_in(function: Any, names: Mapping[str, Any]) -> list[Exception]:
    """Why its annotations cannot be resolved, each reason once."""
    found: dict[str, Exception] = {}
    for name, annotation in function.__annotations__.items():
        alone = types.SimpleNamespace(__annotations__={name: annotation}, __globals__=function.__globals__)
        try:
            _evaluate(get_type_hints(alone, localns=dict(names), include_extras=True).values())
        except Exception as error:  # noqa: BLE001 - as above
            found.setdefault(str(error), error)
    return list(found.values())


# --- fields and outputs ----------------------------------------------------------------------------------------------


def _resolve_fields(definition: Definition) -> list[Problem]:
    """Have pydantic resolve the types of the fields; returns what it could not."""
    cls = definition.cls
    if cls.__pydantic_complete__:
        return []
    names = {each.__name__: each for each in getattr(cls, "__type_params__", ())} | definition.around.names()
    error = _undefined(cls.model_rebuild, names)
    if error is None:
        return []
    found = [
        Undefined(NameError(f"name {word!r} is not defined", name=word), seen, module, place).problem(
            f"The type of the field {field!r}", definition.where, field
        )
        for field, word, seen, module, place in _undefined_words(definition, names)
    ]
    module = vars(sys.modules[cls.__module__])
    return found or [Undefined(error, names, module, definition.where).problem("The type of a field", definition.where)]


def resolve_bases(cls: type) -> None:
    """Have the fields of the bases resolved where they are written: pydantic would take the names of ``cls`` for it."""
    for base in cls.__mro__[1:]:
        definition: Definition | None = vars(base).get("__allframe_definition__")
        if definition is not None and not definition.cls.__pydantic_complete__:
            _undefined(definition.cls.model_rebuild, definition.around.names())


def _undefined_words(
    definition: Definition, names: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any], str]]:
    """Fields with names in their types that nothing has; with what can be seen there, and the place of their class."""
    seen = {**names, **_names_of_bodies(definition)}
    for base in definition.cls.__mro__:
        module = vars(sys.modules.get(base.__module__, types))
        place = getattr(vars(base).get("__allframe_definition__"), "where", definition.where)
        for field, annotation in vars(base).get("__annotations__", {}).items():
            for word in words_of(annotation) if field in definition.fields else ():
                if word not in seen and word not in module and word not in _BUILTINS:
                    yield field, word, seen, module, place


_BUILTINS = vars(builtins)


def _undefined(rebuild: Callable[..., Any], names: Mapping[str, Any]) -> Exception | None:
    """What pydantic lacks to build a type with forward references; whatever else is wrong with it is for AF110."""
    try:
        rebuild(_types_namespace=names)
    except PydanticUndefinedAnnotation as error:
        return error
    except PydanticUserError:
        pass
    return None


def _undefined_within(annotation: Any, definition: Definition) -> Exception | None:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except Exception:  # noqa: BLE001 - pydantic asks the type, and AF110 says what came of it
        return None
    return None if adapter.pydantic_complete else _undefined(adapter.rebuild, definition.around.names())


def shadowed_types(cls: type, where: str) -> list[Problem]:
    """Fields of this body whose type is named like something else in it: pydantic would take that for the type."""
    body = vars(cls)
    annotations: Mapping[str, Any] = body.get("__annotations__", {})
    return [
        Problem(
            "AF105",
            f"The type of the field {field!r} is written as {annotation!r}, and in this class {word!r} is "
            f"{'the default of a field' if word in annotations else 'a method'}, which hides what is called so outside. "
            "Rename it, or import the type under another name.",
            where,
            field,
        )
        for field, annotation in annotations.items()
        for word in words_of(annotation)
        if word in body and (word in annotations or isinstance(body[word], types.FunctionType))
    ]
