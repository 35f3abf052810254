"""The seed, "Key Features / 3. Execution Tracking": the metadata of a saga, in each of its states.

It prints::

    order-1: not_started, 0 of 2
    order-2: executing, 1 of 2
    order-2: completed, 2 of 2
    order-3: compensating, 1 of 2
    order-3: compensated, 1 of 2
    order-4: failed, 1 of 2, still in effect: first, see to it

The seed has five states. There are three more here: ``compensating``, for a rollback takes its time; ``blocked``, for what
can only go forward and cannot; and ``abandoned``, for what a person gave up.
"""

from __future__ import annotations

import asyncio

import anyio

from allframe import Inject, Refused, Retry, SagaDefinition, SagaMetadata, SagaOrchestrator, SagaStep


class Gate:
    """Where a step tells that it is there, and waits until it is let through."""

    def __init__(self) -> None:
        self.arrived = anyio.Event()
        self.opened = anyio.Event()

    async def pass_through(self) -> None:
        self.arrived.set()
        await self.opened.wait()


class First(SagaStep, compensation_retry=Retry(attempts=1)):
    undo: str = "at once"

    async def execute(self) -> None: ...

    async def compensate(self, gate: Inject[Gate]) -> None:
        if self.undo == "never":
            raise LookupError("the shelf is gone")
        if self.undo == "slowly":
            await gate.pass_through()


class Second(SagaStep):
    refused: bool = False

    async def execute(self, gate: Inject[Gate]) -> None:
        if self.refused:
            raise Refused("card declined")
        await gate.pass_through()

    async def compensate(self) -> None: ...


def show(metadata: SagaMetadata | None) -> None:
    assert metadata is not None
    left = f", still in effect: {', '.join(metadata.uncompensated)}" if metadata.uncompensated else ""
    note = ", see to it" if metadata.attention else ""
    print(f"{metadata.id}: {metadata.status}, {metadata.steps_executed} of {metadata.total_steps}{left}{note}")


async def main() -> None:
    # NotStarted: just created
    show(SagaDefinition("order-1").add_step(First()).add_step(Second()).metadata())

    for saga in (
        SagaDefinition("order-2").add_step(First()).add_step(Second()),
        SagaDefinition("order-3").add_step(First(undo="slowly")).add_step(Second(refused=True)),
    ):
        gate = Gate()
        async with SagaOrchestrator(provide={Gate: gate}) as orchestrator:
            handle = await orchestrator.start(saga)
            await gate.arrived.wait()
            show(await orchestrator.get_saga(saga.id))  # Executing: currently running; or being rolled back
            gate.opened.set()
            await handle.outcome()
            show(await orchestrator.get_saga(saga.id))  # Completed, Compensated

    async with SagaOrchestrator(provide={Gate: Gate()}) as orchestrator:
        saga = SagaDefinition("order-4").add_step(First(undo="never")).add_step(Second(refused=True))
        await (await orchestrator.start(saga)).outcome()
        show(saga.metadata())  # Failed: failed and compensation also failed


if __name__ == "__main__":
    asyncio.run(main())
