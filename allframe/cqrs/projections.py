"""`ProjectionRegistry`: the projections of a store, each followed on its own, read by name, rebuilt and waited for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, overload

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint

from allframe.clock import Clock, SystemClock
from allframe.cqrs.folding import Fold, MemoryFold, TablesFold, maker_of
from allframe.cqrs.projection import AnyProjection, Projection, SqlProjection
from allframe.cqrs.runner import Progress, Runner
from allframe.cqrs.standing import ProjectionMetadata, ProjectionState
from allframe.errors import ProjectionRefused
from allframe.events.arguments import check_whole
from allframe.events.feed import Feed
from allframe.events.store import EventStore
from allframe.events.tables import Parameters, check_name
from allframe.masking import shown

__all__ = ["ProjectionRegistry"]

P = TypeVar("P", bound=AnyProjection)


class ProjectionRegistry:
    """Keeps projections up to date with a store.

    ::

        async with EventStore("sqlite:///bank.db") as store, ProjectionRegistry(store) as projections:
            await projections.register("balances", Balances)
            await store.append("account-A", [Deposited(account="A", amount=5)])
            await projections.caught_up()
            assert projections.get("balances", Balances).by_account == {"A": 5}

    Each projection is followed by a task of its own: it catches up, and then takes in what comes. One that is slow or that
    fails holds up neither the others nor whoever appends. ``page``: events that are read at a time.
    """

    def __init__(self, store: EventStore, *, page: int = 1000, clock: Clock | None = None) -> None:
        given: object = store
        if not isinstance(given, EventStore):
            raise TypeError(
                f"ProjectionRegistry takes an EventStore, found {shown(given)}. Open one: async with EventStore(url) as store."
            )
        check_whole("page", page, 1)
        self._store = store
        self._feed = Feed(store.opened, size=page)
        self._clock = SystemClock() if clock is None else clock
        self._runners: dict[str, Runner] = {}
        self._group: anyio.abc.TaskGroup | None = None

    # --- registering

    @overload
    async def register(self, name: str, projection: AnyProjection | Callable[[], AnyProjection]) -> None: ...
    @overload
    async def register(self, name: AnyProjection | type[AnyProjection]) -> None: ...
    async def register(self, name: Any, projection: Any = None) -> None:
        """Have a projection followed under a name, from the first event on or from where its tables have come to.

        ``projection`` is one, its class, or whatever makes one. A projection alone goes by the name that its class has
        (``class Balances(Projection, name="balances")``). Where the registry is started, following begins at once, and there is
        something to read when this returns.

        Raises:
            ProjectionRefused: the name is taken, or cannot be one, or this is no projection.
        """
        if projection is None:
            name, projection = _name_of(name), name
        check_name(name)
        taken = next((known for known in self._runners if known.casefold() == name.casefold()), None)
        if taken is not None:
            raise ProjectionRefused(
                f"There is a projection {taken!r} already. Register {name!r} once, or give one of them another name."
            )
        runner = Runner(name, self._fold(name, projection), self._feed, self._clock)
        self._runners[name] = runner
        if self._group is not None:
            self._start(runner)
            await runner.ready()
        await checkpoint()

    def count(self) -> int:
        """How many are registered."""
        return len(self._runners)

    # --- reading

    @overload
    def get(self, name: str) -> AnyProjection: ...
    @overload
    def get(self, name: str, kind: type[P]) -> P: ...
    def get(self, name: str, kind: type[Any] | None = None) -> Any:
        """The projection that is served now: after a rebuild that is another one, so do not keep it.

        ``kind``: the class that it has, for whoever checks types.

        Raises:
            ProjectionRefused: there is none of this name, or it is of another class.
        """
        projection = self._runner(name).projection
        given: object = kind
        if given is not None and not isinstance(given, type):
            raise TypeError(f"Expected the class of the projection {name!r}, found {shown(kind)}.")
        if kind is not None and not isinstance(projection, kind):
            raise ProjectionRefused(
                f"The projection {name!r} is a {type(projection).__qualname__}, not a {kind.__qualname__}."
            )
        return projection

    async def query(self, name: str, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement finds in the tables of a projection, as they are committed. It can only read.

        Raises:
            ProjectionRefused: there is none of this name, it has no tables, or the statement writes.
            StoreUnavailable: the statement cannot be run, or there are no tables yet.
        """
        fold = self._runner(name).fold
        if not isinstance(fold, TablesFold):
            raise ProjectionRefused(f"The projection {name!r} is in memory and has no tables: read get({name!r}).")
        return await fold.tables.query(sql, parameters)

    async def caught_up(
        self, position: int | None = None, *, name: str | None = None, timeout: float | None = None
    ) -> None:
        """Return when everything up to ``position`` was taken in, by all or by the one called ``name``.

        ``position`` None: everything that is in the store now, so that you read what you have written. ``timeout`` is in
        seconds.

        Raises:
            ProjectionFailed: one of them stands before an event, and will not come so far.
            ProjectionRefused: there is none of this name, or it is not followed.
            StoreUnavailable: the store is closed.
            TimeoutError: not within the timeout.
            ValueError: for a position or a timeout below 0.
        """
        check_whole("position", position, 0, otherwise="the end of the store")
        given: object = timeout
        if given is not None and not (isinstance(given, int | float) and given >= 0):
            raise ValueError(f"Expected timeout in seconds from 0, or None for ever, found {shown(timeout)}.")
        goal = await self._feed.last_position() if position is None else position
        runners = list(self._runners.values()) if name is None else [self._runner(name)]
        with anyio.move_on_after(timeout) as scope:
            for runner in runners:
                await runner.reached(goal)
        if scope.cancelled_caught:
            behind = [f"{runner.name!r} is at {runner.position}" for runner in runners if runner.position < goal]
            raise TimeoutError(f"Not at position {goal} within {timeout:g} s: {', '.join(behind)}.")
        await checkpoint()

    async def get_metadata(self, name: str) -> ProjectionMetadata:
        """Where a projection stands.

        Raises:
            ProjectionRefused: there is none of this name.
        """
        runner = self._runner(name)
        return runner.metadata(await self._feed.last_position())

    async def get_all_metadata(self) -> list[ProjectionMetadata]:
        """Where each stands, in the order in which they were registered."""
        end = await self._feed.last_position()
        return [runner.metadata(end) for runner in self._runners.values()]

    # --- mending

    async def rebuild(self, name: str, progress: Progress | None = None) -> None:
        """Make a projection anew from the first event on, beside the one that is served; then put it in its place, whole.

        ``progress`` is called with the position that it has come to and the one that it must come to. What is interrupted
        leaves the old one as it was. One that had failed is followed again. The registry need not be started.

        Raises:
            ProjectionFailed: an event cannot be taken in; the old one is served as before.
            ProjectionRefused: there is none of this name, or it is being rebuilt already.
            StoreError: the tables cannot be written, or another process rebuilds them.
        """
        runner = self._runner(name)
        await runner.rebuild(progress)
        if runner.state is ProjectionState.FAILED and self._group is not None:  # and nobody resumed it meanwhile
            self._start(runner)

    async def rebuild_all(self, progress: Callable[[str, int, int], None] | None = None) -> None:
        """`rebuild` each, one after the other. ``progress`` is given the name as well.

        Raises:
            ProjectionFailed, ProjectionRefused, StoreError: as `rebuild`; the rest was not begun.
        """
        for name in list(self._runners):
            await self.rebuild(name, None if progress is None else _named(name, progress))

    async def resume(self, name: str) -> None:
        """Let a projection that failed go on, at the event that it stands before.

        One in memory is made anew, beside the one that is served: the event may have left half of itself in it.

        Raises:
            ProjectionRefused: there is none of this name, or it has not failed.
            ProjectionFailed: for one in memory, that an event still fails.
        """
        runner = self._runner(name)
        if runner.state is not ProjectionState.FAILED:
            raise ProjectionRefused(
                f"The projection {name!r} is {runner.state.value}, not failed: it goes on by itself."
            )
        if not isinstance(runner.fold, TablesFold):
            await self.rebuild(name)
        elif self._group is not None:
            self._start(runner)
        await checkpoint()

    # --- starting and stopping

    async def start_subscription(self) -> None:
        """Follow the events; `stop` ends that, in the same task. ``async with`` does both.

        Raises:
            ProjectionRefused: it is started already.
        """
        if self._group is not None:
            raise ProjectionRefused("This registry is started already: use it as it is.")
        self._store.opened()
        group = anyio.create_task_group()
        await group.__aenter__()
        self._group = group
        for runner in self._runners.values():
            self._start(runner)
        try:
            for runner in self._runners.values():
                await runner.ready()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def stop(self) -> None:
        """Stop following, after the transactions that run. Harmless when repeated."""
        await self.__aexit__(None, None, None)

    async def __aenter__(self) -> ProjectionRegistry:
        await self.start_subscription()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        group.cancel_scope.cancel()
        # Any other error of the body goes its own way: the group would wrap it into an exception group.
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        await group.__aexit__(*((exc_type, error, traceback) if cancelled else (None, None, None)))

    def _start(self, runner: Runner) -> None:
        assert self._group is not None
        runner.announce()
        self._group.start_soon(runner.run)

    def _runner(self, name: str) -> Runner:
        runner = self._runners.get(name)
        if runner is None:
            have = ", ".join(map(repr, self._runners)) or "none"
            raise ProjectionRefused(f"There is no projection {name!r}. Registered are: {have}.")
        return runner

    def _fold(self, name: str, given: object) -> Fold:
        projection = given() if callable(given) and not isinstance(given, Projection | SqlProjection) else given
        if not isinstance(projection, Projection | SqlProjection):
            raise ProjectionRefused(
                f"{projection!r} is no projection. Expected an object, a class or a maker of Projection or SqlProjection."
            )
        if inspect.iscoroutinefunction(projection.apply):
            raise ProjectionRefused(
                f"{type(projection).__qualname__}.apply is async def. Make it a plain function: it only takes in what "
                "happened, and must not wait for anything."
            )
        if isinstance(projection, SqlProjection):
            return TablesFold(projection, self._store.opened().tables(name), versions=self._store.versions)
        make: Any = projection if given is projection else given
        return MemoryFold(maker_of(make), projection, versions=self._store.versions)


def _name_of(given: object) -> str:
    cls = given if isinstance(given, type) else type(given)
    if not issubclass(cls, Projection | SqlProjection):
        raise ProjectionRefused(
            f"{given!r} is no projection. Expected register(name, projection), or a projection whose class has a name."
        )
    return cls.projection_name


def _named(name: str, progress: Callable[[str, int, int], None]) -> Progress:
    return lambda position, total: progress(name, position, total)
