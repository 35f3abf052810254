"""Nothing in the public API lacks an example that is run.

What counts is code that tests run: the Python of README.md and of the pages in docs, the project on the page about testing
(`tests/testing/test_plugin.py`), and the programs in examples. `tests.usage` tells what it uses.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

import allframe
import allframe.events
import allframe.testing
from allframe import (
    Aggregate,
    AutoUpcaster,
    CommandBus,
    CommandContext,
    ErrorInfo,
    EventStore,
    FieldError,
    MigrationPath,
    Projection,
    ProjectionMetadata,
    ProjectionRegistry,
    QueryBus,
    RecordedEvent,
    Repository,
    Retry,
    SagaDefinition,
    SagaGraph,
    SagaHandle,
    SagaMetadata,
    SagaOrchestrator,
    SagaOutcome,
    SagaRecord,
    Snapshot,
    SqlProjection,
    StepContext,
    Transaction,
    Unknown,
    Upcaster,
    VersionRegistry,
    compensates,
    correlated,
    run,
    step,
    upcasts,
)
from allframe.cli.app import app
from allframe.events import EncryptionCodec, ZlibCodec
from allframe.testing import SagaRun, TraceEntry, VirtualClock, run_saga
from conftest import PAGES
from tests.sources import ROOT
from tests.usage import KEYWORDED, Uses, assigned, uses_of

#: Public by their names, and for other parts of allframe; users are not told of them.
INTERNAL = {
    "SagaDefinition": {"id_for", "as_input", "tell_from"},
    "SagaGraph": {
        "built",
        "plan",
        "steps",
        "model",
        "description_json",
        "hides",
        "self_of",
        "wanted",
        "typecheck",
        "function_of",
    },
    "Retry": {"delay", "problems", "longest_waits"},
    "StepContext": {"emitted"},
    "EventStore": {"backend", "opened", "versions"},
    "VirtualClock": {"is_held", "reach"},
    "CommandContext": {"again", "key_for"},
    "EncryptionCodec": {"name", "encode", "decode"},
    "Upcaster": {"where"},
    "MigrationPath": {"upcast"},
    "VersionRegistry": {"models", "describe"},
}

CLASSES: list[type] = [
    SagaOrchestrator,
    SagaHandle,
    SagaOutcome,
    SagaMetadata,
    SagaRecord,
    SagaDefinition,
    SagaGraph,
    StepContext,
    Unknown,
    ErrorInfo,
    EventStore,
    RecordedEvent,
    Snapshot,
    EncryptionCodec,
    Upcaster,
    VersionRegistry,
    MigrationPath,
    Aggregate,
    Repository,
    CommandBus,
    CommandContext,
    FieldError,
    QueryBus,
    Projection,
    SqlProjection,
    ProjectionMetadata,
    ProjectionRegistry,
    Transaction,
    VirtualClock,
    SagaRun,
    TraceEntry,
]


@cache
def shown() -> Uses:
    """What the code uses that is run."""
    found = Uses()
    for text in _programs():
        found |= uses_of(text)
    return found


def _programs() -> Iterator[str]:
    for page in (*PAGES, "docs/testing.md"):
        yield "\n".join(_blocks((ROOT / page).read_text(encoding="utf-8")))
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield path.read_text(encoding="utf-8")


def _blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


#: What is shown of the class that it is derived from.
INHERITED = {
    "SagaRecord": {"is_readable", "payload"},
}


def public_members(cls: type) -> list[str]:
    """What users find in a class: its own members and those of bases of ours, without what is `INTERNAL`."""
    found: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("allframe"):
            fields = [each.name for each in dataclasses.fields(base)] if dataclasses.is_dataclass(base) else []
            slots = [*inspect.get_annotations(base), *assigned(base), *fields, *vars(base)]
            found |= dict.fromkeys(name for name in slots if not name.startswith("_") and name != "model_config")
    left_out = INTERNAL.get(cls.__name__, set()) | INHERITED.get(cls.__name__, set())
    return [name for name in found if name not in left_out]


def parameters(function: Any) -> list[str]:
    """Those that have a name for whoever calls."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    given = inspect.signature(function).parameters.values()
    return [each.name for each in given if each.name != "self" and each.kind in named]


ERRORS = {
    name for name in allframe.__all__ if isinstance(cls := getattr(allframe, name), type) and issubclass(cls, Exception)
}


