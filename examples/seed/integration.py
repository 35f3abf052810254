"""The seed, "Integration Example": a saga over an event store that others read.

It prints::

    ✅ Transfer complete!
    Sagas completed: 1
    In the stream transfer-1: [Debited(account='A', amount=Decimal('100'))]

The seed also makes a ``ProjectionRegistry`` and a ``VersionRegistry`` here, and does not use them.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from allframe import Event, EventStore, SagaDefinition, SagaOrchestrator, SagaStep


class AccountEvent(Event):
    account: str
    amount: Decimal


class Debited(AccountEvent):
    pass


class Credited(AccountEvent):
    pass


class DebitStep(SagaStep, name="Debit"):
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        return [Debited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        return [Credited(account=self.account, amount=self.amount)]


async def main() -> None:
    # EventStore (Phase 1), and a SagaOrchestrator (Phase 5) over it
    async with EventStore() as event_store, SagaOrchestrator(event_store) as saga_orchestrator:
        # Build and execute saga
        saga = SagaDefinition("transfer-1").add_step(DebitStep(account="A", amount=Decimal(100)))
        await saga_orchestrator.execute(saga)

        # The seed stores the events here: event_store.append("transfer-1", events). Here they are stored already, each in
        # one transaction with the record of the step that gave it: no crash can come between the two. They are in the
        # stream named by the saga's id, or in that of their own `__stream__`.
        print("✅ Transfer complete!")
        print(f"Sagas completed: {await saga_orchestrator.history_count()}")
        print(f"In the stream transfer-1: {await event_store.get_events('transfer-1')}")


if __name__ == "__main__":
    asyncio.run(main())
