"""A store with a codec: what lies in it, what is read from it, and what it says when it cannot be read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from allframe import Event, EventStore, PayloadError, StoreFormatError
from allframe.events import Codec, EncryptionCodec, ZlibCodec
from allframe.events.backend import Commit, Row, StoredRow, Write, new_id
from allframe.events.coded import Codecs, CodedBackend
from allframe.events.memory import MemoryBackend
from allframe.testing.backend_rows import head

pytestmark = pytest.mark.anyio

KEY, OTHER = b"k" * 32, b"o" * 32
PACKED = ZlibCodec()
ENCRYPTED = EncryptionCodec(KEY)
BOTH = [PACKED, ENCRYPTED]
SECRET = "4111 1111 1111 1111"


class Paid(Event, name="coded.paid"):
    card: str
    note: str = ""


class Balance(BaseModel):
    cents: int
    history: list[str] = Field(default_factory=list)


PAID = Paid(card=SECRET, note="thanks " * 50)


class Upper:
    """A codec of somebody's own."""

    name = "upper"

    def encode(self, data: bytes, context: bytes) -> bytes | None:
        return data.upper()

    def decode(self, data: bytes, context: bytes) -> bytes:
        if b"BROKEN" in data:
            raise ZeroDivisionError("a secret")
        return data.lower()


