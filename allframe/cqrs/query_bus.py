"""`QueryBus`: a query to its one handler, and the answer back, of the type that the query says."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Concatenate, Protocol, TypeVar, Union, get_args, get_origin, overload

from allframe.cqrs.calling import Caller
from allframe.cqrs.handlers import MISSING, Handler, Handlers, describe
from allframe.cqrs.message import class_meant
from allframe.cqrs.query import QUERIES, Query, result_type
from allframe.cqrs.validation import Invalid, parse, revalidate
from allframe.errors import DefinitionError, Problem, QueryInvalid, QueryNotFound
from allframe.inject import AsyncContainer, Container, Provider, type_name
from allframe.source import names_of_caller

__all__ = ["QueryBus", "QueryHandler"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Q = TypeVar("Q", bound=Query[Any])
F = TypeVar("F", bound=Callable[..., Any])


class QueryHandler(Protocol[R_co]):
    """A handler that is an object. What else its method takes is filled as a function's parameters are."""

    @property
    def handle(self) -> Callable[Concatenate[Any, ...], R_co | Awaitable[R_co]]: ...


class QueryBus:
    """Has each query answered. It needs no store: what handlers read, they inject.

    ::

        queries = QueryBus(provide={Balances: balances})

        @queries.handler
        async def balance_of(query: BalanceOf, balances: Inject[Balances]) -> Decimal: ...

        balance = await queries.dispatch(BalanceOf(account="A"))  # a Decimal, to type checkers as well

    Args:
        provide: An object for each type that handlers inject.
        container: A dishka container, which makes what ``provide`` does not have: in a scope for each call of a handler.
            It stays open.
    """

    def __init__(self, *, provide: Mapping[Any, object] | None = None, container: AsyncContainer | None = None) -> None:
        made = None if container is None else Container(container)
        self._caller = Caller(Provider(provide, made), "QueryBus")
        self._handlers: Handlers[Handler] = Handlers()

    def handler(self, function: F, /) -> F:
        """Register a function for the query that its first parameter is annotated with, and give it back unchanged.

        It must say what it returns: the query's own type of result, or a narrower one.

        Raises:
            DefinitionError: (AF120) if it cannot be a handler, returns something else, or its query has one.
        """
        self._add(describe(function, Query, names_of_caller("allframe.cqrs")))
        return function

    def register(
        self, query: type[Query[R]], handler: Callable[Concatenate[Any, ...], R | Awaitable[R]] | QueryHandler[R]
    ) -> None:
        """Register a function, or an object with a method ``handle`` or ``__call__``. As `handler`."""
        self._add(describe(handler, Query, names_of_caller("allframe.cqrs"), message=query))

    def handlers_count(self) -> int:
        """How many queries have a handler."""
        return len(self._handlers)

    @overload
    def parse(self, query: type[Q], payload: Mapping[str, Any] | str | bytes) -> Q: ...
    @overload
    def parse(self, query: str, payload: Mapping[str, Any] | str | bytes) -> Query[Any]: ...
    def parse(self, query: type[Query[Any]] | str, payload: Mapping[str, Any] | str | bytes) -> Query[Any]:
        """The query of this class or name that ``payload`` says: a mapping, or JSON.

        Raises:
            QueryInvalid: it says none; ``errors`` has everything that is wrong.
            QueryNotFound: this program has no query of that name.
            TypeError: ``query`` is neither a query's class nor a name.
        """
        cls = class_meant(Query, query)
        if cls is None:
            raise QueryNotFound(
                f"This program has no query {query!r}. The bus has handlers for: {self._handlers.names()}.",
                query=str(query),
            )
        try:
            return parse(cls, payload)
        except Invalid as invalid:
            raise QueryInvalid(str(invalid), errors=invalid.errors, query=cls.message_name) from None

    async def dispatch(self, query: Query[R]) -> R:
        """The answer. Whatever its handler raises comes out of it.

        Raises:
            QueryInvalid, QueryNotFound, DependencyMissing: its handler was not called.
        """
        handler = self._handler_of(query)
        try:
            query = revalidate(query)
        except Invalid as invalid:
            raise QueryInvalid(str(invalid), errors=invalid.errors, query=query.message_name) from None
        self._caller.check(handler)
        answer: R = await self._caller.call(handler, query, {}, _as_it_is)
        return answer

    def _handler_of(self, query: object) -> Handler:
        if not isinstance(query, Query):
            raise TypeError(f"Expected an instance of a Query class, found an object of {type(query).__qualname__}.")
        cls = type(query)
        handler = self._handlers.find(cls)
        if handler is None:
            raise QueryNotFound(
                f"The bus has no handler for {cls.__qualname__}, the query {cls.message_name!r}. It has handlers for: "
                f"{self._handlers.names()}. Register one: @bus.handler, or bus.register({cls.__qualname__}, ...).",
                query=cls.message_name,
            )
        return handler

    def _add(self, handler: Handler) -> None:
        QUERIES.find(handler.message.message_name, 1)
        _check_result(handler)
        self._handlers.add(handler)


async def _as_it_is(answer: Any) -> Any:
    return answer


def _check_result(handler: Handler) -> None:
    """
    Raises:
        DefinitionError: if the handler does not say what it returns, or it is not what the query says.
    """
    query: Any = handler.message
    expected = result_type(query)
    says = "nothing" if handler.returns is MISSING else type_name(handler.returns)
    if handler.returns is MISSING or not _fits(handler.returns, expected):
        text = (
            f"It answers {query.__qualname__}, whose result is {type_name(expected)}, and is annotated to return {says}. "
            f"Annotate what it returns: -> {type_name(expected)}."
        )
        raise DefinitionError(f"The handler {handler.where}", [Problem("AF120", text, handler.where)])


def _fits(found: Any, expected: Any) -> bool:
    """Whether every value of ``found`` is one of ``expected``, so far as classes and unions can tell."""
    if Any in (found, expected) or found == expected:
        return True
    wanted = _members(expected)
    return all(any(_is_below(each, one) for one in wanted) for each in _members(found))


def _is_below(found: Any, expected: Any) -> bool:
    if found == expected:
        return True
    origin, wanted = get_origin(found), get_origin(expected)
    if origin is not None and (wanted is not None or get_args(found) == ()):
        same_arguments = get_args(found) == get_args(expected)
        return same_arguments and isinstance(origin, type) and isinstance(wanted, type) and issubclass(origin, wanted)
    try:
        return isinstance(found, type) and isinstance(expected, type) and issubclass(found, expected)
    except TypeError:  # a Protocol that cannot be asked: type checkers know
        return True


def _members(annotation: Any) -> list[Any]:
    """The members of a union, flat; of anything else, itself."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if hasattr(annotation, "__value__"):
        return _members(annotation.__value__)
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in _members(member)]
    return [type(None) if annotation is None else annotation]
