"""AF201…: what may be meant otherwise is advised, and nothing else is."""

from __future__ import annotations

import importlib.util
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from allframe import Inject, Retry, Saga, SagaDefinition, SagaStep, StepContext, Unknown, compensates, step
from allframe.errors import Problem
from allframe.saga.steps import step_advice
from allframe.saga.waivers import ADVICE
from tests import forty
from tests.sources import ROOT

AGAIN = Retry(attempts=3)


def advice(saga: type[Saga] | SagaDefinition) -> list[tuple[str, str | None]]:
    return [(problem.rule, problem.member) for problem in saga.graph.advice]


def told(saga: type[Saga] | SagaDefinition) -> str:
    """The text of the one piece of advice."""
    (problem,) = saga.graph.advice
    return problem.text


# --- AF201 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"timeout": 5}, {"retry": AGAIN}])
def test_af201_a_compensation_that_does_not_work_where_the_effect_is_unknown(options: dict[str, Any]) -> None:
    class Book(Saga):
        @step
        async def book(self) -> str: ...

        @compensates("book", if_unknown="fail", **options)
        async def cancel(self, book: str) -> None: ...

    assert advice(Book) == [("AF201", "cancel")]
    assert told(Book) == (
        "'cancel' has if_unknown=\"fail\": where nobody can say whether 'book' took effect, as after a timeout or a crash, "
        "nothing is undone and a person must step in. Let it take `... | Unknown` and undo by ctx.forward_key, if the "
        "other side can."
    )


@pytest.mark.parametrize("options", [{}, {"if_unknown": "call"}, {"retry": AGAIN}])
def test_af201_accepts_a_compensation_that_undoes_by_key(options: dict[str, Any]) -> None:
    class Book(Saga):
        @step
        async def book(self) -> str: ...

        @compensates("book", **options)
        async def cancel(self, book: str | Unknown, ctx: StepContext) -> None: ...

    assert advice(Book) == []


# --- AF202 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [5, 30.0, timedelta(seconds=5)])
def test_af202_a_timeout_that_a_thread_cannot_keep(timeout: float) -> None:
    class Export(Saga):
        @step(timeout=timeout, readonly=True)
        def write(self, ctx: StepContext) -> None:
            print(ctx.saga_id)

    assert advice(Export) == [("AF202", "write")]
    assert told(Export).startswith(
        f"'write' runs on a thread, which nothing can interrupt, and has timeout={timeout!r}: past it the saga waits all "
        "the same, and what comes then is too late."
    )


@step(timeout=5, readonly=True)
async def _is_async() -> None: ...


@step(readonly=True)
def _has_none() -> None: ...


@step(timeout=None, readonly=True)
def _has_no_limit() -> None: ...


@step(timeout=5, readonly=True)
def _looks(ctx: StepContext) -> None:
    def done() -> bool:
        return ctx.cancelled

    done()


@pytest.mark.parametrize("write", [_is_async, _has_none, _has_no_limit, _looks])
def test_af202_accepts_a_timeout_that_a_step_can_keep(write: Any) -> None:
    Export: Any = type(Saga)("Export", (Saga,), {"__module__": __name__, "write": write})

    assert advice(Export) == []


# --- AF203 -----------------------------------------------------------------------------------------------------------


async def _no_word():  # type: ignore[no-untyped-def]
    return 3


def _no_word_of_a_thread():  # type: ignore[no-untyped-def]
    return 3


@pytest.mark.parametrize("price", [_no_word, _no_word_of_a_thread, lambda: 3])
def test_af203_a_step_that_does_not_say_what_it_returns(price: Any) -> None:
    Quote: Any = type(Saga)("Quote", (Saga,), {"__module__": __name__, "price": step(readonly=True)(price)})

    assert advice(Quote) == [("AF203", "price")]
    assert Quote.graph.advice[0].text == (
        "'price' does not say what it returns: only None, text, numbers, and lists and dicts of them can be stored of it, "
        "and who takes its output is not checked. Annotate it; `-> None` if it returns nothing."
    )


async def _returns_none() -> None: ...


async def _returns_a_text() -> str: ...


def _returns_anything() -> Any: ...


