"""AF113: something that cannot be a step is marked as one."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Coroutine
from typing import Annotated, Any

import pytest

from allframe import DefinitionError, Saga, StepContext, Unknown, compensates, step
from tests.naming import steady
from tests.saga.refusal import refused


async def _plain(self: Any) -> int:
    return 1


async def _stars(self: Any, *args: Any) -> int:
    return 1


async def _double_stars(self: Any, **kwargs: Any) -> int:
    return 1


async def _positional(self: Any, thing: int = 1, /) -> int:
    return 1


async def _async_generator(self: Any) -> Any:
    yield 1


def _generator(self: Any) -> Any:
    yield 1


class Callee:
    async def __call__(self) -> int:
        return 1

    async def method(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (_stars, "takes *args, which nothing can fill. Name what it needs."),
        (_double_stars, "takes **kwargs, which nothing can fill. Name what it needs."),
        (_positional, "takes 'thing' by position only, and parameters are filled by name. Remove the `/`."),
        (_async_generator, "is a generator. A step gives one value: return it instead of yielding."),
        (_generator, "is a generator. A step gives one value: return it instead of yielding."),
        (
            staticmethod(_plain),
            "is a staticmethod. Make it an ordinary method, or mark a plain function and assign it here.",
        ),
        (
            classmethod(_plain),
            "is a classmethod. Make it an ordinary method, or mark a plain function and assign it here.",
        ),
        (functools.partial(_plain), "is a partial. Write a method that calls it."),
        (Callee().method, "is a bound method. Write a method that calls it."),
        (property(_plain), "is property. Expected a method or a function."),
        (Callee(), "is Callee. Expected a method or a function."),
        (Callee, "is a class. Expected a method or a function."),
        (len, "is builtin_function_or_method"),
        (5, "is int 5. Expected a method or a function."),
    ],
    ids=lambda part: getattr(part, "__name__", None) or steady(part),
)
def test_af113_what_cannot_be_a_step(thing: Any, words: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = step(readonly=True)(thing)

    with pytest.raises(DefinitionError) as refusal:
        declare()
    problems = [problem for problem in refusal.value.problems if problem.rule == "AF113"]
    assert [problem.rule for problem in refusal.value.problems] == ["AF113"] * len(problems)
    assert problems[0].text.startswith(f"'only' {words}")
    path, _, line = problems[0].where.partition(":")
    assert path == __file__
    assert line.split(" ")[0].isdigit()


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_af113_a_wrapper_around_a_marked_function(wrapper: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = wrapper(step(readonly=True)(_plain))

    assert f"'only' is a {wrapper.__name__}." in refused(declare, "AF113")


@pytest.mark.parametrize("wrapper", [property, functools.cached_property])
def test_af113_a_property_around_a_marked_function_is_never_lost(wrapper: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = wrapper(step(readonly=True)(_plain))

            @step(readonly=True)
            async def other(self) -> int:
                return 1

    assert "'only' is" in refused(declare, "AF113")


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_af113_a_wrapper_around_a_step_is_found_by_who_compensates_its_function(wrapper: Any) -> None:
    """That there is no such step would only follow."""

    @wrapper
    @step
    async def act() -> None: ...

    def declare() -> None:
        class Bad(Saga):
            debit = act

            @compensates(act)
            async def refund(self) -> None: ...

    assert refused(declare, "AF113") == (
        f"'debit' is a {wrapper.__name__}. Make it an ordinary method, or mark a plain function and assign it here."
    )


def test_af113_holds_for_compensations() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> int:
                return 1

            @compensates("debit")
            def refund(self, *rest: int) -> None: ...

    assert refused(declare, "AF113") == "'refund' takes *rest, which nothing can fill. Name what it needs."


@pytest.mark.parametrize("given", ["list", "nothing"])
def test_af113_compensates_with_something_that_is_no_name(given: str) -> None:
    def declare() -> None:
        class Bad(Saga):
            @step
            async def reserve(self) -> int:
                return 1

            @compensates({"list": ["reserve"], "nothing": ""}[given])  # type: ignore[arg-type]
            async def release(self, reserve: int | Unknown) -> None: ...

            @step(readonly=True)
            async def look(self) -> int:
                return 1

    assert refused(declare, "AF113") == (
        "'release' is marked with @compensates without the name of a step. Write the one that it undoes: "
        '@compensates("debit").'
    )


def test_af113_a_name_of_a_step_by_position() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step("debit-money")  # type: ignore[call-overload, untyped-decorator]
            async def debit(self) -> int:
                return 1

    assert refused(declare, "AF113") == (
        "'debit' is marked with @step('debit-money'). Options are given by name: @step(name='debit-money')."
    )


@pytest.mark.parametrize("outer", ["step", "compensation"])
def test_af113_a_function_that_is_marked_as_both(outer: str) -> None:
    """Whichever mark was kept, the other would be lost without a word."""

    def declare() -> None:
        class Bad(Saga):
            @step(readonly=outer == "step")
            async def debit(self) -> int:
                return 1

            async def both(self) -> None: ...

            twice = (
                step(compensates("debit")(both)) if outer == "step" else compensates("debit")(step(readonly=True)(both))
            )

    assert "'twice' is marked as a step and as a compensation" in refused(declare, "AF113")


def _traced(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


async def _takes_by_name_only(self: Any, *, ctx: StepContext) -> None: ...


async def _of_no_class() -> None: ...


@pytest.mark.parametrize(
    "function",
    [_traced(_plain), _takes_by_name_only, _of_no_class, lambda self: 1, lambda: 1],
    ids=["decorated", "keyword-only", "plain function", "lambda", "lambda without self"],
)
def test_af113_accepts_whatever_is_a_function(function: Any) -> None:
    class Good(Saga):
        only = step(readonly=True)(function)

    assert [each.attribute for each in Good.graph.steps] == ["only"]


async def _self_by_keyword(*, self: Any) -> None: ...


async def _self_of_all(*self: Any) -> None: ...


@pytest.mark.parametrize("function", [_self_by_keyword, _self_of_all])
def test_af113_a_self_that_is_not_given(function: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            only = step(function)

    assert refused(declare, "AF113") == (
        "'only' takes `self` after a star, where a method is not given it. Write it first: (self, ...)."
    )


def test_af113_a_decorator_that_hides_the_parameters() -> None:
    def traced(function: Any) -> Any:
        async def wrapper(*args: Any) -> Any:
            return await function(*args)

        return wrapper

    def declare() -> None:
        class Bad(Saga):
            only = step(traced(_plain))

    assert refused(declare, "AF113") == (
        "'only' takes *args, which nothing can fill. Name what it needs. If a decorator made it, put functools.wraps on its "
        "wrapper."
    )


def _timed(function: Any) -> Any:
    async def timed(self: Any) -> Any:
        return await function(self)

    return timed


class _Timed:
    def __init__(self, function: Any) -> None:
        self.function = function


def _twice(function: Any) -> Any:
    return _timed(_timed(function))


def _pointing(function: Any) -> Any:
    timed = _timed(function)
    timed.__wrapped__ = function
    return timed


LOST = "is wrapped by a decorator above its mark, and the mark is lost. Put functools.wraps on the decorator's wrapper."


@pytest.mark.parametrize("decorator", [_timed, _twice, _pointing, _Timed])
def test_af113_a_decorator_that_loses_the_mark(decorator: Any) -> None:
    def declare() -> None:
        class Bad(Saga):
            @decorator
            @step
            async def debit(self) -> None: ...

            @compensates("debit")
            async def refund(self) -> None: ...

    def declare_undo() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> None: ...

            @decorator
            @compensates("debit")
            async def refund(self) -> None: ...

            @step
            async def credit(self) -> None: ...

    said = "is _Timed. Expected a method or a function." if decorator is _Timed else LOST
    assert refused(declare, "AF113") == f"'debit' {said}"
    assert refused(declare_undo, "AF113") == f"'refund' {said}"


def test_af113_a_lost_mark_is_told_where_the_function_is_written() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Saga):
            @_timed
            @step
            async def debit(self) -> None: ...

    (problem,) = refusal.value.problems
    assert (
        problem.where
        == f"{__file__}:{test_af113_a_lost_mark_is_told_where_the_function_is_written.__code__.co_firstlineno + 4}"
    )


def test_af113_accepts_decorators_that_keep_the_mark_and_helpers_around_a_step() -> None:
    def kept(function: Any) -> Any:
        return functools.wraps(function)(_timed(function))

    @step
    async def reserve() -> None: ...

    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("there is no request")

    proxy = Proxy()

    def peek(self: Any) -> Any:
        return proxy, reserve

    class Good(Saga):
        @kept
        @step
        async def debit(self) -> None: ...

        @compensates("debit")
        async def refund(self) -> None: ...

        first = reserve
        again = _timed(reserve)
        see = peek
        more = _timed(debit)

    assert [each.name for each in Good.graph.steps] == ["debit", "first"]


@pytest.mark.parametrize("returned", [Awaitable[None], Coroutine[Any, Any, None], Annotated[Awaitable[int], "x"]])
def test_af113_a_compensation_that_nobody_awaits(returned: Any) -> None:
    def back(self: Any) -> Any: ...

    back.__annotations__["return"] = returned

    def declare() -> None:
        class Bad(Saga):
            @step
            async def debit(self) -> None: ...

            refund = compensates("debit")(back)

            @step(readonly=True)
            async def look(self) -> None: ...

    text = refused(declare, "AF113")
    assert text.startswith("'refund' returns ")
    assert text.endswith(
        ", which nobody awaits, so nothing would be undone. Make it an `async def`, and await it there."
    )


def test_af113_accepts_a_compensation_that_its_wrapper_awaits() -> None:
    def awaited(function: Any) -> Any:
        @functools.wraps(function)
        async def wrapper(self: Any) -> Any:
            return await function(self)

        return wrapper

    class Good(Saga):
        @step
        async def debit(self) -> None: ...

        @compensates("debit")
        @awaited
        def refund(self) -> Awaitable[None]: ...

        @step(readonly=True)
        async def look(self) -> None: ...

    assert Good.graph.steps[0].compensation is not None
