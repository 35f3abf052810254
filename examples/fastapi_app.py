"""Orders over HTTP: sagas behind FastAPI, as a complete program.

pip install allframe fastapi uvicorn
uvicorn fastapi_app:app --app-dir examples --workers 1 --timeout-graceful-shutdown 10

curl -i localhost:8000/orders -H 'Idempotency-Key: order-1' --json '{"article": "cup", "price": "3.50"}'
curl localhost:8000/orders/order-1
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from allframe import (
    EventStore,
    Inject,
    OperationRefused,
    OrchestratorClosed,
    Refused,
    Saga,
    SagaIdConflict,
    SagaMetadata,
    SagaNotFound,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StoreInUse,
    StoreUnavailable,
    Unknown,
    compensates,
    step,
)

# --- the saga --------------------------------------------------------------------------------------------------------


class Shop:
    """The other side. What is asked under a key is done once, and can be taken back by it."""

    def __init__(self) -> None:
        self.reserved: dict[str, str] = {}
        self.charged: dict[str, Decimal] = {}

    async def reserve(self, article: str, *, key: str) -> None:
        self.reserved.setdefault(key, article)

    async def put_back(self, *, key: str) -> None:
        self.reserved[key] = ""  # it stays under the key: a reservation that arrives late does nothing

    async def charge(self, price: Decimal, *, key: str) -> None:
        if price > 1000:
            raise Refused("the card was declined")
        self.charged.setdefault(key, price)

    async def refund(self, *, key: str) -> None:
        self.charged[key] = Decimal(0)


class Order(BaseModel):
    """The body of a request."""

    article: str = Field(min_length=1, max_length=100)
    price: Decimal = Field(gt=0, decimal_places=2)


class PlaceOrder(Saga, name="order"):
    """Reserve the article, charge for it; or neither."""

    order: Order

    @step(timeout=10)
    async def reserve(self, shop: Inject[Shop], ctx: StepContext) -> None:
        await shop.reserve(self.order.article, key=ctx.idempotency_key)

    @compensates("reserve")
    async def put_back(self, shop: Inject[Shop], ctx: StepContext) -> None:
        await shop.put_back(key=ctx.forward_key)

    @step(timeout=10)
    async def charge(self, shop: Inject[Shop], ctx: StepContext) -> Decimal:
        await shop.charge(self.order.price, key=ctx.idempotency_key)
        return self.order.price

    @compensates("charge")
    async def refund(self, charge: Decimal | Unknown, shop: Inject[Shop], ctx: StepContext) -> None:
        await shop.refund(key=ctx.forward_key)


# --- the orchestrator, for as long as the application runs -----------------------------------------------------------


@asynccontextmanager
async def opened(url: str, patience: float) -> AsyncIterator[EventStore]:
    """The store, as soon as the process before this one has left it; after ``patience`` seconds it is an error."""
    store = EventStore(url)
    until = anyio.current_time() + patience
    while True:
        try:
            await store.open()
            break
        except StoreInUse:
            if anyio.current_time() > until:
                raise
            await anyio.sleep(0.1)
    try:
        yield store
    finally:
        await store.close()


def create_app(url: str, provide: Mapping[type, object], *, patience: float = 60, grace: float = 20) -> FastAPI:
    """The application. ``grace``: seconds that running steps get to end when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            opened(url, patience) as store,
            SagaOrchestrator(store, sagas=[PlaceOrder], provide=provide, grace=grace) as orchestrator,
        ):
            app.state.orchestrator = orchestrator
            yield

    app = FastAPI(title="Orders", lifespan=lifespan)
    app.include_router(router)
    app.add_exception_handler(SagaNotFound, _answer(404))
    app.add_exception_handler(SagaIdConflict, _answer(409))
    app.add_exception_handler(OperationRefused, _answer(409))
    # The client may ask again, with the same key: whatever was begun goes on, and nothing is begun twice.
    app.add_exception_handler(OrchestratorClosed, _answer(503, {"Retry-After": "5"}))
    app.add_exception_handler(StoreUnavailable, _answer(503, {"Retry-After": "5"}))
    return app


def _answer(status: int, headers: Mapping[str, str] | None = None) -> Any:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status, headers)

    return answer


async def _orchestrator(request: Request) -> SagaOrchestrator:
    orchestrator: SagaOrchestrator = request.app.state.orchestrator
    return orchestrator


Orchestrator = Annotated[SagaOrchestrator, Depends(_orchestrator)]

# --- the API ---------------------------------------------------------------------------------------------------------

router = APIRouter(prefix="/orders")


class OrderStatus(BaseModel):
    """Where an order stands, for its customer: of an error the text, and not the traceback."""

    id: str
    status: SagaStatus
    over: bool = Field(description="Nothing more happens to it.")
    steps_executed: int
    total_steps: int
    failed_step: str | None
    error: str | None
    attention: bool = Field(description="It is stuck, and a person looks at it.")
    updated_at: datetime

    @classmethod
    def of(cls, saga: SagaMetadata) -> OrderStatus:
        return cls(
            id=saga.id,
            status=saga.status,
            over=saga.status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.ABANDONED),
            steps_executed=saga.steps_executed,
            total_steps=saga.total_steps,
            failed_step=saga.failed_step,
            error=saga.error.message if saga.error else saga.reason,
            attention=saga.attention,
            updated_at=saga.updated_at,
        )


@router.post("", status_code=202)
async def place(
    order: Order,
    orchestrator: Orchestrator,
    request: Request,
    response: Response,
    idempotency_key: Annotated[str | None, Header(pattern=r"^[A-Za-z0-9._:-]{1,200}$")] = None,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for the end.")] = 0,
) -> OrderStatus:
    """Place an order: 202, and where to ask for it; 200 if it is over. The same key again is the same order."""
    handle = await orchestrator.start(PlaceOrder(order=order), id=idempotency_key)
    with anyio.move_on_after(wait):
        await handle.outcome()
    status = OrderStatus.of(await handle.metadata())
    response.headers["Location"] = str(request.app.url_path_for("show", id=handle.id))
    response.status_code = 200 if status.over else 202
    return status


@router.get("/{id}")
async def show(id: str, orchestrator: Orchestrator) -> OrderStatus:  # noqa: A002 - it is the name in the path
    """Where an order stands."""
    saga = await orchestrator.get_saga(id)
    if saga is None:
        raise HTTPException(404, f"There is no order {id!r}.")
    return OrderStatus.of(saga)


@router.post("/{id}/cancel", status_code=202)
async def cancel(
    id: str,  # noqa: A002 - it is the name in the path
    orchestrator: Orchestrator,
    reason: Annotated[str, Query(max_length=200)] = "the customer changed their mind",
) -> OrderStatus:
    """Have an order undone. 409 if it is too late for that."""
    await orchestrator.cancel(id, reason=reason)
    return await show(id, orchestrator)


app = create_app(os.environ.get("ORDERS_STORE", "sqlite:///orders.db"), {Shop: Shop()})
