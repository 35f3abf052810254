"""`typecheck=True`: types inside steps and compensations, checked while they run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from allframe import (
    Inject,
    Retry,
    Saga,
    SagaOrchestrator,
    SagaStatus,
    StepContext,
    StepFailed,
    StepOutputLost,
    StepUnknown,
    Unknown,
    compensates,
    step,
)
from allframe.errors import CompensationFailed
from allframe.saga.typechecking import by_default
from allframe.testing import run_saga
from tests.saga.refusal import refused

if TYPE_CHECKING:
    from fractions import Fraction

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _only_where_it_is_asked_for() -> Iterator[None]:
    before = by_default(False)
    yield
    by_default(before)


class Receipt(BaseModel):
    amount: Decimal


class Bank:
    """The world: what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.says: Any = "R-1"


class Pay(Saga, name="typecheck.pay", typecheck=True):
    @step(retry=Retry(attempts=3))
    async def debit(self, bank: Inject[Bank], ctx: StepContext) -> str:
        bank.done.append("debit")
        number: str = bank.says
        return number

    @compensates("debit")
    async def refund(self, debit: str | Unknown, bank: Inject[Bank]) -> None:
        bank.done.append(f"refund {type(debit).__name__}")

    @step
    async def book(self, debit: str, bank: Inject[Bank]) -> None:
        bank.done.append("book")


async def test_what_is_right_runs_as_it_does_without() -> None:
    bank = Bank()

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        outcome = await orchestrator.execute(Pay())

    assert outcome.status is SagaStatus.COMPLETED
    assert bank.done == ["debit", "book"]


async def test_a_wrong_variable_in_the_middle_leaves_open_whether_the_step_took_effect() -> None:
    bank = Bank()
    bank.says = 17

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepUnknown) as raised:
            await orchestrator.execute(Pay())

    assert raised.value.error is not None
    assert raised.value.error.type == "typeguard.TypeCheckError"
    assert raised.value.error.message == "value assigned to number (int) is not an instance of str"
    assert "debit" in str(raised.value)
    assert bank.done == ["debit", "refund Unknown"]  # and not retried: it would be wrong again


async def test_it_is_off_unless_somebody_asks_for_it() -> None:
    class Quiet(Pay, name="typecheck.quiet", typecheck=None): ...

    class Off(Pay, name="typecheck.off", typecheck=False): ...

    class Inherits(Pay, name="typecheck.inherits"): ...

    async def ends(saga: Saga) -> type[Exception]:
        bank = Bank()
        bank.says = 17
        async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
            with pytest.raises(Exception) as raised:
                await orchestrator.execute(saga)
        return raised.type

    assert await ends(Inherits()) is StepUnknown
    assert await ends(Quiet()) is StepOutputLost  # an int is no str, and is not stored as one
    assert await ends(Off()) is StepOutputLost
    by_default(True)
    assert await ends(Quiet()) is StepUnknown
    assert await ends(Off()) is StepOutputLost


class Wrongs(Saga, name="typecheck.wrongs", typecheck=True):
    of: str

    @step(retry=Retry(attempts=3))
    async def first(self, bank: Inject[Bank]) -> list[int]:
        bank.done.append("first")
        return ["x"] if self.of == "return" else [1]  # type: ignore[list-item]

    @compensates("first")
    async def undo(self, first: list[int] | Unknown, bank: Inject[Bank]) -> None:
        bank.done.append("undo")

    @step
    async def last(self, first: Any, bank: Inject[Bank]) -> None:
        await _take(1 if self.of == "call" else "a", bank)
        bank.done.append("last")


async def _take(text: str, bank: Bank) -> None:
    from typeguard import check_type

    check_type(text, str)


async def test_a_wrong_return_is_a_step_that_succeeded_and_whose_output_is_lost() -> None:
    bank = Bank()

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepOutputLost) as raised:
            await orchestrator.execute(Wrongs(of="return"))

    assert raised.value.error is not None
    assert raised.value.error.message == "item 0 of the return value (list) is not an instance of int"
    assert bank.done == ["first", "undo"]


async def test_a_check_that_is_the_users_own_is_an_error_like_any_other() -> None:
    bank = Bank()

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepFailed, match="int is not an instance of str"):
            await orchestrator.execute(Wrongs(of="call"))

    assert bank.done == ["first", "undo"]


class Money(BaseModel):
    amount: int


async def produces(bank: Inject[Bank]) -> Any:
    bank.done.append("produce")
    return bank.says


class Consumes(Saga, name="typecheck.consumes", typecheck=True):
    produce = step(readonly=True)(produces)

    @step(retry=Retry(attempts=3))
    async def consume(self, produce: str, bank: Inject[Bank]) -> None:
        bank.done.append("consume")

    @compensates("consume")
    async def undo(self, bank: Inject[Bank]) -> None:
        bank.done.append("undo")

    @step
    def last(self, produce: int, bank: Inject[Bank]) -> None:
        bank.done.append("last")


