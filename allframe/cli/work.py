"""``allframe work``: a service that goes on with the sagas of a store until it is told to stop."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Annotated

import anyio
import typer

from allframe import EventStore, OrchestratorClosed, Saga, SagaOrchestrator
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.notify import notify
from allframe.cli.options import StoreOption, needed
from allframe.cli.provide import check_provided, find_providers
from allframe.cli.render import printable
from allframe.cli.session import Stopwatch, run_service
from allframe.cli.tail import Tail
from allframe.cli.target import load_module, sagas_of, split, steps_of, versions_of
from allframe.cli.telling import Level, Stopped, Telling, telling
from allframe.errors import StoreUnavailable
from allframe.events.backend import HeadQuery
from allframe.saga.monitor import Monitor
from allframe.saga.records import BlockedKind
from allframe.saga.states import RUNNING, SagaStatus
from allframe.saga.streams import CATEGORY

__all__ = ["work"]

#: Seconds between two looks at what was recorded.
PAUSE = 0.25
_REASONS = {Exit.TERMINATED: "SIGTERM", Exit.INTERRUPTED: "SIGINT"}


@guarded
def work(
    modules: Annotated[
        list[str],
        typer.Argument(metavar="MODULE...", help="The modules whose sagas run: shop.sagas, or path/to/sagas.py."),
    ],
    store: StoreOption = None,
    codec: CodecOption = None,
    provide: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:THING",
            help="What the sagas inject: a mapping, an async context manager that yields one, or a callable that "
            "returns either. Without it: the attributes 'provide' of the modules.",
            show_default=False,
        ),
    ] = None,
    max_running: Annotated[int, typer.Option(min=1, help="Sagas at once.")] = 1000,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that running steps get to end when it stops.")] = 10.0,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds that another process which owns the store gets to leave it.")
    ] = 0.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing runs any more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No line for each saga that ends.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A line for each record as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line instead.")] = False,
) -> Exit:
    """Go on with the sagas of a store that are unfinished, and run until SIGTERM or Ctrl-C.

    The exit code is 0 after SIGTERM if all running steps came to their end, and 143 if some were cut; 130 after Ctrl-C.
    With --until-idle it is 0 if every saga that ended completed, and 1 if one did not.
    """
    url = needed(store)
    if url.startswith("memory:"):
        raise Stop("A memory store ends with its process: there is nothing to go on with. Give the URL of a file.")
    encoded = load_codec(codec)
    loaded = [_load(place) for place in modules]
    opened, what = find_providers(provide, loaded)
    sagas = _sagas(loaded)
    _log_on_stderr()
    level = Level.RECORDS if verbose else Level.FRAME if quiet else Level.SAGAS
    service = _Service(telling(level, json=json), until_idle=until_idle)
    return service.ended_by(
        lambda: run_service(
            url,
            opened,
            service,
            concurrency=max_running,
            check=lambda found: check_provided(sagas, found, what),
            grace=grace,
            wait=wait,
            on_stop=lambda: notify("STOPPING=1"),
            versions=versions_of(loaded),
            codec=encoded,
        )
    )


class _Service:
    """The store is ours, its sagas run, and what happens is told."""

    def __init__(self, telling: Telling, *, until_idle: bool) -> None:
        self._telling, self._until_idle = telling, until_idle
        self._clock = Stopwatch()
        self._tail: Tail | None = None
        self._monitor: Monitor | None = None
        self._orchestrator: SagaOrchestrator | None = None
        self._ended: Counter[SagaStatus] = Counter()
        self._unfinished: dict[str, int] = {}

    async def opened(self, store: EventStore) -> None:
        backend = store.opened()
        self._tail, self._monitor = Tail(store, await backend.last_position()), Monitor(store)
        mendable = HeadQuery(CATEGORY, statuses=(SagaStatus.BLOCKED,), blocked=BlockedKind.MENDABLE)
        recovering = await _unfinished(store) | _some(SagaStatus.BLOCKED, await backend.count_heads(mendable))
        attention = await backend.count_heads(HeadQuery(CATEGORY, attention=True))
        self._telling.began(backend.url, recovering, attention - recovering.get(SagaStatus.BLOCKED, 0))

    async def work(self, orchestrator: SagaOrchestrator) -> None:
        self._orchestrator = orchestrator
        notify("READY=1")
        try:
            while True:
                with anyio.move_on_after(PAUSE):
                    await orchestrator.idle()
                    if self._until_idle:
                        return
                    await anyio.sleep_forever()
                await self._tell()
        except OrchestratorClosed as error:
            raise Stop(
                "The orchestrator left of its own accord: a step cancelled the task that it runs in. Start it again, and "
                "it goes on.",
                Exit.INCOMPLETE,
            ) from error

    async def left(self, store: EventStore) -> None:
        await self._tell()
        try:
            self._unfinished = await _unfinished(store)
        except StoreUnavailable:
            return  # it was said already

    async def _tell(self) -> None:
        assert self._tail is not None
        assert self._monitor is not None
        try:
            for told in await self._tail.new():
                self._telling.recorded(told)
                if told.ending is not None:
                    self._ended[told.ending] += 1
                    await self._telling.ended(told, self._monitor)
        except StoreUnavailable as error:
            logging.getLogger("allframe").warning("what happens cannot be told: %s", error)

    def ended_by(self, session: Callable[[], None]) -> Exit:
        """Run it in ``session``: how it ended.

        Raises:
            Stop: it did not end well.
        """
        by: Stop | None = None
        try:
            session()
        except Stop as why:
            by = why
        cut = () if self._orchestrator is None else self._orchestrator.dropped
        if self._tail is not None:
            reason = _REASONS.get(by.code, "error") if by else "idle"
            self._telling.stopped(Stopped(reason, self._clock(), dict(self._ended), self._unfinished, cut))
        if by is not None and (by.code is not Exit.TERMINATED or cut):
            raise by
        return Exit.COMPLETED if by is not None or not self._is_lacking else Exit.INCOMPLETE

    @property
    def _is_lacking(self) -> bool:
        return bool(self._unfinished or self._ended.keys() - {SagaStatus.COMPLETED})


async def _unfinished(store: EventStore) -> dict[str, int]:
    """How many sagas of a store have which status, of those that are not at rest."""
    counts: dict[str, int] = {}
    for status in (SagaStatus.NOT_STARTED, SagaStatus.EXECUTING, SagaStatus.COMPENSATING):
        counts |= _some(status, await store.opened().count_heads(HeadQuery(CATEGORY, statuses=(status,))))
    assert counts.keys() <= RUNNING
    return counts


def _some(status: SagaStatus, count: int) -> dict[str, int]:
    return {status.value: count} if count else {}


def _load(place: str) -> ModuleType:
    module, name = split(place)
    if name:
        raise Stop(f"Expected a module, found {place}: whichever sagas the store holds run. Write {module}.")
    return load_module(module)


def _sagas(modules: Iterable[ModuleType]) -> list[type[Saga]]:
    """The sagas of modules, and of what they imported below them.

    Raises:
        Stop: one has none.
    """
    found: dict[type[Saga], None] = {}
    for module in modules:
        family = [m for name, m in list(sys.modules.items()) if f"{name}.".startswith(f"{module.__name__}.")]
        sagas = [saga for member in family for saga in sagas_of(member).values()]
        # Of steps alone, sagas are built: those that the store holds name their steps.
        if not sagas and not any(map(steps_of, family)):
            raise Stop(f"There are no sagas in {module.__name__}. Name the module that defines them.")
        found |= dict.fromkeys(sagas)
    return list(found)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_on_stderr() -> None:
    """What the library logs goes to standard error, unless a module set logging up itself."""
    logger = logging.getLogger("allframe")
    if not logging.getLogger().handlers and all(isinstance(h, logging.NullHandler) for h in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
        logger.addHandler(handler)
