"""The FastAPI recipe, in this process: what each request is answered, on asyncio and trio."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from allframe import EventStore, StoreInUse
from examples.fastapi_app import Shop, create_app
from tests.sources import ROOT

pytestmark = pytest.mark.anyio

CUP = {"article": "cup", "price": "3.50"}


class SlowShop(Shop):
    """A clock takes eight seconds to reserve; a piano cannot be put back."""

    async def reserve(self, article: str, *, key: str) -> None:
        await anyio.sleep(8 if article == "clock" else 0)
        await super().reserve(article, key=key)

    async def put_back(self, *, key: str) -> None:
        if self.reserved.get(key) == "piano":
            raise RuntimeError("it is too heavy")
        await super().put_back(key=key)


@pytest.fixture
def shop() -> Shop:
    return SlowShop()


@pytest.fixture
def app(shop: Shop, tmp_path: Path) -> FastAPI:
    return create_app(f"sqlite:///{tmp_path}/orders.db", {Shop: shop}, patience=10, grace=5)


@pytest.fixture
async def client(app: FastAPI, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running application."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


async def ended(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    """What an order came to."""
    while True:
        status: dict[str, Any] = (await client.get(path)).json()
        if status["over"] or status["attention"]:
            return status
        await anyio.sleep(1)


async def test_an_order_is_accepted_with_the_place_where_to_ask_for_it(client: httpx.AsyncClient, shop: Shop) -> None:
    answer = await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))

    assert (answer.status_code, answer.headers["Location"]) == (202, "/orders/order-1")
    assert answer.json()["status"] == "executing"
    status = await ended(client, answer.headers["Location"])
    assert (status["id"], status["status"], status["steps_executed"]) == ("order-1", "completed", 2)
    assert (list(shop.reserved.values()), list(shop.charged.values())) == (["clock"], [Decimal(9)])


async def test_without_a_key_each_request_is_an_order_of_its_own(client: httpx.AsyncClient) -> None:
    places = {(await client.post("/orders", json=CUP)).headers["Location"] for _ in range(2)}

    assert [(await ended(client, place))["status"] for place in places] == ["completed", "completed"]


async def test_the_same_key_again_is_the_same_order(client: httpx.AsyncClient, shop: Shop) -> None:
    first = await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))
    again = await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))
    await ended(client, "/orders/order-1")
    over = await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))

    assert [first.status_code, again.status_code, over.status_code] == [202, 202, 200]
    assert {answer.headers["Location"] for answer in (first, again, over)} == {"/orders/order-1"}
    assert list(shop.reserved.values()) == ["clock"]


async def test_the_same_key_for_something_else_is_a_conflict(client: httpx.AsyncClient) -> None:
    await client.post("/orders", json=CUP, headers=key("order-1"))

    answer = await client.post("/orders", json={**CUP, "article": "pot"}, headers=key("order-1"))

    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("The id 'order-1' belongs to a saga 'order' with another input.")


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"article": "cup", "price": "-1"}, {}), ({"article": "cup"}, {}), (CUP, key("no spaces")), (CUP, key("x" * 201))],
)
async def test_what_is_no_order_is_refused_and_nothing_begins(
    client: httpx.AsyncClient, shop: Shop, body: dict[str, str], headers: dict[str, str]
) -> None:
    answer = await client.post("/orders", json=body, headers=headers)

    assert answer.status_code == 422
    assert shop.reserved == {}


async def test_a_client_may_wait_for_the_end(client: httpx.AsyncClient) -> None:
    quick = await client.post("/orders?wait=30", json=CUP)
    slow = await client.post("/orders?wait=5", json={"article": "clock", "price": "9"})

    assert (quick.status_code, quick.json()["status"]) == (200, "completed")
    assert (slow.status_code, slow.json()["status"]) == (202, "executing")


async def test_an_order_that_was_refused_says_why_and_is_over(client: httpx.AsyncClient, shop: Shop) -> None:
    answer = await client.post("/orders?wait=30", json={"article": "yacht", "price": "5000"})

    assert (answer.status_code, answer.json()["status"]) == (200, "compensated")
    assert (answer.json()["failed_step"], answer.json()["error"]) == ("charge", "the card was declined")
    assert "Traceback" not in answer.text
    assert list(shop.reserved.values()) == [""]


async def test_an_order_that_is_stuck_asks_for_attention(client: httpx.AsyncClient) -> None:
    answer = await client.post("/orders", json={"article": "piano", "price": "5000"}, headers=key("order-1"))

    status = await ended(client, answer.headers["Location"])

    assert (status["status"], status["attention"], status["over"]) == ("failed", True, False)


async def test_an_unknown_order_is_not_found(client: httpx.AsyncClient) -> None:
    asked = await client.get("/orders/nobody")
    cancelled = await client.post("/orders/nobody/cancel")

    assert (asked.status_code, asked.json()) == (404, {"detail": "There is no order 'nobody'."})
    assert cancelled.status_code == 404
    assert "no saga 'nobody'" in cancelled.json()["detail"]


async def test_a_running_order_can_be_cancelled_and_an_order_that_is_over_cannot(
    client: httpx.AsyncClient, shop: Shop
) -> None:
    await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))

    accepted = await client.post("/orders/order-1/cancel")
    status = await ended(client, "/orders/order-1")
    refused = await client.post("/orders/order-1/cancel")

    assert accepted.status_code == 202
    assert (status["status"], status["error"]) == ("compensated", "the customer changed their mind")
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("Saga 'order-1' is compensated")
    assert shop.charged == {}


async def test_a_client_that_goes_away_while_it_waits_does_not_stop_its_order(client: httpx.AsyncClient) -> None:
    with anyio.move_on_after(2) as scope:
        await client.post("/orders?wait=30", json={"article": "clock", "price": "9"}, headers=key("order-1"))

    assert scope.cancelled_caught
    assert (await ended(client, "/orders/order-1"))["status"] == "completed"


async def test_an_application_that_leaves_asks_to_come_back(app: FastAPI) -> None:
    async with client_of(app) as client:
        async with app.router.lifespan_context(app):
            assert (await client.post("/orders", json=CUP, headers=key("order-1"))).is_success

        answers = [
            await client.post("/orders", json=CUP, headers=key("order-1")),
            await client.get("/orders/order-1"),
            await client.post("/orders/order-1/cancel"),
        ]

    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "5")] * 3


async def test_a_full_disk_asks_to_come_back(shop: Shop, tmp_path: Path) -> None:
    app = create_app(f"sqlite:///{tmp_path}/orders.db?max_page_count=20", {Shop: shop}, grace=0)

    async with app.router.lifespan_context(app), client_of(app) as client:
        answers = [await client.post("/orders", json={**CUP, "article": "x" * 100}) for _ in range(100)]
        full = next(answer for answer in answers if not answer.is_success)

        assert (full.status_code, full.headers["Retry-After"]) == (503, "5")
        assert "full" in full.json()["detail"]


async def test_the_next_application_goes_on_with_what_this_one_left(app: FastAPI, shop: Shop, tmp_path: Path) -> None:
    async with app.router.lifespan_context(app), client_of(app) as client:
        await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))
    assert shop.charged == {}, "a clock takes longer than the grace"

    app = create_app(f"sqlite:///{tmp_path}/orders.db", {Shop: shop})
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await ended(client, "/orders/order-1"))["status"] == "completed"
        assert (
            await client.post("/orders", json={"article": "clock", "price": "9"}, headers=key("order-1"))
        ).is_success


async def test_an_application_waits_until_the_one_before_has_left(app: FastAPI, tmp_path: Path) -> None:
    async def leave_later(store: EventStore) -> None:
        await anyio.sleep(4)
        await store.close()

    async with anyio.create_task_group() as group:
        store = EventStore(f"sqlite:///{tmp_path}/orders.db")
        await store.open()
        group.start_soon(leave_later, store)
        began = anyio.current_time()
        async with app.router.lifespan_context(app):
            assert 4 <= anyio.current_time() - began < 6


async def test_an_application_does_not_wait_for_ever(app: FastAPI, tmp_path: Path) -> None:
    async with EventStore(f"sqlite:///{tmp_path}/orders.db"):
        with pytest.raises(StoreInUse):
            async with app.router.lifespan_context(app):
                pytest.fail("it has no store")


def test_the_page_shows_this_very_program_and_names_its_requests() -> None:
    page = (ROOT / "docs" / "fastapi.md").read_text(encoding="utf-8")
    schema = create_app("memory://", {}).openapi()
    requests = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}

    assert "```{literalinclude} ../examples/fastapi_app.py\n" in page
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) [^`?]+)", page)) == requests
