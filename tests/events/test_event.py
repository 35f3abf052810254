"""`Event`: how it is named, where it goes, and how it is read back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from allframe.clock import SystemClock
from allframe.errors import DefinitionError, PayloadError, StoreFormatError
from allframe.events.event import Event, decode, event_payload, stream_of
from allframe.events.recorded import RecordedEvent

T = TypeVar("T")


class Debited(Event, name="test_event.debited", version=2):
    __stream__ = "account-{account}"
    account: str
    amount: Decimal


class Plain(Event):
    number: int


class Content(Event, Generic[T]):
    content: T


def stored(event: Event) -> Event:
    data, _ = event_payload(type(event)).store(event, "It")
    return decode(event.event_name, event.event_version, data)


# --- names -----------------------------------------------------------------------------------------------------------


def test_an_event_is_stored_by_its_name_and_version() -> None:
    assert (Debited.event_name, Debited.event_version) == ("test_event.debited", 2)


def test_without_a_name_it_is_stored_by_that_of_its_class() -> None:
    assert (Plain.event_name, Plain.event_version) == ("Plain", 1)


def test_name_and_version_are_not_inherited() -> None:
    class Withdrawn(Debited):
        pass

    assert (Withdrawn.event_name, Withdrawn.event_version) == ("Withdrawn", 1)


def test_af118_accepts_fields_called_name_and_version() -> None:
    class Named(Event, name="test_event.named"):
        name: str
        version: int

    assert stored(Named(name="a", version=7)) == Named(name="a", version=7)


def test_an_event_is_frozen() -> None:
    event = Plain(number=1)

    with pytest.raises(ValidationError, match="frozen"):
        event.number = 2
    assert hash(event) == hash(Plain(number=1))


@pytest.mark.parametrize("name", ["", "$saga.started", "a\nb", 5])
def test_af118_a_name_that_makes_no_sense(name: Any) -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Event, name=name):
            pass

    assert f"Its name is {name!r}. Expected printable text" in str(refusal.value)
    assert [problem.rule for problem in refusal.value.problems] == ["AF118"]


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_af118_a_version_that_makes_no_sense(version: Any) -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Event, version=version):
            pass

    (problem,) = refusal.value.problems
    assert (problem.rule, problem.text) == ("AF118", f"Its version is {version!r}. Expected a whole number from 1.")


def test_every_problem_of_an_event_comes_at_once_with_its_file_and_line() -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Event, name="$bad", version=0):
            __stream__ = "{nobody}"

    assert [problem.rule for problem in refusal.value.problems] == ["AF118"] * 3
    line = test_every_problem_of_an_event_comes_at_once_with_its_file_and_line.__code__.co_firstlineno + 3
    assert all(problem.where.startswith(f"{__file__}:{line}") for problem in refusal.value.problems)


@pytest.mark.parametrize("field", ["event_name", "event_version"])
def test_af118_a_field_that_hides_what_every_event_has(field: str) -> None:
    with pytest.raises(DefinitionError, match=rf"AF118 [\s\S]*The field '{field}' hides Event\.{field}"):
        type("Bad", (Event,), {"__module__": __name__, "__qualname__": "Bad", "__annotations__": {field: str}})


def test_af118_a_class_keyword_that_does_not_exist() -> None:
    with pytest.raises(DefinitionError, match=r"It has no class keyword 'nmae'\. It has: name, version\."):

        class Bad(Event, nmae="x"):
            pass


def test_af118_two_events_with_one_name_when_one_is_read() -> None:
    class One(Event, name="test_event.twice"):
        pass

    class Two(Event, name="test_event.twice"):
        pass

    with pytest.raises(DefinitionError) as refusal:
        decode("test_event.twice", 1, b"{}")

    assert "The event name 'test_event.twice', version 1," in str(refusal.value)
    assert One.__qualname__ in str(refusal.value)
    assert Two.__qualname__ in str(refusal.value)


def test_af118_accepts_versions_of_one_event_beside_each_other() -> None:
    class Old(Event, name="test_event.aged", version=1):
        a: int

    class New(Event, name="test_event.aged", version=2):
        b: int

    assert stored(Old(a=1)) == Old(a=1)
    assert stored(New(b=1)) == New(b=1)


# --- streams ---------------------------------------------------------------------------------------------------------


def test_the_template_is_filled_from_the_fields() -> None:
    assert stream_of(Debited(account="A", amount=Decimal(1)), "default") == "account-A"


def test_without_a_template_it_goes_to_the_default() -> None:
    assert stream_of(Plain(number=1), "transfer-100") == "transfer-100"


def test_without_both_it_goes_nowhere() -> None:
    with pytest.raises(PayloadError) as refusal:
        stream_of(Plain(number=1), None)

    assert str(refusal.value).startswith("Plain goes to no stream: name one, or give the class a template")


def test_af118_accepts_a_template_that_is_inherited_or_formatted() -> None:
    class Base(Event):
        __stream__ = "{{x}}-{number:03d}"
        number: int

    class Derived(Base):
        pass

    assert stream_of(Derived(number=7), None) == "{x}-007"


def test_a_template_takes_fields_by_their_names_and_not_by_their_aliases() -> None:
    class Aliased(Event):
        __stream__ = "a-{number}"
        number: int = Field(alias="no")

    assert stream_of(Aliased(no=7), None) == "a-7"


def test_braces_in_a_value_are_not_a_template() -> None:
    assert stream_of(Debited(account="{amount}{0}{", amount=Decimal(1)), None) == "account-{amount}{0}{"


@pytest.mark.parametrize("text", ["", "$saga/other", "$", "a\0", "\ud800"])
def test_a_template_that_fills_to_a_reserved_name_or_none_is_refused(text: str) -> None:
    class Free(Event):
        __stream__ = "{text}"
        text: str

    with pytest.raises(PayloadError) as refusal:
        stream_of(Free(text=text), "default")

    assert f"goes to stream {text!r}, as its template '{{text}}' fills in" in str(refusal.value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a-{nobody}", "names the field 'nobody', which it does not have. Its fields are: number."),
        ("a-{number.real}", "names the field 'number.real'"),
        ("a-{number.__class__}", "names the field 'number.__class__'"),
        ("a-{number[0]}", "names the field 'number[0]'"),
        ("a-{}", "names the field ''"),
        ("a-{0}", "names the field '0'"),
        ("a-{number:{nobody}}", "nobody"),
        ("a-{number:{number.__class__}}", "number.__class__"),
        ("a-{number", "which is no template: expected '}' before end of string."),
        (5, "__stream__ is 5. Expected a text such as 'account-{account}'."),
    ],
)
def test_af118_a_template_that_makes_no_sense(template: Any, words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:

        class Bad(Event):
            __stream__ = template
            number: int

    assert words in str(refusal.value)
    assert {problem.rule for problem in refusal.value.problems} == {"AF118"}


def test_a_template_that_cannot_be_filled_is_a_payload_error() -> None:
    class Odd(Event):
        __stream__ = "a-{number:%Y}{text:d}"
        number: int
        text: str

    with pytest.raises(PayloadError, match=r"Odd goes to no stream: its template .* cannot be filled \(ValueError: "):
        stream_of(Odd(number=1, text="x"), None)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_an_event_comes_back_equal() -> None:
    event = Debited(account="A", amount=Decimal("1.10"))

    assert stored(event) == event


def test_bytes_need_not_be_text() -> None:
    class Scanned(Event, name="test_event.scanned"):
        image: bytes

    assert stored(Scanned(image=b"\xff\x00")) == Scanned(image=b"\xff\x00")


def test_a_parametrised_event_needs_a_class_of_its_own() -> None:
    class Amount(Content[Decimal], name="test_event.amount"):
        pass

    assert stored(Amount(content=Decimal("1.10"))) == Amount(content=Decimal("1.10"))
    with pytest.raises(PayloadError) as refusal:
        stored(Content[Decimal](content=Decimal("1.10")))

    assert str(refusal.value) == (
        "An event of Content[Decimal] cannot be stored: its class has no name to be found by. Give it a class of its own: "
        "class X(Content[Decimal])."
    )


def test_a_forward_reference_can_be_resolved_later() -> None:
    class Holder(Event, name="test_event.holder"):
        inner: Later

    class Later(BaseModel):
        a: int

    Holder.model_rebuild()

    assert stored(Holder(inner=Later(a=1))) == Holder(inner=Later(a=1))


def test_the_payload_is_made_once_a_class() -> None:
    class Child(Plain):
        pass

    assert event_payload(Plain) is event_payload(Plain)
    assert event_payload(Child) is not event_payload(Plain)


def test_af118_accepts_a_name_that_a_class_out_of_use_had() -> None:
    def make(qualname: str) -> type[Event]:
        cls = type("Made", (Event,), {"__module__": __name__, "__qualname__": qualname})
        stored(cls())
        return cls

    make("One")

    assert make("Two").event_name == "Made"


def test_an_event_whose_name_two_classes_have_cannot_be_stored() -> None:
    class First(Event, name="test_event.shared"):
        pass

    stored(First())

    class Second(Event, name="test_event.shared"):
        pass

    for event in (First(), Second()):
        with pytest.raises(PayloadError, match=r"The event name 'test_event\.shared', version 1, has 1 problem"):
            event_payload(type(event))


def test_a_bare_event_cannot_be_stored() -> None:
    with pytest.raises(PayloadError, match=r"^A bare Event cannot be stored\. Derive a class from it"):
        stored(Event())


def test_an_event_that_this_program_does_not_have_is_a_format_error() -> None:
    with pytest.raises(StoreFormatError) as refusal:
        decode("test_event.unheard_of", 3, b"{}")

    assert str(refusal.value) == (
        "The store holds an event 'test_event.unheard_of' of version 3, and this program cannot read it: it has no event "
        "of that name. Import the module that defines it before reading."
    )


def test_a_version_that_this_program_does_not_have_names_those_that_it_has() -> None:
    with pytest.raises(StoreFormatError, match=r"of version 1, .*: it has version 2\."):
        decode("test_event.debited", 1, b"{}")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"null", b'{"account": "A"}', b'{"account": 1, "amount": "1"}'])
def test_a_payload_that_the_class_cannot_read_is_a_format_error(data: bytes) -> None:
    with pytest.raises(StoreFormatError) as refusal:
        decode("test_event.debited", 2, data)

    assert str(refusal.value).startswith(
        "The stored event 'test_event.debited' of version 2 cannot be read as Debited: "
    )
    assert str(refusal.value).endswith("The class has changed since it was stored: give it a new version.")


def test_a_recorded_event_is_read_when_it_is_first_asked_for(recorded: Any) -> None:
    good = recorded("test_event.debited", 2, b'{"account":"A","amount":"1.10"}')
    damaged = recorded("test_event.debited", 2, b"{")

    assert good.event == Debited(account="A", amount=Decimal("1.10"))
    assert good.event is good.event
    with pytest.raises(StoreFormatError):
        _ = damaged.event


@pytest.fixture
def recorded() -> Any:
    def make(type_: str, version: int, data: bytes) -> RecordedEvent:
        return RecordedEvent("0" * 32, 1, "a", 1, type_, version, data, SystemClock().now())

    return make
