"""``--log-level``: what happens to sagas, a line each on standard error."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Annotated, TypeAlias

import typer

from allframe.saga.logs import log_records
from allframe.saga.observe import Observer

__all__ = ["LogLevel", "LogLevelOption", "log_to_stderr"]


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevelOption: TypeAlias = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        help="Log to standard error what is at least of this level; info has a line for each record of a saga.",
        show_default=False,
        case_sensitive=False,
    ),
]


def log_to_stderr(level: LogLevel | None) -> list[Observer]:
    """Set logging up, and the observers that log."""
    if level is None:
        return []
    number = logging.getLevelNamesMapping()[level.value.upper()]
    logging.basicConfig(level=number, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return [log_records()]
