"""A program that runs one saga and is interrupted in the middle of a step: ``python -m tests.saga.interrupted …``.

Arguments: the event loop (``run``: that of `allframe.run`), ``busy`` or ``sleeping``, the store's URL, a file to append to.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import anyio

from allframe import Saga, SagaOrchestrator, Unknown, compensates, run, step

#: Seconds that the second step takes.
BUSY = 1.5
ASLEEP = 600.0


class Program(Saga, name="test.interrupted"):
    how: str
    log: str

    def note(self, what: str) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{what}\n")

    @step
    async def first(self) -> int:
        self.note("first")
        return 1

    @compensates("first")
    async def undo_first(self, first: int | Unknown) -> None:
        self.note("undo first")

    @step
    async def second(self) -> int:
        self.note("second")
        if self.how == "busy":
            until = time.monotonic() + BUSY
            while time.monotonic() < until:
                sum(range(1000))
        elif self.how == "sleeping":
            await anyio.sleep(ASLEEP)
        self.note("second ended")
        return 2

    @compensates("second")
    async def undo_second(self, second: int | Unknown) -> None:
        self.note("undo second")


async def main(how: str, url: str, log: str) -> None:
    async with SagaOrchestrator(url, grace=1) as orchestrator:
        await orchestrator.execute(Program(how=how, log=log), id="program")


if __name__ == "__main__":
    loop, how, url, log = sys.argv[1:]
    if loop == "run":
        run(Program(how=how, log=log), store=url, id="program")
    else:
        options: dict[str, Any] = {"use_uvloop": True} if loop == "uvloop" else {}
        anyio.run(main, how, url, log, backend="trio" if loop == "trio" else "asyncio", backend_options=options)
