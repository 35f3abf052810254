"""Which exceptions say nothing: tried on real clients against a server that misbehaves, then on what can't be tried.

The table in `docs/silence.md` is what the first half of this file observes. To write it anew, after a client changed::

    PYTHONPATH=. python -m tests.saga.test_silence
"""

from __future__ import annotations

import asyncio
import errno
import functools
import gc
import itertools
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import httpx
import psycopg
import pytest
import requests
import trio
import urllib3

from allframe.errors import StoreUnavailable
from allframe.saga import silence
from allframe.saga.silence import is_silence
from tests.saga import misbehaving_server as bad

pytestmark = [
    # httpx on trio leaves a generator behind when a body cannot be decoded; other clients don't.
    pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning"),
]

DOCS = Path(__file__).parents[2] / "docs" / "silence.md"

# --- the clients: each asks for a debit, and raises what its library raises ------------------------------------------

Client = Callable[[str, float], None]
TLS = ssl.create_default_context()


def httpx_sync(url: str, timeout: float) -> None:
    with httpx.Client(trust_env=False, verify=TLS, timeout=timeout) as client:
        client.post(url, content=b"amount=1").raise_for_status()


async def _httpx_async(url: str, timeout: float) -> None:
    async with httpx.AsyncClient(trust_env=False, verify=TLS, timeout=timeout) as client:
        (await client.post(url, content=b"amount=1")).raise_for_status()


def requests_(url: str, timeout: float) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.post(url, data=b"amount=1", timeout=timeout).raise_for_status()


async def _aiohttp(url: str, timeout: float) -> None:
    limits = aiohttp.ClientTimeout(sock_connect=timeout, sock_read=timeout)
    async with aiohttp.ClientSession(timeout=limits) as session, session.post(url, data=b"amount=1") as response:
        response.raise_for_status()
        await response.read()


def urllib3_(url: str, timeout: float) -> None:
    with urllib3.PoolManager(timeout=timeout) as pool:
        pool.request("POST", url, body=b"amount=1")


def urllib_(url: str, timeout: float) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=b"amount=1"), timeout=timeout) as response:
        response.read()


def psycopg_sync(conninfo: str, timeout: float) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("UPDATE account SET balance = balance - 1")


async def _psycopg_async(conninfo: str, timeout: float) -> None:
    async with asyncio.timeout(timeout), await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
        await connection.execute("UPDATE account SET balance = balance - 1")


def _on(backend: str, ask: Callable[[str, float], Any]) -> Client:
    return lambda url, timeout: anyio.run(ask, url, timeout, backend=backend)


HTTP_CLIENTS: dict[str, Client] = {
    "httpx": httpx_sync,
    "httpx, asyncio": _on("asyncio", _httpx_async),
    "httpx, trio": _on("trio", _httpx_async),
    "requests": requests_,
    "aiohttp": _on("asyncio", _aiohttp),
    "urllib3": urllib3_,
    "urllib.request": urllib_,
}
PSYCOPG_CLIENTS: dict[str, Client] = {"psycopg": psycopg_sync, "psycopg, asyncio": _on("asyncio", _psycopg_async)}
CLIENTS = HTTP_CLIENTS | PSYCOPG_CLIENTS

# --- the endings -----------------------------------------------------------------------------------------------------

SILENCE, NO_EFFECT, ANSWER, NOT_SEEN = (
    "silence",
    "no effect: never connected",
    "no effect: an answer",
    "not an exception",
)
#: Seconds that a client waits where it should run into its timeout; elsewhere it has enough.
SHORT, LONG = 0.25, 10.0


@dataclass(frozen=True)
class Ending:
    name: str
    #: Opens a port for the client to connect to.
    port: Callable[[], AbstractContextManager[int]]
    classified: str = SILENCE
    timeout: float = LONG
    scheme: str = "http"
    host: str = bad.HOST
    #: Clients to which it means something else.
    but: tuple[tuple[str, str], ...] = ()
    #: Whether timing decides what is raised (not how it is classified).
    varies: bool = False


