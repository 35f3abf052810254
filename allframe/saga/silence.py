"""Which exceptions say nothing about the effect.

A client that timed out, was cut off or got half a reply does not know whether the far side did what it was asked. Such
an exception is *silence*: the step may have taken effect, and its compensation is called. Every other exception is an
answer: the step failed and left nothing.

The whole chain is heard, not only the exception that was raised::

    BankDown                        the step's own word           SOMETHING
    └── httpx.ReadTimeout           named here                    NOTHING     -> silence
        └── httpcore.ReadTimeout    named here                    NOTHING
            └── TimeoutError        Python's own                  NOTHING

Links are `__cause__`, `__context__` (also behind `raise … from None`: who hides a timeout still had one) and the
members of groups. Classes are told by their qualified names along the MRO, the nearest first, so nothing is imported.
`docs/silence.md` shows what the clients really raise, and `tests/saga/test_silence.py` makes them raise it.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

__all__ = ["is_loud", "is_silence"]

#: The most exceptions of one chain that are looked at; what is longer is silence.
MAX_CHAIN = 10_000

_Types = tuple[type[BaseException], ...]


def is_silence(error: BaseException, *, unknown_on: _Types = (), known_on: _Types = ()) -> bool:
    """Whether ``error`` leaves open if the effect took place.

    ``unknown_on``: what is silence besides, anywhere in the chain. ``known_on``: what is an answer when it is the
    raised exception itself, whatever its chain holds. If both fit the raised exception, the class nearest to it
    decides, as if they were `except` clauses with the narrowest first; for a class that is in both, ``unknown_on``.

    Never raises: an exception that cannot be examined is silence.
    """
    try:
        declared = _declared(error, unknown_on, known_on)
        return declared if declared is not None else _chain_is_silence(error, unknown_on)
    except Exception:  # noqa: BLE001 - an exception is a stranger's object: each attribute of it and of its class may raise
        return True


def is_loud(error: BaseException) -> bool:
    """Whether ``error`` is silence whatever is declared: no ``known_on`` makes it an answer."""
    mro = type(error).__mro__
    return Exception not in mro or any(_name(cls) in _LOUD for cls in mro)


def _declared(error: BaseException, unknown_on: _Types, known_on: _Types) -> bool | None:
    for cls in type(error).__mro__:
        if cls in unknown_on:
            return True
        if cls in known_on:
            return False
    return None


class _Says(Enum):
    """What one exception of a chain contributes."""

    #: A timeout, a reset, half a reply: silence, whatever else the chain holds.
    NOTHING = "nothing"
    #: A client's word for "could not connect": silence, unless the chain proves that no connection was made.
    NOT_CONNECTED = "not connected"
    #: Such a proof that is a `ConnectionError` as well, and so silence in other company.
    REFUSED = "refused"
    #: Such a proof, no silence by itself.
    UNREACHED = "unreached"
    #: It only carries others.
    ENVELOPE = "envelope"
    #: An answer of the far side, or an error of the step's own.
    SOMETHING = "something"


_PROOFS = {_Says.REFUSED, _Says.UNREACHED}
_DOUBTS = {_Says.REFUSED, _Says.NOT_CONNECTED}


def _chain_is_silence(error: BaseException, unknown_on: _Types) -> bool:
    said: set[_Says] = set()
    for count, link in enumerate(_chain(error)):
        word = _says(link, unknown_on)
        if word is _Says.NOTHING or count >= MAX_CHAIN:
            return True
        said.add(word)
    never_connected = bool(said & _PROOFS) and _Says.SOMETHING not in said
    return bool(said & _DOUBTS) and not never_connected


# Python's own slots: a class may shadow the attributes with whatever it likes.
_cause = vars(BaseException)["__cause__"].__get__
_context = vars(BaseException)["__context__"].__get__
_members = vars(BaseExceptionGroup)["exceptions"].__get__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all that hangs on it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += (_context(link), _cause(link))
        if BaseExceptionGroup in type(link).__mro__:
            waiting += _members(link)


def _says(error: BaseException, unknown_on: _Types) -> _Says:
    mro = type(error).__mro__
    # First, for a class may inherit from a client's connect error and from TimeoutError.
    if TimeoutError in mro or any(cls in unknown_on for cls in mro):
        return _Says.NOTHING
    for cls in mro:
        word = _WORDS.get(_name(cls))
        if word is not None:
            return word if isinstance(word, _Says) else word(error)
    return _Says.SOMETHING


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# --- words that depend on what the exception carries -----------------------------------------------------------------

_Reader = Callable[[BaseException], _Says]


def _dig(error: BaseException, path: Iterable[str]) -> Any:
    """What lies at the end of ``path`` (attributes, or keys of mappings); None if it cannot be reached."""
    value: Any = error
    try:
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a property of a stranger's object
        return None
    return value


def _by_status(*path: str) -> _Reader:
    """By the HTTP status at ``path``: 4xx is a refusal; 408, 5xx, and 1xx to 3xx, which refuse nothing, are silence."""

    def read(error: BaseException) -> _Says:
        status = _dig(error, path)
        refused = isinstance(status, int) and 400 <= status < 500 and status != 408
        return _Says.SOMETHING if refused else _Says.NOTHING

    return read


def _by_response(error: BaseException) -> _Says:
    """An exception of nobody we know: silence if the HTTP response that it carries is 408 or 5xx."""
    status = _dig(error, ("response", "status_code"))
    silent = isinstance(status, int) and (status == 408 or 500 <= status < 600)
    return _Says.NOTHING if silent else _Says.SOMETHING


#: An established connection can end in these, though Python has no `ConnectionError` for them.
_LOST = {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}
#: One of several addresses could not be tried, such as ``::1`` on a machine without IPv6; None: "all attempts failed".
_UNTRIED = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, None}


def _by_errno(error: BaseException) -> _Says:
    number = _dig(error, ("errno",))
    if number in _LOST:
        return _Says.NOTHING
    return _Says.ENVELOPE if type(error) is OSError and number in _UNTRIED else _by_response(error)


#: The gRPC codes that only a server that refused gives. RESOURCE_EXHAUSTED is not among them: a client gives it for a
#: reply that is too large. INTERNAL and UNKNOWN are gRPC's 500, UNAVAILABLE its 503 and its reset.
#: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
_GRPC_ANSWERS = {
    "ABORTED",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNIMPLEMENTED",
}


def _by_grpc_code(error: BaseException) -> _Says:
    code = _dig(error, ("code",))
    try:
        name = code().name
    except Exception:  # noqa: BLE001 - a bare RpcError has no code
        return _Says.NOTHING
    return _Says.SOMETHING if name in _GRPC_ANSWERS else _Says.NOTHING


#: SQLSTATEs after which a transaction may have been committed: connection exceptions, system and internal errors,
#: statement_completion_unknown, and sessions ended from outside. Any other error rolled back what it concerns, also
#: 57014 query_canceled, which a statement timeout gives: PostgreSQL does not cancel a commit.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SILENT_SQLSTATES = ("08", "58", "XX", "40003", "57P01", "57P02", "57P04", "57P05")


def _by_sqlstate(attribute: str, without: _Reader | _Says) -> _Reader:
    """By the SQLSTATE in ``attribute``; ``without`` where the server gave none."""

    def read(error: BaseException) -> _Says:
        state = _dig(error, (attribute,))
        if isinstance(state, str):
            return _Says.NOTHING if state.startswith(_SILENT_SQLSTATES) else _Says.SOMETHING
        return without if isinstance(without, _Says) else without(error)

    return read


def _by_attempt(error: BaseException) -> _Says:
    """psycopg hands out ``pgconn`` with the failure of an attempt to connect, and at no other time."""
    return _Says.NOTHING if _dig(error, ("pgconn",)) is None else _Says.REFUSED


def _by_handshake(error: BaseException) -> _Says:
    """trio calls a stream broken as well when it does not trust the certificate."""
    distrusted = ssl.SSLCertVerificationError in type(_cause(error)).__mro__
    return _Says.ENVELOPE if distrusted else _Says.NOTHING


def _by_doubt(error: BaseException) -> _Says:
    return _Says.NOTHING if _dig(error, ("in_doubt",)) else _Says.SOMETHING


# --- the lists -------------------------------------------------------------------------------------------------------

#: What no step would raise as an answer.
_LOUD = {"allframe.EffectUnknown", "builtins.MemoryError", "builtins.RecursionError"}

#: Timeouts, resets and half replies (also replies that could not be read, and requests that were cut off).
_NOTHING = """
    builtins.BaseException builtins.ConnectionError

    allframe.AlreadyExecuting allframe.CompensationFailed allframe.OrchestratorClosed
    allframe.SagaAbandoned allframe.SagaBlocked

    asyncio.exceptions.IncompleteReadError asyncio.exceptions.LimitOverrunError concurrent.futures._base.BrokenExecutor
    http.client.BadStatusLine http.client.IncompleteRead http.client.LineTooLong http.client.UnknownProtocol
    http.client.UnknownTransferEncoding smtplib.SMTPServerDisconnected ssl.SSLError subprocess.TimeoutExpired

    aiohttp.client_exceptions.ClientConnectionError aiohttp.client_exceptions.ClientPayloadError
    aiohttp.client_exceptions.UploadAbortedError aiohttp.http_exceptions.HttpProcessingError
    anyio.BrokenResourceError anyio.BrokenWorkerProcess anyio.ClosedResourceError anyio.DelimiterNotFound
    anyio.EndOfStream anyio.IncompleteRead
    asyncpg.exceptions._base.InternalClientError
    botocore.exceptions.ChecksumError botocore.exceptions.ConnectionError botocore.exceptions.HTTPClientError
    botocore.exceptions.IncompleteReadError botocore.parsers.ResponseParserError
    grpc.FutureCancelledError grpc.FutureTimeoutError
    httpcore.NetworkError httpcore.RemoteProtocolError httpcore.TimeoutException
    httpx.DecodingError httpx.NetworkError httpx.RemoteProtocolError httpx.TimeoutException httpx.TooManyRedirects
    psycopg.errors.CancellationTimeout psycopg.errors.ConnectionTimeout
    redis.exceptions.ConnectionError redis.exceptions.InvalidResponse redis.exceptions.TimeoutError
    requests.exceptions.ChunkedEncodingError requests.exceptions.ConnectTimeout requests.exceptions.ContentDecodingError
    requests.exceptions.JSONDecodeError requests.exceptions.RetryError requests.exceptions.Timeout
    requests.exceptions.TooManyRedirects
    trio.ClosedResourceError trio.TooSlowError
    urllib3.exceptions.DecodeError urllib3.exceptions.ProtocolError urllib3.exceptions.ResponseError
    urllib3.exceptions.TimeoutError
