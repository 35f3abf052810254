"""The seed, "Key Features / 2. Timeout Management": each step has a timeout, 30 seconds if it gives none.

It prints::

    PromptStep: 30 s, ProcessPaymentStep: 10 s, HurriedStep: 0.05 s
    step succeeded
    step failed - compensate
    was it paid? deadline
    timeout - compensate
"""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio

from allframe import SagaDefinition, SagaOrchestrator, SagaStep, StepFailed, StepTimedOut, Unknown


class PromptStep(SagaStep):
    """The default: 30 seconds an attempt."""

    async def execute(self) -> None: ...

    async def compensate(self) -> None: ...


class ProcessPaymentStep(SagaStep, timeout=10):  # custom timeout for this step
    what: Literal["pay", "fail", "hang"]

    async def execute(self) -> str:
        if self.what == "fail":
            raise ValueError("card declined")
        if self.what == "hang":
            await anyio.sleep(60)
        return "receipt-1"

    async def compensate(self, output: str | Unknown) -> None:
        # In Rust a step that timed out is not compensated. Here it is, for the payment may have gone through; that nobody
        # knows is what it is given in place of the output.
        if isinstance(output, Unknown):
            print(f"was it paid? {output.reason}")


class HurriedStep(ProcessPaymentStep, timeout=0.05):
    """The same in a hurry, so that nobody has to wait for this example."""


async def main() -> None:
    saga = (
        SagaDefinition("timeouts")
        .add_step(PromptStep())
        .add_step(ProcessPaymentStep(what="pay"))
        .add_step(HurriedStep(what="pay"))
    )
    kinds = (type(step).__name__ for step in saga.steps.values())
    timeouts = (step.timeout for step in saga.graph.steps)
    print(", ".join(f"{kind}: {timeout:g} s" for kind, timeout in zip(kinds, timeouts, strict=True)))

    # The orchestrator enforces timeouts by itself.
    async with SagaOrchestrator() as orchestrator:
        for what in ("pay", "fail", "hang"):
            saga = SagaDefinition(what).add_step(PromptStep()).add_step(HurriedStep(what=what))
            try:
                await orchestrator.execute(saga)
                print("step succeeded")
            except StepFailed:
                print("step failed - compensate")
            except StepTimedOut:
                print("timeout - compensate")


if __name__ == "__main__":
    asyncio.run(main())
