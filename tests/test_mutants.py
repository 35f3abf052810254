"""Whatever blind operators do to realistic sagas: what is broken is refused, with its rule and line; what is sound imports.

`tests.mutants` has the operators, the oracle, and the mutants that survive, with the reason. `python -m tests.mutants` counts
them all.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from allframe import SagaStatus
from allframe.saga import compiling
from allframe.testing import VirtualClock
from tests.mutants.judging import Judged, judged
from tests.mutants.modules import Answer, apart
from tests.mutants.operators import OPERATORS, Mutant, mutants
from tests.mutants.playing import endings, made_of
from tests.mutants.sources import Unit, units
from tests.mutants.survivors import REASONS, SURVIVORS

UNITS = list(units())
EVERY = pytest.mark.parametrize(
    "every",
    [pytest.param(24, id="sample"), pytest.param(1, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
#: Operators that take away what undoes a step, or the mark that it has no effect.
STRANDING = ("drop-decorator", "drop-argument", "negate", "delete-member")
ON_EACH = pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
#: Those whose files make one, which can be run.
PLAYED = [unit for unit in UNITS if unit.instances]


@pytest.fixture(autouse=True)
def _own_names() -> Iterator[None]:
    with apart():
        yield
    gc.collect()  # classes are circles


def _some(unit: Unit, every: int, first: int = 0) -> list[Mutant]:
    """Each so manieth mutant."""
    return list(mutants(unit, lambda number, name: number % every == first))


# --- the checker -----------------------------------------------------------------------------------------------------


@ON_EACH
@EVERY
def test_what_is_broken_is_refused_by_its_rule_and_line_and_what_is_sound_imports(unit: Unit, every: int) -> None:
    sample = _some(unit, every)
    found = list(judged(sample))

    assert [str(each) for each in found if each.difference and not each.believed] == []
    assert {each.mutant.name for each in found if each.difference} == {each.name for each in sample} & set(SURVIVORS)


def test_there_are_more_than_a_thousand_in_the_sample_of_nearly_all_operators() -> None:
    names = [mutant.name for unit in UNITS for mutant in _some(unit, 24)]

    assert len(names) == len(set(names)) > 1000
    assert len({name.split("/")[1] for name in names}) >= len(OPERATORS) - 3


def test_whoever_is_said_to_survive_is_only_broken_in_its_bodies() -> None:
    found = [
        each
        for unit in UNITS
        for each in judged(mutants(unit, lambda number, name: name in SURVIVORS))
        if each.believed
    ]

    assert {each.mutant.name for each in found if each.difference == "missed"} == set(SURVIVORS)
    assert set(SURVIVORS.values()) == set(REASONS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_rule_mutants_would_be_missed() -> None:
    """Of the rules that a change of one place can break: each refuses mutants that no other rule refuses."""
    alone = set()
    for unit in UNITS:
        for each in judged(_some(unit, 10)):
            blind = Judged(each.mutant, each.faults, Answer())
            if len({rule for rule, _ in each.answer.problems}) == 1 and blind.difference == "missed":
                alone.add(each.answer.problems[0][0])

    assert alone >= {f"AF{number}" for number in (101, 103, 104, 105, 106, 107, 109, 110, 113, 114, 115, 116)}


# --- the oracle, beside the engine -----------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("unit", PLAYED, ids=[unit.name for unit in PLAYED])
@EVERY
async def test_what_the_oracle_calls_sound_leaves_nothing_behind_unknown_to_anybody(
    unit: Unit, every: int, clock: VirtualClock
) -> None:
    # The bodies are not judged: one under another's decorator does what its mark does not say, and one whose names are
    # gone may raise after its effect, which it is believed not to have had.
    sample = [mutant for mutant in _some(unit, every * 12, first=5) if "/swap-decorators/" not in mutant.name]
    for each in judged(sample):
        saga = made_of(each.mutant) if not each.faults and each.answer.imports else None
        if saga is not None:
            for happened, status, standing in await endings(saga, clock):
                assert status is not SagaStatus.COMPENSATED or not standing, (each.mutant.name, happened, standing)


@pytest.mark.anyio
@pytest.mark.parametrize("unit", PLAYED[::4], ids=[unit.name for unit in PLAYED[::4]])
async def test_what_the_oracle_calls_stranded_stays_behind_when_it_is_run(
    unit: Unit, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "check_structure", lambda definition: [])
    for each in judged(mutants(unit, lambda number, name: name.split("/")[1] in STRANDING)):
        if each.answer.imports and [(fault.kind, fault.rules) for fault in each.faults] == [("stranded", {"AF104"})]:
            saga = made_of(each.mutant)
            if saga is not None:
                ends = await endings(saga, clock)
                assert any(status is SagaStatus.COMPENSATED and standing for _, status, standing in ends), (
                    each.mutant.name
                )
                return
    pytest.skip("it has no mutant that only strands an effect")
