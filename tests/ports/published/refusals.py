"""Declares what is refused, and keeps what was said of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from allframe import DefinitionError
from allframe.errors import Problem

__all__ = ["REFUSALS", "refused"]

#: The problems of each, by its stored name; none for one that was accepted after all.
REFUSALS: dict[str, tuple[Problem, ...]] = {}


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Takes the refusal of the saga that is declared in its body."""
    REFUSALS[name] = ()
    try:
        yield
    except DefinitionError as error:
        REFUSALS[name] = error.problems
