"""`Control`: where other processes reach the one that owns a store: a socket beside the file.

::

    bank.db        the store
    bank.db.lock   who owns it
    bank.db.sock   where the owner is asked, mode 0600; or, where a path beside it would be too long for a socket,
                   allframe-<uid>/<digest of device and inode>.sock in /run/user/<uid> or /tmp

Only processes of the same user are heard. Whoever listens owns the file's lock, so a socket that lay there when the lock
was taken is of somebody who died. `allframe.saga.asking` is the other side.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import anyio

from allframe.errors import AllframeError, OrchestratorClosed
from allframe.events.backend import EventStoreBackend
from allframe.events.coded import uncoded
from allframe.events.sqlite import SqliteBackend
from allframe.saga.asking import as_line, check_folder, read_request, receive_line, send_line, socket_places
from allframe.saga.forecast import Receipt
from allframe.saga.orders import Order

__all__ = ["Control"]

logger = logging.getLogger("allframe")

#: Seconds in which a request must have come, and an answer must be taken.
PATIENCE: Final = 10.0
#: The most connections at once; others are closed.
MOST: Final = 64

Ask = Callable[[str, Order], Awaitable[Receipt]]
Spawn = Callable[..., None]

_controls: weakref.WeakSet[Control] = weakref.WeakSet()


class Control:
    """Listens for the owner of a store that is a file, and carries out what is asked with ``ask``."""

    def __init__(self, backend: EventStoreBackend, ask: Ask) -> None:
        #: Where it listens; None where it does not.
        self.place: str | None = None
        file = uncoded(backend)
        self._path, self._ask = file.path if isinstance(file, SqliteBackend) else None, ask
        self._listener: socket.socket | None = None
        self._identity: tuple[int, int] | None = None
        self._serving: anyio.CancelScope | None = None
        self._reading: set[anyio.CancelScope] = set()
        self._connections = 0
        self._closed = False
        _controls.add(self)

    def listen(self) -> bool:
        """Begin to listen; only for the owner of the store. Whether it does: a store without a socket works as well."""
        errors = []
        if self._path is None:
            return False
        for place in socket_places(self._path):
            try:
                self._listener = _listener(place, self._path)
            except OSError as error:
                errors.append(f"{place}: {error}")
                continue
            there = os.lstat(place)
            self.place, self._identity = place, (there.st_dev, there.st_ino)
            return True
        logger.warning("%s cannot be reached by other processes: %s", self._path, "; ".join(errors) or "no path fits")
        return False

    async def serve(self, spawn: Spawn) -> None:
        """Take requests until `close`. ``spawn``: begins a task for one."""
        with anyio.CancelScope() as self._serving:
            try:
                while self._listener is not None and not self._closed:
                    await anyio.wait_readable(self._listener)
                    await self._accept(self._listener, spawn)
            finally:
                self._serving = None
                self._remove()

    def close(self) -> None:
        """Take no more requests. What was asked already is answered. Harmless when repeated."""
        self._closed = True
        for scope in self._reading:
            scope.cancel()
        if self._serving is not None:
            self._serving.cancel()
        else:
            self._remove()

    def _remove(self) -> None:
        if self._listener is None or self.place is None:
            return
        with suppress(OSError):
            there = os.lstat(self.place)
            if (there.st_dev, there.st_ino) == self._identity:
                os.unlink(self.place)
        self._listener.close()
        self._listener, self.place = None, None

    async def _accept(self, listener: socket.socket, spawn: Spawn) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no file descriptor is left, say
            logger.warning("a request to %s cannot be taken: %s", self._path, error)
            await anyio.sleep(0.5)
            return
        try:
            if self._connections >= MOST or not _is_ours(connection):
                connection.close()
                return
            spawn(None, self._handle, connection)
            self._connections += 1
        except OrchestratorClosed:
            connection.close()

    async def _handle(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            request = await self._read(connection)
            if request is not None:
                answer = await self._answer(request)
                with anyio.move_on_after(PATIENCE):
                    await send_line(connection, answer)
        except OSError:
            pass  # whoever asked has gone
        finally:
            self._connections -= 1
            connection.close()

    async def _read(self, connection: socket.socket) -> bytes | None:
        if self._closed:
            return None
        with anyio.move_on_after(PATIENCE) as scope:
            self._reading.add(scope)
            try:
                return await receive_line(connection)
            finally:
                self._reading.discard(scope)
        return None

    async def _answer(self, request: bytes) -> bytes:
        try:
            saga_id, order = read_request(request)
            receipt = await self._ask(saga_id, order)
        except AllframeError as error:
            return as_line({"code": getattr(error, "code", None), "message": str(error)})
        except ValueError as error:
            return as_line({"code": "usage", "message": str(error)})
        except Exception as error:
            logger.exception("a request to %s could not be carried out", self._path)
            return as_line({"code": None, "message": f"{type(error).__qualname__}: {error}"})
        return as_line({"receipt": asdict(receipt)})

    def _forget(self) -> None:
        """In a forked child: a copy of the socket would keep clients waiting after the parent has died."""
        if self._listener is not None:
            self._listener.close()
        self._listener, self.place = None, None


def _in_forked_child() -> None:
    for control in list(_controls):
        control._forget()  # noqa: SLF001 - one idea, two scopes


os.register_at_fork(after_in_child=_in_forked_child)


def _is_ours(connection: socket.socket) -> bool:
    """Whether the same user asks, so far as this system tells; the socket's mode says so everywhere."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return bool(user == os.geteuid())


def _listener(place: str, path: str) -> socket.socket:
    if os.path.dirname(place) != os.path.dirname(path):
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(place), 0o700)
    check_folder(place, path)
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(place).st_mode):
            raise FileExistsError(f"{place} is there, and is no socket")
        os.unlink(place)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(place)
        os.chmod(place, 0o600)  # nobody can connect before listen()
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
