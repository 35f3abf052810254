"""How a command ends: exit codes, and the one message that says why.

====  ================================================================
0     every saga completed
1     some did not, or a line of the input could not be used
2     the command cannot be carried out as it was given
3     the store cannot be opened, read or written
4     a saga or an event is not well defined, or no longer as stored
130   Ctrl-C
143   SIGTERM
====  ================================================================
"""

from __future__ import annotations

from enum import IntEnum

from allframe.errors import AllframeError, DefinitionError, OrchestratorClosed, StoreError

__all__ = ["Exit", "Stop", "exit_code_of"]


class Exit(IntEnum):
    COMPLETED = 0
    INCOMPLETE = 1
    USAGE = 2
    STORE = 3
    DEFINITION = 4
    INTERRUPTED = 130
    TERMINATED = 143


class Stop(Exception):
    """The command ends here, with a message and a code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


def exit_code_of(error: AllframeError) -> Exit:
    """The code for an error that ends a command."""
    if isinstance(error, StoreError):
        return Exit.STORE
    if isinstance(error, DefinitionError):
        return Exit.DEFINITION
    if isinstance(error, OrchestratorClosed):
        return Exit.INCOMPLETE
    return Exit.USAGE
