"""`EncryptionCodec`: payloads that nobody reads, or changes unnoticed, without the key.

::

    1 byte    1: this form
    8 bytes   which key: an HMAC of the key, so that it says nothing of it
    12 bytes  a random nonce
    …         the payload by AES-256-GCM, and its tag of 16 bytes

The nonce, the key's id and the context are authenticated with the payload: what was encrypted for one row cannot be put
into another.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["EncryptionCodec"]

_FORM: Final = b"\x01"
_KEY: Final = 32
_ID: Final = 8
_NONCE: Final = 12
_TAG: Final = 16
_HEADER: Final = len(_FORM) + _ID


class EncryptionCodec:
    """AES-256-GCM, by the package ``cryptography``: install ``allframe[encryption]``.

    ::

        codec = EncryptionCodec(os.environ["STORE_KEY"])

    ``keys``: 32 random bytes each, or these as base64, as `generate_key` makes them. The first one encrypts; each of them
    decrypts what it encrypted. So a new key goes in front of the old ones, which stay for as long as there are payloads
    of theirs.

    Raises:
        ValueError: for no key, or what is none. The text does not quote it.
        ModuleNotFoundError: ``cryptography`` is not installed.
    """

    name = "aes-256-gcm"

    def __init__(self, *keys: bytes | str) -> None:
        if not keys:
            raise ValueError("Expected at least one key. EncryptionCodec.generate_key() makes one.")
        made = [_made(key, number) for number, key in enumerate(keys, start=1)]
        self._first, self._cipher = made[0]
        self._ciphers = dict(reversed(made))

    @staticmethod
    def generate_key() -> str:
        """A new key, as base64. Keep it as you keep passwords: without it, what it encrypted is lost."""
        return base64.b64encode(os.urandom(_KEY)).decode()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """What errors call the keys: 16 hexadecimal digits each, from which no key can be found. The first encrypts."""
        others = [key_id for key_id in reversed(self._ciphers) if key_id != self._first]
        return tuple(key_id.hex() for key_id in (self._first, *others))

    def __repr__(self) -> str:
        return f"<EncryptionCodec with the keys {', '.join(self.key_ids)}>"

    def encode(self, data: bytes, context: bytes) -> bytes:
        header = _FORM + self._first
        # Random nonces: of one key, 2**32 may be used (NIST SP 800-38D, 8.3).
        nonce = os.urandom(_NONCE)
        return header + nonce + self._cipher.encrypt(nonce, data, header + context)

    def decode(self, data: bytes, context: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        header, nonce, sealed = data[:_HEADER], data[_HEADER : _HEADER + _NONCE], data[_HEADER + _NONCE :]
        if header[:1] != _FORM or len(sealed) < _TAG:
            raise ValueError("it is damaged")
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise LookupError(
                f"it was encrypted with the key {header[1:].hex()}, and the codec has {', '.join(self.key_ids)}. Give that "
                "key to EncryptionCodec, after the one that encrypts"
            )
        try:
            return cipher.decrypt(nonce, sealed, header + context)
        except InvalidTag:
            raise ValueError("it was changed after it was encrypted, or belongs elsewhere") from None


def _made(key: bytes | str, number: int) -> tuple[bytes, AESGCM]:
    """The id of a key, and what works with it."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise ModuleNotFoundError(
            "EncryptionCodec needs cryptography, which is not installed: pip install 'allframe[encryption]'.",
            name="cryptography",
        ) from error
    raw = _raw(key, number)
    return hmac.digest(raw, b"allframe key id", "sha256")[:_ID], AESGCM(raw)


def _raw(key: bytes | str, number: int) -> bytes:
    given: object = key
    if isinstance(given, str):
        try:
            # Both alphabets of base64, with or without padding, also with the line end of a file.
            text = given.strip().translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
            given = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"Key {number} is no base64. {_EXPECTED}") from None
    if not isinstance(given, bytes):
        raise ValueError(f"Key {number} is {type(key).__name__}. {_EXPECTED}")
    if len(given) != _KEY:
        raise ValueError(f"Key {number} has {len(given)} bytes. {_EXPECTED}")
    return given


_EXPECTED: Final = "Expected 32 random bytes, or these as base64: EncryptionCodec.generate_key() makes one."
