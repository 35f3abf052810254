"""The FastAPI recipe in a process of its own, with a shop whose work can be seen and held up from outside.

``uvicorn tests.recipes.gated_orders:app``, in a folder: what is done is written to ``book.txt``; a reservation takes until
there is a file ``go``.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import anyio

from examples.fastapi_app import Shop, create_app


class GatedShop(Shop):
    async def reserve(self, article: str, *, key: str) -> None:
        note(f"reserve {article}")
        while not Path("go").exists():
            await anyio.sleep(0.01)
        note(f"reserved {article}")

    async def put_back(self, *, key: str) -> None:
        note("put back")

    async def charge(self, price: Decimal, *, key: str) -> None:
        note(f"charge {price}")


def note(what: str) -> None:
    with Path("book.txt").open("a") as book:
        book.write(f"{what}\n")


app = create_app("sqlite:///orders.db", {Shop: GatedShop()}, grace=30)
