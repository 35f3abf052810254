"""`Codec`: what a store does with payloads before they are written, and undoes when they are read. `ZlibCodec` is one."""

from __future__ import annotations

import zlib
from typing import Final, Protocol

__all__ = ["Codec", "ZlibCodec"]

#: The most bytes that a payload may have when it is unpacked: 64 MiB, far above what a record may hold.
LARGEST: Final = 64 << 20
#: Bytes that the envelope takes beside its content.
_ENVELOPE: Final = 28
#: What has no more bytes does not get smaller, and finding that out would take longer than all the rest.
_SMALL: Final = 64


class Codec(Protocol):
    """Bytes to other bytes, and back. It may be called by several threads at once, and keeps nothing between calls."""

    @property
    def name(self) -> str:
        """Letters, digits and ``-_.``. It is stored with all that it encodes, so it is for ever."""
        ...

    def encode(self, data: bytes, context: bytes) -> bytes | None:
        """``data`` as it is to be stored; None to leave it as it is.

        ``context`` says what the bytes belong to: `decode` is given the same.
        """
        ...

    def decode(self, data: bytes, context: bytes) -> bytes:
        """What `encode` was given.

        Raises:
            ValueError: it is damaged, or belongs to another context. The text is shown to people.
            LookupError: this codec lacks what it takes, such as a key. So is this one.
        """
        ...


class ZlibCodec:
    """Packs payloads that get smaller by it; others stay as they are. ``level``: from 1, fast, to 9, small."""

    name = "zlib"

    def __init__(self, level: int = 6) -> None:
        given: object = level
        if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= 9:
            raise ValueError(f"Expected a level from 1 to 9, found {level!r}.")
        self._level = level

    def __repr__(self) -> str:
        return f"ZlibCodec(level={self._level})"

    def encode(self, data: bytes, context: bytes) -> bytes | None:
        if len(data) <= _SMALL:
            return None
        packed = zlib.compress(data, self._level)
        return packed if _as_text(len(packed)) < len(data) else None

    def decode(self, data: bytes, context: bytes) -> bytes:
        unpacking = zlib.decompressobj()
        try:
            # A few bytes can hold gigabytes.
            found = unpacking.decompress(data, LARGEST)
        except zlib.error as error:
            raise ValueError(f"it is damaged ({error})") from error
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("it is damaged, or larger than anything that allframe stores")
        return found


def _as_text(size: int) -> int:
    """How many bytes ``size`` bytes take where they are stored: text of four characters for three of them."""
    return (size + 2) // 3 * 4 + _ENVELOPE
