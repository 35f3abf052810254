"""A `Script` played for real: its saga declared, run on a store under a clock that jumps, and what was seen of it.

Steps are told by the script what to do. Sync ones wait on their thread for a gate that the clock opens, so that they take
their time like the others.
"""

from __future__ import annotations

import inspect
import itertools
import threading
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import anyio
import anyio.abc

from allframe import (
    EffectUnknown,
    EventStore,
    Inject,
    OperationRefused,
    Refused,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    compensates,
    step,
)
from allframe.loops import running_loop, soon
from allframe.saga.monitor import Monitor
from allframe.saga.records import Record
from allframe.saga.threads import Job, Threads
from tests.saga.model.clocks import hold_clock, in_virtual_time, let_clock_go, wall_clock
from tests.saga.model.plain import PAUSE, Act, Plot, Script, Step, Stop, Undo
from tests.saga.world import assert_invariants, tell

__all__ = ["Played", "declare", "play", "run"]

#: No script takes so many seconds: a saga that does hangs.
HORIZON: Final = 1e6
SAGA_ID: Final = "s-1"


@dataclass
class Played:
    """What was seen."""

    #: The records, in words; after each, what it announces.
    told: list[str]
    records: list[Record]
    status: str
    #: For each part, when its attempts began and which ones they were.
    calls: dict[str, list[tuple[float, int]]]
    replies: list[str]
    #: The steps whose effect stands.
    standing: set[str]
    #: What must not have been, in words.
    problems: list[str]


# --- the saga ------------------------------------------------------------------------------------------------------


def declare(plot: Plot) -> Any:
    """The saga class of a plot."""

    def fill(body: dict[str, Any]) -> None:
        body["__module__"] = __name__
        for name, told in plot.steps.items():
            options: dict[str, Any] = {"timeout": told.timeout, "after": told.after, "readonly": told.readonly}
            options |= {"pivot": told.pivot and not told.implied, "repeatable": told.repeatable}
            options |= {"idempotent": told.idempotent, "retry": _retry(told, plot.retried(name))}
            body[name] = step(**options)(_acting(told))
            if told.undo is not None:
                undo = told.undo
                retry = Retry(attempts=undo.attempts, wait=undo.wait, factor=1, jitter=0)
                if_unknown = "fail" if undo.if_unknown_fail else "call"
                mark = compensates(name, timeout=undo.timeout, retry=retry, if_unknown=if_unknown)  # type: ignore[arg-type]
                body[f"undo_{name}"] = mark(_undoing(undo))

    cls = types.new_class("Modelled", (Saga,), {"name": "modelled", "timeout": plot.timeout}, fill)
    pivot = cls.graph.plan.pivot  # type: ignore[attr-defined]
    assert (None if pivot is None else [*plot.steps][pivot]) == plot.pivot, "the plot does not name the pivot"
    return cls


def _retry(told: Step, retried: bool) -> Retry | None:
    on = {"fail": ValueError, "silent": EffectUnknown, "deadline": TimeoutError}
    kinds: Any = (Exception,) if len(told.admits) == len(on) else tuple(on[kind] for kind in told.admits)
    return Retry(attempts=told.attempts, wait=told.wait, factor=1, jitter=0, on=kinds) if retried else None


def _acting(told: Step) -> Any:
    async def act(self: Any, stage: Inject[Stage], ctx: StepContext, **given: str) -> str:
        return await stage.act(ctx.step, ctx, given)

    def act_on_thread(self: Any, stage: Inject[Stage], ctx: StepContext, **given: str) -> str:
        return stage.act_on_thread(ctx.step, ctx, given)

    function = act_on_thread if told.sync else act
    taken: dict[str, Any] = {told.takes: str} if told.takes else {}
    parameters = {"self": inspect.Parameter.empty, "stage": Inject[Stage], "ctx": StepContext, **taken}
    shown = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=hint)
        for name, hint in parameters.items()
    ]
    function.__signature__ = inspect.Signature(shown, return_annotation=str)  # type: ignore[attr-defined]
    function.__annotations__ = {"stage": Inject[Stage], "ctx": StepContext, **taken, "return": str}
    return function


def _undoing(told: Undo) -> Any:
    async def undo(self: Any, stage: Inject[Stage], ctx: StepContext) -> None:
        await stage.act(f"undo {ctx.step}", ctx, {})

    def undo_on_thread(self: Any, stage: Inject[Stage], ctx: StepContext) -> None:
        stage.act_on_thread(f"undo {ctx.step}", ctx, {})

    return undo_on_thread if told.sync else undo


class Busy(Saga, name="model.busy"):
    """What keeps another from its turn."""

    seconds: float

    @step(timeout=None, readonly=True)
    async def work(self) -> None:
        await anyio.sleep(self.seconds)


# --- where it plays --------------------------------------------------------------------------------------------------


