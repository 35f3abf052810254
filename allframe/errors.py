"""Every error that allframe raises, in one tree.

::

    AllframeError
    ├── DefinitionError               something that may not be declared so            AF100
    ├── PayloadError                  a value that cannot be stored and read back      AF405
    ├── SagaError                     a saga that did not complete, or a refused call
    │   ├── StepFailed                a step failed and left no effect                 AF301
    │   │   └── StepRefused           … because the other side said no                 AF302
    │   ├── StepTimedOut              a step's deadline passed                         AF303
    │   ├── StepUnknown               nobody can say whether a step took effect        AF304
    │   ├── StepOutputLost            a step succeeded, its output is lost             AF305
    │   ├── CompensationFailed        the rollback left something behind               AF306
    │   ├── SagaCancelled             somebody cancelled it                            AF307
    │   ├── SagaTimedOut              its own timeout passed                           AF317
    │   ├── SagaBlocked               it waits for a person or a deployment            AF308
    │   ├── AlreadyExecuting          this id is being executed                        AF309
    │   ├── SagaIdConflict            this id belongs to another input                 AF310
    │   ├── SagaNotFound              no saga has this id                              AF311
    │   ├── DependencyMissing         nothing provides what is injected                AF312
    │   ├── OperationRefused          the verb does not fit the saga's status          AF313
    │   │   └── CancelRefused         … it has passed its pivot                        AF314
    │   ├── OrchestratorClosed        the orchestrator is leaving, or was never entered AF315
    │   ├── SagaIdInvalid             an id that cannot be one                         AF316
    │   └── SagaAbandoned             somebody gave it up                              AF318
    ├── ProjectionFailed              an event could not be applied                    AF408
    ├── ProjectionRefused             what was asked of projections cannot be done     AF409
    ├── StoreError
    │   ├── StoreInUse                somebody else owns the store                     AF401
    │   ├── ConcurrencyError          the stream is not at the expected version        AF402
    │   ├── StoreUnavailable          it cannot be read or written now                 AF403
    │   └── StoreFormatError          foreign, newer, damaged, or not of this program  AF404
    ├── CommandError                  a command that was not carried out
    │   ├── CommandInvalid            its fields are not what they must be             AF501
    │   ├── CommandNotFound           no handler, or no command of that name           AF502
    │   ├── CommandRejected           its handler decided against it                   AF503
    │   ├── IdempotencyConflict       the key belongs to another payload               AF504
    │   └── CommandDeadlock           it would wait for itself                         AF507
    └── QueryError                    a query that was not answered
        ├── QueryNotFound             no handler, or no query of that name             AF505
        └── QueryInvalid              its fields are not what they must be             AF506

Each has a ``code``, and ``docs/errors.md`` has a section for each code; a test keeps the two equal.
The texts are short letters to whoever can mend it: what was found, what was expected, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar

__all__ = [
    "AllframeError",
    "AlreadyExecuting",
    "CancelRefused",
    "CommandDeadlock",
    "CommandError",
    "CommandInvalid",
    "CommandNotFound",
    "CommandRejected",
    "CompensationFailed",
    "ConcurrencyError",
    "DefinitionError",
    "DependencyMissing",
    "ErrorInfo",
    "FieldError",
    "IdempotencyConflict",
    "OperationRefused",
    "OrchestratorClosed",
    "PayloadError",
    "Problem",
    "ProjectionFailed",
    "ProjectionRefused",
    "QueryError",
    "QueryInvalid",
    "QueryNotFound",
    "SagaAbandoned",
    "SagaBlocked",
    "SagaCancelled",
    "SagaError",
    "SagaIdConflict",
    "SagaIdInvalid",
    "SagaNotFound",
    "SagaTimedOut",
    "StepFailed",
    "StepOutputLost",
    "StepRefused",
    "StepTimedOut",
    "StepUnknown",
    "StoreError",
    "StoreFormatError",
    "StoreInUse",
    "StoreUnavailable",
]


class AllframeError(Exception):
    """The base of every error that allframe raises. It can be pickled and copied, with all that it carries."""

    #: The code under which ``docs/errors.md`` explains it.
    code: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class with `args`, as exceptions are: ours take more than their text.
        return _made_again, (type(self), self.args), self.__dict__


E = TypeVar("E", bound=AllframeError)


def _made_again(cls: type[E], args: tuple[Any, ...]) -> E:
    """An error as it was before its attributes are put back."""
    return cls.__new__(cls, *args)


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An exception as text, as it is stored: it is never made into an exception again."""

    #: The exception's qualified class name, such as ``httpx.ReadTimeout``.
    type: str
    #: ``str()`` of it, cut at 8 KiB.
    message: str
    #: The traceback as text, cut at 64 KiB, where it was seen.
    traceback: str | None = None

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


