"""The model test is worth something: whatever case is taken out of the engine's decisions, it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allframe.saga import verdicts
from allframe.saga.execution import Execution
from allframe.saga.rollback import Rollback
from tests.saga.model.check import Wrong, check
from tests.saga.model.corpus import PLAYS
from tests.saga.model.mutants import cases, without

pytestmark = pytest.mark.threads_take_time

#: In place of a play, where the engine does the same without the case: an unknown step that is neither retried nor
#: undone has ended unknown, or succeeded; and whether there is a pivot is asked before whether it succeeded.
SAME = ""

#: Every case of what decides where a saga goes, and a play that fails without it.
CASES: dict[str, dict[str, str]] = {
    "Execution.next_moves": {
        "if self.status in TERMINAL or self.status in (SagaStatus.FAILED, SagaStatus.BLOCKED)": "one step succeeds",
        "if self.turning_back": "it times out before its turn",
        "if self.ready": "one step succeeds",
        "if self.running": "two of them wait for a third",
        "if self.stuck": "the pivot ends unknown",
        "return (End(SagaStatus.COMPLETED),)": "one step succeeds",
        "self.status in TERMINAL": "one step succeeds",
        "self.status in (SagaStatus.FAILED, SagaStatus.BLOCKED)": "the pivot ends unknown",
        "if self.running or self.undoing is not None": "the time is over while the pivot runs",
        "if not self.rollback.begun": "it times out before its turn",
        "if (again := self.rollback.again) is not None": "it is undone at the second try",
        "if (step := self.rollback.next) is not None": "two of them wait for a third",
        "return (End(SagaStatus.FAILED if self.rollback.left_over() else SagaStatus.COMPENSATED),)": (
            "it times out before its turn"
        ),
        "return [Run(step, at) for step, at in self.ready.items()]": "one step succeeds",
        "return (Block(step, kind),)": "the pivot ends unknown",
        "self.running": "the time is over while the pivot runs",
        "self.undoing is not None": "what undoes it is late",
        "return (TurnBack(),)": "it times out before its turn",
        "return (Compensate(again, self.steps[again].undo_next_at),)": "it is undone at the second try",
        "(Strand(step),)": "nobody has the output that undoing needs",
        "(Compensate(step),)": "two of them wait for a third",
        "SagaStatus.FAILED": "nobody has the output that undoing needs",
        "SagaStatus.COMPENSATED": "it times out before its turn",
    },
    "Execution._turns_back": {
        "self.cause is not None": "two of them wait for a third",
        "(self.cancel or self.expired) is not None and (not committed)": "it times out before its turn",
        "(self.cancel or self.expired) is not None": "one step succeeds",
        "not committed": "the time is over while the pivot runs",
        "self.cancel": "somebody cancels it",
        "self.expired": "it times out before its turn",
    },
    "Execution.committed": {
        "pivot is not None": "it times out before its turn",
        "self.pivot_succeeded or self.steps[pivot].unknown is not None": (
            "the time is over while another may still be undone"
        ),
        "self.pivot_succeeded": "the time is over while the pivot runs",
        "self.steps[pivot].unknown is not None": "somebody cancels it while its pivot runs, which ends unknown",
    },
    "Execution.pivot_succeeded": {
        "pivot is not None": SAME,
        "self.steps[pivot].phase in (Phase.SUCCEEDED, Phase.LOST)": (
            "the time is over while another may still be undone"
        ),
    },
    "Execution.may_retry": {
        "if isinstance(record, StepNotCompensated)": "it is undone at the second try",
        "if isinstance(record, StepUnknown) and (not node.repeatable)": "it must not be repeated",
        "isinstance(record, StepUnknown)": "it may be repeated after an answer",
        "not node.repeatable": "somebody cancels it while its pivot runs, which ends unknown",
        "self._doubt(step, record) is not None": (
            "its time is over before its pivot is asked for again, which then answers"
        ),
        "self.committed": "its time is over, and what comes after the pivot fails once",
        "self.tries(record) < node.attempts": "all attempts are used up after the pivot",
        "not self._turns_back(committed)": "somebody cancels it while its pivot runs, which fails",
    },
    "Rollback.is_due": {
        "state.phase is Phase.UNKNOWN": "the time is over while another may still be undone",
        "state.phase is Phase.RETRYING and state.unknown is not None": "it waits after silence, and the process leaves",
        "unknown": "the time is over while another may still be undone",
        "state.phase in (Phase.SUCCEEDED, Phase.LOST)": "two of them wait for a third",
        "effect": "it times out before its turn",
        "self.plan.nodes[step].compensated": "what only reads ends unknown",
        "state.undo not in (Undo.DONE, Undo.SKIPPED)": "two of them wait for a third",
        "state.phase is Phase.RETRYING": SAME,
        "state.unknown is not None": "it waits after an answer, and the process leaves",
    },
    "Execution._given_up": {
        "if forward_only and (not harmless_pivot)": "the pivot ends unknown",
        "step == self.plan.pivot": "what comes after the pivot fails",
        "self.steps[step].phase is Phase.NO_EFFECT": "the pivot ends unknown",
        "forward_only": "two of them wait for a third",
        "not harmless_pivot": "the pivot fails",
    },
    "Rollback.needs_a_person": {
        "self.plan.nodes[step].needs_output": "the time is over while another may still be undone",
        "self.steps[step].output is None": "the output is there that undoing needs",
    },
    "Execution._step_succeeded": {
        "if record.late and step not in self.plan.forward_only": "it is late",
        "record.late": "one step succeeds",
        "step not in self.plan.forward_only": "the pivot returns late",
    },
    "Execution._step_lost": {
        "if step not in self.plan.forward_only": "its output is lost",
        "if step in self.plan.taken": "an output is lost that a later step takes",
    },
    "Rollback.begin": {
        "if self._has_begun(step) and (not self._above[step])": "two of them wait for a third",
        "self._has_begun(step)": "a branch cannot be undone, and its root is left",
        "not self._above[step]": "two of them wait for a third",
    },
    "Rollback._reach": {
        "if self.is_due(step)": "two of them wait for a third",
    },
    "Rollback._settle": {
        "if not self._above[before]": "two of them wait for a third",
    },
    "verdicts.retry": {
        "if execution.status is SagaStatus.FAILED": "nobody has the output that undoing needs",
    },
    "Rollback.exhausted": {
        "return [step for step, state in enumerate(self.steps) if state.undo is Undo.EXHAUSTED]": (
            "the rollback is asked for again, with fresh attempts"
        ),
    },
}


#: Where they stand.
OWNERS: dict[str, Any] = {"Execution": Execution, "Rollback": Rollback, "verdicts": verdicts}


def _found(method: str) -> tuple[Any, str]:
    owner, _, name = method.partition(".")
    return OWNERS[owner], name


@pytest.fixture(autouse=True)
def _nothing_is_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that is missing can make an engine go round in a circle."""
    apply = Execution.apply

    def limited(self: Execution, record: Any, at: int) -> None:
        assert self.revision < 200, "it goes round in a circle"
        apply(self, record, at)

    monkeypatch.setattr(Execution, "apply", limited)


@pytest.mark.parametrize("name", list(PLAYS))
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_with_all_cases_it_goes_as_the_reference_says(store: str, backend: str, name: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/play.db?durability=process" if store == "sqlite" else "memory://"
    check(*PLAYS[name], backend, url)


@pytest.mark.parametrize("method", list(CASES))
def test_every_case_is_listed(method: str) -> None:
    """If this fails, `CASES` needs a line for the new case, with a play of `PLAYS` that goes wrong without it."""
    assert list(CASES[method]) == list(cases(*_found(method)))


LISTED = [(method, case, play) for method, plays in CASES.items() for case, play in plays.items() if play != SAME]


@pytest.mark.parametrize(("method", "case", "play"), LISTED)
def test_without_a_case_it_does_not(method: str, case: str, play: str) -> None:
    owner, name = _found(method)
    with without(owner, name, cases(owner, name)[case]), pytest.raises(Wrong):
        check(*PLAYS[play], "asyncio", "memory://")