def _serving(name: str, behave: bad.Behaviour, classified: str = SILENCE, **options: Any) -> Ending:
    return Ending(name, lambda: bad.serving(behave), classified, **options)


def _requested(name: str, behave: bad.Behaviour, **options: Any) -> Ending:
    return _serving(name, bad.after_request(behave), **options)


def _queried(name: str, behave: bad.Behaviour, **options: Any) -> Ending:
    return _serving(name, bad.after_query(behave), **options)


# http.client takes a head that ends too early for a whole one, with no body.
_BLIND_TO_HALF_A_HEAD = tuple((client, NOT_SEEN) for client in ("requests", "urllib3", "urllib.request"))
_NO_STATUS_ERRORS = (("urllib3", NOT_SEEN),)

FULL = Ending("never lets in (connect timeout)", bad.full, timeout=SHORT)
REFUSES = Ending("refuses", bad.refusing, NO_EFFECT)

HTTP_ENDINGS = [
    _requested("hangs", bad.hang, timeout=SHORT),
    _serving("closes at once", bad.close, varies=True),
    _requested("closes", bad.close),
    _requested("resets", bad.reset),
    _requested("half a head, then closes", bad.say(bad.HALF_HEAD), but=_BLIND_TO_HALF_A_HEAD),
    _requested("half a body, then closes", bad.say(bad.HALF_BODY)),
    _requested("half a chunk, then closes", bad.say(bad.HALF_CHUNK)),
    _requested("no last chunk, then closes", bad.say(bad.LAST_CHUNK_MISSING)),
    _requested("replies in no HTTP", bad.say(bad.NO_HTTP)),
    _requested("a body that can't be decoded", bad.say(bad.BAD_GZIP), but=(("urllib.request", NOT_SEEN),)),
    *(_serving(f"answers {code}", bad.status(code), but=_NO_STATUS_ERRORS) for code in (500, 503, 408)),
    *(_serving(f"answers {code}", bad.status(code), ANSWER, but=_NO_STATUS_ERRORS) for code in (404, 409, 422)),
    FULL,
    REFUSES,
    Ending("has no address", lambda: _nameless(80), NO_EFFECT, host=bad.NOBODY),
    _serving("has a certificate of its own", bad.self_signed, NO_EFFECT, scheme="https"),
]
PSYCOPG_ENDINGS = [
    _queried("hangs", bad.hang, timeout=SHORT, varies=True),
    _queried("closes", bad.close),
    _queried("resets", bad.reset),
    _queried("half a row, then closes", bad.say(bad.HALF_ROW)),
    _queried("57P01 admin_shutdown", bad.say(bad.postgres_error("57P01", "FATAL"))),
    _serving("XX000 internal_error", bad.report("XX000")),
    _serving("40003 statement_completion_unknown", bad.report("40003")),
    _serving("40001 serialization_failure", bad.report("40001"), ANSWER),
    _serving("57014 query_canceled", bad.report("57014"), ANSWER),
    _serving("23505 unique_violation", bad.report("23505"), ANSWER),
    FULL,
    REFUSES,
    _serving("closes before it lets in", bad.after_startup(bad.close), NO_EFFECT),
    # psycopg tells it in words only.
    Ending("has no address", lambda: _nameless(5432), SILENCE, host=bad.NOBODY),
]

CASES = [
    (client, ending)
    for clients, endings in ((HTTP_CLIENTS, HTTP_ENDINGS), (PSYCOPG_CLIENTS, PSYCOPG_ENDINGS))
    for client in clients
    for ending in endings
    if (client, ending.name) != ("psycopg", "hangs")  # it has no timeout of its own: it would wait for ever
]


def _nameless(port: int) -> AbstractContextManager[int]:
    return nullcontext(port)


@dataclass(frozen=True)
class Observation:
    raised: str
    classified: str
    #: Whether `isinstance` of TimeoutError and ConnectionError would have seen it.
    builtin: bool