# --- definitions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a definition may not say."""

    #: The rule, such as ``AF101``.
    rule: str
    #: What was found, what was expected, what to do.
    text: str
    #: ``path:line`` of the definition.
    where: str
    #: The field, step, compensation or parameter that it is about; None for the class as a whole.
    member: str | None = None
    #: Names that exist and are spelled nearly so, the nearest first.
    near: tuple[str, ...] = ()
    #: Of advice: the reason for which it was waived; None where it stands.
    waived: str | None = None

    @property
    def path(self) -> str:
        """The file; what else is known of the place where there is none."""
        return _LINE.split(self.where, maxsplit=1)[0] if self.line else _NAME.sub("", self.where)

    @property
    def line(self) -> int | None:
        """The line in it, from 1; None where it is not known."""
        found = _LINE.search(self.where)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        return f"{self.rule} {self.where}\n    {self.text}"


#: Where ``path:line (Name)`` has its line, and where ``path (Name)`` its name.
_LINE: Final = re.compile(r":(\d+)(?: \([^/]*\))?$")
_NAME: Final = re.compile(r" \([^/]*\)$")


class DefinitionError(AllframeError):
    """A definition that cannot work, with every problem that was found in it.

    ``what``: its title, such as ``Saga Transfer``. ``problems``: as they stand in the file, from the top.
    """

    code = "AF100"

    def __init__(self, what: str, problems: Sequence[Problem]) -> None:
        self.what = what
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.path, problem.line or 0)))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{what} has {count}:\n{lines}")


class PayloadError(AllframeError):
    """A value that cannot be stored as JSON and read back equal, or is too large or too deep."""

    code = "AF405"


# --- sagas -----------------------------------------------------------------------------------------------------------


class SagaError(AllframeError):
    """The base of what concerns one saga.

    ``saga_id``, ``step_index`` (0 for the first) and ``step_name`` say where, so far as they apply; ``error`` is the
    stored exception; ``__cause__`` is the live one, where this process saw it.
    """

    def __init__(
        self,
        message: str,
        *,
        saga_id: str | None = None,
        step_name: str | None = None,
        step_index: int | None = None,
        error: ErrorInfo | None = None,
    ) -> None:
        super().__init__(message)
        self.saga_id = saga_id
        self.step_name = step_name
        self.step_index = step_index
        self.error = error


class StepFailed(SagaError):
    """A step failed, left no effect, and the other steps were rolled back."""

    code = "AF301"


class StepRefused(StepFailed):
    """A step raised ``Refused``: the other side said no, and the other steps were rolled back."""

    code = "AF302"


class StepTimedOut(SagaError):
    """A step's deadline passed: it may have taken effect, and was rolled back with the others.

    ``duration``: the step's timeout in seconds.
    """

    code = "AF303"

    def __init__(self, message: str, *, duration: float, **where: Any) -> None:
        super().__init__(message, **where)
        self.duration = duration


class StepUnknown(SagaError):
    """Nobody can say whether a step took effect; it was rolled back with the others."""

    code = "AF304"


class StepOutputLost(SagaError):
    """A step succeeded but what it returned could not be stored; it was rolled back with the others."""

    code = "AF305"


class CompensationFailed(SagaError):
    """The rollback could not undo everything: a person must look.

    ``original``: the error that began the rollback; ``uncompensated``: the steps that are still in effect.
    """

    code = "AF306"

    def __init__(
        self, message: str, *, original: ErrorInfo | None = None, uncompensated: Sequence[str] = (), **where: Any
    ) -> None:
        super().__init__(message, **where)
        self.original = original
        self.uncompensated = tuple(uncompensated)


