"""A program that runs so many sagas, one after the other: ``python -m tests.saga.commits_program URL COUNT KIND``."""

from __future__ import annotations

import sys

import anyio

from allframe import Retry, Saga, SagaError, SagaOrchestrator, StepContext, Unknown, compensates, step


class Counted(Saga, name="test.counted"):
    kind: str

    @step
    async def first(self) -> int:
        return 1

    @compensates("first")
    async def undo_first(self, first: int | Unknown) -> None: ...

    @step(retry=Retry(attempts=2, wait=0, jitter=0))
    async def second(self, ctx: StepContext) -> int:
        if self.kind == "retried" and ctx.attempt == 1:
            raise ValueError("again")
        return 2

    @compensates("second")
    async def undo_second(self, second: int | Unknown) -> None: ...

    @step
    async def third(self) -> int:
        if self.kind == "rolled back":
            raise ValueError("no")
        return 3

    @compensates("third")
    async def undo_third(self, third: int | Unknown) -> None: ...


async def main(url: str, count: int, kind: str) -> None:
    async with SagaOrchestrator(url) as orchestrator:
        for _ in range(count):
            try:
                await orchestrator.execute(Counted(kind=kind))
            except SagaError:
                continue


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3])
