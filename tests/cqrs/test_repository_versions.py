"""`Repository` on a store that has event versions: what was stored in the past is what it would be today."""

from __future__ import annotations

from typing import Any

import pytest

from allframe import Aggregate, Event, EventStore, Repository, VersionRegistry, upcasts
from allframe.events.backend import StoredSnapshot

pytestmark = pytest.mark.anyio


class PaidV1(Event, name="versions.paid", version=1):
    euros: int


class Paid(Event, name="versions.paid", version=2):
    cents: int


class Till(Aggregate, name="versions.till", version=2):
    cents: int = 0

    def apply(self, event: Event) -> None:
        assert isinstance(event, Paid)
        self.cents += event.cents


@upcasts("versions.paid", from_version=1)
def in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"cents": data["euros"] * 100}


@upcasts("versions.till", from_version=1)
def till_in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"id": data["id"], "version": data["version"], "cents": data["euros"] * 100}


async def test_events_of_the_past_are_applied_as_those_of_today(store_url: str) -> None:
    """Also before they are written: a save returns what a load gives."""
    async with EventStore(store_url, versions=VersionRegistry([in_cents])) as store:
        tills = Repository(store, Till)
        await store.append("till-1", [PaidV1(euros=2)])

        saved = await tills.change("1", lambda _: [PaidV1(euros=3), Paid(cents=7)])

        assert saved == await tills.load("1") == Till(id="1", version=3, cents=507)


async def test_a_snapshot_of_the_past_is_read_as_one_of_today(store_url: str) -> None:
    async with EventStore(store_url, versions=VersionRegistry([till_in_cents], models=[Till])) as store:
        await store.append("till-1", [Paid(cents=100)])
        data = b'{"id":"1","version":1,"euros":9}'
        await store.backend.save_snapshot(StoredSnapshot("till-1", "versions.till", 1, 1, data, 0))

        # Not the 100 of the event: it is the snapshot that was read.
        assert await Repository(store, Till, snapshot_every=5).load("1") == Till(id="1", version=1, cents=900)
