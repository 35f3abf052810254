"""Names in annotations that are not there when the class is created: found as soon as they are, and told if they never are."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from allframe import (
    DefinitionError,
    Inject,
    Saga,
    SagaDefinition,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    Unknown,
    compensates,
    step,
)
from tests.saga.refusal import refused, rules_of

pytestmark = pytest.mark.anyio

if TYPE_CHECKING:
    from decimal import Decimal

    class Ledger: ...


_numbers = itertools.count()
Modules = Callable[..., ModuleType]

HEAD = """from __future__ import annotations
import dataclasses, typing
from typing import TYPE_CHECKING
from pydantic import BaseModel
from allframe import Inject, Saga, SagaStep, Unknown, compensates, step
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Imports modules that are written for this test, the first of those that are given by their names."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(source: str, **others: str) -> ModuleType:
        name = f"late_names_{next(_numbers)}"
        for module, text in {name: source, **others}.items():
            (tmp_path / f"{module}.py").write_text(HEAD + text, encoding="utf-8")
            monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    return load


# --- what only type checkers have ------------------------------------------------------------------------------------


def line_of(text: str) -> int:
    return 1 + next(
        i for i, line in enumerate(Path(__file__).read_text(encoding="utf-8").splitlines()) if line.strip() == text
    )


def test_an_import_for_type_checkers_only_is_named_with_its_place() -> None:
    class Only(Saga):
        @step(readonly=True)
        async def first(self) -> Decimal: ...

    assert refused(lambda: Only.graph, "AF105") == (
        "An annotation of 'first' cannot be resolved: name 'Decimal' is not defined. It is imported under TYPE_CHECKING "
        f"at {__file__}:{line_of('from decimal import Decimal')}, so only type checkers have it: import it at run time as "
        "well, at the end of the module if it would be a circle elsewhere."
    )


def test_a_class_that_is_defined_for_type_checkers_only_is_named_with_its_place() -> None:
    class Only(Saga):
        @step(readonly=True)
        async def first(self, ledger: Inject[Ledger]) -> int: ...

    assert refused(lambda: Only.graph, "AF105") == (
        "An annotation of 'first' cannot be resolved: name 'Ledger' is not defined. It is defined under TYPE_CHECKING "
        f"at {__file__}:{line_of('class Ledger: ...')}, so only type checkers have it: define it at run time as well."
    )


def test_every_name_of_every_member_is_told_at_once() -> None:
    class Only(Saga):
        paid: Decimal
        ledgers: list[Ledger]

        @step
        async def first(self, ledger: Inject[Ledger]) -> Decimal: ...

        @compensates("first")
        async def undo(self, first: Decimal | Unknown) -> None: ...

        @step(readonly=True)
        async def last(self) -> int: ...

    with pytest.raises(DefinitionError) as refusal:
        _ = Only.graph

    told = [(problem.member, problem.text.split(". ")[0]) for problem in refusal.value.problems]
    assert sorted(told, key=str) == [
        ("first", "An annotation of 'first' cannot be resolved: name 'Decimal' is not defined"),
        ("first", "An annotation of 'first' cannot be resolved: name 'Ledger' is not defined"),
        ("ledgers", "The type of the field 'ledgers' cannot be resolved: name 'Ledger' is not defined"),
        ("paid", "The type of the field 'paid' cannot be resolved: name 'Decimal' is not defined"),
        ("undo", "An annotation of 'undo' cannot be resolved: name 'Decimal' is not defined"),
    ]


@pytest.mark.parametrize(
    "condition",
    ["TYPE_CHECKING", "typing.TYPE_CHECKING", "TYPE_CHECKING and typing"],
    ids=["name", "attribute", "compound"],
)
def test_the_condition_may_be_written_in_other_ways(load: Modules, condition: str) -> None:
    module = load(f"""
if {condition}:
    import decimal as money

class Only(Saga):
    @step(readonly=True)
    async def first(self) -> money.Decimal: ...
""")

    text = refused(lambda: module.Only.graph, "AF105")

    assert "name 'money' is not defined. It is imported under TYPE_CHECKING at " in text
    assert f"{module.__file__}:8, so only" in text


