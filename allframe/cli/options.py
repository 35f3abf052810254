"""Options that several commands have, and what they say."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from allframe.cli.exits import Stop

__all__ = ["StoreOption", "needed", "read_only"]

StoreOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="The event store, such as sqlite:///sagas.db (a relative path) or sqlite:////var/lib/sagas.db.",
        envvar="ALLFRAME_STORE",
        metavar="URL",
        show_default=False,
    ),
]


def needed(store: str | None) -> str:
    """The store that was named.

    Raises:
        Stop: none was.
    """
    if not store:
        raise Stop("Which store? Give --store URL, such as --store sqlite:///sagas.db, or set ALLFRAME_STORE.")
    return store


def read_only(url: str) -> str:
    """The URL that opens the same store for reading only.

    Raises:
        Stop: there is nothing to read.
    """
    if url.startswith("memory:"):
        raise Stop("A memory store ends with its process: there is nothing to look at. Give the URL of a file.")
    place, _, query = url.partition("?")
    options = [option for option in query.split("&") if option and not option.startswith("mode=")]
    return f"{place}?{'&'.join([*options, 'mode=ro'])}"
