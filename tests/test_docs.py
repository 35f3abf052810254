"""The documentation says what the code has, and only that."""

from __future__ import annotations

import dataclasses
import os
import re
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from allframe.cli.app import app
from allframe.errors import AllframeError, CommandError, QueryError, SagaError, StoreError
from allframe.saga import records
from allframe.saga.rules import RULES
from allframe.saga.waivers import ADVICE
from tests.sources import ROOT, modules

DOCS = ROOT / "docs"

#: What is only there to be caught.
BASES = (SagaError, StoreError, CommandError, QueryError)

DEMO = "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/allframe demo"
TEST = (
    "python3 -m venv .venv && .venv/bin/pip install -q -U pip && .venv/bin/pip install -q -e '.[cli]' --group dev && "
    ".venv/bin/pytest -n auto --dist loadfile"
)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_error_has_a_code_of_its_own() -> None:
    codes = Counter(cls.code for cls in _errors())

    assert [code for code, count in codes.items() if count > 1] == []
    assert all(re.fullmatch(r"AF\d{3}", code) for code in codes)


def test_the_bases_have_no_code() -> None:
    assert [base for base in (AllframeError, *BASES) if "code" in vars(base)] == []


def test_every_code_has_its_section_and_no_other_has() -> None:
    sections = re.findall(r"^### (AF\d{3})$", _page("errors.md"), flags=re.MULTILINE)

    assert sections == sorted(sections)
    assert (
        set(sections) == {cls.code for cls in _errors()} | RULES.keys() | ADVICE.keys() | _codes_of_the_command_line()
    )


@pytest.mark.parametrize("cls", sorted({cls.__name__ for cls in AllframeError.__subclasses__()}))
def test_the_tree_in_the_module_names_every_error(cls: str) -> None:
    assert cls in (modules()["allframe.errors"].text.partition('"""\n\nfrom')[0])


def test_a_section_names_its_class() -> None:
    sections = _sections(_page("errors.md"), "### ")

    assert [cls for cls in _errors() if f"`{cls.__name__}`" not in sections[cls.code]] == []


def test_every_section_says_why_and_what_to_do_and_shows_the_text() -> None:
    sections = _sections(_page("errors.md"), "### ")

    lacking = [
        code
        for code, text in sections.items()
        if not ("**Why.**" in text and "**What to do.**" in text and re.search(r"```text\n.{20}", text))
    ]

    assert lacking == []


# --- commands --------------------------------------------------------------------------------------------------------


def test_the_readme_has_the_two_commands() -> None:
    blocks = re.findall(r"^```sh\n(.*?)\n```$", _page("../README.md"), flags=re.MULTILINE | re.DOTALL)

    assert blocks == [DEMO, TEST]


@pytest.mark.parametrize("folder", [ROOT, Path("/")])
def test_ci_runs_the_readmes_test_command(folder: Path) -> None:
    found = subprocess.run(
        [ROOT / ".ci" / "run", "--test-command"], cwd=folder, capture_output=True, text=True, check=True
    )

    assert found.stdout == f"{TEST}\n"


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_command_has_its_section_and_no_other_has() -> None:
    sections = re.findall(r"^## `allframe (\w+)", _page("cli.md"), flags=re.MULTILINE)

    assert sorted(sections) == sorted(_commands())


def test_every_option_is_documented_with_its_command() -> None:
    sections = {title.split()[1].strip("`"): text for title, text in _sections(_page("cli.md"), "## `").items()}

    lacking = [
        f"{name} {option}"
        for name, command in _commands().items()
        for parameter in _parameters(command)
        if isinstance(parameter, TyperOption)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if f"`{option}" not in sections[name]
    ]

    assert lacking == []


def test_no_option_is_documented_that_is_not_there() -> None:
    known = {
        opt
        for command in [_program(), *_commands().values()]
        for parameter in _parameters(command)
        for opt in parameter.opts
    }
    known |= {"--help", "--install-completion", "--show-completion"}

    named = set(re.findall(r"`(--[a-z-]+)", _page("cli.md")))

    assert named - known == set()


# --- the map of the code ---------------------------------------------------------------------------------------------


def test_the_map_has_each_file_once_in_its_folder_and_no_other() -> None:
    page = _page("architecture.md")
    listing = page[page.index("allframe/\n") :].partition("```")[0]

    shown: list[str] = []
    folder = ""
    for branch, name in re.findall(r"^(.*?)(\w+/|\w+\.py)(?: |$)", listing, flags=re.MULTILINE):
        in_folder = branch.startswith(("│   ", "    "))
        if name.endswith("/"):
            folder = name
        else:
            shown.append(f"allframe/{folder if in_folder else ''}{name}")

    assert sorted(shown) == sorted(module.file for module in modules().values())


def test_every_record_is_documented_with_its_fields() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", _page("architecture.md"), flags=re.MULTILINE))

    lacking = [
        f"{record.__name__}.{field.name}"
        for record in records.Record.__args__
        for field in dataclasses.fields(record)
        if f"`{field.name}`" not in rows.get(record.__name__, "") and field.name not in {"starts", "compensates"}
    ]

    assert lacking == []


@pytest.mark.anyio
async def test_every_column_of_the_file_is_documented(tmp_path: Path) -> None:
    from allframe import EventStore

    async with EventStore(f"sqlite:///{tmp_path}/store.db") as store:
        tables = store.backend.tables("projection")
        await tables.open("", "")
        await tables.close()
    columns: list[tuple[str, str]] = []
    for file in (tmp_path / "store.db", tmp_path / "store.db.projections" / "projection.db"):
        with closing(sqlite3.connect(file)) as sql:
            columns += sql.execute(
                "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c "
                "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
            ).fetchall()

    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \|(.*)$", _page("architecture.md"), flags=re.MULTILINE))

    assert {f"{table}.{column}" for table, column in columns} == rows.keys()


# --- the pages -------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_index() -> None:
    listed = set(re.findall(r"^([\w-]+)$", _page("index.md"), flags=re.MULTILINE))

    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} == listed


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_relative_links_of_the_repositorys_pages_lead_somewhere(page: str) -> None:
    """Sphinx checks those inside of docs."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))

    assert [link for link in links if not (ROOT / link).exists()] == []


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _sections(page: str, heading: str) -> dict[str, str]:
    """The text below each heading, by the heading's own text."""
    parts = re.split(rf"^{re.escape(heading)}(.*)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _errors() -> list[type[AllframeError]]:
    """Every error of allframe's own that is raised: not the bases."""
    return [cls for cls in _below(AllframeError) if cls not in BASES and cls.__module__ in modules()]


def _below(cls: type[AllframeError]) -> Iterator[type[AllframeError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


def _codes_of_the_command_line() -> set[str]:
    texts = (module.text for module in modules().values() if module.room == "cli")
    return {code for text in texts for code in re.findall(r"\bAF6\d\d\b", text)}


def _program() -> TyperGroup:
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    return program


def _parameters(command: Any) -> list[Any]:
    """A command's parameters; of a group, those of its commands as well."""
    below = getattr(command, "commands", {})
    return [*command.params, *(parameter for child in below.values() for parameter in _parameters(child))]


def _commands() -> dict[str, Any]:
    """Typer's command objects by name."""
    return dict(_program().commands)


def _parameters(command: Any) -> list[Any]:
    """Its own, and those of the commands below it."""
    below = command.commands.values() if isinstance(command, TyperGroup) and command.name != _program().name else ()
    return [*command.params, *(parameter for each in below for parameter in each.params)]
