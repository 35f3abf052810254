"""The rules, their sections in the documentation and their tests are the same, and enough is said of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from allframe.saga.waivers import ADVICE
from tests.rulebook import LISTED, accepted, named_by_tests, refused
from tests.sources import ROOT, modules

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
#: The code of `DefinitionError` itself.
WHOLE = "AF100"


@pytest.mark.parametrize("rule", LISTED)
def test_a_rule_is_told_in_one_line(rule: str) -> None:
    assert re.fullmatch(r"[^A-Z\n].{10,}[^.]", LISTED[rule]), LISTED[rule]


@pytest.mark.parametrize("rule", LISTED)
def test_a_rule_refuses_three_definitions_and_accepts_three(rule: str) -> None:
    assert refused(rule) >= 3
    assert accepted(rule) >= 3


def test_no_test_is_named_after_a_rule_that_is_not_there() -> None:
    assert named_by_tests() - LISTED.keys() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_rule_that_is_not_there(page: Path) -> None:
    assert _named(page.read_text(encoding="utf-8")) - LISTED.keys() - {WHOLE} == set()


def test_the_code_finds_each_rule_and_no_other() -> None:
    named = {code for module in modules().values() for code in re.findall(r'"(AF[12]\d\d)"', module.text)}

    assert named == LISTED.keys() | {WHOLE}


def test_rules_come_in_order_and_advice_after_them() -> None:
    assert list(LISTED) == sorted(LISTED)
    assert all(code.startswith("AF2") for code in ADVICE)


def _named(text: str) -> set[str]:
    return set(re.findall(r"\bAF[12]\d\d\b", text))
