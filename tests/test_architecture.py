"""The house keeps its shape: floors, no cycles, small files, optional things behind their doors."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator

from tests.sources import ROOT, Import, Module, imports, modules, own_imports

#: From the ground up. A room imports from the floors below it; rooms on one floor do not know each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "clock", "loops", "masking", "plain", "sets", "source"),
    ("roundtrip",),
    ("naming", "payload", "inject", "refusing"),
    ("events",),
    ("saga", "cqrs"),
    ("engines", "testing", "dashboard"),
    ("allframe",),  # the package's face: it shows what is below, and only programs stand above it
    ("demo",),
    ("cli",),
    ("__main__",),
)

#: Files that may have more than 400 lines, with the reason why each is one idea.
LONG: dict[str, str] = {
    "allframe/errors.py": "one tree: whoever catches one of them finds all of them in one place",
    "allframe/saga/execution.py": "one state machine: the decisions, and the fold that they look at",
}

#: Imports of our own inside functions, (file, module): the reason.
DEFERRED: dict[tuple[str, str], str] = {
    ("allframe/cli/__init__.py", "allframe.cli.app"): "without the extra, the command says what to install",
    ("allframe/testing/clock.py", "allframe.testing.trio_clock"): "only who tests on trio needs it",
    ("allframe/testing/clock.py", "allframe.testing.uvloop_clock"): "only who tests on uvloop needs it",
}

#: What an extra brings: only these rooms may import it.
OPTIONAL: dict[str, tuple[str, ...]] = {
    "typer": ("cli",),
    "click": ("cli",),
    "rich": ("cli",),
    "dishka": ("inject",),
    "cryptography": ("events",),
    "typeguard": ("saga", "testing"),
    "pytest": ("testing",),
    "trio": ("testing",),
    "uvloop": ("testing",),
    "psycopg": ("events",),
}

#: What every installation has.
REQUIRED = {"anyio", "pydantic", "pydantic_core", "typing_extensions"}


def test_a_room_imports_only_from_the_floors_below_it() -> None:
    floors = {room: number for number, floor in enumerate(FLOORS) for room in floor}

    wrong = [
        f"{module.file}:{found.line} imports {found.name}"
        for module, found in _own()
        if (target := modules()[found.name].room) != module.room and floors[target] >= floors[module.room]
    ]

    assert wrong == []


def test_every_room_has_a_floor() -> None:
    rooms = {module.room for module in modules().values()}

    assert rooms - {room for floor in FLOORS for room in floor} == set()


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {found.name for found in own_imports(module) if found.at_import} for name, module in modules().items()
    }

    assert _on_a_circle(graph) == set()


def test_a_file_has_at_most_400_lines_or_a_reason() -> None:
    long = {module.file for module in modules().values() if len(module.text.splitlines()) > 400}

    assert long == set(LONG)


def test_an_import_inside_a_function_has_a_reason() -> None:
    hidden = {(module.file, found.name) for module, found in _own() if found.deferred}

    assert hidden == set(DEFERRED)


def test_optional_dependencies_stay_in_their_rooms() -> None:
    strays = [
        f"{module.file}:{found.line} imports {found.name}"
        for module, found in _all()
        if (package := found.name.split(".")[0]) in OPTIONAL and module.room not in OPTIONAL[package]
    ]

    assert strays == []


def test_nothing_undeclared_is_imported() -> None:
    known = REQUIRED | OPTIONAL.keys() | sys.stdlib_module_names | {"allframe"}
    strays = [
        f"{module.file}:{found.line} imports {found.name}"
        for module, found in _all()
        if found.name.split(".")[0] not in known
    ]

    assert strays == []


def test_the_package_needs_only_what_pyproject_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {requirement.split(">")[0] for requirement in project["dependencies"]}

    assert declared == {"anyio", "pydantic", "typing-extensions"}


def test_importing_allframe_imports_nothing_optional() -> None:
    program = f"import sys, allframe; print(sorted(sys.modules.keys() & {set(OPTIONAL)!r}))"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stdout.strip() == "[]"


def _own() -> Iterator[tuple[Module, Import]]:
    return ((module, found) for module in modules().values() for found in own_imports(module))


def _all() -> Iterator[tuple[Module, Import]]:
    return ((module, found) for module in modules().values() for found in imports(module))


def _on_a_circle(graph: dict[str, set[str]]) -> set[str]:
    """The modules from which imports lead back to them."""
    left = {name: set(targets) for name, targets in graph.items()}
    while done := {name for name, targets in left.items() if not targets & left.keys()}:
        for name in done:
            del left[name]
    return {name for name in left if name in _reachable(name, graph)}


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen
