"""Each rule's section in `docs/errors.md` shows a definition that it refuses, in which words, and the same one mended."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from allframe import DefinitionError, Saga
from allframe.saga.rules import RULES
from tests.rulebook import LISTED
from tests.sources import ROOT

pytestmark = pytest.mark.usefixtures("own_classes")


@dataclass(frozen=True)
class Section:
    """What a rule's section shows."""

    wrong: str | None
    #: What is said: the first line of the wrong definition, beside its place. ``…`` stands for anything.
    message: str | None
    right: str | None


def _sections() -> dict[str, Section]:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    parts = re.split(r"^### (AF\d{3})$|^## .*$", page, flags=re.MULTILINE)
    return {code: _section(text) for code, text in zip(parts[1::2], parts[2::2], strict=True) if code in LISTED}


def _section(text: str) -> Section:
    return Section(
        _found(r"\*\*Wrong\.\*\*\n\n```python", text),
        _found(r"```text", text),
        _found(r"\*\*Right\.\*\*\n\n```python", text),
    )


def _found(opening: str, text: str) -> str | None:
    block = re.search(rf"^{opening}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return block and block[1]


SECTIONS = _sections()


@pytest.mark.parametrize("rule", LISTED)
def test_a_rule_shows_a_wrong_definition_and_the_right_one(rule: str) -> None:
    section = SECTIONS[rule]

    assert section.wrong
    assert section.right
    assert section.wrong != section.right


@pytest.mark.parametrize("rule", RULES)
def test_the_wrong_definition_is_refused_by_this_rule_alone_and_in_these_words(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = SECTIONS[rule]
    assert section.wrong
    assert section.message
    message = section.message.splitlines()[0]

    with pytest.raises(DefinitionError) as refusal:
        run(section.wrong, _file_in(message), tmp_path, monkeypatch)

    (problem,) = refusal.value.problems
    said = problem.text.replace(f"{tmp_path}/", "")
    assert problem.rule == rule
    assert problem.where.startswith(f"{tmp_path}/")
    assert re.fullmatch(re.escape(message).replace("…", ".*"), said), said


@pytest.mark.parametrize("rule", LISTED)
def test_the_right_definition_imports(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = SECTIONS[rule]
    assert section.right

    run(section.right, "transfer", tmp_path, monkeypatch)


# --- a definition as a program ---------------------------------------------------------------------------------------


def run(source: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a program of one module, and check what could not be checked when its classes were made.

    Raises:
        DefinitionError: as a user would see it.
    """
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    try:
        module = importlib.import_module(name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Saga) and value is not Saga:
                assert value.graph
    finally:
        sys.modules.pop(name, None)
    return module


def _file_in(message: str) -> str:
    """The name of the module that a message speaks of."""
    found = re.search(r"\b(\w+)\.py\b", message)
    return found[1] if found else "transfer"
