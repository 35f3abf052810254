"""`Saga`, `@step`, `@compensates`: how a saga is written down.

A decorator only marks: what it returns is still the function. Creating the class compiles it (`allframe.saga.compiling`)
to the graph that `TransferMoney.graph` holds, or says everything that is wrong with it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypeVar, cast, dataclass_transform, overload

from pydantic import BaseModel, Field, PrivateAttr
from pydantic._internal._model_construction import ModelMetaclass

from allframe.errors import DefinitionError, Problem
from allframe.masking import hidden_args, may_hold_secrets
from allframe.naming import Names
from allframe.refusing import refuse_fields
from allframe.saga.bodies import Body
from allframe.saga.compiling import check, compile_graph
from allframe.saga.definition import Definition
from allframe.saga.graph import SagaGraph
from allframe.saga.keywords import unknown_keywords, untyped_fields
from allframe.saga.marks import (
    DEFAULT_TIMEOUT,
    FROZEN,
    CompensationMark,
    Misplaced,
    Plain,
    SagaOptions,
    StepMark,
    mark_of,
    marked,
)
from allframe.saga.owners import fields_hide_nothing, fields_replace_nothing
from allframe.saga.resolving import resolve_bases, shadowed_types
from allframe.saga.retry import Retry
from allframe.saga.surroundings import Surroundings
from allframe.saga.waiting import check_or_wait, look_again
from allframe.saga.waivers import kept, reasons
from allframe.saga.whole import Whole
from allframe.source import note_place, place_of

__all__ = ["SAGAS", "Saga", "compensates", "step"]

F = TypeVar("F", bound=Callable[..., Any])
Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]
#: A class keyword that was not given: the base's holds.
_INHERITED: Any = object()

#: Every saga class that this process has imported, by stored name and version.
SAGAS: Names[type[Saga]]


@overload
def step(function: F, /) -> F: ...
@overload
def step(
    *,
    name: str | None = None,
    timeout: float | timedelta | None = DEFAULT_TIMEOUT,
    retry: Retry | None = None,
    after: str | Iterable[str] | None = None,
    readonly: bool = False,
    pivot: bool = False,
    repeatable: bool = True,
    idempotent: bool = False,
    unknown_on: Errors = (),
    known_on: Errors = (),
    waive: Mapping[str, str] | None = None,
) -> Callable[[F], F]: ...
def step(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    timeout: float | timedelta | None = DEFAULT_TIMEOUT,
    retry: Retry | None = None,
    after: str | Iterable[str] | None = None,
    readonly: bool = False,
    pivot: bool = False,
    repeatable: bool = True,
    idempotent: bool = False,
    unknown_on: Errors = (),
    known_on: Errors = (),
    waive: Mapping[str, str] | None = None,
) -> Any:
    """Mark a method of a saga, or a plain function, as a step. What is not async runs on a thread.

    A plain function has no ``self``: its parameters are filled from the saga's fields as well. It can be a step of many
    sagas, and of one saga more than once: ``first = reserve; second = reserve``.

    Args:
        name: What is stored; the method's name if not given. Keep it when you rename the method.
        timeout: Seconds, or a ``timedelta``, that one attempt may take; None for no limit. If not given, 30 s, and no
            limit for one that runs on a thread, which cannot be interrupted: it is asked to end by ``ctx.cancelled``.
        retry: When to try again. Without it a step is tried once.
        after: The names of the methods that it runs after; ``()``: it begins at once. If not given, it runs after every
            step written above it. Steps of which none waits for the other run side by side.
        readonly: It has no effect in the world, so it needs no compensation.
        pivot: After it the saga only goes forward: no step before it is undone once it succeeded.
        repeatable: Whether it may run again where nobody knows whether it took effect. If not, it is rolled back after a
            crash, a timeout or any other silence, or waits for a person if it is the pivot.
        idempotent: The other side honours ``ctx.idempotency_key``, so its last answer speaks for all attempts.
        unknown_on: Exceptions that leave open whether it took effect, besides timeouts and resets.
        known_on: Exceptions that say that it did not, even if they look like a timeout or a reset.
        waive: Advice of ``allframe check`` that does not hold of it, with the reasons: ``{"AF203": "it returns nothing"}``.
    """
    mark = StepMark(
        name=name,
        timeout=timeout,
        retry=retry,
        after=_names_in(after),
        readonly=readonly,
        pivot=pivot,
        repeatable=repeatable,
        idempotent=idempotent,
        unknown_on=_kinds(unknown_on),
        known_on=_kinds(known_on),
        waive=kept(waive),
    )
    if function is None:
        return functools.partial(marked, mark=mark)
    if isinstance(function, str):
        return Misplaced(
            function, mark, f"is marked with @step({function!r}). Options are given by name: @step(name={function!r})."
        )
    return marked(function, mark)


def _kinds(given: Any) -> tuple[Any, ...]:
    """Exception classes; what is none is for AF109 to tell."""
    return given if isinstance(given, tuple) else (given,)


def _names_in(after: Any) -> tuple[Any, ...] | None:
    """What ``after`` names; what is no name is for AF108 to tell."""
    if after is None:
        return None
    return tuple(after) if isinstance(after, Iterable) and not isinstance(after, str | bytes) else (after,)


def compensates(
    step: str | Callable[..., Any],
    /,
    *,
    timeout: float | timedelta | None = 60.0,
    retry: Retry = Retry(attempts=5),  # noqa: B008 - frozen
    if_unknown: Literal["call", "fail"] = "call",
    waive: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Mark a method of a saga, or a plain function, as what undoes a step. What is not async runs on a thread.

    It may take the output of that step, and of every step before it. It must be able to run twice: a crash between
    its effect and its record runs it again.

    Args:
        step: The name of the method that it undoes, or the marked function itself.
        timeout: Seconds, or a ``timedelta``, that one attempt may take; None for no limit.
        retry: When to try again. After the last attempt the saga ends ``FAILED``, for a person to see to.
        if_unknown: What to do where nobody can say whether the step took effect. ``"call"``: call it with an `Unknown`
            in place of the output. ``"fail"``: do not; the saga ends ``FAILED``, for a person to see to.
        waive: Advice of ``allframe check`` that does not hold of it, with the reasons: ``{"AF201": "it has no keys"}``.
    """
    given: Any = step
    is_step = isinstance(mark_of(given), StepMark) or (isinstance(given, str) and given)
    target = given if is_step else ""
    mark = CompensationMark(target, timeout=timeout, retry=retry, if_unknown=if_unknown, waive=kept(waive))
    if is_step:
        return functools.partial(marked, mark=mark)
    text = (
        'is marked with @compensates without the name of a step. Write the one that it undoes: @compensates("debit").'
    )
    return cast("Callable[[F], F]", Misplaced(given, mark, text))


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
class SagaMeta(ModelMetaclass):
    """Compiles the class when it is created, or when its annotations can first be resolved."""

    @classmethod
    def __prepare__(  # type: ignore[override]
        metacls, name: str, bases: tuple[type, ...], /, **kwargs: Any
    ) -> MutableMapping[str, object]:
        return Body(bases)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any) -> None:
        super().__init__(name, bases, namespace)
        if not any(isinstance(base, SagaMeta) for base in bases):
            return  # Saga itself
        saga = cast("type[Saga]", cls)
        # The names of the function that the class is written in, for annotations that are still text.
        around = Surroundings(sys._getframe(1))  # noqa: SLF001 - pydantic does the same for its fields
        origin: Any = saga.__pydantic_generic_metadata__["origin"]
        if origin is not None:  # pydantic makes Transfer[int]: it is Transfer, of other types
            around = origin.__allframe_definition__.around
            saga.saga_name = origin.saga_name + saga.__name__.removeprefix(origin.__name__)
            saga.saga_version = origin.saga_version
            saga.__allframe_abstract__ = origin.__allframe_abstract__
            saga.__allframe_options__ = origin.__allframe_options__
        definition = Definition.of(saga, namespace, around)
        type.__setattr__(cls, "__allframe_definition__", definition)
        type.__setattr__(cls, "__allframe_graph__", None)
        for declared in definition.functions:
            if declared.is_plain and not isinstance(vars(cls).get(declared.attribute), Plain):
                type.__setattr__(cls, declared.attribute, Plain(declared.value))
        look_again(cls)
        if not check_or_wait(cls, _check):
            return
        if not definition.abstract:
            SAGAS.add(saga.saga_name, saga.saga_version, saga)

    @property
    def graph(cls) -> SagaGraph:
        """What the class was compiled to.

        Raises:
            DefinitionError: for annotations that could not be resolved when the class was created, and still cannot, or
                that turn out to break a rule; for `Saga` itself, and a class with ``abstract=True``.
        """
        graph: SagaGraph | None = cls.__dict__.get("__allframe_graph__")
        if graph is None:
            definition: Definition | None = cls.__dict__.get("__allframe_definition__")
            if definition is None:
                problem = Problem("AF111", f"{cls.__name__} has no steps of its own: subclass it.", place_of(cls))
                raise DefinitionError(cls.__name__, [problem])
            if definition.abstract:
                text = f"{cls.__name__} is abstract=True: it may lack steps, and cannot be run. Subclass it."
                raise DefinitionError(definition.title, [Problem("AF111", text, definition.where)])
            if refused := cls.__dict__.get("__allframe_refused__"):
                raise refused
            graph = compile_graph(definition)
            type.__setattr__(cls, "__allframe_graph__", graph)
            definition.around.forget()
        return graph


