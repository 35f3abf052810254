"""What is handed in the wrong way is told of where it is handed in, in words."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from allframe import (
    Aggregate,
    AutoUpcaster,
    Command,
    CommandBus,
    DefinitionError,
    EventStore,
    MigrationPath,
    PayloadError,
    ProjectionRegistry,
    Query,
    QueryBus,
    Repository,
    VersionRegistry,
    upcasts,
)
from allframe.events import ZlibCodec
from tests.cqrs.account import Account, Deposited

pytestmark = pytest.mark.anyio


class Do(Command, name="wrong-calls.do"):
    a: str


class Ask(Query[int], name="wrong-calls.ask"):
    a: str


class Kept(BaseModel):
    n: int = 0


ONE = Deposited(amount=1)

#: What is made the wrong way, without a store that is open: the call, the error, some of its words.
MADE: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: EventStore(5), TypeError, "takes the URL of a store, such as 'sqlite:///bank.db', or a backend, found 5"),  # type: ignore[arg-type]
    (lambda: EventStore(versions=[ONE]), TypeError, r"takes a VersionRegistry, found .* Make one: VersionRegistry\(\["),  # type: ignore[arg-type]
    (lambda: AutoUpcaster(int, Deposited), DefinitionError, "<class 'int'> is no class of events or snapshots"),  # type: ignore[type-var]
    (
        lambda: AutoUpcaster(ONE, Deposited),
        DefinitionError,
        r"is no class of events .* AutoUpcaster\(OldClass, NewClass\)",
    ),  # type: ignore[arg-type]
    (lambda: upcasts("a", from_version=1)(5), DefinitionError, "It is no function"),  # type: ignore[arg-type]
    (lambda: upcasts(5, from_version=1)(dict), DefinitionError, "type is 5. Expected the stored name"),  # type: ignore[arg-type]
    (lambda: upcasts("a", from_version=None)(dict), DefinitionError, "from_version is None. Expected a whole number"),  # type: ignore[arg-type]
    (lambda: VersionRegistry(5), DefinitionError, r"Its upcasters are 5. Give a list: VersionRegistry\(\[upcaster"),  # type: ignore[arg-type]
    (lambda: VersionRegistry(models=Kept), DefinitionError, r"Its models are .*Kept'>. Give a list"),  # type: ignore[arg-type]
    (lambda: VersionRegistry(models=[5]), DefinitionError, r"5 is no model of snapshots"),  # type: ignore[list-item]
    (lambda: VersionRegistry().register_migration("a"), DefinitionError, "'a' is no MigrationPath"),  # type: ignore[arg-type]
    (
        lambda: VersionRegistry().register_migration(MigrationPath("a", 1, 2, upcasters=5)),  # type: ignore[arg-type]
        DefinitionError,
        "Its upcasters are 5",
    ),
    (lambda: ZlibCodec("6"), ValueError, "a level from 1 to 9, found '6'"),  # type: ignore[arg-type]
    (lambda: ZlibCodec(1.5), ValueError, "a level from 1 to 9, found 1.5"),  # type: ignore[arg-type]
    (lambda: Repository(EventStore(), 5), TypeError, "Expected a class derived from Aggregate, found 5"),  # type: ignore[type-var]
    (lambda: Repository(EventStore(), Account(id="A")), TypeError, "a class derived from Aggregate, found Account"),  # type: ignore[arg-type]
    (lambda: Repository(EventStore(), Aggregate), DefinitionError, "It has no apply"),
    (lambda: Repository(EventStore(), Account, snapshot_every=math.nan), ValueError, "snapshot_every from 1, or None"),  # type: ignore[arg-type]
    (lambda: ProjectionRegistry("memory://"), TypeError, "ProjectionRegistry takes an EventStore, found 'memory://'"),  # type: ignore[arg-type]
    (lambda: ProjectionRegistry(EventStore(), page=0), ValueError, "Expected page from 1, found 0"),
    (lambda: CommandBus(EventStore(), keep_keys="1d"), ValueError, "keep_keys is seconds .* Found '1d'"),  # type: ignore[arg-type]
    (lambda: QueryBus(provide=5), TypeError, "provide= takes a mapping from types to objects, .* found 5"),  # type: ignore[arg-type]
    (lambda: CommandBus(EventStore()).parse(5, {}), TypeError, "Expected a class derived from Command, .* found 5"),  # type: ignore[call-overload]
    (lambda: CommandBus(EventStore()).parse(Ask, {"a": "x"}), TypeError, "derived from Command, .*Ask"),  # type: ignore[type-var]
    (lambda: CommandBus(EventStore()).register("do", print), DefinitionError, "registered for 'do'. Expected a class"),  # type: ignore[arg-type]
    (
        lambda: CommandBus(EventStore()).register(Ask, print),
        DefinitionError,
        "registered for .*Ask'>. Expected a class",
    ),  # type: ignore[type-var]
    (lambda: CommandBus(EventStore()).register(Do(a="x"), print), DefinitionError, "registered for Do"),  # type: ignore[arg-type]
    (lambda: QueryBus().parse(Do, {"a": "x"}), TypeError, "Expected a class derived from Query, .*Do"),  # type: ignore[type-var]
    (lambda: QueryBus().register("ask", print), DefinitionError, "registered for 'ask'. Expected a class"),  # type: ignore[arg-type]
]

Call = Callable[[Any], Awaitable[Any]]

#: What is asked of a store the wrong way.
ASKED: list[tuple[Call, type[Exception], str]] = [
    (lambda store: store.append(5, [ONE]), PayloadError, "The name of a stream is 5. Expected text"),
    (lambda store: store.append("a", ONE), PayloadError, r"is no list of events. Give a list, such as \[event\]"),
    (lambda store: store.append("a", {ONE}), PayloadError, "is no list of events"),
    (
        lambda store: store.append("a", [ONE], metadata=5),
        PayloadError,
        "The metadata of events is 5. Expected a mapping",
    ),
    (
        lambda store: store.append("a", [ONE], expected_version="1"),
        ValueError,
        "expected_version from 0, or None .* found '1'",
    ),
    (lambda store: store.append_many([("a", [ONE])]), PayloadError, r"is no write. Expected a list of \(\"stream\""),
    (lambda store: store.append_many(5), PayloadError, "5 is no list of writes"),
    (lambda store: store.get_events(5), PayloadError, "The name of a stream is 5"),
    (lambda store: store.get_events_after("a", "x"), ValueError, "a version to read after from 0, found 'x'"),
    (lambda store: store.get_all_events(after=math.nan), ValueError, "a position to read after from 0, found nan"),
    (
        lambda store: store.get_all_events(limit=1.5),
        ValueError,
        "limit from 0, or None for all, found 1.5. Give a whole number",
    ),
    (lambda store: store.save_snapshot("a", Kept(), version="1"), ValueError, "the version of a snapshot .* found '1'"),
    (lambda store: store.get_latest_snapshot("a", Kept()), PayloadError, "no type of snapshots. Give the class"),
    (
        lambda store: Repository(store, Account).change("A", None),
        TypeError,
        "Expected a function that decides, .* None",
    ),  # type: ignore[arg-type]
    (lambda store: Repository(store, Account).change("A", list, attempts=1.5), ValueError, "attempts from 1, .* 1.5"),  # type: ignore[arg-type]
    (lambda store: ProjectionRegistry(store).caught_up(math.nan), ValueError, "position from 0, or None .* found nan"),  # type: ignore[arg-type]
    (lambda store: ProjectionRegistry(store).caught_up(timeout="x"), ValueError, "timeout in seconds from 0, .* 'x'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "error", "words"), MADE)
def test_what_is_made_the_wrong_way_is_told_of(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(("ask", "error", "words"), ASKED)
async def test_what_is_asked_the_wrong_way_is_told_of(
    store: EventStore, ask: Call, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await ask(store)

    assert await store.get_all_events() == []


@pytest.mark.parametrize("wrong", ["0", 0.5, -1, math.nan])
async def test_a_subscription_begins_after_a_position_or_now(store: EventStore, wrong: Any) -> None:
    with pytest.raises(ValueError, match="Expected a position to begin after from 0, or None for now"):
        store.subscribe(after=wrong)
    with pytest.raises(ValueError, match="Expected the name of a category"):
        store.subscribe(category=5)  # type: ignore[arg-type]


async def test_what_one_task_hands_in_wrong_harms_no_other(store: EventStore) -> None:
    """They are written together."""

    async def wrong() -> None:
        with pytest.raises(ValueError, match="expected_version"):
            await store.append("a", [ONE], expected_version="0")  # type: ignore[arg-type]

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(store.append, "a", [ONE])
            tasks.start_soon(wrong)

    assert len(await store.get_events("a")) == 10
