"""Records: their stored form is final, and what is not one of them is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allframe.errors import ErrorInfo, StoreFormatError
from allframe.payload import MAX_DEPTH, Payload
from allframe.saga.context import UnknownReason
from allframe.saga.encoding import SCHEMA_VERSION, decode, encode
from allframe.saga.records import (
    CancelRequested,
    DeadlinePassed,
    Form,
    Intent,
    Outcome,
    Record,
    RetryRequested,
    RollbackBegun,
    SagaAbandoned,
    SagaAdmitted,
    SagaBlocked,
    SagaCompensated,
    SagaCompleted,
    SagaFailed,
    SagaRecovered,
    SagaStarted,
    StepCompensated,
    StepFailed,
    StepNotBegun,
    StepNotCompensated,
    StepOutputLost,
    StepResolved,
    StepSkipped,
    StepStillRunning,
    StepSucceeded,
    StepUnknown,
)
from allframe.saga.streams import definition_stream, saga_stream

BOOM = ErrorInfo("Boom", "went boom")
TRACED = ErrorInfo("Boom", "went boom", "Traceback …")

#: What lies in stores: each record with as little as it can hold and with everything, and its bytes. These lines may be
#: added to. A line that has to change means that a store of today cannot be read any more.
GOLDEN: list[tuple[str, Record, str]] = [
    (
        "$saga.started",
        SagaStarted(saga="transfer", version=2, definition="0f", input=b'{"amount":"1.10"}', epoch=3),
        '{"saga":"transfer","version":2,"definition":"0f","epoch":3,"input":{"amount":"1.10"}}',
    ),
    (
        "$saga.started",
        SagaStarted(starts=("a", "b"), saga="transfer", version=2, definition="0f", input=b"{}", epoch=3),
        '{"starts":["a","b"],"saga":"transfer","version":2,"definition":"0f","epoch":3,"input":{}}',
    ),
    (
        "$saga.started",
        SagaStarted(saga="transfer", version=1, definition="0f", input=b'{"steps":[]}', epoch=3, built=True),
        '{"saga":"transfer","version":1,"definition":"0f","epoch":3,"built":true,"input":{"steps":[]}}',
    ),
    (
        "$saga.started",
        SagaStarted(saga="transfer", version=2, definition="0f", input=b"{}", epoch=3, deadline=1767225600000000),
        '{"saga":"transfer","version":2,"definition":"0f","epoch":3,"deadline":1767225600000000,"input":{}}',
    ),
    ("$saga.admitted", SagaAdmitted(), "{}"),
    ("$saga.admitted", SagaAdmitted(starts=("a",)), '{"starts":["a"]}'),
    ("$saga.recovered", SagaRecovered(epoch=4, recoveries=0), '{"epoch":4,"recoveries":0}'),
    (
        "$saga.recovered",
        SagaRecovered(starts=("a",), compensates="b", epoch=4, recoveries=2, definition="1e"),
        '{"starts":["a"],"compensates":"b","epoch":4,"recoveries":2,"definition":"1e"}',
    ),
    (
        "$saga.step_succeeded",
        StepSucceeded(step="debit", attempt=1, output=b"null"),
        '{"step":"debit","attempt":1,"output":null}',
    ),
    (
        "$saga.step_succeeded",
        StepSucceeded(
            starts=("credit",),
            compensates="debit",
            step="debit",
            attempt=2,
            output=b'[{"a":1.5}]',
            form="events",
            emitted=3,
            late=True,
            timeout=0.5,
        ),
        '{"starts":["credit"],"compensates":"debit","step":"debit","attempt":2,"form":"events","emitted":3,"late":true,'
        '"timeout":0.5,"output":[{"a":1.5}]}',
    ),
    (
        "$saga.step_output_lost",
        StepOutputLost(step="debit", attempt=1, error=BOOM),
        '{"step":"debit","attempt":1,"error":{"type":"Boom","message":"went boom","traceback":null}}',
    ),
    (
        "$saga.step_output_lost",
        StepOutputLost(starts=("b",), compensates="c", step="debit", attempt=1, error=TRACED, late=True, timeout=10.0),
        '{"starts":["b"],"compensates":"c","step":"debit","attempt":1,'
        '"error":{"type":"Boom","message":"went boom","traceback":"Traceback …"},"late":true,"timeout":10.0}',
    ),
    (
        "$saga.step_failed",
        StepFailed(step="debit", attempt=1, error=BOOM),
        '{"step":"debit","attempt":1,"error":{"type":"Boom","message":"went boom","traceback":null}}',
    ),
    (
        "$saga.step_failed",
        StepFailed(starts=("debit",), step="debit", attempt=1, error=BOOM, refused=True, next_at=1767225600000000),
        '{"starts":["debit"],"step":"debit","attempt":1,"error":{"type":"Boom","message":"went boom","traceback":null},'
        '"refused":true,"next_at":1767225600000000}',
    ),
    (
        "$saga.step_failed",
        StepFailed(compensates="stock", step="debit", attempt=1, error=BOOM, begun=False),
        '{"compensates":"stock","step":"debit","attempt":1,'
        '"error":{"type":"Boom","message":"went boom","traceback":null},"begun":false}',
    ),
    (
        "$saga.step_unknown",
        StepUnknown(step="debit", attempt=1, reason=UnknownReason.CANCELLED),
        '{"step":"debit","attempt":1,"reason":"cancelled"}',
    ),
    (
        "$saga.step_unknown",
        StepUnknown(
            starts=("debit",),
            step="debit",
            attempt=1,
            reason=UnknownReason.DEADLINE,
            error=BOOM,
            timeout=10.0,
            next_at=1767225600000000,
        ),
        '{"starts":["debit"],"step":"debit","attempt":1,"reason":"deadline",'
        '"error":{"type":"Boom","message":"went boom","traceback":null},"timeout":10.0,"next_at":1767225600000000}',
    ),
    ("$saga.deadline_passed", DeadlinePassed(timeout=1.5), '{"timeout":1.5}'),
    (
        "$saga.deadline_passed",
        DeadlinePassed(starts=("a",), compensates="b", timeout=60.0),
        '{"starts":["a"],"compensates":"b","timeout":60.0}',
    ),
    ("$saga.step_still_running", StepStillRunning(step="a", attempt=1), '{"step":"a","attempt":1}'),
    (
        "$saga.step_still_running",
        StepStillRunning(step="debit", attempt=2, compensation=True),
        '{"step":"debit","attempt":2,"compensation":true}',
    ),
    ("$saga.step_not_begun", StepNotBegun(step="debit", attempt=2), '{"step":"debit","attempt":2}'),
    (
        "$saga.cancel_requested",
        CancelRequested(reason="changed my mind", actor="ada"),
        '{"reason":"changed my mind","actor":"ada"}',
    ),
    (
        "$saga.cancel_requested",
        CancelRequested(reason="changed my mind", actor="ada", expected_revision=5),
        '{"reason":"changed my mind","actor":"ada","expected_revision":5}',
    ),
    ("$saga.rollback_begun", RollbackBegun(), "{}"),
    ("$saga.rollback_begun", RollbackBegun(compensates="debit"), '{"compensates":"debit"}'),
    ("$saga.step_compensated", StepCompensated(step="debit", attempt=1), '{"step":"debit","attempt":1}'),
    (
        "$saga.step_compensated",
        StepCompensated(compensates="other", step="debit", attempt=1, emitted=2),
        '{"compensates":"other","step":"debit","attempt":1,"emitted":2}',
    ),
    (
        "$saga.step_not_compensated",
        StepNotCompensated(step="debit", attempt=0, error=BOOM),
        '{"step":"debit","attempt":0,"error":{"type":"Boom","message":"went boom","traceback":null}}',
    ),
    (
        "$saga.step_not_compensated",
        StepNotCompensated(compensates="debit", step="debit", attempt=1, error=BOOM, timeout=60.0, next_at=7),
        '{"compensates":"debit","step":"debit","attempt":1,'
        '"error":{"type":"Boom","message":"went boom","traceback":null},"timeout":60.0,"next_at":7}',
    ),
    ("$saga.retry_requested", RetryRequested(reason="mended", actor="ada"), '{"reason":"mended","actor":"ada"}'),
    (
        "$saga.retry_requested",
        RetryRequested(starts=("a",), reason="mended", actor="ada"),
        '{"starts":["a"],"reason":"mended","actor":"ada"}',
    ),
    (
        "$saga.retry_requested",
        RetryRequested(compensates="a", reason="mended", actor="ada", expected_revision=5),
        '{"compensates":"a","reason":"mended","actor":"ada","expected_revision":5}',
    ),
    (
        "$saga.step_skipped",
        StepSkipped(step="debit", reason="refunded by hand", actor="ada"),
        '{"step":"debit","reason":"refunded by hand","actor":"ada"}',
    ),
    (
        "$saga.step_skipped",
        StepSkipped(starts=("a",), compensates="b", step="debit", reason="by hand", actor="ada", expected_revision=5),
        '{"starts":["a"],"compensates":"b","step":"debit","reason":"by hand","actor":"ada","expected_revision":5}',
    ),
    (
        "$saga.step_resolved",
        StepResolved(step="debit", outcome="not_done", reason="not in their books", actor="ada"),
        '{"step":"debit","outcome":"not_done","reason":"not in their books","actor":"ada"}',
    ),
    (
        "$saga.step_resolved",
        StepResolved(step="debit", outcome="done", reason="seen", actor="ada", output=b"null"),
        '{"step":"debit","outcome":"done","reason":"seen","actor":"ada","output":null}',
    ),
    (
        "$saga.step_resolved",
        StepResolved(
            starts=("a",),
            compensates="b",
            step="debit",
            outcome="done",
            reason="seen",
            actor="ada",
            expected_revision=5,
            output=b'[{"a":1.5}]',
            form="events",
            emitted=1,
        ),
        '{"starts":["a"],"compensates":"b","step":"debit","outcome":"done","reason":"seen","actor":"ada",'
        '"expected_revision":5,"form":"events","emitted":1,"output":[{"a":1.5}]}',
    ),
    (
        "$saga.abandoned",
        SagaAbandoned(reason="hopeless", actor="ada"),
        '{"reason":"hopeless","actor":"ada"}',
    ),
    (
        "$saga.abandoned",
        SagaAbandoned(reason="hopeless", actor="ada", expected_revision=5, in_effect=("a",), uncertain=("b", "c")),
        '{"reason":"hopeless","actor":"ada","expected_revision":5,"in_effect":["a"],"uncertain":["b","c"]}',
    ),
    ("$saga.completed", SagaCompleted(), "{}"),
    ("$saga.compensated", SagaCompensated(), "{}"),
    ("$saga.failed", SagaFailed(uncompensated=("a", "b")), '{"uncompensated":["a","b"]}'),
    ("$saga.failed", SagaFailed(uncompensated=()), '{"uncompensated":[]}'),
    (
        "$saga.blocked",
        SagaBlocked(kind="code", reason="the class is gone", epoch=3),
        '{"kind":"code","reason":"the class is gone","epoch":3}',
    ),
    (
        "$saga.blocked",
        SagaBlocked(kind="step", reason="stuck", epoch=3, step="credit"),
        '{"kind":"step","reason":"stuck","epoch":3,"step":"credit"}',
    ),
]
RECORDS: tuple[type[Any], ...] = get_args(Record)


@pytest.mark.parametrize(("type_name", "record", "data"), GOLDEN, ids=[f"{i}-{g[0]}" for i, g in enumerate(GOLDEN)])
def test_the_stored_form_is_final(type_name: str, record: Record, data: str) -> None:
    assert type(record).type == type_name
    assert encode(record) == data.encode()


@pytest.mark.parametrize(("type_name", "record", "data"), GOLDEN, ids=[f"{i}-{g[0]}" for i, g in enumerate(GOLDEN)])
def test_what_was_stored_is_read_for_ever(type_name: str, record: Record, data: str) -> None:
    assert decode(type_name, 1, data.encode()) == record


@pytest.mark.parametrize("record_type", RECORDS, ids=lambda cls: cls.type)
def test_every_field_of_every_record_has_a_golden_line(record_type: type[Any]) -> None:
    lines = [record for _, record, _ in GOLDEN if type(record) is record_type]
    fields = {field.name: field.default for field in dataclasses.fields(record_type)}
    shown = {name for record in lines for name, default in fields.items() if getattr(record, name) != default}
    unused = {"starts", "compensates"} if issubclass(record_type, Intent) else set()

    assert lines
    assert fields.keys() - shown <= unused


def test_record_types_are_distinct() -> None:
    assert len({cls.type for cls in RECORDS}) == len(RECORDS) == 22
    assert SCHEMA_VERSION == 1


# --- round trips -----------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
JSON_BYTES = JSON_VALUES.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
ERRORS = st.builds(ErrorInfo, NAMES, st.text(st.characters(exclude_categories=["Cs"])), st.none() | NAMES)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "starts": st.lists(NAMES, max_size=3).map(tuple),
    "uncompensated": st.lists(NAMES, max_size=3).map(tuple),
    "in_effect": st.lists(NAMES, max_size=3).map(tuple),
    "uncertain": st.lists(NAMES, max_size=3).map(tuple),
    "outcome": st.sampled_from(get_args(Outcome)),
    "expected_revision": st.none() | st.integers(1, 2**53),
    "compensates": st.none() | NAMES,
    "input": JSON_BYTES,
    "output": JSON_BYTES,
    "error": ERRORS,
    "reason": NAMES,
    "late": st.booleans(),
    "built": st.booleans(),
    "refused": st.booleans(),
    "begun": st.booleans(),
    "timeout": st.none() | st.floats(0.001, 1e9),
    "next_at": st.none() | st.integers(0, 2**53),
    "deadline": st.none() | st.integers(0, 2**53),
    "compensation": st.booleans(),
    "form": st.sampled_from(get_args(Form)),
}
WHOLE = {"version", "epoch", "recoveries", "attempt", "emitted"}


@st.composite
def records(draw: st.DrawFn) -> Record:
    cls = draw(st.sampled_from(RECORDS))
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        strategy = st.integers(0, 2**40) if field.name in WHOLE else FIELDS.get(field.name, NAMES)
        if cls is StepUnknown and field.name == "reason":
            strategy = st.sampled_from(UnknownReason)
        if cls is StepUnknown and field.name == "error":
            strategy = st.none() | ERRORS
        if cls is DeadlinePassed and field.name == "timeout":
            strategy = st.floats(0.001, 1e9)
        values[field.name] = draw(strategy)
    record: Record = cls(**values)
    return record


@given(records())
def test_every_record_comes_back_equal(record: Record) -> None:
    data = encode(record)

    again = decode(record.type, 1, data)
    if isinstance(record, StepSucceeded | StepResolved | SagaStarted):
        # The embedded JSON may be spelled otherwise: `1e3` and `1000.0` are one number.
        name = "input" if isinstance(record, SagaStarted) else "output"
        assert json.loads(getattr(again, name)) == json.loads(getattr(record, name))
        again = dataclasses.replace(again, **{name: getattr(record, name)})
    assert again == record
    assert type(again) is type(record)
    json.loads(data)


@given(JSON_VALUES)
def test_an_output_comes_back_as_the_value_that_was_stored(value: Any) -> None:
    data, _ = Payload(Any).store(value, "It")
    record = StepSucceeded(step="a", attempt=1, output=data)

    again = decode(record.type, 1, encode(record))

    assert isinstance(again, StepSucceeded)
    assert again.output == data


@pytest.mark.parametrize("form", get_args(Form))
def test_the_deepest_output_that_is_accepted_can_be_read_in_its_record(form: Form) -> None:
    """A record wraps it, and so does the form of an event: the reader's limit is for all of it."""
    deepest = _deepest_payload()
    wrapped = {"value": b"%s", "event": b'{"data":%s}', "events": b'[{"data":%s}]'}[form]
    record = StepSucceeded(step="a", attempt=1, output=wrapped % deepest, form=form)

    assert decode(record.type, 1, encode(record)) == record


