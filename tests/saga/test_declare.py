"""`Saga`, `@step`, `@compensates`: what a declaration makes of a class and its methods."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import sys
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, computed_field, field_validator

from allframe import DefinitionError, Event, Inject, Retry, Saga, SagaGraph, StepContext, Unknown, compensates, step
from allframe.saga.declare import DEFAULT_TIMEOUT, SAGAS
from allframe.saga.graph import Source

T = TypeVar("T")


class Bank:
    pass


class Debited(Event, name="test_declare.debited"):
    account: str


class Transfer(Saga, name="test_declare.transfer", version=2):
    """Move money."""

    source: str
    amount: Decimal = Field(gt=0)
    note: str = "none"

    @step(timeout=10)
    async def debit(self, bank: Inject[Bank], ctx: StepContext) -> Debited:
        """Take it."""
        return Debited(account=self.source)

    @compensates("debit")
    async def refund(self, debit: Debited | Unknown, bank: Inject[Bank], ctx: StepContext) -> None:
        """Give it back."""

    @step(name="credit-money", timeout=timedelta(minutes=1), retry=Retry(attempts=4), readonly=True, idempotent=True)
    async def credit(self, debit: Debited, *, text: str = "default") -> str:
        return f"{debit.account} {text}"


class Mixed(BaseModel):
    account: str = "nobody"

    @field_validator("account")
    @classmethod
    def shout(cls, account: str) -> str:
        return account.upper()


class GenericSaga(Saga, Generic[T]):
    content: T

    @step(readonly=True)
    async def give(self) -> T:
        return self.content


def run(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


# --- the marked method -----------------------------------------------------------------------------------------------


def test_a_step_stays_an_ordinary_method() -> None:
    saga = Transfer(source="A", amount=Decimal(1))
    ctx: Any = None

    assert run(saga.debit(Bank(), ctx)) == Debited(account="A")
    assert run(saga.credit(Debited(account="B"), text="x")) == "B x"
    assert run(saga.refund(Debited(account="A"), bank=Bank(), ctx=ctx)) is None
    assert run(Transfer.debit(saga, Bank(), ctx)) == Debited(account="A")


@pytest.mark.parametrize("name", ["debit", "refund", "credit"])
def test_a_step_is_seen_as_the_coroutine_function_that_it_is(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Transfer, name))
    assert inspect.iscoroutinefunction(getattr(Transfer(source="A", amount=Decimal(1)), name))


def test_a_step_keeps_its_name_documentation_and_signature() -> None:
    assert Transfer.debit.__name__ == "debit"
    assert Transfer.debit.__qualname__ == "Transfer.debit"
    assert Transfer.debit.__module__ == __name__
    assert Transfer.debit.__doc__ == "Take it."
    assert str(inspect.signature(Transfer.credit)) == "(self, debit: 'Debited', *, text: 'str' = 'default') -> 'str'"
    assert inspect.getsource(Transfer.refund).startswith('    @compensates("debit")')


def test_marking_makes_a_copy_and_leaves_the_function_alone() -> None:
    async def work(self: Any, *, count: int = 3) -> int:
        return count

    work.note = "kept"  # type: ignore[attr-defined]
    before = dict(vars(work))
    marked = step(timeout=1, readonly=True)(work)

    assert marked is not work
    assert vars(work) == before
    assert marked.note == "kept"  # type: ignore[attr-defined]
    assert run(marked(None)) == 3


def test_one_function_decorated_twice_is_two_steps() -> None:
    async def work(self: Any) -> int:
        return 1

    class Twice(Saga, name="test_declare.twice"):
        first = step(timeout=1, readonly=True)(work)
        second = step(timeout=2, readonly=True)(work)

    assert [(one.attribute, one.timeout) for one in Twice.graph.steps] == [("first", 1), ("second", 2)]


def test_a_method_may_be_marked_after_it_was_written() -> None:
    class Later(Saga, name="test_declare.later"):
        async def only(self) -> int:
            return 1

        only = step(readonly=True)(only)

    assert [one.attribute for one in Later.graph.steps] == ["only"]


def test_a_step_may_close_over_names_and_call_super() -> None:
    factor = 3

    class Base(Saga, name="test_declare.closing_base"):
        number: int

        @step(readonly=True)
        async def multiply(self) -> int:
            return self.number * factor

    class Derived(Base, name="test_declare.closing"):
        @step(readonly=True)
        async def multiply(self) -> int:
            return 1 + await super().multiply()

    saga = Derived(number=5)
    assert run(saga.multiply()) == 16
    assert run(Derived.graph.steps[0].function(saga)) == 16


def logged(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    @functools.wraps(function)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> T:
        return await function(self, *args, **kwargs)

    return wrapper


def test_a_decorator_below_step_does_not_hide_the_signature() -> None:
    class Logged(Saga, name="test_declare.logged_below"):
        @step(readonly=True)
        @logged
        async def first(self) -> int:
            return 1

        @step(readonly=True)
        @logged
        async def second(self, first: int, ctx: StepContext) -> int:
            return first + 1

    assert [parameter.source for parameter in Logged.graph.steps[1].parameters] == [Source.OUTPUT, Source.CONTEXT]
    assert run(Logged().second(1, ctx=None)) == 2


def test_a_decorator_above_step_is_part_of_the_step() -> None:
    calls: list[str] = []

    def noted(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        @functools.wraps(function)
        async def wrapper(self: Any, *args: Any, **kwargs: Any) -> T:
            calls.append("seen")
            return await function(self, *args, **kwargs)

        return wrapper

    class Noted(Saga, name="test_declare.logged_above"):
        @noted
        @step(readonly=True, timeout=5)
        async def first(self, ctx: StepContext) -> int:
            return 1

    assert Noted.graph.steps[0].timeout == 5
    assert run(Noted.graph.steps[0].function(Noted(), ctx=None)) == 1
    assert calls == ["seen"]


# --- the graph -------------------------------------------------------------------------------------------------------


def test_the_class_holds_what_it_was_compiled_to() -> None:
    graph = Transfer.graph

    assert isinstance(graph, SagaGraph)
    assert graph is Transfer.graph
    assert (graph.saga, graph.version) == ("test_declare.transfer", 2)
    assert repr(graph) == "<SagaGraph test_declare.transfer v2: debit -> credit-money>"


def test_each_option_arrives_in_the_graph() -> None:
    debit, credit = Transfer.graph.plan.nodes
    assert (debit.name, debit.after, debit.compensated, debit.attempts) == ("debit", (), True, 1)
    assert (credit.name, credit.after, credit.takes) == ("credit-money", (0,), (0,))
    assert (credit.readonly, credit.idempotent, credit.compensated, credit.attempts) == (True, True, False, 4)
    assert (debit.compensation_attempts, debit.needs_output) == (5, False)

    first, second = Transfer.graph.steps
    assert (first.timeout, second.timeout) == (10, 60.0)
    assert first.compensation is not None
    assert (first.compensation.attribute, first.compensation.timeout) == ("refund", 60.0)


def test_what_is_not_said_has_its_default() -> None:
    class Plain(Saga, name="test_declare.plain"):
        @step
        async def only(self) -> None: ...

    (only,) = Plain.graph.steps
    assert (only.timeout, only.retry, only.compensation) == (DEFAULT_TIMEOUT, None, None)
    assert DEFAULT_TIMEOUT == 30
    assert Plain.graph.plan.pivot == 0, "the last step that nothing can undo is the pivot"


def test_parameters_are_filled_by_name_and_by_annotation() -> None:
    compensation = Transfer.graph.steps[0].compensation
    assert compensation is not None

    filled = [(parameter.name, parameter.source) for parameter in compensation.parameters]
    assert filled == [("debit", Source.OUTPUT), ("bank", Source.INJECT), ("ctx", Source.CONTEXT)]
    assert [parameter.name for parameter in Transfer.graph.steps[1].parameters] == ["debit"], "text has a default"


def test_what_has_to_be_provided_is_known_with_who_asks() -> None:
    assert Transfer.graph.wanted() == {Bank: "step 'debit', parameter 'bank'"}


def test_an_injected_parameter_with_a_default_need_not_be_provided() -> None:
    class Optional(Saga, name="test_declare.optional"):
        @step(readonly=True)
        async def only(self, bank: Inject[Bank | None] = None) -> None: ...

    assert Optional.graph.wanted() == {}
    assert Optional.graph.steps[0].parameters[0].optional


@pytest.mark.parametrize("style", ["union", "optional"])
def test_a_context_that_may_be_none_is_filled_all_the_same(style: str) -> None:
    """``ctx: StepContext | None = None`` is how a method is written that tests call without one."""
    annotation = StepContext | None if style == "union" else "StepContext | None"

    async def only(self: Any, ctx: Any = None) -> None: ...

    only.__annotations__["ctx"] = annotation
    only.__name__ = "only"

    class Relaxed(Saga, name=f"test_declare.relaxed_{style}"):
        first = step(readonly=True)(only)

    assert [parameter.source for parameter in Relaxed.graph.steps[0].parameters] == [Source.CONTEXT]


def test_the_fingerprint_depends_on_what_is_stored_and_not_on_the_source() -> None:
    def make(*, timeout: float, output: type) -> SagaGraph:
        class Same(Saga, name="test_declare.same"):
            number: int

            @step(timeout=timeout, readonly=True)
            async def only(self) -> output: ...  # type: ignore[valid-type]

        return Same.graph

    assert make(timeout=1, output=int).fingerprint == make(timeout=2, output=int).fingerprint
    assert make(timeout=1, output=int).fingerprint != make(timeout=1, output=str).fingerprint


# --- the input -------------------------------------------------------------------------------------------------------


def stored(saga: Saga) -> Any:
    data, loaded = type(saga).graph.model.store(saga, "The input")
    assert type(saga).graph.model.load(data, "The input") == loaded
    return loaded


def test_the_fields_are_the_validated_input() -> None:
    assert Transfer(source="A", amount=Decimal("1.10")).note == "none"
    with pytest.raises(ValidationError, match="greater than 0"):
        Transfer(source="A", amount=Decimal(0))
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Transfer(source="A", amount=Decimal(1), targt="B")  # type: ignore[call-arg]


def test_the_input_is_frozen() -> None:
    saga = Transfer(source="A", amount=Decimal(1))

    with pytest.raises(ValidationError, match="frozen"):
        saga.source = "B"  # type: ignore[misc]
    assert saga == Transfer(source="A", amount=Decimal(1))


def test_the_input_comes_back_equal() -> None:
    saga = Transfer(source="A", amount=Decimal("1.10"), note="x")

    assert stored(saga) == saga
    assert type(stored(saga)) is Transfer


def test_fields_may_be_called_name_and_version() -> None:
    class Named(Saga, name="test_declare.named", version=4):
        name: str
        version: int = 9

        @step(readonly=True)
        async def only(self) -> str:
            return self.name

    assert (Named.saga_name, Named.saga_version) == ("test_declare.named", 4)
    assert (Named(name="x").name, Named(name="x").version) == ("x", 9)
    assert stored(Named(name="x")) == Named(name="x")


def test_a_field_with_an_alias_comes_back() -> None:
    class Aliased(Saga, name="test_declare.aliased"):
        number: int = Field(alias="no")

        @step(readonly=True)
        async def only(self) -> None: ...

    assert stored(Aliased(no=7)).number == 7


def test_a_field_of_bytes_need_not_be_text() -> None:
    class Scanned(Saga, name="test_declare.scanned"):
        image: bytes

        @step(readonly=True)
        async def only(self) -> None: ...

    assert stored(Scanned(image=b"\xff\x00")).image == b"\xff\x00"


def test_a_computed_field_does_not_stand_in_the_way() -> None:
    class Computed(Saga, name="test_declare.computed"):
        side: int

        @computed_field  # type: ignore[prop-decorator]
        @property
        def area(self) -> int:
            return self.side**2

        @step(readonly=True)
        async def only(self) -> int:
            return self.area

    assert stored(Computed(side=3)).area == 9


def test_private_attributes_are_ordinary() -> None:
    class Private(Saga, name="test_declare.private"):
        number: int
        _seen: list[int] = PrivateAttr(default_factory=list)
        _limit = 3

        @step(readonly=True)
        async def only(self) -> int:
            self._seen.append(self.number)
            return len(self._seen) + self._limit

    saga = Private(number=1)
    assert run(saga.only()) == 4
    assert stored(Private(number=1)) == Private(number=1)
    assert [one.attribute for one in Private.graph.steps] == ["only"]


def test_class_variables_nested_classes_and_helpers_are_left_alone() -> None:
    class Helped(Saga, name="test_declare.helped"):
        limit: ClassVar[int] = 3

        class Part(BaseModel):
            number: int

        @property
        def double(self) -> int:
            return self.limit * 2

        @staticmethod
        def helper(number: int) -> int:
            return number + 1

        @step(readonly=True)
        async def only(self) -> Part:
            return Helped.Part(number=self.helper(self.double))

        @step(readonly=True)
        async def then(self, only: Part) -> int:
            return only.number

    assert run(Helped().only()) == Helped.Part(number=7)
    assert [one.attribute for one in Helped.graph.steps] == ["only", "then"]


def test_the_config_can_be_extended() -> None:
    class Configured(Saga, name="test_declare.configured"):
        model_config = ConfigDict(str_strip_whitespace=True)
        text: str

        @step(readonly=True)
        async def only(self) -> None: ...

    assert Configured(text=" x ").text == "x"
    with pytest.raises(ValidationError, match="frozen"):
        Configured(text="x").text = "y"  # type: ignore[misc]


# --- inheritance -----------------------------------------------------------------------------------------------------


def test_fields_and_validators_of_a_plain_model_are_inherited() -> None:
    class FromMixin(Mixed, Saga, name="test_declare.from_mixin"):  # type: ignore[misc]
        number: int = 0

        @step(readonly=True)
        async def only(self) -> str:
            return self.account

    assert FromMixin(account="ada").account == "ADA"
    assert stored(FromMixin(account="ada", number=3)) == FromMixin(account="ADA", number=3)
    with pytest.raises(ValidationError, match="frozen"):
        FromMixin().account = "x"  # type: ignore[misc]


class Base(Saga, name="test_declare.base", version=3):
    number: int = 1

    @step(timeout=3)
    async def first(self) -> int:
        return 1

    @compensates("first")
    async def undo_first(self, first: int | Unknown) -> None: ...

    @step(timeout=4, readonly=True)
    async def second(self, first: int) -> int:
        return first + 1


def test_steps_are_inherited_and_new_ones_come_after_them() -> None:
    class Longer(Base):
        @step(readonly=True)
        async def third(self, second: int) -> int:
            return second + 1

    assert [one.attribute for one in Longer.graph.steps] == ["first", "second", "third"]
    assert [node.after for node in Longer.graph.plan.nodes] == [(), (0,), (1,)]
    assert (Longer.saga_name, Longer.saga_version) == ("Longer", 1), "name and version are not inherited"
    assert [one.attribute for one in Base.graph.steps] == ["first", "second"]


def test_a_step_that_is_overridden_and_marked_keeps_its_place_and_its_compensation() -> None:
    class Marked(Base):
        @step(timeout=9)
        async def first(self) -> int:
            return 10

    graph = Marked.graph
    assert [one.attribute for one in graph.steps] == ["first", "second"]
    assert graph.steps[0].timeout == 9
    assert run(graph.steps[0].function(Marked())) == 10
    assert graph.steps[0].compensation is not None
    assert graph.steps[0].compensation.attribute == "undo_first"


def test_a_step_that_is_overridden_without_a_mark_keeps_that_of_its_parent() -> None:
    class Unmarked(Base):
        async def first(self) -> int:
            return 10

        async def undo_first(self, first: int | Unknown) -> None: ...

    graph = Unmarked.graph
    assert [one.attribute for one in graph.steps] == ["first", "second"]
    assert graph.steps[0].timeout == 3
    assert run(graph.steps[0].function(Unmarked())) == 10, "what runs is what the class has"
    assert graph.steps[0].compensation is not None
    assert graph.steps[0].compensation.function.__qualname__.endswith("Unmarked.undo_first")
    assert run(Base.graph.steps[0].function(Base())) == 1


def test_an_override_that_cannot_be_a_step_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"AF113.*\n.*'first' is a generator"):

        class Broken(Base):
            def first(self) -> Any:
                yield 10


def test_a_class_variable_in_the_place_of_an_inherited_step_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"AF113.*\n.*'first' is int 3\. Expected a method or a function\."
    ) as refusal:

        class Hiding(Base):
            first: ClassVar[int] = 3  # type: ignore[assignment]

    assert [problem.rule for problem in refusal.value.problems] == ["AF113"]


def test_a_field_that_hides_an_inherited_step_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic says the same, less clearly
        with pytest.raises(DefinitionError, match="AF114"):

            class Hiding(Base):
                first: int = 3  # type: ignore[assignment]


class LeftMixin(BaseModel):
    @step(readonly=True)
    async def left(self) -> int:
        return 1


class PlainMixin:
    @step(readonly=True)
    async def plain(self) -> int:
        return 2


@pytest.mark.parametrize(("mixin", "name"), [(LeftMixin, "left"), (PlainMixin, "plain")])
def test_steps_of_a_mixin_that_is_no_saga_are_never_lost(mixin: Any, name: str) -> None:
    """Dropping them silently would run half a saga."""

    class WithMixin(mixin, Saga, name=f"test_declare.with_{name}"):  # type: ignore[misc]
        @step(readonly=True)
        async def own(self) -> int:
            return 3

    assert [one.attribute for one in WithMixin.graph.steps] == [name, "own"]


def test_steps_of_several_bases_come_from_left_to_right() -> None:
    class Left(Saga, name="test_declare.left"):
        @step(readonly=True)
        async def left(self) -> int:
            return 1

    class Right(Saga, name="test_declare.right"):
        @step(readonly=True)
        async def right(self) -> int:
            return 2

    class Both(Left, Right, name="test_declare.both"):
        @step(readonly=True)
        async def own(self, left: int, right: int) -> int:
            return 3

    assert [one.attribute for one in Both.graph.steps] == ["left", "right", "own"]


def test_a_generic_saga_works_as_it_is_and_parametrised() -> None:
    assert GenericSaga.graph.steps[0].attribute == "give"
    assert stored(GenericSaga(content=[1])).content == [1]

    assert GenericSaga[int] is GenericSaga[int]
    assert run(GenericSaga[int](content=3).give()) == 3
    assert GenericSaga[int].graph.steps[0].attribute == "give"
    assert stored(GenericSaga[Decimal](content=Decimal("1.10"))).content == Decimal("1.10")
    with pytest.raises(ValidationError):
        GenericSaga[int](content="x")  # type: ignore[arg-type]


def test_a_generic_saga_can_be_local() -> None:
    U = TypeVar("U")

    class Local(Saga, Generic[U], name="test_declare.local_generic"):
        content: U

        @step(readonly=True)
        async def give(self) -> U:
            return self.content

    assert run(Local[int](content=3).give()) == 3
    assert Local[int].graph.steps[0].attribute == "give"


def test_a_parametrised_saga_has_the_types_that_it_was_given() -> None:
    U = TypeVar("U")

    class Listed(Saga, Generic[U], name="test_declare.listed", version=3):
        content: U

        @step(readonly=True)
        async def give(self) -> list[U]:
            return [self.content]

        @step(readonly=True)
        async def take(self, give: list[U]) -> U:
            return give[0]

    class Inherited(Listed[Decimal], name="test_declare.listed_decimals"):
        pass

    for saga in (Listed[Decimal], Inherited):
        assert [one.output.annotation for one in saga.graph.steps] == [list[Decimal], Decimal]
    assert (Listed[Decimal].saga_name, Listed[Decimal].saga_version) == ("test_declare.listed[Decimal]", 3)
    assert (Inherited.saga_name, Inherited.saga_version) == ("test_declare.listed_decimals", 1)


# --- class keywords --------------------------------------------------------------------------------------------------


def test_without_keywords_it_is_stored_by_the_name_of_its_class() -> None:
    class Unnamed(Saga):
        @step(readonly=True)
        async def only(self) -> None: ...

    assert (Unnamed.saga_name, Unnamed.saga_version) == ("Unnamed", 1)


@pytest.mark.parametrize("keyword", ["nmae", "after", "retry"])
def test_a_class_keyword_that_does_not_exist_is_named_with_those_that_do(keyword: str) -> None:
    with pytest.raises((TypeError, DefinitionError)) as refusal:

        class Misspelled(Saga, **{keyword: 1}):
            @step(readonly=True)
            async def only(self) -> None: ...

    assert keyword in str(refusal.value)
    assert "version" in str(refusal.value)


@pytest.mark.parametrize("keyword", ["aftr", "unknown"])
def test_an_option_that_does_not_exist_is_a_type_error(keyword: str) -> None:
    with pytest.raises(TypeError, match=keyword):
        step(**{keyword: 1})  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=keyword):
        compensates("a", **{keyword: 1})  # type: ignore[arg-type]


def test_a_name_given_by_position_says_how_to_give_it() -> None:
    with pytest.raises((TypeError, DefinitionError), match="name="):

        class Positional(Saga):
            @step("debit-money")  # type: ignore[call-overload, untyped-decorator]
            async def debit(self) -> None: ...


def test_saga_itself_has_no_graph() -> None:
    with pytest.raises(DefinitionError, match=r"AF111.*\n.*subclass it"):
        _ = Saga.graph


# --- names -----------------------------------------------------------------------------------------------------------


def test_local_classes_resolve_the_names_around_them() -> None:
    class Receipt(BaseModel):
        number: int

    class Local(Saga, name="test_declare.local"):
        receipt: Receipt

        @step(readonly=True)
        async def first(self) -> Receipt:
            return self.receipt

        @step(readonly=True)
        async def second(self, first: Receipt) -> list[Receipt]:
            return [first]

    assert stored(Local(receipt=Receipt(number=1))).receipt == Receipt(number=1)
    assert Local.graph.steps[1].output.annotation == list[Receipt]


def test_the_function_around_a_class_is_let_go() -> None:
    class Large:
        pass

    def make() -> tuple[type[Saga], weakref.ref[Large]]:
        large = Large()

        class Local(Saga, name="test_declare.lets_go"):
            @step(readonly=True)
            async def first(self) -> int:
                return 1

        return Local, weakref.ref(large)

    saga, large = make()
    gc.collect()

    assert large() is None
    assert saga.graph is not None


def test_two_classes_with_one_stored_name_are_refused_with_both_places_when_they_are_looked_up() -> None:
    class One(Saga, name="test_declare.shared"):
        @step(readonly=True)
        async def only(self) -> None: ...

    class Two(Saga, name="test_declare.shared"):
        @step(readonly=True)
        async def only(self) -> None: ...

    with pytest.raises(DefinitionError) as refusal:
        SAGAS.find("test_declare.shared", 1)

    assert "AF119" in str(refusal.value)
    start = inspect.currentframe().f_code.co_firstlineno  # type: ignore[union-attr]
    places = f"{__file__}:{start + 1} ({One.__qualname__}) and {__file__}:{start + 5} ({Two.__qualname__})"
    assert places in str(refusal.value)


def test_two_versions_of_one_name_are_two_sagas() -> None:
    class One(Saga, name="test_declare.versions", version=1):
        @step(readonly=True)
        async def only(self) -> None: ...

    class Two(Saga, name="test_declare.versions", version=2):
        @step(readonly=True)
        async def only(self) -> None: ...

    assert SAGAS.find("test_declare.versions", 1) is One
    assert SAGAS.find("test_declare.versions", 2) is Two


def test_a_class_that_was_collected_does_not_conflict() -> None:
    def forget() -> None:
        class Gone(Saga, name="test_declare.collected"):
            @step(readonly=True)
            async def only(self) -> None: ...

    forget()

    class Here(Saga, name="test_declare.collected"):
        @step(readonly=True)
        async def only(self) -> None: ...

    assert SAGAS.find("test_declare.collected", 1) is Here


def test_a_class_that_was_refused_is_not_known() -> None:
    with pytest.raises(DefinitionError):

        class Refused(Saga, name="test_declare.refused"):
            pass

    assert SAGAS.find("test_declare.refused", 1) is None


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    source = """
from allframe import Saga, step

class Reloaded(Saga, name="test_declare.reloaded"):
    @step(readonly=True)
    async def only(self) -> None: ...
"""
    (tmp_path / "declared_by_a_test.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("declared_by_a_test")
    del sys.modules["declared_by_a_test"]


def test_a_reloaded_class_takes_the_place_of_its_predecessor(module: ModuleType) -> None:
    before = module.Reloaded

    after = importlib.reload(module).Reloaded

    assert after is not before
    assert SAGAS.find("test_declare.reloaded", 1) is after
