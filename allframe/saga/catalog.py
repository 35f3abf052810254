"""`Catalog`: the classes of sagas, and of steps to build them of, that an orchestrator may run and recover."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any, TypeVar

from allframe.errors import OperationRefused
from allframe.naming import Names
from allframe.saga.builder import SagaDefinition
from allframe.saga.declare import SAGAS, Saga
from allframe.saga.graph import SagaGraph
from allframe.saga.steps import STEPS, SagaStep, parts_of

__all__ = ["Catalog"]

C = TypeVar("C")


class Catalog:
    """The classes by stored name and version.

    Args:
        given: Classes, and modules of classes; everything that is imported, if None.

    Raises:
        DefinitionError: if a class that is given is not well defined, which could not be said when it was created.
    """

    def __init__(self, given: Iterable[type[Saga] | type[SagaStep] | ModuleType] | None = None) -> None:
        self._sagas: set[type[Saga]] | None = None
        self._steps: set[type[SagaStep]] | None = None
        self._saga_names, self._step_names = SAGAS, STEPS
        if given is not None:
            given = list(given)
            _check(given)
            self._sagas, self._steps = _below(Saga, given), _below(SagaStep, given)
            self._saga_names, self._step_names = Names("saga", "AF119"), Names("step", "AF119")
            for saga in self._sagas:
                self._saga_names.add(saga.saga_name, saga.saga_version, saga)
            for step in self._steps:
                self._step_names.add(step.step_name, step.step_version, step)
            _check_names(self._sagas, self._steps)

    def find(self, name: str, version: int) -> type[Saga] | None:
        """The saga class that is stored under these, or None.

        Raises:
            DefinitionError: if there are two.
        """
        return self._saga_names.find(name, version)

    def find_step(self, name: str, version: int) -> type[SagaStep] | None:
        """The class of steps that is stored under these, or None.

        Raises:
            DefinitionError: if there are two.
        """
        return self._step_names.find(name, version)

    def graph_of(self, saga: object) -> SagaGraph:
        """What ``saga`` runs by.

        Raises:
            TypeError: if it is no saga.
            DefinitionError: if it is not well defined, or could not be told apart from another when recovering.
            OperationRefused: if it could not be recovered, for a class of it was not given.
        """
        if isinstance(saga, SagaDefinition):
            return self._graph_of_built(saga)
        cls = type(saga)
        if not isinstance(saga, Saga) or cls is Saga:
            raise TypeError(f"Expected an instance of a Saga class, or a SagaDefinition, found {saga!r}.")
        graph = type(saga).graph
        self.find(saga.saga_name, saga.saga_version)  # two of one name could not be told apart when recovering
        if self._sagas is not None and type(saga) not in self._sagas:
            raise OperationRefused(
                f"{cls.__qualname__} is not among the sagas that this orchestrator was given, and would not be recovered "
                f"by it. It has: {_listed(self._sagas)}. Add it to sagas=."
            )
        return graph

    def _graph_of_built(self, saga: SagaDefinition) -> SagaGraph:
        graph = saga.graph
        for name, step in saga.steps.items():
            cls = type(step)
            self.find_step(cls.step_name, cls.step_version)  # as above
            if self._steps is not None and cls not in self._steps:
                raise OperationRefused(
                    f"The step {name!r} of saga {saga.id!r} is a {cls.__qualname__}, which is not among the steps that "
                    f"this orchestrator was given, and would not be recovered by it. It has: {_listed(self._steps)}. Add "
                    "it to sagas=.",
                    saga_id=saga.id,
                )
        return graph


def _check(given: Iterable[Any]) -> None:
    for each in given:
        if not isinstance(each, ModuleType) and not (isinstance(each, type) and issubclass(each, Saga | SagaStep)):
            raise TypeError(f"sagas= takes classes of sagas and of steps, and modules of them, found {each!r}.")


def _check_names(sagas: Iterable[type[Saga]], steps: Iterable[type[SagaStep]]) -> None:
    """Check what could not be when the classes were created, for their annotations name what was not there yet.

    Raises:
        DefinitionError: of the first that is not well defined.
    """
    for saga in sagas:
        _ = saga.__allframe_abstract__ or saga.graph
    for step in steps:
        _ = step.__allframe_abstract__ or parts_of(step)


def _below(base: type[C], given: Iterable[Any]) -> set[type[C]]:
    """The classes below ``base`` among these, and in the modules among these."""
    found: set[type[C]] = set()
    for each in given:
        values = vars(each).values() if isinstance(each, ModuleType) else (each,)
        found |= {
            value for value in values if isinstance(value, type) and issubclass(value, base) and value is not base
        }
    return found


def _listed(classes: Iterable[type]) -> str:
    return ", ".join(sorted(known.__qualname__ for known in classes)) or "none"
