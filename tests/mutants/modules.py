"""Mutants imported: a module each, with real lines, in registries that nobody else sees."""

from __future__ import annotations

import ast
import contextlib
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import allframe
from allframe import DefinitionError, Saga, SagaDefinition
from allframe.saga.declare import SAGAS
from allframe.saga.steps import STEPS
from tests.mutants.sources import Unit

__all__ = ["Answer", "apart", "ask", "instance_of", "load"]

#: All mutants have one module's name, so that none outlives the next in a registry.
_NAME: Final = "mutant"
_ALLFRAME: Final = str(Path(allframe.__file__).parent)


@dataclass(frozen=True)
class Answer:
    """What came of importing a mutant."""

    #: The rules that refused it, each with the line that it names; empty where it was not refused.
    problems: tuple[tuple[str, int], ...] = ()
    #: What Python itself said before allframe could say anything: the mutant is no program.
    stillborn: str | None = None
    #: An exception that came out of allframe or pydantic in place of a `DefinitionError`.
    crash: str | None = None
    text: str = ""

    @property
    def refused(self) -> bool:
        return bool(self.problems)

    @property
    def imports(self) -> bool:
        return not (self.problems or self.stillborn or self.crash)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Within it the names of sagas and of classes of steps are those of mutants only."""
    kept = SAGAS._classes, STEPS._classes
    SAGAS._classes, STEPS._classes = {}, {}
    try:
        yield
    finally:
        SAGAS._classes, STEPS._classes = kept
        sys.modules.pop(_NAME, None)


def ask(unit: Unit, text: str) -> Answer:
    """Import ``text`` in the place of the parts of ``unit``, look at every graph, and tell what came of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            module = load(unit, text)
            for name in _made(text):
                _look(vars(module).get(name))
    except DefinitionError as error:
        return Answer(tuple((problem.rule, _line(problem.where)) for problem in error.problems), text=str(error))
    except Exception as error:  # whatever it is, it is told
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Answer(stillborn=said) if _is_of_python(error) else Answer(crash=said)
    return Answer()


def load(unit: Unit, text: str) -> ModuleType:
    """The module of a mutant. Raises whatever its import raises."""
    module = ModuleType(_NAME)
    module.__dict__.update({name: value for name, value in vars(unit.world).items() if name[:2] != "__"})
    module.__file__ = f"/{_NAME}.py"
    for part in unit.parts:
        module.__dict__.pop(part.name, None)
    sys.modules[_NAME] = module
    exec(compile(text, module.__file__, "exec", dont_inherit=True), module.__dict__)
    return module


def instance_of(module: ModuleType, call: ast.Call) -> Any:
    """What the expression of the file makes in the mutant's module."""
    return eval(compile(ast.fix_missing_locations(ast.Expression(call)), "/instance.py", "eval"), module.__dict__)


def _made(text: str) -> list[str]:
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]


def _look(thing: Any) -> None:
    """As the first use does: what was put off is checked now."""
    if isinstance(thing, type) and issubclass(thing, Saga) and not thing.__allframe_abstract__:
        _ = thing.graph
    elif getattr(thing, "__annotations__", {}).get("return") == "SagaDefinition" and not isinstance(thing, type):
        built: SagaDefinition = thing()
        built.check()


def _line(where: str) -> int:
    return int(where.split(" (")[0].rpartition(":")[2])


def _is_of_python(error: Exception) -> bool:
    """Whether allframe had no part in it: a name that is not there, a call without its arguments, an input that does not
    fit. A warning is never Python's own here: the mutant would have it printed, and nobody read it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = any(frame.filename.startswith(_ALLFRAME) for frame in frames)
    return isinstance(error, SyntaxError) or (not ours and not isinstance(error, Warning))
