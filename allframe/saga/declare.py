"""`Saga`, `@step`, `@compensates`: how a saga is written down.

A decorator only marks: what it returns is still the function. Creating the class compiles it (`allframe.saga.compiling`)
to the graph that `TransferMoney.graph` holds, or says everything that is wrong with it.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Mapping, MutableMapping
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal, TypeVar, cast, dataclass_transform, get_origin, overload

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic._internal._model_construction import ModelMetaclass

from allframe.errors import DefinitionError, Problem
from allframe.naming import Names, place_of
from allframe.saga.compiling import check, compile_graph
from allframe.saga.definition import Definition
from allframe.saga.graph import SagaGraph
from allframe.saga.marks import MARK, CompensationMark, Misplaced, StepMark
from allframe.saga.retry import Retry

__all__ = ["SAGAS", "Saga", "compensates", "step"]

F = TypeVar("F", bound=Callable[..., Any])

#: An attempt of a step is cut after this many seconds, unless it says otherwise.
DEFAULT_TIMEOUT: Final = 30.0

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
    readonly: bool = False,
    pivot: bool = False,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def step(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    timeout: float | timedelta | None = DEFAULT_TIMEOUT,
    retry: Retry | None = None,
    readonly: bool = False,
    pivot: bool = False,
    idempotent: bool = False,
) -> Any:
    """Mark an async method of a saga as a step. It runs after every step written above it.

    Args:
        name: What is stored; the method's name if not given. Keep it when you rename the method.
        timeout: Seconds, or a ``timedelta``, that one attempt may take; None for no limit. 30 s if not given.
        retry: When to try again. Without it a step is tried once.
        readonly: It has no effect in the world, so it needs no compensation.
        pivot: After it the saga only goes forward: no step before it is undone once it succeeded.
        idempotent: The other side honours ``ctx.idempotency_key``, so its last answer speaks for all attempts.
    """
    mark = StepMark(name=name, timeout=timeout, retry=retry, readonly=readonly, pivot=pivot, idempotent=idempotent)
    return _marked(function, mark) if function is not None else functools.partial(_marked, mark=mark)


def compensates(
    step: str,
    /,
    *,
    timeout: float | timedelta | None = 60.0,
    retry: Retry = Retry(attempts=5),  # noqa: B008 - frozen
    if_unknown: Literal["call", "fail"] = "call",
) -> Callable[[F], F]:
    """Mark an async method of a saga as what undoes a step.

    It may take the output of that step, and of every step before it. It must be able to run twice: a crash between
    its effect and its record runs it again.

    Args:
        step: The name of the method that it undoes.
        timeout: Seconds, or a ``timedelta``, that one attempt may take; None for no limit.
        retry: When to try again. After the last attempt the saga ends ``FAILED``, for a person to see to.
        if_unknown: What to do where nobody can say whether the step took effect. ``"call"``: call it with an `Unknown`
            in place of the output. ``"fail"``: do not; the saga ends ``FAILED``, for a person to see to.
    """
    mark = CompensationMark(step=step, timeout=timeout, retry=retry, if_unknown=if_unknown)
    return functools.partial(_marked, mark=mark)


def _marked(function: Any, mark: StepMark | CompensationMark) -> Any:
    """A copy of ``function`` that carries ``mark``; the one that was handed in stays as it is."""
    if not isinstance(function, types.FunctionType):
        return Misplaced(function, mark)
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(copy, function)
    del copy.__dict__["__wrapped__"]
    setattr(copy, MARK, mark)
    return copy


# pydantic notes decorators that are overridden in the body; ours notes steps as well.
_PydanticBody: Any = type(ModelMetaclass.__prepare__("", ()))


class _Body(_PydanticBody):  # type: ignore[misc]
    """A class body that remembers what was assigned twice: Python keeps only the second."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled: list[tuple[str, Any, Any]] = []

    def __setitem__(self, name: str, value: Any) -> None:
        before = self.get(name)
        if before is not None and (hasattr(before, MARK) or hasattr(value, MARK)):
            self.doubled.append((name, before, value))
        super().__setitem__(name, value)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
class SagaMeta(ModelMetaclass):
    """Compiles the class when it is created, or when its annotations can first be resolved."""

    @classmethod
    def __prepare__(  # type: ignore[override]
        metacls, name: str, bases: tuple[type, ...], /, **kwargs: Any
    ) -> MutableMapping[str, object]:
        return _Body()

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any) -> None:
        super().__init__(name, bases, namespace)
        if not any(isinstance(base, SagaMeta) for base in bases):
            return  # Saga itself
        # The names of the function that the class is written in, for annotations that are still text.
        frame = sys._getframe(1)  # noqa: SLF001 - pydantic does the same for its fields
        names = frame.f_locals if frame.f_locals is not frame.f_globals else {}
        definition = Definition.of(cls, namespace, names)
        type.__setattr__(cls, "__allframe_definition__", definition)
        type.__setattr__(cls, "__allframe_graph__", None)
        if check(definition):
            type.__setattr__(cls, "__allframe_graph__", compile_graph(definition))
            definition.forget_names()
        saga = cast("type[Saga]", cls)
        SAGAS.add(saga.saga_name, saga.saga_version, saga)

    @property
    def graph(cls) -> SagaGraph:
        """What the class was compiled to.

        Raises:
            DefinitionError: for annotations that could not be resolved when the class was created, and still cannot, or
                that turn out to break a rule.
        """
        graph: SagaGraph | None = cls.__dict__.get("__allframe_graph__")
        if graph is None:
            definition: Definition | None = cls.__dict__.get("__allframe_definition__")
            if definition is None:
                raise AttributeError(f"{cls.__name__} has no steps of its own: subclass it.")
            graph = compile_graph(definition)
            type.__setattr__(cls, "__allframe_graph__", graph)
            definition.forget_names()
        return graph


class Saga(BaseModel, metaclass=SagaMeta):
    """A business transaction: its fields are the input, its marked methods are the steps and what undoes them.

    ::

        class TransferMoney(Saga, name="transfer", version=1):
            source: str
            ...

    ``name`` is what is stored; the class's name if not given. Raise ``version`` when a saga that began with the class as
    it was must not go on with the class as it is.

    Raises:
        DefinitionError: when the class is created, with everything that is wrong with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(Misplaced,))

    saga_name: ClassVar[str]
    saga_version: ClassVar[int]

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Before pydantic would warn of the same, less clearly.
        problems = [_hidden(cls, field) for field in _own_fields(cls) if hasattr(Saga, field)]
        if problems:
            raise DefinitionError(f"Saga {cls.__name__}", problems)
        cls.saga_name = cls.__name__ if name is None else name
        cls.saga_version = version


def _own_fields(cls: type) -> list[str]:
    annotations: Mapping[str, Any] = cls.__dict__.get("__annotations__", {})
    return [name for name, annotation in annotations.items() if not _is_class_variable(annotation)]


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.split("[")[0].rsplit(".", 1)[-1] == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def _hidden(cls: type, field: str) -> Problem:
    return Problem(
        "AF115",
        f"The field {field!r} hides Saga.{field}, which every saga has. Give the field another name.",
        place_of(cls),
    )


SAGAS = Names("saga", "AF119")
