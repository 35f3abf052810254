"""``allframe watch``: each record as it is written, beside whoever runs the sagas."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict
from typing import Annotated, Any

import anyio
import typer

from allframe import EventStore, SagaRecord, SagaStatus
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.options import StoreOption, needed, read_only
from allframe.cli.render import moment, print_json, print_line
from allframe.saga.logs import line_of
from allframe.saga.monitor import Monitor
from allframe.saga.states import RUNNING
from allframe.saga.timeline import Entry, Teller

__all__ = ["watch"]

#: Seconds between two looks at the store.
INTERVAL = 0.2
#: Sagas of which it is remembered when their attempts began.
_KEPT = 10_000


@guarded
def watch(
    id: Annotated[  # noqa: A002 - the name of the argument
        str | None, typer.Argument(metavar="[ID]", help="Only this saga. It need not exist yet.", show_default=False)
    ] = None,
    store: StoreOption = None,
    codec: CodecOption = None,
    after: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Begin after this position, 0 for everything; not now.", show_default=False
        ),
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when the saga ID is over: 0 if it completed, 1 if not.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> Exit:
    """Print each record of the sagas of a store as it is written, until Ctrl-C. It only reads."""
    if until_done and id is None:
        raise Stop("--until-done waits for one saga: name its ID.")
    opened = EventStore(read_only(needed(store)), codec=load_codec(codec))
    return anyio.run(_watch, opened, id, after, until_done, json)


async def _watch(opened: EventStore, saga_id: str | None, after: int | None, until_done: bool, json: bool) -> Exit:
    printer = _Printer(json)
    async with opened as store:
        monitor = Monitor(store)
        # The position first: what is written while the saga is looked up is not missed.
        start = await store.backend.last_position() if after is None else after
        if saga_id is not None and until_done and await _rest(monitor, saga_id, start) == 0:
            status = await _status(monitor, saga_id)
            if status is not None and status not in RUNNING:
                return _exit(status)
        async for record in monitor.watch(saga_id, after=start, interval=INTERVAL):
            printer.print(record)
            if saga_id is not None and until_done:
                status = await _status(monitor, saga_id)
                if status is not None and status not in RUNNING and not await _rest(monitor, saga_id, record.position):
                    return _exit(status)
    raise AssertionError("a watch of another process has no end")


async def _rest(monitor: Monitor, saga_id: str, position: int) -> int:
    """How many records of the saga stand after a position."""
    if await monitor.get_saga(saga_id) is None:
        return 0
    return sum(entry.position > position for entry in await monitor.timeline(saga_id))


async def _status(monitor: Monitor, saga_id: str) -> SagaStatus | None:
    metadata = await monitor.get_saga(saga_id)
    return None if metadata is None else metadata.status


def _exit(status: SagaStatus) -> Exit:
    return Exit.COMPLETED if status is SagaStatus.COMPLETED else Exit.INCOMPLETE


class _Printer:
    def __init__(self, json: bool) -> None:
        self._json = json
        self._tellers: OrderedDict[str, Teller] = OrderedDict()

    def print(self, record: SagaRecord) -> None:
        entry = self._teller(record.saga_id).tell(record.recorded_at, record.record)
        if self._json:
            print_json(_as_json(record, entry))
        else:
            print_line(f"{moment(record.recorded_at)}  {record.position}  {line_of(record, entry)}")

    def _teller(self, saga_id: str) -> Teller:
        teller = self._tellers.setdefault(saga_id, Teller())
        self._tellers.move_to_end(saga_id)
        if len(self._tellers) > _KEPT:
            self._tellers.popitem(last=False)
        return teller


def _as_json(record: SagaRecord, entry: Entry) -> dict[str, Any]:
    place = {"position": record.position, "revision": record.revision, "id": record.saga_id, "saga": record.saga}
    return {**place, "kind": record.kind, **asdict(entry)}
