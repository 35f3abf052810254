"""The three services: each has a state of its own, that no transaction of ours can reach.

They stand for three systems behind a network. Each knows what it did for which key, so that asking it twice does it once, and
taking back what never arrived does nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import anyio

from allframe import Refused

__all__ = ["Payment", "Shipping", "Stock"]


@dataclass
class Stock:
    """What lies in the warehouse, and what of it is reserved."""

    free: Counter[str] = field(default_factory=lambda: Counter(lamp=3, chair=2))
    reserved: dict[str, dict[str, int]] = field(default_factory=dict)

    async def reserve(self, items: dict[str, int], *, key: str) -> None:
        if key in self.reserved:
            return
        for item, count in items.items():
            if self.free[item] < count:
                raise Refused(f"only {self.free[item]} of {item} left")
        self.free.subtract(items)
        self.reserved[key] = items

    async def release(self, *, key: str) -> None:
        self.free.update(self.reserved.pop(key, {}))


@dataclass
class Payment:
    """Who has how much, in cents."""

    accounts: dict[str, int] = field(default_factory=lambda: {"ada": 50_000, "bob": 1_000, "eve": 50_000})
    taken: dict[str, tuple[str, int]] = field(default_factory=dict)

    async def take(self, customer: str, cents: int, *, key: str) -> None:
        if key in self.taken:
            return
        if self.accounts.get(customer, 0) < cents:
            raise Refused(f"{customer} has only {self.accounts.get(customer, 0)} cents")
        self.accounts[customer] -= cents
        self.taken[key] = customer, cents

    async def give_back(self, *, key: str) -> None:
        customer, cents = self.taken.pop(key, ("", 0))
        if customer:
            self.accounts[customer] += cents


@dataclass
class Shipping:
    """Parcels that are on their way, by key."""

    parcels: dict[str, str] = field(default_factory=dict)

    async def ship(self, order: str, customer: str, *, key: str) -> str:
        parcel = self.parcels.setdefault(key, f"parcel-{order}")
        if customer == "eve":
            await anyio.sleep_forever()  # it is shipped, and the answer never comes
        return parcel

    async def call_back(self, *, key: str) -> None:
        self.parcels.pop(key, None)
