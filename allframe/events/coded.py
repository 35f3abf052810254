"""`CodedBackend`: a backend whose payloads go through codecs on their way in and out.

::

    EventStore(url, codec=[ZlibCodec(), EncryptionCodec(key)])

    {"amount":5, …}  ── zlib ──>  bytes  ── aes-256-gcm ──>  bytes  ──>  {"$codec":"zlib+aes-256-gcm","data":"AbC…="}

What is stored stays JSON: an envelope that names the codecs, in the order in which they encoded. A payload that none of
them touched stands there as it is, and one without an envelope is read as it is: so a codec can be turned on later. It
encodes events, records and snapshots, and the digests in heads; whatever else a store knows of them stays legible.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from pydantic_core import to_json

from allframe.errors import PayloadError, StoreFormatError
from allframe.events.backend import (
    BackendStats,
    Claim,
    Commit,
    EventStoreBackend,
    Head,
    HeadQuery,
    Row,
    StoredRow,
    StoredSnapshot,
    Versions,
    Write,
)
from allframe.events.batch import check_commit, check_snapshot
from allframe.events.changes import Changes
from allframe.events.codecs import Codec
from allframe.events.tables import StoredTables, Tables

__all__ = [
    "CodedBackend",
    "Codecs",
    "check_newest",
    "check_plain",
    "check_plain_snapshot",
    "is_sealed",
    "refuse_reserved",
    "uncoded",
]

#: One codec, or several in the order in which they encode.
Codecs: TypeAlias = Codec | Sequence[Codec]

_MARK: Final = b'{"$codec":"'
_ENVELOPE: Final = re.compile(rb'\{"\$codec":"([^"]+)","data":"([^"]*)"\}')
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


class CodedBackend:
    """``backend`` with ``codec``, or several: the first one encodes first.

    Raises:
        ValueError: for no codec, two of one name, a name that is none, or a backend that has codecs already.
    """

    def __init__(self, backend: EventStoreBackend, codec: Codecs) -> None:
        if isinstance(backend, CodedBackend):
            raise ValueError("The backend has a codec already: give all codecs to one of them, in a list.")
        #: Where it is stored.
        self.inner = backend
        self.url, self.readonly, self.durable = backend.url, backend.readonly, backend.durable
        self._chain = _Chain(codec)

    @property
    def changes(self) -> Changes | None:
        return self.inner.changes

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def claim(self, where: str) -> Claim:
        return await self.inner.claim(where)

    async def release(self) -> None:
        await self.inner.release()

    def hold(self) -> Callable[[], None]:
        return self.inner.hold()

    # --- in

    async def commit(self, commit: Commit) -> Versions:
        check_commit(commit)
        return await self.inner.commit(self._encoded(commit))

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        check_snapshot(snapshot)
        sealed = self._chain.seal(snapshot.data, _context_of_snapshot(snapshot))
        await self.inner.save_snapshot(replace(snapshot, data=sealed))

    def _encoded(self, commit: Commit) -> Commit:
        head = commit.head
        if head is not None:
            head = replace(head, digest=self._chain.seal(head.digest, _context_of_head(head)))
        return Commit(tuple(map(self._write, commit.writes)), head)

    def _write(self, write: Write) -> Write:
        rows = [row._replace(data=self._chain.seal(row.data, _context(write.stream, row))) for row in write.rows]
        return replace(write, rows=tuple(rows))

    # --- out

    async def read_stream(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[StoredRow]:
        return self._rows(await self.inner.read_stream(stream, after=after, limit=limit))

    async def read_all(
        self, *, after: int = 0, limit: int = 1000, system: bool = False, category: str | None = None
    ) -> list[StoredRow]:
        return self._rows(await self.inner.read_all(after=after, limit=limit, system=system, category=category))

    async def last_position(self) -> int:
        return await self.inner.last_position()

    async def get_snapshot(self, stream: str, type: str) -> StoredSnapshot | None:  # noqa: A002 - the row's own word
        found = await self.inner.get_snapshot(stream, type)
        if found is None or not is_sealed(found.data):
            return found
        try:
            return replace(found, data=self._chain.open(found.data, _context_of_snapshot(found)))
        except (ValueError, LookupError) as error:
            raise _unreadable(_named_snapshot(found), error) from error

    async def get_head(self, stream: str) -> Head | None:
        found = await self.inner.get_head(stream)
        return None if found is None else self._head(found)

    async def list_heads(self, query: HeadQuery, *, after: str | None = None, limit: int = 500) -> list[Head]:
        return [self._head(head) for head in await self.inner.list_heads(query, after=after, limit=limit)]

    async def newest_heads(self, query: HeadQuery, *, before: str | None = None, limit: int = 100) -> list[Head]:
        return [self._head(head) for head in await self.inner.newest_heads(query, before=before, limit=limit)]

    async def count_heads(self, query: HeadQuery) -> int:
        return await self.inner.count_heads(query)

    async def stats(self) -> BackendStats:
        stats = await self.inner.stats()
        return replace(stats, backend_specific={**stats.backend_specific, "codec": self._chain.names})

    def _rows(self, rows: list[StoredRow]) -> list[StoredRow]:
        return [self._row(row) if row.data.startswith(_MARK) else row for row in rows]

    def _row(self, row: StoredRow) -> StoredRow:
        try:
            return row._replace(data=self._chain.open(row.data, _context(row.stream, row)))
        except (ValueError, LookupError) as error:
            raise _unreadable(_named(row), error) from error

    def _head(self, head: Head) -> Head:
        if not head.digest.startswith(_MARK):
            return head
        try:
            return replace(head, digest=self._chain.open(head.digest, _context_of_head(head)))
        except (ValueError, LookupError):
            return head  # a digest is only ever compared, and one bad head must not hide the others

    # --- tables of projections are a database's own, and not encoded

    def tables(self, name: str) -> Tables:
        return self.inner.tables(name)

    async def list_tables(self) -> list[StoredTables]:
        return await self.inner.list_tables()

    async def check_newest(self) -> None:
        """As the function of this name: also of what is encoded by another codec, or with another key.

        Raises:
            StoreFormatError: naming it.
        """
        row = await _newest(self.inner)
        if row is None or not is_sealed(row.data):
            return
        try:
            self._chain.open(row.data, _context(row.stream, row))
        except LookupError as error:
            raise _unreadable(_named(row), error) from error
        except ValueError:
            pass  # one that is damaged keeps nobody from reading the others


class _Chain:
    """Codecs one after the other, and the envelope around what they give."""

    def __init__(self, codec: Codecs) -> None:
        codecs: Sequence[Codec] = codec if isinstance(codec, Sequence) else (codec,)
        for each in codecs:
            _check_codec(each)
        self._codecs = {each.name: each for each in codecs}
        bad = [name for name in self._codecs if not _NAME.fullmatch(name)]
        if bad:
            raise ValueError(f"A codec's name is {bad[0]!r}. Expected letters, digits and any of '-_.'.")
        if not codecs or len(self._codecs) != len(codecs):
            found = ", ".join(each.name for each in codecs) or "none"
            raise ValueError(f"Expected one codec or several different ones, found: {found}.")
        #: In the order in which they encode.
        self.names = "+".join(self._codecs)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """``data`` in its envelope; as it is, if every codec leaves it alone.

        Raises:
            PayloadError: it looks like an envelope.
        """
        refuse_reserved(data, "A payload")
        applied = ""
        for name, codec in self._codecs.items():
            # What the other codecs did belongs to the context, so that nobody can change their names.
            encoded = codec.encode(data, _within(context, applied))
            if encoded is not None:
                data, applied = encoded, f"{applied}+{name}" if applied else name
        return b'%s%s","data":"%s"}' % (_MARK, applied.encode(), base64.b64encode(data)) if applied else data

    def open(self, data: bytes, context: bytes) -> bytes:
        """What was sealed.

        Raises:
            ValueError: it is damaged.
            LookupError: the codecs here are others, or lack the key.
        """
        names, data = _parts(data)
        missing = [name for name in names if name not in self._codecs]
        if missing:
            raise LookupError(
                f"it is encoded by {'+'.join(names)!r}, and this store was opened with {self.names!r}. Open it with all that "
                "have been in use: EventStore(..., codec=[...])"
            )
        for i in reversed(range(len(names))):
            try:
                data = self._codecs[names[i]].decode(data, _within(context, "+".join(names[:i])))
            except (ValueError, LookupError):
                raise
            except Exception as error:
                raise ValueError(f"the codec {names[i]!r} failed ({type(error).__qualname__})") from error
        return data


def _check_codec(given: object) -> None:
    methods = (getattr(given, name, None) for name in ("encode", "decode"))
    if isinstance(given, type) or not all(map(callable, methods)) or not isinstance(getattr(given, "name", None), str):
        raise ValueError(
            f"{given!r} is no codec. Expected an object with a name, encode and decode, such as ZlibCodec()."
        )


def is_sealed(data: bytes) -> bool:
    """Whether it is an envelope."""
    return data.startswith(_MARK)


def refuse_reserved(data: bytes, what: str) -> None:
    """
    Raises:
        PayloadError: if ``data`` would be taken for an envelope when it is read.
    """
    if data.startswith(_MARK):
        raise PayloadError(
            f"{what} begins with the key '$codec', which is allframe's own. Give the field another name."
        )


def check_plain(row: StoredRow) -> StoredRow:
    """``row``, which a store without a codec has read.

    Raises:
        StoreFormatError: if it is in an envelope.
    """
    if row.data.startswith(_MARK):
        raise _without_codec(_named(row), row.data)
    return row


def check_plain_snapshot(snapshot: StoredSnapshot) -> None:
    """As `check_plain`."""
    if snapshot.data.startswith(_MARK):
        raise _without_codec(_named_snapshot(snapshot), snapshot.data)


async def check_newest(backend: EventStoreBackend) -> None:
    """Look at the newest row of an open backend, so that a codec or a key that is missing shows at once.

    Raises:
        StoreFormatError: if it cannot be read for that.
    """
    if isinstance(backend, CodedBackend):
        await backend.check_newest()
    elif (row := await _newest(backend)) is not None:
        check_plain(row)


def uncoded(backend: EventStoreBackend) -> EventStoreBackend:
    """The backend below its codecs, if it has some."""
    return backend.inner if isinstance(backend, CodedBackend) else backend


async def _newest(backend: EventStoreBackend) -> StoredRow | None:
    position = await backend.last_position()
    rows = await backend.read_all(after=position - 1, limit=1, system=True) if position else []
    return rows[0] if rows else None


def _parts(data: bytes) -> tuple[list[str], bytes]:
    """The names of an envelope's codecs, and its content."""
    found = _ENVELOPE.fullmatch(data)
    if found is None:
        raise ValueError("its envelope is damaged")
    try:
        return found[1].decode().split("+"), base64.b64decode(found[2], validate=True)
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("its envelope is damaged") from None


