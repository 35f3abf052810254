"""The rim of every command: whatever ends it becomes one message and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from allframe.cli.exits import Exit, Stop, exit_code_of
from allframe.cli.render import printable, warn
from allframe.errors import AllframeError

__all__ = ["guarded"]

P = ParamSpec("P")
#: Why standard output, a file on a full disk, cannot be written. The store's troubles are errors of ours.
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


def guarded(command: Callable[P, Exit]) -> Callable[P, None]:
    """``command``, ending with the code that it returns, or with the one that fits what it raises."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # What the library would log, a command says itself, once. A program that sets logging up gets it all the same.
        logging.getLogger("allframe").addHandler(logging.NullHandler())
        raise typer.Exit(int(_code_of(lambda: command(*args, **kwargs))))

    return run


def _code_of(command: Callable[[], Exit]) -> int:
    try:
        return command()
    except BaseException as error:  # noqa: BLE001 - this is the rim
        return _explain(_unwrapped(error))


def _explain(error: BaseException) -> int:
    match error:
        case Stop():
            warn(f"allframe: {printable(error)}")
            return error.code
        case AllframeError():
            warn(f"allframe: {error.code}: {printable(error)}")
            return exit_code_of(error)
        case KeyboardInterrupt():
            warn("allframe: stopped by SIGINT.")
            return Exit.INTERRUPTED
        case BrokenPipeError():
            # Whoever read has had enough; Python's own flush at exit would complain about it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.INCOMPLETE
        case OSError(errno=number) if number in _NO_ROOM:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            warn(f"allframe: The output cannot be written: {error.strerror}. What was recorded stands.")
            return Exit.INCOMPLETE
        case _:
            raise error


def _unwrapped(error: BaseException) -> BaseException:
    """What a group holds, if that is one thing: task groups wrap what their tasks raise, however many raise the same."""
    while isinstance(error, BaseExceptionGroup) and len({type(member) for member in error.exceptions}) == 1:
        error = error.exceptions[0]
    return error