class Saga(Whole, BaseModel, metaclass=SagaMeta):
    """A business transaction: its fields are the input, its marked methods are the steps and what undoes them.

    ::

        class TransferMoney(Saga, name="transfer", version=1):
            source: str
            ...

    ``name`` is what is stored; the class's name if not given. Raise ``version`` when a saga that began with the class as
    it was must not go on with the class as it is.

    ``timeout`` is for the whole saga: wall time from its start, after which it is rolled back. ``unknown_on`` and
    ``known_on`` add to those of each step. With ``typecheck=True`` the types inside its steps are checked while they
    run, by typeguard; if not given, they are under allframe's pytest plugin. These four are inherited. ``waive`` says
    what advice of ``allframe check`` does not hold of any of its steps, with the reasons; a subclass adds to it.
    ``abstract=True`` makes a base for other sagas: it may lack steps or compensations, and cannot be run.

    Raises:
        DefinitionError: when the class is created, with everything that is wrong with it.
    """

    model_config = FROZEN

    saga_name: ClassVar[str]
    saga_version: ClassVar[int]
    __allframe_abstract__: ClassVar[bool] = False
    __allframe_options__: ClassVar[SagaOptions] = SagaOptions()

    if not TYPE_CHECKING:  # type checkers go by the fields

        @classmethod
        def __allframe_resolve__(cls):
            if cls.__dict__.get("__allframe_graph__") is None and not cls.__allframe_abstract__ and cls is not Saga:
                _ = cls.graph

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if may_hold_secrets(cls):
            # It is not built yet. What pydantic says of a bad input must not quote it.
            cls.model_config["hide_input_in_errors"] = True

    def __repr_args__(self) -> Any:
        return hidden_args(self, super().__repr_args__())

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        timeout: float | timedelta | None = _INHERITED,
        unknown_on: Errors = _INHERITED,
        known_on: Errors = _INHERITED,
        typecheck: bool | None = _INHERITED,
        waive: Mapping[str, str] | None = None,
        abstract: bool = False,
        **kwargs: Any,
    ) -> None:
        note_place(cls)
        problems = untyped_fields(cls)  # before a base sets something of its own
        try:
            super().__init_subclass__(**kwargs)
        except TypeError:
            if not kwargs:
                raise
            problems += unknown_keywords(cls, "saga", kwargs, _KEYWORDS)
        resolve_bases(cls)
        # Before pydantic would warn of the same, less clearly.
        problems += [*fields_hide_nothing(cls, Saga, _OURS, "saga"), *fields_replace_nothing(cls)]
        problems += shadowed_types(cls, place_of(cls))
        if problems:
            refuse_fields(cls, DefinitionError(f"Saga {cls.__qualname__}", problems))
        cls.saga_name = cls.__name__ if name is None else name
        cls.saga_version = version
        cls.__allframe_abstract__ = abstract
        base = cls.__allframe_options__
        cls.__allframe_options__ = SagaOptions(
            base.timeout if timeout is _INHERITED else timeout,
            base.unknown_on if unknown_on is _INHERITED else _kinds(unknown_on),
            base.known_on if known_on is _INHERITED else _kinds(known_on),
            base.typecheck if typecheck is _INHERITED else typecheck,
            kept(waive),
            {**base.waived_above, **reasons(base.waive)},
        )


def _check(saga: Any) -> bool:
    """Apply the rules that can be applied now, and compile the class if that was all of them; returns whether it was.

    Raises:
        DefinitionError: with every problem that was found.
    """
    definition: Definition = saga.__allframe_definition__
    if not check(definition):
        return False
    if not definition.abstract:
        type.__setattr__(saga, "__allframe_graph__", compile_graph(definition, is_checked=True))
    definition.around.forget()
    return True


#: The class keywords of `Saga`.
_KEYWORDS: Final = ("name", "version", "timeout", "unknown_on", "known_on", "typecheck", "waive", "abstract")

#: What every saga has, and `Saga` itself not yet.
_OURS: Final = frozenset({"graph", "saga_name", "saga_version"})


SAGAS = Names("saga", "AF119")
