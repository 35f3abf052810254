"""Names that are not there yet are resolved when they can be; one that never can is AF105."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from allframe import DefinitionError, Saga, SagaStep, step
from tests.saga.refusal import refused, rules_of

_numbers = itertools.count()


def load(folder: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    name = f"rules_of_a_module_{next(_numbers)}"
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


HEAD = """from __future__ import annotations
from pydantic import BaseModel
from allframe import Saga, Unknown, compensates, step
"""


def test_a_class_further_down_in_the_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Early(Saga):
    receipt: Receipt | None = None
    @step
    async def first(self) -> Receipt:
        return Receipt(number=1)
    @compensates("first")
    async def undo(self, first: Receipt | Unknown) -> None: ...
    @step(readonly=True)
    async def second(self, first: Receipt) -> None: ...

class Receipt(BaseModel):
    number: int
"""
    module = load(tmp_path, source, monkeypatch)

    assert module.Early.graph.steps[0].output.annotation is module.Receipt
    assert module.Early(receipt=module.Receipt(number=1)).receipt.number == 1


def test_what_could_not_be_checked_at_once_is_checked_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step
    async def first(self) -> Receipt: ...
    @compensates("first")
    async def undo(self, first: Receipt) -> None: ...
    @step(readonly=True)
    async def second(self, first: Other, nobody: Other) -> None: ...

class Receipt(BaseModel): ...
class Other(BaseModel): ...
"""
    module = load(tmp_path, source, monkeypatch)

    for _ in range(2):  # and not only once
        assert rules_of(lambda: module.Early.graph) == ["AF116", "AF105", "AF107"]


def test_what_can_be_seen_without_the_types_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step(timeout=0)
    async def first(self) -> Receipt: ...
    @compensates("frist")
    async def undo(self, first: Receipt) -> None: ...

class Receipt(BaseModel): ...
"""
    assert rules_of(lambda: load(tmp_path, source, monkeypatch)) == ["AF109", "AF101"]


def test_a_name_that_only_type_checkers_know_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from decimal import Decimal

class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Decimal: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "An annotation of 'first' cannot be resolved: name 'Decimal' is not defined." in refused(
        lambda: module.Early.graph, "AF105"
    )


def test_a_field_of_a_type_that_nobody_defines_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    thing: Nowhere
    @step(readonly=True)
    async def first(self) -> int: ...
"""
    module = load(tmp_path, source, monkeypatch)

    with pytest.raises(DefinitionError, match="Nowhere"):
        _ = module.Early.graph


def test_a_type_within_an_output_that_nobody_defines_is_told_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Receipt(BaseModel):
    thing: Nowhere
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> Receipt: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "What 'first' returns cannot be resolved: name 'Nowhere' is not defined." in refused(
        lambda: module.Early.graph, "AF105"
    )


def test_a_step_or_field_is_not_taken_for_the_type_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""{HEAD}
class Named(Saga):
    int: float = 1.0
    @step(readonly=True)
    async def str(self) -> None: ...
    @step(readonly=True)
    async def last(self) -> dict[str, int]: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert module.Named.graph.steps[1].output.annotation == dict[str, int]


def test_a_class_in_the_body_of_the_saga_is_found() -> None:
    class Good(Saga):
        class Receipt(BaseModel):
            number: int

        @step(readonly=True)
        async def first(self) -> Receipt:
            return Good.Receipt(number=1)

        @step(readonly=True)
        async def second(self, first: Receipt) -> None: ...

    assert Good.graph.steps[0].output.annotation is Good.Receipt


def test_the_saga_itself_is_found() -> None:
    class Good(Saga):
        parent: Good | None = None

        @step(readonly=True)
        async def first(self) -> Good:
            return self

    assert Good.graph.steps[0].output.annotation is Good
    assert Good(parent=Good()).parent == Good()


def test_names_of_a_function_two_levels_up_are_found() -> None:
    class Receipt(BaseModel):
        number: int

    def make() -> type[Saga]:
        assert Receipt is not None  # so that it is a name of this function, too

        class Good(Saga):
            @step(readonly=True)
            async def first(self) -> Receipt:
                return Receipt(number=1)

        return Good

    assert make().graph.steps[0].output.annotation is Receipt


def test_a_local_name_goes_before_one_of_the_module() -> None:
    class Model(BaseModel):
        other: int

    class Good(Saga):
        @step(readonly=True)
        async def first(self) -> Model:
            return Model(other=1)

    assert Good.graph.steps[0].output.annotation is Model


def test_an_annotation_that_is_broken_is_told_and_does_not_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEAD}
class Early(Saga):
    @step(readonly=True)
    async def first(self) -> 1 / 0: ...
"""
    module = load(tmp_path, source, monkeypatch)

    assert "An annotation of 'first' cannot be resolved: division by zero." in refused(
        lambda: module.Early.graph, "AF105"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda cls: cls(),
        lambda cls: cls.model_validate({"kept": 1}),
        lambda cls: cls.model_validate_json('{"kept": 1}', strict=True),
        lambda cls: cls.model_validate_strings({"kept": "1"}),
        lambda cls: cls.model_construct(kept=1),
    ],
)
def test_af105_the_type_of_a_field_is_told_however_an_object_is_made(make: Any) -> None:
    class Bad(Saga):
        kept: Nowhere  # type: ignore[name-defined]  # noqa: F821

        @step
        async def only(self) -> None: ...

    class BadStep(SagaStep):
        kept: Nowhere  # type: ignore[name-defined]  # noqa: F821

        async def execute(self) -> None: ...

    for cls in (Bad, BadStep):
        assert refused(lambda cls=cls: make(cls), "AF105") == (  # type: ignore[misc]
            "The type of the field 'kept' cannot be resolved: name 'Nowhere' is not defined. Define it in the module, or above "
            "the class."
        )


def test_af105_accepts_objects_that_are_read_before_any_is_made() -> None:
    class Good(Saga):
        kept: Later

        @step
        async def only(self) -> None: ...

    class Later(BaseModel):
        number: int

    assert Good.model_validate_json('{"kept": {"number": 1}}') == Good(kept=Later(number=1))
