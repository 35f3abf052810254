"""`CommandBus`: a command to its one handler, and what that decides into the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Concatenate, Protocol, TypeVar, overload

from allframe.clock import Clock, SystemClock, to_microseconds
from allframe.cqrs.calling import Caller, check_given
from allframe.cqrs.command import COMMANDS, Command
from allframe.cqrs.commit import commit_surely
from allframe.cqrs.contention import Line
from allframe.cqrs.context import CommandContext, Starter
from allframe.cqrs.decision import Decision, StreamWrite, read_decision, writes_of
from allframe.cqrs.handlers import Handler, Handlers, describe
from allframe.cqrs.idempotency import (
    Found,
    KeyRecord,
    check_key,
    digest_of,
    find,
    key_stream,
    rejection_of,
    seconds_to_keep,
)
from allframe.cqrs.key_locks import KeyLocks, WouldWaitForItself
from allframe.cqrs.message import class_meant
from allframe.cqrs.middleware import Middleware, Next, around
from allframe.cqrs.validation import Invalid, parse, revalidate
from allframe.errors import CommandDeadlock, CommandInvalid, CommandNotFound, CommandRejected, ConcurrencyError
from allframe.events.backend import Commit, Write, new_id
from allframe.events.correlation import caused_by, with_correlation
from allframe.events.event import Event
from allframe.events.store import EventStore
from allframe.events.versioning import as_read
from allframe.inject import AsyncContainer, Container, Provider
from allframe.masking import shown
from allframe.payload import Payload
from allframe.source import names_of_caller

__all__ = ["CommandBus", "CommandHandler", "Middleware", "Next"]

C = TypeVar("C", bound=Command)
C_contra = TypeVar("C_contra", bound=Command, contravariant=True)
F = TypeVar("F", bound="Callable[..., Decision | Awaitable[Decision]]")
M = TypeVar("M", bound=Middleware)

_METADATA = Payload(dict[str, Any])


class CommandHandler(Protocol[C_contra]):
    """A handler that is an object. What else its method takes is filled as a function's parameters are."""

    @property
    def handle(self) -> Callable[Concatenate[C_contra, ...], Decision | Awaitable[Decision]]: ...


@dataclass(frozen=True)
class _Dispatch:
    """One dispatch of a command, under way."""

    handler: Handler
    command: Command
    context: CommandContext
    #: The stream of its key, the digest of its payload, and what the stream holds; None without a key.
    key: str | None = None
    digest: str = ""
    found: Found | None = None

    @property
    def name(self) -> str:
        return self.handler.message.message_name


class _Conflict(Exception):
    """The bus's own commit came too late."""

    def __init__(self, error: ConcurrencyError) -> None:
        self.error = error


