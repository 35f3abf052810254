"""``allframe check`` sees all of a code base: every class, every module, by file and line."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

import pytest

from allframe import DefinitionError, Saga, step
from allframe.refusing import noting_refusals
from tests.cli.shell import ROOT, Shop, environment

HEAD = "from allframe import Aggregate, Command, Event, Retry, Saga, SagaDefinition, SagaStep, compensates, step\n"

TWO = f"""{HEAD}
class First(Saga):
    @compensates("pay")
    async def undo(self) -> None: ...

class Fine(Saga):
    @step(readonly=True)
    async def look(self) -> None: ...

class Second(Saga):
    copy: str

    @step(timeout=0)
    async def pay(self) -> None: ...
"""

ADVISED = f"""{HEAD}
class Pay(Saga):
    @step
    async def pay(self): ...

    @compensates("pay", if_unknown="fail", waive={{"AF201": "the bank, 100% by hand: ::ask\\n it"}})
    async def undo(self) -> None: ...
"""

FINE = f"{HEAD}\nclass Fine(Saga):\n    @step(readonly=True)\n    async def look(self) -> None: ...\n"


def write(shop: Shop, **files: str) -> None:
    for name, source in files.items():
        path = shop.folder / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def package(shop: Shop, name: str, **modules: str) -> None:
    folder = shop.folder / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(modules.pop("init", ""))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)


def heads(text: str) -> list[str]:
    """The lines that say where and what."""
    return [line for line in text.splitlines() if not line.startswith((" ", "Found"))]


# --- everything ------------------------------------------------------------------------------------------------------


def test_a_class_that_is_refused_hides_no_other(shop: Shop) -> None:
    write(shop, two=TWO)

    done = shop.run("check", "two.py", "shop.py", code=4)

    assert heads(done.stderr) == [
        "two.py:3: AF111 Saga First",
        "two.py:4: AF101 Saga First, undo",
        "two.py:11: AF115 Saga Second, copy",
        "two.py:14: AF109 Saga Second, pay",
    ]
    assert done.stderr.endswith("\nFound 4 problems.\n")
    assert done.stdout == "shop.py: 1 saga checked, no problems: Order\n"


def test_what_is_refused_beside_sagas_is_told_as_well(shop: Shop) -> None:
    write(
        shop,
        kinds=f"""{HEAD}
class Happened(Event, name="$x"): ...
class Do(Command, name="a/b"): ...
class Thing(Aggregate, version=0): ...
class Pack(SagaStep):
    execute: int
class Send(SagaStep): ...
class Fine(Saga):
    @step(readonly=True)
    async def look(self) -> None: ...