@functools.cache
def observe(client: str, ending: Ending) -> Observation:
    with ending.port() as port, bad.nameless():
        address = f"{ending.scheme}://{ending.host}:{port}/debit"
        if client in PSYCOPG_CLIENTS:
            # Less than 2 s psycopg takes for 2 s.
            address = (
                f"host={ending.host} port={port} user=u dbname=d sslmode=disable gssencmode=disable connect_timeout=2"
            )
        try:
            CLIENTS[client](address, ending.timeout)
        except Exception as error:
            silent = is_silence(error)
            said = SILENCE if silent else NO_EFFECT if ending.classified == NO_EFFECT else ANSWER
            builtin = isinstance(error, TimeoutError | ConnectionError)
            seen = Observation(f"{type(error).__module__}.{type(error).__qualname__}", said, builtin)
            if isinstance(error, urllib.error.HTTPError):
                error.close()
        else:
            return Observation("nothing", NOT_SEEN, False)
    if client == "httpx, trio":
        gc.collect()  # here, where the warning of `pytestmark` is expected
    return seen


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels end connections in other ways")
@pytest.mark.parametrize(
    ("client", "ending"), [pytest.param(client, ending, id=f"{client}-{ending.name}") for client, ending in CASES]
)
def test_an_ending_of_a_real_client_is_classified(client: str, ending: Ending) -> None:
    assert observe(client, ending).classified == dict(ending.but).get(client, ending.classified)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels end connections in other ways")
def test_the_documented_table_is_what_was_observed() -> None:
    """If it is not: ``PYTHONPATH=. python -m tests.saga.test_silence`` writes it, and `git diff` shows what changed."""
    head, table, tail = _documented()
    written = {(client, ending): (names.split(" or "), said) for client, ending, names, said in map(_cells, table[2:])}

    assert list(written) == [(client, ending.name) for client, ending in CASES]
    for client, ending in CASES:
        names, said = written[client, ending.name]
        seen = observe(client, ending)
        assert ending.varies or names == [f"`{seen.raised}`"], (client, ending.name)
        assert seen.classified == said, (client, ending.name)
    assert f"{_count(SILENCE)} of these endings are silence" in head + tail
    assert sum(observe(*case).builtin for case in CASES) < 10  # as the page says; timing decides about one or two


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _count(classified: str) -> int:
    return sum(observe(*case).classified == classified for case in CASES)


def _documented() -> tuple[str, list[str], str]:
    head, begin, rest = DOCS.read_text().partition("<!-- observed -->\n")
    table, end, tail = rest.partition("<!-- end of observed -->\n")
    assert all((begin, end)), f"{DOCS} must hold the two comments that enclose the table."
    return head + begin, table.strip().splitlines(), end + tail


def write_docs() -> None:
    """Write what is observed into `docs/silence.md`: all that was raised where timing decides."""
    raised: dict[tuple[str, str], set[str]] = {}
    for client, ending in CASES:
        for _ in range(50 if ending.varies else 1):
            observe.cache_clear()
            raised.setdefault((client, ending.name), set()).add(f"`{observe(client, ending).raised}`")
    said = {(client, ending.name): observe(client, ending).classified for client, ending in CASES}
    head, _, tail = _documented()
    lines = ["| client | the server … | raised | classified as |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(case)} | {' or '.join(sorted(raised[case]))} | {said[case]} |" for case in said]
    DOCS.write_text(head + "\n".join(lines) + "\n" + tail)
    print(f"{_count(SILENCE)} of these endings are silence. The sentence that says so is yours to change.")


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_a_connection_that_is_reset_before_it_was_used_is_silence(client: str) -> None:
    """Timing decides what is raised, and whether the request was sent; the classification does not depend on it."""
    with bad.serving(bad.reset) as port, pytest.raises(Exception) as caught:
        CLIENTS[client](f"http://{bad.HOST}:{port}/debit", LONG)

    assert is_silence(caught.value)


@pytest.mark.parametrize("client", HTTP_CLIENTS)
def test_a_host_that_refuses_at_all_its_addresses_was_never_connected(client: str) -> None:
    with bad.refusing() as port, pytest.raises(Exception) as caught:
        CLIENTS[client](f"http://localhost:{port}/debit", LONG)

    assert not is_silence(caught.value)