def _deepest_payload() -> bytes:
    value: list[Any] = []
    data = b"[]"
    for _ in range(MAX_DEPTH + 10):
        value = [value]
        try:
            data, _ = Payload(Any).store(value, "It")
        except Exception:
            return data
    raise AssertionError("no limit")


def test_text_that_cannot_be_stored_does_not_break_the_writer() -> None:
    """A reason may come from a command line, where bytes that are no text are lone surrogates."""
    record = CancelRequested(reason="caf\udce9", actor="ada")

    assert decode(record.type, 1, encode(record)) == CancelRequested(reason="caf\\udce9", actor="ada")


def test_text_that_cannot_be_stored_is_spelled_out_wherever_it_stands() -> None:
    lost = StepOutputLost(step="a", attempt=1, error=ErrorInfo("Boom", "\ud800", "trace \udfff"))

    assert decode(lost.type, 1, encode(lost)) == StepOutputLost(
        step="a", attempt=1, error=ErrorInfo("Boom", "\\ud800", "trace \\udfff")
    )


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_name", "version"),
    [("$saga.exploded", 1), ("$saga.completed", 2), ("$saga.completed", 0), ("", 1), ("SagaCompleted", 1)],
)
def test_a_record_of_a_newer_allframe_is_refused(type_name: str, version: int) -> None:
    with pytest.raises(StoreFormatError) as refusal:
        decode(type_name, version, b"{}")

    assert str(refusal.value) == (
        f"The store holds a saga record {type_name!r} of version {version}, which this allframe does not know. A newer one "
        "wrote it: run that."
    )