def test_the_other_branch_of_not_type_checking_is_for_type_checkers(load: Modules) -> None:
    module = load("""
if not TYPE_CHECKING:
    pass
else:
    from decimal import Decimal

class Only(Saga):
    @step(readonly=True)
    async def first(self) -> Decimal: ...
""")

    assert f"It is imported under TYPE_CHECKING at {module.__file__}:10" in refused(lambda: module.Only.graph, "AF105")


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    class Receipt(BaseModel): ...

    class Only(Saga):
        @step(readonly=True)
        async def first(self) -> Reciept: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DefinitionError) as refusal:
        _ = Only.graph

    assert refusal.value.problems[0].near == ("Receipt",)
    assert refusal.value.problems[0].text == (
        "An annotation of 'first' cannot be resolved: name 'Reciept' is not defined. Did you mean 'Receipt'? Define it in "
        "the module, or above the class."
    )


# --- first use -------------------------------------------------------------------------------------------------------


def broken() -> type[Saga]:
    class Broken(Saga, name="late_names.broken"):
        @step(readonly=True)
        async def first(self) -> Decimal: ...

    return Broken


async def test_nothing_can_be_made_of_a_class_whose_names_are_missing() -> None:
    cls = broken()

    for _ in range(2):  # and not only once
        assert "name 'Decimal' is not defined" in refused(cls, "AF105")
        assert "name 'Decimal' is not defined" in refused(lambda: cls.model_validate({}), "AF105")
        assert "name 'Decimal' is not defined" in refused(lambda: cls.model_validate_json("{}"), "AF105")
        assert "name 'Decimal' is not defined" in refused(cls.model_construct, "AF105")


async def test_an_orchestrator_is_not_given_a_class_whose_names_are_missing(load: Modules) -> None:
    assert "name 'Decimal' is not defined" in refused(lambda: SagaOrchestrator(sagas=[broken()]), "AF105")

    module = load("""
class Pay(SagaStep):
    async def execute(self) -> Nowhere: ...
""")
    assert "name 'Nowhere' is not defined" in refused(lambda: SagaOrchestrator(sagas=[module]), "AF105")


def test_a_field_whose_type_is_missing_is_told_by_the_constructor() -> None:
    class Broken(Saga, name="late_names.broken_field"):
        paid: Decimal

        @step(readonly=True)
        async def first(self) -> int: ...

    text = refused(lambda: Broken(paid=1), "AF105")  # type: ignore[arg-type]

    assert text.startswith("The type of the field 'paid' cannot be resolved: name 'Decimal' is not defined.")


def test_a_rule_that_could_not_be_applied_is_applied_by_the_constructor() -> None:
    class Late(Saga, name="late_names.applied"):
        @step(readonly=True)
        async def first(self) -> Receipt: ...

        @step(readonly=True)
        async def second(self, first: Refund) -> int: ...

    class Receipt(BaseModel): ...

    class Refund(BaseModel): ...

    assert "takes 'first' as Refund, but 'first' returns Receipt" in refused(Late, "AF107")


def test_a_step_object_is_not_made_while_its_names_are_missing() -> None:
    class Pay(SagaStep, name="late_names.pay"):
        async def execute(self) -> Decimal: ...

    text = refused(lambda: SagaDefinition("late").add_step(Pay()), "AF105")

    assert "An annotation of 'execute' cannot be resolved: name 'Decimal' is not defined. It is imported under" in text


# --- as soon as they can be ------------------------------------------------------------------------------------------

BROKEN = """
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
    @step(readonly=True)
    async def second(self, nobody: Receipt) -> int: ...

class Receipt(BaseModel): ...
"""


def test_the_next_saga_of_the_module_has_the_first_one_checked(load: Modules) -> None:
    source = (
        BROKEN
        + """
class Next(Saga):
    @step(readonly=True)
    async def first(self) -> int: ...
"""
    )
    assert "Nothing fills the parameter 'nobody' of 'second'" in refused(lambda: load(source), "AF105")


def test_the_next_class_of_steps_has_the_first_one_checked(load: Modules) -> None:
    source = (
        BROKEN
        + """
class Next(SagaStep):
    async def execute(self) -> int: ...
"""
    )
    assert "Nothing fills the parameter 'nobody' of 'second'" in refused(lambda: load(source), "AF105")


def test_a_class_of_steps_is_checked_with_the_next_one(load: Modules) -> None:
    source = """
class Early(SagaStep):
    async def execute(self, nobody: Receipt) -> Receipt: ...
class Receipt(BaseModel): ...
class Next(SagaStep):
    async def execute(self) -> int: ...
"""
    assert "Nothing fills the parameter 'nobody' of 'execute'" in refused(lambda: load(source), "AF105")