async def _aiohttp_puts_twice(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.put(url, data=b"amount=1") as response:
                await response.read()


def _urllib3_puts_twice(url: str) -> None:
    with urllib3.PoolManager() as pool:
        for _ in range(2):
            pool.request("PUT", url, body=b"amount=1")


@pytest.mark.parametrize(
    ("puts_twice", "remedy"),
    [
        (lambda url: anyio.run(_aiohttp_puts_twice, url), aiohttp.ClientConnectorError),
        (_urllib3_puts_twice, urllib3.exceptions.MaxRetryError),
    ],
    ids=["aiohttp", "urllib3"],
)
def test_a_put_that_the_client_sent_again_needs_unknown_on(
    puts_twice: Callable[[str], None], remedy: type[Exception]
) -> None:
    """A limit, and its remedy, from the page: the server died of the first try, and only the second is told."""
    with bad.dying() as port, pytest.raises(Exception) as caught:
        puts_twice(f"http://{bad.HOST}:{port}/debit")

    assert not is_silence(caught.value)
    assert is_silence(caught.value, unknown_on=(remedy,))


# --- what the step makes of it ---------------------------------------------------------------------------------------


class BankDown(Exception):
    """An error of the step's own."""


class CardDeclined(BankDown):
    pass


def _forge(name: str, *bases: type[Exception], **attributes: Any) -> type[Any]:
    """A class that calls itself ``name``, as a library has it that is not installed here."""
    module, _, qualname = name.rpartition(".")
    return type(qualname, bases or (Exception,), {"__module__": module, **attributes})


def _raised_from(*links: Exception) -> Exception:
    """The first of ``links``, each raised from the next."""
    for link, cause in itertools.pairwise(links):
        link.__cause__ = cause
    return links[0]


def _in_context(*links: BaseException) -> BaseException:
    """The first of ``links``, each raised while the next was handled."""
    for link, context in itertools.pairwise(links):
        link.__context__ = context
    return links[0]


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), BrokenPipeError(), ConnectionAbortedError()])
def test_what_python_calls_a_timeout_or_a_lost_connection_is_silence(error: Exception) -> None:
    assert is_silence(error)


@pytest.mark.parametrize("error", [ValueError(), KeyError("x"), BankDown(), FileNotFoundError(2, "no"), OSError("no")])
def test_an_ordinary_error_is_an_answer(error: Exception) -> None:
    assert not is_silence(error)


def test_a_timeout_is_heard_through_the_steps_own_error() -> None:
    assert is_silence(_raised_from(BankDown(), httpx.ReadTimeout("late")))
    assert is_silence(_in_context(BankDown(), httpx.ReadTimeout("late")))


def test_a_timeout_is_heard_behind_from_none() -> None:
    """`raise … from None` hides the timeout from the traceback; the request was sent all the same."""
    with pytest.raises(BankDown) as caught:
        try:
            raise httpx.ReadTimeout("late")
        except httpx.ReadTimeout:
            raise BankDown from None

    assert caught.value.__suppress_context__
    assert is_silence(caught.value)


def test_a_chain_of_harmless_errors_is_an_answer() -> None:
    with pytest.raises(BankDown) as caught:
        try:
            raise KeyError("account")
        except KeyError:
            raise BankDown from ValueError("no such account")

    assert not is_silence(caught.value)


def test_a_member_of_a_group_is_heard_however_deep_it_lies() -> None:
    group: Any = TimeoutError()
    for _ in range(1000):
        group = BaseExceptionGroup("deeper", [ValueError(), group])

    assert is_silence(group)
    assert is_silence(_in_context(BankDown(), group))
    assert not is_silence(ExceptionGroup("answers", [ValueError(), ExceptionGroup("more", [CardDeclined()])]))


@pytest.mark.parametrize("cut", [GeneratorExit(), SystemExit(1), MemoryError(), RecursionError()])
def test_a_step_that_was_cut_off_is_silent_about_it_in_the_chain_too(cut: BaseException) -> None:
    assert is_silence(cut)
    assert is_silence(_in_context(ValueError("while cleaning up"), cut))
    assert is_silence(BaseExceptionGroup("both", [ValueError(), cut]))


@pytest.mark.anyio
async def fail() -> None:
    raise CardDeclined


