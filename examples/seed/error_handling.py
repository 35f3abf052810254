"""The seed, "Usage Examples / Error Handling": every way in which a saga can end for whoever waits for it.

It prints::

    Success: 1 events generated
    Step 1 'second' failed: out of stock
    Step 1 timed out after 0.05 s
    Compensation for step 0 failed: the shelf is gone
    Saga is already running
    Saga error: The id 'fine' belongs to a saga 'SagaDefinition' with another input. ...
"""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio

from allframe import (
    AlreadyExecuting,
    CompensationFailed,
    Event,
    Retry,
    SagaDefinition,
    SagaError,
    SagaOrchestrator,
    SagaStep,
    StepFailed,
    StepTimedOut,
)


class Done(Event):
    pass


class First(SagaStep, compensation_retry=Retry(attempts=1)):
    can_be_undone: bool = True

    async def execute(self) -> None: ...

    async def compensate(self) -> None:
        if not self.can_be_undone:
            raise LookupError("the shelf is gone")


class Second(SagaStep, timeout=0.05):
    what: Literal["return", "raise", "hang"]

    async def execute(self) -> Done:
        if self.what == "raise":
            raise ValueError("out of stock")
        if self.what == "hang":
            await anyio.sleep(60)
        return Done()

    # In Rust a step that timed out is left as it is, and only those before it are compensated. Here nobody knows whether
    # it took effect, so it is compensated as well.
    async def compensate(self) -> None: ...


def saga(id: str, what: Literal["return", "raise", "hang"], *, can_be_undone: bool = True) -> SagaDefinition:  # noqa: A002
    return SagaDefinition(id).add_step(First(can_be_undone=can_be_undone)).add_step(Second(what=what))


async def execute(orchestrator: SagaOrchestrator, saga: SagaDefinition) -> None:
    try:
        outcome = await orchestrator.execute(saga)
        print(f"Success: {len(outcome.events)} events generated")
    except StepFailed as error:
        print(f"Step {error.step_index} '{error.step_name}' failed: {error.error.message if error.error else ''}")
        # Compensation was automatically executed
    except StepTimedOut as error:
        print(f"Step {error.step_index} timed out after {error.duration:g} s")
        # Compensation was automatically executed
    except CompensationFailed as error:
        print(f"Compensation for step {error.step_index} failed: {error.error.message if error.error else ''}")
        # Manual intervention may be required: then retry_failed() goes on with the rollback
    except AlreadyExecuting:
        print("Saga is already running")
    except SagaError as error:
        print(f"Saga error: {error}")


async def main() -> None:
    async with SagaOrchestrator() as orchestrator:
        await execute(orchestrator, saga("fine", "return"))
        await execute(orchestrator, saga("failing", "raise"))
        await execute(orchestrator, saga("hanging", "hang"))
        await execute(orchestrator, saga("stuck", "raise", can_be_undone=False))

        handle = await orchestrator.start(saga("twice", "hang"))
        await execute(orchestrator, saga("twice", "hang"))
        await handle.outcome()

        # An id is given once: the same saga again gives its outcome again, another one under its id is refused.
        await execute(orchestrator, saga("fine", "raise"))


if __name__ == "__main__":
    asyncio.run(main())
