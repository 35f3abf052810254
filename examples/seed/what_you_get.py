"""The seed, "All 5 Phases Complete / What You Get": its five phases over one event store.

It prints::

    at version 1: [Opened(account='A', owner='ada')]
    commanded: [Debited(account='A', amount=Decimal('5'))]
    refused: amount: Input should be greater than 0
    owners: {'A': 'ada', 'B': 'nobody'}
    at version 3: Debited(account='A', amount=Decimal('100'))
    credited: [Credited(account='B', amount=Decimal('100'))]
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from allframe import (
    AutoUpcaster,
    Command,
    CommandBus,
    CommandInvalid,
    Event,
    EventStore,
    Projection,
    ProjectionRegistry,
    RecordedEvent,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    VersionRegistry,
)


class OpenedV1(Event, name="Opened", version=1):
    account: str


class Opened(Event, version=2):
    account: str
    owner: str = "nobody"


class Debited(Event):
    __stream__: ClassVar[str] = "account-{account}"
    account: str
    amount: Decimal


class Credited(Event):
    __stream__: ClassVar[str] = "account-{account}"
    account: str
    amount: Decimal


class Debit(Command):
    account: str
    amount: Decimal = Field(gt=0)


class DebitHandler:
    async def handle(self, command: Debit) -> list[Event]:
        return [Debited(account=command.account, amount=command.amount)]


class OwnerProjection(Projection):
    def __init__(self) -> None:
        self.owners: dict[str, str] = {}

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        match event:
            case Opened(account=account, owner=owner):
                self.owners[account] = owner

    def reset(self) -> None:
        self.owners.clear()


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
    # Phase 4: Automatic Event Versioning. It comes first, for the store reads by it.
    version_registry = VersionRegistry()
    version_registry.register_upcaster(AutoUpcaster(OpenedV1, Opened))

    # Phase 1: Pluggable Event Store
    async with EventStore("memory://", versions=version_registry) as event_store:
        await event_store.append("account-B", [OpenedV1(account="B")])
        version = await event_store.append("account-A", [Opened(account="A", owner="ada")], expected_version=0)
        print(f"at version {version}: {await event_store.get_events('account-A')}")

        # Phase 2: Type-Safe Command Dispatch. What the handler returns is appended.
        command_bus = CommandBus(event_store)
        command_bus.register(Debit, DebitHandler())
        print(f"commanded: {await command_bus.dispatch(Debit(account='A', amount=Decimal(5)))}")
        try:
            command_bus.parse(Debit, {"account": "A", "amount": -5})
        except CommandInvalid as invalid:
            print("refused:", *(f"{error.field}: {error.message}" for error in invalid.errors))

        # Phase 3: Automatic Projections
        projection_registry = ProjectionRegistry(event_store)
        await projection_registry.register("owners", OwnerProjection())
        await projection_registry.start_subscription()
        await projection_registry.caught_up()
        print(f"owners: {dict(sorted(projection_registry.get('owners', OwnerProjection).owners.items()))}")
        await projection_registry.stop()

        # Phase 5: Saga Orchestration
        async with SagaOrchestrator(event_store) as saga_orchestrator:
            saga = (
                SagaDefinition("transfer")
                .add_step(DebitStep(account="A", amount=Decimal(100)))
                .add_step(CreditStep(account="B", amount=Decimal(100)))
            )
            outcome = await saga_orchestrator.execute(saga)

        events = await event_store.get_events("account-A")
        print(f"at version {len(events)}: {events[-1]!r}")
        print(f"credited: {[event for event in outcome.events if isinstance(event, Credited)]}")


if __name__ == "__main__":
    asyncio.run(main())
