"""What it costs to import allframe, and to declare a saga.

    python benchmarks/importing.py [--processes N] [--classes N]

Importing: fresh processes, in turns, the best of each. `import pydantic` loads nothing of it before it is asked for, and
neither does `import allframe`; so the second pair loads what declares a model, and what declares and runs a saga.

Declaring: a saga of five fields and five steps, of which four have a compensation, that return small models; beside it a
pydantic model of the same fields. A fresh class each time, in turns, the best of each. All annotations are text, as with
`from __future__ import annotations`.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal

from pydantic import BaseModel

from allframe import Inject, Saga, StepContext, Unknown, compensates, step


class Shop:
    """What the steps ask for."""


class Receipt(BaseModel):
    number: int
    amount: Decimal


class Parcel(BaseModel):
    number: int
    weight: float | None = None


def declare_model() -> type[BaseModel]:
    class Order(BaseModel):
        article: str
        quantity: int
        price: Decimal
        address: list[str]
        note: str | None = None

    return Order


def declare_saga() -> type[Saga]:
    class Order(Saga):
        article: str
        quantity: int
        price: Decimal
        address: list[str]
        note: str | None = None

        @step
        async def reserve(self, shop: Inject[Shop], ctx: StepContext) -> Receipt: ...

        @compensates("reserve")
        async def release(self, reserve: Receipt | Unknown, shop: Inject[Shop]) -> None: ...

        @step
        async def charge(self, reserve: Receipt, shop: Inject[Shop]) -> Receipt: ...

        @compensates("charge")
        async def refund(self, charge: Receipt | Unknown, shop: Inject[Shop]) -> None: ...

        @step
        async def pack(self, reserve: Receipt) -> Parcel: ...

        @compensates("pack")
        async def unpack(self, pack: Parcel | Unknown) -> None: ...

        @step
        async def label(self, pack: Parcel, ctx: StepContext) -> str: ...

        @compensates("label")
        async def void(self, label: str | Unknown) -> None: ...

        @step
        async def ship(self, pack: Parcel, label: str) -> dict[str, int]: ...

    return Order


IMPORTS = (
    ("import", "import pydantic, anyio", "import allframe"),
    (
        "import and load",
        "import anyio, asyncio, sqlite3; from pydantic import BaseModel",
        "from allframe import Saga, SagaOrchestrator, compensates, step",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="What importing allframe and declaring a saga cost.")
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--classes", type=int, default=300)
    given = parser.parse_args()
    print("| what | by itself, ms | allframe, ms | times |")
    print("|---|--:|--:|--:|")
    for what, theirs, ours in IMPORTS:
        row(what, *in_turns(lambda code=theirs: fresh(code), lambda code=ours: fresh(code), given.processes))  # type: ignore[misc]
    row("declare", *in_turns(declaring(declare_model), declaring(declare_saga), given.classes))


def row(what: str, theirs: float, ours: float) -> None:
    print(f"| {what} | {theirs * 1e3:,.2f} | {ours * 1e3:,.2f} | {ours / theirs:.2f} |")


def in_turns(one: Callable[[], float], other: Callable[[], float], times: int) -> tuple[float, float]:
    """The least seconds of each."""
    found = [(one(), other()) for _ in range(times)]
    return min(a for a, _ in found), min(b for _, b in found)


def fresh(code: str) -> float:
    """Seconds that a new interpreter takes for ``code``, from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def declaring(declare: Callable[[], type]) -> Callable[[], float]:
    def seconds() -> float:
        gc.collect()
        begin = time.perf_counter()
        declare()
        return time.perf_counter() - begin

    return seconds


if __name__ == "__main__":
    main()
