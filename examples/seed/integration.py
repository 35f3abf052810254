"""The seed, "Integration Example": a saga over an event store that others read.

It prints::

    ✅ Transfer complete!
    Sagas completed: 1
    In the stream transfer-1: [Debited(account='A', amount=Decimal('100'))]
    Balances: {'A': Decimal('-105')}

The seed makes its ``ProjectionRegistry`` and its ``VersionRegistry`` here, and uses neither. Here the one reads the events that
the saga appended, and the other what an older program did.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from decimal import Decimal
from typing import Any

from allframe import (
    Event,
    EventStore,
    Projection,
    ProjectionRegistry,
    RecordedEvent,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    VersionRegistry,
    upcasts,
)


class AccountEvent(Event):
    account: str
    amount: Decimal


class Debited(AccountEvent, version=2):
    pass


class Credited(AccountEvent):
    pass


class DebitedLongAgo(Event, name="Debited", version=1):
    account: str
    cents: int


@upcasts("Debited", from_version=1)
def from_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"account": data["account"], "amount": str(Decimal(data["cents"]) / 100)}


class DebitStep(SagaStep, name="Debit"):
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        return [Debited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        return [Credited(account=self.account, amount=self.amount)]


class Balances(Projection, name="balances"):
    def __init__(self) -> None:
        self.amounts: defaultdict[str, Decimal] = defaultdict(Decimal)

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        match event:
            case Debited(account=account, amount=amount):
                self.amounts[account] -= amount
            case Credited(account=account, amount=amount):
                self.amounts[account] += amount

    def reset(self) -> None:
        self.amounts.clear()


async def main() -> None:
    # VersionRegistry (Phase 4)
    version_registry = VersionRegistry([from_cents])

    # EventStore (Phase 1), ProjectionRegistry (Phase 3) and SagaOrchestrator (Phase 5) over it
    async with (
        EventStore(versions=version_registry) as event_store,
        ProjectionRegistry(event_store) as projection_registry,
        SagaOrchestrator(event_store) as saga_orchestrator,
    ):
        await projection_registry.register("balances", Balances)
        await event_store.append("long-ago", [DebitedLongAgo(account="A", cents=500)])

        # Build and execute saga
        saga = SagaDefinition("transfer-1").add_step(DebitStep(account="A", amount=Decimal(100)))
        await saga_orchestrator.execute(saga)

        # The seed stores the events here: event_store.append("transfer-1", events). Here they are stored already, each in
        # one transaction with the record of the step that gave it: no crash can come between the two. They are in the
        # stream named by the saga's id, or in that of their own `__stream__`.
        print("✅ Transfer complete!")
        print(f"Sagas completed: {await saga_orchestrator.history_count()}")
        print(f"In the stream transfer-1: {await event_store.get_events('transfer-1')}")

        await projection_registry.caught_up()
        print(f"Balances: {dict(projection_registry.get('balances', Balances).amounts)}")


if __name__ == "__main__":
    asyncio.run(main())