def test_it_goes_on_waiting_while_a_name_is_missing(load: Modules) -> None:
    module = load("""
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
class Next(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
class Receipt(BaseModel): ...
class Last(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
""")

    for cls in (module.Early, module.Next, module.Last):
        assert vars(cls)["__allframe_graph__"] is not None


def test_a_class_of_another_module_is_left_alone(load: Modules) -> None:
    module = load(BROKEN)

    load("""
class Other(Saga):
    @step(readonly=True)
    async def first(self) -> int: ...
""")

    assert rules_of(lambda: module.Early.graph) == ["AF105"]


def test_a_module_that_was_mended_is_loaded_again(load: Modules) -> None:
    module = load(BROKEN)
    assert module.__file__ is not None
    mended = BROKEN.replace("nobody", "first") + "class Next(Saga):\n    @step\n    async def first(self) -> int: ...\n"
    Path(module.__file__).write_text(HEAD + mended + "\n# of another length", encoding="utf-8")

    importlib.reload(module)

    assert module.Early.graph.steps[1].parameters[0].name == "first"


# --- where names are looked for --------------------------------------------------------------------------------------


async def test_a_model_below_the_saga_in_a_function_is_found() -> None:
    class Order(Saga, name="late_names.below"):
        items: list[Item]

        @step
        async def reserve(self) -> Receipt:
            return Receipt(items=self.items)

        @compensates("reserve")
        async def release(self, reserve: Receipt | Unknown) -> None: ...

        @step
        async def ship(self, reserve: Receipt) -> dict[str, Item]:
            return {item.name: item for item in reserve.items}

    class Item(BaseModel):
        name: str

    class Receipt(BaseModel):
        items: list[Item]

    async with SagaOrchestrator() as orchestrator:
        outcome = await orchestrator.execute(Order(items=[Item(name="cup")]))

    assert outcome.status is SagaStatus.COMPLETED
    assert outcome.output == {"cup": Item(name="cup")}


def test_a_model_below_the_saga_is_found_after_the_function_has_returned() -> None:
    def make() -> type[Saga]:
        class Order(Saga, name="late_names.returned"):
            @step(readonly=True)
            async def reserve(self) -> Item: ...

        class Item(BaseModel):
            name: str

        return Order

    assert make().graph.steps[0].output.name.endswith("Item")


def test_a_name_of_a_function_two_levels_up_is_found_though_no_code_uses_it() -> None:
    class Item(BaseModel):
        name: str

    def make() -> type[Saga]:
        class Order(Saga, name="late_names.two_levels"):
            item: Item

            @step(readonly=True)
            async def reserve(self) -> Item: ...

        return Order

    assert make().graph.steps[0].output.annotation is Item
    assert make()(item=Item(name="cup")).model_dump() == {"item": {"name": "cup"}}


def test_a_name_of_a_caller_is_not_taken_for_one_of_the_function_around(load: Modules) -> None:
    module = load("""
def make():
    class Order(Saga, name="late_names.caller"):
        @step(readonly=True)
        async def reserve(self) -> Item: ...
    return Order

def calls():
    class Item(BaseModel): ...
    return make()
""")

    assert "name 'Item' is not defined" in refused(lambda: module.calls().graph, "AF105")


def test_a_class_beside_the_saga_in_another_class_is_found() -> None:
    class Shop:
        class Item(BaseModel):
            name: str

        class Order(Saga, name="late_names.beside"):
            item: Item  # noqa: F821

            @step(readonly=True)
            async def reserve(self) -> Item: ...  # noqa: F821

    assert Shop.Order.graph.steps[0].output.annotation is Shop.Item
    assert Shop.Order(item=Shop.Item(name="cup")).item.name == "cup"


def test_text_within_a_generic_is_resolved() -> None:
    class Order(Saga, name="late_names.generic"):
        items: list["Item"]  # noqa: UP037

        @step(readonly=True)
        async def reserve(self, shelf: Inject["Shelf"]) -> dict[str, list["Item"]]: ...  # noqa: UP037

    class Item(BaseModel):
        name: str

    class Shelf: ...

    assert Order.graph.steps[0].output.annotation == dict[str, list[Item]]
    assert Order.graph.steps[0].parameters[0].wanted is Shelf


