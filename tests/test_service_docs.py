"""The service that the documentation sets up is one that the command line has, and systemd understands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from allframe.cli.app import app
from tests.sources import ROOT

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini"))
    return parser


def parsed(words: list[str]) -> dict[str, Any]:
    """What ``allframe work`` understands by these words: its parameters."""
    assert words[1] == "work"
    program: Any = get_command(app)
    context = program.commands["work"].make_context("work", words[2:])
    return dict(context.params)


def test_the_units_command_can_be_run() -> None:
    options = parsed(shlex.split(unit()["Service"]["ExecStart"]))

    assert options["modules"] == ["shop.sagas"]
    assert options["store"].startswith(f"sqlite:////var/lib/{unit()['Service']['StateDirectory']}/")


def test_the_unit_gives_it_the_time_that_it_takes() -> None:
    service = unit()["Service"]
    options = parsed(shlex.split(service["ExecStart"]))

    assert (service["Type"], service["KillSignal"], service["Restart"]) == ("notify", "SIGTERM", "on-failure")
    assert float(service["TimeoutStopSec"]) > options["grace"]
    assert float(service["TimeoutStartSec"]) > options["wait"]


def test_the_containers_command_can_be_run() -> None:
    (words,) = re.findall(r"^ENTRYPOINT (\[.*\])$", block("dockerfile"), flags=re.MULTILINE)
    options = parsed(json.loads(words))

    (patience,) = re.findall(r"`terminationGracePeriodSeconds` longer than `--grace`\*\*: (\d+)", PAGE)
    assert float(patience) > options["grace"]


def test_every_command_of_the_page_can_be_run() -> None:
    commands = [
        line for text in re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.M | re.S) for line in text.splitlines()
    ]

    assert len(commands) == 2
    assert all(parsed(shlex.split(command))["modules"] == ["shop.sagas"] for command in commands)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    # The program and the user of the page are not on this machine.
    text = block("ini").replace("/srv/shop/.venv/bin/allframe", "/bin/true").replace("User=shop\n", "User=daemon\n")
    (tmp_path / "shop-sagas.service").write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tmp_path / "shop-sagas.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    about_the_unit = [line for line in done.stderr.splitlines() if "shop-sagas.service" in line]
    assert about_the_unit == []
