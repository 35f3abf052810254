"""``allframe check`` says what is wrong with sagas, without running them."""

from __future__ import annotations

from tests.cli.shell import Shop

BAD = """
from allframe import Saga, compensates, step

class Order(Saga):
    item: str

    @step
    async def reserve(self) -> str:
        return "x"

    @compensates("reserv")
    async def release(self) -> None: ...

    @step
    async def pay(self, nobody) -> None: ...
"""


def test_says_what_was_checked(shop: Shop) -> None:
    done = shop.run("check", "shop.py", "shop", "shop:Order", "allframe.demo.saga")

    assert done.stdout.splitlines() == [
        "shop.py: 1 saga checked, no problems: Order",
        "shop: 1 saga checked, no problems: Order",
        "shop:Order: 1 saga checked, no problems: Order",
        "allframe.demo.saga: 1 saga checked, no problems: TransferMoney",
    ]
    assert shop.files == {"shop.py"}


def test_tells_every_problem_with_its_place(shop: Shop) -> None:
    (shop.folder / "bad.py").write_text(BAD)

    done = shop.run("check", "bad.py", "shop.py", code=4)

    for rule, line in (("AF101", 11), ("AF104", 7), ("AF105", 14)):
        assert any(rule in text and f"bad.py:{line}" in text for text in done.stderr.splitlines()), done.stderr
    assert "Did you mean" in done.stderr or "reserve" in done.stderr
    assert done.stdout == "shop.py: 1 saga checked, no problems: Order\n", "the others are checked all the same"


def test_a_bad_definition_cannot_be_run(shop: Shop) -> None:
    (shop.folder / "bad.py").write_text(BAD)

    done = shop.run("run", "bad.py:Order", '{"item": "tea"}', "--store", "sqlite:///sagas.db", code=4)

    assert done.stderr.startswith("allframe: AF100: ")
    assert shop.files == {"shop.py", "bad.py"}


def test_finds_what_could_not_be_resolved_at_import(shop: Shop) -> None:
    (shop.folder / "late.py").write_text(
        "from __future__ import annotations\nfrom allframe import Saga, step\n\n"
        "class Late(Saga):\n    item: str\n\n"
        "    @step(readonly=True)\n    async def look(self, x: Nowhere) -> None: ...\n"
    )

    assert "Nowhere" in shop.run("check", "late.py", code=4).stderr


def test_what_is_not_there_is_usage(shop: Shop) -> None:
    (shop.folder / "empty.py").write_text("")

    assert shop.run("check", "nope.py", code=2).stderr == "nope.py: There is no file nope.py. Did you mean shop.py?\n"
    assert shop.run("check", "empty.py", code=2).stderr.startswith("empty.py: there are no sagas in it.")


STEPS = """
from __future__ import annotations
from allframe import SagaStep

class Base(SagaStep, abstract=True):
    account: str

class Debit(Base):
    async def execute(self) -> None: ...

class Credit(Base):
    async def execute(self) -> None: ...
"""


def test_checks_the_steps_that_sagas_are_built_of(shop: Shop) -> None:
    (shop.folder / "steps.py").write_text(STEPS)
    (shop.folder / "both.py").write_text(f"{STEPS}\nfrom shop import Order\n")
    (shop.folder / "late.py").write_text(f"{STEPS}\n    async def compensate(self, x: Nowhere) -> None: ...\n")

    done = shop.run("check", "steps.py", "both.py", "late.py", code=4)

    assert done.stdout.splitlines() == [
        "steps.py: 2 steps checked, no problems: Debit, Credit",
        "both.py: 2 steps checked, no problems: Debit, Credit",
    ]
    assert "AF105 Step Credit, compensate\n" in done.stderr
    assert "Nowhere" in done.stderr


BUILT = """
from allframe import SagaDefinition
from steps import Credit, Debit

fine = SagaDefinition("fine-1").add_step(Debit(account="A"))
"""


def test_checks_the_sagas_that_were_built(shop: Shop) -> None:
    (shop.folder / "steps.py").write_text(STEPS)
    (shop.folder / "fine.py").write_text(BUILT)
    (shop.folder / "bad.py").write_text(f'{BUILT}bad = fine.add_step(Credit(account="B"))\n')

    done = shop.run("check", "fine.py", "fine.py:fine", "bad.py", "bad.py:bad", "bad.py:fine", code=4)

    assert done.stdout.splitlines() == [
        "fine.py: 1 saga and 2 steps checked, no problems: fine, Credit, Debit",
        "fine.py:fine: 1 saga checked, no problems: fine",
        "bad.py:fine: 1 saga checked, no problems: fine",
    ]
    assert done.stderr.count("'debit' has no compensation, and credit can fail after it") == 1, "told once"


def test_finds_what_stands_in_a_dict_or_a_list(shop: Shop) -> None:
    (shop.folder / "held.py").write_text(
        """
from allframe import Saga, SagaDefinition, SagaStep, step

class Send(SagaStep, name="held.send"):
    async def execute(self) -> None: ...

def saga(name):
    class Made(Saga, name=name, waive={"AF204": "a test"}):
        @step
        async def go(self) -> "Nowhere": ...
    return Made

one = SagaDefinition("one").add_step(Send(), name="one")
BUILT = {
    "first": one.add_step(Send(), name="first"),
    2: None,
}
LISTED = [SagaDefinition("second").add_step(Send(), name="second").add_step(Send())]
PAIR = (saga("held.pair"), SagaDefinition("third").add_step(Send(), name="third").add_step(Send()))
SET = {SagaDefinition("fourth").add_step(Send(), name="fourth").add_step(Send())}
again = BUILT["first"]
"""
    )

    done = shop.run("check", "held.py", code=4)

    told = [text for text in done.stderr.splitlines() if "held.py:" in text and "(advice)" not in text]
    assert [text.partition(": ")[2] for text in told] == [
        "AF105 Saga saga.<locals>.Made, go",
        "AF104 Saga SagaDefinition, one",
        "AF104 Saga SagaDefinition, second",
        "AF104 Saga SagaDefinition, third",
        "AF104 Saga SagaDefinition, fourth",
    ]


def test_tells_where_what_it_checked_stands(shop: Shop) -> None:
    (shop.folder / "steps.py").write_text(STEPS)
    (shop.folder / "fine.py").write_text(
        f'{BUILT}SAGAS = {{"a": fine, "b": SagaDefinition("x").add_step(Credit(account="B"))}}\n'
    )

    done = shop.run("check", "fine.py")

    assert done.stdout == "fine.py: 2 sagas and 2 steps checked, no problems: fine, SAGAS['b'], Credit, Debit\n"


def test_a_field_that_is_refused_does_not_end_the_import(shop: Shop) -> None:
    (shop.folder / "fields.py").write_text(
        """
from allframe import Saga, SagaStep, step

class Hides(Saga):
    copy: int = 5
    plain: int = 3

class Lacks(SagaStep, timout=3):
    json: int = 5
    bare = 5

    async def execute(self) -> None: ...

class Below(Saga):
    @step(timeout=0)
    async def go(self) -> None: ...
"""
    )

    done = shop.run("check", "fields.py", code=4)

    told = [text.partition(": ")[2] for text in done.stderr.splitlines() if text.startswith("fields.py:")]
    assert told == [
        "AF111 Saga Hides",
        "AF115 Saga Hides, copy",
        "AF109 Step Lacks",
        "AF110 Step Lacks, bare",
        "AF115 Step Lacks, json",
        "AF109 Saga Below, go",
    ]
