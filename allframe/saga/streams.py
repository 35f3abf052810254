"""Whose a stream is: the names of the streams that are ours, and the category of their heads."""

from __future__ import annotations

from typing import Final

__all__ = ["CATEGORY", "SAGA_PREFIX", "definition_stream", "saga_id_of", "saga_stream"]

#: The category of the heads of sagas.
CATEGORY: Final = "saga"
#: What the streams of sagas begin with.
SAGA_PREFIX: Final = "$saga/"


def saga_stream(saga_id: str) -> str:
    """The stream that holds the records of a saga."""
    return f"{SAGA_PREFIX}{saga_id}"


def saga_id_of(stream: str) -> str:
    """The saga whose records the stream holds. ``stream``: one that begins with `SAGA_PREFIX`."""
    return stream.removeprefix(SAGA_PREFIX)


def definition_stream(fingerprint: str) -> str:
    """The stream that holds the graph with this fingerprint."""
    return f"$definition/{fingerprint}"
