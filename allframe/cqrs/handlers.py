"""Handlers: what may be one, and what fills its parameters.

A function, or an object with a method ``handle`` or ``__call__``. Its first parameter is the message; others are annotated
`Inject[T]` or `CommandContext`, or have a default and are left alone. All of that is looked at when it is registered.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from allframe.cqrs.context import CommandContext
from allframe.cqrs.message import Message, is_own_class
from allframe.errors import DefinitionError, Problem
from allframe.inject import injected_type, type_name
from allframe.masking import shown
from allframe.source import place_of_function

__all__ = ["MISSING", "Handler", "Handlers", "describe"]

H = TypeVar("H", bound="Handler")

#: What a parameter or a return without an annotation has.
MISSING: Any = inspect.Parameter.empty

_FILLED = "A handler's parameters are the {kind}, then any of: Inject[...]{context}, or with a default."


@dataclass(frozen=True)
class Handler:
    """One handler, as it was found to be."""

    message: type[Message]
    function: Callable[..., Any]
    #: ``path:line (name)``, for errors.
    where: str
    is_async: bool
    #: What it injects: parameter -> type.
    wanted: Mapping[str, Any]
    #: The parameter that takes a `CommandContext`, if one does.
    context: str | None
    #: What it says it returns; `MISSING`, if it does not.
    returns: Any
    #: How often it is called at most, where others append at the same time.
    attempts: int = field(default=1)

    def places(self) -> dict[Any, str]:
        """The types that it injects, and the place that asks for each."""
        found: dict[Any, str] = {}
        for name, wanted in self.wanted.items():
            found.setdefault(wanted, f"parameter {name!r}")
        return found


class Handlers(Generic[H]):
    """One handler for each class of messages. Looking one up waits for nothing: registering is possible meanwhile."""

    def __init__(self) -> None:
        self._handlers: dict[type[Message], H] = {}

    def __len__(self) -> int:
        return len(self._handlers)

    def add(self, handler: H) -> None:
        """
        Raises:
            DefinitionError: (AF120) if the message has one.
        """
        known = self._handlers.setdefault(handler.message, handler)
        if known is not handler:
            _refuse(
                handler.message.__qualname__,
                [
                    f"It has two handlers: {known.where} and {handler.where}. One command or query has one handler: "
                    "register only one of them."
                ],
                handler.where,
            )

    def find(self, message: type[Message]) -> H | None:
        """The handler of just this class, or None."""
        return self._handlers.get(message)

    def names(self) -> str:
        """What it has handlers for, for an error's text."""
        return ", ".join(sorted(repr(message.message_name) for message in self._handlers)) or "none"


def describe(
    handler: Any,
    base: type[Message],
    names: Mapping[str, Any],
    *,
    message: type[Message] | None = None,
    attempts: int = 1,
) -> Handler:
    """What a handler of messages below ``base`` is.

    Args:
        handler: A function, or an object with a method ``handle`` or ``__call__``.
        names: Local names, in which annotations may have to be looked up.
        message: What it is registered for; what its first parameter is annotated with, if None.

    Raises:
        DefinitionError: (AF120) with everything that is wrong with it.
    """
    if message is not None and not is_own_class(message, base):
        text = f"It is registered for {shown(message)}. Expected a class derived from {base.__name__}."
        _refuse("The handler", [text], type(handler).__module__)
    function = _function(handler, base)
    where = place_of_function(_bare(function))
    title = getattr(_bare(function), "__qualname__", type(handler).__qualname__)
    hints = _hints(function, names, title, where)
    parameters = list(inspect.signature(function).parameters.values())
    problems = [*_first_problems(parameters, hints, base, message), *_other_problems(parameters[1:], hints, base)]
    problems += _attempts_problems(attempts)
    _refuse(f"The handler {title}", problems, where)
    wanted = {one.name: kind for one in parameters[1:] if (kind := injected_type(hints.get(one.name))) is not None}
    contexts = [one.name for one in parameters[1:] if _is_context(hints.get(one.name))]
    return Handler(
        message=message or hints[parameters[0].name],
        function=function,
        where=where,
        is_async=inspect.iscoroutinefunction(_bare(function)),
        wanted=wanted,
        context=contexts[0] if contexts else None,
        returns=hints.get("return", MISSING),
        attempts=attempts,
    )


