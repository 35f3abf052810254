"""One transaction of a projection on SQLite: what it may say, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from allframe.errors import ProjectionRefused
from allframe.events.sqlite_file import StoreFile
from allframe.events.tables import Parameters

__all__ = ["Guard", "SqliteTransaction", "committing", "statements"]

#: What a projection must leave to allframe: `sqlite3.Connection.set_authorizer`.
_NEVER = {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
_CHANGES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_DROP_TABLE}
#: These name the table second.
_UPON = {sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_CREATE_TRIGGER, sqlite3.SQLITE_CREATE_TEMP_TRIGGER}

#: SQLite's result codes that say nothing of the statement, but of the machine (https://www.sqlite.org/rescode.html).
_MACHINE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
}
#: Those that say that the file is not what it was.
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def committing(connection: sqlite3.Connection, file: StoreFile) -> Iterator[sqlite3.Connection]:
    """What is written within the block is committed at its end, or taken back if it raises.

    Raises:
        StoreUnavailable: for what says nothing of a statement, but of the machine.
        StoreFormatError: for a file that is damaged.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            # Not by execute: it would remember the statement, and not ask again whether a projection may say it.
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
    except sqlite3.Error as error:
        code = _code(error)
        if code in _MACHINE | _DAMAGE:
            raise file.explain(error, "write" if code in _MACHINE else "read") from error
        raise


class Guard:
    """Tells SQLite what a projection may do, while it is its turn. ``meta`` is the table that it must not change."""

    def __init__(self, meta: str) -> None:
        self._meta = meta
        self._is_users_turn = False

    @contextmanager
    def users_turn(self) -> Iterator[None]:
        self._is_users_turn = True
        try:
            yield
        finally:
            self._is_users_turn = False

    def authorize(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        if not self._is_users_turn:
            return sqlite3.SQLITE_OK
        forbidden = (
            action in _NEVER
            or (action == sqlite3.SQLITE_PRAGMA and second is not None)
            or (action in _CHANGES and first == self._meta)
            or (action in _UPON and second == self._meta)
        )
        return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK


class SqliteTransaction:
    """What a projection is given, within `committing`. It runs statements on the thread that it was made on."""

    __slots__ = ("_connection", "_file", "trouble")

    def __init__(self, connection: sqlite3.Connection, file: StoreFile) -> None:
        self._connection, self._file = connection, file
        self.trouble: Exception | None = None

    def execute(self, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        if self.trouble is not None:
            raise self.trouble
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self._judge(error)
            raise

    def executemany(self, sql: str, parameters: Iterable[Parameters]) -> None:
        if self.trouble is not None:
            raise self.trouble
        try:
            self._connection.executemany(sql, parameters)
        except sqlite3.Error as error:
            self._judge(error)
            raise

    def finish(self) -> None:
        """Say that it is about to be committed: it runs nothing more.

        Raises:
            StoreError, ProjectionRefused: its trouble, if it has one.
        """
        trouble, self.trouble = self.trouble, _over()
        if trouble is not None:
            raise trouble

    def _judge(self, error: sqlite3.Error) -> None:
        """Raise another error, if this one is not about the statement; it stays its trouble."""
        code = _code(error)
        if code == sqlite3.SQLITE_AUTH:
            raise ProjectionRefused(
                "A projection may not begin or end transactions, attach databases, set pragmas, or change the table "
                "allframe_projection: allframe commits what it writes together with its position. Leave that statement out."
            ) from error
        if code in _MACHINE | _DAMAGE:
            # Also for whoever catches it: what was not written must not be taken for written.
            self.trouble = self._file.explain(error, "write" if code in _MACHINE else "read")
        elif not self._connection.in_transaction:
            self.trouble = ProjectionRefused(
                f"A statement of the projection rolled the whole transaction back ({error}), and what other events wrote "
                "with it. Take OR ROLLBACK, ON CONFLICT ROLLBACK or RAISE(ROLLBACK, ...) out of its SQL: ABORT, the default, "
                "takes back one statement."
            )
        if self.trouble is not None:
            raise self.trouble from error


def _over() -> ProjectionRefused:
    return ProjectionRefused(
        "This transaction is over. Use what apply() is given as tx within that call only, and on its thread."
    )


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: a trigger has semicolons of its own, and SQLite knows where it ends."""
    statement = ""
    for part in script.split(";"):
        statement += part
        if sqlite3.complete_statement(f"{statement};"):
            yield statement
            statement = ""
        else:
            statement += ";"
    rest = statement.removesuffix(";")
    if rest.strip():
        yield rest


def _code(error: sqlite3.Error) -> int:
    # The low byte; the rest of an extended code says more about the same.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
