"""`Command`: what somebody wants done."""

from __future__ import annotations

from typing import Any, ClassVar

from allframe.cqrs.message import Message
from allframe.naming import Names

__all__ = ["COMMANDS", "Command"]

COMMANDS: Names[type[Any]] = Names("command", "AF120")


class Command(Message):
    """What somebody wants done: a frozen pydantic model, found by its name.

    ::

        class Withdraw(Command, name="bank.withdraw"):
            account: str
            amount: Decimal = Field(gt=0)

    ``name`` defaults to the class's name. It goes into the metadata of the events that come of the command, and idempotency
    keys belong to it: give one, and the class can be renamed.

    Raises:
        DefinitionError: (AF120) for a name that cannot be one, or another class keyword.
    """

    __allframe_kind__: ClassVar[str] = "command"
    __allframe_names__: ClassVar[Names[Any]] = COMMANDS
