"""Random histories on a store, some of it at the same time, come to what a store in plain lists says.

A step is a few things that happen at once, each after a few turns of the loop; between steps nothing happens. What was
appended at once has some order: the one of its positions. In that order the reference must allow what was written, and what
was refused must have been wrong at some moment of the step. Subscriptions live through all of it.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from allframe.errors import ConcurrencyError, PayloadError, StoreUnavailable
from allframe.events import Event, EventStore, RecordedEvent
from allframe.events import backend as rows
from allframe.events.rows import make_rows
from tests.events.model import Model, Refused, Stored, Write

#: For each loop and store, how many histories are tried in a push.
LANES = {("asyncio", "memory"): 100, ("trio", "memory"): 100, ("asyncio", "sqlite"): 25, ("trio", "sqlite"): 25}
#: So many times more in a soak.
SOAK = 50

STREAMS = ("account-1", "account-2", "account", "order-1", "order")
CATEGORIES = (None, "account", "order", "nothing")

lanes = pytest.mark.parametrize(("backend", "store"), list(LANES))
_numbers = itertools.count()


class Added(Event, name="test_store_model.added"):
    n: int


class First(BaseModel):
    snapshot_name: ClassVar[str] = "model.state"
    snapshot_version: ClassVar[int] = 1
    of: str


class Second(BaseModel):
    snapshot_name: ClassVar[str] = "model.state"
    snapshot_version: ClassVar[int] = 2
    of: str


# --- what can happen -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Append:
    """Each write: the stream, how many events, and how far the expected version is from the one before the step."""

    writes: tuple[tuple[str, int, int | None], ...]


@dataclass(frozen=True)
class System:
    """Rows of allframe's own."""

    count: int


@dataclass(frozen=True)
class Save:
    """``version``: as far from the one before the step."""

    stream: str
    version: int
    model: type[First | Second]


@dataclass(frozen=True)
class Read:
    stream: str
    after: int


@dataclass(frozen=True)
class ReadAll:
    after: int
    system: bool
    category: str | None


@dataclass(frozen=True)
class Take:
    """A subscriber takes some of what was there before the step. ``patience``: the turns after which it is cancelled."""

    subscriber: int
    count: int
    patience: int | None


@dataclass(frozen=True)
class Subscribe:
    """``after``: how far from the end; None: from now on."""

    after: int | None
    system: bool
    category: str | None


@dataclass(frozen=True)
class Reopen:
    """Close the store and open it again; who was subscribed goes on by position."""


@dataclass(frozen=True)
class AtOnce:
    """Each with the turns of the loop that it lets pass before."""

    things: tuple[tuple[int, Append | System | Save | Read | ReadAll | Take], ...]


def histories() -> st.SearchStrategy[list[AtOnce | Subscribe | Reopen]]:
    streams, small = st.sampled_from([*STREAMS, *STREAMS[:2]]), st.integers(0, 3)
    categories = st.sampled_from(CATEGORIES)
    expected = st.sampled_from([None, 0, 0, 0, 1, 2, -1])
    things = _weighted(
        (
            5,
            st.builds(
                Append, st.lists(st.tuples(streams, st.integers(1, 3), expected), min_size=1, max_size=3).map(tuple)
            ),
        ),
        (1, st.builds(System, st.sampled_from([1, 2, 3, 110]))),
        (4, st.builds(Save, st.sampled_from(STREAMS[:2]), st.integers(-2, 0), st.sampled_from([First, Second]))),
        (1, st.builds(Read, streams, small)),
        (1, st.builds(ReadAll, small, st.booleans(), categories)),
        (3, st.builds(Take, small, st.integers(1, 5), st.sampled_from([None, 0, 1, 2, 5]))),
    )
    at_once = st.builds(AtOnce, st.lists(st.tuples(st.integers(0, 4), things), min_size=2, max_size=5).map(tuple))
    subscribe = st.builds(Subscribe, st.one_of(st.none(), small), st.booleans(), categories)
    return st.lists(_weighted((7, at_once), (2, subscribe), (1, st.just(Reopen()))), min_size=4, max_size=12)