class Stage:
    """Does what the script says, and takes down what was done."""

    def __init__(self, plot: Plot, script: Script, tasks: anyio.abc.TaskGroup) -> None:
        self.plot, self.script = plot, script
        self.began = anyio.current_time()
        self.calls: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self.standing: set[str] = set()
        self.problems: list[str] = []
        self.threads = 0
        self._tasks, self._loop = tasks, running_loop()
        self._live: Counter[str] = Counter()
        self._ends = anyio.Event()
        self._keys: defaultdict[str, set[str]] = defaultdict(set)

    def end(self) -> None:
        """The process is gone, and with it all that runs in it."""
        self._ends.set()
        self._ends = anyio.Event()
        self._live.clear()

    async def act(self, part: str, ctx: StepContext, given: dict[str, str]) -> str:
        act, ends = self._begin(part, ctx, given), self._ends
        try:
            if act.stubborn:
                with anyio.CancelScope(shield=True), anyio.move_on_after(act.lasts):
                    await ends.wait()
            else:
                await anyio.sleep(act.lasts)
        finally:
            self._live[part] -= not ends.is_set()
        return self._finish(part, act, gone=ends.is_set())

    def act_on_thread(self, part: str, ctx: StepContext, given: dict[str, str]) -> str:
        gate, told = threading.Event(), list[Act]()
        ends = self._ends
        soon(self._loop, self._begin_on_thread, part, ctx, given, gate, told)
        if not gate.wait(30):
            self.problems.append(f"{part}: nobody opened the gate")
        return self._finish(part, told[0], gone=ends.is_set())

    def _begin_on_thread(self, part: str, ctx: StepContext, given: dict[str, str], gate: Any, told: list[Act]) -> None:
        told.append(self._begin(part, ctx, given))
        self._tasks.start_soon(self._open, part, told[0], gate)

    async def _open(self, part: str, act: Act, gate: threading.Event) -> None:
        ends = self._ends
        let_clock_go()  # held since the thread was asked for
        with anyio.move_on_after(act.lasts):
            await ends.wait()
        hold_clock()
        self._live[part] -= not ends.is_set()
        gate.set()

    def _begin(self, part: str, ctx: StepContext, given: dict[str, str]) -> Act:
        acts, count = self.script.acts.get(part, ()), len(self.calls[part])
        act = acts[count] if count < len(acts) else Act()
        self.calls[part].append((anyio.current_time() - self.began, ctx.attempt))
        self._keys[part].add(ctx.idempotency_key)
        if self._live[part]:
            self._complain(f"{part} begins while another attempt of it is alive")
        if part.startswith("undo") and any(count for other, count in self._live.items() if "undo" not in other):
            self._complain(f"{part} begins while a step is alive")
        if any(value != f"{name} done" for name, value in given.items()):
            self._complain(f"{part} is given {given}")
        if len(self._keys[part]) > 1 or len(set().union(*self._keys.values())) < len(self._keys):
            self._complain(f"the keys are {dict(self._keys)}")
        self._live[part] += 1
        if act.early and act.how not in ("fail", "refuse"):
            self._take_effect(part)
        return act

    def _complain(self, text: str) -> None:
        self.problems.append(text)

    def _finish(self, part: str, act: Act, *, gone: bool) -> Any:
        """Return or raise, as the act says. What is ``gone`` did nothing any more."""
        if gone:
            return "gone"
        if act.how in ("fail", "refuse") and part in self.plot.steps and self.plot.steps[part].idempotent:
            self.standing.discard(part)  # the far side speaks of all attempts
        if act.how in ("ok", "lost"):
            self._take_effect(part)
        match act.how:
            case "ok":
                return f"{part} done"
            case "lost":
                return object()
            case "fail":
                raise ValueError("no")
            case "refuse":
                raise Refused("never")
            case "silent":
                raise EffectUnknown("perhaps")
            case _:
                raise SystemExit(3)

    def _take_effect(self, part: str) -> None:
        if part.startswith("undo "):
            self.standing.discard(part.removeprefix("undo "))
        else:
            self.standing.add(part)


# --- the clock -------------------------------------------------------------------------------------------------------


@contextmanager
def _threads_take_their_time(stage: Stage) -> Iterator[None]:
    """The clock stands still while a thread does anything but wait for its gate."""
    start, tell = Threads.start, Job.tell

    def held(self: Threads, call: Callable[[], Any]) -> Job:
        hold_clock()
        stage.threads += 1
        return start(self, call)

    def ended() -> None:
        stage.threads -= 1
        let_clock_go()

    def then_let_go(self: Job) -> None:
        loop = self._loop
        tell(self)
        soon(loop, ended)

    with mock.patch.object(Threads, "start", held), mock.patch.object(Job, "tell", then_let_go):
        yield


# --- playing ---------------------------------------------------------------------------------------------------------


def run(plot: Plot, script: Script, backend: str, url: str) -> Played:
    """Play it on ``"asyncio"`` or ``"trio"``, on a fresh store at ``url``."""
    return in_virtual_time(backend, play, plot, script, url)


