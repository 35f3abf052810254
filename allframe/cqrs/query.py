"""`Query`: what somebody wants to know, and of which type the answer is."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from allframe.cqrs.message import Message
from allframe.naming import Names

__all__ = ["QUERIES", "Query", "result_type"]

R_co = TypeVar("R_co", covariant=True)

QUERIES: Names[type[Any]] = Names("query", "AF120")


class Query(Message, Generic[R_co]):
    """What somebody wants to know: a frozen pydantic model that is tied to the type of its result.

    ::

        class BalanceOf(Query[Decimal], name="bank.balance-of"):
            account: str

    ``name`` defaults to the class's name.

    Raises:
        DefinitionError: (AF120) for a name that cannot be one, or another class keyword.
    """

    __allframe_kind__: ClassVar[str] = "query"
    __allframe_names__: ClassVar[Names[Any]] = QUERIES


def result_type(query: type[Query[Any]]) -> Any:
    """The ``R`` of the ``Query[R]`` that a class derives from; ``Any``, if it does not say."""
    for cls in query.__mro__:
        about = getattr(cls, "__pydantic_generic_metadata__", None)
        if about and about["origin"] is Query:
            (found,) = about["args"]
            return Any if isinstance(found, TypeVar) else found
    return Any
