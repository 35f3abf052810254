"""One move performed: a function of the user called under its scope, and how that ended put into words.

*A step that speaks is believed; a step that is silenced is treated as possibly done.* Which is which is decided here,
by looking at the scope and not at the exception: a `TimeoutError` may be the step's own.
"""

from __future__ import annotations

import asyncio
import math
import os.path
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import anyio

from allframe.clock import waiting_for_thread
from allframe.errors import ErrorInfo
from allframe.saga.context import Refused
from allframe.saga.graph import Parameter
from allframe.saga.silence import is_loud, is_silence
from allframe.saga.threads import Job, Threads

__all__ = [
    "Attempt",
    "Left",
    "attempt",
    "describe",
    "is_refusal",
    "is_unknown",
    "natively_cancelled",
    "new_attempt",
    "on_thread",
]

_MAX_MESSAGE = 8 << 10
_MAX_TRACEBACK = 64 << 10
_HERE = os.path.dirname(__file__)


class Left(BaseException):
    """The orchestrator drops this attempt without writing anything: the next owner recovers it."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One call of a step or compensation, from outside."""

    #: Seconds it may take, or None.
    timeout: float | None
    scope: anyio.CancelScope
    #: Set when the saga's cancellation cut it.
    cut: bool = False
    #: What it returned, if it did.
    value: Any = None
    returned: bool = False
    error: BaseException | None = None
    #: Whether its deadline had passed when it ended.
    overdue: bool = False
    #: Whether the thread that it runs on was asked to end it.
    asked_to_end: bool = False
    #: Where it is waited for a thread that was asked to end.
    patience: anyio.CancelScope = field(default_factory=lambda: anyio.CancelScope(shield=True))
    #: The parameter that an object is being made for: until then, its body has not begun.
    making: Parameter | None = None
    #: Whether its body has begun, or may have.
    begun: bool = True
    #: Whether the thread that it runs on goes on after nobody waits for it any more.
    outlived: bool = False

    def cancel(self) -> None:
        """Cut it, for the saga was cancelled."""
        self.cut = self.asked_to_end = True
        self.scope.cancel()

    def drop(self) -> None:
        """Wait no longer for a thread that cannot be cut."""
        self.asked_to_end = True
        self.patience.cancel()

    @property
    def silenced(self) -> bool:
        """Whether it was cut, or its time was over, before it could say how it went."""
        return not self.returned and (self.scope.cancel_called or self.overdue)


def new_attempt(timeout: float | None) -> Attempt:
    """An attempt whose deadline counts from now."""
    deadline = math.inf if timeout is None else anyio.current_time() + timeout
    return Attempt(timeout, anyio.CancelScope(deadline=deadline))


async def attempt(call: Callable[[], Awaitable[Any]], this: Attempt, dropping: Callable[[], bool]) -> None:
    """Await ``call()`` within ``this.scope``, and note in ``this`` how it ended.

    Raises:
        Left: if the orchestrator drops it, or its task was cancelled by somebody else than us.
        KeyboardInterrupt: if that came out of it.
    """
    try:
        with this.scope:
            this.value = await call()
            this.returned = True
    except BaseException as error:  # noqa: BLE001 - it is what there is to note
        _note(error, this, dropping)
    if dropping():
        raise Left
    # A step that never yields is not cut by its deadline, and one that swallows the cancellation returns all the same.
    this.overdue = anyio.current_time() >= this.scope.deadline or (this.scope.cancel_called and not this.cut)


async def on_thread(threads: Threads, call: Callable[[], Any], this: Attempt) -> Any:
    """What ``call()`` returns on one of ``threads``: the body of an attempt.

    A thread cannot be cut: when its time is over it is asked to end, and waited for all the same.

    Raises:
        Left: if it is dropped. The thread may go on.
    """
    this.begun = False
    job = threads.start(call)
    this.begun = True
    with waiting_for_thread, threads.waited_for(this):
        try:
            await job.done.wait()
        except anyio.get_cancelled_exc_class():
            this.asked_to_end = True
            if this.scope.cancel_called:  # by us: everybody else's cancellation is a leave
                await _patiently(job, this.patience)
    this.outlived = not job.done.is_set()
    if this.outlived:
        raise Left
    if isinstance(job.error, StopIteration):  # a coroutine cannot raise it
        raise RuntimeError(f"It raised {job.error!r}.") from job.error
    if job.error is not None:
        raise job.error
    return job.value


async def _patiently(job: Job, patience: anyio.CancelScope) -> None:
    try:
        with patience:
            await job.done.wait()
    except anyio.get_cancelled_exc_class():
        pass  # the task itself was cancelled: the event loop closes


def _note(error: BaseException, this: Attempt, dropping: Callable[[], bool]) -> None:
    """Take ``error`` for how the attempt ended, unless it is somebody else's."""
    if isinstance(error, Left):
        raise error
    if interrupt := _find(error, KeyboardInterrupt):
        raise interrupt from None
    if dropping() or (isinstance(error, anyio.get_cancelled_exc_class()) and natively_cancelled()):
        raise Left from error
    this.error = error


def natively_cancelled() -> bool:
    """Whether somebody called ``cancel()`` on this very asyncio task; trio has no such thing."""
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_unknown(
    error: BaseException,
    *,
    unknown_on: tuple[type[Exception], ...] = (),
    known_on: tuple[type[Exception], ...] = (),
) -> bool:
    """Whether an attempt that raised ``error``, on its own, may have taken effect. The options are those of `is_silence`."""
    if is_refusal(error):
        return False
    if any(is_loud(member) for member in _members(error)):
        return True
    return is_silence(error, unknown_on=unknown_on, known_on=known_on)


def is_refusal(error: BaseException) -> bool:
    """Whether it says ``Refused`` and nothing else, also from out of a task group."""
    leaves = [member for member in _members(error) if not isinstance(member, BaseExceptionGroup)]
    return all(isinstance(leaf, Refused) for leaf in leaves)


def _members(error: BaseException) -> Iterator[BaseException]:
    """The error and, if it is a group, all that it holds."""
    todo = [error]
    while todo:
        error = todo.pop()
        yield error
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions


def _find(error: BaseException, kind: type[KeyboardInterrupt]) -> KeyboardInterrupt | None:
    return next((member for member in _members(error) if isinstance(member, kind)), None)


def describe(error: BaseException) -> ErrorInfo:
    """An exception as text, whatever it is."""
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    try:
        message = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001 - a user's __str__
        message = f"(its text cannot be had: {type(broken).__qualname__})"
    try:
        trace = "".join(traceback.format_exception(cls, error, _own_part(error.__traceback__)))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - as above
        trace = ""
    return ErrorInfo(name, _text(message, _MAX_MESSAGE), _text(trace, _MAX_TRACEBACK) or None)


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the user's function on: how we came to call it says nothing."""
    inner = trace
    while inner is not None and os.path.dirname(inner.tb_frame.f_code.co_filename) == _HERE:
        inner = inner.tb_next
    return inner or trace


def _text(text: str, limit: int) -> str:
    """Text that can be written as UTF-8 and is not too long; the end of a traceback says most."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    if len(safe) <= limit:
        return safe
    return f"{safe[: limit // 4]}\n[… {len(safe) - limit} characters left out …]\n{safe[-limit * 3 // 4 :]}"
