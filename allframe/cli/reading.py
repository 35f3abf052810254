"""A store, opened for reading only: beside whoever owns it, or with nobody there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from allframe import EventStore, VersionRegistry
from allframe.cli.options import read_only
from allframe.events.coded import Codecs

__all__ = ["read_store"]

T = TypeVar("T")


def read_store(
    url: str,
    codec: Codecs | None,
    read: Callable[[EventStore], Awaitable[T]],
    *,
    versions: VersionRegistry | None = None,
) -> T:
    """What ``read`` comes to with the store."""
    url = read_only(url)

    async def open_and_read() -> T:
        async with EventStore(url, versions=versions, codec=codec) as store:
            return await read(store)

    return anyio.run(open_and_read)
