"""The seed, "All 5 Phases Complete / What You Get": its first and its last phase, the event store and the sagas.

It prints::

    at version 1: [Opened(account='A')]
    at version 2: [Opened(account='A'), Debited(account='A', amount=Decimal('100'))]
    credited: [Credited(account='B', amount=Decimal('100'))]

The three between them, commands, projections and event versions, are not part of allframe yet.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import ClassVar

from allframe import Event, EventStore, SagaDefinition, SagaOrchestrator, SagaStep


class Opened(Event):
    account: str


class Debited(Event):
    __stream__: ClassVar[str] = "account-{account}"
    account: str
    amount: Decimal


class Credited(Event):
    __stream__: ClassVar[str] = "account-{account}"
    account: str
    amount: Decimal


class DebitStep(SagaStep):
    account: str
    amount: Decimal

    async def execute(self) -> Debited:
        return Debited(account=self.account, amount=self.amount)

    async def compensate(self) -> Credited:
        return Credited(account=self.account, amount=self.amount)


class CreditStep(SagaStep):
    account: str
    amount: Decimal

    async def execute(self) -> Credited:
        return Credited(account=self.account, amount=self.amount)

    async def compensate(self) -> Debited:
        return Debited(account=self.account, amount=self.amount)


async def main() -> None:
    # Phase 1: Pluggable Event Store
    async with EventStore("memory://") as event_store:
        version = await event_store.append("account-A", [Opened(account="A")], expected_version=0)
        print(f"at version {version}: {await event_store.get_events('account-A')}")

        # Phase 5: Saga Orchestration
        async with SagaOrchestrator(event_store) as saga_orchestrator:
            saga = (
                SagaDefinition("transfer")
                .add_step(DebitStep(account="A", amount=Decimal(100)))
                .add_step(CreditStep(account="B", amount=Decimal(100)))
            )
            outcome = await saga_orchestrator.execute(saga)

        events = await event_store.get_events("account-A")
        print(f"at version {len(events)}: {events}")
        print(f"credited: {[event for event in outcome.events if isinstance(event, Credited)]}")


if __name__ == "__main__":
    asyncio.run(main())
