"""`Tables`: what a database must do to keep the tables of a projection, and the `Transaction` that writes them.

A projection's tables lie in a database of their own beside the events, so that whoever appends never waits for them. It
promises:

*   **The tables and how far they have come are one.** What `Tables.transaction` writes and the `Mark` that it returns are
    committed together or not at all, whenever the process dies.
*   **One at a time.** While a transaction runs, or between `hold` and what it returns, nobody else writes these tables,
    in this process or another; reading goes on.
*   **A swap is whole.** A reader sees the old tables or the new ones, never a mixture, and so does whoever comes after a
    crash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from allframe.errors import ProjectionRefused

__all__ = ["Mark", "OpenTransaction", "Parameters", "StoredTables", "Tables", "Transaction", "check_name"]

Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]


class Transaction(Protocol):
    """SQL that is committed together with what allframe writes beside it, or not at all."""

    def execute(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run one statement; returns its rows, none for one that gives none.

        It raises what the database's driver raises. What begins or ends a transaction is refused.
        """
        ...

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Run one statement with each of the parameters."""
        ...


class OpenTransaction(Transaction, Protocol):
    """A `Transaction` as `Tables` gives it: it also tells what whoever was given it may have caught, and kept to himself."""

    @property
    def trouble(self) -> Exception | None:
        """Why it cannot be committed any more: a `StoreError` if that is the machine's, else what a statement did; or None.

        A statement that only failed is no trouble: it did nothing, and the transaction goes on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mark:
    """How far tables have come."""

    #: Everything up to it is in them.
    position: int = 0
    #: The id of the row at ``position``, whatever row that is; empty at 0.
    event_id: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredTables:
    """What is known of tables without their program."""

    name: str
    mark: Mark
    #: Microseconds since 1970, UTC: when the mark was last written.
    updated_at: int
    #: Names the definition that they were made by.
    digest: str
    #: Why they do not go on, as JSON; None if they do.
    error: str | None
    #: Whether somebody builds their successor at this moment.
    rebuilding: bool = False


class Tables(Protocol):
    """The tables of one projection. Each method may be called by several tasks; each raises a `StoreError` on trouble."""

    async def open(self, schema: str, digest: str) -> StoredTables:
        """Make them ready, and make them by ``schema``, at position 0, if there are none; returns what is stored.

        Tables that are there stay as they are, also with another digest.

        Raises:
            StoreFormatError: what lies there is not a projection of allframe's, or of a newer one.
            Exception: what the driver says of ``schema``.
        """
        ...

    async def transaction(self, work: Callable[[OpenTransaction, StoredTables], Mark | None]) -> StoredTables:
        """Run ``work`` in a transaction, on a thread, and store the mark that it returns; None: nothing is stored.

        ``work`` is given what is stored in the same transaction. A mark that is stored takes the error back. What ``work``
        raises is raised here, and so is the ``trouble`` that it leaves, and nothing of it is written. Cancelling the wait
        does not cut it: it is waited for.
        """
        ...

    async def set_error(self, error: str) -> None:
        """Store why they do not go on."""
        ...

    async def query(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement that only reads, in the state that is committed."""
        ...

    async def hold(self) -> Callable[[], None]:
        """Keep everybody else from writing, until what is returned is called. The one who holds can write."""
        ...

    async def build(self, schema: str, digest: str) -> Tables:
        """Empty tables beside these, open, that nobody else sees; what an interrupted build left is removed.

        What is written there need not survive a crash. ``close`` removes them.

        Raises:
            StoreInUse: somebody else builds at this moment.
        """
        ...

    async def swap(self, built: Tables) -> StoredTables:
        """Put ``built`` in the place of these, whole; ``built`` can then be closed."""
        ...

    async def close(self) -> None:
        """Let them go, after the transaction that runs. Harmless when repeated."""
        ...


def check_name(name: object) -> None:
    """
    Raises:
        ProjectionRefused: if tables cannot have this name on every database, and as the name of a file.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ProjectionRefused(
            f"A projection cannot have the name {name!r}. Expected 1 to 60 ASCII letters, digits, '_' and '-', of which the "
            "first is a letter or a digit: its tables are a file of that name."
        )


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
