"""``allframe check``: everything that can be known of sagas, and of steps to build them of, without running them."""

from __future__ import annotations

from typing import Annotated

import typer

from allframe import Saga, SagaStep
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.render import print_line, printable, warn
from allframe.cli.target import load_module, load_target, sagas_of, split, steps_of
from allframe.errors import DefinitionError
from allframe.saga.steps import parts_of

__all__ = ["check"]


@guarded
def check(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...", help="Modules, files, or sagas in them: shop.sagas, sagas.py, sagas.py:Order."
        ),
    ],
) -> Exit:
    """Import each TARGET and say what is wrong with the sagas in it.

    The exit code is 0 if nothing is, and 4 if something is.
    """
    return max([_check_one(target) for target in targets], default=Exit.COMPLETED)


def _check_one(target: str) -> Exit:
    try:
        sagas, steps = _classes(target)
        # What could not be resolved when a class was made is checked when it is first used.
        for saga in sagas:
            _ = saga.graph.description
        for step in steps:
            parts_of(step)
    except DefinitionError as error:
        warn(printable(error))
        return Exit.DEFINITION
    except Stop as error:
        warn(f"{printable(target)}: {printable(error)}")
        return error.code
    counts = " and ".join(_count(len(found), kind) for found, kind in ((sagas, "saga"), (steps, "step")) if found)
    names = ", ".join(cls.__name__ for cls in (*sagas, *steps))
    print_line(printable(f"{target}: {counts} checked, no problems: {names}"))
    return Exit.COMPLETED


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _classes(target: str) -> tuple[list[type[Saga]], list[type[SagaStep]]]:
    place, name = split(target)
    if name:
        return [load_target(target).saga], []
    module = load_module(place)
    sagas = list(dict.fromkeys(sagas_of(module).values()))
    steps = list(dict.fromkeys(steps_of(module).values()))
    if not sagas and not steps:
        raise Stop("there are no sagas in it. Name the module that defines them.")
    own = [cls for cls in (*sagas, *steps) if cls.__module__ == module.__name__] or [*sagas, *steps]
    return [saga for saga in sagas if saga in own], [step for step in steps if step in own]
