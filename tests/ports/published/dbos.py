"""What the checker refuses of the widget store, as it is published."""

from __future__ import annotations

from allframe import Inject, Saga, StepContext, compensates, step
from tests.forty import Far
from tests.ports.published.refusals import refused

with refused("ports.dbos.checkout"):

    class Checkout(Saga, name="ports.dbos.checkout"):
        """An order, a widget for it, the customer's payment; then it is paid for, and dispatched."""

        @step
        def create_order(self, far: Inject[Far], ctx: StepContext) -> str:
            return far.do_now("create order", ctx)

        @compensates("create_order")
        def cancel_order(self, create_order: str, far: Inject[Far], ctx: StepContext) -> None:
            """Marks the order of that number as cancelled."""
            far.undo_now(f"create order {create_order}", ctx)

        @step
        def reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> None:
            far.do_now("reserve inventory", ctx)

        @compensates("reserve_inventory")
        def undo_reserve_inventory(self, far: Inject[Far], ctx: StepContext) -> None:
            far.undo_now("reserve inventory", ctx)

        @step(pivot=True, timeout=60)
        async def payment(self, far: Inject[Far], ctx: StepContext) -> str:
            return await far.do("take payment", ctx)

        @step
        def mark_paid(self, create_order: str, far: Inject[Far], ctx: StepContext) -> None:
            far.do_now("mark paid", ctx)

        @step
        async def start_dispatch(self, create_order: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.do("dispatch", ctx)
