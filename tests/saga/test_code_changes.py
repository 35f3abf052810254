"""The code changed between a crash and the recovery: a compatible change goes on, any other blocks with a diff."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from pydantic import BaseModel, Field, SecretStr

from allframe import (
    EventStore,
    Retry,
    Saga,
    SagaDefinition,
    SagaMetadata,
    SagaOrchestrator,
    SagaStep,
    Unknown,
    compensates,
    step,
)
from allframe.testing import VirtualClock
from tests.saga.crash import crash_image

pytestmark = pytest.mark.anyio


class Before(Saga, name="test.changing"):
    number: int = 1

    @step
    async def first(self) -> int:
        return 1

    @compensates("first")
    async def undo_first(self, first: int | Unknown) -> None: ...

    @step(timeout=None)
    async def second(self) -> int:
        await anyio.sleep_forever()
        return 2

    @compensates("second")
    async def undo_second(self, second: int | Unknown) -> None: ...

    @step
    async def third(self) -> int:
        return 3


async def recovered_with(cls: type[Saga], store_url: str, clock: VirtualClock, folder: Path) -> SagaMetadata:
    """Die in the second step of `Before`, recover with ``cls``, and see where that led."""
    async with EventStore(store_url) as store:
        async with SagaOrchestrator(store, sagas=[Before], clock=clock, grace=0) as orchestrator:
            handle = await orchestrator.start(Before(), id="c-1")
            while (await handle.metadata()).running != ("second",):
                await anyio.sleep(0.01)
            image = crash_image(store, folder)
    async with image, SagaOrchestrator(image, sagas=[cls], clock=clock) as orchestrator:
        while await orchestrator.running_count():
            await anyio.sleep(1)
        metadata = await orchestrator.get_saga("c-1")
        assert metadata is not None
        return metadata


def changed(**body: object) -> type[Saga]:
    """`Before` with other bodies, and with ``body`` in place of what it has; None takes something away."""

    @step
    async def first(self: Saga) -> int:
        return 10

    @compensates("first")
    async def undo_first(self: Saga, first: int | Unknown) -> None: ...

    @step(retry=Retry(attempts=9), timeout=5)
    async def second(self: Saga) -> int:
        return 20

    @compensates("second")
    async def undo_second(self: Saga, second: int | Unknown) -> None: ...

    @step
    async def third(self: Saga) -> int:
        return 30

    parts = {
        "first": first,
        "undo_first": undo_first,
        "second": second,
        "undo_second": undo_second,
        "third": third,
        "number": 1,
        "__annotations__": {"number": int},
    }
    parts = {name: value for name, value in (parts | body).items() if value is not None}
    return _saga(parts)


def _saga(parts: dict[str, object]) -> type[Saga]:
    meta = type(Saga)
    namespace = meta.__prepare__("Before", (Saga,), name="test.changing")
    namespace["__module__"], namespace["__qualname__"] = __name__, f"Changed{len(_made)}"
    for name, value in parts.items():
        namespace[name] = value
    cls = meta("Before", (Saga,), namespace, name="test.changing")
    _made.append(cls)
    return cls  # type: ignore[return-value]


_made: list[object] = []


async def test_other_bodies_timeouts_and_retries_are_no_change(
    store_url: str, clock: VirtualClock, tmp_path: Path
) -> None:
    cls = changed()
    assert cls.graph.fingerprint == Before.graph.fingerprint

    assert (await recovered_with(cls, store_url, clock, tmp_path)).status == "completed"


def documented(what: str) -> type[Saga]:
    """A saga about which everything that can be said to people is ``what``; its values are always the same."""

    class Address(BaseModel, title=what):
        __doc__ = what

        street: str = Field(description=what, examples=[what])

    class Order(Saga, name="test.documented"):
        __doc__ = what

        to: Address
        title: str = Field(default="Ms", title=what)
        description: SecretStr = Field(description=what)
        token: str = Field(json_schema_extra={"secret": True, "$comment": what})

        @step
        async def send(self) -> dict[str, Address]:
            raise NotImplementedError

    return Order


def test_docstrings_titles_and_descriptions_are_no_change() -> None:
    assert documented("where it goes").graph.fingerprint == documented("to whom").graph.fingerprint


def test_what_says_something_of_values_stays_in_the_stored_schemas() -> None:
    schema = documented("what it is").graph.description["input"]

    assert "what it is" not in json.dumps(schema)
    assert schema["properties"] == {
        "to": {"$ref": "#/$defs/Address"},
        "title": {"default": "Ms", "type": "string"},
        "description": {"format": "password", "type": "string", "writeOnly": True},
        "token": {"secret": True, "type": "string"},
    }
    assert schema["$defs"]["Address"]["properties"] == {"street": {"type": "string"}}


def test_the_docstring_of_a_step_that_sagas_are_built_of_is_no_change() -> None:
    def built(what: str) -> SagaDefinition:
        class Send(SagaStep, name="test.documented.send"):
            __doc__ = what

            to: str = Field(description=what)

            async def execute(self) -> None: ...

        return SagaDefinition("s-1").add_step(Send(to="A"))

    assert built("by post").graph.fingerprint == built("by air").graph.fingerprint


async def test_a_new_step_at_the_end_is_run(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    @compensates("third")
    async def undo_third(self: Saga, third: int | Unknown) -> None: ...

    @step
    async def fourth(self: Saga) -> int:
        return 4

    metadata = await recovered_with(changed(undo_third=undo_third, fourth=fourth), store_url, clock, tmp_path)

    assert (metadata.status, metadata.steps_executed, metadata.total_steps) == ("completed", 4, 4)


async def test_a_new_field_with_a_default_is_filled(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    cls = changed(colour="red", __annotations__={"number": int, "colour": str})

    assert (await recovered_with(cls, store_url, clock, tmp_path)).status == "completed"


async def test_a_new_step_before_what_has_begun_blocks(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    parts = changed().__allframe_definition__  # type: ignore[attr-defined]
    by_name = {declared.attribute: declared.value for declared in [*parts.steps, *parts.compensations]}

    @step
    async def early(self: Saga) -> int:
        return 0

    @compensates("early")
    async def undo_early(self: Saga, early: int | Unknown) -> None: ...

    cls = _saga({"early": early, "undo_early": undo_early, **by_name, "number": 1, "__annotations__": {"number": int}})
    metadata = await recovered_with(cls, store_url, clock, tmp_path)

    assert metadata.status == "blocked"
    assert metadata.attention
    assert str(metadata.reason).startswith(
        "Its class has changed too much: step 'first' has begun, and now comes after 'early', which has not succeeded."
    )
    assert "step 'early' is new" in str(metadata.reason)


async def test_a_step_that_has_begun_and_is_gone_blocks(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    metadata = await recovered_with(changed(second=None, undo_second=None), store_url, clock, tmp_path)

    assert metadata.status == "blocked"
    assert "step 'second' is gone" in str(metadata.reason)


async def test_an_output_that_can_no_longer_be_read_blocks(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    @step
    async def first(self: Saga) -> list[str]:
        return []

    @compensates("first")
    async def undo_first(self: Saga, first: list[str] | Unknown) -> None: ...

    metadata = await recovered_with(changed(first=first, undo_first=undo_first), store_url, clock, tmp_path)

    assert metadata.status == "blocked"
    assert "The stored output of step 'first' cannot be read as list[str]" in str(metadata.reason)


async def test_an_input_that_can_no_longer_be_read_blocks(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    cls = changed(number=None, __annotations__={"other": str})

    metadata = await recovered_with(cls, store_url, clock, tmp_path)

    assert metadata.status == "blocked"
    assert "Its stored input cannot be read" in str(metadata.reason)


async def test_another_version_is_another_class(store_url: str, clock: VirtualClock, tmp_path: Path) -> None:
    class Newer(Before, name="test.changing", version=2):
        @step(timeout=None)
        async def second(self) -> int:
            return 2

    metadata = await recovered_with(Newer, store_url, clock, tmp_path)

    assert metadata.status == "blocked"
    assert "no saga class 'test.changing' of version 1" in str(metadata.reason)
