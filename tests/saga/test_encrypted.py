"""Sagas in a store whose payloads are encoded: they run, crash, are recovered and looked at as in any other."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from allframe import (
    Event,
    EventStore,
    Inject,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StoreFormatError,
    Unknown,
    compensates,
    step,
)
from allframe.events import EncryptionCodec, ZlibCodec
from allframe.events.coded import Codecs
from allframe.saga.deliver import deliver
from allframe.saga.monitor import Monitor
from allframe.saga.orders import Order
from allframe.testing import VirtualClock

pytestmark = pytest.mark.anyio

KEY, OTHER = b"k" * 32, b"o" * 32
CODEC: Codecs = [ZlibCodec(), EncryptionCodec(KEY)]

INPUT, OUTPUT, EVENT, ERROR, REASON = (f"plain-{what}-9e1f" for what in ("input", "output", "event", "error", "reason"))
PLAIN = [text.encode() for text in (INPUT, OUTPUT, EVENT, ERROR, REASON)]


class Charged(Event, name="encrypted.charged"):
    token: str


class Gate:
    """Where a step waits, and what was done."""

    def __init__(self, *, opened: bool) -> None:
        self.reached, self.opened = anyio.Event(), opened
        self.undone: list[object] = []


class Pay(Saga, name="encrypted.pay"):
    card: str

    @step
    async def charge(self, ctx: StepContext) -> Charged:
        ctx.emit(Charged(token=EVENT), stream="charges")
        return Charged(token=EVENT)

    @compensates("charge")
    async def refund(self, charge: Charged | Unknown, gate: Inject[Gate]) -> None:
        gate.undone.append(charge)

    @step(retry=Retry(attempts=2, wait=0))
    async def book(self, ctx: StepContext) -> str:
        if ctx.attempt == 1:
            raise ValueError(ERROR)
        return OUTPUT

    @compensates("book")
    async def unbook(self, book: str | Unknown, gate: Inject[Gate]) -> None:
        gate.undone.append(book)

    @step(timeout=None)
    async def ship(self, book: str, gate: Inject[Gate]) -> None:
        gate.reached.set()
        if not gate.opened:
            await anyio.sleep_forever()
        raise ValueError(ERROR)

    @compensates("ship")
    async def recall(self) -> None: ...


def everything_in(folder: Path) -> bytes:
    """Every byte of every file: the database, its log, and what lies beside them."""
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def plain_in(folder: Path) -> list[bytes]:
    found = everything_in(folder)
    return [text for text in PLAIN if text in found]


async def crash(folder: Path, clock: VirtualClock, codec: Codecs | None) -> str:
    """The URL of what is left of a store whose owner died while ``pay-1`` shipped."""
    (folder / "owned").mkdir()
    gate = Gate(opened=False)
    async with EventStore(f"sqlite:///{folder}/owned/store.db", codec=codec) as store:
        async with SagaOrchestrator(store, provide={Gate: gate}, clock=clock, grace=0) as orchestrator:
            await orchestrator.start(Pay(card=INPUT), id="pay-1")
            await gate.reached.wait()
            assert "store.db-wal" in {file.name for file in (folder / "owned").iterdir()}
            (folder / "left").mkdir()
            for name in ("store.db", "store.db-wal"):
                (folder / "left" / name).write_bytes((folder / "owned" / name).read_bytes())
    return f"sqlite:///{folder}/left/store.db"


async def test_a_saga_goes_on_after_a_crash_and_nothing_of_it_can_be_read_in_the_file(
    tmp_path: Path, clock: VirtualClock
) -> None:
    url = await crash(tmp_path, clock, CODEC)
    assert plain_in(tmp_path) == []

    gate = Gate(opened=True)
    async with EventStore(url, codec=CODEC) as store:
        async with SagaOrchestrator(store, provide={Gate: gate}, clock=clock) as orchestrator:
            outcome = await (await orchestrator.start(Pay(card=INPUT), id="pay-1")).outcome()
            assert plain_in(tmp_path) == []  # also in the log
        values = await Monitor(store).values("pay-1")
        charged = await store.get_events("charges")

    assert outcome.status is SagaStatus.COMPENSATED
    assert outcome.error is not None
    assert ERROR in outcome.error.message
    assert gate.undone == [OUTPUT, Charged(token=EVENT)]
    assert charged == [Charged(token=EVENT)]
    assert values["input"] == {"card": INPUT}
    assert values["outputs"]["book"] == OUTPUT
    assert plain_in(tmp_path) == []


async def test_the_same_texts_are_found_where_nothing_is_encrypted(tmp_path: Path, clock: VirtualClock) -> None:
    """So that finding none of them says something."""
    await crash(tmp_path, clock, None)

    assert plain_in(tmp_path) == PLAIN[:-1]


async def test_an_order_of_another_process_is_written_by_the_codec(tmp_path: Path, clock: VirtualClock) -> None:
    url = await crash(tmp_path, clock, CODEC)

    with pytest.raises(StoreFormatError, match="opened without a codec"):
        await deliver(url, "pay-1", Order("cancel", REASON, "ada"))
    receipt = await deliver(url, "pay-1", Order("cancel", REASON, "ada"), codec=CODEC)

    assert receipt.recorded
    assert plain_in(tmp_path) == []
    async with EventStore(f"{url}?mode=ro", codec=CODEC) as store:
        metadata = await Monitor(store).get_saga("pay-1")
    assert metadata is not None
    assert metadata.reason == REASON


async def test_who_owns_the_file_is_asked_through_its_socket(tmp_path: Path, clock: VirtualClock) -> None:
    gate = Gate(opened=False)
    url = f"sqlite:///{tmp_path}/store.db"
    async with EventStore(url, codec=CODEC) as store:
        async with SagaOrchestrator(store, provide={Gate: gate}, clock=clock, grace=0) as orchestrator:
            handle = await orchestrator.start(Pay(card=INPUT), id="pay-1")
            await gate.reached.wait()
            receipt = await deliver(url, "pay-1", Order("cancel", REASON, "ada"), codec=CODEC)
            assert (await handle.outcome()).status is SagaStatus.COMPENSATED

    assert receipt.pid is not None
    assert plain_in(tmp_path) == []


@pytest.mark.parametrize("codec", [None, EncryptionCodec(OTHER)], ids=["no codec", "another key"])
async def test_an_orchestrator_that_cannot_read_the_store_does_not_touch_it(
    tmp_path: Path, clock: VirtualClock, codec: Codecs | None
) -> None:
    url = await crash(tmp_path, clock, CODEC)
    before = await _rows(url)

    with pytest.raises(StoreFormatError, match=r"The event at position \d+ \('\$saga"):
        async with EventStore(url, codec=codec) as store, SagaOrchestrator(store, provide={Gate: Gate(opened=True)}):
            raise AssertionError("it was entered")

    assert await _rows(url) == before


async def _rows(url: str) -> int:
    async with EventStore(f"{url}?mode=ro", codec=CODEC) as store:
        return await store.backend.last_position()


async def test_watchers_see_records_as_they_are(tmp_path: Path, clock: VirtualClock) -> None:
    seen: list[str] = []
    async with EventStore(codec=CODEC) as store:
        async with SagaOrchestrator(
            store,
            provide={Gate: Gate(opened=True)},
            clock=clock,
            on_record=[lambda record: seen.append(record.data.decode())],
        ) as orchestrator:
            watching = orchestrator.watch(after=0)
            await (await orchestrator.start(Pay(card=INPUT), id="pay-1")).outcome()
        watched = [record.data.decode() async for record in watching]

    assert watched == seen
    assert INPUT in seen[0]
