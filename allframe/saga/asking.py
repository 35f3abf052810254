"""What is said on the socket beside a store, where it lies, and how an owner is asked: the side of the one who asks.

One line of JSON asks, one line of JSON answers, and the connection ends. `allframe.saga.control` is the other side.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

import anyio
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import from_json, to_json

from allframe.errors import (
    CancelRefused,
    OperationRefused,
    OrchestratorClosed,
    PayloadError,
    SagaNotFound,
    StoreUnavailable,
)
from allframe.saga.forecast import Receipt
from allframe.saga.orders import Order, Verb
from allframe.saga.records import Outcome

__all__ = [
    "Unanswered",
    "as_line",
    "ask_owner",
    "check_folder",
    "read_request",
    "receive_line",
    "send_line",
    "socket_places",
]

#: The most bytes of a request or an answer: an output may have 1 MiB.
LARGEST: Final = 2 << 20
#: Seconds that whoever asks waits for an answer.
ANSWER: Final = 60.0
#: The most bytes of a socket's path: 104 on macOS and BSD, 108 on Linux, with the NUL at the end.
LONGEST_PATH: Final = 100


class Unanswered(Exception):
    """The owner took the request and ended the connection without an answer: it may have been written."""


# --- where -----------------------------------------------------------------------------------------------------------


def socket_places(path: str) -> list[str]:
    """Where the socket of the store at ``path`` may be, in the order in which an owner tries them."""
    beside = f"{path}.sock"
    try:
        there = os.stat(path)
    except OSError:
        return [beside]
    digest = hashlib.sha256(f"{there.st_dev}:{there.st_ino}".encode()).hexdigest()[:32]
    user = os.geteuid()
    # Not where an environment variable says: owner and client may have different ones.
    apart = [f"{root}/allframe-{user}/{digest}.sock" for root in (f"/run/user/{user}", "/tmp")]  # noqa: S108 - 0700
    return [place for place in (beside, *apart) if len(os.fsencode(place)) <= LONGEST_PATH]


def check_folder(place: str, path: str) -> None:
    """
    Raises:
        OSError: if it is a folder of ours in a place for everybody, and somebody else could have put the socket there.
    """
    folder = os.path.dirname(place)
    if folder == os.path.dirname(path):
        return
    there = os.lstat(folder)
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid() or there.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder that only this user may use")


# --- what is said ----------------------------------------------------------------------------------------------------

_NOTHING: Final = object()


@dataclass(frozen=True, kw_only=True)
class _Request:
    allframe: Literal[1]
    id: str
    verb: Verb
    reason: str
    actor: str
    expected_revision: int | None = None
    step: str | None = None
    outcome: Outcome | None = None
    output: Any = _NOTHING

    __pydantic_config__ = ConfigDict(extra="forbid")


_REQUEST: Final = TypeAdapter(_Request)
_RECEIPT: Final = TypeAdapter(Receipt)


def read_request(data: bytes) -> tuple[str, Order]:
    """
    Raises:
        ValueError: if it is none.
    """
    said = _REQUEST.validate_json(data, strict=True)
    return said.id, Order(
        verb=said.verb,
        reason=said.reason,
        actor=said.actor,
        expected_revision=said.expected_revision,
        step=said.step,
        outcome=said.outcome,
        output_json=None if said.output is _NOTHING else to_json(said.output),
    )


def _write_request(saga_id: str, order: Order) -> bytes:
    content: dict[str, Any] = {"allframe": 1, "id": saga_id, "verb": order.verb}
    for name in ("reason", "actor", "expected_revision", "step", "outcome"):
        content[name] = getattr(order, name)
    if order.output_json is not None:
        content["output"] = from_json(order.output_json)
    return as_line(content)


def as_line(content: dict[str, Any]) -> bytes:
    return to_json(content) + b"\n"


async def receive_line(connection: socket.socket) -> bytes | None:
    """One line without its end; None if it is too long, or the other side ended before."""
    data = bytearray()
    while b"\n" not in data:
        await anyio.wait_readable(connection)
        try:
            part = connection.recv(1 << 16)
        except BlockingIOError:
            continue
        data += part
        if not part or len(data) > LARGEST:
            return None
    return bytes(data[: data.index(b"\n")])


async def send_line(connection: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        await anyio.wait_writable(connection)
        with suppress(BlockingIOError):
            rest = rest[connection.send(rest) :]


# --- the other end ---------------------------------------------------------------------------------------------------

_ERRORS: Final[dict[str | None, Callable[[str], Exception]]] = {
    "usage": ValueError,
    PayloadError.code: PayloadError,
    OperationRefused.code: OperationRefused,
    CancelRefused.code: CancelRefused,
    SagaNotFound.code: SagaNotFound,
    OrchestratorClosed.code: OrchestratorClosed,
}


async def ask_owner(path: str, saga_id: str, order: Order) -> Receipt | None:
    """Ask the owner of the store at ``path``; None if nobody listens.

    Raises:
        SagaNotFound, OperationRefused, PayloadError, ValueError: what the owner says.
        OrchestratorClosed: it leaves, and has not written anything.
        Unanswered: nobody knows whether it has.
        StoreUnavailable: the socket is of another user, or the owner cannot carry it out.
    """
    for place in socket_places(path):
        connection = _connect(place, path)
        if connection is not None:
            with connection:
                return await _converse(connection, _write_request(saga_id, order), path)
    return None


def _connect(place: str, path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        check_folder(place, path)
        connection.setblocking(False)
        connection.connect(place)  # at once, or not at all: it is this machine
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError, BlockingIOError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise StoreUnavailable(
            f"The owner of {path} cannot be asked: {place}: {error.strerror or error}. Only the user that runs it may."
        ) from error
    return connection


async def _converse(connection: socket.socket, request: bytes, path: str) -> Receipt:
    try:
        await send_line(connection, request)
        answer: bytes | None = None
        with anyio.move_on_after(ANSWER) as scope:
            answer = await receive_line(connection)
    except OSError as error:
        raise Unanswered from error
    if scope.cancelled_caught:
        raise StoreUnavailable(
            f"The owner of {path} has the request and did not answer within {ANSWER:g} s: it cannot write its store at "
            "the moment, perhaps. Look at the saga before you ask again.",
            in_doubt=True,
        )
    if answer is None:
        raise Unanswered
    return _read_answer(answer, path)


def _read_answer(answer: bytes, path: str) -> Receipt:
    said = from_json(answer)
    if "receipt" in said:
        return _RECEIPT.validate_python(said["receipt"])
    make = _ERRORS.get(said.get("code"))
    if make is None:
        raise StoreUnavailable(f"The owner of {path} could not carry it out: {said.get('message')}")
    raise make(str(said.get("message")))
