"""AF107: what flows from a step to whoever takes its output, against the corpus, mypy, pydantic and Hypothesis."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import itertools
import random
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Generic, Literal, NewType, Protocol, TypeVar, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError, field_validator
from typing_extensions import TypeAliasType

from allframe import DefinitionError, Saga, SagaDefinition, SagaStep, Unknown, compensates, step
from allframe.errors import Problem
from allframe.payload import PLAIN as STORED
from allframe.payload import Payload, PayloadError, adapter_of
from allframe.roundtrip.obstacles import find_obstacles
from allframe.saga.flow import can_be
from tests.saga import flow_types
from tests.saga.flow_corpus import FITS, REFUSED, Flow, hints_of
from tests.saga.flow_types import (
    HasAmount,
    HasCount,
    Loose,
    Page,
    Pair,
    Payment,
    Point,
    Receipt,
    Refund,
    Row,
    Tree,
    Wide,
)
from tests.sources import ROOT

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=Payment)
NumberT = TypeVar("NumberT", int, float)


def flowing(produced: Any, consumed: Any) -> list[Problem]:
    """The problems of AF107 in a saga with a step that returns the one and one that takes the other."""

    async def first(self: Any) -> Any: ...

    async def second(self: Any, one: Any) -> None: ...

    first.__annotations__ = {} if produced is inspect.Parameter.empty else {"return": produced}
    second.__annotations__ = {"return": None} | ({} if consumed is inspect.Parameter.empty else {"one": consumed})

    def declare() -> None:
        class Flows(Saga):
            one = step(readonly=True)(first)
            two = step(readonly=True)(second)

    return flows(declare)


def flows(declare: Callable[[], Any]) -> list[Problem]:
    try:
        declare()
    except DefinitionError as error:
        return [problem for problem in error.problems if problem.rule == "AF107"]
    return []


def text_of(declare: Callable[[], Any]) -> str:
    """The text of the one problem of AF107."""
    (problem,) = flows(declare)
    return problem.text


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_the_corpus_is_large_enough_and_says_nothing_twice() -> None:
    pairs = [flow.pair for flow in (*FITS, *REFUSED)]

    assert len(FITS) >= 90
    assert len(REFUSED) >= 60
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize("flow", FITS, ids=lambda flow: flow.pair)
def test_what_can_flow_is_accepted(flow: Flow) -> None:
    assert flowing(*hints_of(flow)) == []


@pytest.mark.parametrize("flow", REFUSED, ids=lambda flow: flow.pair)
def test_af107_what_cannot_flow_is_refused(flow: Flow) -> None:
    (problem,) = flowing(*hints_of(flow))

    assert problem.member == "two"
    assert problem.text.startswith("'two' takes 'one' as ")


# --- the second opinion ----------------------------------------------------------------------------------------------

#: So many pairs are drawn of all that the annotations of the corpus make.
DRAWN = 3000


@functools.cache
def drawn() -> tuple[Flow, ...]:
    produced = sorted({flow.produced for flow in (*FITS, *REFUSED)})
    consumed = sorted({flow.consumed for flow in (*FITS, *REFUSED)})
    pairs = [Flow(f"{made} -> {taken}") for made in produced for taken in consumed]
    return tuple(random.Random(107).sample(pairs, DRAWN))


@pytest.fixture(scope="module")
def refused_by_mypy(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The pairs, of the corpus and of those that are drawn, of which mypy says that the one cannot be assigned the other."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy gives the second opinion and is not installed: pip install --group lint")
    head = Path(flow_types.__file__).read_text(encoding="utf-8")
    pairs = (*FITS, *REFUSED, *drawn())
    lines = [f"def pair_{i}(made: {f.produced}) -> None: taken: {f.consumed} = made" for i, f in enumerate(pairs)]
    module = tmp_path_factory.mktemp("flow") / "pairs.py"
    module.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", str(module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(r"pairs\.py:(\d+): error: (.*)  \[([\w-]+)\]$", done.stdout, flags=re.MULTILINE)
    strange = [error for error in found if error[2] not in ("assignment", "type-arg")]
    assert strange == [], done.stdout
    assert found, done.stderr
    above = len(head.splitlines()) + 1
    return frozenset(pairs[int(line) - above].pair for line, _, code in found if code == "assignment")


@pytest.mark.timeout(300)
def test_the_corpus_says_where_mypy_differs_and_nowhere_else(refused_by_mypy: frozenset[str]) -> None:
    corpus = [(flow, True) for flow in FITS] + [(flow, False) for flow in REFUSED]
    differing = {flow.pair for flow, fits in corpus if fits is (flow.pair in refused_by_mypy)}

    assert differing == {flow.pair for flow, _ in corpus if flow.differs}


@pytest.mark.timeout(300)
def test_what_mypy_accepts_is_accepted(refused_by_mypy: frozenset[str]) -> None:
    accepted = [flow for flow in drawn() if flow.pair not in refused_by_mypy]

    alarms = [flow.pair for flow in accepted if not can_be(*hints_of(flow))]

    assert len(accepted) > DRAWN / 20
    # What has no hash cannot be given to whoever needs one, and mypy does not see it.
    assert [alarm for alarm in alarms if not alarm.endswith("-> Hashable")] == []


# --- any types, any values -------------------------------------------------------------------------------------------


class Base(BaseModel):
    number: int


class Below(Base):
    more: str


PLAIN = (
    int,
    str,
    bool,
    float,
    bytes,
    date,
    type(None),
    Literal["a", "b"],
    Literal[1],
    Base,
    Below,
    Receipt,
    Point,
    Row,
)


def inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hashed = st.sampled_from((int, str, bool, Literal["a"]))
    return st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: tuple[kind, ...]),  # type: ignore[valid-type]
        inner.map(lambda kind: Sequence[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: Annotated[kind, "told"]),
        inner.map(lambda kind: Page[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: TypeAliasType("Kind", kind)),
        hashed.map(lambda kind: set[kind]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda kinds: tuple[kinds]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda kinds: kinds[0] | kinds[1]),
        st.tuples(hashed, inner).map(lambda kinds: dict[kinds]),  # type: ignore[valid-type]
        st.tuples(hashed, inner).map(lambda kinds: Mapping[kinds]),  # type: ignore[valid-type]
    )


KINDS = st.recursive(st.sampled_from(PLAIN), inside, max_leaves=4)


@given(KINDS)
def test_every_type_can_be_itself(kind: Any) -> None:
    assert can_be(kind, kind)
    assert can_be(kind, kind | None)
    assert can_be(list[kind], Sequence[kind | Unknown])
    assert can_be(NewType("Named", kind), kind)


@given(KINDS, KINDS)
def test_a_member_of_a_union_is_refused_exactly_if_it_is_alone(one: Any, other: Any) -> None:
    assume(one is not other)
    alone = can_be(one, int), can_be(other, int)

    assert can_be(one | other, int) == all(alone)
    assert can_be(list[one | other], list[int]) == all(alone)


VALUES: dict[Any, tuple[Any, ...]] = {
    int: (7,),
    str: ("seven",),
    bool: (True, False),
    float: (7.5,),
    bytes: (b"7",),
    date: (date(2026, 7, 7),),
    type(None): (None,),
    Base: (Base(number=7),),
    Below: (Below(number=7, more="more"),),
    Receipt: (Receipt(number=7),),
    Point: (Point(7, 7),),
    Row: ({"id": 7, "name": "seven"},),
}


def telling(kind: Any) -> list[Any]:
    """Values of a type: one for each alternative that it names, in containers that have just that in them."""
    if kind in VALUES:
        return list(VALUES[kind])
    if isinstance(kind, TypeAliasType):
        return telling(kind.__value__)
    if isinstance(kind, type) and issubclass(kind, Page) and get_origin(kind) is None:
        (item,) = kind.__pydantic_generic_metadata__["args"]
        return [kind(items=[value]) for value in telling(item)]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return list(arguments)
    if origin is Annotated:
        return telling(arguments[0])
    if origin in (Union, UnionType):
        return [value for member in arguments for value in telling(member)]
    inside = [telling(argument) for argument in arguments if argument is not ...]
    if origin in (dict, Mapping):
        return [{key: value} for key, value in itertools.product(*inside)]
    makes = {Sequence: list}.get(origin, origin)
    return [makes(items) for items in itertools.product(*inside)]


def accepts(kind: Any, value: Any) -> bool:
    try:
        read = TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    # pydantic makes a Point of any tuple, also where it is strict.
    return repr(read).count("Point(") == repr(value).count("Point(")


WIDER: dict[Any, Any] = {
    bool: int,
    int: float,
    str: Sequence[str],
    Below: Base,
    Base: BaseModel,
    Point: tuple[float, int],
    Row: Mapping[str, int | str],
    Literal["a", "b"]: str,
    Literal[1]: int,
    list: Sequence,
    dict: Mapping,
    set: Collection,
}


def wider(kind: Any) -> Any:
    """A type that takes in all that ``kind`` is, wider in each of its parts."""
    origin, arguments = get_origin(kind), tuple(map(wider, get_args(kind)))
    if kind in WIDER or origin in (None, Literal):
        return WIDER.get(kind, kind)
    if origin is Annotated:
        return wider(get_args(kind)[0])
    if origin in (Union, UnionType):
        return Union[arguments]  # noqa: UP007 - of any number
    return WIDER.get(origin, origin)[arguments if len(arguments) > 1 else arguments[0]]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(KINDS)
def test_a_type_can_be_all_that_is_wider(kind: Any) -> None:
    assert can_be(kind, wider(kind))
    assert can_be(list[kind], list[wider(kind)] | None)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(KINDS, KINDS)
def test_of_what_is_refused_some_value_is_really_no_such_value(made: Any, taken: Any) -> None:
    """pydantic is asked, strictly, of values that were stored and read. A refusal without such a value is a false alarm."""
    assume(not can_be(made, taken))
    assume(not find_obstacles(adapter_of(made).core_schema, STORED))  # AF110 refuses it, whoever takes it
    try:
        read = [Payload(made).store(value, "a value")[1] for value in telling(made)]
    except PayloadError:
        reject()  # a list and a tuple look alike: AF110 is about that

    assert any(not accepts(taken, value) for value in read)


# --- what the corpus cannot say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("produced", "consumed"),
    [
        (int, T),
        (T, int),
        (Refund, ModelT),
        (ModelT, Payment),
        (ModelT, Refund),  # it may stand for one
        (int, NumberT),
        (NumberT, int),
        (list[T], list[int]),
        ("list[Payment]", "Sequence[Payment] | None"),
        (list["Nowhere"], list[int]),  # noqa: F821
        (inspect.Parameter.empty, int),
        (inspect.Parameter.empty, dict[str, int]),
        (inspect.Parameter.empty, inspect.Parameter.empty),
        (Decimal, inspect.Parameter.empty),
    ],
    ids=str,
)
def test_what_can_flow_or_cannot_be_decided_is_accepted(produced: Any, consumed: Any) -> None:
    assert can_be(resolved(produced), resolved(consumed))


@pytest.mark.parametrize(
    ("produced", "consumed"),
    [
        (str, ModelT),
        (ModelT, Receipt),
        (ModelT, str),
        (str, NumberT),
        (NumberT, str),
        (inspect.Parameter.empty, Payment),
        (inspect.Parameter.empty, Decimal),
        (inspect.Parameter.empty, tuple[int, int]),
    ],
    ids=str,
)
def test_af107_what_a_type_variable_or_no_annotation_cannot_be(produced: Any, consumed: Any) -> None:
    assert not can_be(produced, consumed)


def resolved(annotation: Any) -> Any:
    return hints_of(Flow(f"{annotation} -> None"))[0] if isinstance(annotation, str) else annotation


def test_a_class_that_answers_what_it_likes_is_accepted() -> None:
    class Anything(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return True

    class Whatever(metaclass=Anything):
        pass

    class Failing(type):
        def __subclasscheck__(cls, subclass: type) -> bool:
            raise RuntimeError("not to be asked")

    class Unasked(metaclass=Failing):
        pass

    assert can_be(int, Whatever)
    assert can_be(int, Unasked)


def test_types_that_mention_themselves_come_to_an_end() -> None:
    class Left(BaseModel):
        next: Left | None

    class Chain(Protocol):
        @property
        def next(self) -> Chain | None: ...

    Loop = TypeAliasType("Loop", list["Loop"] | dict[str, "Loop"] | int)

    assert can_be(Left, Chain)
    assert can_be(Loop, Tree)
    assert not can_be(Loop, Payment)


# --- in sagas --------------------------------------------------------------------------------------------------------


NO_ANNOTATION = inspect.Parameter.empty
ALIKE = "Annotate both alike."
TEXTS: list[tuple[Any, Any, str]] = [
    (int, str, f"str, but 'one' returns int. {ALIKE}"),
    (
        *(Payment | None, Payment),
        "Payment, but 'one' returns Payment | None: it may be None, which cannot be Payment. Write `one: Payment | None`, or "
        "never return None.",
    ),
    (
        *(Literal["a", "b"], Literal["a"]),
        "Literal['a'], but 'one' returns Literal['a', 'b']: it may be Literal['b'], which cannot be Literal['a']. Write "
        "`one: Literal['a'] | Literal['b']`, or never return Literal['b'].",
    ),
    (
        *(list[str], list[int]),
        f"list[int], but 'one' returns list[str]: an item is str, which cannot be int. {ALIKE}",
    ),
    (
        *(dict[str, list[int | None]], Mapping[str, Sequence[int]]),
        "Mapping[str, Sequence[int]], but 'one' returns dict[str, list[int | None]]: an item of a value may be None, which "
        f"cannot be int. {ALIKE}",
    ),
    (
        *(dict[int, str], dict[str, str]),
        f"dict[str, str], but 'one' returns dict[int, str]: a key is int, which cannot be str. {ALIKE}",
    ),
    (
        *(tuple[int, str], tuple[int, int]),
        f"tuple[int, int], but 'one' returns tuple[int, str]: item 2 is str, which cannot be int. {ALIKE}",
    ),
    (
        *(tuple[int, str], tuple[int]),
        f"tuple[int], but 'one' returns tuple[int, str]: it has 2 items and not 1. {ALIKE}",
    ),
    (Payment, Unknown, "Unknown, but 'one' returns Payment. Write `one: Payment | Unknown`."),
    (Row, Wide, f"Wide, but 'one' returns Row: it has no 'price'. {ALIKE}"),
    (list[Loose], list[Row], f"list[Row], but 'one' returns list[Loose]: an item may have no 'name'. {ALIKE}"),
    (
        *(Payment, HasCount),
        f"HasCount, but 'one' returns Payment: 'amount' is Decimal, which cannot be int. {ALIKE}",
    ),
    (Receipt, HasAmount, f"HasAmount, but 'one' returns Receipt: it has no 'amount'. {ALIKE}"),
    (
        *(Pair[int, str], Pair[int, int]),
        f"Pair[int, int], but 'one' returns Pair[int, str]: the K is str, which cannot be int. {ALIKE}",
    ),
    (
        *(NO_ANNOTATION, Payment),
        "Payment, but 'one' has no return annotation: what it returns is stored as plain JSON, and comes back as such. "
        "Annotate what it returns.",
    ),
]


@pytest.mark.parametrize(("produced", "consumed", "text"), TEXTS, ids=lambda part: str(part)[:40])
def test_af107_says_which_part_cannot_be_and_what_to_do(produced: Any, consumed: Any, text: str) -> None:
    (problem,) = flowing(produced, consumed)

    assert problem.text == f"'two' takes 'one' as {text}"


def test_af107_tells_two_classes_of_one_name_apart() -> None:
    def other() -> type[BaseModel]:
        class Receipt(BaseModel):
            number: int

        return Receipt

    (problem,) = flowing(Receipt, other())

    where = f"{__name__}.test_af107_tells_two_classes_of_one_name_apart.<locals>.other.<locals>.Receipt"
    assert problem.text == (
        f"'two' takes 'one' as {where}, but 'one' returns tests.saga.flow_types.Receipt. Annotate both alike."
    )


def test_af107_a_compensation_takes_the_output_of_a_step_before() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def quote(self) -> list[Receipt] | None: ...

            @step
            async def pay(self) -> Payment: ...

            @compensates("pay")
            async def repay(self, pay: Payment | Unknown, quote: list[Receipt] | Unknown) -> None: ...

    assert text_of(declare) == (
        "'repay' takes 'quote' as list[Receipt] | Unknown, but 'quote' returns list[Receipt] | None: it may be None, which "
        "cannot be list[Receipt] | Unknown. Write `quote: list[Receipt] | Unknown | None`, or never return None."
    )


def test_af107_holds_across_branches() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def left(self) -> Receipt: ...

            @step(readonly=True, after=())
            async def right(self) -> str: ...

            @step(readonly=True, after=("left", "right"))
            async def join(self, left: Payment, right: str) -> None: ...

    assert text_of(declare) == "'join' takes 'left' as Payment, but 'left' returns Receipt. Annotate both alike."


def test_a_default_of_none_says_that_none_is_taken() -> None:
    class Good(Saga):
        @step(readonly=True)
        async def quote(self) -> Receipt | None: ...

        @step(readonly=True)
        async def pay(self, quote: Receipt = None) -> None: ...  # type: ignore[assignment]

    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def quote(self) -> Receipt | None: ...

            @step(readonly=True)
            async def pay(self, quote: Receipt = Receipt(number=1)) -> None: ...  # noqa: B008

    assert Good.graph is not None
    assert "it may be None" in text_of(declare)


@step(readonly=True)
async def notify(address: str) -> None: ...


def test_af107_a_plain_function_takes_a_field() -> None:
    def declare() -> None:
        class Bad(Saga):
            address: str | None = None
            first = notify

    assert text_of(declare) == (
        "'first' takes 'address' as str, but the field is str | None: it may be None, which cannot be str. Write "
        "`address: str | None`, or never let the field be None."
    )


def test_a_field_that_a_validator_converts_is_left_in_peace() -> None:
    class Good(Saga):
        address: str | None = None
        first = notify

        @field_validator("address", mode="after")
        @classmethod
        def is_known(cls, address: str | None) -> str:
            return address or "nowhere"

    assert Good.graph is not None


def test_af107_a_step_of_its_own_class() -> None:
    def declare() -> None:
        class Fee(SagaStep):
            async def execute(self) -> Payment | None: ...

            async def compensate(self, output: Payment | Unknown) -> None: ...

    assert text_of(declare) == (
        "'compensate' takes 'output' as Payment | Unknown, but 'execute' returns Payment | None: it may be None, which "
        "cannot be Payment | Unknown. Write `output: Payment | Unknown | None`, or never return None."
    )


def test_steps_that_fit_can_be_put_together() -> None:
    class Charge(SagaStep):
        async def execute(self) -> list[Refund]: ...

        async def compensate(self, output: Sequence[Payment] | Unknown) -> None: ...

    assert SagaDefinition("one").add_step(Charge()).graph is not None


# --- inherited -------------------------------------------------------------------------------------------------------


class Shop(Saga, abstract=True):
    @step(readonly=True)
    async def quote(self) -> Receipt: ...

    @step(readonly=True)
    async def ship(self, quote: Receipt) -> None: ...


def line_of(function: Any) -> str:
    return f"{__file__}:{inspect.unwrap(function).__code__.co_firstlineno}"


def test_af107_an_overriding_step_is_told_where_it_is_written() -> None:
    def declare() -> None:
        class Bad(Shop):
            async def quote(self) -> Receipt | None:  # type: ignore[override]
                ...

    (problem,) = flows(declare)

    assert problem.text == (
        f"'ship' ({line_of(Shop.ship)}) takes 'quote' as Receipt, but 'quote' returns Receipt | None: it may be None, which "
        "cannot be Receipt. Write `quote: Receipt | None`, or never return None."
    )
    assert problem.where == f"{__file__}:{declare.__code__.co_firstlineno + 2}"
    assert problem.member == "quote"


def test_af107_an_overriding_taker_is_told_where_it_is_written() -> None:
    def declare() -> None:
        class Bad(Shop):
            async def ship(self, quote: Payment) -> None:  # type: ignore[override]
                ...

    (problem,) = flows(declare)

    assert problem.text == (
        f"'ship' takes 'quote' as Payment, but 'quote' ({line_of(Shop.quote)}) returns Receipt. Annotate both alike."
    )
    assert problem.where == f"{__file__}:{declare.__code__.co_firstlineno + 2}"
    assert problem.member == "ship"


def test_an_overriding_step_may_return_more_exactly() -> None:
    class Detailed(Receipt):
        lines: list[str]

    class Good(Shop):
        async def quote(self) -> Detailed: ...

    assert Good.graph is not None


class Priced(Saga, Generic[T], abstract=True):
    @step(readonly=True)
    async def price(self) -> T: ...

    @step(readonly=True)
    async def pay(self, price: list[int]) -> None: ...


def test_af107_a_generic_saga_is_compared_with_its_arguments() -> None:
    class Good(Priced[list[bool]]):
        pass

    def declare() -> None:
        class Bad(Priced[list[str]]):
            pass

    assert Good.graph is not None
    assert "'price' returns list[str]: an item is str, which cannot be int." in text_of(declare)


# --- who it is about -------------------------------------------------------------------------------------------------


def test_problems_of_parameters_name_their_function_and_what_is_near() -> None:
    def declare() -> None:
        class Bad(Saga):
            @step(readonly=True)
            async def quote(self, ship: None) -> Receipt: ...

            @step
            async def ship(self, qoute: Receipt) -> None: ...

            @compensates("ship")
            async def recall(self, ship: None) -> None: ...

    with pytest.raises(DefinitionError) as refusal:
        declare()

    found = {problem.rule: (problem.member, problem.near) for problem in refusal.value.problems}
    assert found == {"AF105": ("ship", ("quote",)), "AF106": ("quote", ()), "AF116": ("recall", ())}
