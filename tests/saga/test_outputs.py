"""Outputs: what a step returned is stored and read back, events by their own classes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from allframe.errors import PayloadError, StoreFormatError
from allframe.events.event import Event, decode
from allframe.payload import MAX_BYTES, Payload
from allframe.saga.graph import Step
from allframe.saga.outputs import event_writes, load_output, store_output


class Debited(Event, name="test_outputs.debited", version=3):
    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class DebitedTwice(Debited, name="test_outputs.debited_twice"):
    second: Decimal


class Noted(Event, name="test_outputs.noted"):
    text: str


class Secret(Event, name="test_outputs.secret"):
    __stream__ = "{stream}"
    stream: str


class Receipt(BaseModel):
    number: int


DEBITED = Debited(account="A", amount=Decimal("1.10"))
TWICE = DebitedTwice(account="B", amount=Decimal(1), second=Decimal(2))
NOTED = Noted(text="hello")


def step(annotation: Any) -> Step:
    async def function() -> None: ...

    return Step(
        name="debit-money",
        attribute="debit",
        function=function,
        parameters=(),
        output=Payload(annotation),
        timeout=None,
        retry=None,
        compensation=None,
    )


@pytest.mark.parametrize(
    ("annotation", "value", "form", "data"),
    [
        (None, None, "value", "null"),
        (type(None), None, "value", "null"),
        (int, 5, "value", "5"),
        (int | None, None, "value", "null"),
        (Receipt, Receipt(number=7), "value", '{"number":7}'),
        (list[Decimal], [Decimal("1.10")], "value", '["1.10"]'),
        (list[Event], [], "value", "[]"),
        (
            Debited,
            DEBITED,
            "event",
            '{"type":"test_outputs.debited","version":3,"data":{"account":"A","amount":"1.10"}}',
        ),
        (
            Event,
            TWICE,
            "event",
            '{"type":"test_outputs.debited_twice","version":1,"data":{"account":"B","amount":"1","second":"2"}}',
        ),
        (
            list[Event],
            [DEBITED, NOTED],
            "events",
            '[{"type":"test_outputs.debited","version":3,"data":{"account":"A","amount":"1.10"}},'
            '{"type":"test_outputs.noted","version":1,"data":{"text":"hello"}}]',
        ),
    ],
)
def test_the_stored_form_of_an_output_is_final(annotation: Any, value: Any, form: str, data: str) -> None:
    stored = store_output(step(annotation), value)

    assert (stored.form, stored.data) == (form, data.encode())
    assert stored.value == value
    assert type(stored.value) is type(value)
    again = load_output(step(annotation), data.encode(), form)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize("annotation", [Event, Debited, Debited | None, Event | int, Any])
def test_an_event_is_stored_by_its_own_class_whatever_the_annotation_is(annotation: Any) -> None:
    stored = store_output(step(annotation), TWICE)

    assert stored.form == "event"
    assert stored.events == (TWICE,)
    again = load_output(step(annotation), stored.data, stored.form)
    assert again == TWICE
    assert type(again) is DebitedTwice


def test_events_in_a_list_keep_their_classes_and_their_order() -> None:
    events = [TWICE, DEBITED, NOTED, DEBITED]

    stored = store_output(step(list[Event]), events)

    assert stored.form == "events"
    assert stored.events == tuple(events)
    again = load_output(step(list[Event]), stored.data, stored.form)
    assert again == events
    assert [type(event) for event in again] == [DebitedTwice, Debited, Noted, Debited]


def test_later_steps_are_given_what_was_read_and_not_what_was_returned() -> None:
    receipts = [Receipt(number=1)]
    stored = store_output(step(list[Receipt]), receipts)

    receipts[0].number = 2

    assert stored.value == [Receipt(number=1)]


def test_an_event_inside_something_else_is_not_emitted() -> None:
    stored = store_output(step(dict[str, Debited]), {"a": DEBITED})

    assert (stored.form, stored.events) == ("value", ())


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, DEBITED, "is Debited, not"),
        (None, DEBITED, "is Debited, not"),
        (Noted, DEBITED, "is Debited, not"),
        (DebitedTwice, DEBITED, "is Debited, not"),
        (list[Noted], [NOTED, DEBITED], "is list, not"),
        (Event, [DEBITED], "is list, not"),
        (list[Event], DEBITED, "is Debited, not"),
        (None, 0, "cannot be stored: expected None, found int 0"),
        (int, None, "NoneType None"),
        (int, "1", "cannot be stored: expected int, found str '1'"),
        (list[Event], [DEBITED, 1], "cannot be stored"),
    ],
)
def test_what_is_not_as_annotated_is_refused(annotation: Any, value: Any, words: str) -> None:
    with pytest.raises(PayloadError) as refusal:
        store_output(step(annotation), value)

    assert str(refusal.value).startswith("The output of step 'debit' ")
    assert words in str(refusal.value)


def test_a_refusal_names_types_as_a_person_writes_them() -> None:
    with pytest.raises(PayloadError) as refusal:
        store_output(step(int), DEBITED)

    assert str(refusal.value) == "The output of step 'debit' is Debited, not int as its annotation says."


def test_an_event_whose_class_nobody_could_find_again_is_refused() -> None:
    """Two classes share the name: what is written now could not be read after a crash."""

    class First(Event, name="test_outputs.ambiguous"):
        pass

    class Second(Event, name="test_outputs.ambiguous"):
        pass

    with pytest.raises(PayloadError, match=r"test_outputs\.ambiguous"):
        store_output(step(Event), Second())
    assert First.event_name == Second.event_name


def test_a_bare_event_is_refused() -> None:
    with pytest.raises(PayloadError, match="Event"):
        store_output(step(Event), Event())


def test_large_outputs_are_refused() -> None:
    half = Noted(text="x" * (MAX_BYTES // 2))

    with pytest.raises(PayloadError, match=r"^The output of step 'debit' is 1,048,\d\d\d bytes of JSON, more than"):
        store_output(step(list[Event]), [half, half])


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"{}", "event"),
        (b"5", "event"),
        (b"[{}]", "events"),
        (b"5", "events"),
        (b"null", "events"),
        (b'{"type":"test_outputs.nobody","version":1,"data":{}}', "event"),
        (b'{"type":"test_outputs.debited","version":9,"data":{}}', "event"),
        (b'{"type":"test_outputs.debited","version":3,"data":{}}', "event"),
        (b'{"type":5,"version":[],"data":{}}', "event"),
        (b"{", "event"),
        (b"5", "pickle"),
    ],
)
def test_a_stored_event_that_cannot_be_read_is_a_format_error(data: bytes, form: str) -> None:
    with pytest.raises(StoreFormatError):
        load_output(step(Event), data, form)


def test_a_stored_value_that_the_annotation_cannot_read_any_more_is_refused() -> None:
    with pytest.raises(PayloadError) as refusal:
        load_output(step(int), b'"text"', "value")

    assert str(refusal.value) == (
        "The stored output of step 'debit' cannot be read as int: Input should be a valid integer."
    )


# --- events as writes ------------------------------------------------------------------------------------------------


def test_events_go_to_the_stream_that_was_named_or_their_own_or_that_of_the_saga() -> None:
    emitted: list[tuple[Event, str | None]] = [(DEBITED, None), (NOTED, None), (DEBITED, "audit")]

    writes = event_writes(emitted, saga_id="transfer-100", step="debit-money", recorded_at=5)

    assert [write.stream for write in writes] == ["account-A", "transfer-100", "audit"]


def test_events_are_written_in_the_order_in_which_they_were_emitted() -> None:
    emitted: list[tuple[Event, str | None]] = [
        (Noted(text="1"), "a"),
        (Noted(text="2"), "a"),
        (Noted(text="3"), "b"),
        (Noted(text="4"), "a"),
    ]

    writes = event_writes(emitted, saga_id="transfer-100", step="debit", recorded_at=5)

    rows = [(write.stream, json.loads(row.data)["text"]) for write in writes for row in write.rows]
    assert rows == [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]


def test_a_written_event_says_where_it_came_from() -> None:
    (write,) = event_writes([(DEBITED, None)], saga_id="t-1", step="debit", recorded_at=5)
    (row,) = write.rows

    assert row.type == "test_outputs.debited"
    assert row.schema_version == 3
    assert row.recorded_at == 5
    assert row.metadata is not None
    assert json.loads(row.metadata) == {"saga": "t-1", "step": "debit"}
    assert decode(row.type, row.schema_version, row.data) == DEBITED


def test_a_template_that_fills_to_a_reserved_name_makes_the_output_unstorable() -> None:
    with pytest.raises(PayloadError, match=r"goes to stream '\$saga/other'"):
        event_writes([(Secret(stream="$saga/other"), None)], saga_id="t-1", step="debit", recorded_at=5)


def test_nothing_emitted_writes_nothing() -> None:
    assert event_writes([], saga_id="t-1", step="debit", recorded_at=5) == ()
