"""The seed, "Architecture / After (Automatic Saga Orchestration)": the same transfer of two reusable steps.

It prints::

    Generated 2 events
    Running sagas: 0
    Completed: 1
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from allframe import Event, SagaDefinition, SagaOrchestrator, SagaStep


class AccountEvent(Event):
    """An enum in Rust; here the base of its variants."""

    account: str
    amount: Decimal  # the seed has a float; money is counted exactly


class Debited(AccountEvent):
    pass


class Credited(AccountEvent):
    pass


# Define steps (reusable!)
class DebitStep(SagaStep, timeout=5):  # optional custom timeout
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        # Debit logic
        return [Debited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        # Compensate by crediting back. It is called where nobody knows whether the debit took effect, too: a real one asks
        # the bank to revert what was done under `ctx.forward_key`, as in examples/transfer_money.py.
        return [Credited(account=self.account, amount=self.amount)]


class CreditStep(SagaStep):
    account: str
    amount: Decimal

    async def execute(self) -> list[AccountEvent]:
        # Credit logic
        return [Credited(account=self.account, amount=self.amount)]

    async def compensate(self) -> list[AccountEvent]:
        # Compensate by debiting back
        return [Debited(account=self.account, amount=self.amount)]


async def main() -> None:
    # The seed's orchestrator is made and forgotten; ours owns the tasks that sagas run in, so it is entered and left.
    async with SagaOrchestrator() as orchestrator:
        # Build saga with fluent API
        saga = (
            SagaDefinition("transfer-100")
            .add_step(DebitStep(account="A", amount=Decimal(100)))
            .add_step(CreditStep(account="B", amount=Decimal(100)))
        )

        # Execute: automatic compensation on failure! The seed returns the events; here they are part of the outcome.
        outcome = await orchestrator.execute(saga)

        print(f"Generated {len(outcome.events)} events")
        print(f"Running sagas: {await orchestrator.running_count()}")
        print(f"Completed: {await orchestrator.history_count()}")


if __name__ == "__main__":
    asyncio.run(main())
