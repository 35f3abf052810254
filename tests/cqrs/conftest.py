from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from allframe import CommandBus, EventStore


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as opened:
        yield opened


@pytest.fixture
def bus(store: EventStore) -> CommandBus:
    return CommandBus(store)
