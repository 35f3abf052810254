"""The seed, "Architecture / Before (Manual Saga Management)": a saga written by hand, and what is wrong with it.

It prints::

    Failed: there is no account B
    executed: debited
    compensated: debit
    Timeout
    executed: debited
    compensated: nothing

After the timeout nobody knows whether B was credited, and A stays debited: what a saga written by hand forgets.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import anyio


class TransferMoneySaga:
    """Debit one account, credit another; which steps were executed is tracked by hand."""

    def __init__(self, from_account: str, to_account: str, amount: Decimal) -> None:
        self.from_account = from_account
        self.to_account = to_account
        self.amount = amount
        self.steps_executed: list[str] = []
        self.compensated: list[str] = []

    async def execute(self) -> None:
        # Step 1: debit
        try:
            await self.debit_account()
        except Exception:
            await self.compensate(0)
            raise
        self.track_step("debited")

        # Step 2: credit
        try:
            await self.credit_account()
        except Exception:
            await self.compensate(1)
            raise
        self.track_step("credited")

    async def compensate(self, failed_step: int) -> None:
        match failed_step:
            case 0:
                pass
            case 1:
                await self.compensate_debit()
            case _:
                raise ValueError("Invalid step")

    async def debit_account(self) -> None: ...

    async def credit_account(self) -> None:
        if self.to_account == "B":
            raise LookupError("there is no account B")
        await anyio.sleep(60)

    async def compensate_debit(self) -> None:
        self.compensated.append("debit")

    def track_step(self, step: str) -> None:
        self.steps_executed.append(step)


async def main() -> None:
    for target in ("B", "a bank that does not answer"):
        saga = TransferMoneySaga("A", target, Decimal(100))
        # The seed has 30 seconds; nobody who runs an example wants to wait that long.
        with anyio.move_on_after(0.05) as scope:
            try:
                await saga.execute()
                print("Success")
            except LookupError as error:
                print(f"Failed: {error}")
        if scope.cancelled_caught:
            print("Timeout")
        print("executed:", ", ".join(saga.steps_executed))
        print("compensated:", ", ".join(saga.compensated) or "nothing")


if __name__ == "__main__":
    asyncio.run(main())
