"""What an exception says, short enough to stand in a sentence."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from allframe.roundtrip.places import spell_place

__all__ = ["first_of", "reason_of"]

#: Errors whose text comes from a validator of the user's.
_FREE_TEXT = {"value_error", "assertion_error"}


def reason_of(error: Exception, *, discreet: bool = False, at: str | None = None) -> str:
    """What it says, on one line and without a full stop.

    ``discreet``: nothing that may quote the value. ``at``: where in the value it was, if that is known better than by the
    error; empty for all of it.
    """
    place = _place_of(error) if at is None else at
    text = _text_of(error, discreet)
    return f"{text} at {place}" if place else text


def _place_of(error: Exception) -> str:
    return spell_place(first_of(error)["loc"]) if isinstance(error, ValidationError) else ""


def first_of(error: ValidationError) -> ErrorDetails:
    """The first thing that pydantic says, without the value."""
    return error.errors(include_url=False, include_context=False, include_input=False)[0]


def _text_of(error: Exception, discreet: bool) -> str:
    if isinstance(error, ValidationError):
        first = first_of(error)
        return first["type"] if discreet and first["type"] in _FREE_TEXT else first["msg"]
    if discreet:
        return type(error).__qualname__
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001 - a user's __str__
        lines = []
    if type(error).__module__.startswith("pydantic") and lines:
        # Its warnings have a headline; the line below it says what was found.
        line = lines[1] if len(lines) > 1 and lines[0].endswith("warnings:") else lines[0]
        return line.strip().removeprefix("PydanticSerializationUnexpectedValue(").removesuffix(")").rstrip(".")
    return ": ".join([type(error).__qualname__, *lines[:1]]).rstrip(".")
