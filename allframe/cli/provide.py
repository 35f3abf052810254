"""What the sagas inject, on the command line: from ``--provide module:thing`` or from the target module's ``provide``.

It is a mapping from types to objects, or a dishka container; or an async context manager that yields one of them (its
resources are open for as long as sagas run); or a callable without arguments, async or not, that returns any of these.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from allframe import Saga
from allframe.cli.exits import Exit, Stop
from allframe.cli.target import load_module, split
from allframe.errors import AllframeError
from allframe.inject import AsyncContainer, Container, Provider, type_name
from allframe.inject.container import is_container, is_sync_container
from allframe.saga.context import StepContext

__all__ = ["Provided", "check_provided", "find_provider", "find_providers", "provided"]

_EXPECTED = (
    "Expected a mapping from types to objects, a dishka AsyncContainer, an async context manager that yields one, or a "
    "callable without arguments that returns any of these."
)


@dataclass(frozen=True)
class Provided:
    """What an orchestrator is given for its sagas to inject."""

    objects: Mapping[Any, object]
    container: AsyncContainer | None = None

    def provider(self) -> Provider:
        """It, as an orchestrator looks things up."""
        made = None if self.container is None else Container(self.container, context=(StepContext,))
        return Provider(self.objects, made)


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
async def provided(provider: object, what: str) -> AsyncIterator[Provided]:
    """What ``provider`` gives, for as long as the block runs.

    A context manager closes what it yields. A container that comes without one is closed here: the command is all that
    uses it.

    Raises:
        Stop: it gives nothing that can be used, or fails to (usage).
    """
    value = await _call(provider, what)
    if isinstance(value, Mapping) or not isinstance(value, AbstractAsyncContextManager):
        yield _checked(value, what)
        return
    manager = value  # a container is one, too: it closes itself
    try:
        given = await manager.__aenter__()
    except (Stop, AllframeError):
        raise
    except Exception as error:
        raise Stop(f"{what} cannot provide: {type(error).__name__}: {error}") from error
    try:
        yield _checked(given, what)
    except BaseException as error:
        # The manager sees how the block ended, and cannot swallow it.
        await manager.__aexit__(type(error), error, error.__traceback__)
        raise
    await _leave(manager, what)


def find_providers(
    option: str | None, modules: Iterable[ModuleType]
) -> tuple[Callable[[], AbstractAsyncContextManager[Provided]], str]:
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
async def _merged(providers: Iterable[tuple[object, str]]) -> AsyncIterator[Provided]:
    merged: dict[Any, object] = {}
    origin: dict[Any, str] = {}
    container: tuple[AsyncContainer, str] | None = None
    async with AsyncExitStack() as stack:
        for provider, what in providers:
            found = await stack.enter_async_context(provided(provider, what))
            for wanted, value in found.objects.items():
                if wanted in merged and merged[wanted] is not value:
                    raise Stop(
                        f"{origin[wanted]} and {what} both provide {type_name(wanted)}, and not the same object. Name one "
                        "mapping for all modules with --provide module:thing."
                    )
                merged[wanted], origin[wanted] = value, what
            if found.container is not None and container is not None:
                raise Stop(
                    f"{container[1]} and {what} both provide a container, and an orchestrator has one. Make one container "
                    "of all providers, and name it with --provide module:thing."
                )
            container = container if found.container is None else (found.container, what)
        yield Provided(merged, None if container is None else container[0])


def check_provided(sagas: Iterable[type[Saga]], found: Provided, what: str) -> None:
    """
    Raises:
        Stop: unless everything that the sagas inject is there.
    """
    provider = found.provider()
    for saga in sagas:
        lines = "\n".join(f"  {kind}, for {place}" for kind, place in provider.lacking(saga.graph.wanted()))
        if lines:
            raise Stop(
                f"{saga.__name__} injects what nothing provides:\n{lines}\n{what} has: {provider.names()}. Name a mapping "
                "or a container with --provide module:thing, or define 'provide' beside the saga. Nothing was written."
            )


async def _leave(manager: AbstractAsyncContextManager[object], what: str) -> None:
    try:
        await manager.__aexit__(None, None, None)
    except Exception as error:
        raise Stop(f"{what} failed when it was closed: {type(error).__name__}: {error}", Exit.INCOMPLETE) from error


async def _call(provider: object, what: str) -> object:
    """``provider``, or what it returns when it is called."""
    given = isinstance(provider, (Mapping, AbstractAsyncContextManager)) or is_sync_container(provider)
    if given or not callable(provider):
        return provider
    try:
        inspect.signature(provider).bind()
    except TypeError as error:
        raise Stop(f"{what} cannot be called without arguments: {error}. {_EXPECTED}") from error
    except ValueError:
        pass  # it has no signature that Python could tell
    try:
        value = provider()
        return await value if inspect.isawaitable(value) else value
    except Exception as error:
        raise Stop(f"{what} cannot provide: {type(error).__name__}: {error}") from error


def _checked(value: object, what: str) -> Provided:
    if is_container(value) or is_sync_container(value):
        return _of_container(value, what)
    if not isinstance(value, Mapping):
        raise Stop(f"{what} gives an object of {type(value).__qualname__}. {_EXPECTED}")
    wrong = [key for key in value if key is None or isinstance(key, str)]
    if wrong:
        raise Stop(f"{what} has the key {wrong[0]!r}, which is no type. {_EXPECTED}")
    return Provided(value)


def _of_container(container: Any, what: str) -> Provided:
    given = Provided({}, container)
    try:
        given.provider()
    except (TypeError, ValueError) as error:
        raise Stop(f"{what} cannot be used: {error}") from error
    return given
