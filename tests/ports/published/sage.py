"""What the checker refuses of Sage's, as it is published."""

from __future__ import annotations

from allframe import Inject, Retry, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far
from tests.ports.published.refusals import refused
from tests.ports.sage import CACHED_PLANS, Plan, SubscriptionAttributes, User, UserAttributes, list_plans

with refused("ports.sage.create_and_subscribe_user"):

    class CreateAndSubscribeUser(Saga, name="ports.sage.create_and_subscribe_user"):
        """A user, a subscription, and side by side a delivery and a receipt."""

        user: UserAttributes
        subscription: SubscriptionAttributes

        @step
        async def create_user(self, far: Inject[Far], ctx: StepContext) -> User:
            return User(number=await far.do("create user", ctx), email=self.user.email)

        @step(readonly=True)
        async def fetch_subscription_plans(self) -> list[Plan]:
            try:
                return await list_plans()
            except ConnectionError:
                return CACHED_PLANS

        @step(retry=Retry(attempts=6, wait=0.01, factor=20, max_wait=30, jitter=0.5))
        async def create_subscription(self, create_user: User, far: Inject[Far], ctx: StepContext) -> str:
            return await far.do("subscribe", ctx)

        @compensates("create_subscription")
        async def delete_subscription(self, create_user: User, far: Inject[Far], ctx: StepContext) -> None:
            """Deletes all subscriptions of the user, and so needs nothing of the one that was made."""
            await far.undo(f"subscribe {create_user.number}", ctx)

        @step(after="create_subscription", timeout=5)
        async def schedule_delivery(
            self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
        ) -> str:
            return await far.do("schedule delivery", ctx)

        @compensates("schedule_delivery")
        async def delete_delivery_from_schedule(
            self, schedule_delivery: str | Unknown, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.undo("schedule delivery", ctx)

        @step(after="create_subscription", timeout=5)
        async def send_email_receipt(
            self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.do("send receipt", ctx)

        @compensates("send_email_receipt")
        async def send_excuse_for_email_receipt(self, create_user: User, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo("send receipt", ctx)

        @step
        async def set_plan_for_a_user(
            self,
            create_user: User,
            fetch_subscription_plans: list[Plan],
            create_subscription: str,
            far: Inject[Far],
            ctx: StepContext,
        ) -> User:
            await far.do("set plan", ctx)
            return create_user


with refused("ports.sage.by_hand"):

    class CreateAndSubscribeUserByHand(Saga, name="ports.sage.by_hand"):
        """The same with a charge, as it was before there were sagas."""

        user: UserAttributes
        subscription: SubscriptionAttributes

        @step
        async def create_user(self, far: Inject[Far], ctx: StepContext) -> User:
            return User(number=await far.do("create user", ctx), email=self.user.email)

        @step(readonly=True)
        async def fetch_subscription_plans(self) -> list[Plan]:
            return await list_plans()

        @step
        async def charge_card(
            self, create_user: User, fetch_subscription_plans: list[Plan], far: Inject[Far], ctx: StepContext
        ) -> str:
            return await far.do("charge card", ctx)

        @compensates("charge_card")
        async def refund(self, charge_card: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo(f"charge card {charge_card}", ctx)

        @step
        async def create_subscription(self, create_user: User, far: Inject[Far], ctx: StepContext) -> str:
            return await far.do("subscribe", ctx)

        @compensates("create_subscription")
        async def delete_subscription(self, create_subscription: str, far: Inject[Far], ctx: StepContext) -> None:
            await far.undo(f"subscribe {create_subscription}", ctx)

        @step
        async def schedule_delivery(
            self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
        ) -> str:
            return await far.do("schedule delivery", ctx)

        @compensates("schedule_delivery")
        async def delete_delivery_from_schedule(
            self, schedule_delivery: str, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.undo(f"schedule delivery {schedule_delivery}", ctx)

        @step
        async def send_email_receipt(
            self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
        ) -> None:
            await far.do("send receipt", ctx)

        @step
        async def update_user(
            self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
        ) -> User:
            await far.do("update user", ctx)
            return create_user
