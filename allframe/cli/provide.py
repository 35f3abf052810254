"""What the sagas inject, on the command line: from ``--provide module:thing`` or from the target module's ``provide``.

It is a mapping from types to objects, or an async context manager that yields one (its resources are open for as long
as sagas run), or a callable without arguments that returns either.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from allframe import Saga
from allframe.cli.exits import Exit, Stop
from allframe.cli.target import load_module, split
from allframe.errors import AllframeError
from allframe.inject import type_name

__all__ = ["check_provided", "find_provider", "find_providers", "provided"]

_EXPECTED = (
    "Expected a mapping from types to objects, an async context manager that yields one, or a callable without "
    "arguments that returns either."
)


def find_provider(option: str | None, module: ModuleType) -> tuple[object, str]:
    """The object that provides, and what to call it in messages; an empty mapping if there is none.

    Raises:
        Stop: ``option`` names something that is not there.
    """
    if option is None:
        return vars(module).get("provide", {}), f"{module.__name__}:provide"
    place, name = split(option)
    if not name:
        raise Stop(f"--provide {option} names no object. Expected module:thing or path/to/file.py:thing.")
    found = load_module(place)
    if name not in vars(found):
        near = get_close_matches(name, vars(found), n=1)
        raise Stop(f"--provide: {place} has no {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
    return vars(found)[name], option


@asynccontextmanager
async def provided(provider: object, what: str) -> AsyncIterator[Mapping[type, object]]:
    """The mapping that ``provider`` gives, for as long as the block runs.

    Raises:
        Stop: it gives none, or fails to (usage).
    """
    value = _call(provider, what)
    if isinstance(value, Mapping):
        yield _checked(value, what)
        return
    if not isinstance(value, AbstractAsyncContextManager):
        if inspect.iscoroutine(value):
            value.close()
        raise Stop(f"{what} gives {_describe(value)}. {_EXPECTED}")
    try:
        mapping = await value.__aenter__()
    except (Stop, AllframeError):
        raise
    except Exception as error:
        raise Stop(f"{what} cannot provide: {type(error).__name__}: {error}") from error
    try:
        yield _checked(mapping, what)
    except BaseException as error:
        # The manager sees how the block ended, and cannot swallow it.
        await value.__aexit__(type(error), error, error.__traceback__)
        raise
    await _leave(value, what)


def find_providers(option: str | None, modules: Iterable[ModuleType]) -> tuple[Callable[[], Any], str]:
    """What opens everything that ``modules`` provide together, and what to call it in messages.

    Raises:
        Stop: ``option`` names something that is not there.
    """
    found = [find_provider(option, module) for module in modules]
    # With the option, or where modules import it from one place, it is one object, and opened once.
    every = list({id(provider): (provider, what) for provider, what in found if provider != {}}.values())
    if len(every) <= 1:
        provider, what = every[0] if every else found[0]
        return (lambda: provided(provider, what)), what
    return (lambda: _merged(every)), ", ".join(what for _, what in every)


@asynccontextmanager
async def _merged(providers: Iterable[tuple[object, str]]) -> AsyncIterator[Mapping[type, object]]:
    merged: dict[type, object] = {}
    origin: dict[type, str] = {}
    async with AsyncExitStack() as stack:
        for provider, what in providers:
            mapping = await stack.enter_async_context(provided(provider, what))
            for wanted, value in mapping.items():
                if wanted in merged and merged[wanted] is not value:
                    raise Stop(
                        f"{origin[wanted]} and {what} both provide {type_name(wanted)}, and not the same object. Name one "
                        "mapping for all modules with --provide module:thing."
                    )
                merged[wanted], origin[wanted] = value, what
        yield merged


def check_provided(sagas: Iterable[type[Saga]], found: Any, what: str) -> None:
    """
    Raises:
        Stop: unless everything that the sagas inject is there.
    """
    for saga in sagas:
        missing = {wanted: place for wanted, place in saga.graph.wanted().items() if wanted not in found}
        if missing:
            lines = "\n".join(f"  {type_name(wanted)}, for {place}" for wanted, place in missing.items())
            has = ", ".join(sorted(type_name(wanted) for wanted in found)) or "nothing"
            raise Stop(
                f"{saga.__name__} injects what nothing provides:\n{lines}\n{what} has: {has}. Name a mapping with "
                "--provide module:thing, or define 'provide' beside the saga. Nothing was written."
            )


async def _leave(manager: AbstractAsyncContextManager[object], what: str) -> None:
    try:
        await manager.__aexit__(None, None, None)
    except Exception as error:
        raise Stop(f"{what} failed when it was closed: {type(error).__name__}: {error}", Exit.INCOMPLETE) from error


def _call(provider: object, what: str) -> object:
    if isinstance(provider, (Mapping, AbstractAsyncContextManager)) or not callable(provider):
        return provider
    try:
        inspect.signature(provider).bind()
    except TypeError as error:
        raise Stop(f"{what} cannot be called without arguments: {error}. {_EXPECTED}") from error
    except ValueError:
        pass  # it has no signature that Python could tell
    try:
        return provider()
    except Exception as error:
        raise Stop(f"{what} cannot provide: {type(error).__name__}: {error}") from error


def _checked(value: object, what: str) -> Mapping[type, object]:
    if not isinstance(value, Mapping):
        raise Stop(f"{what} gives {_describe(value)}. {_EXPECTED}")
    wrong = [key for key in value if key is None or isinstance(key, str)]
    if wrong:
        raise Stop(f"{what} has the key {wrong[0]!r}, which is no type. {_EXPECTED}")
    return value


def _describe(value: object) -> str:
    return "a coroutine" if inspect.iscoroutine(value) else f"an object of {type(value).__qualname__}"