async def play(plot: Plot, script: Script, url: str) -> Played:
    """Play it in a loop whose clock jumps."""
    async with anyio.create_task_group() as tasks:
        stage = Stage(plot, script, tasks)
        with _threads_take_their_time(stage):
            played = await _Play(declare(plot), stage, tasks, url).through()
        tasks.cancel_scope.cancel()
    return played


class _Play:
    def __init__(self, cls: Any, stage: Stage, tasks: anyio.abc.TaskGroup, url: str) -> None:
        self.cls, self.stage, self.script, self.tasks, self.url = cls, stage, stage.script, tasks, url
        self.clock = wall_clock()
        self.store = EventStore(url)
        self.replies: list[str] = []
        self.verbs = list(self.script.verbs)

    async def through(self) -> Played:
        await self.store.open()
        try:
            for stop in [*sorted(self.script.stops, key=lambda stop: stop.at), None]:
                if stop is not None and self._at(stop.at) <= anyio.current_time():
                    continue  # it is closed at that time
                if await self._opening(stop):
                    break
            await assert_invariants(self.store)
            return await self._seen()
        finally:
            await self.store.close()

    def _at(self, time: float) -> float:
        return self.stage.began + time

    async def _opening(self, stop: Stop | None) -> bool:
        """Live until ``stop``; returns whether all is over."""
        orchestrator = SagaOrchestrator(
            self.store,
            sagas=[self.cls, Busy],
            provide={Stage: self.stage},
            clock=self.clock,
            grace=stop.grace if stop else 0,
            max_running=1 if self.script.queue else 1000,
        )
        over, commit = False, self.store.backend.commit
        async with orchestrator:
            with anyio.CancelScope(deadline=self._at(stop.at if stop else HORIZON)):
                await self._live(orchestrator)
                over = True
            if stop is None and not over:
                self.stage.problems.append("it hangs")
                over = True
            if over or stop is None or not stop.grace:
                self.store.backend.commit = _never  # type: ignore[method-assign]
                self.stage.end()
            else:
                self.tasks.start_soon(self._end_after, stop.grace)
        while self.stage.threads:
            await anyio.lowlevel.checkpoint()
        self.store.backend.commit = commit  # type: ignore[method-assign]
        if stop is not None and not over:
            await anyio.sleep_until(self._at(stop.at + stop.grace + stop.gap))
            await self._reopen()
        return over

    async def _end_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self.stage.end()

    async def _reopen(self) -> None:
        if self.store.backend.durable:
            await self.store.close()
            self.store = EventStore(self.url)
            await self.store.open()

    async def _live(self, orchestrator: SagaOrchestrator) -> None:
        if self.script.queue and anyio.current_time() < self._at(self.script.queue):
            await orchestrator.start(Busy(seconds=self.script.queue), id="busy")
        handle = await orchestrator.start(self.cls(), id=SAGA_ID)
        async with anyio.create_task_group() as others:
            for moment in self.script.cancels:
                others.start_soon(self._cancel, self._at(moment), orchestrator)
            while (await handle.outcome()).status in (SagaStatus.FAILED, SagaStatus.BLOCKED) and self.verbs:
                await anyio.sleep(PAUSE)
                await self._ask(self.verbs.pop(0), orchestrator)
            others.cancel_scope.cancel()

    async def _cancel(self, moment: float, orchestrator: SagaOrchestrator) -> None:
        if anyio.current_time() > moment:
            return  # it was closed at that time
        await anyio.sleep_until(moment)
        place = len(self.replies)
        try:
            await orchestrator.cancel(SAGA_ID, reason="enough")
            self.replies.insert(place, "cancelled")
        except OperationRefused:
            self.replies.insert(place, "cancel refused")

    async def _ask(self, verb: str, orchestrator: SagaOrchestrator) -> None:
        try:
            await {"retry": orchestrator.retry_failed}[verb](SAGA_ID, reason="again")
            self.replies.append(verb)
        except OperationRefused:
            self.replies.append(f"{verb} refused")

    async def _seen(self) -> Played:
        timeline = await Monitor(self.store).timeline(SAGA_ID)
        stored = await Monitor(self.store).read(SAGA_ID)
        assert stored is not None
        records = [entry.record for entry in timeline]
        told = [*itertools.chain.from_iterable(_words(record) for record in records)]
        return Played(
            [word for word in told if "still running" not in word],
            records,
            stored.execution.status.value,
            dict(self.stage.calls),
            self.replies,
            self.stage.standing,
            self.stage.problems,
        )


def _words(record: Record) -> Iterator[str]:
    yield tell(record)
    if starts := getattr(record, "starts", ()):
        yield f"-> {' '.join(sorted(starts))}"
    if undone := getattr(record, "compensates", None):
        yield f"<- {undone}"


async def _never(*_: object) -> None:
    await anyio.sleep_forever()
