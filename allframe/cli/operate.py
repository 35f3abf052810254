"""``allframe cancel``, ``retry``, ``abandon``, ``skip`` and ``resolve``: what a person asks of a saga.

Whoever runs the store is asked; if nobody does, the record is written here, and the next one who opens it goes on.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from enum import StrEnum
from json import loads
from typing import Annotated, Any, TypeAlias

import anyio
import typer
from pydantic_core import from_json

from allframe import EventStore, SagaMetadata
from allframe.cli.codec import CodecOption, load_codec
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.options import StoreOption, needed, read_only
from allframe.cli.render import print_json, print_line, printable, warn
from allframe.cli.target import load_module, split
from allframe.events.coded import Codecs
from allframe.saga.declare import SAGAS
from allframe.saga.deliver import deliver
from allframe.saga.forecast import Receipt
from allframe.saga.monitor import Monitor
from allframe.saga.orders import Order, who
from allframe.saga.states import RUNNING, TERMINAL

__all__ = ["abandon", "cancel", "resolve", "retry", "skip"]

IdArgument: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The saga's id.")]
StepArgument: TypeAlias = Annotated[str, typer.Argument(metavar="STEP", help="The step, as allframe show names it.")]
ReasonOption: TypeAlias = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why. It is stored with the saga.", show_default=False)
]
ActorOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who asks, if not the user of this process.", show_default=False),
]
RevisionOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--expect-revision",
        metavar="N",
        min=1,
        help="Only if the saga is at this revision still, as list and show with --json say.",
        show_default=False,
    ),
]
WaitOption: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait until the saga is over, or stuck.")]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print a JSON object instead of a sentence.")]


class Found(StrEnum):
    """What was found out of a step."""

    DONE = "done"
    NOT_DONE = "not_done"


@guarded
def cancel(
    id: IdArgument,  # noqa: A002 - the name of the argument
    reason: ReasonOption,
    store: StoreOption = None,
    codec: CodecOption = None,
    actor: ActorOption = None,
    expect_revision: RevisionOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
) -> Exit:
    """Have a saga undone: what runs is cut, and what was done is rolled back."""
    order = _order(lambda: Order("cancel", reason, who(actor), expect_revision))
    return _carry_out(needed(store), load_codec(codec), id, order, wait, json)


@guarded
def retry(
    id: IdArgument,  # noqa: A002
    reason: ReasonOption,
    store: StoreOption = None,
    codec: CodecOption = None,
    actor: ActorOption = None,
    expect_revision: RevisionOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
) -> Exit:
    """Try again, with fresh attempts, what a failed or blocked saga is stuck on."""
    order = _order(lambda: Order("retry", reason, who(actor), expect_revision))
    return _carry_out(needed(store), load_codec(codec), id, order, wait, json)


@guarded
def abandon(
    id: IdArgument,  # noqa: A002
    reason: ReasonOption,
    store: StoreOption = None,
    codec: CodecOption = None,
    actor: ActorOption = None,
    expect_revision: RevisionOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> Exit:
    """Give a saga up as it stands. Nothing is undone, and nothing more happens to it."""
    order = _order(lambda: Order("abandon", reason, who(actor), expect_revision))
    url = needed(store)
    if not yes and sys.stdin.isatty():
        typer.confirm(
            f"Give up {printable(id)} as it stands? What is in effect stays so, for ever.", abort=True, err=True
        )
    return _carry_out(url, load_codec(codec), id, order, False, json)


@guarded
def skip(
    id: IdArgument,  # noqa: A002
    step: StepArgument,
    reason: ReasonOption,
    store: StoreOption = None,
    codec: CodecOption = None,
    actor: ActorOption = None,
    expect_revision: RevisionOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
) -> Exit:
    """Go on without a step: without undoing it in a failed saga, without doing it in a blocked one."""
    order = _order(lambda: Order("skip", reason, who(actor), expect_revision, step))
    return _carry_out(needed(store), load_codec(codec), id, order, wait, json)


@guarded
def resolve(
    id: IdArgument,  # noqa: A002
    step: StepArgument,
    outcome: Annotated[Found, typer.Argument(metavar="done|not_done", help="Whether it took effect.")],
    reason: ReasonOption,
    store: StoreOption = None,
    codec: CodecOption = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="JSON", help="What the step returned.", show_default=False)
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--module",
            metavar="MODULE",
            help="Where the saga's class is, which says what the step returns; for a store that nobody runs.",
            show_default=False,
        ),
    ] = None,
    actor: ActorOption = None,
    expect_revision: RevisionOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
) -> Exit:
    """Say whether a step took effect that is unknown, or what it returned if that is lost."""
    url = needed(store)
    data = None if output is None else output.encode("utf-8", "surrogateescape")
    if data is not None:
        _check_json(data)
    if module is not None:
        load_module(split(module)[0])
    order = _order(lambda: Order("resolve", reason, who(actor), expect_revision, step, outcome.value, output_json=data))
    return _carry_out(url, load_codec(codec), id, order, wait, json)


def _carry_out(url: str, codec: Codecs | None, saga_id: str, order: Order, wait: bool, json: bool) -> Exit:
    def find(name: str, version: int) -> Any:
        return SAGAS.find(name, version)

    async def work() -> tuple[Receipt, SagaMetadata | None]:
        receipt = await deliver(url, saga_id, order, find=find, codec=codec)
        _tell(receipt, json=json and not wait)
        return receipt, await _wait(url, codec, receipt) if wait else None

    receipt, ended = anyio.run(work)
    if not wait:
        return Exit.COMPLETED
    if json:
        print_json({**asdict(receipt), "ended": None if ended is None else ended.status})
    elif ended is not None:
        print_line(printable(f"{saga_id}: it is {ended.status}{_why(ended)}."))
    return Exit.COMPLETED if ended is not None and ended.status in TERMINAL else Exit.INCOMPLETE


async def _wait(url: str, codec: Codecs | None, receipt: Receipt) -> SagaMetadata | None:
    """The saga when it does not run any more; None if nobody goes on with it."""
    if receipt.pid is None and receipt.status in RUNNING:
        warn("allframe: Nobody runs the store, so there is nothing to wait for.")
        return None
    async with EventStore(read_only(url), codec=codec) as store:
        monitor = Monitor(store)
        while True:
            metadata = await monitor.get_saga(receipt.id)
            if metadata is None or metadata.status not in RUNNING:
                return metadata
            await anyio.sleep(0.1)


def _tell(receipt: Receipt, *, json: bool) -> None:
    if json:
        print_json(asdict(receipt))
    else:
        print_line(printable(receipt.text))


def _why(metadata: SagaMetadata) -> str:
    if metadata.uncompensated:
        return f", and still in effect: {', '.join(metadata.uncompensated)}"
    return f": {metadata.reason.rstrip('.')}" if metadata.reason else ""


def _order(make: Callable[[], Order]) -> Order:
    try:
        return make()
    except ValueError as error:
        raise Stop(str(error)) from error


def _check_json(data: bytes) -> None:
    try:
        from_json(data)
    except ValueError as error:
        raise Stop(f"--output is no JSON: {error}. A text needs its quotes: --output '\"A-17\"'.") from error
    loads(data, parse_float=_check_number)


def _check_number(text: str) -> None:
    """A JSON number with a fraction is read as a float, also where the step returns a ``Decimal``."""
    number = float(text)
    if math.isfinite(number) and Decimal(repr(number)) != Decimal(text):
        raise Stop(f'--output has the number {text}, which would be read as {number!r}. Write it as a text: "{text}".')
