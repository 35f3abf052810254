"""Lines are driven side by side, by no more tasks than there are lines."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from allframe import Saga, SagaOrchestrator, step
from allframe.cli.drive import Ending, drive
from allframe.cli.inputs import Line

pytestmark = pytest.mark.anyio


class Look(Saga, name="test_drive.look"):
    @step(readonly=True)
    async def look(self) -> None: ...


class Lines(list[Line]):
    """Lines that note how many tasks there are when the first of them is taken."""

    tasks = 0

    def __iter__(self) -> Iterator[Line]:
        self.tasks = len(anyio.get_running_tasks())
        yield from super().__iter__()


async def test_a_concurrency_beyond_the_lines_costs_nothing() -> None:
    ended: list[Ending] = []
    lines = Lines(Line(number, f"l-{number}", Look()) for number in (1, 2, 3))

    async with SagaOrchestrator() as orchestrator:
        await drive(orchestrator, lines, 1000, ended.append)

    assert sorted(ending.line.number for ending in ended) == [1, 2, 3]
    assert 0 < lines.tasks < 50
