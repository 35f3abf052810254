"""The widget store of DBOS."""

from __future__ import annotations

from allframe import Inject, Retry, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far

__all__ = ["Checkout"]

#: A paid order is marked and dispatched, however long it takes.
UNTIL_IT_SUCCEEDS = Retry(attempts=1_000_000, wait=1.0, max_wait=60.0)


class Checkout(Saga, name="ports.dbos.checkout"):
    """An order, a widget for it, the customer's payment; then it is paid for, and dispatched.

    dbos-inc/dbos-demo-apps, python/widget-store/widget_store/main.py: `checkout_workflow`. Until the payment has come, the way
    back is to return the widget and to mark the order as cancelled; after that there is none. The payment is waited for, at
    most for the 60 s of `DBOS.recv`. Each step is a transaction of the store's database, and the dispatch another workflow.
    """

    @step
    def create_order(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("create order", ctx)

    @compensates("create_order")
    def cancel_order(self, create_order: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        """Marks the order of that key as cancelled."""
        far.undo_now("create order", ctx)

    @step
    def reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("reserve inventory", ctx)

    @compensates("reserve_inventory")
    def undo_reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("reserve inventory", ctx)

    @step(pivot=True, timeout=60)
    async def payment(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("take payment", ctx)

    @step(retry=UNTIL_IT_SUCCEEDS)
    def mark_paid(self, create_order: str, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("mark paid", ctx)

    @step(retry=UNTIL_IT_SUCCEEDS)
    async def start_dispatch(self, create_order: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("dispatch", ctx)
