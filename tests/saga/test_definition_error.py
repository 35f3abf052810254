"""`DefinitionError` tells whoever mends a definition everything at once, wherever it is seen."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allframe import AllframeError, DefinitionError, ErrorInfo, FieldError, errors
from allframe.errors import Problem
from tests.sources import ROOT

SOURCE = """\
from allframe import Saga, SagaDefinition, SagaStep, compensates, step


class Order(Saga):
    item: str

    @step(timeout=0)
    async def reserve(self) -> str:
        return "x"

    @compensates("reserv")
    async def release(self) -> None: ...

    @step(after="reserves", readonly=True)
    async def pay(self) -> None: ...
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.py"
    path.write_text(SOURCE)
    return path


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("bad", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def refusal(path: Path) -> DefinitionError:
    with pytest.raises(DefinitionError) as refused:
        load(path)
    return refused.value


# --- what it says ----------------------------------------------------------------------------------------------------


def test_it_lists_every_problem_from_the_top_of_the_file(bad: Path) -> None:
    error = refusal(bad)

    assert error.what == "Saga Order"
    assert [(problem.line, problem.rule, problem.member) for problem in error.problems] == [
        (7, "AF109", "reserve"),
        (11, "AF101", "release"),
        (14, "AF108", "pay"),
    ]
    assert {problem.path for problem in error.problems} == {str(bad)}


def test_it_names_what_is_spelled_nearly_so(bad: Path) -> None:
    near = {problem.rule: problem.near for problem in refusal(bad).problems}

    assert near == {"AF101": ("reserve",), "AF108": ("reserve",), "AF109": ()}


def test_its_text_is_what_was_found_what_was_expected_and_what_to_do(bad: Path) -> None:
    assert str(refusal(bad)) == (
        "Saga Order has 3 problems:\n"
        f"  AF109 {bad}:7\n"
        "    'reserve' has timeout=0. Expected seconds above 0, or None for no limit.\n"
        f"  AF101 {bad}:11\n"
        "    'release' compensates 'reserv', but there is no such step. The steps are: reserve, pay. Did you mean "
        "'reserve'?\n"
        f"  AF108 {bad}:14\n"
        "    'pay' runs after 'reserves', but there is no such step. Expected names of other steps: reserve; or after=() "
        "to begin at once. Did you mean 'reserve'?"
    )


@pytest.mark.parametrize(
    ("where", "path", "line"),
    [
        ("shop/order.py:12", "shop/order.py", 12),
        ("shop/order.py:12 (Order)", "shop/order.py", 12),
        ("/a (copy)/order.py:12 (f.<locals>.Order)", "/a (copy)/order.py", 12),
        ("C:\\shop\\order.py:3 (Order)", "C:\\shop\\order.py", 3),
        ("<stdin>:4", "<stdin>", 4),
        ("shop/order.py (Order)", "shop/order.py", None),
        ("builtins (Order)", "builtins", None),
        ("(unknown)", "(unknown)", None),
    ],
)
def test_a_problem_knows_its_file_and_line(where: str, path: str, line: int | None) -> None:
    problem = Problem("AF101", "It is wrong.", where)

    assert (problem.path, problem.line) == (path, line)


@pytest.mark.parametrize(
    ("source", "rule", "member", "near"),
    [
        ('class A(Saga, name="a/b"):\n    @step\n    async def go(self) -> None: ...', "AF119", None, ()),
        ('class A(Saga):\n    @step(name="")\n    async def go(self) -> None: ...', "AF109", "go", ()),
        ("class A(Saga):\n    graph: int\n    @step\n    async def go(self) -> None: ...", "AF115", "graph", ()),
        ("class A(Saga):\n    @step\n    def copy(self) -> None: ...", "AF115", "copy", ()),
        ("class A(Saga):\n    @step\n    @staticmethod\n    def go() -> None: ...", "AF113", "go", ()),
        (
            "class A(Saga):\n    @step\n    async def go(self) -> None: ...\n    @step\n"
            "    async def go(self) -> None: ...",
            "AF103",
            "go",
            (),
        ),
        ("class A(SagaStep): ...", "AF111", "execute", ()),
        ("class A(SagaStep):\n    execute: int", "AF115", "execute", ()),
        ("class A(SagaStep, if_unknown='fail'):\n    async def execute(self) -> None: ...", "AF109", "compensate", ()),
        (
            "class A(SagaStep):\n    async def execute(self) -> None: ...\n"
            'SagaDefinition("a").add_step(A(), name="look").add_step(A(), name="go", after="lok")',
            "AF108",
            "go",
            ("look",),
        ),
        (
            "class A(SagaStep):\n    async def execute(self) -> None: ...\n"
            'SagaDefinition("a").add_step(A(), name="go").add_step(A(), name="on").check()',
            "AF104",
            "go",
            (),
        ),
    ],
)
def test_a_problem_names_its_member(
    tmp_path: Path, source: str, rule: str, member: str | None, near: tuple[str, ...]
) -> None:
    path = tmp_path / "one.py"
    path.write_text(f"from allframe import Saga, SagaDefinition, SagaStep, step\n{source}\n")

    assert [(problem.rule, problem.member, problem.near) for problem in refusal(path).problems] == [
        (rule, member, near)
    ]


# --- where it is seen ------------------------------------------------------------------------------------------------


def test_an_import_that_nobody_catches_ends_with_all_of_it(bad: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import bad"],
        cwd=bad.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    traceback, _, text = done.stderr.partition("\nallframe.DefinitionError: ")
    assert text.rstrip("\n") == str(refusal(bad))
    assert 'bad.py", line 4, in <module>\n    class Order(Saga):' in traceback
    assert "During handling" not in traceback


def test_pytest_shows_all_of_it_where_a_module_is_collected(
    bad: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(bad=SOURCE, test_order="import bad\n\ndef test_it(): ...\n")

    shown = pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout.str()

    assert "Saga Order has 3 problems:" in shown
    for line in str(refusal(bad)).splitlines():
        assert line.replace(str(bad), str(pytester.path / "bad.py")) in shown


# --- that it travels -------------------------------------------------------------------------------------------------


def every_error() -> Iterator[type[AllframeError]]:
    todo = [AllframeError]
    while todo:
        cls = todo.pop()
        todo += cls.__subclasses__()
        if cls.__module__.startswith("allframe"):
            yield cls


INFO = ErrorInfo("LookupError", "no such card", None)
#: What the errors are made with, by the name of the parameter.
FACTS: dict[str, Any] = {
    "what": "Saga Order",
    "problems": [Problem("AF101", "It is wrong.", "bad.py:3", "pay", ("paid",), "we know")],
    "message": "It did not work.",
    "stream": "account-1",
    "saga_id": "order-1",
    "step_name": "pay",
    "step_index": 1,
    "error": INFO,
    "duration": 3.5,
    "original": INFO,
    "uncompensated": ("pay",),
    "reason": "they asked",
    "handle": "a handle",
    "in_effect": ("pay",),
    "uncertain": ("send",),
    "owner": "pid 4",
    "expected": 3,
    "actual": 4,
    "in_doubt": True,
    "projection": "balances",
    "position": 9,
    "command": "pay",
    "query": "balance",
    "errors": [FieldError("amount", "is missing", "missing")],
    "details": {"limit": 3},
    "key": "k-1",
}


def made(cls: type[AllframeError]) -> AllframeError:
    """One with every fact that it can carry."""
    takes: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base) and issubclass(base, AllframeError):
            takes |= inspect.signature(base.__init__).parameters
    given = {name: FACTS[name] for name in takes if name in FACTS}
    return cls(**given) if given else cls("It did not work.")


def pickled(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("travel", [pickled, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize("cls", sorted(every_error(), key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__)
def test_every_error_travels_with_all_that_it_carries(
    cls: type[AllframeError], travel: Callable[[Any], AllframeError]
) -> None:
    error = made(cls)
    error.add_note("seen on Monday")

    same = travel(error)

    assert type(same) is cls
    assert (str(same), same.args) == (str(error), error.args)
    expected = dict(vars(error))
    if travel is pickled and "handle" in expected:
        expected["handle"] = None  # it belongs to its orchestrator
    assert vars(same) == expected


def test_the_facts_of_all_errors_are_tried() -> None:
    carried = {name for cls in every_error() for name in vars(made(cls))}

    assert carried >= FACTS.keys() - {"message"}, "or a fact of no error is listed"


def test_an_error_of_the_users_own_travels_too() -> None:
    error = TooDear("pay")

    assert (pickled(error).what, str(pickled(error))) == ("pay", "pay is too dear")


class TooDear(errors.CommandRejected):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is too dear", reason="too_dear")
        self.what = what