def _function(handler: Any, base: type[Message]) -> Callable[..., Any]:
    """What is called."""
    if isinstance(handler, type):
        problem = "It is a class. Hand in an object of it, so that it is known how it is made."
    elif inspect.isroutine(handler) or isinstance(handler, functools.partial):
        return handler
    elif (method := _method(handler)) is not None:
        return method
    else:
        problem = (
            f"It is no handler of {base.__allframe_kind__} classes. Expected a function, or an object with a method "
            "handle() or __call__()."
        )
    title = handler.__qualname__ if isinstance(handler, type) else f"object of {type(handler).__qualname__}"
    _refuse(f"The handler {title}", [problem], type(handler).__module__)
    raise AssertionError("unreachable")


def _method(handler: Any) -> Callable[..., Any] | None:
    for name in ("handle", "__call__"):
        method: Callable[..., Any] | None = getattr(handler, name, None)
        if callable(method):
            return method
    return None


def _bare(function: Any) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    bare: Callable[..., Any] = inspect.unwrap(function)
    return bare


def _attempts_problems(attempts: object) -> list[str]:
    if isinstance(attempts, int) and not isinstance(attempts, bool) and attempts >= 1:
        return []
    return [f"attempts is {attempts!r}. Expected a whole number from 1."]


def _hints(function: Callable[..., Any], names: Mapping[str, Any], title: str, where: str) -> dict[str, Any]:
    try:
        return get_type_hints(_bare(function), localns=dict(names), include_extras=True)
    except Exception as error:
        text = f"Its annotations cannot be resolved ({type(error).__qualname__}: {error}). Import or define what they name."
        _refuse(f"The handler {title}", [text], where)
        raise AssertionError("unreachable") from error


def _first_problems(
    parameters: list[inspect.Parameter], hints: Mapping[str, Any], base: type[Message], message: type[Message] | None
) -> Iterator[str]:
    kind = base.__allframe_kind__
    if not parameters or parameters[0].kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD):
        yield f"It takes no {kind}. Its first parameter must be the {kind}, annotated with its class."
        return
    found = _strip(hints.get(parameters[0].name, MISSING))
    name = parameters[0].name
    if message is not None and (found is MISSING or (isinstance(found, type) and issubclass(message, found))):
        return
    if found is MISSING:
        yield f"Its first parameter {name!r} has no annotation, which says the {kind} that it handles."
    elif not (isinstance(found, type) and issubclass(found, base)) or found is base:
        yield f"Its first parameter {name!r} is annotated {type_name(found)}. Expected a class derived from {base.__name__}."
    elif message is not None:
        yield f"It is registered for {message.__qualname__}, and its parameter {name!r} takes a {found.__qualname__}."


def _other_problems(
    parameters: list[inspect.Parameter], hints: Mapping[str, Any], base: type[Message]
) -> Iterator[str]:
    kind = base.__allframe_kind__
    has_context = kind == "command"
    contexts = 0
    for one in parameters:
        found = hints.get(one.name, MISSING)
        bare = _strip(found)
        if isinstance(bare, type) and issubclass(bare, Message):
            yield f"It takes two messages: the parameter {one.name!r} is a {bare.__qualname__}. A handler handles one."
        elif _is_context(found) and has_context:
            contexts += 1
            if contexts == 2:
                yield f"It takes its context twice: {one.name!r} is one too many."
        elif injected_type(found) is not None and not isinstance(injected_type(found), TypeVar):
            if one.kind is inspect.Parameter.POSITIONAL_ONLY:
                yield f"The parameter {one.name!r} is positional only, and is filled by its name. Take the '/' away."
        elif one.default is MISSING and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            rule = _FILLED.format(kind=kind, context=", CommandContext" if has_context else "")
            yield f"Nothing fills the parameter {one.name!r}. {rule}"


def _is_context(annotation: Any) -> bool:
    return CommandContext in (_strip(annotation), *map(_strip, get_args(_strip(annotation))))


def _strip(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _refuse(what: str, problems: list[str], where: str) -> None:
    if problems:
        raise DefinitionError(what, [Problem("AF120", text, where) for text in problems])
