"""Any history of appending, restarting, failing and rebuilding, with any size of pages, ends where a plain fold ends."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allframe import EventStore, ProjectionFailed, ProjectionRegistry
from tests.cqrs.accounts import Balances, BalancesTable, Deposited, Noted, Trap, balances, folded

EVENTS = st.lists(
    st.one_of(
        st.builds(Deposited, account=st.sampled_from("ABC"), amount=st.integers(-5, 5)),
        st.builds(Noted, text=st.just("x")),
    ),
    min_size=1,
    max_size=12,
)
#: What is done, in order.
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), EVENTS),
        st.tuples(st.just("caught up"), st.none()),
        st.tuples(st.just("leave"), st.none()),
        st.tuples(st.just("rebuild"), st.none()),
        st.tuples(st.just("rebuild, cut"), st.integers(1, 12)),
        st.tuples(st.just("fail"), st.integers(-5, 5)),
        st.tuples(st.just("mend"), st.none()),
    ),
    max_size=12,
)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(actions=ACTIONS, page=st.integers(1, 7), is_file=st.booleans())
@settings(max_examples=25, deadline=None)
def test_ends_in_the_state_of_a_plain_fold(
    backend: str, actions: list[tuple[str, object]], page: int, is_file: bool
) -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'store.db'}?durability=process" if is_file else "memory://"
        try:
            anyio.run(_live, url, actions, page, backend=backend)
        finally:
            Trap.amount = None


async def _live(url: str, actions: list[tuple[str, object]], page: int) -> None:
    async with EventStore(url) as store:
        left = list(actions)
        while left:
            async with ProjectionRegistry(store, page=page) as registry:
                await registry.register(Balances)
                await registry.register(BalancesTable)
                while left and left[0][0] != "leave":
                    await _act(store, registry, *left.pop(0))
            left = left[1:]
        Trap.amount = None
        async with ProjectionRegistry(store, page=page) as registry:
            await registry.register(Balances)
            await registry.register(BalancesTable)
            await registry.caught_up()
            expected = folded(await store.get_all_events())

            assert await balances(registry, "balances") == expected
            assert await balances(registry, "balances_table") == expected
            end = await store.backend.last_position()
            assert [found.position for found in await registry.get_all_metadata()] == [end, end]


async def _act(store: EventStore, registry: ProjectionRegistry, action: str, value: object) -> None:
    try:
        match action, value:
            case "append", list():
                await store.append("all", value)
            case "caught up", _:
                await registry.caught_up()
                expected = folded(await store.get_all_events())
                for name in ("balances", "balances_table"):
                    assert await balances(registry, name) == expected
            case "rebuild", _:
                await registry.rebuild_all()
            case "rebuild, cut", int():
                await _cut(registry, value)
            case "fail", int():
                Trap.amount = value
            case "mend", _:
                Trap.amount = None
                for found in await registry.get_all_metadata():
                    if found.state == "failed":
                        await registry.resume(found.name)
    except ProjectionFailed:
        assert Trap.amount is not None


async def _cut(registry: ProjectionRegistry, after: int) -> None:
    """Begin to rebuild, and be cancelled once it has come to a position."""
    for name in ("balances", "balances_table"):
        with anyio.CancelScope() as scope:

            def cut(position: int, total: int, scope: anyio.CancelScope = scope) -> None:
                if position >= after:
                    scope.cancel()

            await registry.rebuild(name, cut)