""",
    )

    assert heads(shop.run("check", "kinds.py", code=4).stderr) == [
        "kinds.py:3: AF118 Event Happened",
        "kinds.py:4: AF120 Command Do",
        "kinds.py:5: AF122 Aggregate Thing",
        "kinds.py:6: AF111 Step Pack, execute",
        "kinds.py:6: AF115 Step Pack, execute",
        "kinds.py:8: AF111 Step Send, execute",
    ]


def test_what_cannot_be_resolved_is_told_with_the_rest(shop: Shop) -> None:
    write(
        shop,
        late=f"from __future__ import annotations\n{TWO}\n    @step(readonly=True)\n    async def x(self, y: No): ...\n",
    )

    assert "late.py:4: AF111 Saga First" in heads(shop.run("check", "late.py", code=4).stderr)
    write(
        shop,
        late=f"from __future__ import annotations\n{FINE}\n"
        "    @step(readonly=True)\n    async def x(self, y: No) -> None: ...\n",
    )
    assert heads(shop.run("check", "late.py", code=4).stderr) == ["late.py:8: AF105 Saga Fine, x"]


def test_a_package_is_checked_with_all_that_is_in_it(shop: Shop) -> None:
    package(shop, "store", init="from store.good import Fine\n", good=FINE, two=TWO, broken="import nowhere\n")
    package(shop, "store/deep", pay=ADVISED, __main__="raise SystemExit('it was run')")

    for target in ("store", "store/", "./store"):
        done = shop.run("check", target, code=4)

        assert heads(done.stderr) == [
            "store/broken.py:1: AF601",
            "store/deep/pay.py:4: AF203 (advice) Saga Pay, pay",
            "store/two.py:3: AF111 Saga First",
            "store/two.py:4: AF101 Saga First, undo",
            "store/two.py:11: AF115 Saga Second, copy",
            "store/two.py:14: AF109 Saga Second, pay",
        ], target
        assert "store.broken cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in done.stderr
        assert done.stdout == ""


def test_a_folder_is_checked_with_the_packages_and_files_in_it(shop: Shop) -> None:
    (shop.folder / "shop.py").unlink()
    package(shop, "src/store", good=FINE, two=TWO)
    write(shop, src__tools__mend=FINE.replace("Fine", "Mend"), src__setup="raise SystemExit(1)", src__plain="x = 1\n")
    (shop.folder / "src/.venv").mkdir()
    (shop.folder / "src/.venv/hidden.py").write_text("raise SystemExit(1)")
    (shop.folder / "src/env").mkdir()
    (shop.folder / "src/env/pyvenv.cfg").write_text("")
    (shop.folder / "src/env/theirs.py").write_text("raise SystemExit(1)")

    assert heads(shop.run("check", "src", code=4).stderr)[0] == "src/store/two.py:3: AF111 Saga First"
    (shop.folder / "src/store/two.py").unlink()
    assert shop.run("check", ".").stdout == ".: 2 sagas checked, no problems: Fine, Mend\n"


def test_a_saga_that_is_not_there_is_told_beside_what_was_refused(shop: Shop) -> None:
    write(shop, two=TWO)

    shown = shop.run("check", "two.py:Fin", code=4).stderr

    assert "two.py:Fin: two.py has no saga 'Fin'. Did you mean two.py:Fine?" in shown
    assert "AF101 Saga First, undo" in shown


def test_modules_without_sagas_are_fine_among_others_and_usage_alone(shop: Shop) -> None:
    package(shop, "empty", part="x = 1\n")

    assert shop.run("check", "empty", code=2).stderr == (
        "empty: there are no sagas in it. Name the module that defines them.\n"
    )
    assert shop.run("check", "nowhere/", code=2).stderr.startswith("nowhere/: There is no file nowhere.")


def test_a_module_that_cannot_be_imported_hides_no_other(shop: Shop) -> None:
    write(shop, syntax="def :\n", raises=f"{TWO}\nraise RuntimeError('not\\nnow')\n", two=TWO)

    done = shop.run("check", "syntax.py", "raises.py", "two.py", code=4)

    assert "syntax.py:1: AF601" in heads(done.stderr)
    assert "raises.py:17: AF601" in heads(done.stderr)
    assert "raises.py:4: AF101 Saga First, undo" in heads(done.stderr), "what was refused before is told"
    assert "two.py:4: AF101 Saga First, undo" in heads(done.stderr)


def test_a_module_that_ends_the_program_or_cannot_say_why_hides_no_other(shop: Shop) -> None:
    write(
        shop,
        needs="import argparse\n\nargparse.ArgumentParser().parse_args(['--what'])\n",
        skips="import pytest\n\npytest.skip('not here', allow_module_level=True)\n",
        mute="class Mute(Exception):\n    def __str__(self): raise RuntimeError\n\nraise Mute\n",
        two=TWO,
    )
    (shop.folder / "nul.py").write_bytes(b"x = 1\x00\n")

    done = shop.run("check", "needs.py", "skips.py", "mute.py", "nul.py", "two.py", code=4)

    assert "Traceback" not in done.stderr
    assert "needs.py:3: AF601" in heads(done.stderr), "the line of the module, and not of argparse"
    assert "skips.py:3: AF601" in heads(done.stderr)
    assert "    skips cannot be imported: Skipped: not here (" in done.stderr
    assert "mute.py:4: AF601" in heads(done.stderr)
    assert "    mute cannot be imported: Mute: what it says cannot be said (RuntimeError) (" in done.stderr
    assert any(line.startswith("nul.py") and line.endswith(": AF601") for line in heads(done.stderr))
    assert "two.py:4: AF101 Saga First, undo" in heads(done.stderr)


def test_what_stands_for_something_else_in_a_module_is_not_asked(shop: Shop) -> None:
    stand_ins = """
