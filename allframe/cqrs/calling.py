"""A handler called: what it needs is looked up, a plain function gets a thread, and what was made for it is closed.

What a container makes lives until the handler's events are committed: a session's transaction ends after them, not before.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import anyio.to_thread
from anyio.lowlevel import RunVar

from allframe.clock import waiting_for_thread
from allframe.cqrs.handlers import Handler
from allframe.cqrs.message import Message
from allframe.errors import DependencyMissing
from allframe.events.store import EventStore
from allframe.inject import Provider, Scope
from allframe.masking import shown

__all__ = ["Caller", "check_given"]

T = TypeVar("T")

logger = logging.getLogger("allframe")

#: So many plain functions of handlers run at once in an event loop; others wait.
MOST: Final = 100

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("allframe_handlers")
_in_handler: ContextVar[bool] = ContextVar("allframe_in_handler", default=False)


class Caller:
    """Calls handlers. ``face``: the name of the bus's class, for errors."""

    def __init__(self, provider: Provider, face: str) -> None:
        self._provider, self._face = provider, face

    def check(self, handler: Handler) -> None:
        """
        Raises:
            DependencyMissing: nothing provides what it injects.
            ValueError: the container cannot be used on the event loop that runs.
        """
        missing = self._provider.missing(handler.places())
        if missing:
            raise DependencyMissing(
                f"The handler {handler.where} cannot be called: nothing provides {missing}. "
                f"{self._provider.remedy('bus', self._face)} It has {self._provider.names()}."
            )
        if handler.wanted:
            self._provider.check_loop()

    async def call(
        self,
        handler: Handler,
        message: Message,
        context: Mapping[Any, object],
        then: Callable[[Any], Awaitable[T]],
    ) -> T:
        """``then`` of what the handler returns. ``context``: what handlers and factories may ask for, by type."""
        if not any(map(self._provider.makes, handler.wanted.values())):
            return await then(await self._called(handler, message, self._given(handler, context, {})))
        scope, error = self._provider.scope(dict(context)), None
        try:
            made = {name: await scope.get(kind) for name, kind in handler.wanted.items() if self._provider.makes(kind)}
            return await then(await self._called(handler, message, self._given(handler, context, made)))
        except BaseException as raised:
            error = raised
            raise
        finally:
            await _close(scope, handler, error)

    def _given(self, handler: Handler, context: Mapping[Any, object], made: dict[str, object]) -> dict[str, object]:
        held = {name: self._provider.get(kind) for name, kind in handler.wanted.items() if name not in made}
        about = {} if handler.context is None else {handler.context: next(iter(context.values()))}
        return {**about, **held, **made}

    async def _called(self, handler: Handler, message: Message, given: dict[str, object]) -> Any:
        call = partial(handler.function, message, **given)
        nested = _in_handler.get()
        token = _in_handler.set(True)
        try:
            returned = await call() if handler.is_async else await _in_thread(call, nested=nested)
            # A plain function may hand on what another one promises.
            return await returned if inspect.isawaitable(returned) else returned
        finally:
            _in_handler.reset(token)


def check_given(store: object, starter: object) -> None:
    """
    Raises:
        TypeError: if a bus can do nothing with them.
    """
    if not isinstance(store, EventStore):
        raise TypeError(
            f"CommandBus takes an EventStore, found {shown(store)}. Open one: async with EventStore(url) as store."
        )
    if starter is not None and not callable(starter):
        raise TypeError(f"starter= takes what starts a saga, such as orchestrator.start, found {shown(starter)}.")


async def _in_thread(call: Callable[[], Any], *, nested: bool) -> Any:
    """What ``call()`` returns, on a thread that is waited for whatever happens."""
    # A nested one waits for no other: those that it would wait for may all be waiting for theirs.
    limiter = anyio.CapacityLimiter(1) if nested else _shared_limiter()
    with waiting_for_thread:
        returned, error = await anyio.to_thread.run_sync(_told, call, limiter=limiter)
    if error is not None:
        raise error
    return returned


def _told(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """How it ended, as a value: a ``StopIteration`` cannot be raised out of a thread."""
    try:
        return call(), None
    except Exception as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error


def _shared_limiter() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(MOST)
        _limiter.set(limiter)
        return limiter


async def _close(scope: Scope, handler: Handler, error: BaseException | None) -> None:
    for trouble in await scope.close(error):
        logger.error(
            "what the container made for the handler %s could not be closed, and what was committed stands: %r",
            handler.where,
            trouble,
            exc_info=trouble,
        )
