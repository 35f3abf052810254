"""A bank account, for tests of what aggregates do: its events, and what may happen to it."""

from __future__ import annotations

from allframe import Aggregate, Event

__all__ = ["Account", "Deposited", "Opened", "Overdrawn", "Withdrawn"]


class Opened(Event, name="cqrs.opened"):
    owner: str


class Deposited(Event, name="cqrs.deposited"):
    amount: int


class Withdrawn(Event, name="cqrs.withdrawn"):
    amount: int


class Overdrawn(Exception):
    """There is not that much in it."""


class Account(Aggregate, name="cqrs.account"):
    owner: str = ""
    balance: int = 0
    #: Every amount in it, as a thing that is changed in place.
    amounts: list[int] = []

    def apply(self, event: Event) -> None:
        match event:
            case Opened(owner=owner):
                self.owner = owner
            case Deposited(amount=amount):
                self._move(amount)
            case Withdrawn(amount=amount):
                self._move(-amount)
            case _:
                raise LookupError(f"nothing is known of {type(event).__name__}")

    def _move(self, amount: int) -> None:
        self.balance += amount
        self.amounts.append(amount)

    def withdraw(self, amount: int) -> list[Event]:
        if amount > self.balance:
            raise Overdrawn(f"{amount} of {self.balance}")
        return [Withdrawn(amount=amount)]
