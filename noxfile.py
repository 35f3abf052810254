"""The same checks as `.ci/run`, over every supported Python: `nox`, or one of them: `nox -s tests-3.12`."""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
#: A file of tests at a time on each processor; a page of docs is one program, and is not split.
AT_ONCE = ("-n", "auto", "--dist", "loadfile")


def install(session: nox.Session, group: str) -> None:
    """Install the project with its command line and one of its dependency groups."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, group))
    session.install("-q", "-e", ".[cli]")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests; what stands after `--` goes to pytest."""
    install(session, "test")
    session.run("pytest", *AT_ONCE, *session.posargs)


@nox.session
@nox.parametrize("loop", ["asyncio", "uvloop", "trio"])
def loops(session: nox.Session, loop: str) -> None:
    """Run the async tests on one event loop."""
    install(session, "test")
    session.run("pytest", *AT_ONCE, *session.posargs, env={"ALLFRAME_LOOPS": loop})


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, formatting, types."""
    install(session, "dev")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy", "--strict", "allframe", "tests/typing")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the docs into docs/_build; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")