@pytest.mark.anyio
async def test_a_task_group_that_cancels_its_own_tasks_says_no_more_than_the_one_that_failed() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep(60)

    assert not is_silence(raised.value)


def test_nor_does_one_of_asyncio() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(main())

    assert not is_silence(raised.value)


# --- never connected -------------------------------------------------------------------------------------------------

_NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_refused_connection_had_no_effect() -> None:
    assert not is_silence(ConnectionRefusedError())
    assert not is_silence(_raised_from(httpx.ConnectError("no"), OSError("all failed"), ConnectionRefusedError()))
    assert not is_silence(_NO_SUCH_NAME)


def test_a_connect_error_without_proof_is_silence() -> None:
    assert is_silence(httpx.ConnectError("why is not told"))
    assert is_silence(_raised_from(httpx.ConnectError("no"), OSError("all attempts failed")))


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN])
def test_a_network_that_went_away_is_silence(number: int) -> None:
    assert is_silence(OSError(number, "gone"))
    assert is_silence(_raised_from(httpx.ConnectError("no"), OSError(number, "gone")))


def test_an_address_that_could_not_be_tried_leaves_a_refusal_a_refusal() -> None:
    no_ipv6 = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    attempts = ExceptionGroup("attempts", [no_ipv6, ConnectionRefusedError()])

    assert not is_silence(_raised_from(httpx.ConnectError("no"), OSError("all attempts failed"), attempts))


@pytest.mark.parametrize(
    "lost",
    [
        TimeoutError(),
        ConnectionResetError(),
        httpx.RemoteProtocolError("half"),
        trio.TooSlowError(),
        requests.ConnectTimeout(),
    ],
)
def test_a_refusal_says_nothing_about_the_attempt_that_was_lost_before_it(lost: Exception) -> None:
    second = _raised_from(httpx.ConnectError("no"), ConnectionRefusedError())
    second.__context__ = lost

    assert is_silence(second)
    assert is_silence(ExceptionGroup("side by side", [second, lost]))


def test_a_refusal_among_other_errors_is_silence() -> None:
    """Only connect errors beside it: what a stranger's error hides, such as a try before, can't be known."""
    assert is_silence(_raised_from(BankDown(), httpx.ConnectError("no"), ConnectionRefusedError()))
    assert is_silence(_in_context(ConnectionRefusedError(), KeyError("x")))
    assert not is_silence(_raised_from(BankDown(), _NO_SUCH_NAME))


def test_a_certificate_that_is_not_trusted_had_no_effect_and_other_tls_errors_are_silence() -> None:
    distrust = ssl.SSLCertVerificationError("self-signed certificate")

    assert not is_silence(distrust)
    assert not is_silence(_raised_from(trio.BrokenResourceError(), distrust))
    assert is_silence(ssl.SSLEOFError("EOF occurred in violation of protocol"))
    assert is_silence(ssl.SSLZeroReturnError())
    assert is_silence(ssl.SSLError("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"))


# --- what the saga declares ------------------------------------------------------------------------------------------


def test_unknown_on_is_heard_anywhere_in_the_chain() -> None:
    declined = _raised_from(ValueError(), ExceptionGroup("", [CardDeclined()]))

    assert is_silence(declined, unknown_on=(BankDown,))
    assert not is_silence(declined, unknown_on=(LookupError,))
    assert is_silence(ConnectionRefusedError(), unknown_on=(OSError,))


def test_known_on_speaks_for_the_raised_exception_whatever_its_chain_holds() -> None:
    full = _raised_from(httpx.PoolTimeout("no connection was free"), TimeoutError())

    assert is_silence(full)
    assert not is_silence(full, known_on=(httpx.PoolTimeout,))


def test_known_on_does_not_speak_for_what_is_deeper_in_the_chain() -> None:
    full = httpx.PoolTimeout("no connection was free")

    assert is_silence(_raised_from(BankDown(), full), known_on=(httpx.PoolTimeout,))
    assert is_silence(ExceptionGroup("", [full]), known_on=(httpx.PoolTimeout,))


