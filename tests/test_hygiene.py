"""What the code must not do anywhere: run what was stored, make SQL of data, ask the wall clock, sleep in tests."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import PACKAGE, ROOT, Module, calls, imports, modules

#: The one place that imports a module by a name: the one that the user typed as TARGET on the command line.
LOADS_TARGETS = "allframe/cli/target.py"

#: SQL that is put together, (file, expression): the reason.
COMPOSED: dict[tuple[str, str], str] = {
    ("allframe/events/sqlite_read.py", "_HEADS + rest"): "of the module's own conditions; every value is bound",
}

#: Who asks the machine for the time, (file, call): the reason.
WALL_CLOCK: dict[tuple[str, str], str] = {
    ("allframe/clock.py", "datetime.now"): "it is the clock",
    ("allframe/events/lockfile.py", "datetime.now"): "it tells people since when a file is owned",
}

#: Where waiting for real time is the behaviour, (file, call): the reason.
SLEEPS: dict[tuple[str, str], str] = {
    ("tests/saga/test_sigint.py", "time.sleep"): "it waits for another process, in real time",
}


@pytest.mark.parametrize("name", ["pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"])
def test_nothing_stored_can_become_code(name: str) -> None:
    users = [
        module.file for module in modules().values() for found in imports(module) if found.name.split(".")[0] == name
    ]

    assert users == []


def test_nothing_is_evaluated() -> None:
    found = [f"{module.file}:{call.lineno}" for module, name, call in _calls() if name in {"eval", "exec", "compile"}]

    assert found == []


def test_only_the_command_lines_target_is_imported_by_name() -> None:
    loaders = {"import_module", "__import__", "spec_from_file_location", "run_path", "run_module", "exec_module"}

    files = {module.file for module, name, _ in _calls() if name.split(".")[-1] in loaders}

    # The face of the package loads its own rooms, by a table of constants.
    assert files <= {LOADS_TARGETS, "allframe/__init__.py"}


def test_sql_is_never_formatted() -> None:
    execute = {"execute", "executemany", "executescript"}

    found = {
        (module.file, ast.unparse(call.args[0]))
        for module, name, call in _calls()
        if name.split(".")[-1] in execute and call.args and _is_formatted(call.args[0])
    }

    assert found == set(COMPOSED)


@pytest.mark.parametrize("name", ["asyncio.wait_for", "anyio.fail_after"])
def test_a_wait_that_hides_cancellation_is_not_used(name: str) -> None:
    assert [f"{module.file}:{call.lineno}" for module, called, call in _calls() if called == name] == []


def test_only_the_clock_asks_for_the_time() -> None:
    asking = {"time.time", "datetime.now", "datetime.utcnow", "datetime.today"}

    assert {(module.file, name) for module, name, _ in _calls() if name in asking} == set(WALL_CLOCK)


def test_tests_do_not_sleep() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), ast.unparse(node.func))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    }

    assert found - set(SLEEPS) == set()


def test_no_file_names_a_package_registry() -> None:
    hosts = [b"py" + b"pi.org", b"python" + b"hosted", b"registry." + b"npmjs", b"deb." + b"debian"]

    found = [path for path in _repository_files() if any(host in (ROOT / path).read_bytes() for host in hosts)]

    assert found == []


def test_the_lock_file_of_one_machine_is_ignored() -> None:
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def _calls() -> Iterator[tuple[Module, str, ast.Call]]:
    return ((module, name, call) for module in modules().values() for name, call in calls(module))


def _is_formatted(sql: ast.expr) -> bool:
    """Whether a text is put together at run time. Adjacent literals are one constant to Python."""
    if isinstance(sql, ast.Call):
        return isinstance(sql.func, ast.Attribute) and sql.func.attr in {"format", "join", "replace"}
    return isinstance(sql, ast.JoinedStr | ast.BinOp) and not _is_pragma_with_a_number(sql)


def _is_pragma_with_a_number(sql: ast.expr) -> bool:
    """A pragma takes no parameters; ``:d`` raises for anything that is no whole number."""
    text = ast.unparse(sql)
    values = [part for part in ast.walk(sql) if isinstance(part, ast.FormattedValue)]
    numbers = [value for value in values if value.format_spec and ast.unparse(value.format_spec) in {"f'd'", "'d'"}]
    return isinstance(sql, ast.JoinedStr) and text.startswith("f'PRAGMA ") and values == numbers


def _repository_files() -> list[Path]:
    """What git tracks or would add; in a copy without git, everything that is neither hidden nor made by Python."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        return [path for path in paths if not any(part.startswith((".", "__pycache__")) for part in path.parts)]
    return [path for name in listing.stdout.split("\0") if name and (ROOT / (path := Path(name))).is_file()]
