"""What the checker refuses of Temporal's samples, as they are published."""

from __future__ import annotations

from allframe import Inject, Saga, StepContext, compensates, step
from tests.forty import Far
from tests.ports.published.refusals import refused
from tests.ports.temporal import TWICE, UNTIL_IT_SUCCEEDS, Address, BankDetails

with refused("ports.temporal.move_money"):

    class MoveMoney(Saga, name="ports.temporal.move_money"):
        """Out of one account, into another."""

        from_account: str
        to_account: str
        reference: str
        amount_cents: int

        @step(timeout=5, retry=UNTIL_IT_SUCCEEDS)
        async def withdraw(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("withdraw", ctx)

        @step(timeout=5, retry=UNTIL_IT_SUCCEEDS)
        async def deposit(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("deposit", ctx)


with refused("ports.temporal.open_account"):

    class OpenAccount(Saga, name="ports.temporal.open_account"):
        """An account, its address, its client, its bank."""

        account_id: str
        address: Address
        client_email: str
        bank_details: BankDetails

        @step(timeout=2, retry=TWICE)
        async def create_account(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("create account", ctx)

        @step(timeout=2, retry=TWICE)
        async def add_address(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("add address", ctx)

        @compensates("add_address", timeout=2, retry=TWICE)
        async def clear_postal_addresses(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("add address", ctx)

        @step(timeout=2, retry=TWICE)
        async def add_client(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("add client", ctx)

        @compensates("add_client", timeout=2, retry=TWICE)
        async def remove_client(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("add client", ctx)

        @step(timeout=4, retry=TWICE)
        async def add_bank_account(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("add bank account", ctx)

        @compensates("add_bank_account", timeout=2, retry=TWICE)
        async def disconnect_bank_accounts(self, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("add bank account", ctx)
