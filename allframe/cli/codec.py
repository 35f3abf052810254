"""``--codec MODULE:NAME``: what the payloads of a store are encoded by. The keys stay in the user's code."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, TypeAlias

import typer

from allframe.cli.exits import Stop
from allframe.cli.target import load_module, split
from allframe.errors import AllframeError
from allframe.events.coded import Codecs

__all__ = ["CodecOption", "load_codec"]

CodecOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--codec",
        help="What the store's payloads are encoded by: a codec, a list of them, or a function that returns one.",
        envvar="ALLFRAME_CODEC",
        metavar="MODULE:NAME",
        show_default=False,
    ),
]


def load_codec(option: str | None) -> Codecs | None:
    """What ``--codec`` names; None where it names nothing.

    Raises:
        Stop: it is not there, fails, or is no codec (usage).
    """
    if not option:
        return None
    place, name = split(option)
    if not name:
        raise Stop(f"--codec: {option} names a module. Expected {option}:NAME, where NAME is a codec.")
    content = vars(load_module(place))
    if name not in content:
        near = get_close_matches(name, content, n=1)
        raise Stop(f"--codec: {place} has no {name!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
    found = _made(content[name], option)
    every = found if isinstance(found, Sequence) else (found,)
    if not every or not all(map(_is_codec, every)):
        # Not its repr: who knows what it holds.
        raise Stop(
            f"--codec: {option} gives {type(found).__qualname__}. Expected a codec, which has a name, encode() and decode(), "
            "such as EncryptionCodec(key), or a list of them."
        )
    return found  # type: ignore[return-value]


def _made(given: object, option: str) -> object:
    """``given``, or what it returns when it is called."""
    if _is_codec(given) or not callable(given):
        return given
    try:
        return given()
    except (Stop, AllframeError):
        raise
    except Exception as error:
        raise Stop(f"--codec: {option} fails: {type(error).__name__}: {error}") from error


def _is_codec(given: object) -> bool:
    is_object = not isinstance(given, type)
    return (
        is_object
        and isinstance(getattr(given, "name", None), str)
        and hasattr(given, "encode")
        and hasattr(given, "decode")
    )