def _weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of them, each so often. (`one_of` takes what is named twice once.)"""
    numbers = [number for number, (weight, _) in enumerate(choices) for _ in range(weight)]
    return st.sampled_from(numbers).flatmap(lambda number: choices[number][1])


# --- and what comes of it --------------------------------------------------------------------------------------------


@dataclass
class Subscriber:
    events: AsyncIterator[RecordedEvent]
    begin: int
    chosen: dict[str, Any]
    seen: list[Stored] = field(default_factory=list)
    #: Whether somebody takes from it right now.
    taking: bool = False

    def due(self, model: Model) -> list[Stored]:
        return model.read_all(self.begin, **self.chosen)


class World:
    """One store, the reference, and who is subscribed."""

    def __init__(self, url: str) -> None:
        self.store = EventStore(url)
        self.model = Model()
        self.subscribers: list[Subscriber] = []
        self._count = itertools.count()

    async def play(self, history: list[AtOnce | Subscribe | Reopen]) -> None:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            await self.store.open()
            for step in history:
                match step:
                    case Subscribe():
                        self._subscribe(step)
                    case Reopen():
                        await self._reopen()
                    case AtOnce():
                        await self._at_once(step)
                await self._check()
            for each in self.subscribers:
                await self._take(each, len(each.due(self.model)) - len(each.seen), None)
                assert each.seen == each.due(self.model)

    async def _close(self) -> None:
        await self.store.close()

    def _subscribe(self, asked: Subscribe) -> None:
        end = len(self.model.rows)
        after = None if asked.after is None else max(0, end - asked.after)
        chosen = {"system": asked.system, "category": asked.category}
        events = self.store.subscribe(after=after, **chosen)  # type: ignore[arg-type]
        self.subscribers.append(Subscriber(events, end if after is None else after, chosen))

    async def _reopen(self) -> None:
        if not self.store.backend.durable:
            return
        await self.store.close()
        for each in self.subscribers:
            with pytest.raises(StoreUnavailable, match="was closed"):
                while True:  # what it has read before
                    each.seen.append(_stored(await anext(each.events)))
        await self.store.open()
        for each in self.subscribers:
            after = each.seen[-1].position if each.seen else each.begin
            each.events = self.store.subscribe(after=after, **each.chosen)

    async def _at_once(self, step: AtOnce) -> None:
        before = Model(list(self.model.rows), dict(self.model.snapshots))
        written: list[tuple[list[Write], list[int] | Refused]] = []
        saved: list[tuple[Save, int, bool]] = []

        async def happen(turns: int, thing: Any) -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            match thing:
                case Append():
                    writes = [
                        Write(stream, self._events(count), None if off is None else before.version(stream) + off)
                        for stream, count, off in thing.writes
                    ]
                    written.append((writes, await self._append(writes)))
                case System():
                    write = Write("$saga/a-1", self._events(thing.count), None)
                    written.append(([write], await self._append_system(write)))
                case Save():
                    version = before.version(thing.stream) + thing.version
                    saved.append((thing, version, await self._save(thing, version)))
                case Read():
                    found = [_stored(each) async for each in self.store.read(thing.stream, after=thing.after)]
                    old = before.read(thing.stream, thing.after)
                    assert found[: len(old)] == old
                    assert [each.revision for each in found] == [thing.after + 1 + n for n in range(len(found))]
                case ReadAll():
                    chosen: Any = {"system": thing.system, "category": thing.category}
                    found = [_stored(each) async for each in self.store.read_all(after=thing.after, **chosen)]
                    old = before.read_all(thing.after, **chosen)
                    assert found[: len(old)] == old
                    assert [each.position for each in found] == sorted({each.position for each in found})
                case Take() if self.subscribers:
                    each = self.subscribers[thing.subscriber % len(self.subscribers)]
                    if not each.taking:
                        each.taking = True
                        left = len(each.due(before)) - len(each.seen)
                        await self._take(each, min(thing.count, left), thing.patience)
                        each.taking = False

        async with anyio.create_task_group() as tasks:
            for turns, thing in step.things:
                tasks.start_soon(happen, turns, thing)
        await self._judge_writes(before, written)
        self._judge_snapshots(before, saved)

    def _events(self, count: int) -> tuple[int, ...]:
        return tuple(next(self._count) for _ in range(count))

    async def _append(self, writes: list[Write]) -> list[int] | Refused:
        try:
            return await self.store.append_many(
                [(write.stream, [Added(n=n) for n in write.events], write.expected) for write in writes]
            )
        except ConcurrencyError as error:
            return Refused(error.stream, error.expected, error.actual)

    async def _append_system(self, write: Write) -> list[int]:
        made = make_rows([Added(n=n) for n in write.events], recorded_at=0)
        return list(await self.store.backend.commit(rows.Commit((rows.Write(write.stream, made),))))

    async def _save(self, save: Save, version: int) -> bool:
        """Whether it was taken."""
        try:
            await self.store.save_snapshot(save.stream, save.model(of=f"{save.stream}@{version}"), version=version)
        except PayloadError:
            return False
        return True

    @staticmethod
    async def _take(each: Subscriber, count: int, patience: int | None) -> None:
        async def give_up(scope: anyio.CancelScope, turns: int) -> None:
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                if patience is not None:
                    tasks.start_soon(give_up, scope, patience)
                while count > 0:
                    each.seen.append(_stored(await anext(each.events)))
                    count -= 1
                tasks.cancel_scope.cancel()

    async def _judge_writes(self, before: Model, written: list[tuple[list[Write], list[int] | Refused]]) -> None:
        """In the order of the positions, the reference writes the same; what was refused was wrong at some moment."""
        found = {row.n: row.position for row in [_stored(each) async for each in self.store.read_all(system=True)]}
        done = [(writes, versions) for writes, versions in written if not isinstance(versions, Refused)]
        moments = [before]
        for writes, versions in sorted(done, key=lambda each: found[each[0][0].events[0]]):
            assert self.model.append(writes) == versions
            moments.append(Model(list(self.model.rows)))
        for writes, refused in written:
            if isinstance(refused, Refused):
                assert not found.keys() & {n for write in writes for n in write.events}
                assert refused in [Model(list(moment.rows)).append(writes) for moment in moments]

    def _judge_snapshots(self, before: Model, saved: list[tuple[Save, int, bool]]) -> None:
        """Of what was there before the step one can be taken, and none is of what is not there after it."""
        for save, version, taken in saved:
            if taken:
                assert 1 <= version <= self.model.version(save.stream)
                self.model.save(save.stream, "model.state", version, save.model.snapshot_version)
            else:
                assert version < 1 or version > before.version(save.stream)

    async def _check(self) -> None:
        """Everything that can be read is what the reference has."""
        everything = [_stored(each) async for each in self.store.read_all(system=True)]
        assert everything == self.model.rows
        for stream in STREAMS:
            kept = self.model.snapshots.get((stream, "model.state"))
            stored = await self.store.backend.get_snapshot(stream, "model.state")
            assert kept == (None if stored is None else (stored.revision, stored.schema_version))
            if kept is not None:
                snapshot = await self.store.get_latest_snapshot(stream, (First, Second)[kept[1] - 1])
                assert snapshot is not None
                assert (snapshot.version, snapshot.state.of) == (kept[0], f"{stream}@{kept[0]}")
        for each in self.subscribers:
            assert each.seen == each.due(self.model)[: len(each.seen)]
        stats = await self.store.stats()
        assert (stats.total_events, stats.total_snapshots) == (len(self.model.rows), len(self.model.snapshots))
        assert stats.total_streams == len({row.stream for row in self.model.rows})


def _stored(recorded: RecordedEvent) -> Stored:
    assert isinstance(recorded.event, Added)
    return Stored(recorded.position, recorded.stream, recorded.revision, recorded.event.n)


# --- the tests -------------------------------------------------------------------------------------------------------


def trying(examples: int, backend: str, store: str, folder: Path) -> Callable[[], None]:
    """A test of so many random histories."""

    @settings(max_examples=examples, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    @given(histories())
    def play(history: list[AtOnce | Subscribe | Reopen]) -> None:
        url = f"sqlite:///{folder}/{next(_numbers)}.db?durability=process" if store == "sqlite" else "memory://"
        anyio.run(World(url).play, history, backend=backend)

    return play


@pytest.mark.timeout(600)  # what fails is made small first
@lanes
def test_a_random_history_comes_to_what_the_reference_says(backend: str, store: str, tmp_path: Path) -> None:
    trying(LANES[backend, store], backend, store, tmp_path)()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@lanes
def test_thousands_of_random_histories_do(backend: str, store: str, tmp_path: Path) -> None:
    trying(SOAK * LANES[backend, store], backend, store, tmp_path)()
