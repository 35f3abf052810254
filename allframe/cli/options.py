"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from allframe.cli.exits import Stop

__all__ = ["StoreOption", "needed"]

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
