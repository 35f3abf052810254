"""Data cannot play tricks on a terminal, and what is piped is plain."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from allframe.cli.render import clean, moment, print_json, print_table, printable
from allframe.saga.wording import elapsed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tea", "tea"),
        ("Grüße 茶 🍵", "Grüße 茶 🍵"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("[bold]no markup[/]", "[bold]no markup[/]"),
    ],
)
def test_escapes_what_is_not_printable(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_cuts_what_is_too_long() -> None:
    assert clean("abcdef", 4) == "abc…"
    assert clean("abcd", 4) == "abcd"


def test_a_message_keeps_its_lines() -> None:
    assert printable("one\n  two\x1b\n") == "one\n  two\\x1b"


def test_a_piped_table_is_plain_text_of_any_width(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID", "N"), [("x" * 300, 1), ("[red]\x1b", 22)], right=("N",))

    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"ID{' ' * 298}   N", f"{'x' * 300}   1", f"[red]\\x1b{' ' * 291}  22"]


def test_json_is_ascii_and_has_times_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"id": "\x1bé", "at": datetime(2026, 1, 2, tzinfo=UTC)})

    assert capsys.readouterr().out == '{"id": "\\u001b\\u00e9", "at": "2026-01-02T00:00:00+00:00"}\n'


def test_times_are_for_people() -> None:
    assert [elapsed(value) for value in (0.0123, 3.44, 306, 7300)] == ["12 ms", "3.4 s", "5 min 6 s", "2 h 1 min"]
    assert moment(datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)) == "2026-01-02 03:04:05.678"
