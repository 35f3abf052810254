"""Mutants run: whether the world is left as the oracle's play of all outcomes says."""

from __future__ import annotations

from typing import Any

from allframe import EffectUnknown, SagaOrchestrator, SagaStatus, StepContext
from allframe.testing import VirtualClock
from tests.forty import Far
from tests.mutants.modules import instance_of, load
from tests.mutants.operators import Mutant

__all__ = ["endings", "made_of"]


class _Lossy(Far):
    """A far side that does what it is asked, and whose answer may be lost on the way."""

    lost: str | None = None

    def do_now(self, what: str, ctx: StepContext) -> str:
        answer = super().do_now(what, ctx)
        if what == self.lost:
            raise EffectUnknown(f"the answer to {what} was lost")
        return answer


def made_of(mutant: Mutant) -> Any | None:
    """The saga that its file makes of it; None where its input no longer fits."""
    try:
        module = load(mutant.unit, mutant.text)
        return instance_of(module, mutant.unit.instances[0])
    except Exception:
        return None


async def endings(saga: Any, clock: VirtualClock) -> list[tuple[str, SagaStatus, dict[str, str]]]:
    """How it ends when each thing that it does is refused, or its answer is lost, in turn; nothing where it does not even
    complete undisturbed.

    Each with what was done to it and what stands at the far side then.
    """
    status, _, calls = await _run(saga, clock, _Lossy())
    ends: list[tuple[str, SagaStatus, dict[str, str]]] = []
    for what in dict.fromkeys(call.removeprefix("do ") for call in calls) if status is SagaStatus.COMPLETED else ():
        refusing, losing = _Lossy(), _Lossy()
        refusing.refuse(what)
        losing.lost = what
        for how, far in (("refused", refusing), ("lost", losing)):
            status, standing, _ = await _run(saga, clock, far)
            ends.append((f"{what} {how}", status, standing))
    return ends


async def _run(saga: Any, clock: VirtualClock, far: Far) -> tuple[SagaStatus, dict[str, str], list[str]]:
    async with SagaOrchestrator(provide={Far: far}, clock=clock) as orchestrator:
        outcome = await (await orchestrator.start(saga)).outcome()
    return outcome.status, far.standing, far.calls
