"""A server on loopback that treats its clients badly, in real time and on real sockets.

`serving` runs one behaviour, in a thread for each connection, and gives its port. A behaviour is handed the accepted
socket and an event that is set when the server must go; the socket is closed after it returns.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest import mock

Behaviour = Callable[[socket.socket, threading.Event], None]

HOST = "127.0.0.1"
#: A name that nobody can have (RFC 6761).
NOBODY = "bank.invalid"


@contextmanager
def serving(behave: Behaviour) -> Iterator[int]:
    """The port of a server that does ``behave`` with each connection, until the block ends."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            behave(connection, over)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            if over.is_set():
                connection.close()
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    with socket.create_server((HOST, 0)) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(listener.getsockname()).close()  # wakes the acceptor
            for thread in (acceptor, *threads):
                thread.join(5)


@contextmanager
def dying() -> Iterator[int]:
    """A server that answers one request, and dies of the second on the same connection: later ones are refused."""

    def live() -> None:
        with listener, listener.accept()[0] as connection, suppress(OSError):
            connection.settimeout(5)
            after_request(say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))(connection, threading.Event())
            after_request(close)(connection, threading.Event())
            listener.close()

    listener = socket.create_server((HOST, 0))
    life = threading.Thread(target=live, daemon=True)
    life.start()
    yield listener.getsockname()[1]
    life.join(5)


@contextmanager
def refusing() -> Iterator[int]:
    """A port of ours on which nobody listens: the kernel refuses the connection."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        yield held.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections is full: Linux answers no further attempt to connect."""
    with ExitStack() as held, socket.create_server((HOST, 0), backlog=0) as listener:
        for _ in range(64):
            caller = held.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
            if not select.select([], [caller], [], 0.05)[1]:
                yield listener.getsockname()[1]
                return
        raise OSError("64 connections did not fill the queue of a listener that accepts none.")


@contextmanager
def nameless() -> Iterator[None]:
    """No resolver is asked for `NOBODY`, which is unknown anyway; every other name resolves as ever."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host in (NOBODY, NOBODY.encode()):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    with mock.patch.object(socket, "getaddrinfo", getaddrinfo):
        yield


# --- what any server may do ------------------------------------------------------------------------------------------


def close(connection: socket.socket, over: threading.Event) -> None:
    """End the connection in good order, and say no more."""


def hang(connection: socket.socket, over: threading.Event) -> None:
    over.wait(10)


def reset(connection: socket.socket, over: threading.Event) -> None:
    """A lingering time of 0 makes the kernel send RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(words: bytes) -> Behaviour:
    """Say ``words``, and end the connection."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(words)

    return behave


# --- HTTP ------------------------------------------------------------------------------------------------------------


def after_request(behave: Behaviour) -> Behaviour:
    """Read a whole HTTP request first, so that no unread byte turns the end of the connection into a reset."""

    def behave_then(connection: socket.socket, over: threading.Event) -> None:
        head, body = b"", b""
        while b"\r\n\r\n" not in head:
            head += _some(connection)
        head, _, body = head.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", 0)):
            body += _some(connection)
        behave(connection, over)

    return behave_then


def status(code: int) -> Behaviour:
    """A whole answer."""
    return after_request(say(b"HTTP/1.1 %d Because\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % code))


def self_signed(connection: socket.socket, over: threading.Event) -> None:
    """TLS, with a certificate that nobody has a reason to trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(_CERTIFICATE)
        file.flush()
        context.load_cert_chain(file.name)
    with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as channel:
        channel.recv(1)


HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Le"
HALF_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
HALF_CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"
LAST_CHUNK_MISSING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
NO_HTTP = b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n"
BAD_GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"


# --- PostgreSQL, https://www.postgresql.org/docs/current/protocol.html -----------------------------------------------


def after_query(behave: Behaviour) -> Behaviour:
    """Accept the client as PostgreSQL does, and ``behave`` when its first query has come.

    A client that is cut off while it waits asks, on a connection of its own, to cancel the query: that ends a `hang`.
    """
    cancelled = threading.Event()

    def behave_then(connection: socket.socket, over: threading.Event) -> None:
        (length,) = struct.unpack("!I", _exactly(connection, 4))
        startup = _exactly(connection, length - 4)
        if startup.startswith(_CANCEL):
            cancelled.set()
            return
        connection.sendall(_AUTHENTICATION_OK + _SETTINGS + _KEY + _READY)
        (length,) = struct.unpack("!xI", _exactly(connection, 5))
        _exactly(connection, length - 4)
        behave(connection, cancelled)

    return behave_then


def after_startup(behave: Behaviour) -> Behaviour:
    """``behave`` when a PostgreSQL client has said who it is: the connection is not yet made."""

    def behave_then(connection: socket.socket, over: threading.Event) -> None:
        (length,) = struct.unpack("!I", _exactly(connection, 4))
        _exactly(connection, length - 4)
        behave(connection, over)

    return behave_then


def postgres_error(state: str, severity: str = "ERROR") -> bytes:
    fields = f"S{severity}\0V{severity}\0C{state}\0Mit is so\0\0"
    return _message(b"E", fields.encode())


def report(state: str) -> Behaviour:
    """Answer the query with an error, and be ready for the next."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(postgres_error(state) + _READY)
        connection.recv(100)

    return after_query(behave)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


_CANCEL = struct.pack("!I", 80877102)
_AUTHENTICATION_OK = _message(b"R", struct.pack("!I", 0))
_SETTINGS = b"".join(
    _message(b"S", b"%s\0%s\0" % setting)
    for setting in [
        (b"server_version", b"16.4"),
        (b"client_encoding", b"UTF8"),
        (b"standard_conforming_strings", b"on"),
    ]
)
_KEY = _message(b"K", struct.pack("!II", 1, 2))
_READY = _message(b"Z", b"I")
_ROW_DESCRIPTION = _message(b"T", struct.pack("!H", 1) + b"done\0" + struct.pack("!IHIhIH", 0, 0, 25, -1, 0, 0))
#: A row is announced, and its value never comes.
HALF_ROW = _ROW_DESCRIPTION + b"D" + struct.pack("!IHI", 100, 1, 90) + b"half"


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client went away")
    return data


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("the client went away")
        data += piece
    return data


# The key protects nothing: it is here so that a handshake gets as far as the certificate.
_CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTR1JGw9535+xVbt8
xMG3GrHLR0B4vmBpltxEzpHVInqhRANCAAQt1KsrZ2ssQcjVp680wrV2pLL1ywQW
lCJ+OHJpIJW1rpJlSy7/bb+xoSTsLDBXXKKdrfpXqHkqozgWB+cGOzN6
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUUrUe8E8eusyc/dudZGT9aD2bp/cwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMzEyMzU1MloYDzIxMjYxMDMw
MTIzNTUyWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQt1KsrZ2ssQcjVp680wrV2pLL1ywQWlCJ+OHJpIJW1rpJlSy7/bb+x
oSTsLDBXXKKdrfpXqHkqozgWB+cGOzN6o2QwYjAdBgNVHQ4EFgQUUy/2+JK+h7W1
8ObfCcVLUt7wyHAwHwYDVR0jBBgwFoAUUy/2+JK+h7W18ObfCcVLUt7wyHAwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IGk23rrCG+ePm+q8dDa936HSzEhFh764m73XaFLk0Q2lAiEAjMb0Uq5bUQ4qIPsW
KVOu7Nmm0vYOnBQ6C4HvtVPtcQg=
-----END CERTIFICATE-----
"""
