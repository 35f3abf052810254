"""A program that builds a saga and dies in it, or goes on with it: ``python -m tests.saga.built_program HOW URL LOG``.

``begin``: it dies in the second step. ``go-on``: it builds nothing; having the class of the steps, it recovers the saga.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio

from allframe import Inject, SagaDefinition, SagaOrchestrator, SagaStep, StepContext, Unknown


class Log:
    def __init__(self, path: str, *, deadly: bool) -> None:
        self._path = Path(path)
        self._deadly = deadly

    def note(self, what: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{what}\n")
        if self._deadly and what.startswith("2"):
            os._exit(9)


class Note(SagaStep, name="test.note"):
    number: int

    async def execute(self, log: Inject[Log], ctx: StepContext) -> None:
        log.note(f"{self.number} do {ctx.attempt}")

    async def compensate(self, output: Unknown | None, log: Inject[Log], ctx: StepContext) -> None:
        log.note(f"{self.number} undo {ctx.attempt}")


async def main(how: str, url: str, log: str) -> None:
    async with SagaOrchestrator(url, provide={Log: Log(log, deadly=how == "begin")}) as orchestrator:
        if how == "begin":
            built = SagaDefinition("program")
            for number in (1, 2, 3):
                built = built.add_step(Note(number=number), name=f"note_{number}")
            await orchestrator.execute(built)
        while await orchestrator.running_count():
            await anyio.sleep(0.01)
        for saga in await orchestrator.get_history():
            print(saga.id, saga.status, saga.steps_executed, "of", saga.total_steps)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