def test_a_plain_function_is_resolved_where_it_is_written_and_not_where_it_is_a_step(load: Modules) -> None:
    plain = """
@step(readonly=True)
async def reserve() -> Item: ...
class Item(BaseModel): ...
"""
    module = load(
        """
import late_names_plain
class Item(BaseModel): ...
class Order(Saga):
    class Item(BaseModel): ...
    first = late_names_plain.reserve
    @step(readonly=True)
    async def second(self) -> Item: ...
""",
        late_names_plain=plain,
    )

    first, second = module.Order.graph.steps
    assert first.output.annotation is sys.modules["late_names_plain"].Item
    assert second.output.annotation is module.Order.Item


def test_an_inherited_step_is_resolved_in_its_own_module(load: Modules) -> None:
    module = load(
        """
from late_names_base import Base
class Item(BaseModel): ...
class Order(Base):
    @step(readonly=True)
    async def second(self) -> Item: ...
""",
        late_names_base="""
class Base(Saga, abstract=True):
    kept: Item | None = None
    @step(readonly=True)
    async def first(self) -> Item: ...
from late_names_items import Item
""",
        late_names_items="""
class Item(BaseModel): ...
""",
    )

    first, second = module.Order.graph.steps
    assert first.output.annotation is sys.modules["late_names_items"].Item
    assert second.output.annotation is module.Item
    assert module.Order(kept=sys.modules["late_names_items"].Item()).kept is not None


def test_a_base_in_a_function_gives_its_names_to_a_saga_elsewhere() -> None:
    def make() -> type[Saga]:
        class Base(Saga, abstract=True):
            @step(readonly=True)
            async def first(self) -> Item: ...

        class Item(BaseModel): ...

        return Base

    class Order(make()):  # type: ignore[misc]
        @step(readonly=True)
        async def second(self, first: Any) -> int: ...

    assert Order.graph.steps[0].output.name.endswith("Item")


def test_modules_that_import_each_other_find_each_others_models(load: Modules) -> None:
    module = load(
        """
import late_names_other
class Order(Saga):
    @step(readonly=True)
    async def first(self) -> late_names_other.Item: ...
    @step(readonly=True)
    async def second(self, first: late_names_other.Item) -> Receipt: ...
class Receipt(BaseModel): ...
""",
        late_names_other=f"""
import late_names_{_peek() + 1} as orders
class Refund(Saga):
    @step(readonly=True)
    async def first(self) -> orders.Receipt: ...
    @step(readonly=True)
    async def second(self, first: orders.Receipt) -> Item: ...
class Item(BaseModel): ...
""",
    )
    other = sys.modules["late_names_other"]

    assert module.Order.graph.steps[1].output.annotation is module.Receipt
    assert other.Refund.graph.steps[0].output.annotation is module.Receipt
    assert other.Refund.graph.steps[1].output.annotation is other.Item


def _peek() -> int:
    """The number of the last module."""
    return next(_numbers)


async def test_a_dataclass_of_a_function_may_name_another_of_it(load: Modules) -> None:
    module = load("""
def make():
    class Order(Saga):
        wanted: Basket
        @step(readonly=True)
        async def first(self) -> Basket:
            return self.wanted
        @step(readonly=True)
        async def second(self, first: Basket) -> list[Basket]:
            return [first]
    class Pick(SagaStep):
        wanted: Basket
        async def execute(self) -> Basket: ...

    @dataclasses.dataclass
    class Basket:
        items: list[Item]

    @dataclasses.dataclass
    class Item:
        number: int

    return Order, Pick, Basket([Item(1)])
""")
    order, pick, basket = module.make()

    async with SagaOrchestrator(sagas=[order]) as orchestrator:
        outcome = await orchestrator.execute(order(wanted=basket))
    assert outcome.outputs == {"first": basket, "second": [basket]}
    assert pick(wanted=basket).wanted == basket


def test_a_dataclass_of_names_further_down_is_resolved(load: Modules) -> None:
    module = load("""
@dataclasses.dataclass
class Receipt:
    lines: list[Line]

class Order(Saga):
    receipt: Receipt
    @step(readonly=True)
    async def first(self) -> Receipt: ...

@dataclasses.dataclass
class Line:
    article: str
""")

    order = module.Order(receipt={"lines": [{"article": "cup"}]})

    assert order.receipt == module.Receipt([module.Line("cup")])
    assert module.Order.graph.steps[0].output.dump(order.receipt, "it") == b'{"lines":[{"article":"cup"}]}'


