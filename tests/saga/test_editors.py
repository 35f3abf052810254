"""What an editor, ``help`` and ``inspect`` show of steps and compensations: what was written."""

from __future__ import annotations

import inspect
import pydoc

from pydantic import BaseModel

from allframe import Inject, Saga, SagaOrchestrator, Unknown, compensates, step


class Shop: ...


class Receipt(BaseModel):
    number: int


class Order(Saga, name="editors.order"):
    """An order."""

    article: str
    pieces: int = 1

    @step(timeout=5)
    async def reserve(self, shop: Inject[Shop]) -> Receipt:
        """Reserve it on a shelf."""
        return Receipt(number=1)

    @compensates("reserve")
    async def release(self, reserve: Receipt | Unknown, shop: Inject[Shop]) -> None:
        """Give it back to the shelf."""

    @step
    def label(self, reserve: Receipt) -> str:
        return str(reserve.number)


def test_a_step_has_the_signature_that_was_written() -> None:
    assert str(inspect.signature(Order.reserve)) == "(self, shop: 'Inject[Shop]') -> 'Receipt'"
    assert str(inspect.signature(Order.label)) == "(self, reserve: 'Receipt') -> 'str'"
    assert str(inspect.signature(Order.release)) == (
        "(self, reserve: 'Receipt | Unknown', shop: 'Inject[Shop]') -> 'None'"
    )
    assert inspect.iscoroutinefunction(Order.reserve)


def test_a_step_has_the_text_that_was_written() -> None:
    assert inspect.getdoc(Order.reserve) == "Reserve it on a shelf."
    assert inspect.getsource(Order.reserve).startswith("    @step(timeout=5)\n    async def reserve(self")
    assert (Order.reserve.__name__, Order.reserve.__qualname__) == ("reserve", "Order.reserve")
    assert "async reserve(self, shop: 'Inject[Shop]')" in pydoc.plain(pydoc.render_doc(Order.reserve))
    assert "Give it back to the shelf." in pydoc.plain(pydoc.render_doc(Order.release))


def test_a_saga_has_the_signature_of_its_fields() -> None:
    assert str(inspect.signature(Order)) == "(*, article: str, pieces: int = 1) -> None"
    assert inspect.getdoc(Order) == "An order."


def test_the_options_are_in_the_signature_and_in_the_help() -> None:
    for function, option in ((step, "readonly"), (compensates, "if_unknown"), (SagaOrchestrator, "provide")):
        assert option in inspect.signature(function).parameters
        assert f"{option}:" in (inspect.getdoc(function) or "")
