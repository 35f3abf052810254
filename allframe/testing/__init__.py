"""The testing kit: sagas run to their end in no time, with every ending that a step can have.

`run_saga` runs one, `outcomes` has the words for how attempts end, `VirtualClock` is a loop whose time jumps. The pytest
plugin (`allframe.testing.plugin`) brings fixtures; `allframe.testing.backends` is the contract of an event store's
backend, as tests.
"""

from __future__ import annotations

from allframe.testing.clock import VirtualClock
from allframe.testing.outcomes import (
    Crash,
    Fail,
    Late,
    LostOutput,
    NoAnswer,
    Ok,
    Outcomes,
    Raise,
    Refuse,
    Return,
    Staged,
    Timeout,
)
from allframe.testing.run import SagaRun, run_saga, run_saga_sync
from allframe.testing.trace import Ending, TraceEntry

__all__ = [
    # running
    "Ending",
    "SagaRun",
    "TraceEntry",
    "run_saga",
    "run_saga_sync",
    # how attempts end
    "Crash",
    "Fail",
    "Late",
    "LostOutput",
    "NoAnswer",
    "Ok",
    "Outcomes",
    "Raise",
    "Refuse",
    "Return",
    "Staged",
    "Timeout",
    # time
    "VirtualClock",
]
