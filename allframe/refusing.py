"""A definition that cannot work: refused where it is made, or noted, for who wants to hear of all of them.

A `DefinitionError` ends the import of its module, and with it whatever stands below. `allframe check` imports code to
hear everything: while it does, what is refused is noted here instead, and stays a class that cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from allframe.errors import DefinitionError

__all__ = ["noting_refusals", "refuse", "refuse_fields"]

_NOTED: ContextVar[list[DefinitionError] | None] = ContextVar("refusals of allframe", default=None)


@contextmanager
def noting_refusals() -> Iterator[list[DefinitionError]]:
    """Note what is refused inside instead of raising it; gives the list, which grows."""
    noted: list[DefinitionError] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def refuse(error: DefinitionError) -> None:
    """Raise ``error``; returns only where refusals are noted. Whoever calls it leaves nothing behind that could run.

    Raises:
        DefinitionError: the error.
    """
    noted = _NOTED.get()
    if noted is None:
        raise error
    noted.append(error)


def refuse_fields(cls: type, error: DefinitionError) -> None:
    """`refuse`, for fields that a model must not have, before pydantic has seen them.

    Where refusals are noted, the class goes on with class variables in their place: pydantic would warn of the fields, or
    end the import after all.

    Raises:
        DefinitionError: the error. The members of its problems are the fields.
    """
    refuse(error)
    own = vars(cls)
    for field in {problem.member for problem in error.problems if problem.member is not None}:
        if field in own or field in own.get("__annotations__", {}):
            cls.__annotations__[field] = ClassVar[Any]