@pytest.mark.parametrize("price", [_returns_none, _returns_a_text, _returns_anything])
def test_af203_accepts_a_step_that_says_it(price: Any) -> None:
    Quote: Any = type(Saga)("Quote", (Saga,), {"__module__": __name__, "price": step(readonly=True)(price)})

    assert advice(Quote) == []


def test_af203_accepts_a_compensation_that_does_not_say_what_it_returns() -> None:
    class Quote(Saga):
        @step
        async def price(self) -> None: ...

        @compensates("price")
        async def undo(self): ...  # type: ignore[no-untyped-def]

    assert advice(Quote) == []


# --- AF204 -----------------------------------------------------------------------------------------------------------


def test_af204_a_pivot_that_is_tried_once() -> None:
    class Payout(Saga):
        @step(pivot=True)
        async def pay(self) -> None: ...

        @step(retry=AGAIN)
        async def tell(self) -> None: ...

    assert advice(Payout) == [("AF204", "pay")]
    assert told(Payout) == (
        "'pay' is marked as the pivot, and is tried once: after one timeout nobody can say whether it took effect, and the "
        "saga is blocked until a person does. Give it retry=Retry(...), or say repeatable=False if it must not run twice."
    )


@pytest.mark.parametrize("retry", [None, Retry(attempts=1)])
def test_af204_a_step_that_comes_last_and_that_nothing_undoes(retry: Retry | None) -> None:
    class Payout(Saga):
        @step(readonly=True)
        async def look(self) -> None: ...

        @step(retry=retry)
        async def pay(self) -> None: ...

    assert advice(Payout) == [("AF204", "pay")]
    assert told(Payout).startswith("'pay' is the pivot, for it comes last and nothing undoes it, and is tried once:")


@pytest.mark.parametrize(
    "options", [{"retry": AGAIN}, {"readonly": True}, {"repeatable": False}, {"pivot": True, "retry": AGAIN}]
)
def test_af204_accepts_a_pivot_that_another_attempt_saves_or_cannot_save(options: dict[str, Any]) -> None:
    class Payout(Saga):
        @step(**options)
        async def pay(self) -> None: ...

    assert advice(Payout) == []


def test_af204_accepts_a_last_step_that_is_undone() -> None:
    class Payout(Saga):
        @step
        async def pay(self) -> None: ...

        @compensates("pay")
        async def undo(self) -> None: ...

    assert advice(Payout) == []


# --- AF206 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", [0, None, "x"])
def test_af206_a_parameter_that_is_named_like_a_field(default: Any) -> None:
    class Quote(Saga):
        amount: int = 3

        @step
        async def price(self, amount: Any = default) -> None: ...

        @compensates("price")
        async def undo(self, *, amount: Any = default) -> None: ...

    assert advice(Quote) == [("AF206", "price"), ("AF206", "undo")]
    assert Quote.graph.advice[0].text == (
        "The parameter 'amount' of 'price' has a default and always gets that: 'amount' is a field of the saga, and a method "
        "is given none of them. Take the parameter away, and read self.amount."
    )


def test_af206_a_parameter_of_a_reusable_step() -> None:
    class Quote(SagaStep, readonly=True):
        amount: int = 3

        async def execute(self, amount: int = 0) -> None: ...

    (problem,) = step_advice(Quote)

    assert (problem.rule, problem.member) == ("AF206", "execute")
    assert "'amount' is a field of the step" in problem.text


@step(readonly=True)
async def _of_no_class(amount: int = 0) -> None: ...


async def _of_another_name(self: Any, amounts: int = 0) -> None: ...


async def _with_the_context(self: Any, amount: StepContext | None = None) -> None: ...


async def _injected(self: Any, amount: Inject[int] = 0) -> None: ...


@pytest.mark.parametrize("price", [_of_no_class, _of_another_name, _with_the_context, _injected])
def test_af206_accepts_a_parameter_that_is_filled_or_has_a_name_of_its_own(price: Any) -> None:
    class Quote(Saga):
        amount: int = 3
        quote = step(readonly=True)(price)

    assert advice(Quote) == []


# --- what is built, and what is inherited ----------------------------------------------------------------------------


