"""The seed, "Comparison / After Phase 5": the same with execution, compensation, timeout and tracking done for one.

It prints::

    Status: completed
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from allframe import Event, SagaDefinition, SagaOrchestrator, SagaStep


class Debited(Event):
    account: str
    amount: Decimal


class Credited(Event):
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
    async with SagaOrchestrator() as orchestrator:
        saga = (
            SagaDefinition("transfer-100")
            .add_step(DebitStep(account="A", amount=Decimal(100)))
            .add_step(CreditStep(account="B", amount=Decimal(100)))
        )

        # Automatic execution + compensation + timeout + tracking!
        await orchestrator.execute(saga)

        # Check status
        history = await orchestrator.get_history()
        print(f"Status: {history[0].status}")


if __name__ == "__main__":
    asyncio.run(main())
