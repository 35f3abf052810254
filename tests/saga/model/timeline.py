"""When things happen in a `Script`: attempts that begin, last and end, and whoever cancels, leaves, opens again and asks.

It knows nothing of sagas: what follows from an event is what the `Reference`, which is one, says.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from tests.saga.model.plain import PAUSE, Act, Plot, Script, Stop

__all__ = ["Ambiguous", "Timeline"]

#: Closer together than so many seconds is at once.
MOMENT: Final = 0.002

Event: TypeAlias = tuple[float, Callable[[Any], None], Any]


class Ambiguous(Exception):
    """Two things happen at one moment, and nothing says which comes first."""


class Timeline(ABC):
    """The events of a script, one after the other.

    Where attempts end at one moment, either may come first: ``seen``, what was really recorded, says which. Any other
    coincidence is `Ambiguous`.
    """

    def __init__(self, plot: Plot, script: Script, seen: Sequence[str] = ()) -> None:
        self.plot, self.steps, self.script, self.seen = plot, plot.steps, script, seen
        self.now, self.status = 0.0, "not_started"
        #: What is recorded, in words.
        self.told: list[str] = []
        #: For each part, when its attempts begin and which ones they are.
        self.calls: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        #: What those are answered who ask something.
        self.replies: list[str] = []
        #: Announced attempts that wait until they are due; and that run: since when, and what they do.
        self.waiting: dict[str, float] = {}
        self.open: dict[str, tuple[float, Act]] = {}
        self.undoing = ""
        self.cut: set[str] = set()
        #: When compensations are due that are to be tried again.
        self.undo_again: dict[str, float] = {}
        self.leaving = self.closed = self._stale = False
        self._numbers: Counter[str] = Counter()
        self._verbs = list(script.verbs)
        self._events: list[Event] = [(stop.at, self._stop, stop) for stop in script.stops]
        self._events += [(moment, self._cancel, None) for moment in script.cancels]
        self._events += [(script.queue, self._admit, None)] if script.queue else []
        self._events += [(plot.timeout, self._expire, None)] if plot.timeout else []

    # --- what a saga makes of it -------------------------------------------------------------------------------------

    @abstractmethod
    def go_on(self) -> None:
        """Begin what may begin, or say that it is over."""

    @abstractmethod
    def ended(self, k: str, how: str, doubt: str) -> None:
        """An attempt ended: ``how``, if it spoke; and ``"deadline"`` or ``"cancelled"``, if it was to end before."""

    @abstractmethod
    def ended_undoing(self, k: str, how: str, doubt: str) -> None: ...

    @abstractmethod
    def not_begun(self, k: str, at: float) -> None:
        """An attempt that was announced, and due ``at``, will not begin."""

    @abstractmethod
    def turn_back(self, word: str) -> bool: ...

    @abstractmethod
    def recovered(self, broken: dict[str, float], out_of_time: bool) -> None: ...

    @abstractmethod
    def asked(self, verb: str) -> bool: ...

    # --- what it asks for --------------------------------------------------------------------------------------------

    def begin(self, k: str, at: float) -> None:
        """Begin an attempt of a step, not before ``at``."""
        self._numbers[k] += 1
        self._wait(at, self._begin, k)

    def begin_undoing(self, k: str, at: float) -> None:
        self._numbers[f"undo {k}"] += 1
        self.undoing = k
        self._wait(at, self._begin_undoing, k)

    def stop_waiting(self) -> None:
        """Nobody waits any more to try a step again."""
        for k in [who for _, what, who in self._events if what == self._begin]:
            self._drop(self._begin, of=[k])
            self._add(self.now, self._not_begun, k)

    def cut_short(self, steps: Iterable[str]) -> None:
        """Cut these, as far as they run and let themselves be cut."""
        for k in self.open.keys() & set(steps):
            self.cut.add(k)
            if not self.open[k][1].stubborn and not self.steps[k].sync:
                self._drop(self._end, of=[k])
                self._add(self.now, self._end, k)

    def rest(self, word: str) -> None:
        """It is over, or waits for a person."""
        self.told.append(word)
        self.status = word.split()[0]
        if self.resting and not self.leaving:
            self._add(self.now + PAUSE, self._ask)

    # --- one after the other -----------------------------------------------------------------------------------------

    @property
    def resting(self) -> bool:
        return self.status in ("failed", "blocked")

    def run(self) -> None:
        """Go on until it is over, or rests and nobody asks for anything.

        Raises:
            Ambiguous: if the script does not say what comes first.
        """
        self.told.append("queued" if self.script.queue else "started")
        if not self.script.queue:
            self.go_on()
        while self.status not in ("completed", "compensated") and (self._verbs or not self.resting):
            when, what, who = self._next()
            self.now = max(self.now, when)
            what(who)

    def _next(self) -> Event:
        soonest = min(when for when, _, _ in self._events)
        tied = [event for event in self._events if event[0] < soonest + MOMENT]
        if len(tied) > 1 and any(what not in (self._end, self._not_begun) for _, what, _ in tied):
            raise Ambiguous(f"{[(what.__name__, who) for _, what, who in tied]} at {soonest:g}")
        event: Event = self.first_seen(tied, lambda event: (f"{event[2]} ",))
        self._events.remove(event)
        return event

    def first_seen(self, found: Sequence[Any], words: Callable[[Any], tuple[str, ...]]) -> Any:
        """The one of which the records that are to come tell first, by lines that begin with one of its words."""
        coming = list(enumerate(self.seen[len(self.told) :] if len(found) > 1 else ()))
        return min(found, key=lambda one: next((i for i, line in coming if line.startswith(words(one))), math.inf))

    def _add(self, when: float, what: Callable[[Any], None], who: Any = None) -> None:
        self._events.append((when, what, who))

    def _drop(self, *whats: Callable[[Any], None], of: Iterable[Any]) -> None:
        of = list(of)
        self._events = [event for event in self._events if not (event[1] in whats and event[2] in of)]

    # --- attempts ----------------------------------------------------------------------------------------------------

    def _wait(self, at: float, then: Callable[[str], None], k: str) -> None:
        self.waiting[k] = at
        if at > self.now:
            self._add(at, then, k)
        else:
            then(k)

    def _begin(self, k: str) -> None:
        self._call(k, k, self.steps[k].timeout, self.steps[k].sync, self._end)

    def _begin_undoing(self, k: str) -> None:
        undo = self.steps[k].undo
        assert undo is not None
        self._call(f"undo {k}", k, undo.timeout, undo.sync, self._end_undoing)

    def _call(self, part: str, k: str, timeout: float | None, sync: bool, end: Callable[[str], None]) -> None:
        acts, count = self.script.acts.get(part, ()), len(self.calls[part])
        act = acts[count] if count < len(acts) else Act()
        over, deadline = self.now + act.lasts, self.now + (timeout or math.inf)
        if abs(over - deadline) < MOMENT:
            raise Ambiguous(f"{part} ends at its deadline")
        self.calls[part].append((self.now, self._numbers[part]))
        del self.waiting[k]
        self.open[k] = (self.now, act)
        self._add(over if act.stubborn or sync else min(over, deadline), end, k)

    def _end(self, k: str) -> None:
        self.ended(k, *self._heard(k, self.steps[k].timeout))

    def _end_undoing(self, k: str) -> None:
        undo = self.steps[k].undo
        assert undo is not None
        self.undoing = ""
        self.ended_undoing(k, *self._heard(k, undo.timeout))

    def _heard(self, k: str, timeout: float | None) -> tuple[str, str]:
        (began, act), cut = self.open.pop(k), k in self.cut
        self.cut.discard(k)
        spoke = self.now > began + act.lasts - MOMENT
        late = self.now > began + (timeout or math.inf) - MOMENT
        return act.how if spoke else "", "deadline" if late else "cancelled" if cut else ""

    def _not_begun(self, k: str) -> None:
        self._numbers[k] -= 1
        self.not_begun(k, self.waiting.pop(k))

    # --- others ------------------------------------------------------------------------------------------------------

    def _admit(self, _: None) -> None:
        if self.status == "not_started":
            self.told.append("admitted")
            self.go_on()

    def _cancel(self, _: None) -> None:
        if not self.closed and not self.leaving:
            self._take_over()
            self.replies.append("cancelled" if self.turn_back("cancel requested") else "cancel refused")

    def _expire(self, _: None) -> None:
        if not self.closed and not self.leaving:
            self.turn_back("deadline passed")

    def _ask(self, _: None) -> None:
        self._take_over()
        verb = self._verbs.pop(0)
        if self.asked(verb):
            self.replies.append(verb)
            if self._is_out_of_time():
                self._add(self.now, self._expire)  # nobody looked at the time while it rested
        else:
            self.replies.append(f"{verb} refused")
            self._add(self.now + PAUSE, self._ask)

    def _take_over(self) -> None:
        """Nobody takes over what rests, until something is asked of it."""
        if self._stale:
            self.told.append("recovered")
            self._stale = False

    def _is_out_of_time(self) -> bool:
        return self.plot.timeout is not None and self.now > self.plot.timeout

    def _stop(self, stop: Stop) -> None:
        if self.closed or self.leaving:
            return
        if self.status == "not_started":
            raise Ambiguous("who is recovered first, of those that wait for their turn")
        self.leaving = stop.grace > 0
        self._drop(self._ask, of=[None])
        if not self.leaving:
            self._gone(stop)
            return
        self.stop_waiting()
        self._drop(self._begin_undoing, of=self.steps)
        self._add(self.now + stop.grace, self._gone, stop)

    def _gone(self, stop: Stop) -> None:
        self.closed, self.leaving = True, False
        parts = (self._begin, self._begin_undoing, self._end, self._end_undoing, self._not_begun)
        self._drop(*parts, of=self.steps)
        self._add(self.now + stop.gap, self._reopen)

    def _reopen(self, _: None) -> None:
        broken = {**dict.fromkeys(self.open, 0.0), **self.waiting}
        undo_at = broken.pop(self.undoing, 0.0)
        self.closed, self.open, self.waiting, self.cut = False, {}, {}, set()
        if self.resting:
            self._stale = True
            self._add(self.now + PAUSE, self._ask)
            return
        if self.undoing:
            self.undo_again[self.undoing] = undo_at
            self.undoing = ""
        self.recovered(broken, self._is_out_of_time())
