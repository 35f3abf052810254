"""Forty sagas as people write them, in all styles: what tests of the whole library run.

The far side of every step is a `Far`: it does the work of one key once, undoes it by the same key, and refuses what a test
tells it to. `EXAMPLES` has an instance of each saga; one that is built has the id ``s-1``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import anyio
from pydantic import BaseModel, Field

from allframe import (
    EffectUnknown,
    Event,
    Inject,
    Refused,
    Retry,
    Saga,
    SagaDefinition,
    SagaStep,
    StepContext,
    Unknown,
    compensates,
    step,
)

__all__ = ["EXAMPLES", "Far"]


class Far:
    """Everything beyond the process. Sync and async steps may use it at the same time."""

    def __init__(self) -> None:
        #: What stands there, by the key under which it was done.
        self.standing: dict[str, str] = {}
        #: Every call in order: ``"do charge"``, ``"undo charge"``.
        self.calls: list[str] = []
        self._refused: set[str] = set()
        self._lost: dict[str, int] = {}
        self._lock = threading.Lock()

    def refuse(self, *what: str) -> None:
        """Refuse these from now on."""
        self._refused.update(what)

    def relent(self) -> None:
        self._refused.clear()

    def lose(self, what: str, *, times: int = 1) -> None:
        """Do this, and let nobody hear of it so many times."""
        self._lost[what] = times

    def do_now(self, what: str, ctx: StepContext) -> str:
        """Do the work of the context's key, once; returns its number."""
        with self._lock:
            self.calls.append(f"do {what}")
            if what in self._refused:
                raise Refused(f"{what} refused")
            self.standing.setdefault(ctx.idempotency_key, what)
            if self._lost.get(what):
                self._lost[what] -= 1
                raise ConnectionResetError(f"{what}: the reply is lost")
            return f"{what}-{list(self.standing).index(ctx.idempotency_key) + 1}"

    def undo_now(self, what: str, ctx: StepContext) -> None:
        """Undo what was done under the forward key, if anything was."""
        with self._lock:
            self.calls.append(f"undo {what}")
            self.standing.pop(ctx.forward_key, None)

    async def do(self, what: str, ctx: StepContext) -> str:
        await anyio.lowlevel.checkpoint()
        return self.do_now(what, ctx)

    async def undo(self, what: str, ctx: StepContext) -> None:
        await anyio.lowlevel.checkpoint()
        self.undo_now(what, ctx)


AGAIN = Retry(attempts=3, wait=0.05, jitter=0)
PATIENT = Retry(attempts=20, wait=0.05, max_wait=1.0, jitter=0)


# --- buying and selling: methods in a line ---------------------------------------------------------------------------


class OrderPlaced(Event, name="forty.order_placed"):
    __stream__ = "order-{order}"
    order: str
    total: Decimal


class Line(BaseModel):
    sku: str
    quantity: int = Field(gt=0)
    price: Decimal