class SagaCancelled(SagaError):
    """Somebody cancelled the saga, and what it had done was rolled back. ``reason`` is what they gave."""

    code = "AF307"

    def __init__(self, message: str, *, reason: str, **where: Any) -> None:
        super().__init__(message, **where)
        self.reason = reason


class SagaTimedOut(SagaError):
    """The saga's own timeout passed, and what it had done was rolled back. ``duration``: the timeout in seconds."""

    code = "AF317"

    def __init__(self, message: str, *, duration: float, **where: Any) -> None:
        super().__init__(message, **where)
        self.duration = duration


class SagaBlocked(SagaError):
    """The saga cannot go on without a person or a deployment. ``reason`` says what it waits for."""

    code = "AF308"

    def __init__(self, message: str, *, reason: str, **where: Any) -> None:
        super().__init__(message, **where)
        self.reason = reason


class AlreadyExecuting(SagaError):
    """The saga with this id is already being executed. ``handle`` waits for that execution.

    A handle belongs to its orchestrator: where the error was pickled and read back, it is None.
    """

    code = "AF309"

    def __init__(self, message: str, *, handle: Any, **where: Any) -> None:
        super().__init__(message, **where)
        self.handle = handle

    def __reduce__(self) -> tuple[Any, ...]:
        made_again, arguments, state = super().__reduce__()
        return made_again, arguments, {**state, "handle": None}

    def __copy__(self) -> AlreadyExecuting:
        copied = _made_again(type(self), self.args)
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> AlreadyExecuting:
        return self.__copy__()


class SagaIdConflict(SagaError):
    """The id belongs to another saga, or to this one with another input: an id is given once, for ever."""

    code = "AF310"


class SagaNotFound(SagaError):
    """The store holds no saga with this id."""

    code = "AF311"


class DependencyMissing(SagaError):
    """Nothing provides a type that a step or a handler injects. Raised before anything is written."""

    code = "AF312"


class OperationRefused(SagaError):
    """The verb does not fit the status that the saga is in."""

    code = "AF313"


class CancelRefused(OperationRefused):
    """The saga has passed its pivot: it only goes forward."""

    code = "AF314"


class OrchestratorClosed(SagaError):
    """The orchestrator is leaving, has left, or was never entered with ``async with``."""

    code = "AF315"


class SagaIdInvalid(SagaError):
    """An id is 1 to 200 printable characters, and the first is not ``$``."""

    code = "AF316"


class SagaAbandoned(SagaError):
    """Somebody gave the saga up as it stood. ``reason`` is what they gave.

    ``in_effect`` and ``uncertain``: the steps that are, and that may be, still in effect.
    """

    code = "AF318"

    def __init__(
        self, message: str, *, reason: str, in_effect: Sequence[str] = (), uncertain: Sequence[str] = (), **where: Any
    ) -> None:
        super().__init__(message, **where)
        self.reason = reason
        self.in_effect = tuple(in_effect)
        self.uncertain = tuple(uncertain)


# --- the store -------------------------------------------------------------------------------------------------------


class StoreError(AllframeError):
    """The base of what the event store raises."""


class StoreInUse(StoreError):
    """Another owner has the store. ``owner`` says who: a process, or a place in this one."""

    code = "AF401"

    def __init__(self, message: str, *, owner: str) -> None:
        super().__init__(message)
        self.owner = owner


class ConcurrencyError(StoreError):
    """The stream was not at the expected version, and nothing was written.

    ``expected`` and ``actual`` are versions: the number of events in the stream.
    """

    code = "AF402"

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"Stream {stream!r} is at version {actual}, not at the expected version {expected}. Nothing was written: "
            "somebody else appended to it. Read the stream again and decide anew."
        )
        self.stream = stream
        self.expected = expected
        self.actual = actual


