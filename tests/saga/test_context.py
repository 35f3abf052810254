"""`StepContext` and its words: what a step sees, and what it can say."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allframe.errors import PayloadError
from allframe.events.event import Event
from allframe.saga.context import EffectUnknown, Refused, StepContext, Unknown, UnknownReason, idempotency_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class Sent(Event, name="test_context.sent"):
    number: int


@pytest.fixture
def context() -> StepContext:
    return StepContext(
        saga_id="transfer-100",
        step="debit",
        attempt=1,
        idempotency_key="transfer-100/debit/do",
        forward_key="transfer-100/debit/do",
        deadline=None,
        fencing_token=1,
    )


def test_a_key_is_readable() -> None:
    assert idempotency_key("transfer-100", "debit", "do") == "transfer-100/debit/do"
    assert idempotency_key("shop/42", "debit money", "undo") == "shop/42/debit%20money/undo"


@given(TEXT, TEXT)
def test_a_key_is_safe_in_a_header(saga_id: str, step: str) -> None:
    key = idempotency_key(saga_id, step, "do")

    assert key.isascii()
    assert key.isprintable()
    assert " " not in key


@given(TEXT, st.sampled_from(["do", "undo"]), TEXT.filter(lambda text: "/" not in text))
def test_a_key_belongs_to_one_saga_one_step_and_one_direction(saga_id: str, direction: str, step: str) -> None:
    quoted_saga, quoted_step, end = idempotency_key(saga_id, step, direction).rsplit("/", 2)

    assert (unquote(quoted_saga), unquote(quoted_step), end) == (saga_id, step, direction)


@given(TEXT, TEXT, TEXT, TEXT)
def test_two_steps_never_share_a_key(saga: str, step: str, other_saga: str, other_step: str) -> None:
    same = (saga, step) == (other_saga, other_step)

    assert (idempotency_key(saga, step, "do") == idempotency_key(other_saga, other_step, "do")) is same
    assert idempotency_key(saga, step, "do") != idempotency_key(other_saga, other_step, "undo")


def test_events_are_emitted_in_order_with_the_stream_that_was_named(context: StepContext) -> None:
    context.emit(Sent(number=1))
    context.emit(Sent(number=2), stream="mail")

    assert context.emitted == ((Sent(number=1), None), (Sent(number=2), "mail"))


def test_what_was_emitted_cannot_be_changed_from_outside(context: StepContext) -> None:
    context.emit(Sent(number=1))

    assert isinstance(context.emitted, tuple)


@pytest.mark.parametrize("thing", [Sent, {"number": 1}, None, "sent"])
def test_only_events_are_emitted(context: StepContext, thing: Any) -> None:
    with pytest.raises(PayloadError) as refusal:
        context.emit(thing)

    assert str(refusal.value) == f"emit() takes an Event, found {type(thing).__qualname__}."
    assert context.emitted == ()


@pytest.mark.parametrize("stream", ["$saga/transfer-100", "$", "", "a\0b"])
def test_streams_of_our_own_and_what_is_no_name_cannot_be_written(context: StepContext, stream: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        context.emit(Sent(number=1), stream=stream)

    assert str(refusal.value) == (
        f"Stream {stream!r} cannot be written: a name is Unicode text without a NUL character, and those that begin with "
        "'$' are allframe's own."
    )
    assert context.emitted == ()


@pytest.mark.parametrize("stream", ["\ud800", 5, b"mail"])
def test_a_stream_that_no_store_can_name_is_refused_where_it_is_named(context: StepContext, stream: Any) -> None:
    """Later, it would stop the commit of a step that has taken effect."""
    with pytest.raises(PayloadError, match="Stream"):
        context.emit(Sent(number=1), stream=stream)


def test_refusals_and_doubts_are_ordinary_errors() -> None:
    assert issubclass(Refused, Exception)
    assert issubclass(EffectUnknown, Exception)
    assert str(Refused("card declined")) == "card declined"
    assert not issubclass(EffectUnknown, Refused)


def test_reasons_are_stored_by_these_words() -> None:
    assert [reason.value for reason in UnknownReason] == ["deadline", "cancelled", "silence", "crash", "output_lost"]


def test_an_unknown_is_a_value() -> None:
    unknown = Unknown(UnknownReason.CRASH, None, 2)

    assert unknown == Unknown(UnknownReason.CRASH, None, 2)
    with pytest.raises(AttributeError):
        unknown.attempts = 3  # type: ignore[misc]