def _context(stream: str, row: Row | StoredRow) -> bytes:
    return to_json(["event", stream, row.id.hex(), row.type, row.schema_version])


def _context_of_snapshot(snapshot: StoredSnapshot) -> bytes:
    return to_json(["snapshot", snapshot.stream, snapshot.type, snapshot.schema_version, snapshot.revision])


def _context_of_head(head: Head) -> bytes:
    return to_json(["digest", head.stream, head.category])


def _within(context: bytes, applied: str) -> bytes:
    return context + applied.encode()


def _named(row: StoredRow) -> str:
    return f"The event at position {row.position} ({row.type!r} in stream {row.stream!r})"


def _named_snapshot(snapshot: StoredSnapshot) -> str:
    return f"The snapshot {snapshot.type!r} of stream {snapshot.stream!r}"


def _unreadable(what: str, why: Exception) -> StoreFormatError:
    # str() of a KeyError is a repr.
    return StoreFormatError(f"{what} cannot be read: {why.args[0] if why.args else type(why).__qualname__}.")


def _without_codec(what: str, data: bytes) -> StoreFormatError:
    found = _ENVELOPE.match(data)
    name = found[1].decode("ascii", "backslashreplace") if found else "?"
    return StoreFormatError(
        f"{what} is encoded by {name!r}, and this store was opened without a codec. Open it with all that have been in "
        "use: EventStore(..., codec=[...]), on the command line --codec MODULE:NAME."
    )
