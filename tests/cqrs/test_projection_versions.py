"""Projections are given what was stored in the past as the events of today, also those that had another name."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import (
    Event,
    EventStore,
    Projection,
    ProjectionRegistry,
    RecordedEvent,
    SqlProjection,
    Transaction,
    VersionRegistry,
    upcasts,
)

pytestmark = pytest.mark.anyio


class PaidV1(Event, name="projected.payed", version=1):
    euros: int


class Paid(Event, name="projected.paid", version=1):
    cents: int


@upcasts("projected.payed", from_version=1, to_type="projected.paid", to_version=1)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


class Total(Projection, name="total"):
    handles = (Paid,)

    def __init__(self) -> None:
        self.cents = 0

    def apply(self, event: Event, recorded: RecordedEvent) -> None:
        assert isinstance(event, Paid)
        self.cents += event.cents

    def reset(self) -> None:
        self.cents = 0


class Table(SqlProjection, name="table"):
    handles = (Paid,)
    schema = "CREATE TABLE paid (cents INTEGER NOT NULL)"

    def apply(self, event: Event, recorded: RecordedEvent, tx: Transaction) -> None:
        assert isinstance(event, Paid)
        tx.execute("INSERT INTO paid VALUES (:cents)", {"cents": event.cents})


async def test_events_of_the_past_are_projected_as_those_of_today(store_url: str) -> None:
    async with (
        EventStore(store_url, versions=VersionRegistry([in_cents])) as store,
        ProjectionRegistry(store) as projections,
    ):
        await store.append("till", [PaidV1(euros=2), Paid(cents=7)])
        await projections.register(Total)
        await projections.register(Table)

        for _ in range(2):
            await projections.caught_up()
            assert projections.get("total", Total).cents == 207
            assert await projections.query("table", "SELECT cents FROM paid") == [(200,), (7,)]
            await projections.rebuild_all()