def test_what_is_not_shown_is_found_out() -> None:
    """The tests below can fail: a member counts for its own class, and only where the type is known."""
    uses = uses_of(
        "from allframe import SagaOrchestrator as Other, SagaOrchestrator, SagaStatus, step\n"
        "async def main(unknown):\n"
        "    async with SagaOrchestrator(grace=0) as orchestrator:\n"
        "        saga = await orchestrator.get_saga('x')\n"
        "        print(saga.reason, unknown.attention, saga.nonsense)\n"
        "        for one in await orchestrator.get_history(limit=1):\n"
        "            print(one.error.message)\n"
    )

    assert uses.names == {"SagaOrchestrator"}
    assert {name for owner, name in uses.members if owner == "SagaMetadata"} == {"reason", "error"}
    assert {name for owner, name in uses.members if owner == "ErrorInfo"} == {"message"}
    assert {name for owner, name in uses.members if owner == "SagaOutcome"} == set()
    assert uses.arguments >= {("SagaOrchestrator", "grace"), ("SagaOrchestrator.get_history", "limit")}
    assert ("SagaOrchestrator.get_saga", "id") in uses.arguments
    assert ("SagaOrchestrator", "store") not in uses.arguments


NAMES = {*allframe.__all__, *allframe.events.__all__, *allframe.testing.__all__} - {"__version__"}


@pytest.mark.parametrize("name", sorted(NAMES - ERRORS))
def test_every_name_is_in_an_example(name: str) -> None:
    """A class that users are only ever given is shown by what they do with it."""
    assert name in shown().names | {owner for owner, _ in shown().members}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_member_is_in_an_example(cls: type) -> None:
    used = {name for owner, name in shown().members if owner == cls.__name__}

    assert [name for name in public_members(cls) if name not in used] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_argument_of_a_method_is_in_an_example(cls: type) -> None:
    methods = [name for name in public_members(cls) if inspect.isfunction(getattr(cls, name, None))]
    lacking = [
        f"{name}({argument}=)"
        for name in methods
        for argument in parameters(getattr(cls, name))
        if not any((f"{base.__name__}.{name}", argument) in shown().arguments for base in cls.__mro__)
    ]

    assert lacking == []


CALLS: list[Any] = [
    step,
    compensates,
    Retry,
    SagaOrchestrator,
    SagaDefinition,
    EventStore,
    correlated,
    upcasts,
    AutoUpcaster,
    VersionRegistry,
    MigrationPath,
    ZlibCodec,
    Repository,
    CommandBus,
    QueryBus,
    ProjectionRegistry,
    run,
    run_saga,
]


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_every_argument_is_in_an_example(function: Any) -> None:
    used = {argument for called, argument in shown().arguments if called == function.__name__}
    used |= {"function"} if function is step else set()  # what it decorates
    if function is run_saga:  # run_saga_sync takes what it takes
        used |= {argument for called, argument in shown().arguments if called == "run_saga_sync"}

    assert [name for name in parameters(function) if name not in used] == []


@pytest.mark.parametrize("cls", KEYWORDED, ids=lambda cls: cls.__name__)
def test_every_class_keyword_is_in_an_example(cls: type) -> None:
    used = {argument for called, argument in shown().arguments if called == f"class {cls.__name__}"}

    assert [name for name in parameters(cls.__init_subclass__) if name not in used] == []


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_every_error_is_in_an_example_or_a_test_asserts_its_text(name: str) -> None:
    """`docs/errors.md` shows the text of each (`tests/test_docs.py`)."""
    assert name in shown().names or name in _errors_whose_text_is_asserted()


@cache
def _errors_whose_text_is_asserted() -> set[str]:
    """Those that a test expects by ``pytest.raises``, with ``match=`` or with a look at ``str()`` of what was caught."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.unparse(function)
            for call in ast.walk(function):
                match call:
                    case ast.Call(func=ast.Attribute(attr="raises"), args=[ast.Name(id=name)], keywords=keywords):
                        if any(keyword.arg == "match" for keyword in keywords) or re.search(r"str\(\w+\.value\)", text):
                            found.add(name)
    return found


# --- the command line ------------------------------------------------------------------------------------------------


def test_every_command_and_option_is_run_in_a_test() -> None:
    """A test that has the command and the option among its texts, or among those of the constants that it names."""
    tests = [words for path in sorted((ROOT / "tests").rglob("*.py")) for words in _words_of_functions(path)]
    program = get_command(app)
    assert isinstance(program, TyperGroup)

    lacking = []
    for names, command in _commands(program):
        own = [words for words in tests if words.issuperset(names)]
        options = [option for option in command.params if isinstance(option, TyperOption)]
        lacking += [] if own else [" ".join(names)]
        lacking += [
            f"{' '.join(names)} {'/'.join(option.opts)}"
            for option in options
            if not any(words & {*option.opts, *option.secondary_opts} for words in own)
        ]

    assert lacking == []


def _commands(group: TyperGroup, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command, by its name and those of the groups that it is in."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name), command


def _words_of_functions(path: Path) -> list[set[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants: dict[str, set[str]] = {}

    def words(node: ast.AST) -> set[str]:
        found: set[str] = set()
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                found.add(each.value)
            elif isinstance(each, ast.Name):
                found |= constants.get(each.id, set())
        return found

    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            constants[statement.targets[0].id] = words(statement.value)
    return [words(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
