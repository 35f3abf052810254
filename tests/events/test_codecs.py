"""What the codecs that allframe brings do with bytes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allframe.events import Codec, EncryptionCodec, ZlibCodec
from tests.sources import ROOT

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
CODECS: list[Codec] = [ZlibCodec(), ZlibCodec(9), EncryptionCodec(KEY)]


@given(st.binary(max_size=5000), st.binary(max_size=50), st.sampled_from(CODECS))
def test_what_was_encoded_is_decoded(data: bytes, context: bytes, codec: Codec) -> None:
    encoded = codec.encode(data, context)

    assert encoded is None or codec.decode(encoded, context) == data


# --- zlib


def test_zlib_makes_what_repeats_itself_smaller_and_leaves_the_rest_alone() -> None:
    packed = ZlibCodec().encode(b'{"name":"Ada"},' * 100, b"")

    assert packed is not None
    assert len(packed) < 100
    assert ZlibCodec().encode(b"{}", b"") is None
    assert ZlibCodec().encode(os.urandom(10_000), b"") is None


def test_zlib_takes_no_payload_whose_envelope_would_be_larger() -> None:
    for size in range(0, 400, 7):
        data = (b'{"a":%d}' % size) * (size // 10)
        packed = ZlibCodec().encode(data, b"")
        if packed is not None:
            assert len(b'{"$codec":"zlib","data":"%s"}' % base64.b64encode(packed)) <= len(data)


def test_zlib_says_that_something_is_damaged() -> None:
    packed = ZlibCodec().encode(b"a" * 1000, b"")
    assert packed is not None

    for damaged in (packed[:-1], packed + b"x", b"x" + packed, b"", packed[:-1] + b"\0"):
        with pytest.raises(ValueError, match="it is damaged"):
            ZlibCodec().decode(damaged, b"")


def test_zlib_does_not_unpack_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allframe.events.codecs.LARGEST", 1 << 20)
    bomb = zlib.compress(b"\0" * (1 << 21))

    with pytest.raises(ValueError, match="larger than anything that allframe stores"):
        ZlibCodec().decode(bomb, b"")


def test_zlib_has_levels() -> None:
    assert repr(ZlibCodec(9)) == "ZlibCodec(level=9)"
    with pytest.raises(ValueError, match="Expected a level from 1 to 9, found 0"):
        ZlibCodec(0)


# --- encryption


def test_nothing_of_the_payload_or_the_key_is_in_what_is_stored() -> None:
    sealed = EncryptionCodec(KEY).encode(b"the secret " * 10, b"here")

    assert b"secret" not in sealed
    assert KEY not in sealed
    assert sealed != EncryptionCodec(KEY).encode(b"the secret " * 10, b"here")  # a nonce of its own


@given(st.binary(max_size=200), st.data())
def test_every_changed_byte_is_found(data: bytes, draw: st.DataObject) -> None:
    codec = EncryptionCodec(KEY)
    sealed = codec.encode(data, b"here")
    place = draw.draw(st.integers(0, len(sealed) - 1))
    other = draw.draw(st.integers(1, 255))
    changed = bytes([*sealed[:place], sealed[place] ^ other, *sealed[place + 1 :]])

    with pytest.raises((ValueError, LookupError), match="it was changed|it is damaged|with the key"):
        codec.decode(changed, b"here")


@given(st.binary(max_size=100), st.integers(0, 200))
def test_what_was_cut_off_is_found(data: bytes, left: int) -> None:
    codec = EncryptionCodec(KEY)
    sealed = codec.encode(data, b"")

    with pytest.raises(ValueError, match=r"it was changed|it is damaged"):
        codec.decode(sealed[: min(left, len(sealed) - 1)], b"")


def test_what_belongs_elsewhere_is_refused() -> None:
    codec = EncryptionCodec(KEY)

    with pytest.raises(ValueError, match="^it was changed after it was encrypted, or belongs elsewhere$") as caught:
        codec.decode(codec.encode(b"x", b"here"), b"there")

    assert caught.value.__suppress_context__


def test_a_new_key_encrypts_and_the_old_ones_decrypt() -> None:
    old, rotated = EncryptionCodec(KEY), EncryptionCodec(OTHER, KEY)

    assert rotated.decode(old.encode(b"x", b""), b"") == b"x"
    assert rotated.decode(rotated.encode(b"y", b""), b"") == b"y"
    assert EncryptionCodec(OTHER).decode(rotated.encode(b"y", b""), b"") == b"y"
    assert rotated.key_ids == (*EncryptionCodec(OTHER).key_ids, *old.key_ids)


def test_a_key_that_is_missing_is_named_by_its_id() -> None:
    old, new = EncryptionCodec(KEY), EncryptionCodec(OTHER)

    with pytest.raises(LookupError) as caught:
        new.decode(old.encode(b"x", b""), b"")

    assert caught.value.args[0] == (
        f"it was encrypted with the key {old.key_ids[0]}, and the codec has {new.key_ids[0]}. Give that key to "
        "EncryptionCodec, after the one that encrypts"
    )


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        f"{base64.b64encode(KEY).decode()}\n",
    ],
)
def test_a_key_is_bytes_or_base64(key: bytes | str) -> None:
    assert EncryptionCodec(key).key_ids == EncryptionCodec(KEY).key_ids


def test_a_generated_key_is_one_and_no_other() -> None:
    first, second = EncryptionCodec.generate_key(), EncryptionCodec.generate_key()

    assert (
        EncryptionCodec(first, second).key_ids[0]
        == EncryptionCodec(first).key_ids[0]
        != EncryptionCodec(second).key_ids[0]
    )


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ((), "Expected at least one key. EncryptionCodec.generate_key() makes one."),
        ((b"too short to be one",), "Key 1 has 19 bytes. Expected 32 random bytes"),
        ((KEY, "dG9vIHNob3J0"), "Key 2 has 9 bytes. Expected 32 random bytes"),
        (("s3cret pass phrase!",), "Key 1 is no base64. Expected 32 random bytes"),
        (("schlüssel",), "Key 1 is no base64. Expected 32 random bytes"),
        ((17,), "Key 1 is int. Expected 32 random bytes"),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(keys: tuple[bytes], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        EncryptionCodec(*keys)

    assert str(caught.value).startswith(text)
    assert "s3cret" not in repr(caught.value)
    assert "too short" not in repr(caught.value)


def test_its_repr_has_no_key() -> None:
    codec = EncryptionCodec(KEY)

    assert repr(codec) == f"<EncryptionCodec with the keys {codec.key_ids[0]}>"
    assert KEY.hex() not in repr(vars(codec))
    assert base64.b64encode(KEY).decode() not in repr(vars(codec))
    assert repr(KEY) not in repr(vars(codec))


def test_without_the_extra_an_error_names_it_and_the_rest_works() -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from allframe.events import EncryptionCodec, ZlibCodec\n"
        "ZlibCodec().encode(b'x' * 1000, b'')\n"
        "try: EncryptionCodec(b'k' * 32)\n"
        "except ModuleNotFoundError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout == (
        "EncryptionCodec needs cryptography, which is not installed: pip install 'allframe[encryption]'.\n"
    )
