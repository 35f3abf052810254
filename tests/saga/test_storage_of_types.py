"""AF110: a type whose values cannot be stored is refused where it is declared, and no other."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from allframe import DefinitionError, Event, Saga, step
from allframe.errors import PayloadError, Problem
from allframe.payload import Payload
from tests.naming import steady
from tests.saga.storage_corpus import (
    ACCEPTED,
    REFUSED,
    UUID_TEXT,
    Accepted,
    AnyModel,
    Holder,
    Line,
    ModelT,
    Order,
    Refused,
    Reply,
    Trouble,
)


def returning(annotation: Any) -> type[Saga]:
    async def only(self: Any) -> Any: ...

    only.__annotations__ = {"return": annotation}

    class Returning(Saga):
        only_step = step(readonly=True)(only)

    return Returning


def taking(annotation: Any) -> type[Saga]:
    kind = annotation

    class Taking(Saga):
        thing: kind  # type: ignore[valid-type]

        @step(readonly=True)
        async def only(self) -> None: ...

    return Taking


def problems_of(declare: Any, annotation: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as refusal:
        declare(annotation)
    return refusal.value.problems


def case(found: Any) -> str:
    return steady(found.annotation)


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(REFUSED) >= 90
    assert len(ACCEPTED) >= 120


@pytest.mark.parametrize("refused", REFUSED, ids=case)
def test_an_output_is_refused_with_the_way_to_the_part_and_the_reason(refused: Refused) -> None:
    problem, *_ = problems_of(returning, refused.annotation)

    assert (problem.rule, problem.member) == ("AF110", "only_step")
    assert problem.text.startswith("What 'only_step' returns: ")
    part = repr(refused.path) if refused.path else "it"
    found = [problem.text for problem in problems_of(returning, refused.annotation)]
    assert any(f" cannot be stored: {part} " in text and refused.words in text for text in found), found


@pytest.mark.parametrize("refused", [refused for refused in REFUSED if not refused.is_output_only], ids=case)
def test_an_input_is_refused_by_the_same_words(refused: Refused) -> None:
    problems = problems_of(taking, refused.annotation)

    assert {(problem.rule, problem.member) for problem in problems} == {("AF110", "thing")}
    joint = "" if refused.path[:1] in ("", "[") else "."
    part = repr(f"thing{joint}{refused.path}")
    assert any(f" cannot be stored: {part} " in problem.text and refused.words in problem.text for problem in problems)


@pytest.mark.parametrize("refused", REFUSED, ids=case)
def test_no_refusal_is_a_false_alarm(refused: Refused) -> None:
    """There is a value of the type that does not come back, or one cannot even be made."""
    with pytest.raises((PayloadError, TypeError)) as failure:
        Payload(refused.annotation).store(refused.witness(), "It")

    assert isinstance(failure.value, PayloadError) or "unhashable" in str(failure.value)


@pytest.mark.parametrize("accepted", ACCEPTED, ids=case)
def test_what_can_be_stored_is_left_in_peace(accepted: Accepted) -> None:
    assert returning(accepted.annotation).graph is not None
    assert taking(accepted.annotation).graph is not None


@pytest.mark.parametrize("accepted", ACCEPTED, ids=case)
def test_what_is_accepted_comes_back_equal_and_of_its_type(accepted: Accepted) -> None:
    for value in accepted.values:
        _, loaded = Payload(accepted.annotation).store(value, "It")

        assert loaded == value
        assert type(loaded) is type(value)


#: What no type can promise: values that fail one by one.
AT_RUN_TIME = ("nan", "inf", "surrogate", "snan", "fold")


@pytest.mark.parametrize("accepted", [accepted for accepted in ACCEPTED if accepted.is_generated], ids=case)
def test_any_value_of_an_accepted_type_comes_back_or_is_one_that_no_type_could_tell(accepted: Accepted) -> None:
    payload = Payload(accepted.annotation)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_type(accepted.annotation) if accepted.annotation is not None else st.none())
    def check(value: Any) -> None:
        try:
            _, loaded = payload.store(value, "It")
        except PayloadError as error:
            refusal = str(error).lower()
        else:
            assert type(loaded) is type(value)
            return
        assert any(word in refusal for word in AT_RUN_TIME)

    check()


# --- more than one ---------------------------------------------------------------------------------------------------


def test_everything_that_is_wrong_with_a_type_is_told_at_once() -> None:
    texts = [problem.text for problem in problems_of(returning, Trouble)]

    assert [text.partition("stored: ")[2].split(" ")[0] for text in texts] == [
        "'reference'",
        "'place.keys()'",
        "'data'",
    ]


def test_a_part_that_stands_in_two_places_is_told_twice_and_a_recursive_one_once() -> None:
    places = [problem.text.partition("stored: ")[2].split(" ")[0] for problem in problems_of(returning, Order)]

    assert places in (["'lines[*].reference'", "'by_day[*].reference'"], ["'lines[*].reference'"])


def test_input_and_outputs_are_told_together() -> None:
    def declare(_: Any) -> None:
        class Bad(Saga):
            first: UUID | str
            second: Holder

            @step(readonly=True)
            async def only(self) -> dict[int | str, int]:
                return {}

    assert [problem.member for problem in problems_of(declare, None)] == ["first", "second", "only"]


def test_the_whole_letter() -> None:
    (problem,) = problems_of(returning, UUID | str)

    assert problem.text == (
        "What 'only_step' returns: uuid.UUID | str cannot be stored: it is UUID | str, and both may look alike in JSON: the "
        "str '6ba7b810-9dad-41d1-80b4-00c04fd430c8' would be read back as UUID('6ba7b810-9dad-41d1-80b4-00c04fd430c8'). "
        "Annotate the one that is meant, or a model for each, told apart by a Literal field."
    )


# --- what it suggests works ------------------------------------------------------------------------------------------


class ByText(BaseModel):
    kind: str = Field("text", pattern="^text$")
    text: str


def test_a_model_for_each_told_apart_is_accepted() -> None:
    class ById(BaseModel):
        id: UUID

    assert returning(ByText | ById).graph is not None
    value = ByText(text=UUID_TEXT)
    assert Payload(ByText | ById).store(value, "It")[1] == value


# --- events are stored by their own class ----------------------------------------------------------------------------


class Opened(Event):
    account: str


class Closed(Event):
    account: str


@pytest.mark.parametrize("annotation", [Opened | Closed, list[Opened | Closed], Opened | Closed | None])
def test_events_that_look_alike_may_be_returned(annotation: Any) -> None:
    assert returning(annotation).graph is not None


def test_events_that_look_alike_may_not_stand_within_something_else() -> None:
    (problem,) = problems_of(returning, dict[str, Opened | Closed])

    assert "'[*]' is Opened | Closed" in problem.text


# --- the user's code -------------------------------------------------------------------------------------------------


def test_nobody_calls_the_users_code_to_find_out() -> None:
    called = []

    class Loud(BaseModel):
        number: int = Field(default_factory=lambda: called.append(1) or 1)  # type: ignore[func-returns-value]

    class Louder(BaseModel):
        number: int = 1

        def model_post_init(self, context: Any, /) -> None:
            called.append(2)

    class Quiet(BaseModel):
        number: int = 1

    for annotation in (Loud | Quiet, Louder | Quiet, Quiet | Louder):
        assert returning(annotation).graph is not None
    assert called == []


def test_a_type_that_is_declared_twice_is_looked_at_once_until_it_changes() -> None:
    assert returning(Line).graph is not None
    known = vars(Line)["__allframe_obstacles__"]

    assert taking(Line).graph is not None
    assert returning(Line).graph is not None

    assert vars(Line)["__allframe_obstacles__"] is known


def test_a_moment_is_stored_whatever_its_offset() -> None:
    assert Payload(datetime).store(datetime(2026, 1, 1, tzinfo=UTC), "It")[1].tzinfo is not None


# --- what is said, and what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (BaseModel, "BaseModel cannot be stored: it is BaseModel, which names no fields. "),
        ({"a": int}, "{'a': <class 'int'>} cannot be stored: pydantic fails on it with KeyError 'type'. "),
    ],
)
def test_what_pydantic_fails_on_is_told_in_words(annotation: Any, said: str) -> None:
    (problem,) = problems_of(returning, annotation)

    assert problem.text.startswith(f"What 'only_step' returns: {said}")


def test_a_saga_may_take_a_model_that_holds_any_and_is_refused_in_words() -> None:
    """It is looked through for secrets before the rules are applied."""
    (problem,) = problems_of(taking, list[AnyModel])

    assert "'thing[*].content' is BaseModel, which names no fields" in problem.text


def test_warnings_of_pydantic_are_no_refusals_where_they_are_made_errors() -> None:
    """A name that was written for fields says words of fields, which mean nothing of what is returned."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert returning(Annotated[str, Field(alias="mail", repr=False)]).graph is not None


@pytest.mark.parametrize("annotation", [ModelT, list[ModelT], dict[str, ModelT] | None, Reply])
def test_a_type_variable_whose_bound_is_any_model_says_nothing_yet(annotation: Any) -> None:
    """A generic base is made so, and which model is meant is said by the class below it."""
    assert returning(annotation).graph is not None
