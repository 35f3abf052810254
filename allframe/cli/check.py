"""``allframe check``: everything that can be known of sagas, and of steps to build them of, without running them."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated

import typer

from allframe import Saga, SagaDefinition, SagaStep
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.render import print_line, printable, warn
from allframe.cli.target import built_sagas_of, load_graph, load_module, sagas_of, split, steps_of
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
        place, name = split(target)
        module = load_module(place)
        if name:
            _ = load_graph(target).description
            return _well(target, {"saga": [name]})
        sagas, built, steps = _classes(module)
        # What could not be resolved when a class was made is checked when it is first used.
        for saga in sagas:
            _ = saga.graph.description
        for definition in built.values():
            definition.check()
        for step in steps:
            parts_of(step)
    except DefinitionError as error:
        warn(printable(error))
        return Exit.DEFINITION
    except Stop as error:
        warn(f"{printable(target)}: {printable(error)}")
        return error.code
    return _well(target, {"saga": [*(cls.__name__ for cls in sagas), *built], "step": [cls.__name__ for cls in steps]})


def _well(target: str, names: dict[str, list[str]]) -> Exit:
    counts = " and ".join(_count(len(found), kind) for kind, found in names.items() if found)
    listed = ", ".join(name for found in names.values() for name in found)
    print_line(printable(f"{target}: {counts} checked, no problems: {listed}"))
    return Exit.COMPLETED


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _classes(module: ModuleType) -> tuple[list[type[Saga]], dict[str, SagaDefinition], list[type[SagaStep]]]:
    """The sagas, those that were built by their names, and the classes of steps; the module's own, if it has any."""
    sagas = list(dict.fromkeys(sagas_of(module).values()))
    steps = list(dict.fromkeys(steps_of(module).values()))
    built = built_sagas_of(module)
    if not sagas and not steps and not built:
        raise Stop("there are no sagas in it. Name the module that defines them.")
    own = [cls for cls in (*sagas, *steps) if cls.__module__ == module.__name__] or [*sagas, *steps]
    return [saga for saga in sagas if saga in own], built, [step for step in steps if step in own]
