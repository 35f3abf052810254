"""Lines to sagas to endings: so many at once, each told as it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic_core import to_jsonable_python

from allframe import SagaOrchestrator, SagaOutcome, SagaStatus
from allframe.cli.inputs import Line
from allframe.errors import ErrorInfo, PayloadError, SagaError, StoreError
from allframe.events.event import Event
from allframe.masking import mask
from allframe.payload import Payload

__all__ = ["Ending", "Tally", "drive"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one line ended: with an outcome, or with the reason why its saga could not be started."""

    line: Line
    outcome: SagaOutcome | None
    refusal: ErrorInfo | None = None

    @property
    def status(self) -> str:
        """The saga's status; ``"not started"`` if there is none."""
        return str(self.outcome.status) if self.outcome else "not started"

    @property
    def error(self) -> ErrorInfo | None:
        """Why it did not complete: what its step raised, where that tells it all."""
        if self.outcome is None:
            return self.refusal
        if self.outcome.error is not None and self.outcome.status is SagaStatus.COMPENSATED:
            return self.outcome.error
        try:
            self.outcome.raise_for_status()
        except SagaError as error:
            return ErrorInfo(type(error).__name__, str(error))
        return None

    def as_json(self) -> dict[str, Any]:
        """``line, id, status, outputs, error``: attribute names, and plain values."""
        outputs = self._outputs()
        error = self.error
        return {
            "line": self.line.number,
            "id": self.line.id,
            "status": str(self.outcome.status) if self.outcome else None,
            "outputs": outputs,
            "error": {"type": error.type, "message": error.message} if error else None,
        }

    def _outputs(self) -> dict[str, Any]:
        """What the steps returned, as plain values, with secrets masked."""
        outputs = self.outcome.outputs if self.outcome else {}
        steps = {step.attribute: step.output for step in type(self.line.saga).graph.steps}
        return {name: _shown(value, steps[name]) for name, value in outputs.items()}


def _shown(value: Any, payload: Payload) -> Any:
    plain = to_jsonable_python(value, bytes_mode="base64", fallback=str)
    if isinstance(value, Event):  # it is stored by its own class, and not by the annotation
        return mask(plain, Payload(type(value)).schema(by_alias=True))
    if isinstance(value, list) and value and all(isinstance(item, Event) for item in value):
        return [_shown(item, payload) for item in value]
    return mask(plain, payload.schema(by_alias=True)) if payload.hides else plain


class Tally:
    """How many ended how, and those that did not complete."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.incomplete: list[Ending] = []

    def add(self, ending: Ending) -> None:
        self.statuses[ending.status] += 1
        if ending.status != "completed":
            self.incomplete.append(ending)


async def drive(
    orchestrator: SagaOrchestrator, lines: Sequence[Line], concurrency: int, on_end: Callable[[Ending], None]
) -> None:
    """Run a saga for each line, at most ``concurrency`` at once. Sagas that exist already are waited for.

    Raises:
        StoreError: the store cannot be written: no further line was begun.
    """
    rest = iter(lines)
    failures: list[StoreError] = []
    async with anyio.create_task_group() as group:

        async def worker(lines: Iterator[Line]) -> None:
            for line in lines:
                try:
                    on_end(await _run_one(orchestrator, line))
                except StoreError as error:
                    failures.append(error)
                    group.cancel_scope.cancel()

        for _ in range(min(concurrency, len(lines))):
            group.start_soon(worker, rest)
    if failures:
        raise failures[0]


async def _run_one(orchestrator: SagaOrchestrator, line: Line) -> Ending:
    try:
        handle = await orchestrator.start(line.saga, id=line.id)
        return Ending(line, await handle.outcome())
    except StoreError:
        raise
    except (SagaError, PayloadError) as error:
        return Ending(line, None, ErrorInfo(type(error).__name__, str(error)))
