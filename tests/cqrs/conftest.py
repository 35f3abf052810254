from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from allframe import CommandBus, EventStore
from tests.cqrs.accounts import KINDS, Balances, BalancesTable, Trap


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url) as opened:
        yield opened


@pytest.fixture
def bus(store: EventStore) -> CommandBus:
    return CommandBus(store)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[Balances] | type[BalancesTable]:
    """Balances in memory, and in tables."""
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def _no_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trap, "amount", None)
