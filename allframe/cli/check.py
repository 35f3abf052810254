"""``allframe check``: everything that can be known of sagas, and of steps to build them of, without running them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Annotated

import typer

from allframe import Saga, SagaDefinition, SagaStep
from allframe.cli.codebase import load_all
from allframe.cli.exits import Exit, Stop
from allframe.cli.findings import Finding, Format, Severity, advised, in_order, refused, tell
from allframe.cli.guard import guarded
from allframe.cli.render import print_line, printable, warn
from allframe.cli.target import held_by, is_saga, is_step, load_graph, split
from allframe.errors import DefinitionError, Problem
from allframe.refusing import noting_refusals
from allframe.saga.steps import step_advice

__all__ = ["check"]


@guarded
def check(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="Modules, packages, files, folders, or sagas: shop, src/, shop/orders.py, shop.orders:Order.",
        ),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Fail on advice as well.")] = False,
    show_waived: Annotated[
        bool, typer.Option("--show-waived", help="Show what was waived, too, with the reasons.")
    ] = False,
    form: Annotated[
        Format, typer.Option("--format", help="text, json, or github: annotations of a workflow.")
    ] = Format.TEXT,
) -> Exit:
    """Import each TARGET and say what is wrong with the sagas in it, and what may be meant otherwise.

    All that is wrong is told, by file and line, with what to do. Nothing is run but what an import runs.

    The exit code is 0 if nothing is wrong, 4 if something is, or with --strict may be meant otherwise, and 2 if a TARGET
    is not there or has no sagas.
    """
    seen = [_look_at(target) for target in targets]
    found = in_order(finding for each in seen for finding in each.findings)
    shown = [finding for finding in found if show_waived or finding.severity is not Severity.WAIVED]
    tell(shown, form)
    if form is Format.TEXT:
        for each in seen:
            each.tell()
        _sum_up(shown)
    fails = {Severity.ERROR, *([Severity.ADVICE] if strict else [])}
    wrong = any(finding.severity in fails for finding in found)
    return max([Exit.DEFINITION if wrong else Exit.COMPLETED, *(each.code for each in seen)])


class _NoSagas(Stop):
    """There is nothing of ours in a TARGET, unless it was refused."""


@dataclass(slots=True)
class _Seen:
    """What a TARGET came to."""

    target: str
    findings: list[Finding] = field(default_factory=list)
    #: The names of what was checked, by kind.
    names: dict[str, list[str]] = field(default_factory=dict)
    code: Exit = Exit.COMPLETED

    def tell(self) -> None:
        """Say what was checked, if nothing was wrong with it."""
        if self.code or any(finding.severity is Severity.ERROR for finding in self.findings):
            return
        counts = " and ".join(_count(len(found), kind) for kind, found in self.names.items() if found)
        listed = ", ".join(name for found in self.names.values() for name in found)
        print_line(printable(f"{self.target}: {counts} checked, no problems: {listed}"))


def _look_at(target: str) -> _Seen:
    seen = _Seen(target)
    # What modules print when they are imported is none of our output.
    with noting_refusals() as noted, contextlib.redirect_stdout(sys.stderr):
        try:
            _examine(seen)
        except Stop as error:
            if not (isinstance(error, _NoSagas) and (noted or seen.findings)):
                warn(f"{printable(target)}: {printable(error)}")
                seen.code = error.code
    seen.findings[:0] = [finding for error in noted for finding in refused(error)]
    return seen


def _examine(seen: _Seen) -> None:
    """Import it, and note what is wrong with what it holds.

    Raises:
        Stop: it is not there, or holds nothing of ours.
    """
    place, name = split(seen.target)
    modules = []
    for loaded in load_all(place):
        if isinstance(loaded, ModuleType):
            modules.append(loaded)
        elif isinstance(loaded, DefinitionError):
            seen.findings += refused(loaded)
        else:
            seen.findings.append(Finding("", Problem("AF601", str(loaded), loaded.where), Severity.ERROR))
    if name:
        seen.names = {"saga": [name]}
        _note(seen, f"Saga {name}", lambda: load_graph(seen.target).advice)
    elif modules:
        _examine_classes(seen, modules)


def _examine_classes(seen: _Seen, modules: Sequence[ModuleType]) -> None:
    sagas, built, steps = _classes(modules)
    # What could not be resolved when a class was made is checked when it is first used.
    for step in steps:
        _note(seen, f"Step {step.__qualname__}", partial(step_advice, step))
    for saga in sagas:
        _note(seen, f"Saga {saga.__qualname__}", partial(_advice_on, saga))
    for _, definition in built:
        _note(seen, f"Saga {definition.id!r}", partial(_advice_on, definition))
    seen.names = {
        "saga": [*(cls.__name__ for cls in sagas), *(name for name, _ in built)],
        "step": [cls.__name__ for cls in steps],
    }


def _note(seen: _Seen, title: str, advice: Callable[[], Iterable[Problem]]) -> None:
    try:
        seen.findings += advised(title, advice())
    except DefinitionError as error:
        seen.findings += refused(error)


def _advice_on(saga: type[Saga] | SagaDefinition) -> tuple[Problem, ...]:
    return saga.graph.advice


def _sum_up(shown: Sequence[Finding]) -> None:
    counts = Counter(finding.severity for finding in shown)
    said = [
        _count(counts[Severity.ERROR], "problem"),
        f"{counts[Severity.ADVICE]} advice",
        f"{counts[Severity.WAIVED]} waived",
    ]
    if shown:
        warn(f"Found {', '.join(each for each in said if each[:2] != '0 ')}.")


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _classes(
    modules: Sequence[ModuleType],
) -> tuple[list[type[Saga]], list[tuple[str, SagaDefinition]], list[type[SagaStep]]]:
    """The sagas, those that were built by their names, and the classes of steps; the modules' own, if they have any.

    Those in a dict, list, tuple or set of a module are among them.
    """
    held = [(name, value) for module in modules for name, value in held_by(module)]
    sagas = list(dict.fromkeys(value for _, value in held if is_saga(value)))
    steps = list(dict.fromkeys(value for _, value in held if is_step(value)))
    built: dict[int, tuple[str, SagaDefinition]] = {}
    for name, value in held:
        if isinstance(value, SagaDefinition):
            built.setdefault(id(value), (name, value))
    if not sagas and not steps and not built:
        raise _NoSagas("there are no sagas in it. Name the module that defines them.")
    names = {module.__name__ for module in modules}
    own = [cls for cls in (*sagas, *steps) if cls.__module__ in names] or [*sagas, *steps]
    return [saga for saga in sagas if saga in own], [*built.values()], [step for step in steps if step in own]
