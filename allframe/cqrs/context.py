"""`CommandContext`: what a handler may ask for about the command that it handles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Protocol

from pydantic import BaseModel

from allframe.cqrs.command import Command
from allframe.errors import DependencyMissing
from allframe.events.event import Event

__all__ = ["CommandContext", "Starter"]

#: An id or a key may have so many characters.
MOST = 200


class Starter(Protocol):
    """What begins a saga under an id, or finds the one that was begun under it: ``SagaOrchestrator.start``."""

    def __call__(self, saga: Any, *, id: str | None = None) -> Awaitable[Any]: ...  # noqa: A002


class CommandContext:
    """One call of a handler.

    ``command_id``: of this dispatch; in the metadata of its events. ``correlation_id``: of the request that set it off;
    the command's own id, where there was none. ``idempotency_key``: the key of `CommandBus.dispatch_idempotent`, or None.
    """

    def __init__(
        self,
        command: str,
        command_id: str,
        correlation_id: str,
        idempotency_key: str | None,
        *,
        starter: Starter | None,
        dispatch: Callable[[CommandContext, Command], Awaitable[list[Event]]],
        counted: tuple[int, Mapping[str, int]] = (0, {}),
        life: int = 0,
    ) -> None:
        self.command_id = command_id
        self.correlation_id = correlation_id
        self.idempotency_key = idempotency_key
        self._command, self._starter, self._dispatch = command, starter, dispatch
        #: How many sagas it has begun, and how often it has dispatched what.
        self._started, self._nested = counted[0], Counter(counted[1])
        #: How often its key was used before, and expired.
        self._life = life

    async def start(self, saga: Any, *, id: str | None = None) -> Any:  # noqa: A002
        """Begin a saga; gives what the bus's starter gives, which is a `SagaHandle` of an orchestrator's.

        ``id`` is, if not given, the same whenever the same idempotent command is repeated, so that the repetition joins the
        saga: made of the command's name and its key, or of its id where it has no key. A second saga of one call has
        another id. The saga begins here, before the handler's events are appended, and is not undone if they are not.

        Raises:
            DependencyMissing: the bus was given no starter.
        """
        if self._starter is None:
            raise DependencyMissing(
                f"The command {self._command!r} wants to start a saga, and its bus was given nothing to start sagas with: "
                "CommandBus(..., starter=orchestrator.start)."
            )
        self._started += 1
        # What was built of step objects has an id of its own, and is no model.
        chosen = self._saga_id() if id is None and isinstance(saga, BaseModel) else id
        return await self._starter(saga, id=chosen)

    async def dispatch(self, command: Command) -> list[Event]:
        """Dispatch another command, now: its events are appended before those of this handler.

        Within an idempotent command it is idempotent as well: if this handler is called once more, after a crash, an equal
        command is answered from the record of the first time.

        Raises:
            CommandError, StoreError, DependencyMissing: as `CommandBus.dispatch`.
        """
        return await self._dispatch(self, command)

    def again(self, life: int) -> CommandContext:
        """The same for one more call, which counts from where this one has come to. ``life``: how often its key has expired."""
        return CommandContext(
            self._command,
            self.command_id,
            self.correlation_id,
            self.idempotency_key,
            starter=self._starter,
            dispatch=self._dispatch,
            counted=(self._started, self._nested),
            life=life,
        )

    def key_for(self, command: type[Command], digest: str) -> str:
        """The key of a command that is dispatched within this one: the same whenever this one is repeated.

        By the payload and not by the order alone: those that are dispatched side by side have no order.
        """
        same = f"{self._named(1)}/{command.message_name}/{digest[:32]}"
        self._nested[same] += 1
        return short(f"{same}/{self._nested[same]}")

    def _saga_id(self) -> str:
        if self.idempotency_key is None:
            return self.command_id if self._started == 1 else f"{self.command_id}/{self._started}"
        return short(self._named(self._started))

    def _named(self, number: int) -> str:
        """What no other key, number or life of the key comes to: a command's name has no ``/``, and is not empty."""
        name = f"{self._command}/{self.idempotency_key}"
        return name if number == 1 and not self._life else f"/{number}/{self._life}/{name}"


def short(text: str) -> str:
    """``text`` where it is short enough to be an id or a key; else its beginning and its SHA-256."""
    return text if len(text) <= MOST else f"{text[:100]}/{sha256(text.encode()).hexdigest()}"