import sys, types

class Lazy:
    def __getattribute__(self, name): raise RuntimeError("there is no request here")

class LazyModule(types.ModuleType):
    def __getattr__(self, name): raise RuntimeError("its library is not installed")

request = Lazy()
sys.modules["lazy_of_nobody"] = LazyModule("lazy_of_nobody")
"""
    write(shop, stands=f"{stand_ins}\n{FINE}", other=FINE.replace("Fine", "Other"))
    write(shop, replaced="import sys\n\nsys.modules[__name__] = object()\n")

    done = shop.run("check", "stands.py", "other.py")

    assert done.stdout == "stands.py: 1 saga checked, no problems: Fine\nother.py: 1 saga checked, no problems: Other\n"
    assert shop.run("check", "replaced", code=2).stderr.startswith("replaced: there are no sagas in it.")


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_what_nobody_can_read_still_ends_with_the_code(shop: Shop, form: str) -> None:
    write(shop, two=TWO)
    command = f"exec {sys.executable} -m allframe check --format {form} two.py >&-"

    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=shop.folder, env=environment(), capture_output=True, check=False
    )

    assert (done.returncode, b"Traceback" in done.stderr) == (4, False)


def test_what_is_inherited_is_told_once(shop: Shop) -> None:
    write(shop, sub=f"{ADVISED}\nclass Sub(Pay): ...\n", base=f"{TWO}\nclass Third(Second): ...\n")

    assert heads(shop.run("check", "sub.py").stderr) == ["sub.py:4: AF203 (advice) Saga Pay, pay"]
    assert [line for line in heads(shop.run("check", "base.py", code=4).stderr) if "AF109" in line] == [
        "base.py:14: AF109 Saga Second, pay"
    ]


def test_one_saga_is_checked_alone_but_its_module_must_import(shop: Shop) -> None:
    write(
        shop, two=TWO, advised=f"{ADVISED}\nclass Other(Saga):\n    @step(readonly=True)\n    async def x(self): ...\n"
    )

    assert len(heads(shop.run("check", "two.py:Fine", code=4).stderr)) == 4
    assert heads(shop.run("check", "advised.py:Pay").stderr) == ["advised.py:4: AF203 (advice) Saga Pay, pay"]


# --- what is refused stays refused -----------------------------------------------------------------------------------


def test_a_class_that_was_noted_cannot_be_used() -> None:
    with noting_refusals() as noted:

        class Bad(Saga, name="noted.bad"):
            @step(timeout=0)
            async def go(self) -> None: ...

    assert [error.what.split(".")[-1] for error in noted] == ["Bad"]
    for _ in range(2):
        with pytest.raises(DefinitionError) as refusal:
            _ = Bad.graph
        assert refusal.value is noted[0]


def test_a_refusal_is_raised_as_soon_as_nobody_notes_any_more() -> None:
    with noting_refusals():
        pass

    with pytest.raises(DefinitionError):

        class Bad(Saga):
            @step(timeout=0)
            async def go(self) -> None: ...


def test_a_saga_that_is_run_while_it_is_imported_is_refused_then(shop: Shop) -> None:
    write(shop, runs=f"{TWO}\nfrom allframe import run\nrun(Second(copy='x'))\n")

    done = shop.run("check", "runs.py", code=4)

    assert "runs.py:14: AF109 Saga Second, pay" in heads(done.stderr)


# --- advice and waivers ----------------------------------------------------------------------------------------------


def test_advice_is_told_and_fails_only_where_it_is_asked_to(shop: Shop) -> None:
    write(shop, pay=ADVISED)

    done = shop.run("check", "pay.py")
    strict = shop.run("check", "pay.py", "--strict", code=4)

    assert heads(done.stderr) == ["pay.py:4: AF203 (advice) Saga Pay, pay"]
    assert done.stderr.endswith("\nFound 1 advice.\n")
    assert (done.stdout, done.stderr) == (strict.stdout, strict.stderr)
    assert done.stdout == "pay.py: 1 saga checked, no problems: Pay\n"


def test_what_is_waived_is_shown_with_its_reason_where_it_is_asked_for(shop: Shop) -> None:
    write(shop, pay=ADVISED.replace("pay(self)", "pay(self) -> None"))

    assert shop.run("check", "pay.py", "--strict").stderr == ""
    shown = shop.run("check", "pay.py", "--strict", "--show-waived").stderr
    assert heads(shown) == ["pay.py:7: AF201 (waived) Saga Pay, undo"]
    assert "\n    Waived: the bank, 100% by hand: ::ask\\n it\n" in shown
    assert shown.endswith("\nFound 1 waived.\n")


def test_a_waiver_that_waives_nothing_is_reported(shop: Shop) -> None:
    write(shop, pay=ADVISED.replace('if_unknown="fail", ', "").replace("pay(self)", "pay(self) -> None"))

    assert heads(shop.run("check", "pay.py").stderr) == ["pay.py:7: AF205 (advice) Saga Pay, undo"]
    shop.run("check", "pay.py", "--strict", code=4)


# --- for programs ----------------------------------------------------------------------------------------------------

KEYS = ["rule", "saga", "member", "path", "line", "text", "near", "severity", "reason"]


def as_json(shop: Shop, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shop.run("check", "--format", "json", *arguments, code=code).stdout)
    assert all(list(each) == KEYS for each in found)
    return found


def test_json_is_a_list_of_all_that_was_found(shop: Shop) -> None:
    write(shop, two=TWO, pay=ADVISED, broken="import nowhere\n")

    found = as_json(shop, "two.py", "pay.py", "broken.py", "--show-waived", code=4)

    assert [
        (each["path"], each["line"], each["rule"], each["saga"], each["member"], each["severity"]) for each in found
    ] == [
        ("broken.py", 1, "AF601", None, None, "error"),
        ("pay.py", 4, "AF203", "Pay", "pay", "advice"),
        ("pay.py", 7, "AF201", "Pay", "undo", "waived"),
        ("two.py", 3, "AF111", "First", None, "error"),
        ("two.py", 4, "AF101", "First", "undo", "error"),
        ("two.py", 11, "AF115", "Second", "copy", "error"),
        ("two.py", 14, "AF109", "Second", "pay", "error"),
    ]
    assert found[2]["reason"] == "the bank, 100% by hand: ::ask\n it"
    assert [each["reason"] for each in found if each["severity"] != "waived"] == [None] * 6
    assert found[4]["text"].startswith("'undo' compensates 'pay', but there is no such step.")


def test_json_has_the_names_that_are_near(shop: Shop) -> None:
    write(shop, near=FINE + '    @compensates("lok")\n    async def undo(self) -> None: ...\n')

    assert [each["near"] for each in as_json(shop, "near.py", code=4)] == [["look"]]


def test_json_is_alone_on_standard_output_and_valid_where_there_is_nothing(shop: Shop) -> None:
    write(shop, talks=f"print('hello')\n{FINE}")

    assert as_json(shop, "talks.py") == []
    done = shop.run("check", "--format", "json", "talks.py", "nowhere.py", code=2)
    assert json.loads(done.stdout) == []
    assert "hello" in done.stderr
    assert "nowhere.py: There is no file nowhere.py." in done.stderr


def test_a_path_that_is_not_below_the_folder_is_whole(shop: Shop) -> None:
    write(shop, there__two=TWO, here__x="")

    (shop.folder / "here").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "allframe", "check", "--format", "json", "../there/two.py"],
        cwd=shop.folder / "here",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert {each["path"] for each in json.loads(done.stdout)} == {str(shop.folder / "there/two.py")}


def test_github_gets_a_workflow_command_for_each(shop: Shop) -> None:
    write(shop, pay=ADVISED)
    write(shop, odd__x="")
    (shop.folder / "odd/a,b:c%.py").write_text(TWO)

    done = shop.run("check", "--format", "github", "pay.py", "odd", "--show-waived", code=4)

    lines = done.stdout.splitlines()
    assert [line.split("::")[1] for line in lines] == [
        "error file=odd/a%2Cb%3Ac%25.py,line=3,title=AF111",
        "error file=odd/a%2Cb%3Ac%25.py,line=4,title=AF101",
        "error file=odd/a%2Cb%3Ac%25.py,line=11,title=AF115",
        "error file=odd/a%2Cb%3Ac%25.py,line=14,title=AF109",
        "warning file=pay.py,line=4,title=AF203",
        "notice file=pay.py,line=7,title=AF201",
    ]
    assert lines[1].endswith(
        "::Saga First, undo: 'undo' compensates 'pay', but there is no such step. The steps are: none."
    )
    assert lines[-1].endswith("%0AWaived: the bank, 100%25 by hand: ::ask%0A it")
    assert done.stderr == ""


def test_github_gets_nothing_where_nothing_was_found(shop: Shop) -> None:
    assert shop.run("check", "--format", "github", "shop.py").stdout == ""


def test_another_format_is_usage(shop: Shop) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "allframe", "check", "--format", "xml", "shop.py"],
        cwd=shop.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "github" in done.stderr


# --- for people ------------------------------------------------------------------------------------------------------

TRICKY = f"""{HEAD}
class Tricky(Saga, name="[bold red]x[/] :smile: a/b\\x1b[2J"):
    @step(readonly=True)
    async def look(self) -> None: ...
