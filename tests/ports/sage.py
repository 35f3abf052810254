"""The user who is created and subscribed, twice in the README of Sage (Elixir): by `with`, and as a saga."""

from __future__ import annotations

from pydantic import BaseModel

from allframe import Inject, Retry, Saga, StepContext, Unknown, compensates, step
from tests.forty import Far

__all__ = ["CreateAndSubscribeUser", "CreateAndSubscribeUserByHand"]


class UserAttributes(BaseModel):
    email: str


class SubscriptionAttributes(BaseModel):
    plan: str


class User(BaseModel):
    number: str
    email: str


class Plan(BaseModel):
    id: str
    total: float


CACHED_PLANS = [Plan(id="free", total=0), Plan(id="standard", total=4.99)]


async def list_plans() -> list[Plan]:
    """What the billing service offers today."""
    return [*CACHED_PLANS, Plan(id="gold", total=9.99)]


class CreateAndSubscribeUser(Saga, name="ports.sage.create_and_subscribe_user"):
    """A user, a subscription, and side by side a delivery and a receipt.

    Nebo15/sage, README.md, "Using Sagas": `SageExample`. All of it runs in a transaction of the repository, so `create_user`
    has no compensation there. That of the plans is a circuit breaker, which goes on with what was cached; that of the
    subscription asks for up to 5 retries. Compensations are called for the stage that failed, too, whose effect may be `nil`.
    `finally` logs and is no step.
    """

    user: UserAttributes
    subscription: SubscriptionAttributes

    @step
    async def create_user(self, far: Inject[Far], ctx: StepContext) -> User:
        return User(number=await far.do("create user", ctx), email=self.user.email)

    @compensates("create_user")
    async def delete_user(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create user", ctx)

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


class CreateAndSubscribeUserByHand(Saga, name="ports.sage.by_hand"):
    """The same with a charge, as it was before there were sagas.

    Nebo15/sage, README.md, "Using `with` (the old way)": `WithExample`, which says of itself "don't do this". What its `else`
    undoes are the charge, the subscription and the delivery, each by what it was given for them.
    """

    user: UserAttributes
    subscription: SubscriptionAttributes

    @step
    async def create_user(self, far: Inject[Far], ctx: StepContext) -> User:
        return User(number=await far.do("create user", ctx), email=self.user.email)

    @compensates("create_user")
    async def delete_user(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("create user", ctx)

    @step(readonly=True)
    async def fetch_subscription_plans(self) -> list[Plan]:
        return await list_plans()

    @step
    async def charge_card(
        self, create_user: User, fetch_subscription_plans: list[Plan], far: Inject[Far], ctx: StepContext
    ) -> str:
        return await far.do("charge card", ctx)

    @compensates("charge_card")
    async def refund(self, charge_card: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("charge card", ctx)

    @step
    async def create_subscription(self, create_user: User, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("subscribe", ctx)

    @compensates("create_subscription")
    async def delete_subscription(self, create_subscription: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("subscribe", ctx)

    @step
    async def schedule_delivery(
        self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
    ) -> str:
        return await far.do("schedule delivery", ctx)

    @compensates("schedule_delivery")
    async def delete_delivery_from_schedule(
        self, schedule_delivery: str | Unknown, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.undo("schedule delivery", ctx)

    @step
    async def send_email_receipt(
        self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
    ) -> None:
        await far.do("send receipt", ctx)

    @compensates("send_email_receipt")
    async def send_excuse_for_email_receipt(self, create_user: User, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("send receipt", ctx)

    @step
    async def update_user(
        self, create_user: User, create_subscription: str, far: Inject[Far], ctx: StepContext
    ) -> User:
        await far.do("update user", ctx)
        return create_user
