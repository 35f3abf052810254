"""The seed, "Key Features / 1. Automatic Compensation": what was done is undone in reverse order when a step fails.

It prints::

    execute 1
    execute 2
    execute 3
    execute 4
    compensate 3
    compensate 2
    compensate 1
    StepFailed at step 3 'fourth': no

The seed shows the loop inside its orchestrator: execute each step, and when one fails, compensate those before it. Ours
writes down every move before it makes it, so a process that dies in the middle is taken up where it was; seen from
outside, the order is the same.
"""

from __future__ import annotations

import asyncio

from allframe import SagaDefinition, SagaError, SagaOrchestrator, SagaStep


class NumberedStep(SagaStep):
    number: int
    fails: bool = False

    async def execute(self) -> list[int]:
        print(f"execute {self.number}")
        if self.fails:
            raise ValueError("no")
        return [self.number]

    async def compensate(self) -> None:
        print(f"compensate {self.number}")


async def main() -> None:
    saga = (
        SagaDefinition("numbers")
        .add_step(NumberedStep(number=1), name="first")
        .add_step(NumberedStep(number=2), name="second")
        .add_step(NumberedStep(number=3), name="third")
        .add_step(NumberedStep(number=4, fails=True), name="fourth")
    )
    async with SagaOrchestrator() as orchestrator:
        try:
            await orchestrator.execute(saga)
        except SagaError as error:
            message = error.error.message if error.error else ""
            print(f"{type(error).__name__} at step {error.step_index} '{error.step_name}': {message}")


if __name__ == "__main__":
    asyncio.run(main())
