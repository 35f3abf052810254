"""What a saga does, told a second time: from the design. ``-> a b``: these steps begin. ``<- a``: this one is undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.saga.model.plain import Plot, Script
from tests.saga.model.timeline import Timeline


class Reference(Timeline):
    def __init__(self, plot: Plot, script: Script, seen: Sequence[str] = ()) -> None:
        super().__init__(plot, script, seen)
        self.begun, self.unknown, self.undone, self.exhausted = set[str](), set[str](), set[str](), set[str]()
        #: How a step succeeded, why one is stuck, when one last ended, and when those begin that are tried again.
        self.done, self.stuck, self.ended_at = dict[str, str](), dict[str, str](), dict[str, int]()
        self.again, self.spent = dict[str, float](), Counter[str]()
        self.failed = self.cancelled = self.expired = self.rolling = False

    @property
    def committed(self) -> bool:
        return self.plot.pivot in {*self.done} | self.unknown

    @property
    def turning_back(self) -> bool:
        return self.failed or ((self.cancelled or self.expired) and not self.committed)

    def go_on(self) -> None:
        busy = bool(self.open or self.waiting)
        there = self.done.keys() - self.stuck.keys()
        fresh = {k: 0.0 for k in self.steps if k not in self.begun and self.plot.before[k] <= there}
        if self.turning_back:
            self.stop_waiting()
            if not busy and (self.rolling or not self.leaving):
                self.told += [] if self.rolling else ["rollback begun"]
                self.rolling, self.status = True, "compensating"
                self.go_back()
        elif (fresh or self.again) and not self.leaving:
            beginning, self.again, self.status = fresh | self.again, {}, "executing"
            self.told.append(f"-> {' '.join(sorted(beginning))}")
            for k, at in beginning.items():
                self.begun.add(k)
                self.begin(k, at)
        elif not (busy or fresh or self.again or (self.stuck and self.leaving)):
            self.rest(f"blocked ({next(iter(self.stuck.values()))})" if self.stuck else "completed")

    def go_back(self) -> None:
        """Undo, of the steps after which nothing is left, the one that ended last."""
        effects = {*self.done} | self.unknown
        left = [k for k, step in self.steps.items() if step.undo and k in effects - self.undone]
        held = {before for k in left for before in self.plot.before[k]} | self.exhausted
        free = [k for k in left if k not in held]
        if not free:
            self.rest("failed" if left else "compensated")
        elif not self.leaving:
            last = [k for k in free if self.ended_at[k] == max(self.ended_at[j] for j in free)]
            k = self.first_seen(last, lambda k: (f"<- {k}", f"{k} not compensated"))
            if self.plot.undo(k).if_unknown_fail and self.done.get(k) != "ok":
                self.told.append(f"{k} not compensated")
                self.exhausted.add(k)
                self.go_back()
            else:
                self.told.append(f"<- {k}")
                self.begin_undoing(k, self.undo_again.pop(k, 0))

    def ended(self, k: str, how: str, doubt: str) -> None:
        step, late, self.ended_at[k] = self.steps[k], doubt == "deadline", len(self.told)
        if how in ("ok", "lost"):
            self.done[k] = how
            self.told.append(f"{k} {'succeeded' if how == 'ok' else 'lost its output'}{' late' if late else ''}")
            if k not in self.plot.forward and (late or how == "lost"):
                self.failed = True
            elif how == "lost" and k in self.plot.taken:
                self.stuck[k] = "output"
        else:
            silence = doubt or ("silence" if how in ("silent", "loud") else "")
            self.unknown = (self.unknown - ({k} if step.idempotent else set())) | ({k} if silence else set())
            self.spent[k] += 1
            may = self.spent[k] < step.attempts and not self.turning_back and (step.repeatable or not silence)
            again = may and (doubt or how) in step.admits
            word = f"unknown ({silence})" if silence else "was refused" if how == "refuse" else "failed"
            self.told.append(f"{k} {word}{', again' if again else ''}")
            self.again |= {k: self.now + step.wait} if again else {}
            _ = again or self.give_up(k)
        self.go_on()

    def give_up(self, k: str) -> None:
        if k in self.plot.forward and (k != self.plot.pivot or k in self.unknown):
            self.stuck[k] = "step"
        else:
            self.failed = True

    def not_begun(self, k: str, at: float) -> None:
        self.told.append(f"{k} not begun")
        self.ended_at[k], self.again[k] = len(self.told), at
        self.go_on()

    def ended_undoing(self, k: str, how: str, doubt: str) -> None:
        undo, part = self.plot.undo(k), f"undo {k}"
        self.spent[part] += 1
        again = how != "ok" and bool(doubt or how not in ("refuse", "loud")) and self.spent[part] < undo.attempts
        self.undo_again |= {k: self.now + undo.wait} if again else {}
        self.undone |= {k} if how == "ok" else set()
        self.exhausted |= {k} if how != "ok" and not again else set()
        self.told.append(f"{k} {'' if how == 'ok' else 'not '}compensated{', again' if again else ''}")
        self.go_on()

    def turn_back(self, word: str) -> bool:
        """``"cancel requested"`` or ``"deadline passed"``; returns whether it makes a difference."""
        cancel = word == "cancel requested"
        if cancel and self.cancelled and self.turning_back and self.status in ("executing", "compensating"):
            return True  # somebody else asked before
        vain = self.expired or (self.committed if cancel else self.turning_back)
        if vain or self.status not in ("not_started", "executing"):
            return False
        self.cancelled, self.expired = self.cancelled or cancel, not cancel
        self.told.append(word)
        if not self.committed:
            self.cut_short(self.steps.keys() - self.plot.forward)
        self.go_on()
        return True

    def recovered(self, broken: dict[str, float], out_of_time: bool) -> None:
        """``broken``: the steps that were announced, and when they were due. ``out_of_time``: since it was last open."""
        out_of_time = out_of_time and not self.expired and not self.turning_back
        for k, at in broken.items():
            self.ended_at[k] = len(self.told)
            self.unknown.add(k)
            self.again |= {k: at} if self.steps[k].repeatable else {}
            _ = self.steps[k].repeatable or self.give_up(k)
        self.told += ["recovered", "deadline passed"] if out_of_time else ["recovered"]
        self.expired = self.expired or out_of_time
        self.go_on()

    def asked(self, verb: str) -> bool:
        """What is asked of it while it rests; returns whether it does that. Here the other verbs will be told apart."""
        if self.status == "blocked" and "step" not in self.stuck.values():
            return False
        self.told.append("retry requested")
        self.again = {k: 0.0 for k, why in self.stuck.items() if why == "step"}
        for part in [*self.again, *(f"undo {k}" for k in self.exhausted)]:
            self.spent[part] = 0
        self.stuck = {k: why for k, why in self.stuck.items() if k not in self.again}
        self.exhausted, self.status = set(), "executing"
        self.go_on()
        return True
