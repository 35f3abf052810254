"""What was stored in the past is read as the events of today, wherever it is read."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, SecretStr

from allframe import (
    AutoUpcaster,
    Event,
    EventStore,
    MigrationPath,
    RecordedEvent,
    StoreFormatError,
    Upcaster,
    VersionRegistry,
    upcasts,
)
from tests.events.past import store_past

pytestmark = pytest.mark.anyio

HERE = "test_versioning.py:"


class Debited(Event, name="versioning.debited", version=3):
    account: str
    cents: int
    currency: str


class Plain(Event, name="versioning.plain"):
    number: int


@upcasts("versioning.debited", from_version=1)
def add_currency(data: dict[str, Any]) -> dict[str, Any]:
    data["currency"] = "EUR"
    return data


@upcasts("versioning.debited", from_version=2)
def count_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"account": data["account"], "cents": data["amount"] * 100, "currency": data["currency"]}


VERSIONS = VersionRegistry([add_currency, count_cents])
OLD = ("versioning.debited", 1, {"account": "A", "amount": 5})
MIDDLE = ("versioning.debited", 2, {"account": "A", "amount": 7, "currency": "CHF"})
TODAY = [Debited(account="A", cents=500, currency="EUR"), Debited(account="A", cents=700, currency="CHF")]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[EventStore]:
    async with EventStore(store_url, versions=VERSIONS) as opened:
        yield opened


async def _only(store: EventStore, stream: str = "a") -> RecordedEvent:
    (recorded,) = [recorded async for recorded in store.read(stream)]
    return recorded


# --- every read ------------------------------------------------------------------------------------------------------


async def test_every_way_to_read_gives_the_events_of_today(store: EventStore) -> None:
    await store_past(store, "a", OLD, MIDDLE)

    assert await store.get_events("a") == TODAY
    assert await store.get_events_after("a", 1) == TODAY[1:]
    assert await store.get_all_events() == TODAY
    assert [recorded.event async for recorded in store.read("a")] == TODAY
    assert [recorded.event async for recorded in store.read_all()] == TODAY


async def test_versions_are_chained_from_the_one_that_is_stored(store: EventStore) -> None:
    await store_past(store, "a", OLD, MIDDLE, ("versioning.debited", 3, {"account": "B", "cents": 1, "currency": "X"}))

    assert await store.get_events("a") == [*TODAY, Debited(account="B", cents=1, currency="X")]


async def test_an_upcaster_may_change_what_it_is_given_and_changes_nobody_elses(store_url: str) -> None:
    class Tagged(Event, name="versioning.tagged", version=3):
        tags: list[str]

    usual: dict[str, Any] = {"tags": ["usual"]}

    @upcasts("versioning.tagged", from_version=1)
    def tag(data: dict[str, Any]) -> dict[str, Any]:
        return usual

    @upcasts("versioning.tagged", from_version=2)
    def mark(data: dict[str, Any]) -> dict[str, Any]:
        data["tags"].append("old")
        return data

    async with EventStore(store_url, versions=VersionRegistry([tag, mark])) as store:
        await store_past(store, "a", ("versioning.tagged", 1, {}), ("versioning.tagged", 1, {}))

        assert await store.get_events("a") == [Tagged(tags=["usual", "old"])] * 2
    assert usual == {"tags": ["usual"]}


async def test_what_is_stored_stays_as_it_was(store: EventStore) -> None:
    await store_past(store, "a", OLD)

    recorded = await _only(store)
    assert recorded.event == TODAY[0]

    assert (recorded.schema_version, recorded.payload()) == (1, OLD[2])
    assert recorded.data == b'{"account": "A", "amount": 5}'


async def test_a_new_event_is_stored_and_read_by_its_class(store: EventStore) -> None:
    await store.append("a", [TODAY[0]])

    recorded = await _only(store)

    assert (recorded.schema_version, recorded.event) == (3, TODAY[0])


async def test_an_event_that_was_renamed_is_read_under_its_name_of_today(store_url: str) -> None:
    class Renamed(Event, name="versioning.renamed", version=4):
        account: str

    @upcasts("versioning.old_name", from_version=3, to_type="versioning.renamed")
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {"account": data["name"]}

    async with EventStore(store_url, versions=VersionRegistry([rename])) as store:
        await store_past(store, "a", ("versioning.old_name", 3, {"name": "A"}))

        recorded = await _only(store)

        assert recorded.event == Renamed(account="A")
        assert recorded.type == "versioning.old_name"


async def test_a_version_without_an_upcaster_is_read_by_the_class_of_that_very_version(store: EventStore) -> None:
    class First(Event, name="versioning.both", version=1):
        a: int

    class Second(Event, name="versioning.both", version=2):
        b: int

    await store.append("a", [First(a=1), Second(b=2)])

    assert await store.get_events("a") == [First(a=1), Second(b=2)]


async def test_an_upcaster_may_give_what_only_python_has(store_url: str) -> None:
    class Priced(Event, name="versioning.priced", version=2):
        amount: Decimal
        key: bytes

    @upcasts("versioning.priced", from_version=1)
    def precise(data: dict[str, Any]) -> dict[str, Any]:
        return {"amount": Decimal(data["amount"]) / 10, "key": b"\xff"}

    async with EventStore(store_url, versions=VersionRegistry([precise])) as store:
        await store_past(store, "a", ("versioning.priced", 1, {"amount": 1}))

        assert await store.get_events("a") == [Priced(amount=Decimal("0.1"), key=b"\xff")]


async def test_each_read_calls_the_upcasters_with_a_payload_of_its_own(store: EventStore) -> None:
    await store_past(store, "a", OLD)

    assert await store.get_events("a") == await store.get_events("a") == TODAY[:1]


# --- what cannot be read ---------------------------------------------------------------------------------------------


async def test_iterating_neither_drops_nor_raises_for_what_cannot_be_read(store: EventStore) -> None:
    unknown = [
        ("versioning.unheard_of", 1, {"x": 1}),
        ("versioning.debited", 9, {"y": 2}),
        ("versioning.plain", 1, b"{"),
    ]
    await store_past(store, "a", OLD, *unknown, MIDDLE)

    found = [recorded async for recorded in store.read_all()]

    assert [recorded.is_readable for recorded in found] == [True, False, False, False, True]
    assert [(recorded.type, recorded.schema_version) for recorded in found[1:4]] == [form[:2] for form in unknown]
    assert [recorded.payload() for recorded in found[1:3]] == [{"x": 1}, {"y": 2}]
    assert found[3].data == b"{"
    with pytest.raises(
        StoreFormatError, match=r"^What is stored at position 4 is damaged: .* Its bytes are in \.data\.$"
    ):
        found[3].payload()


async def test_a_newer_version_says_what_this_program_has_and_what_to_do(store: EventStore) -> None:
    await store_past(store, "a", ("versioning.debited", 9, {}))

    with pytest.raises(StoreFormatError) as refusal:
        await store.get_events("a")

    assert str(refusal.value) == (
        "The store holds an event 'versioning.debited' of version 9 (position 1, revision 1 of stream 'a'), and this program "
        "cannot read it: it has version 3. A newer program wrote it: deploy that one here. What is stored can be looked at as "
        "it is, in .payload()."
    )


async def test_an_older_version_without_a_registry_says_that_one_is_needed(store_url: str) -> None:
    async with EventStore(store_url) as store:
        await store_past(store, "a", OLD)

        with pytest.raises(StoreFormatError) as refusal:
            await store.get_events("a")

    assert str(refusal.value).endswith(
        "it has version 3. Import the module that defines it, or give the EventStore versions=VersionRegistry([...]) with an "
        "upcaster from it."
    )


async def test_an_upcaster_that_raises_is_named_with_what_it_was_given(store: EventStore) -> None:
    await store_past(store, "a", ("versioning.plain", 1, {"number": 1}), ("versioning.debited", 2, {"account": "A"}))

    first, second = [recorded async for recorded in store.read("a")]
    with pytest.raises(StoreFormatError) as refusal:
        _ = second.event

    line = count_cents.where.rpartition(":")[2]
    assert first.event == Plain(number=1)
    assert str(refusal.value) == (
        "What is stored as 'versioning.debited' of version 2, position 2, revision 2 of stream 'a', cannot be upcast: "
        f"count_cents ({__file__}:{line}), from version 2 to version 3, failed with KeyError: 'amount'. What is stored was not "
        "touched: mend the upcaster, and read it again."
    )
    assert isinstance(refusal.value.__cause__, KeyError)
    assert not second.is_readable
    assert second.payload() == {"account": "A"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "failed with TypeError: it returned NoneType, not a dict."),
        ([("number", 1)], "failed with TypeError: it returned list, not a dict."),
        ({"number": object()}, "failed with PydanticSerializationError: Unable to serialize unknown type"),
        (
            {"number": "one"},
            "Number: Input should be a valid integer at number. Mend the upcaster, or the class",
        ),
        ({}, "Number: Field required at number. Mend the upcaster, or the class"),
    ],
)
async def test_what_an_upcaster_should_not_give_is_a_format_error(store_url: str, given: Any, said: str) -> None:
    class Number(Event, name="versioning.number", version=2):
        number: int

    @upcasts("versioning.number", from_version=1)
    def wrong(data: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = given
        return result

    async with EventStore(store_url, versions=VersionRegistry([wrong])) as store:
        await store_past(store, "a", ("versioning.number", 1, {}))

        with pytest.raises(StoreFormatError) as refusal:
            await store.get_events("a")

    assert said in str(refusal.value)
    assert wrong.where in str(refusal.value)
    assert "'versioning.number' of version 1" in str(refusal.value)
    assert "position 1, revision 1 of stream 'a'" in str(refusal.value)


@pytest.mark.parametrize("data", [b"[1]", b"{", b"null"])
async def test_a_payload_that_is_no_object_is_not_handed_to_an_upcaster(store: EventStore, data: bytes) -> None:
    await store_past(store, "a", ("versioning.debited", 1, data))

    with pytest.raises(StoreFormatError, match=r"^What is stored as 'versioning\.debited' of version 1, position 1"):
        await store.get_events("a")


async def test_an_upcaster_that_fails_quotes_no_secret(store_url: str) -> None:
    class Signed(Event, name="versioning.signed", version=2):
        key: SecretStr

    @upcasts("versioning.signed", from_version=1)
    def talkative(data: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"bad: {data}")

    async with EventStore(store_url, versions=VersionRegistry([talkative])) as store:
        await store_past(store, "a", ("versioning.signed", 1, {"key": "hush"}))

        with pytest.raises(StoreFormatError) as refusal:
            await store.get_events("a")

    assert Signed.event_version == 2
    assert "hush" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert "failed with ValueError." in str(refusal.value)


# --- recorded events as values ---------------------------------------------------------------------------------------


async def test_the_registry_is_no_part_of_what_a_recorded_event_is(store: EventStore) -> None:
    await store_past(store, "a", OLD)
    recorded = await _only(store)

    bare = RecordedEvent(
        **{
            name: getattr(recorded, name)
            for name in (
                "id",
                "position",
                "stream",
                "revision",
                "type",
                "schema_version",
                "data",
                "recorded_at",
                "metadata",
            )
        }
    )

    assert recorded == bare
    assert repr(recorded) == repr(bare)
    assert "versions" not in repr(recorded)
    assert len({recorded, bare}) == 1
    with pytest.raises(AttributeError):
        recorded.position = 9  # type: ignore[misc]


async def test_a_copy_reads_the_event_of_today(store: EventStore) -> None:
    await store_past(store, "a", OLD)
    recorded = await _only(store)

    for again in (copy.copy(recorded), copy.deepcopy(recorded)):
        assert again == recorded
        assert again.event == TODAY[0]


async def test_a_recorded_event_takes_the_event_of_today_along_when_it_is_pickled(store: EventStore) -> None:
    await store_past(store, "a", OLD, ("versioning.debited", 1, {}))
    readable, broken = [recorded async for recorded in store.read("a")]

    assert pickle.loads(pickle.dumps(readable)).event == TODAY[0]
    assert pickle.loads(pickle.dumps(readable)) == readable
    again = pickle.loads(pickle.dumps(broken))
    assert again.payload() == {}
    assert not again.is_readable


# --- upcasters -------------------------------------------------------------------------------------------------------


def test_a_decorated_function_is_still_one() -> None:
    assert add_currency({"amount": 1}) == {"amount": 1, "currency": "EUR"}
    assert add_currency.__name__ == "add_currency"  # type: ignore[attr-defined]
    assert str(add_currency).startswith(f"add_currency ({__file__}:")
    assert (add_currency.type, add_currency.from_version) == ("versioning.debited", 1)
    assert (add_currency.to_type, add_currency.to_version) == ("versioning.debited", 2)


def test_a_class_of_upcasters_says_only_what_differs() -> None:
    class Third(Upcaster):
        type = "versioning.debited"
        from_version = 2

        def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
            return data

    class Fourth(Third):
        from_version = 7
        to_type = "versioning.other"

    assert (Third().to_type, Third().to_version) == ("versioning.debited", 3)
    assert (Fourth().to_type, Fourth().to_version) == ("versioning.other", 8)
    assert HERE in str(Third())
    with pytest.raises(AttributeError, match="Third' object has no attribute 'speed'"):
        _ = Third().speed  # type: ignore[attr-defined]


class Old(Event, name="versioning.auto", version=1):
    account: str
    gone: int = 1


class New(Event, name="versioning.auto", version=2):
    account: str
    added: list[int] = Field(default_factory=lambda: [1])


async def test_fields_are_taken_over_by_name_and_new_ones_have_their_defaults(store_url: str) -> None:
    async with EventStore(store_url, versions=VersionRegistry([AutoUpcaster(Old, New)])) as store:
        await store.append("a", [Old(account="A", gone=7), New(account="B", added=[])])

        assert await store.get_events("a") == [New(account="A", added=[1]), New(account="B", added=[])]


async def test_what_is_filled_in_is_there_for_the_upcaster_that_follows(store_url: str) -> None:
    class Newest(Event, name="versioning.auto", version=3):
        account: str
        total: int

    @upcasts("versioning.auto", from_version=2)
    def add_up(data: dict[str, Any]) -> dict[str, Any]:
        return {"account": data["account"], "total": sum(data["added"])}

    versions = VersionRegistry([AutoUpcaster(Old, New), add_up])
    async with EventStore(store_url, versions=versions) as store:
        await store.append("a", [Old(account="A")])

        assert await store.get_events("a") == [Newest(account="A", total=1)]


async def test_secrets_go_through_an_auto_upcaster(store_url: str) -> None:
    class Signed1(Event, name="versioning.auto_signed", version=1):
        key: SecretStr

    class Signed2(Event, name="versioning.auto_signed", version=2):
        key: SecretStr
        note: SecretStr = SecretStr("none")

    async with EventStore(store_url, versions=VersionRegistry([AutoUpcaster(Signed1, Signed2)])) as store:
        await store.append("a", [Signed1(key=SecretStr("hush"))])

        assert await store.get_events("a") == [Signed2(key=SecretStr("hush"))]


def test_snapshots_are_upcast_between_their_models() -> None:
    class First(BaseModel):
        snapshot_name: ClassVar[str] = "versioning.account"
        amount: int

    class Second(BaseModel):
        snapshot_name: ClassVar[str] = "versioning.account"
        snapshot_version: ClassVar[int] = 2
        amount: int
        currency: str = "EUR"

    versions = VersionRegistry([AutoUpcaster(First, Second)])

    assert versions.upcast("versioning.account", 1, b'{"amount":5}') == (
        "versioning.account",
        2,
        b'{"amount":5,"currency":"EUR"}',
    )


# --- paths -----------------------------------------------------------------------------------------------------------


def test_paths_are_listed_by_what_is_stored() -> None:
    first, second = VERSIONS.get_migrations()

    assert first == MigrationPath("versioning.debited", 1, 3, "versioning.debited", (add_currency, count_cents))
    assert second == MigrationPath("versioning.debited", 2, 3, upcasters=(count_cents,))
    assert [str(path) for path in (first, second)] == [
        "versioning.debited 1 -> versioning.debited 2 -> versioning.debited 3",
        "versioning.debited 2 -> versioning.debited 3",
    ]
    assert VERSIONS.get_migrations_for("versioning.debited") == [first, second]
    assert VERSIONS.get_migrations_for("versioning.plain") == []
    assert (VERSIONS.upcaster_count(), VERSIONS.migration_count()) == (2, 2)
    assert [VERSIONS.has_upcaster("versioning.debited", version) for version in (1, 2, 3)] == [True, True, False]
    assert VersionRegistry().get_migrations() == []


def test_a_path_upcasts_a_payload_by_itself() -> None:
    path, _ = VERSIONS.get_migrations()

    assert path.upcast(b'{"account":"A","amount":5}') == b'{"account":"A","cents":500,"currency":"EUR"}'


def test_what_needs_no_upcaster_stays_the_very_same() -> None:
    data = b'{ "number": 1 }'

    assert VERSIONS.upcast("versioning.plain", 1, data) == ("versioning.plain", 1, data)
