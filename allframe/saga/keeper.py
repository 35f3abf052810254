"""`Keeper`: the tasks of an orchestrator, out of reach of everybody else's cancellation.

::

    async with SagaOrchestrator(…)            the caller's task
        └─ outer group
             └─ keeper, shielded              waits for one event, winds up, then drops what still runs
                  └─ group                    a task a line of moves; recovery

A group entered in ``__aenter__`` would be cancelled with the caller. The keeper is its only child, and what it holds ends
only by leaving: somebody leaves the ``async with``, Ctrl-C comes out of a step, or a task of ours is cancelled natively
because the event loop closes.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import anyio
import anyio.abc

from allframe.errors import OrchestratorClosed
from allframe.saga.perform import Left, natively_cancelled

__all__ = ["Keeper"]

T = TypeVar("T")
logger = logging.getLogger("allframe")


class Keeper:
    """Owns tasks. ``grace``: seconds that what runs is given when leaving.

    ``wind_up``: called once when leaving begins, in a task of the keeper's; it returns when nothing more is to be waited for.
    ``dropped``: called when ``grace`` is over and something still runs.
    ``broken``: told of an exception that came out of a task, with the id that the task was for.
    ``ended``: called when no task is left, and none can be begun any more.
    """

    def __init__(
        self,
        grace: float,
        wind_up: Callable[[], Awaitable[None]],
        dropped: Callable[[], None],
        broken: Callable[[str | None, BaseException], None],
        ended: Callable[[], None],
    ) -> None:
        #: What still runs is cut, and nothing is written of it.
        self.dropping = False
        self._grace = grace
        self._wind_up = wind_up
        self._dropped = dropped
        self._broken = broken
        self._ended = ended
        self._ready = anyio.Event()
        self._leave = anyio.Event()
        self._interrupt: KeyboardInterrupt | None = None
        self._tasks = 0
        self._calm = anyio.Event()
        self._context = contextvars.copy_context()
        self._outer = anyio.create_task_group()
        self._group: anyio.abc.TaskGroup | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether leaving has begun."""
        return self._leave.is_set()

    async def enter(self) -> None:
        await self._outer.__aenter__()
        try:
            # Not start(): cancelled in the middle, it would cancel a task whose shield keeps it from hearing of it.
            self._outer.start_soon(self._keep)
            await self._ready.wait()
        except BaseException as error:
            await self.leave(error)
            raise

    async def leave(self, error: BaseException | None) -> None:
        """Wind up, and return when no task is left. ``error``: what came out of the body of the ``async with``.

        Raises:
            KeyboardInterrupt: that came out of a step.
        """
        self._leave.set()
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        body = (type(error), error, error.__traceback__) if error is not None and cancelled else (None, None, None)
        try:
            # Any other error of the body goes its own way: the group would wrap it into an exception group.
            await self._outer.__aexit__(*body)
        except BaseException:
            if error is None and self._interrupt is None:
                raise
        if self._interrupt is not None and not isinstance(error, KeyboardInterrupt):
            raise self._interrupt

    def spawn(self, saga_id: str | None, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``function(*args)`` in a task of our own, in our own context.

        Raises:
            OrchestratorClosed: if there are no tasks any more.
        """
        if self._group is None or self.dropping:
            raise OrchestratorClosed("The orchestrator has left: nothing can be begun.", saga_id=saga_id)
        self._tasks += 1
        self._context.run(self._group.start_soon, self._guard, saga_id, function, args)

    def accompany(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``function()`` beside the tasks, until the last of them has ended: nobody waits for it."""
        if self._group is not None and not self.dropping:
            self._context.run(self._group.start_soon, function)

    async def run(self, saga_id: str | None, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """What ``function(*args)`` gives, run to its end in a task of our own whatever happens to the caller."""
        done = anyio.Event()
        results: list[T] = []
        errors: list[Exception] = []

        async def call() -> None:
            try:
                results.append(await function(*args))
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                errors.append(error)
            finally:
                done.set()

        self.spawn(saga_id, call)
        await done.wait()
        if errors:
            raise errors[0]
        if not results:
            raise OrchestratorClosed("The orchestrator left before this was done.", saga_id=saga_id)
        return results[0]

    async def calm(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            self._calm = anyio.Event()
            await self._calm.wait()

    async def _keep(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                async with anyio.create_task_group() as self._group:
                    self._ready.set()
                    await self._leave.wait()
                    with anyio.move_on_after(self._grace):
                        await self._wind_up()
                        await self.calm()
                    self.dropping = True
                    if self._tasks:
                        self._dropped()
                    self._group.cancel_scope.cancel()
            except BaseException:
                # The event loop closes and cancels every task it finds, this one first.
                self.dropping = True
                if not natively_cancelled():
                    raise
            finally:
                self._leave.set()
                self._group = None
                self._ended()

    async def _guard(self, saga_id: str | None, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except Left:
            self._leave.set()
        except KeyboardInterrupt as interrupt:
            self._interrupt = interrupt
            self._leave.set()
            self._outer.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            self._leave.set()
            if not natively_cancelled():
                raise
        except BaseException as error:  # noqa: BLE001 - one saga's trouble is not its neighbours'
            if not self.dropping:
                self._broken(saga_id, error)
        finally:
            self._tasks -= 1
            if not self._tasks:
                self._calm.set()