class CommandBus:
    """Has each command handled, and appends the events that its handler decides on, in one commit.

    ::

        bus = CommandBus(store, provide={Limits: limits}, starter=orchestrator.start)

        @bus.handler
        async def withdraw(command: Withdraw, limits: Inject[Limits]) -> Withdrawn: ...

        events = await bus.dispatch(Withdraw(account="A", amount=Decimal(5)))

    Args:
        store: An open `EventStore`; it stays open.
        provide: An object for each type that handlers inject.
        container: A dishka container, which makes what ``provide`` does not have: in a scope for each call of a handler,
            which closes after the commit. It stays open.
        starter: What begins a saga under an id, for `CommandContext.start`.
        keep_keys: Seconds, or a `timedelta`, for which an idempotency key answers; for ever, if None.
        clock: Wall time; the machine's, if not given.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        provide: Mapping[Any, object] | None = None,
        container: AsyncContainer | None = None,
        starter: Starter | None = None,
        keep_keys: float | timedelta | None = None,
        clock: Clock | None = None,
    ) -> None:
        check_given(store, starter)
        self._store, self._starter = store, starter
        made = None if container is None else Container(container, context=(CommandContext,))
        self._caller = Caller(Provider(provide, made), "CommandBus")
        self._keep_keys, self._clock = seconds_to_keep(keep_keys), clock or SystemClock()
        self._handlers: Handlers[Handler] = Handlers()
        self._middleware: tuple[Middleware, ...] = ()
        self._locks = KeyLocks()

    # --- who handles what

    @overload
    def handler(self, function: F, /) -> F: ...
    @overload
    def handler(self, /, *, attempts: int = 1) -> Callable[[F], F]: ...
    def handler(self, function: F | None = None, /, *, attempts: int = 1) -> F | Callable[[F], F]:
        """Register a function for the command that its first parameter is annotated with, and give it back unchanged.

        ``attempts``: how often it is called at most, when the streams that it expects at a version have moved on meanwhile.

        Raises:
            DefinitionError: (AF120) if it cannot be a handler, or its command has one.
        """
        names = names_of_caller("allframe.cqrs")

        def register(function: F) -> F:
            self._add(describe(function, Command, names, attempts=attempts))
            return function

        return register if function is None else register(function)

    def register(
        self,
        command: type[C],
        handler: Callable[Concatenate[C, ...], Decision | Awaitable[Decision]] | CommandHandler[C],
        *,
        attempts: int = 1,
    ) -> None:
        """Register a function, or an object with a method ``handle`` or ``__call__``. As `handler`."""
        names = names_of_caller("allframe.cqrs")
        self._add(describe(handler, Command, names, message=command, attempts=attempts))

    def use(self, middleware: M, /) -> M:
        """Put something around every command from now on; the first one is the outermost. It gives it back unchanged.

        ``async def middleware(command, context, call_next)`` returns the events: those of ``await call_next(command)``,
        whose errors it sees as well.
        """
        if not callable(middleware):
            raise TypeError(f"Expected async def middleware(command, context, call_next), found {shown(middleware)}.")
        self._middleware = (*self._middleware, middleware)
        return middleware

    def handlers_count(self) -> int:
        """How many commands have a handler."""
        return len(self._handlers)

    def _add(self, handler: Handler) -> None:
        COMMANDS.find(handler.message.message_name, 1)  # keys and metadata could not be told apart from another's
        self._handlers.add(handler)

    # --- dispatching

    @overload
    def parse(self, command: type[C], payload: Mapping[str, Any] | str | bytes) -> C: ...
    @overload
    def parse(self, command: str, payload: Mapping[str, Any] | str | bytes) -> Command: ...
    def parse(self, command: type[Command] | str, payload: Mapping[str, Any] | str | bytes) -> Command:
        """The command of this class or name that ``payload`` says: a mapping, or JSON.

        Raises:
            CommandInvalid: it says none; ``errors`` has everything that is wrong.
            CommandNotFound: this program has no command of that name.
            TypeError: ``command`` is neither a command's class nor a name.
        """
        cls = class_meant(Command, command)
        if cls is None:
            raise CommandNotFound(
                f"This program has no command {command!r}. The bus has handlers for: {self._handlers.names()}.",
                command=str(command),
            )
        try:
            return parse(cls, payload)
        except Invalid as invalid:
            raise CommandInvalid(str(invalid), errors=invalid.errors, command=cls.message_name) from None

    async def dispatch(self, command: Command) -> list[Event]:
        """Have it handled; returns the events that were appended, in their order. They are durable.

        Raises:
            CommandInvalid, CommandNotFound, DependencyMissing: its handler was not called.
            CommandRejected: the handler decided against it. Nothing was appended.
            PayloadError: what the handler returned cannot be appended. Nothing was.
            ConcurrencyError: a stream that the handler expects at a version was at another one. Nothing was appended.
            StoreUnavailable: it could not be written, or, with ``in_doubt``, may have been.
        """
        command, handler = self._checked(command)
        return await self._through(handler, command, None)

    async def dispatch_idempotent(self, command: Command, key: str) -> list[Event]:
        """Have it handled once for this key: whenever it is repeated, it is answered from what was recorded.

        The key's record and the events are one commit. A key belongs to the command's name: 1 to 200 printable characters.
        What the handler decides is recorded, events or `CommandRejected`; an error is not, and the next call tries again.

        Raises:
            IdempotencyConflict: the key was given to this command with another payload.
            CommandDeadlock: the key is held by the very command that this is dispatched in.
            ValueError: that cannot be a key.
            CommandError, StoreError, PayloadError, DependencyMissing: as `dispatch`. After a `StoreUnavailable` that is
                ``in_doubt`` the same call finds out what became of it.
        """
        check_key(key)
        command, handler = self._checked(command)
        return await self._through(handler, command, key)

    def _checked(self, command: Command) -> tuple[Command, Handler]:
        """The command, made anew, and its handler, which has what it needs."""
        given: object = command
        if not isinstance(given, Command):
            raise TypeError(f"Expected an instance of a Command class, found an object of {type(given).__qualname__}.")
        cls = type(command)
        handler = self._handlers.find(cls)
        if handler is None:
            raise CommandNotFound(
                f"The bus has no handler for {cls.__qualname__}, the command {cls.message_name!r}. It has handlers for: "
                f"{self._handlers.names()}. Register one: @bus.handler, or bus.register({cls.__qualname__}, ...).",
                command=cls.message_name,
            )
        try:
            command = revalidate(command)
        except Invalid as invalid:
            raise CommandInvalid(str(invalid), errors=invalid.errors, command=cls.message_name) from None
        self._caller.check(handler)
        return command, handler

    async def _nested(self, context: CommandContext, command: Command) -> list[Event]:
        command, handler = self._checked(command)
        key = None if context.idempotency_key is None else context.key_for(type(command), digest_of(command))
        return await self._through(handler, command, key)

    async def _through(self, handler: Handler, command: Command, key: str | None) -> list[Event]:
        """Through the middleware to the handler."""
        digest = "" if key is None else digest_of(command)
        command_id = new_id().hex()
        with caused_by(command_id) as correlation:
            context = CommandContext(
                type(command).message_name,
                command_id,
                correlation.correlation_id,
                key,
                starter=self._starter,
                dispatch=self._nested,
            )

            async def innermost(command: Command) -> list[Event]:
                this = _Dispatch(handler, _same_class(command, handler), context)
                if key is None:
                    return await self._handle(this)
                return await self._once(
                    replace(this, key=key_stream(handler.message.message_name, key), digest=digest), key
                )

            way: Next = innermost
            for middleware in reversed(self._middleware):
                way = around(middleware, context, way)
            return await way(command)

    async def _once(self, this: _Dispatch, key: str) -> list[Event]:
        """What is recorded of the key; else, have it handled."""
        assert this.key is not None
        try:
            async with self._locks.lock(this.key):
                while True:
                    found = await find(self._store, this.key)
                    if found.holds(self._now()):
                        return await found.answer(self._store, this.name, key, this.digest)
                    try:
                        return await self._handle(replace(this, found=found))
                    except _Conflict:
                        pass  # another process was faster: it is answered from what that one recorded
        except WouldWaitForItself:
            raise CommandDeadlock(
                f"The command {this.name!r} was dispatched under the idempotency key {key!r} within a command that holds "
                "this key, or that such a one waits for: it would wait for itself. Nothing was done: use another key.",
                key=key,
                command=this.name,
            ) from None

    async def _handle(self, this: _Dispatch) -> list[Event]:
        """Call the handler and commit.

        Raises:
            _Conflict: somebody else recorded the key.
        """
        attempt = 0
        async with Line(self._store) as line:
            while True:
                attempt += 1
                try:
                    return await self._attempt(this)
                except _Conflict as conflict:
                    if conflict.error.stream == this.key:
                        raise
                    if attempt >= this.handler.attempts:
                        raise conflict.error from None
                    stream = conflict.error.stream
                await line.join(stream)

    async def _attempt(self, this: _Dispatch) -> list[Event]:
        context = this.context.again(0 if this.found is None else this.found.version)

        async def commit(decided: object) -> list[Event]:
            return await self._append(this, read_decision(decided, this.handler.where))

        try:
            return await self._caller.call(this.handler, this.command, {CommandContext: context}, commit)
        except CommandRejected as rejection:
            if rejection.command is None:
                rejection.command = this.name
            if this.key is not None:
                await self._write(this, [], rejection)
            raise

    async def _append(self, this: _Dispatch, decided: Sequence[StreamWrite]) -> list[Event]:
        # As they will be read: a repetition is answered so.
        answer = [as_read(event, self._store.versions) for _, events, _ in decided for event in events]
        await self._write(this, decided, None)
        return answer

    async def _write(self, this: _Dispatch, decided: Sequence[StreamWrite], rejection: CommandRejected | None) -> None:
        """Commit the events, and the key's record before them.

        Raises:
            _Conflict: a stream is not at its expected version.
        """
        now, about = self._now(), {"command": this.name, "command_id": this.context.command_id}
        metadata = with_correlation(about)
        writes = writes_of(decided, recorded_at=now, metadata=metadata)
        if this.key is not None:
            writes = (self._record(this, writes, rejection, now, metadata), *writes)
        if writes:
            try:
                await commit_surely(self._store, Commit(writes))
            except ConcurrencyError as error:
                raise _Conflict(error) from None

    def _record(
        self,
        this: _Dispatch,
        writes: tuple[Write, ...],
        rejection: CommandRejected | None,
        now: int,
        metadata: Mapping[str, Any] | None,
    ) -> Write:
        assert this.key is not None
        assert this.found is not None
        record = KeyRecord(
            command_id=this.context.command_id,
            digest=this.digest,
            events=sum(len(write.rows) for write in writes),
            expires_at=None if self._keep_keys is None else now + round(self._keep_keys * 1e6),
            rejection=None if rejection is None else rejection_of(rejection),
        )
        about, _ = _METADATA.store(dict(metadata or {}), "The metadata of a command")
        return record.write(this.key, this.found.version, recorded_at=now, metadata=about)

    def _now(self) -> int:
        return to_microseconds(self._clock.now())


def _same_class(command: Command, handler: Handler) -> Command:
    if type(command) is not handler.message:
        raise TypeError(
            f"A middleware handed on an object of {type(command).__qualname__} in place of a "
            f"{handler.message.__qualname__}. It may hand on another command of the same class; dispatch others."
        )
    return command
