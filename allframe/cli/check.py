"""``allframe check``: everything that can be known of sagas without running them."""

from __future__ import annotations

from typing import Annotated

import typer

from allframe import Saga
from allframe.cli.exits import Exit, Stop
from allframe.cli.guard import guarded
from allframe.cli.render import print_line, printable, warn
from allframe.cli.target import load_module, load_target, sagas_of, split
from allframe.errors import DefinitionError

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
        sagas = _sagas(target)
        for saga in sagas:
            # What could not be resolved when the class was made is checked when its graph is first used.
            _ = saga.graph.description
    except DefinitionError as error:
        warn(printable(error))
        return Exit.DEFINITION
    except Stop as error:
        warn(f"{printable(target)}: {printable(error)}")
        return error.code
    names = ", ".join(saga.__name__ for saga in sagas)
    print_line(printable(f"{target}: {len(sagas)} saga{'' if len(sagas) == 1 else 's'} checked, no problems: {names}"))
    return Exit.COMPLETED


def _sagas(target: str) -> list[type[Saga]]:
    place, name = split(target)
    if name:
        return [load_target(target).saga]
    module = load_module(place)
    found = list(dict.fromkeys(sagas_of(module).values()))
    if not found:
        raise Stop("there are no sagas in it. Name the module that defines them.")
    return [saga for saga in found if saga.__module__ == module.__name__] or found