"""


def test_what_is_in_a_name_plays_no_tricks(shop: Shop) -> None:
    write(shop, tricky=TRICKY)

    shown = shop.run("check", "tricky.py", code=4).stderr

    assert "Its name is '[bold red]x[/] :smile: a/b\\x1b[2J'." in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_a_narrow_terminal_folds_what_it_shows_and_nothing_is_lost(shop: Shop, env: dict[str, str]) -> None:
    write(shop, tricky=TRICKY)
    main, side = pty.openpty()

    process = subprocess.Popen(
        [sys.executable, "-m", "allframe", "check", "tricky.py"],
        cwd=shop.folder,
        env=environment(COLUMNS="20", TERM="xterm", **env),
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        shown += part
    os.close(main)

    assert process.wait(30) == 4
    text = re.sub(r"\s+", " ", shown.decode())
    assert "tricky.py:3: AF119 Saga Tricky" in text
    assert "Its name is '[bold red]x[/] :smile: a/b\\x1b[2J'." in text
    assert "\x1b" not in text


def test_the_folder_is_left_as_it_was(shop: Shop) -> None:
    write(shop, two=TWO)

    shop.run("check", "two.py", code=4)

    assert shop.files == {"shop.py", "two.py"}


def test_the_page_shows_workflows_that_can_be_read() -> None:
    page = (ROOT / "docs" / "checking.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)

    commands = [
        line.split(": ", 1)[1]
        for block in blocks
        for line in block.splitlines()
        if "allframe check " in line and "name:" not in line
    ]
    assert commands == ["allframe check src/ --strict --format github", "allframe check src/"]
    assert all("\t" not in block for block in blocks)