async def test_a_wrong_argument_is_a_step_whose_body_never_began() -> None:
    bank = Bank()
    bank.says = 17

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepFailed) as raised:
            await orchestrator.execute(Consumes())

    assert raised.value.error is not None
    assert raised.value.error.message == 'argument "produce" (int) is not an instance of str'
    assert bank.done == ["produce"]


async def test_a_sync_step_is_checked_on_its_thread() -> None:
    bank = Bank()

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepFailed, match=r'argument "produce" \(str\) is not an instance of int'):
            await orchestrator.execute(Consumes())

    assert bank.done == ["produce", "consume", "undo"]


async def test_a_compensation_is_checked_too() -> None:
    class Undoes(Saga, name="typecheck.undoes", typecheck=True):
        @step
        async def first(self) -> int:
            return 1

        @compensates("first", retry=Retry(attempts=1))
        async def undo(self, first: int | Unknown, bank: Inject[Bank]) -> None:
            number: int = bank.says
            bank.done.append(str(number))

        @step
        async def last(self) -> None:
            raise LookupError("no")

    bank = Bank()
    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(CompensationFailed) as raised:
            await orchestrator.execute(Undoes())

    assert raised.value.error is not None
    assert raised.value.error.message == "value assigned to number (str) is not an instance of int"
    assert bank.done == []


async def test_an_object_that_is_injected_may_be_a_stand_in() -> None:
    class FakeBank:
        done: list[str] = []
        says = "R-1"

    async with SagaOrchestrator(provide={Bank: FakeBank()}) as orchestrator:
        outcome = await orchestrator.execute(Pay())

    assert outcome.status is SagaStatus.COMPLETED
    assert FakeBank.done == ["debit", "book"]


async def test_types_of_the_function_around_are_checked_at_the_rim() -> None:
    class Item(BaseModel):
        name: str

    class Local(Saga, name="typecheck.local", typecheck=True):
        given: Any

        class Inner(BaseModel):
            name: str

        @step(readonly=True)
        async def first(self) -> Any:
            return self.given

        @step(readonly=True)
        async def second(self, first: Item | dict[str, int]) -> Inner | int:
            return 1

        @step(readonly=True)
        def third(self, first: Inner | dict[str, int]) -> Item | int:
            return 1

    async with SagaOrchestrator() as orchestrator:
        assert (await orchestrator.execute(Local(given={"a": 1}))).output == 1
        with pytest.raises(StepFailed, match=r'argument "first" \(str\) did not match any element in the union'):
            await orchestrator.execute(Local(given="a"))


async def test_what_only_type_checkers_know_is_not_checked() -> None:
    class Guarded(Saga, name="typecheck.guarded", typecheck=True):
        @step(readonly=True)
        async def first(self) -> int:
            part: Fraction = 1  # type: ignore[assignment]
            assert part == 1
            return 1

    async with SagaOrchestrator() as orchestrator:
        assert (await orchestrator.execute(Guarded())).output == 1


async def test_the_functions_of_the_class_stay_as_they_are() -> None:
    bank = Bank()
    bank.says = 17
    before = vars(Pay)["debit"]

    async with SagaOrchestrator(provide={Bank: bank}) as orchestrator:
        with pytest.raises(StepUnknown):
            await orchestrator.execute(Pay())

    assert vars(Pay)["debit"] is before
    assert await Pay().debit(bank, None) == 17  # type: ignore[arg-type, comparison-overlap]


async def test_a_function_without_source_is_checked_at_its_rim() -> None:
    namespace: dict[str, Any] = {"__name__": "no_such_module"}
    exec("async def first(produce: int) -> str:\n    return produce\n", namespace)

    class Made(Saga, name="typecheck.made", typecheck=True):
        given: Any
        produce = step(readonly=True)(_given)
        first = step(readonly=True)(namespace["first"])

    async with SagaOrchestrator() as orchestrator:
        with pytest.raises(StepOutputLost, match=r"the return value \(int\) is not an instance of str"):
            await orchestrator.execute(Made(given=1))
        with pytest.raises(StepFailed, match=r'argument "produce" \(str\) is not an instance of int'):
            await orchestrator.execute(Made(given="a"))


async def _given(given: Any) -> Any:
    return given


def test_it_needs_typeguard(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "typeguard" else find(name, *rest)
    )

    def declare() -> None:
        class Asks(Saga, typecheck=True):
            @step
            async def first(self) -> int: ...

    assert refused(declare, "AF109") == (
        "The saga has typecheck=True, which needs typeguard, and that is not installed: pip install 'allframe[typecheck]'."
    )
    assert by_default(True) is False  # without it nothing is checked by default
    assert by_default(False) is False


def test_an_option_that_says_nothing_is_refused() -> None:
    def declare() -> None:
        class Asks(Saga, typecheck="yes"):  # type: ignore[arg-type]
            @step
            async def first(self) -> int: ...

    assert (
        refused(declare, "AF109") == "The saga has typecheck='yes'. Expected True, False, or None: as it is by default."
    )


async def test_a_rehearsal_checks_what_runs() -> None:
    bank = Bank()
    bank.says = 17

    run = await run_saga(Pay(), provide={Bank: bank})

    assert isinstance(run.error, StepUnknown)
