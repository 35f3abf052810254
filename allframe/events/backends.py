"""A store's URL -> the backend that it names."""

from __future__ import annotations

from allframe.events.backend import EventStoreBackend
from allframe.events.memory import MemoryBackend
from allframe.events.sqlite import SqliteBackend
from allframe.events.url import MemoryUrl, parse_url
from allframe.masking import shown

__all__ = ["backend_of"]


def backend_of(given: EventStoreBackend | str | None) -> EventStoreBackend:
    """The backend that was given, or that a URL names; one in memory for None. It is not open yet.

    Raises:
        StoreUnavailable: for a URL that allframe does not understand.
        TypeError: if it is neither.
    """
    if given is None:
        return MemoryBackend()
    if not isinstance(given, str):
        if isinstance(given, type) or not hasattr(given, "commit"):
            raise TypeError(
                f"EventStore takes the URL of a store, such as 'sqlite:///bank.db', or a backend, found {shown(given)}."
            )
        return given
    url = parse_url(given)
    if isinstance(url, MemoryUrl):
        return MemoryBackend()
    return SqliteBackend(
        url.path,
        durability=url.durability,
        busy_timeout=url.busy_timeout,
        max_page_count=url.max_page_count,
        readonly=url.readonly,
        url=given,
    )