class Place:
    """One place that is opened again and again: a file, or one memory backend."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._memory = MemoryBackend() if url.startswith("memory") else None

    def store(self, codec: Codecs | None = None) -> EventStore:
        return EventStore(self._memory or self._url, codec=codec)

    async def lying(self) -> list[StoredRow]:
        """The rows that lie there, whatever they mean."""
        backend = EventStore(self._memory or self._url).backend
        await backend.open()
        rows = await backend.read_all(system=True)
        await backend.close()
        return rows

    async def put(self, *rows: Row, stream: str = "a") -> None:
        """Have rows lie there, as somebody would who changes the database."""
        backend = EventStore(self._memory or self._url).backend
        await backend.open()
        await backend.commit(Commit((Write(stream, rows),)))
        await backend.close()


@pytest.fixture
def place(store_url: str) -> Place:
    return Place(store_url)


def again(row: StoredRow, **changed: Any) -> Row:
    names = Row._fields
    return Row(**{**{name: getattr(row, name) for name in names}, **changed})


# --- what lies there


@pytest.mark.parametrize(
    ("codec", "name"), [(PACKED, "zlib"), (ENCRYPTED, "aes-256-gcm"), (BOTH, "zlib+aes-256-gcm")], ids=str
)
async def test_events_come_back_and_an_envelope_names_the_codecs(place: Place, codec: Codecs, name: str) -> None:
    async with place.store(codec) as store:
        await store.append("a", [PAID, Paid(card="1")], metadata={"by": "ada"})

    async with place.store(codec) as store:
        found = [recorded async for recorded in store.read("a")]
        stats = await store.stats()

    assert [recorded.event for recorded in found] == [PAID, Paid(card="1")]
    assert json.loads(found[0].data) == PAID.model_dump()
    assert found[0].metadata == {"by": "ada"}
    assert stats.backend_specific["codec"] == name
    lying = await place.lying()
    envelope = json.loads(lying[0].data)
    assert envelope.keys() == {"$codec", "data"}
    assert envelope["$codec"] == name
    assert lying[0].metadata == b'{"by":"ada"}'


async def test_what_would_not_get_smaller_stays_as_it_is(place: Place) -> None:
    async with place.store(PACKED) as store:
        await store.append("a", [Paid(card="1")])

    assert [row.data for row in await place.lying()] == [b'{"card":"1","note":""}']


async def test_packing_comes_before_encrypting_as_the_list_says(place: Place) -> None:
    async with place.store(ENCRYPTED) as store:
        await store.append("a", [PAID])
    async with place.store(BOTH) as store:
        await store.append("a", [PAID, Paid(card="1")])

    plain, packed, small = await place.lying()
    assert len(packed.data) < len(plain.data) / 2
    assert json.loads(small.data)["$codec"] == "aes-256-gcm"  # nothing to pack in it


async def test_everything_that_can_be_written_as_json_comes_back() -> None:
    names = st.text(max_size=5)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=20,
    )
    codecs: list[Codecs] = [PACKED, ENCRYPTED, BOTH, [Reversed(), *BOTH]]

    @given(st.lists(values, max_size=4), st.sampled_from(codecs))
    def check(documents: list[Any], codec: Codecs) -> None:
        anyio.run(_round_trip, [json.dumps(document).encode() for document in documents], codec)

    await anyio.to_thread.run_sync(check)


class Reversed:
    """It reverses bytes: the order of codecs is seen by it."""

    name = "reversed"

    def encode(self, data: bytes, context: bytes) -> bytes | None:
        return data[::-1]

    def decode(self, data: bytes, context: bytes) -> bytes:
        return data[::-1]


async def _round_trip(documents: list[bytes], codec: Codecs) -> None:
    backend = CodedBackend(MemoryBackend(), codec)
    await backend.open()
    rows = tuple(Row(new_id(), "t", 1, data, 0) for data in documents)
    await backend.commit(Commit((Write("a", rows),)))
    assert [row.data for row in await backend.read_stream("a")] == documents


async def test_snapshots_go_through_the_codecs(place: Place) -> None:
    async with place.store(BOTH) as store:
        await store.append("a", [PAID])
        await store.save_snapshot("a", Balance(cents=5, history=[SECRET] * 9), version=1)
        backend = store.backend
        assert isinstance(backend, CodedBackend)
        lying = await backend.inner.get_snapshot("a", "Balance")
        assert lying is not None
        assert SECRET.encode() not in lying.data

        found = await store.get_latest_snapshot("a", Balance)

    assert found is not None
    assert found.state == Balance(cents=5, history=[SECRET] * 9)
    async with place.store([PACKED, EncryptionCodec(OTHER, KEY)]) as store:
        await store.append("b", [PAID])
    async with place.store([PACKED, EncryptionCodec(OTHER)]) as store:
        with pytest.raises(
            StoreFormatError, match="The snapshot 'Balance' of stream 'a' cannot be read: it was encrypted"
        ):
            await store.get_latest_snapshot("a", Balance)


async def test_a_snapshot_that_is_encoded_is_refused_without_a_codec(place: Place) -> None:
    async with place.store(PACKED) as store:
        await store.append("a", [Paid(card="1")])
        await store.save_snapshot("a", Balance(cents=5, history=["x"] * 99), version=1)

    async with place.store() as store:
        with pytest.raises(
            StoreFormatError, match="The snapshot 'Balance' of stream 'a' is encoded by 'zlib', and this"
        ):
            await store.get_latest_snapshot("a", Balance)


async def test_a_digest_is_encrypted_and_comes_back(place: Place) -> None:
    written = head("a", digest=bytes(range(32)))
    async with place.store(BOTH) as store:
        await store.backend.commit(Commit((), written))
        backend = store.backend
        assert isinstance(backend, CodedBackend)
        lying = await backend.inner.get_head("a")
        assert lying is not None
        assert bytes(range(32)) not in lying.digest

        assert await backend.get_head("a") == written

        damaged = dataclasses.replace(lying, digest=lying.digest.replace(b'"data":"', b'"data":"AAAA'))
        await backend.inner.commit(Commit((), damaged))
        assert await backend.get_head("a") == damaged  # it hides no other


# --- turning it on


async def test_what_was_stored_before_the_codec_stays_readable(place: Place) -> None:
    async with place.store() as store:
        await store.append("a", [PAID])
    async with place.store(PACKED) as store:
        await store.append("a", [PAID])
    async with place.store(BOTH) as store:
        await store.append("a", [PAID])

        assert await store.get_events("a") == [PAID] * 3


async def test_a_new_key_is_put_in_front_of_the_old_one(place: Place) -> None:
    async with place.store(EncryptionCodec(KEY)) as store:
        await store.append("a", [PAID])
    async with place.store(EncryptionCodec(OTHER, KEY)) as store:
        await store.append("a", [PAID])
        assert await store.get_events("a") == [PAID, PAID]

    async with place.store(EncryptionCodec(OTHER)) as store:
        assert await store.get_events_after("a", 1) == [PAID]
        old = EncryptionCodec(KEY).key_ids[0]
        with pytest.raises(StoreFormatError, match=f"The event at position 1 .* was encrypted with the key {old}"):
            await store.get_events("a")


# --- what cannot be read


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (
            None,
            "The event at position 1 ('coded.paid' in stream 'a') is encoded by 'aes-256-gcm', and this store was opened "
            "without a codec. Open it with all that have been in use: EventStore(..., codec=[...]), on the command line "
            "--codec MODULE:NAME.",
        ),
        (
            PACKED,
            "The event at position 1 ('coded.paid' in stream 'a') cannot be read: it is encoded by 'aes-256-gcm', and this "
            "store was opened with 'zlib'. Open it with all that have been in use: EventStore(..., codec=[...]).",
        ),
        (
            EncryptionCodec(OTHER),
            "The event at position 1 ('coded.paid' in stream 'a') cannot be read: it was encrypted with the key "
            f"{ENCRYPTED.key_ids[0]}, and the codec has {EncryptionCodec(OTHER).key_ids[0]}. Give that key to "
            "EncryptionCodec, after the one that encrypts.",
        ),
    ],
    ids=["none", "another", "another key"],
)
async def test_a_store_is_not_opened_without_what_its_newest_event_takes(
    place: Place, codec: Codecs | None, text: str
) -> None:
    async with place.store(ENCRYPTED) as store:
        await store.append("a", [PAID])

    for _ in range(2):  # it is closed again
        with pytest.raises(StoreFormatError) as caught:
            async with place.store(codec):
                pass
        assert str(caught.value) == text

    async with place.store(ENCRYPTED) as store:
        assert await store.get_events("a") == [PAID]


async def test_without_a_codec_what_is_encoded_is_an_error_and_never_an_event(place: Place) -> None:
    class Anything(Event, name="coded.anything"):
        """Whatever is stored could be one."""

        model_config = ConfigDict(extra="allow")
        text: str = "x" * 200

    async with place.store(PACKED) as store:
        await store.append("a", [Anything(), Anything(text="short")])

    async with place.store() as store:
        reads: list[Callable[[], Any]] = [
            lambda: anext(store.read("a")),
            lambda: anext(store.read_all()),
            lambda: store.get_events("a"),
            lambda: store.get_all_events(),
        ]
        for read in reads:
            with pytest.raises(StoreFormatError, match=r"position 1 .* is encoded by 'zlib', and this store"):
                await read()


@pytest.mark.parametrize(
    "change",
    [
        lambda row: again(row, id=new_id()),
        lambda row: again(row, type="coded.other"),
        lambda row: again(row, schema_version=2),
        lambda row: again(row, data=row.data.replace(b"aes-256-gcm", b"zlib+aes-256-gcm")),
    ],
    ids=["to another row", "to another type", "to another version", "with another name"],
)
async def test_an_encrypted_payload_cannot_be_moved(place: Place, change: Callable[[StoredRow], Row]) -> None:
    async with place.store(ENCRYPTED) as store:
        await store.append("a", [PAID])
    (row,) = await place.lying()
    await place.put(change(row), stream="a")

    async with place.store(BOTH) as store:
        with pytest.raises(StoreFormatError, match=r"position 2 \('coded\.\w+' in stream 'a'\) cannot be read: it was"):
            await store.get_events_after("a", 1)


async def test_nor_to_another_stream(place: Place) -> None:
    async with place.store(ENCRYPTED) as store:
        await store.append("a", [PAID])
    (row,) = await place.lying()
    await place.put(again(row), stream="b")

    async with place.store(ENCRYPTED) as store:
        with pytest.raises(StoreFormatError, match="it was changed after it was encrypted, or belongs elsewhere"):
            await store.get_events("b")
        assert await store.get_events("a") == [PAID]


@pytest.mark.parametrize(
    "data", [b'{"$codec":"zlib"}', b'{"$codec":"zlib","data":"%"}', b'{"$codec":"\xc3","data":""}']
)
async def test_a_damaged_envelope_is_told(data: bytes) -> None:
    memory = MemoryBackend()
    backend = CodedBackend(memory, PACKED)
    await backend.open()
    await memory.commit(Commit((Write("a", (Row(new_id(), "t", 1, data, 0),)),)))

    with pytest.raises(StoreFormatError, match="position 1 .* cannot be read: its envelope is damaged"):
        await backend.read_stream("a")


async def test_a_codec_of_ones_own_that_breaks_is_told_without_what_it_said(place: Place) -> None:
    async with place.store(Upper()) as store:
        await store.append("a", [Paid(card="broken")])
        with pytest.raises(StoreFormatError, match=r"the codec 'upper' failed \(ZeroDivisionError\)\.$") as caught:
            await store.get_events("a")

    assert "secret" not in str(caught.value)


async def test_a_payload_that_looks_like_an_envelope_is_refused(place: Place) -> None:
    class Sly(Event, name="coded.sly"):
        model_config = ConfigDict(extra="allow")

    for codec in (None, PACKED):
        async with place.store(codec) as store:
            with pytest.raises(
                PayloadError, match=r"'coded.sly' begins with the key '\$codec', which is allframe's own"
            ):
                await store.append("a", [Sly.model_validate({"$codec": "zlib"})])


# --- codecs together


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, data: bytes, context: bytes) -> bytes | None:
        return None

    def decode(self, data: bytes, context: bytes) -> bytes:
        raise AssertionError


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ([], "Expected one codec or several different ones, found: none."),
        ([ZlibCodec(1), ZlibCodec(9)], "Expected one codec or several different ones, found: zlib, zlib."),
        (Named("a+b"), "A codec's name is 'a+b'. Expected letters, digits and any of '-_.'."),
        (Named(""), "A codec's name is ''. Expected letters, digits and any of '-_.'."),
    ],
    ids=["none", "twice", "plus", "empty"],
)
def test_codecs_that_cannot_be_told_apart_are_refused(codec: Codec | list[Codec], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        EventStore(codec=codec)

    assert str(caught.value) == text


def test_codecs_are_given_to_one_backend() -> None:
    with pytest.raises(ValueError, match="The backend has a codec already: give all codecs to one of them, in a list"):
        EventStore(CodedBackend(MemoryBackend(), PACKED), codec=ENCRYPTED)


async def test_nothing_of_a_payload_is_in_the_file(tmp_path: Path) -> None:
    async with EventStore(f"sqlite:///{tmp_path}/store.db", codec=ENCRYPTED) as store:
        await store.append("a", [PAID])
        found = b"".join(file.read_bytes() for file in tmp_path.iterdir())

    assert b"coded.paid" in found
    assert SECRET.encode() not in found
    assert b"thanks" not in found


@pytest.mark.parametrize("codec", [5, ZlibCodec, [ZlibCodec(), None]], ids=["number", "class", "list"])
def test_what_is_no_codec_is_refused_when_the_store_is_made(codec: Any) -> None:
    with pytest.raises(ValueError, match=r"is no codec\. Expected an object with a name, encode and decode"):
        EventStore("sqlite:///bank.db", codec=codec)
