"""The seed, "Comparison / Before Phase 5": what one wrote for each saga, the tracking included.

It prints::

    debited, then: there is no account B
    refunded
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import anyio


class TransferMoneySaga:
    def __init__(self, from_account: str, to_account: str, amount: Decimal) -> None:
        self.from_account = from_account
        self.to_account = to_account
        self.amount = amount
        self.steps_executed: list[str] = []
        self._lock = anyio.Lock()

    async def execute(self) -> None:
        # Manual step 1
        try:
            await self.debit_account()
        except Exception:
            await self.compensate_debit()
            raise

        # Manual tracking
        async with self._lock:
            self.steps_executed.append("debited")

        # Manual step 2
        try:
            await self.credit_account()
        except Exception:
            await self.compensate_debit()  # Compensation
            raise

        async with self._lock:
            self.steps_executed.append("credited")

    async def compensate(self, failed_step: int) -> None:
        # Manual compensation routing
        if failed_step == 1:
            await self.compensate_debit()

    async def debit_account(self) -> None: ...

    async def credit_account(self) -> None:
        raise LookupError(f"there is no account {self.to_account}")

    async def compensate_debit(self) -> None:
        self.steps_executed.append("refunded")


async def main() -> None:
    saga = TransferMoneySaga("A", "B", Decimal(100))
    # Manual timeout. No execution tracking, no status monitoring, no history: a crash leaves nothing to look at.
    with anyio.move_on_after(30):
        try:
            await saga.execute()
        except LookupError as error:
            print(f"{saga.steps_executed[0]}, then: {error}")
    print(saga.steps_executed[-1])


if __name__ == "__main__":
    asyncio.run(main())