class Look(SagaStep):
    async def execute(self): ...  # type: ignore[no-untyped-def]


class Pay(SagaStep, pivot=True):
    async def execute(self) -> None: ...


class Hold(SagaStep, if_unknown="fail", timeout=3):
    def execute(self) -> str:
        return "H-1"

    async def compensate(self, output: str) -> None: ...


def rules(problems: tuple[Problem, ...]) -> list[tuple[str, str | None]]:
    return [(problem.rule, problem.member) for problem in problems]


def test_a_class_of_steps_gets_what_can_be_known_of_it_alone() -> None:
    assert rules(step_advice(Look)) == [("AF203", "execute")], "whether it comes last is not known"
    assert rules(step_advice(Pay)) == [("AF204", "execute")]
    assert rules(step_advice(Hold)) == [("AF202", "execute"), ("AF201", "compensate")]


def test_a_saga_that_is_built_gets_that_of_its_steps_and_of_the_one_that_comes_last() -> None:
    held = SagaDefinition("s-1").add_step(Hold())

    assert advice(held.add_step(Pay(), name="pay")) == [
        ("AF202", "execute"),
        ("AF201", "compensate"),
        ("AF204", "execute"),
    ]
    assert advice(held) == [("AF202", "execute"), ("AF201", "compensate")], "it is undone"
    last = held.add_step(Look(), name="look_up")
    assert advice(last)[-1] == ("AF204", "look_up")
    assert last.graph.advice[-1].text.endswith(
        "Give Look retry=Retry(...), or say repeatable=False if it must not run twice."
    )
    assert Path(last.graph.advice[-1].path) == Path(__file__)


def test_what_is_inherited_is_advised_where_it_is_written() -> None:
    class Base(Saga, abstract=True):
        @step(readonly=True)
        async def price(self): ...  # type: ignore[no-untyped-def]

    class Quote(Base): ...

    (problem,) = Quote.graph.advice
    assert problem.line == Base.price.__code__.co_firstlineno


def test_advice_stands_from_the_top_of_the_file() -> None:
    class All(Saga):
        @step
        async def a(self): ...  # type: ignore[no-untyped-def]

        @compensates("a", if_unknown="fail")
        async def undo(self) -> None: ...

        @step(timeout=2)
        def b(self) -> None: ...

    assert advice(All) == [("AF203", "a"), ("AF201", "undo"), ("AF202", "b"), ("AF204", "b")]


@pytest.mark.parametrize("name", sorted(forty.EXAMPLES))
def test_of_the_forty_sagas_only_those_get_advice_that_say_so(name: str) -> None:
    """AF202 and AF203 need something that none of them does; AF201 is said once."""
    example = forty.EXAMPLES[name]
    graph = example.graph if isinstance(example, SagaDefinition) else type(example).graph

    for problem in graph.advice:
        if problem.rule == "AF201":
            assert name == "Visa" or "fail" in problem.text
        else:
            assert problem.rule == "AF204"
            (last,) = [n for n in graph.plan.nodes if n.pivot]
            assert last.attempts == 1
            assert not last.compensated
            assert not last.readonly


# --- the documentation -----------------------------------------------------------------------------------------------

_SHOWN = re.compile(
    r"\*\*Wrong\.\*\*\n\n```python\n(?P<wrong>.*?)^```\n\n```text\n(?P<text>.*?)\n```\n\n"
    r"\*\*Right\.\*\*\n\n```python\n(?P<right>.*?)^```",
    flags=re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_the_page_shows_what_gets_it_in_which_words_and_what_does_not(code: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    shown = _SHOWN.search(page[page.index(f"### {code}\n") :])
    assert shown is not None

    (problem,) = _advice_on(shown["wrong"], tmp_path / "wrong.py")

    assert (problem.rule, problem.text) == (code, shown["text"])
    assert _advice_on(shown["right"], tmp_path / "right.py") == ()


def _advice_on(source: str, path: Path) -> tuple[Problem, ...]:
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (saga,) = [value for value in vars(module).values() if isinstance(value, type) and Saga in value.__bases__]
    found: tuple[Problem, ...] = saga.graph.advice
    return found