def test_the_narrower_of_unknown_on_and_known_on_decides() -> None:
    assert is_silence(CardDeclined(), unknown_on=(CardDeclined,), known_on=(BankDown,))
    assert not is_silence(CardDeclined(), unknown_on=(BankDown,), known_on=(CardDeclined,))
    assert is_silence(CardDeclined(), unknown_on=(CardDeclined,), known_on=(CardDeclined,))


# --- answers that carry a status -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "silent"),
    [(200, True), (303, True), (400, False), (404, False), (408, True), (429, False), (500, True), (599, True)],
)
def test_a_status_is_an_answer_only_if_it_refuses(code: int, silent: bool) -> None:
    request = httpx.Request("POST", "http://bank")
    reply = requests.Response()
    reply.status_code = code
    client_error = _forge("botocore.exceptions.ClientError")()
    client_error.response = {"ResponseMetadata": {"HTTPStatusCode": code}}
    errors = [
        httpx.HTTPStatusError("it is so", request=request, response=httpx.Response(code, request=request)),
        requests.HTTPError(response=reply),
        aiohttp.ClientResponseError(None, (), status=code),  # type: ignore[arg-type]
        client_error,
    ]

    assert [is_silence(error) for error in errors] == [silent] * len(errors)


def test_a_response_on_a_strangers_error_is_heard_if_it_is_a_server_error() -> None:
    error = _forge("acme.BankError")()
    error.response = httpx.Response(503)
    assert is_silence(error)

    error.response = httpx.Response(409)
    assert not is_silence(error)


def test_a_status_that_cannot_be_read_is_silence() -> None:
    assert is_silence(requests.HTTPError("no response"))
    assert is_silence(_forge("botocore.exceptions.ClientError")())


_GRPC_SILENT = [
    "CANCELLED",
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
]
_GRPC_ANSWER = [
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "FAILED_PRECONDITION",
    "ABORTED",
]
_GRPC_ANSWER += ["OUT_OF_RANGE", "UNIMPLEMENTED", "UNAUTHENTICATED"]


@pytest.mark.parametrize("cls", ["grpc._channel._InactiveRpcError", "grpc.aio._call.AioRpcError"])
@pytest.mark.parametrize("code", _GRPC_SILENT + _GRPC_ANSWER)
def test_a_grpc_code_is_an_answer_only_if_a_server_that_refused_gives_it(cls: str, code: str) -> None:
    named = type("StatusCode", (), {"name": code})
    error = _forge(cls, _forge("grpc.RpcError"), code=lambda self: named)()

    assert is_silence(error) == (code in _GRPC_SILENT)


def test_a_grpc_error_without_code_is_silence() -> None:
    assert is_silence(_forge("grpc.RpcError")())
    assert is_silence(_forge("grpc.RpcError", code=lambda self: None)())


@pytest.mark.parametrize(
    ("state", "silent"),
    [
        ("08006", True),
        ("08007", True),
        ("40003", True),
        ("57P01", True),
        ("57P02", True),
        ("58030", True),
        ("XX000", True),
        (None, True),
        ("57014", False),
        ("57P03", False),
        ("40001", False),
        ("40P01", False),
        ("23505", False),
        ("53300", False),
    ],
)
def test_a_sqlstate_is_an_answer_unless_the_commit_may_have_gone_through(state: str | None, silent: bool) -> None:
    base = _forge("asyncpg.exceptions._base.PostgresError")
    errors = [
        psycopg.OperationalError(),
        _forge("asyncpg.exceptions.SomeError", base)(),
        _forge("psycopg2.OperationalError", _forge("psycopg2.Error"))(),
    ]
    for error in errors:
        error.sqlstate = error.pgcode = state

    assert [is_silence(error) for error in errors] == [silent] * len(errors)


def test_an_error_that_psycopg_made_itself_is_an_answer() -> None:
    assert not is_silence(psycopg.ProgrammingError("the query has 1 placeholder but 2 parameters were passed"))
    assert not is_silence(psycopg.InterfaceError("the cursor is closed"))