class StoreUnavailable(StoreError):
    """The store cannot be read or written now: it is full, locked, read-only, unreachable or closed.

    ``in_doubt``: whether the write may have happened all the same. Write the same rows again to find out.
    """

    code = "AF403"

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class StoreFormatError(StoreError):
    """What lies there is not an allframe store, was written by a newer allframe, is damaged, or needs a class that
    this program does not have. It was not touched."""

    code = "AF404"


# --- projections -----------------------------------------------------------------------------------------------------


class ProjectionFailed(AllframeError):
    """An event could not be applied, and the projection stands before it.

    ``projection`` is its name, ``position`` that of the event, ``error`` what was raised; ``__cause__`` is the live exception,
    where this process saw it.
    """

    code = "AF408"

    def __init__(self, message: str, *, projection: str, position: int, error: ErrorInfo) -> None:
        super().__init__(message)
        self.projection = projection
        self.position = position
        self.error = error


class ProjectionRefused(AllframeError):
    """What was asked of projections cannot be done: the text says why."""

    code = "AF409"


# --- commands and queries --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field."""

    #: The way to it, such as ``lines.0.quantity``; empty for what concerns all of it.
    field: str
    #: In words. It never quotes a secret.
    message: str
    #: pydantic's word for it, such as ``missing`` or ``greater_than``.
    code: str

    def __str__(self) -> str:
        return f"{self.field or '(all of it)'}: {self.message} [{self.code}]"


class CommandError(AllframeError):
    """The base of what the command bus raises. ``command``: the stored name of the command, so far as it is known."""

    command: str | None = None

    def __init__(self, message: str, *, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command


class CommandInvalid(CommandError):
    """The command's fields are not what they must be: its handler was not called. ``errors``: all that is wrong."""

    code = "AF501"
    errors: tuple[FieldError, ...]

    def __init__(self, message: str, *, errors: Sequence[FieldError], command: str | None = None) -> None:
        super().__init__(message, command=command)
        self.errors = tuple(errors)


class CommandNotFound(CommandError):
    """The bus has no handler for the command, or the program no command of that name."""

    code = "AF502"


class CommandRejected(CommandError):
    """A handler's decision: the command is understood, and not carried out. Nothing was appended.

    Raise it in a handler, or a class of your own below it. ``reason`` is a word for programs and ``details`` are what goes
    with it; a rejection that an idempotency key remembers has both and the message again, and its class if it is imported.
    """

    code = "AF503"

    # For a class below it that does not call our __init__.
    reason: str | None = None
    details: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        command: str | None = None,
    ) -> None:
        super().__init__(message, command=command)
        self.reason = reason
        self.details = dict(details or {})


class IdempotencyConflict(CommandError):
    """The idempotency key was given to this command with another payload. ``key``: the key."""

    code = "AF504"

    def __init__(self, message: str, *, key: str, command: str | None = None) -> None:
        super().__init__(message, command=command)
        self.key = key


class CommandDeadlock(CommandError):
    """A command would wait for an idempotency key that waits, itself, for this command. ``key``: the key."""

    code = "AF507"

    def __init__(self, message: str, *, key: str, command: str | None = None) -> None:
        super().__init__(message, command=command)
        self.key = key


class QueryError(AllframeError):
    """The base of what the query bus raises. ``query``: the stored name of the query, so far as it is known."""

    def __init__(self, message: str, *, query: str | None = None) -> None:
        super().__init__(message)
        self.query = query


class QueryNotFound(QueryError):
    """The bus has no handler for the query, or the program no query of that name."""

    code = "AF505"


class QueryInvalid(QueryError):
    """The query's fields are not what they must be: its handler was not called. ``errors``: all that is wrong."""

    code = "AF506"
    errors: tuple[FieldError, ...]

    def __init__(self, message: str, *, errors: Sequence[FieldError], query: str | None = None) -> None:
        super().__init__(message, query=query)
        self.errors = tuple(errors)


def _name_errors() -> None:
    """An error is told, stored and looked up by its public name, not by the room where it is made."""
    for name in __all__:
        value = globals()[name]
        if isinstance(value, type) and issubclass(value, Exception):
            value.__module__ = "allframe"


_name_errors()
