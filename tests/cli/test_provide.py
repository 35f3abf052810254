"""What sagas inject comes from a mapping, a container, a context manager, or a callable that gives any of these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import dishka
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
            assert (found.objects, found.container) == ({int: 7}, None)
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


class Book:
    """Something that a container makes."""


def container(log: list[str]) -> dishka.AsyncContainer:
    async def book() -> AsyncIterator[Book]:
        yield Book()
        log.append("book closed")

    provider = dishka.Provider(scope=dishka.Scope.APP)
    provider.provide(book)
    return dishka.make_async_container(provider, lock_factory=anyio.Lock)


async def test_takes_a_container_and_closes_it_at_the_end() -> None:
    log: list[str] = []

    async def later() -> dishka.AsyncContainer:
        await anyio.sleep(1)
        return container(log)

    for provider in (container(log), lambda: container(log), later):
        async with provided(provider, "shop:provide") as found:
            assert found.objects == {}
            assert found.container is not None
            assert isinstance(await found.container.get(Book), Book)
            assert found.provider().names() == "a container that makes Book"
            assert log == []
        assert log == ["book closed"]
        log.clear()


async def test_a_container_is_closed_when_the_block_fails() -> None:
    log: list[str] = []

    with pytest.raises(KeyError, match="lost"):
        async with provided(container(log), "shop:provide") as found:
            assert found.container is not None
            await found.container.get(Book)
            raise KeyError("lost")
    assert log == ["book closed"]


async def test_a_manager_closes_the_container_that_it_yields() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[dishka.AsyncContainer]:
        opened = container(log)
        yield opened
        log.append("manager")
        await opened.close()

    async with provided(manager, "shop:provide") as found:
        assert found.container is not None
        await found.container.get(Book)
    assert log == ["manager", "book closed"]


async def test_takes_an_async_function() -> None:
    async def provide() -> dict[type, object]:
        return {int: 7}

    async def fail() -> dict[type, object]:
        raise OSError("no route to the bank")

    async def nothing() -> None: ...

    async with provided(provide, "shop:provide") as found:
        assert found.objects == {int: 7}
    with pytest.raises(Stop, match="shop:provide cannot provide: OSError: no route to the bank"):
        async with provided(fail, "shop:provide"):
            pass
    with pytest.raises(Stop, match=r"shop:provide gives an object of NoneType\. Expected a mapping"):
        async with provided(nothing, "shop:provide"):
            pass


@pytest.mark.parametrize("wrap", [lambda given: given, lambda given: lambda: given], ids=["itself", "returned"])
async def test_a_container_that_cannot_be_used_is_refused(wrap: Any) -> None:
    for given, said in (
        (dishka.make_container(), "found a dishka Container, which makes objects synchronously"),
        (dishka.make_async_container(start_scope=dishka.Scope.STEP), "The container is in scope STEP"),
    ):
        with pytest.raises(Stop, match=rf"shop:provide cannot be used: .*{said}") as caught:
            async with provided(wrap(given), "shop:provide"):
                pass
        assert caught.value.code == Exit.USAGE


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