def test_our_own_store_in_doubt_is_silence() -> None:
    assert is_silence(StoreUnavailable("full", in_doubt=True))
    assert not is_silence(StoreUnavailable("full", in_doubt=False))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "silent"),
    [
        ("redis.exceptions.TimeoutError", True),
        ("redis.exceptions.ConnectionError", True),
        ("redis.exceptions.ResponseError", False),
        ("asyncpg.exceptions._base.InternalClientError", True),
        ("asyncpg.exceptions._base.InterfaceError", False),
        ("botocore.exceptions.ConnectionError", True),
        ("botocore.exceptions.HTTPClientError", True),
        ("botocore.exceptions.ParamValidationError", False),
        ("allframe.EffectUnknown", True),
        ("acme.exceptions.TimeoutError", False),
    ],
)
def test_a_class_is_known_by_its_name_and_by_its_bases(name: str, silent: bool) -> None:
    named = _forge(name)
    derived = _forge("bank.Trouble", named)

    assert is_silence(named()) == silent
    assert is_silence(derived()) == silent
    assert is_silence(ExceptionGroup("", [_raised_from(BankDown(), derived())])) == silent


@pytest.mark.parametrize("client", ["redis.exceptions.ConnectionError", "botocore.exceptions.EndpointConnectionError"])
def test_a_client_that_sends_again_by_itself_is_not_believed_to_have_been_refused(client: str) -> None:
    """Its last try was refused: what became of the first it does not say."""
    base = _forge(f"{client.partition('.')[0]}.exceptions.ConnectionError")

    assert is_silence(_raised_from(_forge(client, base)(), ConnectionRefusedError()))


def test_a_connect_error_that_is_a_timeout_as_well_is_silence() -> None:
    both = _forge("bank.SlowConnect", httpx.ConnectError, TimeoutError)("slow")

    assert is_silence(_raised_from(both, ConnectionRefusedError()))


def _class_of(name: str) -> Any:
    import importlib

    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return None


def test_every_name_of_an_installed_library_is_what_its_class_calls_itself() -> None:
    """A library that moves or renames an exception would go unheard."""
    ours = "allframe."
    listed = {name: _class_of(name) for name in silence._WORDS if not name.startswith(ours)}
    found = {name: cls for name, cls in listed.items() if cls is not None}

    assert {name.partition(".")[0] for name in found} >= {
        "httpx",
        "httpcore",
        "requests",
        "urllib3",
        "aiohttp",
        "anyio",
        "trio",
        "psycopg",
        "ssl",
        "http",
    }
    assert {name: f"{cls.__module__}.{cls.__qualname__}" for name, cls in found.items()} == {
        name: name for name in found
    }


# --- strangers -------------------------------------------------------------------------------------------------------


def _hostile(self: Any) -> Any:
    raise RuntimeError("do not look at me")


def test_a_property_that_raises_does_no_harm() -> None:
    names = ("response", "errno", "code", "sqlstate", "pgconn", "__cause__", "__context__", "__class__")
    hostile = dict.fromkeys(names, property(_hostile))

    odd = _forge("acme.Odd", **hostile)()
    no_code = _forge("acme.NoCode", _forge("grpc.RpcError"), **hostile)()
    timeout = _forge("acme.Late", TimeoutError, **hostile)()
    # Not in the assertions: pytest would look at the objects.
    found = [is_silence(odd), is_silence(no_code), is_silence(timeout)]

    assert found == [False, True, True]


def test_a_class_that_cannot_be_examined_is_silence() -> None:
    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError("do not look at me")

    assert is_silence(Meta("Odd", (Exception,), {})())


def test_a_chain_that_bites_its_own_tail_is_heard_once() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__context__ = second, first
    assert not is_silence(first)

    second.__cause__ = TimeoutError()
    assert is_silence(first)

    group = ExceptionGroup("a member that holds its group", [first])
    first.__context__ = group
    assert is_silence(group)


def test_a_chain_that_is_too_long_to_hear_is_silence() -> None:
    links = [ValueError() for _ in range(silence.MAX_CHAIN + 1)]

    assert not is_silence(_raised_from(*links[:-1]))
    assert is_silence(_raised_from(*links))


if __name__ == "__main__":
    write_docs()
