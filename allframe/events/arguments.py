"""What callers hand in, looked at before anything is done with it: what goes to the writer's thread goes with others' work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from allframe.errors import PayloadError
from allframe.masking import shown

__all__ = ["check_events", "check_metadata", "check_stream", "check_whole"]


def check_whole(name: str, given: object, least: int, *, otherwise: str | None = None) -> None:
    """See that ``given`` is a whole number from ``least``; or None, if ``otherwise`` says what that means.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= least:
        return
    if given is None and otherwise is not None:
        return
    alternative = "" if otherwise is None else f", or None for {otherwise}"
    whole = "" if isinstance(given, int) else " Give a whole number."
    raise ValueError(f"Expected {name} from {least}{alternative}, found {shown(given)}.{whole}")


def check_stream(given: object) -> None:
    """See that ``given`` can be the name of a stream; which names there are is for others to say.

    Raises:
        PayloadError: if it is no text.
    """
    if not isinstance(given, str):
        raise PayloadError(f"The name of a stream is {shown(given)}. Expected text, such as 'account-A'.")


def check_events(given: object) -> None:
    """See that ``given`` can be a list of events; what is in it, nobody has looked at.

    Raises:
        PayloadError: if it is no list.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise PayloadError(f"{shown(given)} is no list of events. Give a list, such as [event].")


def check_metadata(given: object) -> None:
    """See that ``given`` can be the metadata of events: a mapping, or None for none.

    Raises:
        PayloadError: if it is neither.
    """
    if given is not None and not isinstance(given, Mapping):
        raise PayloadError(f"The metadata of events is {shown(given)}. Expected a mapping, such as {{'by': 'ada'}}.")