"""

#: What clients make of a connection that could not be made. Not here are those of clients that send any request again
#: by themselves (redis, botocore): that their last try was refused says nothing about the first.
_NOT_CONNECTED = """
    aiohttp.client_exceptions.ClientConnectorError
    anyio.ConnectionFailed
    httpcore.ConnectError httpcore.ProxyError httpx.ConnectError httpx.ProxyError
    requests.exceptions.ConnectionError
    urllib.error.URLError
    urllib3.exceptions.MaxRetryError urllib3.exceptions.NewConnectionError urllib3.exceptions.ProxyError
    urllib3.exceptions.SSLError
"""

#: No name, no certificate that we trust: no request was sent.
_UNREACHED = """
    aiodns.error.DNSError aiohttp.client_exceptions.ServerFingerprintMismatch socket.gaierror
    ssl.SSLCertVerificationError
"""

_WORDS: dict[str, _Says | _Reader] = {
    **dict.fromkeys(_LOUD, _Says.NOTHING),
    **dict.fromkeys(_NOTHING.split(), _Says.NOTHING),
    **dict.fromkeys(_NOT_CONNECTED.split(), _Says.NOT_CONNECTED),
    **dict.fromkeys(_UNREACHED.split(), _Says.UNREACHED),
    "builtins.ConnectionRefusedError": _Says.REFUSED,
    "builtins.BaseExceptionGroup": _Says.ENVELOPE,
    # A task group cancels its own tasks when one of them fails: that is how it ends, and says nothing by itself.
    "asyncio.exceptions.CancelledError": _Says.ENVELOPE,
    "trio.Cancelled": _Says.ENVELOPE,
    "builtins.OSError": _by_errno,
    "builtins.Exception": _by_response,
    "aiohttp.client_exceptions.ClientResponseError": _by_status("status"),
    "allframe.StoreUnavailable": _by_doubt,
    "asyncpg.exceptions._base.PostgresError": _by_sqlstate("sqlstate", _Says.NOTHING),
    "botocore.exceptions.ClientError": _by_status("response", "ResponseMetadata", "HTTPStatusCode"),
    "grpc.RpcError": _by_grpc_code,
    "httpx.HTTPStatusError": _by_status("response", "status_code"),
    "psycopg.Error": _by_sqlstate("sqlstate", _Says.SOMETHING),
    "psycopg.OperationalError": _by_sqlstate("sqlstate", _by_attempt),
    "psycopg2.Error": _by_sqlstate("pgcode", _Says.SOMETHING),
    "psycopg2.OperationalError": _by_sqlstate("pgcode", _Says.NOTHING),
    "requests.exceptions.HTTPError": _by_status("response", "status_code"),
    "trio.BrokenResourceError": _by_handshake,
    "urllib.error.HTTPError": _by_status("code"),
}
