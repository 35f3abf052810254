"""`SagaDefinition`: a saga that is put together step by step, and named where it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, final

from allframe.clock import SystemClock
from allframe.errors import DefinitionError, Problem, SagaIdInvalid
from allframe.naming import did_you_mean, nearest, snake_case
from allframe.saga.building import Place, graph_of, input_of
from allframe.saga.definition import seconds
from allframe.saga.execution import Execution
from allframe.saga.graph import SagaGraph
from allframe.saga.monitor import SagaMetadata, metadata_of
from allframe.saga.rules import NAME_RULE, is_name, timeout_problems
from allframe.saga.states import SagaStatus
from allframe.saga.steps import SagaStep
from allframe.source import place_of_caller

__all__ = ["SagaDefinition"]


@final
class SagaDefinition:
    """A saga, built of step objects::

        transfer = (
            SagaDefinition("transfer-100")
            .add_step(DebitStep(account="A", amount=Decimal(100)))
            .add_step(CreditStep(account="B", amount=Decimal(100)))
        )
        outcome = await orchestrator.execute(transfer)

    It never changes: `add_step` returns another. What it is built of is stored with it, so it is recovered like any saga, by
    every program that has imported the classes of its steps.

    Args:
        id: The id of the one saga that this is, as in `SagaOrchestrator.execute`.
        name: What it is listed under; ``SagaDefinition``, if not given.
        timeout: Seconds, or a ``timedelta``, that the whole saga may take from its start, as the class keyword of `Saga`;
            None for no limit.

    Raises:
        DefinitionError: (AF119) if that cannot be a name; (AF109) if that cannot be a timeout.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the word of the whole API
        *,
        name: str | None = None,
        timeout: float | timedelta | None = None,
    ) -> None:
        self._id, self._name = id, "SagaDefinition" if name is None else name
        self._where = place_of_caller("allframe.saga")
        problems = [Problem("AF109", f"It has {text}", self._where) for text in timeout_problems(timeout)]
        if not is_name(self._name):
            problems.append(Problem("AF119", f"Its name is {name!r}. {NAME_RULE}", self._where))
        if problems:
            raise DefinitionError(f"Saga {id!r}", problems)
        self._timeout = seconds(timeout)
        self._places: tuple[Place, ...] = ()
        self._steps: tuple[SagaStep, ...] = ()
        #: The steps that nothing comes after yet.
        self._ends: tuple[str, ...] = ()
        self._made_at = SystemClock().now()
        self._execution: Callable[[], Execution] | None = None

    @property
    def id(self) -> str:
        """The id of the saga."""
        return self._id

    @property
    def name(self) -> str:
        """What the saga is listed under."""
        return self._name

    @property
    def timeout(self) -> float | None:
        """Seconds that the whole saga may take from its start, or None."""
        return self._timeout

    @property
    def steps(self) -> Mapping[str, SagaStep]:
        """The steps by their names, in the order in which they were added."""
        return MappingProxyType({place.name: step for place, step in zip(self._places, self._steps, strict=True)})

    def add_step(
        self, step: SagaStep, *, name: str | None = None, after: str | Iterable[str] | None = None
    ) -> SagaDefinition:
        """This definition and one more step.

        Args:
            step: The step.
            name: What it is called in this saga; what its class is stored under, in snake case, if not given:
                ``debit_step``. Each name is there once.
            after: The names of the steps that it waits for, ``()`` for none. Every step added before, if not given.

        Raises:
            DefinitionError: (AF109) if the name cannot be one, or is there; (AF108) if ``after`` names no earlier step.
        """
        given: object = step
        if not isinstance(given, SagaStep):
            hint = f" Make an object of it: {given.__name__}(...)." if isinstance(given, type) else ""
            raise TypeError(f"add_step() takes a SagaStep, found {given!r}.{hint}")
        called = snake_case(type(step).step_name) if name is None else name
        earlier = (after,) if isinstance(after, str) else None if after is None else tuple(after)
        place = Place(
            called,
            type(step),
            self._ends if earlier is None else self._waits_for(earlier),
            place_of_caller("allframe.saga"),
        )
        self._check(place, earlier or ())
        ends = (*(end for end in self._ends if end not in place.after), called)
        more = copy.copy(self)
        vars(more).update(_places=(*self._places, place), _steps=(*self._steps, step), _ends=ends, _execution=None)
        return more

    def check(self) -> None:
        """Apply the rules of a saga that is complete, as the orchestrator does before it writes anything.

        Raises:
            DefinitionError: with every problem that was found: it has no steps, or could not be rolled back.
        """
        _ = self.graph

    @property
    def graph(self) -> SagaGraph:
        """What it was compiled to.

        Raises:
            DefinitionError: as `check`.
        """
        if not self._places:
            text = "It has no steps, so running it would do nothing. Put some in with add_step()."
            raise DefinitionError(f"Saga {self._id!r}", [Problem("AF111", text, self._where)])
        return graph_of(self._name, self._places, self._timeout)

    def status(self) -> SagaStatus:
        """Where the saga stands, as this object knows it: see `metadata`."""
        return SagaStatus.NOT_STARTED if self._execution is None else self._execution().status

    def metadata(self) -> SagaMetadata:
        """Where the saga stands, as this object knows it.

        ``NOT_STARTED``, and both times those of this object's making, until an orchestrator was given this very object;
        then what came of that in this process. What others did to the saga since, only the store knows:
        ``await orchestrator.get_saga(id)``.
        """
        if self._execution is not None:
            return metadata_of(self._id, self._execution())
        return SagaMetadata(
            id=self._id,
            saga=self._name,
            status=SagaStatus.NOT_STARTED,
            running=(),
            steps_executed=0,
            total_steps=len(self._places),
            started_at=self._made_at,
            updated_at=self._made_at,
            failed_step=None,
            error=None,
            uncompensated=(),
            attention=False,
            reason=None,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SagaDefinition) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash((self._id, self._name, self._timeout, self._places))

    def __repr__(self) -> str:
        return f"<SagaDefinition {self._id!r}: {' -> '.join(place.name for place in self._places) or 'no steps'}>"

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self._id, self._name, self._timeout, self._places, self._steps

    def _waits_for(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of ``names`` that none of the others implies, in the order of the steps."""
        waits_for = {place.name: place.after for place in self._places}
        implied: set[str] = set()
        todo = [before for name in names for before in waits_for.get(name, ())]
        while todo:
            name = todo.pop()
            if name not in implied:
                implied.add(name)
                todo += waits_for[name]
        return tuple(name for name in waits_for if name in names and name not in implied)

    def _check(self, place: Place, earlier: tuple[str, ...]) -> None:
        known = [other.name for other in self._places]
        problems = []
        if not is_name(place.name):
            text = f"A step has the name {place.name!r}. {NAME_RULE}"
            problems.append(Problem("AF109", text, place.where, str(place.name)))
        elif place.name in known:
            text = f"A step is called {place.name!r} already. Give this one a name of its own: add_step(..., name=...)."
            problems.append(Problem("AF109", text, place.where, place.name))
        there_are = ", ".join(known) or "none"
        for name in earlier:
            if name not in known:
                near = nearest(name, known)
                text = f"{place.name!r} comes after {name!r}, and no such step was added before it. There are: {there_are}."
                problems.append(Problem("AF108", text + did_you_mean(near), place.where, place.name, near))
        if problems:
            raise DefinitionError(f"Saga {self._id!r}", problems)

    # --- what the orchestrator asks ----------------------------------------------------------------------------------

    def id_for(self, asked: str | None) -> str:
        """Its id, where ``asked`` was asked for.

        Raises:
            SagaIdInvalid: if that is another.
        """
        if asked is not None and asked != self._id:
            raise SagaIdInvalid(
                f"This definition is the saga {self._id!r}, and was to be started as {asked!r}. Leave the id away, or build "
                f"another: SagaDefinition({asked!r}).",
                saga_id=self._id,
            )
        return self._id

    def as_input(self) -> Any:
        """What is stored of it."""
        return input_of(graph_of(self._name, self._places), self._places, self._steps)

    def tell_from(self, execution: Callable[[], Execution]) -> None:
        """Have `metadata` tell of this execution from now on."""
        self._execution = execution