# --- names that the class itself hides -------------------------------------------------------------------------------


def test_a_field_named_like_its_type_needs_no_other_name() -> None:
    class Good(Saga, name="late_names.date"):
        date: date

        @step(readonly=True)
        async def first(self) -> date: ...

    assert Good.graph.steps[0].output.annotation is date
    assert Good.model_validate({"date": "2026-01-02"}).date == date(2026, 1, 2)


def test_a_default_that_hides_a_type_is_told() -> None:
    def declare() -> None:
        class Hides(Saga):
            date: date | None = None

            @step(readonly=True)
            async def first(self) -> int: ...

    assert refused(declare, "AF105") == (
        "The type of the field 'date' is written as 'date | None', and in this class 'date' is the default of a field, "
        "which hides what is called so outside. Rename it, or import the type under another name."
    )


def test_a_step_that_hides_the_type_of_a_field_is_told() -> None:
    def declare() -> None:
        class Hides(Saga):
            when: date

            @step(readonly=True)
            async def date(self) -> int: ...

    assert refused(declare, "AF105").startswith(
        "The type of the field 'when' is written as 'date', and in this class 'date' is a method, which hides"
    )


def test_a_step_may_be_named_like_a_type_that_other_steps_return() -> None:
    class Good(Saga, name="late_names.step_date"):
        @step(readonly=True)
        async def date(self) -> date: ...

        @step(readonly=True)
        async def second(self, date: date) -> list[date]: ...

    assert Good.graph.steps[1].output.annotation == list[date]


# --- Python 3.12 -----------------------------------------------------------------------------------------------------

since_312 = pytest.mark.skipif(sys.version_info < (3, 12), reason="PEP 695 is of Python 3.12")


@since_312
@pytest.mark.parametrize("future", [True, False])
def test_type_parameters_are_resolved(load: Modules, monkeypatch: pytest.MonkeyPatch, future: bool) -> None:
    source = """
class Page[T](BaseModel):
    items: list[T]

class Order[T](Saga):
    given: T
    @step(readonly=True)
    async def first(self) -> "Page[T]": ...
    @step(readonly=True)
    async def second[U: int](self, first: "Page[T]") -> "list[U]": ...

def make():
    class Item(BaseModel):
        name: str
    class Local[T](Saga):
        given: T
        @step(readonly=True)
        async def first(self) -> "Item": ...
        @step(readonly=True)
        async def second(self, first: "Item") -> "T": ...
    return Local[int], Item
"""
    if not future:
        monkeypatch.setitem(globals(), "HEAD", HEAD.replace("from __future__ import annotations\n", ""))
    module = load(source)

    assert module.Order[int].graph.steps[0].output.annotation is module.Page[int]
    assert module.Order[int](given=1).given == 1
    local, item = module.make()
    assert [each.output.annotation for each in local.graph.steps] == [item, int]
    assert local(given=1).given == 1


@since_312
def test_what_stands_behind_a_type_alias_may_come_later(load: Modules) -> None:
    module = load("""
type Receipts = list[Receipt]
type Tree = dict[str, Tree] | int

class Order(Saga):
    kept: Receipts
    @step(readonly=True)
    async def first(self) -> Receipts: ...
    @step(readonly=True)
    async def second(self, first: Receipts) -> Tree: ...
    @step(readonly=True)
    async def third(self, first: Receipts, second: Tree) -> list[Receipt]: ...

class Receipt(BaseModel):
    number: int
""")

    assert module.Order(kept=[{"number": 1}]).kept == [module.Receipt(number=1)]
    assert module.Order.graph.steps[2].output.annotation == list[module.Receipt]


@since_312
def test_what_stands_behind_a_type_alias_may_never_come(load: Modules) -> None:
    module = load("""
if TYPE_CHECKING:
    from decimal import Decimal
type Money = Decimal

class Order(Saga):
    @step(readonly=True)
    async def first(self) -> Money: ...
    @step(readonly=True)
    async def second(self, first: Money) -> int: ...
""")

    assert rules_of(lambda: module.Order.graph) == ["AF105", "AF105"]
    with pytest.raises(
        DefinitionError, match=r"name 'Decimal' is not defined\. It is imported under TYPE_CHECKING at "
    ):
        module.Order()
