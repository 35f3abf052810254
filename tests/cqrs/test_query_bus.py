"""A query goes to its one handler, and the answer comes back."""

from __future__ import annotations

import threading
from decimal import Decimal

import anyio
import pytest

from allframe import DependencyMissing, Inject, Query, QueryBus, QueryNotFound
from tests.cqrs.world import BalanceOf

pytestmark = pytest.mark.anyio


class Balances(dict[str, Decimal]): ...


class CountOf(Query[int], name="query-bus.count-of"): ...


async def test_a_query_is_answered_by_its_handler() -> None:
    queries = QueryBus(provide={Balances: Balances(A=Decimal(7))})

    @queries.handler
    async def balance_of(query: BalanceOf, balances: Inject[Balances]) -> Decimal:
        return balances[query.account]

    assert await queries.dispatch(BalanceOf(account="A")) == Decimal(7)
    assert queries.handlers_count() == 1
    with pytest.raises(KeyError):  # the handler's own error
        await queries.dispatch(BalanceOf(account="B"))


async def test_a_plain_function_and_an_object_answer_as_well() -> None:
    threads: list[threading.Thread] = []

    class Counter:
        def handle(self, query: CountOf) -> int:
            threads.append(threading.current_thread())
            return 3

    queries = QueryBus()
    queries.register(CountOf, Counter())

    assert await queries.dispatch(CountOf()) == 3
    assert threads != [threading.current_thread()]


async def test_a_query_may_be_asked_within_another_that_registers_its_handler() -> None:
    queries = QueryBus()

    async def balance_of(query: BalanceOf) -> Decimal:
        return Decimal(4)

    @queries.handler
    async def count_of(query: CountOf) -> int:
        queries.register(BalanceOf, balance_of)
        return 1 + int(await queries.dispatch(BalanceOf(account="A")))

    with anyio.fail_after(5):
        assert await queries.dispatch(CountOf()) == 5


async def test_a_query_without_a_handler_says_what_to_do() -> None:
    with pytest.raises(QueryNotFound) as refusal:
        await QueryBus().dispatch(CountOf())

    assert str(refusal.value) == (
        "The bus has no handler for CountOf, the query 'query-bus.count-of'. It has handlers for: none. Register one: "
        "@bus.handler, or bus.register(CountOf, ...)."
    )
    with pytest.raises(TypeError, match="Expected an instance of a Query class, found an object of str"):
        await QueryBus().dispatch("x")  # type: ignore[arg-type]


async def test_a_missing_object_names_the_query_bus() -> None:
    queries = QueryBus()

    @queries.handler
    async def balance_of(query: BalanceOf, balances: Inject[Balances]) -> Decimal:
        return balances[query.account]

    with pytest.raises(DependencyMissing, match=r"Hand it to the bus: QueryBus\(\.\.\., provide=\{\.\.\.\}\)"):
        await queries.dispatch(BalanceOf(account="A"))