class PlaceOrder(Saga, name="forty.place_order"):
    """Stock, money, parcel: the one that everybody writes first."""

    order: str
    lines: list[Line]

    @step(readonly=True)
    async def total(self) -> Decimal:
        return sum((line.price * line.quantity for line in self.lines), Decimal(0))

    @step(timeout=5)
    async def reserve(self, far: Inject[Far], ctx: StepContext) -> dict[str, str]:
        return {line.sku: await far.do("reserve", ctx) for line in self.lines}

    @compensates("reserve")
    async def release(self, reserve: dict[str, str] | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve", ctx)

    @step(timeout=20, retry=AGAIN)
    async def charge(self, total: Decimal, far: Inject[Far], ctx: StepContext) -> str:
        return f"{await far.do('charge', ctx)}:{total}"

    @compensates("charge")
    async def refund(self, total: Decimal, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("charge", ctx)

    @step
    async def confirm(self, total: Decimal, charge: str) -> OrderPlaced:
        return OrderPlaced(order=self.order, total=total)


class ReturnOrder(Saga, name="forty.return_order"):
    """A pivot in the middle: once the money went back, the label is printed however long it takes."""

    order: str
    reason: Literal["broken", "unwanted"]

    @step
    async def accept(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("accept return", ctx)

    @compensates("accept")
    async def reject(self, accept: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("accept return", ctx)

    @step(pivot=True, retry=AGAIN)
    async def pay_back(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("pay back", ctx)

    @step(retry=PATIENT)
    async def print_label(self, pay_back: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("print label", ctx)


class Checkout(Saga, name="forty.checkout", timeout=600):
    """Three holds side by side, and one payment for all of them."""

    basket: UUID
    coupon: str | None = None

    @step(after=())
    async def hold_stock(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("hold stock", ctx)

    @compensates("hold_stock")
    async def free_stock(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("hold stock", ctx)

    @step(after=())
    async def hold_slot(self, far: Inject[Far], ctx: StepContext) -> datetime:
        await far.do("hold slot", ctx)
        return datetime(2026, 1, 2, 12, tzinfo=UTC)

    @compensates("hold_slot")
    async def free_slot(self, hold_slot: datetime | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("hold slot", ctx)

    @step(after=())
    async def redeem(self, far: Inject[Far], ctx: StepContext) -> Decimal:
        if self.coupon is None:
            return Decimal(0)
        await far.do("redeem", ctx)
        return Decimal("5.00")

    @compensates("redeem")
    async def give_back_coupon(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("redeem", ctx)

    @step
    async def pay(self, redeem: Decimal, hold_slot: datetime, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("pay", ctx)


class Preorder(Saga, name="forty.preorder"):
    """A payment that must not run twice where nobody knows how it went."""

    title: str

    @step
    async def enlist(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("enlist", ctx)

    @compensates("enlist")
    async def strike(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("enlist", ctx)

    @step(repeatable=False, timeout=10)
    async def authorise(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("authorise", ctx)

    @compensates("authorise", timeout=timedelta(seconds=30), retry=PATIENT)
    async def void(self, authorise: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("authorise", ctx)

    @step
    async def announce(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("announce", ctx)


class Subscription(Saga, name="forty.subscription", version=2):
    """Two kinds of outputs, a dataclass and an enum."""

    customer: str
    plan: str = "basic"

    class State(StrEnum):
        ACTIVE = "active"
        TRIAL = "trial"

    @dataclass(frozen=True)
    class Contract:
        number: str
        since: date

    @step
    async def sign(self, far: Inject[Far], ctx: StepContext) -> Contract:
        return Subscription.Contract(await far.do("sign", ctx), date(2026, 1, 1))

    @compensates("sign")
    async def tear_up(self, sign: Contract | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("sign", ctx)

    @step
    async def activate(self, sign: Contract, far: Inject[Far], ctx: StepContext) -> State:
        await far.do("activate", ctx)
        return Subscription.State.TRIAL if self.plan == "basic" else Subscription.State.ACTIVE

    @compensates("activate")
    async def deactivate(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("activate", ctx)

    @step(readonly=True)
    async def verify(self, activate: State) -> bool:
        return activate in Subscription.State


class Auction(Saga, name="forty.auction"):
    """The winner pays, the loser is paid: two ends of one line, each undone by key."""

    lot: int
    bids: dict[str, int]

    @step(readonly=True)
    async def winner(self) -> str:
        return max(self.bids, key=lambda name: (self.bids[name], name))

    @step(idempotent=True, retry=AGAIN)
    async def collect(self, winner: str, far: Inject[Far], ctx: StepContext) -> int:
        await far.do("collect", ctx)
        return self.bids[winner]

    @compensates("collect")
    async def return_money(self, winner: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("collect", ctx)

    @step
    async def hand_over(self, winner: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("hand over", ctx)


# --- travel: branches ------------------------------------------------------------------------------------------------


class Trip(Saga, name="forty.trip"):
    """Hotel, flight and car beside each other; the invoice waits for all."""

    traveller: str
    nights: int = 2

    @step(after=(), timeout=15, retry=AGAIN)
    async def hotel(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("hotel", ctx)

    @compensates("hotel")
    async def free_hotel(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("hotel", ctx)

    @step(after=(), timeout=15)
    async def flight(self, far: Inject[Far], ctx: StepContext) -> tuple[str, int]:
        return await far.do("flight", ctx), 7

    @compensates("flight")
    async def free_flight(self, flight: tuple[str, int] | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("flight", ctx)

    @step(after="flight")
    async def car(self, flight: tuple[str, int], far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("car", ctx)

    @compensates("car")
    async def free_car(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("car", ctx)

    @step
    async def invoice(self, hotel: str, car: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("invoice", ctx)


class Rebooking(Saga, name="forty.rebooking"):
    """A diamond: the new seat first, then the old one and the meal, then the mail."""

    passenger: str

    @step
    async def new_seat(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("new seat", ctx)

    @compensates("new_seat")
    async def drop_new_seat(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("new seat", ctx)

    @step(after="new_seat")
    async def meal(self, new_seat: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("meal", ctx)

    @compensates("meal")
    async def drop_meal(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("meal", ctx)

    @step(after="new_seat")
    async def old_seat(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("release old seat", ctx)

    @compensates("old_seat")
    async def take_old_seat_again(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("release old seat", ctx)

    @step(after=("meal", "old_seat"))
    async def mail(self, meal: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("mail", ctx)


class GroupTour(Saga, name="forty.group_tour"):
    """Five buses at once; the last one decides when the guide is booked."""

    people: int = 200

    @step(after=())
    async def bus_1(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("bus 1", ctx)

    @compensates("bus_1")
    async def drop_1(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("bus 1", ctx)

    @step(after=())
    async def bus_2(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("bus 2", ctx)

    @compensates("bus_2")
    async def drop_2(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("bus 2", ctx)

    @step(after=())
    def bus_3(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("bus 3", ctx)

    @compensates("bus_3")
    def drop_3(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("bus 3", ctx)

    @step
    async def guide(self, bus_1: str, bus_2: str, bus_3: str, far: Inject[Far], ctx: StepContext) -> list[str]:
        await far.do("guide", ctx)
        return [bus_1, bus_2, bus_3]


class Visa(Saga, name="forty.visa"):
    """A person must step in where the embassy's answer is lost."""

    passport: str

    @step
    async def appointment(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("appointment", ctx)

    @compensates("appointment", if_unknown="fail")
    async def cancel_appointment(self, appointment: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("appointment", ctx)

    @step
    async def fee(self, appointment: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("fee", ctx)


# --- people and accounts: sync steps, functions ----------------------------------------------------------------------


@step(timeout=None)
def create_account(name: str, far: Inject[Far], ctx: StepContext) -> str:
    return far.do_now("account", ctx)


@compensates(create_account)
def delete_account(far: Inject[Far], ctx: StepContext) -> None:
    far.undo_now("account", ctx)


@step
async def welcome(name: str, far: Inject[Far], ctx: StepContext) -> None:
    await far.do("welcome", ctx)


class SignUp(Saga, name="forty.sign_up"):
    """Nothing but plain functions."""

    name: str

    account = create_account
    close_account = delete_account
    mail = welcome


class Onboarding(Saga, name="forty.onboarding"):
    """Functions and methods together; a sync step between async ones."""

    name: str
    department: str = "sales"

    account = create_account
    close_account = delete_account

    @step
    def laptop(self, account: str, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("laptop", ctx)

    @compensates("laptop")
    def take_laptop(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("laptop", ctx)

    @step
    async def badge(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("badge", ctx)

    @compensates(badge)
    async def void_badge(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("badge", ctx)

    mail = welcome


class Offboarding(Saga, name="forty.offboarding"):
    """Everything that can be given back comes before what cannot."""

    name: str

    @step
    def lock(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("lock", ctx)

    @compensates("lock")
    def unlock(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("lock", ctx)

    @step(pivot=True)
    def delete_mail(self, far: Inject[Far], ctx: StepContext) -> None:
        far.do_now("delete mail", ctx)

    @step(retry=PATIENT)
    def archive(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("archive", ctx)


class Twins(Saga, name="forty.twins"):
    """One function twice."""

    name: str

    first = create_account
    second = create_account
    delete_first = compensates("first")(delete_account)
    delete_second = compensates("second")(delete_account)
    mail = welcome


class Payout(Saga, name="forty.payout"):
    """Reserve, then send by a bank whose timeouts say nothing and whose 'busy' does."""

    account: str
    amount: Decimal = Field(gt=0)

    class BankBusy(ConnectionError):
        retry_after = 0.05

    @step
    async def reserve(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("reserve money", ctx)

    @compensates("reserve")
    async def free(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("reserve money", ctx)

    @step(known_on=BankBusy, retry=Retry(attempts=5, wait=0.05, jitter=0, on=BankBusy))
    async def send(self, reserve: str, far: Inject[Far], ctx: StepContext) -> str:
        if ctx.attempt == 1:
            raise Payout.BankBusy
        return await far.do("send money", ctx)


class PayrollRun(Saga, name="forty.payroll_run"):
    """A long list in and a model with a list out."""

    month: str
    people: list[str]

    class Report(BaseModel):
        paid: list[str]
        total: Decimal

    @step(readonly=True)
    def compute(self) -> dict[str, Decimal]:
        return {person: Decimal(1000 + len(person)) for person in self.people}

    @step
    async def fund(self, compute: dict[str, Decimal], far: Inject[Far], ctx: StepContext) -> Decimal:
        await far.do("fund", ctx)
        return sum(compute.values(), Decimal(0))

    @compensates("fund")
    async def defund(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("fund", ctx)

    @step
    async def pay_all(self, compute: dict[str, Decimal], fund: Decimal, far: Inject[Far], ctx: StepContext) -> Report:
        await far.do("pay all", ctx)
        return PayrollRun.Report(paid=sorted(compute), total=fund)


class Loan(Saga, name="forty.loan"):
    """Checks that change nothing, beside each other, before anything is done."""

    applicant: str
    amount: int

    @step(after=(), readonly=True)
    async def score(self) -> int:
        return 700

    @step(after=(), readonly=True)
    def income(self) -> int:
        return 4000

    @step
    async def lock_funds(self, score: int, income: int, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("lock funds", ctx)

    @compensates("lock_funds")
    async def free_funds(self, score: int, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("lock funds", ctx)

    @step
    async def contract(self, lock_funds: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("contract", ctx)

    @compensates("contract")
    async def annul(self, contract: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("contract", ctx)

    @step
    async def disburse(self, contract: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("disburse", ctx)


class Exchange(Saga, name="forty.exchange"):
    """Money out here and in there: the transfer of the demo, with a rate."""

    source: str
    target: str
    amount: Decimal

    @step(readonly=True)
    async def rate(self) -> Decimal:
        return Decimal("1.08")

    @step(timeout=10)
    async def debit(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("debit", ctx)

    @compensates("debit")
    async def credit_back(self, debit: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("debit", ctx)

    @step(timeout=10)
    async def credit(self, rate: Decimal, far: Inject[Far], ctx: StepContext) -> Decimal:
        await far.do("credit", ctx)
        return self.amount * rate

    @compensates("credit")
    async def debit_back(self, credit: Decimal | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("credit", ctx)


class Dispute(Saga, name="forty.dispute"):
    """A step that says itself that it does not know."""

    case: int

    @step
    async def freeze(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("freeze", ctx)

    @compensates("freeze")
    async def thaw(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("freeze", ctx)

    @step(retry=AGAIN)
    async def ask_bank(self, far: Inject[Far], ctx: StepContext) -> str:
        number = await far.do("ask bank", ctx)
        if ctx.attempt == 1:
            raise EffectUnknown("the bank answered with an empty page")
        return number

    @compensates("ask_bank")
    async def withdraw_question(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("ask bank", ctx)

    @step
    async def settle(self, ask_bank: str, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("settle", ctx)


# --- machines: bases, mixins, generics -------------------------------------------------------------------------------


class Provisioning(Saga, abstract=True):
    """What every machine has: a name and an address, and both can be given back."""

    host: str

    @step
    async def address(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("address", ctx)

    @compensates("address")
    async def free_address(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("address", ctx)

    @step(timeout=120)
    async def machine(self, address: str, far: Inject[Far], ctx: StepContext) -> str:
        raise NotImplementedError

    @compensates("machine")
    async def destroy(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("machine", ctx)


class VirtualMachine(Provisioning, name="forty.virtual_machine"):
    async def machine(self, address: str, far: Inject[Far], ctx: StepContext) -> str:
        return f"{await far.do('machine', ctx)} at {address}"

    @step
    async def register(self, machine: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("register", ctx)


class Container(Provisioning, name="forty.container"):
    image: str = "debian"

    async def machine(self, address: str, far: Inject[Far], ctx: StepContext) -> str:
        await far.do("machine", ctx)
        return f"{self.image} at {address}"

    @step
    def scan(self, machine: str, far: Inject[Far], ctx: StepContext) -> bool:
        far.do_now("scan", ctx)
        return True


class Monitored:
    """A mixin that is no saga."""

    @step(readonly=True)
    async def monitor(self, far: Inject[Far], ctx: StepContext) -> str:
        return f"watching {ctx.saga_id}"


class Database(Monitored, Provisioning, name="forty.database", timeout=3600):
    async def machine(self, address: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("machine", ctx)

    @step
    async def restore(self, machine: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("restore", ctx)


Size = TypeVar("Size")


class Resize(Saga, Generic[Size], abstract=True):
    """Of any kind of size."""

    host: str
    size: Size

    @step
    async def grow(self, far: Inject[Far], ctx: StepContext) -> Size:
        await far.do("grow", ctx)
        return self.size

    @compensates("grow")
    async def shrink(self, grow: Size | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("grow", ctx)

    @step
    async def remount(self, grow: Size, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("remount", ctx)


class ResizeDisk(Resize[int], name="forty.resize_disk"):
    pass


class ResizeFleet(Resize[dict[str, int]], name="forty.resize_fleet"):
    pass


class Certificate(Saga, name="forty.certificate"):
    """A challenge that stays only while it is needed: undone by the next step, too."""

    domain: str

    @step
    async def challenge(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("challenge", ctx)

    @compensates("challenge")
    async def remove_challenge(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("challenge", ctx)

    @step(timeout=90, retry=AGAIN, idempotent=True)
    async def order(self, challenge: str, far: Inject[Far], ctx: StepContext) -> bytes:
        return (await far.do("order certificate", ctx)).encode()

    @compensates("order")
    async def revoke(self, order: bytes | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("order certificate", ctx)

    @step
    def install(self, order: bytes, far: Inject[Far], ctx: StepContext) -> int:
        far.do_now("install", ctx)
        return len(order)


class Deployment(Saga, name="forty.deployment"):
    """Two regions after one image, and the switch as the pivot, with work after it."""

    image: str

    @step
    async def build(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("build", ctx)

    @compensates("build")
    async def drop_build(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("build", ctx)

    @step(after="build")
    async def europe(self, build: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("europe", ctx)

    @compensates("europe")
    async def europe_back(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("europe", ctx)

    @step(after="build")
    async def asia(self, build: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("asia", ctx)

    @compensates("asia")
    async def asia_back(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("asia", ctx)

    @step(pivot=True, retry=AGAIN)
    async def switch(self, europe: str, asia: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("switch", ctx)

    @step(after="switch", retry=PATIENT)
    async def purge(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("purge", ctx)

    @step(after="switch", retry=PATIENT)
    async def tell(self, switch: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("tell", ctx)


class Backup(Saga, name="forty.backup"):
    """One sync step that looks whether it should end."""

    volumes: list[str]

    @step
    def snapshot(self, far: Inject[Far], ctx: StepContext) -> list[str]:
        done = []
        for volume in self.volumes:
            if ctx.cancelled:
                raise EffectUnknown("interrupted")
            done.append(f"{volume} in {far.do_now('snapshot', ctx)}")
        return done

    @compensates("snapshot")
    def delete(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("snapshot", ctx)

    @step
    def upload(self, snapshot: list[str], far: Inject[Far], ctx: StepContext) -> int:
        far.do_now("upload", ctx)
        return len(snapshot)


class Migration(Saga, name="forty.migration"):
    """A longer line, as they grow."""

    table: str

    @step
    async def lock(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("lock table", ctx)

    @compensates("lock")
    async def unlock(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("lock table", ctx)

    @step
    async def copy_rows(self, far: Inject[Far], ctx: StepContext) -> int:
        await far.do("copy", ctx)
        return 10**6

    @compensates("copy_rows")
    async def drop_copy(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("copy", ctx)

    @step(after="copy_rows", readonly=True)
    async def count(self, copy_rows: int) -> int:
        return copy_rows

    @step
    async def swap(self, copy_rows: int, count: int, far: Inject[Far], ctx: StepContext) -> bool:
        await far.do("swap", ctx)
        return count == copy_rows

    @compensates("swap")
    async def swap_back(self, swap: bool | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("swap", ctx)

    @step(readonly=True)
    async def smoke_test(self, swap: bool) -> bool:
        return swap


# --- post and freight: events ----------------------------------------------------------------------------------------


class ParcelSent(Event, name="forty.parcel_sent"):
    __stream__ = "parcel-{parcel}"
    parcel: str


class ParcelCalledBack(Event, name="forty.parcel_called_back"):
    __stream__ = "parcel-{parcel}"
    parcel: str


class SendParcel(Saga, name="forty.send_parcel"):
    """What happened is told in events, also that it was taken back."""

    parcel: str

    @step
    async def send(self, far: Inject[Far], ctx: StepContext) -> ParcelSent:
        await far.do("send parcel", ctx)
        return ParcelSent(parcel=self.parcel)

    @compensates("send")
    async def call_back(self, send: ParcelSent | Unknown, far: Inject[Far], ctx: StepContext) -> ParcelCalledBack:
        await far.undo("send parcel", ctx)
        return ParcelCalledBack(parcel=self.parcel)

    @step
    async def notify(self, send: ParcelSent, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("notify", ctx)


class Freight(Saga, name="forty.freight"):
    """Several events of one step, and one emitted beside."""

    parcels: list[str]

    @step
    async def load(self, far: Inject[Far], ctx: StepContext) -> list[Event]:
        await far.do("load", ctx)
        ctx.emit(ParcelSent(parcel="manifest"), stream="manifests")
        return [ParcelSent(parcel=parcel) for parcel in self.parcels]

    @compensates("load")
    async def unload(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("load", ctx)

    @step
    async def depart(self, far: Inject[Far], ctx: StepContext) -> datetime:
        await far.do("depart", ctx)
        return datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


class Customs(Saga, name="forty.customs"):
    """A step that stands above the one it comes after."""

    shipment: str

    @step(after=("declare", "inspect"))
    async def clear(self, declare: str, inspect: bool, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("clear", ctx)

    @step(after=())
    async def declare(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("declare", ctx)

    @compensates("declare")
    async def withdraw(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("declare", ctx)

    @step(after=(), readonly=True)
    async def inspect(self) -> bool:
        return True


class ColdChain(Saga, name="forty.cold_chain", unknown_on=ValueError):
    """A class of errors that says nothing, for all steps."""

    batch: int

    @step(retry=AGAIN)
    async def cool(self, far: Inject[Far], ctx: StepContext) -> float:
        await far.do("cool", ctx)
        if ctx.attempt == 1:
            raise ValueError("the thermometer answered -1")
        return -20.5

    @compensates("cool")
    async def warm(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("cool", ctx)

    @step
    async def seal(self, cool: float, far: Inject[Far], ctx: StepContext) -> bool:
        await far.do("seal", ctx)
        return cool < 0


# --- content, health, public services: everything else ---------------------------------------------------------------


class Publish(Saga, name="forty.publish"):
    """No output anywhere: steps that only do."""

    article: int

    @step
    async def render(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("render", ctx)

    @compensates("render")
    async def unrender(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("render", ctx)

    @step
    async def index(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("index", ctx)

    @compensates("index")
    async def unindex(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("index", ctx)

    @step
    async def push(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("push", ctx)


class Transcode(Saga, name="forty.transcode"):
    """Stored names that are not the methods' names: they were renamed once."""

    video: str

    @step(name="upload_original")
    async def store(self, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("store video", ctx)

    @compensates("store")
    async def erase(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("store video", ctx)

    @step(name="encode", after="store")
    def encode_low(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("encode low", ctx)

    @compensates("encode_low")
    def erase_low(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("encode low", ctx)

    @step(after="store")
    def encode_high(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("encode high", ctx)

    @compensates("encode_high")
    def erase_high(self, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("encode high", ctx)

    @step
    async def list_it(self, encode_low: str, encode_high: str, far: Inject[Far], ctx: StepContext) -> list[str]:
        await far.do("list", ctx)
        return [encode_low, encode_high]


class Prescription(Saga, name="forty.prescription"):
    """A tree of models as input."""

    class Drug(BaseModel):
        name: str
        milligrams: int

    class Patient(BaseModel):
        name: str
        born: date
        allergies: frozenset[str] = frozenset()

    patient: Patient
    drugs: list[Drug]

    @step(readonly=True)
    async def check(self) -> bool:
        return not any(drug.name in self.patient.allergies for drug in self.drugs)

    @step
    async def dispense(self, check: bool, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("dispense", ctx)

    @compensates("dispense")
    async def take_back(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("dispense", ctx)

    @step
    async def bill(self, dispense: str, far: Inject[Far], ctx: StepContext) -> str:
        return await far.do("bill", ctx)


class Election(Saga, name="forty.election"):
    """Nothing but looking: there is nothing to undo."""

    station: int

    @step(after=(), readonly=True)
    async def paper(self) -> int:
        return 412

    @step(after=(), readonly=True)
    def machine(self) -> int:
        return 412

    @step(readonly=True)
    async def compare(self, paper: int, machine: int) -> bool:
        return paper == machine


class Permit(Saga, name="forty.permit"):
    """A context that may be missing, and objects with a default."""

    plot: str

    @step
    async def apply(self, far: Inject[Far], ctx: StepContext | None = None) -> str:
        assert ctx is not None
        return await far.do("apply", ctx)

    @compensates("apply")
    async def withdraw(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo("apply", ctx)

    @step
    async def stamp(self, far: Inject[Far], ctx: StepContext, ink: Inject[str] = "blue") -> str:
        return f"{ink} {await far.do('stamp', ctx)}"


# --- built of step objects -------------------------------------------------------------------------------------------


class Ordered(Event, name="forty.ordered"):
    __stream__ = "supplier-{supplier}"
    supplier: str
    part: str


class OrderPart(SagaStep, name="forty.order_part", timeout=30, retry=AGAIN, compensation_timeout=15):
    """An order with a supplier, who takes it back until it is sent."""

    supplier: str
    part: str
    pieces: int = Field(gt=0)

    async def execute(self, far: Inject[Far], ctx: StepContext) -> Ordered:
        await far.do(f"order {self.part}", ctx)
        return Ordered(supplier=self.supplier, part=self.part)

    async def compensate(self, output: Ordered | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        await far.undo(f"order {self.part}", ctx)


class BookTruck(SagaStep, name="forty.book_truck", compensation_retry=Retry(attempts=10, wait=0.05)):
    """The client of this carrier has no async: it runs on a thread."""

    tonnes: Decimal

    def execute(self, far: Inject[Far], ctx: StepContext) -> str:
        return far.do_now("book truck", ctx)

    def compensate(self, output: str | Unknown, far: Inject[Far], ctx: StepContext) -> None:
        far.undo_now("book truck", ctx)


class CountStock(SagaStep, name="forty.count_stock", readonly=True):
    async def execute(self) -> int:
        return 3


class Announce(SagaStep, name="forty.announce", retry=PATIENT):
    """Nobody can take back what was announced."""

    what: str

    async def execute(self, far: Inject[Far], ctx: StepContext) -> None:
        await far.do("announce", ctx)


def _supplier_order() -> SagaDefinition:
    """One after the other: what is ordered comes, or nothing is on the road."""
    return (
        SagaDefinition("s-1", name="forty.supplier_order", timeout=timedelta(days=30))
        .add_step(CountStock())
        .add_step(OrderPart(supplier="Bolt & Sons", part="bolts", pieces=400), name="bolts")
        .add_step(BookTruck(tonnes=Decimal("0.4")), name="truck")
    )


def _assembly() -> SagaDefinition:
    """Two suppliers side by side, a truck for both, and the news, which is the point of no return."""
    return (
        SagaDefinition("s-1", name="forty.assembly")
        .add_step(OrderPart(supplier="Bolt & Sons", part="bolts", pieces=8), name="bolts", after=())
        .add_step(OrderPart(supplier="Frame AG", part="frame", pieces=1), name="frame", after=())
        .add_step(BookTruck(tonnes=Decimal(1)), name="truck", after=("bolts", "frame"))
        .add_step(Announce(what="a bicycle"))
    )


def _fleet() -> SagaDefinition:
    """As many trucks as there are tonnes, each on a thread beside the others, and none without all."""
    definition = SagaDefinition("s-1", name="forty.fleet")
    for number in range(1, 4):
        definition = definition.add_step(BookTruck(tonnes=Decimal(number)), name=f"truck {number}", after=())
    return definition.add_step(CountStock(), name="count")


#: An instance of each, by its stored name.
EXAMPLES: dict[str, Any] = {
    saga.name if isinstance(saga, SagaDefinition) else type(saga).saga_name: saga
    for saga in (
        PlaceOrder(order="1", lines=[Line(sku="cup", quantity=2, price=Decimal("3.50"))]),
        ReturnOrder(order="1", reason="broken"),
        Checkout(basket=UUID(int=7), coupon="SPRING"),
        Preorder(title="Moby Dick"),
        Subscription(customer="Ada"),
        Auction(lot=3, bids={"Ada": 10, "Bob": 12}),
        Trip(traveller="Ada"),
        Rebooking(passenger="Bob"),
        GroupTour(),
        Visa(passport="X1"),
        SignUp(name="Ada"),
        Onboarding(name="Bob"),
        Offboarding(name="Cy"),
        Twins(name="Di"),
        Payout(account="A", amount=Decimal(10)),
        PayrollRun(month="2026-01", people=["Ada", "Bob"]),
        Loan(applicant="Ada", amount=5000),
        Exchange(source="A", target="B", amount=Decimal(100)),
        Dispute(case=9),
        VirtualMachine(host="vm1"),
        Container(host="c1", image="alpine"),
        Database(host="db1"),
        ResizeDisk(host="vm1", size=100),
        ResizeFleet(host="fleet", size={"small": 3, "large": 1}),
        Certificate(domain="example.org"),
        Deployment(image="app:1"),
        Backup(volumes=["a", "b"]),
        Migration(table="orders"),
        SendParcel(parcel="p1"),
        Freight(parcels=["p1", "p2"]),
        Customs(shipment="s1"),
        ColdChain(batch=1),
        Publish(article=1),
        Transcode(video="v1"),
        Prescription(
            patient=Prescription.Patient(name="Ada", born=date(1815, 12, 10)),
            drugs=[Prescription.Drug(name="tea", milligrams=1)],
        ),
        Election(station=12),
        Permit(plot="12b"),
        _supplier_order(),
        _assembly(),
        _fleet(),
    )
}
