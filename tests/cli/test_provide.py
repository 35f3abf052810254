"""What sagas inject comes from a mapping, a context manager, or a callable that gives either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest

from allframe.cli.exits import Exit, Stop
from allframe.cli.provide import find_provider, provided

pytestmark = pytest.mark.anyio


def module_with(**names: Any) -> ModuleType:
    module = ModuleType("shop")
    vars(module).update(names)
    return module


async def test_takes_a_mapping_a_manager_or_a_callable() -> None:
    events = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[dict[type, object]]:
        events.append("opened")
        yield {int: 7}
        events.append("closed")

    for provider in ({int: 7}, manager(), manager, lambda: {int: 7}):
        async with provided(provider, "shop:provide") as found:
            assert found == {int: 7}
    assert events == ["opened", "closed"] * 2


async def test_a_manager_is_closed_and_told_when_the_block_fails() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[dict[type, object]]:
        try:
            yield {}
        except KeyError as error:
            seen.append(error)  # and swallows it

    with pytest.raises(KeyError, match="lost"):
        async with provided(manager, "shop:provide"):
            raise KeyError("lost")
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (7, "shop:provide gives an object of int. Expected a mapping from types to objects"),
        (lambda: [int], "shop:provide gives an object of list. Expected"),
        (lambda a: {}, "shop:provide cannot be called without arguments: missing a required argument: 'a'."),
        ({"Bank": 7}, "shop:provide has the key 'Bank', which is no type."),
        (lambda: 1 / 0, "shop:provide cannot provide: ZeroDivisionError: division by zero"),
    ],
)
async def test_says_what_is_wrong_with_a_provider(provider: object, said: str) -> None:
    with pytest.raises(Stop) as caught:
        async with provided(provider, "shop:provide"):
            pass
    assert str(caught.value).startswith(said)
    assert caught.value.code == Exit.USAGE


async def test_a_coroutine_is_no_manager() -> None:
    async def provide() -> dict[type, object]:
        return {}

    with pytest.raises(Stop, match=r"shop:provide gives a coroutine\. Expected"):
        async with provided(provide, "shop:provide"):
            pass


async def test_a_manager_that_cannot_open_or_close_says_so() -> None:
    async def fail(why: str) -> None:
        raise OSError(why)

    @asynccontextmanager
    async def unopened() -> AsyncIterator[dict[type, object]]:
        await fail("no route to the bank")
        yield {}

    @asynccontextmanager
    async def unclosed() -> AsyncIterator[dict[type, object]]:
        yield {}
        raise OSError("half closed")

    with pytest.raises(Stop, match="shop:provide cannot provide: OSError: no route to the bank"):
        async with provided(unopened, "shop:provide"):
            pass
    with pytest.raises(Stop, match="shop:provide failed when it was closed: OSError: half closed"):
        async with provided(unclosed, "shop:provide"):
            pass


def test_the_option_comes_before_the_module() -> None:
    module = module_with(provide={int: 1})

    assert find_provider(None, module) == ({int: 1}, "shop:provide")
    assert find_provider(None, module_with()) == ({}, "shop:provide")
    assert find_provider("allframe.demo.saga:provide", module)[1] == "allframe.demo.saga:provide"
    with pytest.raises(Stop, match=r"--provide: allframe.demo.saga has no 'provid'\. Did you mean 'provide'\?"):
        find_provider("allframe.demo.saga:provid", module)
    with pytest.raises(Stop, match=r"--provide allframe.demo names no object\. Expected module:thing"):
        find_provider("allframe.demo", module)
