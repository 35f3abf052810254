"""The seed, "Usage Examples / Saga Monitoring": what runs, how one saga stands, and what is over.

It prints::

    Saga order-12345 - 1 of 2 steps completed
    Status: executing
    Progress: 1/2
    Updated: 20...
    ❌ order-3 failed
    ↩️  order-2 compensated
    ✅ order-1 completed
"""

from __future__ import annotations

import asyncio

import anyio

from allframe import Inject, Refused, Retry, SagaDefinition, SagaOrchestrator, SagaStatus, SagaStep


class Warehouse:
    """Tells when a reservation was made, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.answer = anyio.Event()


class ReserveStep(SagaStep, compensation_retry=Retry(attempts=1)):
    can_be_released: bool = True

    async def execute(self) -> str:
        return "item-1"

    async def compensate(self) -> None:
        if not self.can_be_released:
            raise LookupError("the shelf is gone")


class PayStep(SagaStep):
    declined: bool = False

    async def execute(self) -> None:
        if self.declined:
            raise Refused("card declined")

    async def compensate(self) -> None: ...


class PackStep(SagaStep, timeout=None):
    async def execute(self, warehouse: Inject[Warehouse]) -> None:
        warehouse.asked.set()
        await warehouse.answer.wait()

    async def compensate(self) -> None: ...


async def main() -> None:
    warehouse = Warehouse()
    async with SagaOrchestrator(provide={Warehouse: warehouse}) as orchestrator:
        for saga in (
            SagaDefinition("order-1").add_step(ReserveStep()).add_step(PayStep()),
            SagaDefinition("order-2").add_step(ReserveStep()).add_step(PayStep(declined=True)),
            SagaDefinition("order-3").add_step(ReserveStep(can_be_released=False)).add_step(PayStep(declined=True)),
        ):
            handle = await orchestrator.start(saga)
            await handle.outcome()
        await orchestrator.start(SagaDefinition("order-12345").add_step(ReserveStep()).add_step(PackStep()))
        await warehouse.asked.wait()

        # Get running sagas
        for running in await orchestrator.get_running_sagas():
            print(f"Saga {running.id} - {running.steps_executed} of {running.total_steps} steps completed")

        # Get specific saga status
        if found := await orchestrator.get_saga("order-12345"):
            print(f"Status: {found.status}")
            print(f"Progress: {found.steps_executed}/{found.total_steps}")
            print(f"Updated: {found.updated_at}")

        # Get execution history: here the newest end comes first
        for past in await orchestrator.get_history():
            match past.status:
                case SagaStatus.COMPLETED:
                    print(f"✅ {past.id} completed")
                case SagaStatus.COMPENSATED:
                    print(f"↩️  {past.id} compensated")
                case SagaStatus.FAILED:
                    print(f"❌ {past.id} failed")
        warehouse.answer.set()


if __name__ == "__main__":
    asyncio.run(main())