DAMAGED: list[tuple[str, str]] = [
    ("$saga.completed", ""),
    ("$saga.completed", "null"),
    ("$saga.completed", "[]"),
    ("$saga.completed", '"text"'),
    ("$saga.completed", "{"),
    ("$saga.completed", "{}{}"),
    ("$saga.completed", '{"unknown":1}'),
    ("$saga.completed", "[" * 5000),
    ("$saga.step_succeeded", "null"),
    ("$saga.step_succeeded", "[1]"),
    ("$saga.step_succeeded", '"output"'),
    ("$saga.step_succeeded", '{"step":"a","attempt":1}'),
    ("$saga.step_succeeded", '{"attempt":1,"output":1}'),
    ("$saga.step_succeeded", '{"step":"a","attempt":1,"output":1,"unknown":1}'),
    ("$saga.step_succeeded", '{"step":"a","attempt":"1","output":1}'),
    ("$saga.step_succeeded", '{"step":"a","attempt":1,"output":1,"late":"yes"}'),
    ("$saga.step_succeeded", '{"step":"a","attempt":1,"output":1,"starts":"a"}'),
    ("$saga.step_succeeded", '{"step":"a","attempt":1,"output":1,"form":"pickle"}'),
    ("$saga.step_not_begun", '{"step":1,"attempt":1}'),
    ("$saga.step_not_begun", '{"step":"a","attempt":1.0}'),
    ("$saga.step_not_begun", '{"step":"a","attempt":null}'),
    ("$saga.step_failed", '{"step":"a","attempt":1,"error":"boom"}'),
    ("$saga.step_failed", '{"step":"a","attempt":1,"error":{"type":"a"}}'),
    ("$saga.step_failed", '{"step":"a","attempt":1,"error":{"type":"a","message":"b","unknown":1}}'),
    ("$saga.step_unknown", '{"step":"a","attempt":1,"reason":"boredom"}'),
    ("$saga.started", "5"),
    ("$saga.failed", '{"uncompensated":[1]}'),
    ("$saga.failed", "{}"),
]


@pytest.mark.parametrize(("type_name", "data"), DAMAGED, ids=[data[:50] or "empty" for _, data in DAMAGED])
def test_what_is_damaged_is_refused(type_name: str, data: str) -> None:
    with pytest.raises(StoreFormatError) as refusal:
        decode(type_name, 1, data.encode())

    assert str(refusal.value).startswith(f"A stored saga record {type_name!r} cannot be read: ")


@given(st.sampled_from(RECORDS), st.binary(max_size=100) | JSON_BYTES)
def test_no_bytes_break_the_reader(cls: type[Any], data: bytes) -> None:
    try:
        record = decode(cls.type, 1, data)
    except StoreFormatError:
        return
    assert type(record) is cls


@given(records(), st.data())
def test_a_flipped_byte_is_read_as_a_record_or_refused(record: Record, data: st.DataObject) -> None:
    stored = bytearray(encode(record))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= 1 << data.draw(st.integers(0, 7))

    try:
        decode(record.type, 1, bytes(stored))
    except StoreFormatError:
        return


def test_streams_are_our_own() -> None:
    assert saga_stream("transfer-100") == "$saga/transfer-100"
    assert definition_stream("0f") == "$definition/0f"
